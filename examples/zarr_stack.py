"""Write a stack of pictures to a sharded Zarr array, open it, read one picture and a batch.

    pip install 'codec[zarr]'
    python examples/zarr_stack.py

Run it from a checkout, because it cuts its pictures out of the sample photographs there.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from PIL import Image

from codec.integrations.zarr import Cae

SAMPLES = Path(__file__).parent.parent / "bench" / "samples"
SIDE = 256
BATCH = 16


def cut(count: int) -> NDArray[np.uint8]:
    """`count` pictures from each photograph, N×256×256×3 uint8."""
    rng = np.random.default_rng(0)
    pictures = []
    for path in sorted(SAMPLES.glob("*.jpg")):
        with Image.open(path) as image:
            photograph = np.asarray(image.convert("RGB"))
        for _ in range(count):
            top, left = (rng.integers(0, size - SIDE + 1) for size in photograph.shape[:2])
            pictures.append(photograph[top : top + SIDE, left : left + SIDE])
    return np.stack(pictures)


def write(store: Path, pictures: NDArray[np.uint8], **codecs: Any) -> None:
    """Write an array with one picture per chunk and 16 chunks per file of the store."""
    array = zarr.create_array(
        store, shape=pictures.shape, dtype=pictures.dtype, chunks=(1, SIDE, SIDE, 3),
        shards=(BATCH, SIDE, SIDE, 3), dimension_names=("picture", "y", "x", "channel"), **codecs,
    )
    array[:] = pictures


def psnr(read: Any, pictures: NDArray[np.uint8]) -> float:
    """PSNR in dB."""
    return float(10 * np.log10(255**2 / np.mean((np.asarray(read, float) - pictures) ** 2)))


def main() -> None:
    pictures = cut(16)
    print(f"{len(pictures)} pictures of {SIDE}×{SIDE}")
    kinds: dict[str, dict[str, Any]] = {
        "none": {"compressors": None},
        "Zarr's default": {},
        "cae, quality 75": {"serializer": Cae(quality=75), "compressors": None},
    }
    Cae().worker()  # load the weights now, so that they are not part of the times below
    print(f"{'compression':16} {'bytes':>10} {'of raw':>7} {'write, s':>9} {'read, s':>8} {'PSNR, dB':>9}")
    # Sixteen chunks go through the networks together instead of one at a time.
    with tempfile.TemporaryDirectory() as folder, zarr.config.set({"codec_pipeline.batch_size": BATCH}):
        for number, (name, codecs) in enumerate(kinds.items()):
            store = Path(folder) / f"{number}.zarr"
            start = time.perf_counter()
            write(store, pictures, **codecs)
            written = time.perf_counter()
            # The codec is not named here. zarr.json names the codec and the model that it needs.
            array = zarr.open_array(store, mode="r")
            read = array[:]
            end = time.perf_counter()
            size = array.nbytes_stored()
            quality = "exact" if np.array_equal(read, pictures) else f"{psnr(read, pictures):.2f}"
            print(
                f"{name:16} {size:10,} {size / pictures.nbytes:7.1%} {written - start:9.2f} "
                f"{end - written:8.2f} {quality:>9}"
            )
        start = time.perf_counter()
        one = array[20]
        between = time.perf_counter()
        batch = array[16:32]
        end = time.perf_counter()
        print(f"one picture in {between - start:.3f} s, a batch of {BATCH} in {end - between:.3f} s")
    if min(psnr(one, pictures[20]), psnr(batch, pictures[16:32])) < 30:
        raise SystemExit("the pictures read do not match the pictures written")


if __name__ == "__main__":
    main()
