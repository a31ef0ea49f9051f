"""A photo as a telephone takes it, and whether one still says where."""

import io

from PIL import Image

PLACE = 0x8825  # the EXIF directory of coordinates
SIZE = (2_600, 1_950)  # pixels: about 2 MB


def with_place() -> bytes:
    """A JPEG of about 2 MB with coordinates, a time and a device in it."""
    exif = Image.Exif()
    exif[0x0110] = "Hana Phone 1"
    exif[0x0132] = "2014:10:01 09:30:00"
    exif[0x0112] = 6  # it was held upright
    place = exif.get_ifd(PLACE)
    place.update({1: "N", 2: (37.0, 33.0, 59.0), 3: "E", 4: (126.0, 58.0, 41.0)})
    out = io.BytesIO()
    Image.effect_noise(SIZE, 40).convert("RGB").save(out, "JPEG", quality=60, exif=exif)
    return out.getvalue()


def has_place(content: bytes) -> bool:
    """Whether it says where, when or with what it was taken."""
    with Image.open(io.BytesIO(content)) as picture:
        return bool(dict(picture.getexif())) or b"Hana Phone" in content
