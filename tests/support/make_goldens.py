"""Write the golden files of the current format version. Existing files are never changed.

    python -m tests.support.make_goldens --new-version

Golden files are permanent. Every later release must decode them to the same symbols. If their model
is no longer shipped, it must refuse them with a specific error. Run this program only when the
format version or the default model changes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

import codec
from codec.coding.residual import unpack_residual
from codec.format import container, tiling
from codec.format.header import VERSION
from codec.pictures.picture import Samples
from codec.training.data import read_rgb
from tests.support.determinism_worker import symbols_digest
from tests.support.pictures import SAMPLES, Pixels, noise, textured

GOLDEN = Path(__file__).parents[1] / "golden"


def pictures() -> dict[str, tuple[Pixels, float]]:
    """Name, picture and quality of the golden files of 8-bit gray and RGB pictures."""
    photographs = {path.stem: read_rgb(path) for path in sorted(SAMPLES.glob("*.jpg"))}
    made: dict[str, tuple[Pixels, float]] = {
        f"{name}-q{quality}": (image[100:292, 200:456], quality)
        for name, image in photographs.items()
        for quality in (0, 25, 50, 75, 100)
    }
    made["gray"] = (photographs["brushes"][:75, :99, 0], 60)
    made["one-pixel"] = (np.full((1, 1, 3), 200, np.uint8), 50)
    made["row"] = (textured(1, 1000), 50)
    made["column"] = (textured(1000, 1), 50)
    made["odd"] = (photographs["mountains"][:113, :177], 33.3)
    made["constant"] = (np.full((300, 400, 3), 40, np.uint8), 75)
    made["noise"] = (noise(24, 24), 90)
    return made


def kinds() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Name, picture and options of the golden files with format 1.2 features or several tiles."""
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
        "rgba-stored": (np.dstack([rgb[:12, :12], ramp[:12, 50:62]]), {"quality": 100}),
        "gray-9-bits-stored": (deep[:9, :9, 0] >> 7, {"quality": 100, "bit_depth": 9}),
        "palette": (palette, {"quality": 50}),
        "one-bit": (Image.fromarray(rgb[:, :, 0] > 120), {"quality": 50}),
        "metadata": (rgb, {"quality": 50, "metadata": metadata}),
        "tiles": (large, {"quality": 10}),
        "tiles-alpha": (np.dstack([large[:, :, 1], fading]), {"quality": 5}),
    }


def residuals() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Name, picture and options of the golden files with features of format 1.3."""
    photographs = {path.stem: read_rgb(path) for path in sorted(SAMPLES.glob("*.jpg"))}
    deep = photographs["brushes"][:90, :110].astype(np.uint16) * 257
    ramp = np.broadcast_to(np.clip(np.linspace(-9000, 80000, 110), 0, 65535), (90, 110)).astype(np.uint16)
    large = np.asarray(Image.fromarray(photographs["dandelions"][:, :, 1]).resize((1060, 1040)))
    return {
        "rgb-16-bits": (deep, {"quality": 96}),
        "rgba-16-bits": (np.dstack([deep, ramp]), {"quality": 93}),
        "gray-12-bits": (deep[:, :, 0] >> 4, {"quality": 100}),
        "gray-alpha-9-bits": (
            np.dstack([deep[:20, :24, 1], ramp[:20, 4:28]]) >> 7, {"quality": 98, "bit_depth": 9}
        ),
        "tiles-10-bits": (large.astype(np.uint16) << 2, {"quality": 91}),
    }


def tagged() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Name, picture and options of the golden files with CICP, which format 1.5 added."""
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
    file = container.read(data)
    header = file.header
    tables = worker.model_for(header.model_id).tables
    digest = hashlib.sha256()
    for number, entry in enumerate(header.residual):
        latents = tiling.tile_box(number, header.height, header.width, header.tile_size)
        box = latents.scaled(tiling.LATENT).intersection(tiling.Box(0, 0, header.height, header.width))
        shape = (box.height, box.width, header.channels)
        payload = file.residual_payload(number)
        residual = unpack_residual(tables, payload, shape, entry.content_crc, "it")
        digest.update(residual.astype("<i4").tobytes())
    return digest.hexdigest()


def metadata_digest(data: bytes) -> str:
    """Return the SHA-256 of ICC profile, EXIF and XMP, and of CICP if there is one."""
    found = codec.read_metadata(data)
    kinds = (found.icc, found.exif, found.xmp) + (() if found.cicp is None else (found.cicp,))
    return hashlib.sha256(repr(kinds).encode()).hexdigest()


@click.command()
@click.option("--new-version", is_flag=True, required=True, help="Yes, this release changes the bytes.")
def main(new_version: bool) -> None:
    """Write the golden files of the current default model into new folders."""
    worker = codec.Codec()
    made: dict[str, tuple[Any, dict[str, Any]]] = {
        name: (image, {"quality": quality}) for name, (image, quality) in pictures().items()
    }
    write_folder(worker, GOLDEN / f"v{VERSION}-{worker.model_id}", made)
    write_folder(worker, GOLDEN / f"v{VERSION}.2-{worker.model_id}", kinds())
    write_folder(worker, GOLDEN / f"v{VERSION}.3-{worker.model_id}", residuals())
    write_folder(worker, GOLDEN / f"v{VERSION}.5-{worker.model_id}", tagged())


def write_folder(
    worker: codec.Codec, folder: Path, made: dict[str, tuple[Any, dict[str, Any]]]
) -> None:
    """Write golden files and the expected results of decoding them. Skip an existing folder."""
    if folder.exists():
        return
    folder.mkdir()
    expected = {}
    for name, (image, options) in made.items():
        data = worker.compress(image, **options)
        (folder / f"{name}.cae").write_bytes(data)
        info = codec.inspect(data)
        decoded = worker.decompress(data)
        entry: dict[str, Any] = {
            "bytes": len(data), "shape": list(decoded.shape), "dtype": str(decoded.dtype),
            "lossless": info.lossless,
        }
        if info.lossless:
            entry["picture"] = picture_digest(decoded)
        else:
            entry["symbols"] = symbols_digest(worker, data)
            entry["mean"] = float(decoded.mean())
        if info.max_error is not None and not info.lossless:
            entry["residual"] = residual_digest(worker, data)
        if info.channels in (2, 4):
            entry["alpha"] = picture_digest(decoded[:, :, -1])
        if info.metadata:
            entry["metadata"] = metadata_digest(data)
        entry["source"] = info.source
        expected[name] = entry
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
