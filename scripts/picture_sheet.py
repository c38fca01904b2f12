"""Draw docs/pictures.jpg: what comes out beside what went in, for each archive, as it is served.

    marsmith serve --background && .venv/bin/python scripts/picture_sheet.py

The photos ship with scikit-image and are in the public domain (CC0 or NASA's); scripts/setup dev
installs it.
"""

from __future__ import annotations

import io
from pathlib import Path

import skimage
from PIL import Image, ImageDraw, ImageFont, ImageOps

from marsmith.project.project import Project
from marsmith.server.lookup import connect

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ("chelsea.png", "astronaut.png", "rocket.jpg", "coffee.png")
TITLES = ("sent", "cartoon", "line-art", "sent turned", "rotation")
WIDTH, HEIGHT = 240, 180


def main() -> None:
    """Send each photo to the image models, and paste the answers beside it."""
    sheet = Image.new("RGB", (WIDTH * len(TITLES), 24 + HEIGHT * len(PHOTOS)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, title in enumerate(TITLES):
        pen.text((WIDTH * column + 6, 3), title, "black", font)
    with connect(Project(ROOT)) as client:

        def redrawn(model: str, image: Image.Image) -> Image.Image:
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            answer = client.predict(model, buffer.getvalue(), "image/png")
            return Image.open(io.BytesIO(answer.body)).convert("RGB")

        for row, name in enumerate(PHOTOS):
            photo = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
            photo.thumbnail((600, 600))
            turned = photo.rotate(90 * (row + 1), expand=True)
            pictures = [photo, redrawn("cartoon", photo), redrawn("line-art", photo)]
            pictures += [turned, redrawn("rotation", turned)]
            for column, picture in enumerate(pictures):
                fitted = ImageOps.contain(picture, (WIDTH - 8, HEIGHT - 8))
                sheet.paste(fitted, (WIDTH * column + 4, 24 + HEIGHT * row))
    sheet.save(ROOT / "docs" / "pictures.jpg", quality=85)
    print("wrote docs/pictures.jpg")


if __name__ == "__main__":
    main()
