"""Which member of a tar sample is the picture to compress.

A member is named by its extension, which is everything after the first dot: `jpg`, `left.png`.
Masks, depth maps and the like must never be compressed with loss, so what is not clear is an error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from codec.data.sources.base import CAMERA_RAW, listed
from codec.errors import FormatError

_PHOTOGRAPHS = frozenset({
    ".avif", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx", ".jxl",
    ".webp",
})

_MAPS = frozenset({
    "albedo", "alpha", "anno", "annotation", "annotations", "bbox", "boundary", "class", "classes",
    "confidence", "contour", "depth", "depths", "disp", "disparity", "edge", "edges", "flow", "gt",
    "heatmap", "id", "ids", "index", "indices", "inpaint", "instance", "instances", "label", "labels",
    "mask", "masks", "matte", "matting", "normal", "normals", "occlusion", "panoptic", "parsing",
    "pose", "saliency", "seg", "segm", "segment", "segmentation", "segments", "semantic", "semantics",
    "target", "thumb", "thumbnail", "trimap", "visibility",
})
"""Words in extensions of members that are not photographs."""

_LAST = 3
"""Rank of camera raw and arrays."""


def choose(extensions: Iterable[str], suffixes: Collection[str]) -> str | None:
    """Return the extension of the picture of a sample; None if the sample has none.

    `suffixes` are the extensions of pictures. Camera raw and arrays count only if there is nothing
    else. Of several pictures, the one whose extension has no further dot is chosen. Of several of
    these, `.cae` comes first, then formats of photographs (JPEG, WebP, HEIC, …), then other
    formats. If all have further dots, the only one without a word such as "mask" or "depth" is
    chosen. Raises `FormatError` if this leaves more than one, or only those with such a word.
    """
    found = [one for one in extensions if _suffix(one) in suffixes]
    pool = [one for one in found if _rank(one) < _LAST] or found
    plain = [one for one in pool if "." not in one]
    if plain:
        first = min(map(_rank, plain))
        clear = [one for one in plain if _rank(one) == first]
    else:
        clear = [one for one in pool if not _MAPS & set(re.findall("[a-z]+", one.lower()))]
    if found and len(clear) != 1:
        raise FormatError(
            f"it is not clear which of its pictures to compress ({listed(found)}): "
            "choose with --image or image=, the others are kept as they are"
        )
    return clear[0] if clear else None


def _suffix(extension: str) -> str:
    return f".{extension.rpartition('.')[2]}"


def _rank(extension: str) -> int:
    suffix = _suffix(extension)
    if suffix == ".cae":
        return 0
    if suffix in _PHOTOGRAPHS:
        return 1
    return _LAST if suffix == ".npy" or suffix in CAMERA_RAW else 2
