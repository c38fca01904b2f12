"""Draw docs/pictures.jpg: what comes out beside what went in, for each archive, as it is served.

    marsmith serve --background && .venv/bin/python scripts/picture_sheet.py

The photos ship with scikit-image and are in the public domain (CC0 or NASA's); scripts/setup dev
installs it.
"""

from __future__ import annotations

import io
from pathlib import Path

import skimage
from PIL import Image, ImageDraw, ImageFont

from marsmith.project import Project
from marsmith.serving import connect

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ("chelsea.png", "astronaut.png", "rocket.jpg", "coffee.png")
TURNS = (0, 90, 180, 270)
COLUMNS = ("in", "cartoon", "line-art", "turned", "rotation")
SIDE = 220


def main() -> None:
    """Send each photo to the image models, upright and turned, and paste the answers."""
    sheet = Image.new("RGB", (SIDE * len(COLUMNS), 24 + SIDE * len(PHOTOS)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, title in enumerate(COLUMNS):
        pen.text((SIDE * column + 6, 3), title, "black", font)
    with connect(Project(ROOT)) as client:

        def redrawn(model: str, image: Image.Image) -> Image.Image:
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            answer = client.predict(model, buffer.getvalue(), "image/png")
            return Image.open(io.BytesIO(answer.body)).convert("RGB")

        for row, (name, turn) in enumerate(zip(PHOTOS, TURNS, strict=True)):
            photo = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
            photo.thumbnail((600, 600))
            turned = photo.rotate(turn, expand=True)
            pictures = [photo, redrawn("cartoon", photo), redrawn("line-art", photo)]
            pictures += [turned, redrawn("rotation", turned)]
            for column, picture in enumerate(pictures):
                picture.thumbnail((SIDE - 8, SIDE - 8))
                place = (SIDE * column + (SIDE - picture.width) // 2, 24 + SIDE * row)
                sheet.paste(picture, place)
    sheet.save(ROOT / "docs" / "pictures.jpg", quality=88)
    print("wrote docs/pictures.jpg")


if __name__ == "__main__":
    main()
