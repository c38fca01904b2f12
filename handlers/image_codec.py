"""Pictures from bytes and back. What a file is called or claims to be never matters."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from image_request import RequestError
from PIL import Image

# No vector or document formats: some of those start other programs to be decoded.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_KINDS = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
# What people send by mistake, by the bytes it begins with.
_OTHERS = {
    b"%PDF": "a PDF document",
    b"%!PS": "PostScript",
    b"<": "SVG, HTML or XML",
    b"8BPS": "a Photoshop file",
    b"PK\3\4": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\0\0\1\0": "an icon",
    b"\x93NUMPY": "a numpy array",
}
_OTHER_BOXES = {b"heic", b"heix", b"mif1", b"msf1", b"isom", b"mp41", b"mp42", b"qt  ", b"M4V "}
_SAVED_AS = {
    "image/jpeg": ("JPEG", {"quality": 92}, 65_500),
    "image/png": ("PNG", {"compress_level": 3}, 1 << 30),
    "image/webp": ("WEBP", {"quality": 90, "method": 2}, 16_383),
}
IMAGE_TYPES = tuple(_SAVED_AS)
# EXIF orientation: how to transpose the stored pixels, and the turn in that, counter-clockwise.
_ORIENTATIONS = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, 0),
    3: (Image.Transpose.ROTATE_180, 180),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, 180),
    5: (Image.Transpose.TRANSPOSE, 90),
    6: (Image.Transpose.ROTATE_270, 270),
    7: (Image.Transpose.TRANSVERSE, 270),
    8: (Image.Transpose.ROTATE_90, 90),
}


@dataclass(frozen=True)
class Picture:
    """A decoded picture: upright, in mode L or RGB, maybe at a smaller scale than it came in."""

    image: Image.Image
    size: tuple[int, int]  # (width, height) in pixels as it came in, upright
    exif_degree: int = 0  # by how much its EXIF orientation turned it, counter-clockwise


def open_picture(
    body: bytes, max_pixels: int, enough: int | None = None, *, contrast: bool = False
) -> Picture:
    """Decode a picture, at a reduced scale where `enough` pixels a side are all that is needed.

    Of an animation the first frame. Transparency is laid over white; with `contrast` over black
    where all that shows is nearly white. Raises RequestError: 400 for what is no image or broken,
    415 for other kinds of files, 413 for more than `max_pixels`, found before decoding.
    """
    too_large = RequestError(
        413, "too_many_pixels", f"the image has more than {max_pixels} pixels", "send it smaller"
    )
    try:
        image: Image.Image = Image.open(io.BytesIO(body), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_large from None
    except Exception as error:
        raise _not_an_image(body) from error
    width, height = image.size
    if width * height > max_pixels:
        raise too_large
    kind = image.format
    try:
        _, degree = _ORIENTATIONS.get(_orientation(image), (None, 0))
        if enough:
            image.draft(None, (enough, enough))  # JPEG alone can be decoded smaller
        image.load()
        # Asked again, because Pillow sets a TIFF upright by itself.
        transpose, _ = _ORIENTATIONS.get(_orientation(image), (None, 0))
        image = _flat(image, contrast=contrast)
        if enough and (factor := min(image.size) // enough) > 1:
            image = image.reduce(factor)  # a batch of large pictures is not kept whole
    except MemoryError:
        raise
    except Exception as error:
        raise RequestError(
            400, "broken_image", f"the {kind} image is damaged or cut off", "send it whole"
        ) from error
    if transpose is not None:
        image = image.transpose(transpose)
        if transpose > Image.Transpose.FLIP_TOP_BOTTOM and transpose != Image.Transpose.ROTATE_180:
            width, height = height, width
    return Picture(image, (width, height), degree)


def encode_image(image: Image.Image, content_type: str) -> bytes:
    """Write an image in mode L or RGB as one of IMAGE_TYPES.

    Raises RequestError (406) where that format has no room for so many rows or columns.
    """
    kind, options, longest = _SAVED_AS[content_type]
    if max(image.size) > longest:
        hint = "accept image/png, or send the picture smaller"
        raise RequestError(
            406, "too_long", f"a {kind} image has at most {longest} pixels a side", hint
        )
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _not_an_image(body: bytes) -> RequestError:
    head = body[:64].lstrip()
    other = next((name for start, name in _OTHERS.items() if head.startswith(start)), None)
    if body[4:8] == b"ftyp" and body[8:12] in _OTHER_BOXES:
        other = "HEIC or a video"
    hint = "send " + _KINDS
    if other:
        return RequestError(415, "unsupported_type", f"the body is {other}, not an image", hint)
    return RequestError(400, "not_an_image", "the body is no image that can be decoded", hint)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF is no reason to refuse a sound picture
        return 1


def _flat(image: Image.Image, *, contrast: bool) -> Image.Image:
    """Return mode L or RGB: 16 bits scaled to 8, palettes and transparency resolved."""
    if image.mode.startswith("I"):
        pixels = np.asarray(image).astype(np.int64)
        wide = pixels.max(initial=0) > 255  # else eight bits in a wide format
        return Image.fromarray((pixels >> 8 if wide else pixels).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = "black" if contrast and _would_vanish(image) else "white"
        return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")
    if image.mode == "F":  # values in 0…1, or in 0…255
        values = np.nan_to_num(np.asarray(image))
        scale = 255 if values.max(initial=0) <= 1 else 1
        return Image.fromarray((values * scale).clip(0, 255).astype(np.uint8))
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _would_vanish(image: Image.Image) -> bool:
    """Tell whether all that shows of a picture with transparency is nearly white."""
    seen = np.asarray(image.convert("L"))[np.asarray(image.getchannel("A")) > 127]
    return bool(seen.size and seen.min() > 200)
