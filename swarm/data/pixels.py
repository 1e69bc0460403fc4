"""One image file: decoded, resized and scaled by one rule; what is hostile or damaged is refused.

Read are PNG, JPEG, BMP and TIFF files of one frame, as stored: an EXIF orientation isn't applied, and transparency is
ignored. A study of one channel gets ITU-R 601 luma, one of three channels RGB. The image is stretched to the study's
height and width by Pillow's bilinear filter, which averages over all pixels that it reduces to one, and its values are
divided by the largest that its type holds: 0 is black, 1 is white.
"""

import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from swarm.data.misfits import Fault, Kind

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
DEEP = ("I;16", "I;16B", "I;16L", "I;16N")
PLAIN = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
MAX_IMAGE_BYTES = 1 << 28
MAX_PIXELS = 1 << 26
BROKEN = (OSError, SyntaxError, ValueError, EOFError, ArithmeticError, LookupError, TypeError, AttributeError)
"""What Pillow raises on damaged files, with `struct.error` and `zlib.error`."""


def read_image(path: Path, channels: int, height: int, width: int) -> NDArray[np.float32] | Fault:
    """Give an image as [channels, height, width] in 0..1, or say why it can't be read."""
    from PIL import Image, UnidentifiedImageError  # decoders that other sources do without

    try:
        data = _bytes(path)
        if isinstance(data, Fault):
            return data
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata beside good pixels
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                return _refused(image) or _pixels(image, channels, height, width)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return bad_file(f"it has more than {MAX_PIXELS} pixels")
    except UnidentifiedImageError:
        return bad_file(f"it is not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image")
    except (*BROKEN, struct.error, zlib.error) as error:
        return bad_file(f"it is truncated or damaged ({str(error)[:80] or type(error).__name__})")


def _bytes(path: Path) -> bytes | Fault:
    with path.open("rb") as file:
        data = file.read(MAX_IMAGE_BYTES + 1)
    return data if len(data) <= MAX_IMAGE_BYTES else bad_file(f"it has more than {MAX_IMAGE_BYTES} bytes")


def _refused(image: "Image") -> Fault | None:
    """Say from its header why an image isn't decoded."""
    if image.width * image.height > MAX_PIXELS:
        return bad_file(f"it has {image.width} x {image.height} pixels; at most {MAX_PIXELS} are decoded")
    if getattr(image, "n_frames", 1) != 1:
        return bad_file("it has several frames; give one image a file")
    if image.mode not in (*PLAIN, *DEEP):
        return bad_file(f"its pixels are of the type {image.mode}, whose range isn't known; give 8 or 16 bits")
    return None


def _pixels(image: "Image", channels: int, height: int, width: int) -> NDArray[np.float32]:
    from PIL import Image

    size, bilinear = (width, height), Image.Resampling.BILINEAR
    if image.mode in DEEP:
        deep = Image.fromarray(np.asarray(image).astype(np.float32)).resize(size, bilinear)
        scaled = np.asarray(deep)[np.newaxis] / np.float32(0xFFFF)
        return np.repeat(scaled, channels, axis=0)
    plain = np.asarray(image.convert("L" if channels == 1 else "RGB").resize(size, bilinear))
    return np.moveaxis(plain.reshape(height, width, channels), -1, 0).astype(np.float32) / np.float32(0xFF)


def bad_file(text: str) -> Fault:
    """Describe a file by what is wrong with it: it has no value to show."""
    return Fault(Kind.BAD_FILE, text, text, "an image")
