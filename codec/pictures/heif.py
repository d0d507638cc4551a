"""HEIC and HEIF files, read with pillow-heif. Nothing is registered with Pillow."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from codec.errors import CodecError, InvalidImage
from codec.limits import Limits
from codec.pictures.decoded import Decoded
from codec.pictures.further import more


def read(file: BinaryIO, limits: Limits) -> tuple[Decoded, Any]:
    """Return the primary picture, and the PIL image that describes it; that one is not loaded.

    libheif turns the picture upright by the file's own properties. EXIF does not count there.
    Raises `InvalidImage` or `LimitExceeded`.
    """
    try:
        import pillow_heif
    except ImportError:
        raise InvalidImage("HEIC files need pillow-heif: pip install 'codec[heif]'") from None
    try:
        opened = pillow_heif.open_heif(file, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        limits.check(opened.size[1], opened.size[0])
        mode, depth = opened.mode, int(opened.info["bit_depth"])
        if "a" in mode:
            raise InvalidImage("HEIC files whose colour is multiplied by their alpha are not supported")
        samples = np.asarray(opened)
        file.seek(0)
        image = pillow_heif.HeifImageFile(file)  # type: ignore[no-untyped-call]
    except (CodecError, MemoryError):
        raise
    except Exception as error:  # libheif and its wrapper raise many kinds of exceptions
        raise InvalidImage(f"pillow-heif cannot read the HEIC file: {str(error).strip()}") from None
    samples = samples[:, :, None] if samples.ndim == 2 else samples
    return Decoded(samples, depth if depth > 8 else None, lost=more(len(opened))), image
