"""SHA-256 of what the public functions write, to compare two checkouts byte for byte.

    PYTHONPATH=CHECKOUT python tests/support/file_digests.py SAMPLES > digests.txt

SAMPLES is the folder of the sample photographs, bench/samples. The program uses public names only,
so that it runs unchanged with other releases. Run it once with each checkout and compare the two
outputs with diff. Files and decoded pixels depend on the machine and on its number of threads. The
Parquet files contain the version of the package.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import codec
import codec.data

Pixels = NDArray[Any]


def pictures(samples: Path) -> Iterator[tuple[str, Any]]:
    """Name and picture: photographs, flat graphics, noise, alpha, deep and tiny pictures."""
    rng = np.random.default_rng(0)
    for path in sorted(samples.glob("*.jpg")):
        photo = np.asarray(Image.open(path))
        yield path.stem, photo
    yield "gray", photo[:, :, 1]
    yield "large", np.tile(photo, (3, 4, 1))[:1100, :1300]
    ramp = np.add.outer(np.arange(200), np.arange(317)) % 256
    alpha = np.dstack([photo[:200, :317], ramp]).astype(np.uint8)
    yield "alpha", alpha
    yield "gray-alpha", alpha[:, :, [0, 3]]
    yield "flat", np.kron(rng.integers(0, 2, (13, 17, 1)), np.full((16, 16, 3), 200)).astype(np.uint8)
    yield "noise", rng.integers(0, 256, (97, 83, 3), dtype=np.uint8)
    deep = photo[:150, :170].astype(np.uint16) * 257
    yield "deep", deep
    yield "twelve", (deep >> 4)[:, :, 0]
    yield "one", photo[:1, :1]
    yield "line", photo[:1, :300]
    yield "palette", Image.fromarray(photo[:90, :110]).quantize(16)
    yield "bits", Image.fromarray(photo[:90, :110]).convert("1")


OPTIONS: list[dict[str, Any]] = [
    {}, {"quality": 0}, {"quality": 40}, {"quality": 93.5}, {"quality": 100}, {"quality": 50, "effort": 1},
    {"quality": 50, "effort": 4}, {"target_bpp": 0.5}, {"target_psnr": 33}, {"target_bytes": 30_000},
]


def outcomes(samples: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every result."""
    for name, picture in pictures(samples):
        for options in OPTIONS:
            label = f"{name} {options}"
            try:
                data = codec.compress(picture, **options)
            except codec.CodecError as error:
                yield label, type(error).__name__.encode()
                continue
            yield label, data
            yield f"{label} decoded", codec.decompress(data).tobytes()
            yield f"{label} info", json.dumps(vars(codec.inspect(data)), default=str).encode()
    metadata = codec.Metadata(icc=bytes(3000), exif=b"MM\0*" + bytes(50), xmp=b"<x/>")
    data = codec.compress(picture, metadata=metadata)
    yield "metadata", data
    yield "metadata read", repr(codec.read_metadata(data)).encode()
    large = codec.compress(dict(pictures(samples))["large"], quality=30)
    yield "region", codec.decompress(large, region=(1000, 900, 80, 300)).tobytes()
    damaged = bytearray(large)
    damaged[-20] ^= 1
    for part in codec.decompress(bytes(damaged), on_error="conceal"):
        yield "concealed", part.tobytes()
    worker = codec.Codec()
    crops = [dict(pictures(samples))["large"][k : k + 32, : 20 + k] for k in range(0, 60, 10)]
    for data in worker.compress_batch(crops, quality=60):
        yield "batch", data
    for pixels in worker.decompress_batch(worker.compress_batch(crops)):
        yield "batch decoded", pixels.tobytes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, crop in enumerate(crops):
            target = folder / "in" / f"class{number % 2}" / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(crop).save(target)
        for suffix in ("png", "npy", "ppm", "tiff", "webp"):
            codec.encode(folder / "in" / "class0" / "0.png", folder / "x.cae", quality=40)
            codec.decode(folder / "x.cae", folder / f"x.{suffix}")
            yield f"file {suffix}", (folder / f"x.{suffix}").read_bytes()
        for bare in (False, True):
            out = folder / f"out{bare}"
            codec.data.pack(folder / "in", out, quality=60, bare=bare)
            dataset = codec.Dataset(out)
            for row in dataset:
                yield f"dataset bare={bare}", np.asarray(row["image"]).tobytes() + str(row["label"]).encode()
            for path in sorted(out.glob("*.parquet")):
                yield f"{path.name} bare={bare}", path.read_bytes()


@click.command()
@click.argument("samples", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(samples: Path) -> None:
    """Print the SHA-256, length and name of every result."""
    warnings.simplefilter("ignore")
    for label, content in outcomes(samples):
        print(hashlib.sha256(content).hexdigest(), len(content), label)


if __name__ == "__main__":
    main()
