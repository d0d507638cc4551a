"""Colour of more than eight bits in PNG, JPEG 2000 and AVIF files, which Pillow would reduce."""

from __future__ import annotations

from typing import Any, BinaryIO

from numpy.typing import NDArray

from codec.errors import InvalidImage
from codec.pictures.containers.boxes import boxes
from codec.pictures.containers.found import read_at, size_of

_HEAD = 1 << 20
"""Number of bytes at the start of the box of metadata of AVIF that are searched for the depth."""


def depth_beyond_pillow(image: Any, kind: str, file: BinaryIO) -> int | None:
    """Return the depth of samples that Pillow would reduce to eight bits, or None.

    `image` is not loaded yet. Raises `InvalidImage` if no library reads such samples here.
    """
    if kind == "AVIF":
        return _depth_of_avif(file)
    if image.mode.startswith("I;") or not any(";16" in str(tile[3]) for tile in image.tile):
        return None
    if kind != "PNG":
        raise InvalidImage(f"16-bit colour in {kind} files is not supported: use .png, .tiff, .ppm or .npy")
    return 16


def _depth_of_avif(file: BinaryIO) -> int | None:
    for kind, start, end in boxes(file, 0, size_of(file)):
        if kind in (b"meta", b"moov"):
            head = read_at(file, start, min(end - start, _HEAD))
            # The third byte of the AV1 configuration record: high_bitdepth, twelve_bit.
            at = head.find(b"av1C\x81") + 6
            if 6 <= at < len(head):
                return (12 if head[at] & 0x20 else 10) if head[at] & 0x40 else None
    return None


def read(file: BinaryIO, kind: str) -> NDArray[Any]:
    """Return the samples H×W×C, read with imagecodecs."""
    name = {"PNG": "png", "JPEG2000": "jpeg2k", "AVIF": "avif"}[kind]
    try:
        import imagecodecs
    except ImportError:
        raise InvalidImage(
            f"16-bit colour in {kind} files needs imagecodecs: pip install 'codec[deep]'"
        ) from None
    file.seek(0)
    samples: NDArray[Any] = getattr(imagecodecs, f"{name}_decode")(file.read())
    return samples[:, :, None] if samples.ndim == 2 else samples
