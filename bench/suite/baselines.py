"""The codecs of the benchmark, each with two functions: encode(image, setting) and decode(data).

A `Baseline` describes a codec. Its `start` imports the packages it needs and returns the two
functions, so that a missing package does not affect the other codecs. Both functions work in memory
on H×W×3 uint8.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.coding.effort import DEFAULT_EFFORT, EFFORTS

Pixels = NDArray[np.uint8]
Encode = Callable[[Pixels, float], bytes]
Decode = Callable[[bytes], Pixels]

OURS = "codec"
"""Prefix of the names of this project's codec: `codec-MODEL`, or `codec:FILE` for a weights file.

An effort level other than the default is appended after an @, as in `codec-mse@9`."""

FIVES = tuple(range(5, 100, 5))
TENS = (1, 5, *range(10, 91, 10), 95)


class Unavailable(Exception):
    """A codec cannot run here. The message gives the reason or says what to install."""


@dataclasses.dataclass(frozen=True)
class Baseline:
    """One codec with fixed options. Only its setting varies."""

    name: str
    label: str
    settings: tuple[float, ...]
    """From few bits to many. A lossless codec has one setting, which has no effect."""
    describe: str
    """Options and range of settings, for the report."""
    start: Callable[[int], tuple[Encode, Decode]]
    """Takes the number of threads and returns the two functions. Raises `Unavailable`."""
    version: Callable[[], str]
    """Returns the version of the library that does the work. Raises `Unavailable`."""
    lossless: bool = False

    @property
    def ours(self) -> bool:
        return self.name.startswith(OURS)


def all_baselines() -> list[Baseline]:
    """All codecs: ours first, then the lossy ones, then the lossless ones.

    Ours are one per shipped model, the default model before the others.
    """
    import codec

    models = sorted(codec.models(), key=lambda entry: not entry["default"])
    return [*(_ours(entry["name"]) for entry in models), *_LOSSY, *_LOSSLESS]


def default_names() -> list[str]:
    """All names except `jpeg-default`, which checks the benchmark against a published curve."""
    return [baseline.name for baseline in all_baselines() if baseline.name != "jpeg-default"]


def find(name: str) -> Baseline:
    """Find a codec by name. Raises `ValueError` if there is none.

    `codec:FILE` names a weights file that does not ship. `@EFFORT` may follow a name of this codec.
    """
    base, at, effort = name.rpartition("@")
    if at and name.startswith(OURS) and effort.isdecimal():
        if int(effort) not in EFFORTS:
            raise ValueError(f"{name!r}: no effort level {effort}")
        return _ours(find(base).name.removeprefix(OURS)[1:], name, int(effort))
    if name.startswith(f"{OURS}:"):
        file = name.removeprefix(f"{OURS}:")
        if not Path(file).is_file():
            raise ValueError(f"{name!r}: no such weights file")
        return _ours(file, name)
    known = {baseline.name: baseline for baseline in all_baselines()}
    if name not in known:
        raise ValueError(f"no codec is named {name!r}; available: {', '.join(known)}")
    return known[name]


def _ours(model: str, name: str | None = None, effort: int = DEFAULT_EFFORT) -> Baseline:
    """This codec with a shipped model or a weights file. `name` is `codec-MODEL` by default."""

    def start(threads: int) -> tuple[Encode, Decode]:
        import codec

        worker = codec.Codec(model=model, threads=threads)

        def encode(image: Pixels, quality: float) -> bytes:
            return worker.compress(image, quality=quality, effort=effort)

        return encode, worker.decompress

    def version() -> str:
        import codec
        from codec.model import registry
        from codec.model.weights import model_id

        return f"codec {codec.__version__}, model {model_id(registry.find(model)[1]).hex()}"

    extra = "" if effort == DEFAULT_EFFORT else f", effort {effort}"
    return Baseline(
        name=name or f"{OURS}-{model}", label=f"codec {Path(model).stem}{extra}",
        settings=tuple(range(0, 101, 10)), describe=f"quality 0…100{extra}", start=start, version=version,
    )


def _pillow(
    kind: str, save: Callable[[float], dict[str, Any]], threads_option: bool = False
) -> Callable[[int], tuple[Encode, Decode]]:
    """A format that Pillow writes. `save` converts the setting into options of `Image.save`."""

    def start(threads: int) -> tuple[Encode, Decode]:
        from PIL import AvifImagePlugin, Image

        if threads_option:  # the decoder has no argument for it and uses this default
            AvifImagePlugin.DEFAULT_MAX_THREADS = threads
        more = {"max_threads": threads} if threads_option else {}

        def encode(image: Pixels, setting: float) -> bytes:
            out = io.BytesIO()
            Image.fromarray(image).save(out, kind, **save(setting), **more)
            return out.getvalue()

        def decode(data: bytes) -> Pixels:
            with Image.open(io.BytesIO(data), formats=[kind]) as image:
                return np.array(image.convert("RGB"))

        return encode, decode

    return start


def _pillow_version(kind: str, library: str, feature: str) -> Callable[[], str]:
    def version() -> str:
        import PIL
        from PIL import Image, features

        Image.init()
        if kind not in Image.SAVE:
            raise Unavailable(f"this Pillow cannot write {kind}")
        return f"Pillow {PIL.__version__}, {library} {features.version(feature)}"

    return version


def _jpeg(subsampling: str) -> Callable[[float], dict[str, Any]]:
    return lambda quality: {
        "quality": int(quality), "subsampling": subsampling, "optimize": True, "progressive": True,
    }


def _avif(subsampling: str) -> Callable[[float], dict[str, Any]]:
    return lambda quality: {"quality": int(quality), "subsampling": subsampling, "speed": 6}


def _imagecodecs() -> Any:
    try:
        import imagecodecs
    except ImportError:
        raise Unavailable("imagecodecs is not installed: pip install 'codec[bench]'") from None
    if not imagecodecs.JPEGXL.available:
        raise Unavailable("this imagecodecs has no JPEG XL")
    return imagecodecs


def _jpegxl(lossless: bool) -> Callable[[int], tuple[Encode, Decode]]:
    def start(threads: int) -> tuple[Encode, Decode]:
        library = _imagecodecs()

        def encode(image: Pixels, distance: float) -> bytes:
            how = {"lossless": True} if lossless else {"distance": distance}
            return bytes(library.jpegxl_encode(image, effort=7, numthreads=threads, **how))

        def decode(data: bytes) -> Pixels:
            return np.asarray(library.jpegxl_decode(data, numthreads=threads))

        return encode, decode

    return start


def _jpegxl_version() -> str:
    library = _imagecodecs()
    return f"imagecodecs {library.__version__}, {library.jpegxl_version()}"


def _zstd(filtered: bool) -> Callable[[int], tuple[Encode, Decode]]:
    """zstd on the pixels or on filtered rows. Height and width come first, as two 32-bit words."""

    def start(threads: int) -> tuple[Encode, Decode]:
        import zstandard

        # zstd splits large input into jobs for its threads. Pictures below a few megabytes are one
        # job.
        coder = zstandard.ZstdCompressor(level=19, threads=threads if threads > 1 else 0)

        def encode(image: Pixels, setting: float) -> bytes:
            head = np.array(image.shape[:2], "<u4").tobytes()
            return head + coder.compress(filter_rows(image) if filtered else image.tobytes())

        def decode(data: bytes) -> Pixels:
            height, width = (int(n) for n in np.frombuffer(data[:8], "<u4"))
            raw = zstandard.ZstdDecompressor().decompress(data[8:])
            if filtered:
                return unfilter_rows(raw, height, width)
            return np.frombuffer(raw, np.uint8).reshape(height, width, 3)

        return encode, decode

    return start


def filter_rows(image: Pixels) -> bytes:
    """Each row as its filter number followed by its filtered samples, modulo 256.

    The four filters subtract nothing, the pixel to the left, the pixel above, or
    left + above − above left (predictor 4 of lossless JPEG). All of them can be inverted one row at
    a time. The filter with the smallest sum of absolute differences is chosen, as PNG recommends.
    """
    height, width, _ = image.shape
    above = np.concatenate([np.zeros((1, width, 3), np.uint8), image[:-1]])
    rise = image - above
    candidates = np.stack([image, _from_left(image), rise, _from_left(rise)])
    sums = np.abs(candidates.view(np.int8).astype(np.int16)).sum(axis=(2, 3), dtype=np.int64)
    best = sums.argmin(axis=0)
    rows = candidates[best, np.arange(height)].reshape(height, -1)
    return np.concatenate([best[:, None].astype(np.uint8), rows], axis=1).tobytes()


def _from_left(image: Pixels) -> Pixels:
    return np.diff(image, axis=1, prepend=np.zeros((len(image), 1, 3), np.uint8))


def unfilter_rows(raw: bytes, height: int, width: int) -> Pixels:
    """The inverse of `filter_rows`."""
    rows = np.frombuffer(raw, np.uint8).reshape(height, 1 + 3 * width)
    image = np.zeros((height, width, 3), np.uint8)
    above = np.zeros((width, 3), np.uint8)
    for row, line in enumerate(rows):
        kind, values = int(line[0]), line[1:].reshape(width, 3)
        if kind in (1, 3):
            values = np.cumsum(values, axis=0, dtype=np.uint8)
        image[row] = values + above if kind in (2, 3) else values
        above = image[row]
    return image


def _zstd_version() -> str:
    import zstandard

    number = ".".join(str(part) for part in zstandard.ZSTD_VERSION)
    return f"zstandard {importlib.metadata.version('zstandard')}, zstd {number}"


_TURBO = _pillow_version("JPEG", "libjpeg-turbo", "libjpeg_turbo")
_WEBP = _pillow_version("WEBP", "libwebp", "webp")
_AVIF = _pillow_version("AVIF", "libavif", "avif")

_LOSSY = [
    Baseline("jpeg", "JPEG 4:2:0", FIVES, "quality 5…95, 4:2:0, optimised, progressive",
             _pillow("JPEG", _jpeg("4:2:0")), _TURBO),
    Baseline("jpeg-444", "JPEG 4:4:4", FIVES, "quality 5…95, 4:4:4, optimised, progressive",
             _pillow("JPEG", _jpeg("4:4:4")), _TURBO),
    Baseline("jpeg-default", "JPEG, Pillow's defaults", FIVES,
             "quality 5…95, 4:2:0, neither optimised nor progressive",
             _pillow("JPEG", lambda quality: {"quality": int(quality)}), _TURBO),
    Baseline("webp", "WebP", TENS, "quality 1…95, method 6, 4:2:0",
             _pillow("WEBP", lambda quality: {"quality": int(quality), "method": 6}), _WEBP),
    Baseline("avif", "AVIF 4:4:4", TENS, "quality 1…95, speed 6, 4:4:4, default tuning",
             _pillow("AVIF", _avif("4:4:4"), threads_option=True), _AVIF),
    Baseline("avif-420", "AVIF 4:2:0", TENS, "quality 1…95, speed 6, 4:2:0, default tuning",
             _pillow("AVIF", _avif("4:2:0"), threads_option=True), _AVIF),
    Baseline("jpeg2000", "JPEG 2000", (300, 200, 120, 80, 50, 32, 20, 14, 10, 7, 5),
             "compression ratio 300…5, 9/7 wavelet",
             _pillow("JPEG2000", lambda ratio: {
                 "quality_mode": "rates", "quality_layers": [ratio], "irreversible": True, "mct": 1,
                 "no_jp2": True,
             }), _pillow_version("JPEG2000", "OpenJPEG", "jpg_2000")),
    Baseline("jpegxl", "JPEG XL", (25, 17, 12, 9, 7, 5, 4, 3, 2, 1.5, 1, 0.5),
             "distance 25…0.5, effort 7", _jpegxl(lossless=False), _jpegxl_version),
]

_LOSSLESS = [
    Baseline("png", "PNG", (0,), "optimised (zlib level 9)",
             _pillow("PNG", lambda _: {"optimize": True}),
             _pillow_version("PNG", "zlib-ng", "zlib_ng"), lossless=True),
    Baseline("webp-lossless", "WebP lossless", (0,), "method 4, effort 80: Pillow's defaults",
             _pillow("WEBP", lambda _: {"lossless": True}), _WEBP, lossless=True),
    Baseline("jpegxl-lossless", "JPEG XL lossless", (0,), "effort 7",
             _jpegxl(lossless=True), _jpegxl_version, lossless=True),
    Baseline("zstd", "zstd, raw pixels", (0,), "level 19",
             _zstd(filtered=False), _zstd_version, lossless=True),
    Baseline("zstd-filtered", "zstd, filtered rows", (0,),
             "level 19 on rows less their left, upper or gradient neighbours", _zstd(filtered=True),
             _zstd_version, lossless=True),
]
