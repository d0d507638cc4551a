"""The pictures of a benchmark. Every file in the folders is measured or listed with a reason."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]
"""H×W×3 uint8, assumed to be sRGB."""

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
    """The benchmark leaves a file out. The message gives the reason."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture that will be measured."""

    name: str
    path: Path
    width: int
    height: int
    digest: str
    """Digest of the pixels. A renamed file keeps its results, a changed file does not."""
    note: str | None
    """Conversions that were needed for 8-bit RGB."""

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A file that will not be measured."""

    name: str
    reason: str


def collect(sources: Iterable[Path], leave_out: Path | None = None) -> tuple[list[Picture], list[Skipped]]:
    """Pictures and skipped files in the given folders or single files, sorted by name.

    Hidden files and files under `leave_out` are ignored.
    """
    pictures: dict[str, Picture] = {}
    skipped: list[Skipped] = []
    for name, path, problem in _named_files(list(sources), leave_out and leave_out.resolve()):
        try:
            if problem:
                raise NotMeasured(problem)
            pixels, note = read(path)
            height, width = pixels.shape[:2]
            digest = hashlib.sha256(f"{width} {height} ".encode() + pixels.tobytes()).hexdigest()[:16]
            if digest in pictures:
                raise NotMeasured(f"has the same pixels as {pictures[digest].name}")
        except NotMeasured as error:
            skipped.append(Skipped(name, str(error)))
            continue
        pictures[digest] = Picture(name, path, width, height, digest, note)
    return list(pictures.values()), skipped


def _named_files(sources: list[Path], leave_out: Path | None) -> list[tuple[str, Path, str | None]]:
    """Name, path and problem of each file. Names are relative to their folder and unique."""
    files: dict[str, tuple[Path, str | None]] = {}
    for source in sources:
        lead = f"{source.resolve().name}/" if len(sources) > 1 else ""
        for path, problem in _walk(source) if source.is_dir() else [(source, None)]:
            if leave_out and Path(os.path.realpath(path)).is_relative_to(leave_out):
                continue
            name = lead + path.relative_to(source).as_posix() if source.is_dir() else path.name
            # A name that is not valid UTF-8 must still fit into the result files.
            name = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            while name in files:
                name += "'"
            if problem is None and not path.is_file():
                problem = "not a regular file" if path.exists() else "a broken link"
            files[name] = (path, problem)
    return sorted((name, *about) for name, about in files.items())


def _walk(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Everything in a folder that is not hidden. Links to folders are listed but not followed."""
    unreadable: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if Path(place, name).is_symlink():
                yield Path(place, name), "a link to a folder"
        for name in files:
            if not name.startswith("."):
                yield Path(place, name), None
    for error in unreadable:
        yield Path(error.filename), f"cannot be read: {error.strerror}"


def read(path: Path) -> tuple[Pixels, str | None]:
    """H×W×3 uint8, and a note of the conversions. Raises `NotMeasured` if the file is left out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large pictures and odd metadata are expected here
            with Image.open(path) as image:
                deep = any(";16" in str(part) for part in image.tile)  # Pillow keeps only eight bits
                image.load()
                return _to_rgb(image, deep)
    except NotMeasured:
        raise
    except UnidentifiedImageError:
        raise NotMeasured("not a picture that Pillow can read") from None
    except Exception as error:  # Pillow's decoders raise any error of their libraries
        text = " ".join(str(error).replace(str(path), path.name).split()) or type(error).__name__
        raise NotMeasured(f"cannot be read: {text}") from None


def _to_rgb(image: Image.Image, deep: bool) -> tuple[Pixels, str | None]:
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append("first frame only")
    mode = image.mode
    turned = ImageOps.exif_transpose(image)
    if mode.startswith("I;16"):
        gray = (np.asarray(turned).astype(np.uint16) >> 8).astype(np.uint8)
        notes.append("16-bit gray, measured as 8-bit RGB")
        return np.repeat(gray[:, :, None], 3, axis=2), "; ".join(notes)
    if deep:
        notes.append("16 bits reduced to 8")
    if mode != "RGB":
        if mode not in _NOTES:
            raise NotMeasured(f"samples of mode {mode} cannot be converted to 8-bit RGB")
        notes.append(_NOTES[mode])
    if mode in ("P", "L", "RGB") and "transparency" in image.info:
        notes.append("transparent colour dropped")
    return np.array(turned.convert("RGB")), "; ".join(notes) or None


@functools.lru_cache(maxsize=1)
def read_again(path: Path) -> Pixels:
    """Pixels of a collected picture. The last picture is cached."""
    return read(path)[0]
