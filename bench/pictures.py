"""The pictures of a benchmark: every file in the folders is either measured or accounted for."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]
"""H×W×3 uint8, sRGB as far as anyone knows."""

_NOTES = {
    "L": "gray, measured as RGB",
    "1": "1 bit, measured as RGB",
    "P": "palette, measured as RGB",
    "RGBA": "alpha dropped",
    "LA": "gray, measured as RGB; alpha dropped",
    "PA": "palette, measured as RGB; alpha dropped",
    "CMYK": "CMYK, measured as RGB",
    "YCbCr": "YCbCr, measured as RGB",
}


class NotMeasured(Exception):
    """A file that the benchmark leaves out, and why."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture that will be measured."""

    name: str
    path: Path
    width: int
    height: int
    digest: str
    """Of its pixels: a renamed file keeps its results, a changed one does not."""
    note: str | None
    """What was done to make it 8-bit RGB."""

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A file that will not be measured."""

    name: str
    reason: str


def collect(sources: Iterable[Path]) -> tuple[list[Picture], list[Skipped]]:
    """All files in the folders (or single files) but hidden ones, sorted by name."""
    pictures: list[Picture] = []
    skipped: list[Skipped] = []
    for name, path in _named_files(list(sources)):
        try:
            pixels, note = read(path)
        except NotMeasured as error:
            skipped.append(Skipped(name, str(error)))
            continue
        height, width = pixels.shape[:2]
        digest = hashlib.sha256(f"{width} {height} ".encode() + pixels.tobytes()).hexdigest()[:16]
        pictures.append(Picture(name, path, width, height, digest, note))
    return pictures, skipped


def _named_files(sources: list[Path]) -> list[tuple[str, Path]]:
    """Names are relative to their folder, led by the folder's name where there are several."""
    files: dict[str, Path] = {}
    for source in sources:
        if not source.is_dir():
            files.setdefault(source.name, source)
            continue
        lead = f"{source.resolve().name}/" if len(sources) > 1 else ""
        for path in source.rglob("*"):
            inside = path.relative_to(source)
            if path.is_file() and not any(part.startswith(".") for part in inside.parts):
                name = lead + inside.as_posix()
                while name in files and files[name].resolve() != path.resolve():
                    name += "'"  # two folders of the same name
                files[name] = path
    return sorted(files.items())


def read(path: Path) -> tuple[Pixels, str | None]:
    """H×W×3 uint8 and a note of what was converted; `NotMeasured` says why a file is left out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large pictures and odd metadata are no news here
            with Image.open(path) as image:
                image.load()
                return _to_rgb(image)
    except NotMeasured:
        raise
    except UnidentifiedImageError:
        raise NotMeasured("not a picture that Pillow knows") from None
    except Exception as error:  # Pillow's decoders raise whatever their libraries do
        text = " ".join(str(error).split()) or type(error).__name__
        raise NotMeasured(f"cannot be read: {text}") from None


def _to_rgb(image: Image.Image) -> tuple[Pixels, str | None]:
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append("first frame only")
    mode = image.mode
    turned = ImageOps.exif_transpose(image)
    if mode.startswith("I;16"):
        gray = (np.asarray(turned).astype(np.uint16) >> 8).astype(np.uint8)
        notes.append("16-bit gray, measured as 8-bit RGB")
        return np.repeat(gray[:, :, None], 3, axis=2), "; ".join(notes)
    if mode != "RGB":
        if mode not in _NOTES:
            raise NotMeasured(f"samples of mode {mode} have no 8-bit RGB form")
        notes.append(_NOTES[mode])
    if mode in ("P", "L", "RGB") and "transparency" in image.info:
        notes.append("transparent colour dropped")
    return np.array(turned.convert("RGB")), "; ".join(notes) or None


@functools.lru_cache(maxsize=1)
def read_again(path: Path) -> Pixels:
    """The pixels of a collected picture; the last one is kept."""
    return read(path)[0]
