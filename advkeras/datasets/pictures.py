"""Pictures of any format, mode and depth as arrays of 8 bits."""

import logging
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from advkeras import limits
from advkeras.arrays import PICTURE_CHANNELS
from advkeras.errors import InvalidInputError, first_line, plain_text

# What it says of a damaged picture is not to be printed beside the line that is said here.
logging.getLogger("PIL").addHandler(logging.NullHandler())

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")

# What Pillow reads files of these endings as, and nothing else: some of its formats start other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_ORIENTATION = 0x0112
_UPRIGHT = 1
# Modes of Pillow with 16 bits a pixel, or with the 32 in which it keeps them.
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        pixels: (H, W, C) uint8.
        turned: whether its EXIF entry says that it is to be turned or mirrored.
    """

    pixels: npt.NDArray[np.uint8]
    turned: bool


def read(path: Path | BinaryIO, *, name: str = "", channels: int | None = None, exif: bool = False) -> Picture:
    """The first frame of a picture.

    Colours of a palette become what they stand for, 16 bits become 8, and what is transparent keeps its colour, as
    Keras's readers have it.

    Args:
        path: of the file, or the open file.
        name: for messages; the path by default.
        channels: 1, 3 or 4; by default as many as the picture has: 1 for grey, 4 with transparency, else 3.
        exif: turn it as its EXIF entry says. Keras's readers do not.

    Raises:
        InvalidInputError: if it cannot be read, or has more pixels than are read.
    """
    called = name or str(path)
    try:
        with warnings.catch_warnings(), _opened(path) as opened:
            limits.require_room(4 * opened.width * opened.height, limits.PICTURE, f"{called}: what it unpacks to")
            turned = opened.getexif().get(_ORIENTATION, _UPRIGHT) not in (0, _UPRIGHT)
            image: Image.Image = ImageOps.exif_transpose(opened) if exif else opened
            image.load()
            flat = _eight_bits(image)
            mode = _MODES[channels if channels is not None else _channels_of(flat)]
            pixels = np.asarray(flat if flat.mode == mode else _converted(flat, mode))
    except InvalidInputError:
        raise
    except Image.DecompressionBombError:
        raise limits.too_large(f"{called}: what it unpacks to", None, limits.PICTURE) from None
    # What a damaged file raises depends on its format, and is no part of Pillow's interface.
    except Exception as error:
        raise InvalidInputError(f"{called} is no readable image: {plain_text(first_line(error))}") from None
    return Picture(pixels[..., np.newaxis] if pixels.ndim == 2 else pixels, turned)


def _opened(path: Path | BinaryIO) -> Image.Image:
    warnings.simplefilter("ignore")  # of Pillow's own limit, and of odd facts beside the pixels
    return Image.open(path, formats=_FORMATS)


def encoded(images: npt.ArrayLike, bounds: tuple[float, float]) -> list[bytes]:
    """Images (N, H, W, C) in pixel units as PNG files, rounded to 8 bits.

    Raises:
        InvalidInputError: if the images have neither 1, 3 nor 4 channels.
    """
    low, high = bounds
    pixels = np.rint((np.asarray(images, np.float64) - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
    if pixels.shape[-1] not in PICTURE_CHANNELS:
        raise InvalidInputError(f"pictures have 1, 3 or 4 channels. Received: images of {pixels.shape[-1]}")
    files = []
    for image in pixels:
        content = BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(content, "PNG")
        files.append(content.getvalue())
    return files


def resized(pixels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """A picture (H, W, C) of another size, scaled as Keras's loaders do by default: bilinear, without antialiasing."""
    import tensorflow as tf

    scaled = tf.image.resize(pixels, (height, width), method="bilinear")
    return np.asarray(tf.cast(tf.clip_by_value(tf.round(scaled), 0, 255), tf.uint8))


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP:
        deep = np.array(image, np.int32)
        np.clip(deep, 0, 65535, out=deep)
        deep += 128  # so that it is rounded: 257 is odd
        deep //= 257
        return Image.fromarray(deep.astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, which do not say what white is")
    return image


def _channels_of(image: Image.Image) -> int:
    if image.mode in ("1", "L"):
        return 1
    return 4 if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info else 3


def _converted(image: Image.Image, mode: str) -> Any:
    # A palette may be transparent: by way of RGBA Pillow does not warn.
    through = image.convert("RGBA") if image.mode in ("P", "PA") else image
    return through.convert(mode)
