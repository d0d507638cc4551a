"""Write the golden files: python -m tests.support.make_goldens

The program writes the folder `tests/golden/v2-MODEL_ID` of every shipped model and then the invalid
files of `make_invalid`. Run it after every change of the weights. Folders of models that neither
ship nor are in `RELEASED` are removed.

Golden files of a release are permanent: its folders are added to `RELEASED`, and this program does
not change them. Every later release must decode them to the same symbols. If their model no longer
ships, it must refuse them with a specific error.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

import codec
from codec.format.header import VERSION
from codec.pictures.picture import Samples
from codec.training.data import read_rgb
from tests.support.pictures import SAMPLES, Pixels, noise, textured
from tests.support.recoded import tile_residuals
from tests.support.tiles import symbols_digest

GOLDEN = Path(__file__).parents[1] / "golden"

RELEASED = ["v1", "v2-ebdce1dec966"]
"""Folders of golden files that a release contained.

Those of version 1, and of models that do not ship any more, hold a few files that are refused."""

Made = dict[str, tuple[Any, dict[str, Any]]]
"""Picture and options of `compress` by the name of the golden file."""


def folder_of(model_id: str) -> str:
    """Return the name of the folder of a model's golden files."""
    return f"v{VERSION}-{model_id}"


def made() -> Made:
    """Return all golden pictures."""
    return pictures() | kinds() | residuals() | tagged()


def pictures() -> Made:
    """Return 8-bit gray and RGB pictures."""
    photographs = {path.stem: read_rgb(path) for path in sorted(SAMPLES.glob("*.jpg"))}
    some: dict[str, tuple[Pixels, float]] = {
        f"{name}-q{quality}": (image[100:292, 200:456], quality)
        for name, image in photographs.items()
        for quality in (0, 25, 50, 75, 100)
    }
    some["gray"] = (photographs["brushes"][:75, :99, 0], 60)
    some["one-pixel"] = (np.full((1, 1, 3), 200, np.uint8), 50)
    some["row"] = (textured(1, 1000), 50)
    some["column"] = (textured(1000, 1), 50)
    some["odd"] = (photographs["mountains"][:113, :177], 33.3)
    some["constant"] = (np.full((300, 400, 3), 40, np.uint8), 75)
    some["noise"] = (noise(24, 24), 90)
    return {name: (image, {"quality": quality}) for name, (image, quality) in some.items()}


def kinds() -> Made:
    """Return pictures with alpha, more than 8 bits, a source, metadata or several tiles."""
    photographs = {path.stem: read_rgb(path) for path in sorted(SAMPLES.glob("*.jpg"))}
    rgb = photographs["mountains"][:100, :130]
    deep = rgb.astype(np.uint16) * 257
    ramp = np.broadcast_to(np.clip(np.linspace(-60, 320, 130), 0, 255), (100, 130)).astype(np.uint8)
    rgba = np.dstack([rgb, ramp])
    large = photographs["dandelions"].repeat(4, 0).repeat(4, 1)[:1100, :1300]
    fading = np.broadcast_to(np.arange(1300) // 6, (1100, 1300)).astype(np.uint8)
    palette = Image.fromarray(rgb[:, :, 0] >> 4)
    palette.putpalette([value for shade in range(0, 256, 16) for value in (shade, 255 - shade, 90)])
    metadata = codec.Metadata(icc=bytes(range(200)) * 3, exif=b"II*\0" + bytes(40), xmp=b"<x:xmpmeta/>")
    return {
        "rgba": (rgba, {"quality": 60}),
        "gray-alpha": (rgba[:, :, 1::2], {"quality": 40}),
        "gray-12-bits": (deep[:, :, 0] >> 4, {"quality": 80}),
        "rgb-16-bits": (deep, {"quality": 90}),
        "rgba-16-bits": (np.dstack([deep, ramp.astype(np.uint16) * 257]), {"quality": 75}),
        "rgba-stored": (np.dstack([noise(4, 5), ramp[:4, 50:55]]), {"quality": 100}),
        "gray-9-bits-stored": (deep[:9, :9, 0] >> 7, {"quality": 100, "bit_depth": 9}),
        "palette": (palette, {"quality": 50}),
        "one-bit": (Image.fromarray(rgb[:, :, 0] > 120), {"quality": 50}),
        "metadata": (rgb, {"quality": 50, "metadata": metadata}),
        "tiles": (large, {"quality": 10}),
        "tiles-alpha": (np.dstack([large[:, :, 1], fading]), {"quality": 5}),
    }


def residuals() -> Made:
    """Return pictures with a residual layer."""
    photographs = {path.stem: read_rgb(path) for path in sorted(SAMPLES.glob("*.jpg"))}
    deep = photographs["brushes"][:90, :110].astype(np.uint16) * 257
    ramp = np.broadcast_to(np.clip(np.linspace(-9000, 80000, 110), 0, 65535), (90, 110)).astype(np.uint16)
    large = np.asarray(Image.fromarray(photographs["dandelions"][:, :, 1]).resize((1060, 40)))
    return {
        "residual-rgb-16-bits": (deep, {"quality": 96}),
        "residual-rgba-16-bits": (np.dstack([deep, ramp]), {"quality": 93}),
        "residual-gray-12-bits": (deep[:, :, 0] >> 4, {"quality": 100}),
        "residual-gray-alpha-9-bits": (
            np.dstack([deep[:20, :24, 1], ramp[:20, 4:28]]) >> 7, {"quality": 93, "bit_depth": 9}
        ),
        "residual-tiles-10-bits": (large.astype(np.uint16) << 2, {"quality": 91}),
    }


def tagged() -> Made:
    """Return pictures with CICP."""
    photographs = {path.stem: read_rgb(path) for path in sorted(SAMPLES.glob("*.jpg"))}
    rgb = photographs["mountains"][:70, :90]
    pq = codec.Metadata(cicp=bytes([9, 16, 0, 1]))
    every = codec.Metadata(
        icc=bytes(range(200)), exif=b"II*\0" + bytes(40), xmp=b"<x:xmpmeta/>", cicp=bytes([12, 13, 0, 1])
    )
    return {
        "hdr": (rgb.astype(np.uint16) * 257, {"quality": 60, "metadata": pq}),
        "all-metadata": (rgb[:, :, 0], {"quality": 40, "metadata": every}),
        "cicp-stored": (noise(3, 4), {"metadata": codec.Metadata(cicp=bytes([1, 13, 0, 1]))}),
    }


def picture_digest(pixels: Samples) -> str:
    """Return the SHA-256 of shape and pixels."""
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def residual_digest(worker: codec.Codec, data: bytes) -> str:
    """Return the SHA-256 of the residuals of all tiles as little-endian int32."""
    residuals = tile_residuals(worker, data)
    return hashlib.sha256(b"".join(each.astype("<i4").tobytes() for each in residuals)).hexdigest()


def metadata_digest(data: bytes) -> str:
    """Return the SHA-256 of ICC profile, EXIF, XMP and CICP."""
    found = codec.read_metadata(data)
    return hashlib.sha256(repr((found.icc, found.exif, found.xmp, found.cicp)).encode()).hexdigest()


@click.command()
def main() -> None:
    """Write the golden files of all shipped models and the invalid files."""
    from tests.support import make_invalid

    shipped = {folder_of(model["id"]): str(model["name"]) for model in codec.models()}
    for path in GOLDEN.iterdir():
        if path.name not in (*RELEASED, make_invalid.INVALID.name):
            shutil.rmtree(path)
    for folder in sorted(shipped.keys() - set(RELEASED)):
        write_folder(codec.Codec(model=shipped[folder]), GOLDEN / folder)
    make_invalid.write_all()


def write_folder(worker: codec.Codec, folder: Path) -> None:
    """Write golden files and the expected results of decoding them."""
    folder.mkdir()
    expected = {}
    for name, (image, options) in made().items():
        data = worker.compress(image, **options)
        (folder / f"{name}.cae").write_bytes(data)
        expected[name] = results(worker, data)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def results(worker: codec.Codec, data: bytes) -> dict[str, Any]:
    """Return what decoding a file gives, except pixels that may differ between machines.

    `mean` is the mean of all samples, in which such differences hardly show.
    """
    info, decoded = codec.inspect(data), worker.decompress(data)
    entry: dict[str, Any] = {
        "bytes": len(data), "shape": list(decoded.shape), "dtype": str(decoded.dtype),
        "lossless": info.lossless, "source": info.source,
    }
    if info.lossless:
        entry["picture"] = picture_digest(decoded)
    else:
        (entry["symbols"],) = symbols_digest(worker, data)
        entry["mean"] = float(decoded.mean())
    if info.max_error is not None and not info.lossless:
        entry["residual"] = residual_digest(worker, data)
    if info.channels in (2, 4):
        entry["alpha"] = picture_digest(decoded[:, :, -1])
    if info.metadata:
        entry["metadata"] = metadata_digest(data)
    return entry


if __name__ == "__main__":
    main()
