"""Encode and decode in one configuration. `test_determinism` runs this in a process.

    python -m tests.support.determinism_worker NAME THREADS MKLDNN(0|1) FOLDER

The files of each configuration are written to FOLDER with what they decode to. The process ends
with an error if

- its files differ from those that the same configuration wrote before,
- a file of any configuration decodes to other symbols than where it was written, or to samples that
  differ by more than one level in float32, or
- a 16-bit file exceeds its error bound by more than 1.
"""

from __future__ import annotations

import dataclasses
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.suite.metrics import psnr
from codec.api import Codec
from codec.engine.reading import inspect
from codec.pictures.picture import Samples
from tests.support.pictures import textured
from tests.support.tiles import encode, symbols_digest, within_one_level

SHAPES = [(1, 1), (33, 47), (64, 64), (240, 176), (97, 400)]
LEVELS = (100, 820)


@dataclasses.dataclass
class Written:
    """A file, and what it decodes to where it was written."""

    data: bytes
    symbols: str
    samples: Samples


def deep() -> Any:
    """A picture of 16 bits. Its files have a residual layer."""
    return np.round(textured(97, 130).astype(np.float64) * 65535 / 255).astype(np.uint16)


def files(worker: Codec) -> dict[str, bytes]:
    """Return files of one and of several tiles, of batches, of the search and of more bits."""
    made = {}
    for shape in SHAPES:
        for level in LEVELS:
            made[f"{shape} at {level}"] = encode(worker, textured(*shape), level, 1024)
    made["tiles"] = encode(worker, textured(140, 200), 600, 64)
    made["gray tiles"] = encode(worker, textured(140, 70)[:, :, 0], 600, 64)
    batch = worker.compress_batch([textured(97, 60, seed) for seed in range(3)], quality=30)
    made.update({f"batch {number}": data for number, data in enumerate(batch)})
    made["searched"] = worker.compress(textured(60, 70), quality=50, effort=4)
    made["deep"] = worker.compress(deep(), quality=100, bit_depth=16)
    return made


def check(worker: Codec, name: str, written: Written) -> None:
    """Check that a file decodes here to what it decoded to where it was written."""
    assert symbols_digest(worker, written.data) == [written.symbols], name
    samples = worker.decompress(written.data)
    assert within_one_level(samples, written.samples), name
    if name == "deep":
        bound = inspect(written.data).max_error
        assert bound == 32
        assert np.abs(samples.astype(int) - deep()).max() <= bound + 1


def main() -> None:
    run(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", Path(sys.argv[4]))


def run(name: str, threads: int, mkldnn: bool, folder: Path) -> None:
    """Write and check the files of a configuration. Changes the settings of the process."""
    torch.set_num_threads(threads)
    torch.backends.mkldnn.set_flags(mkldnn)
    from codec.engine import encoding as module

    module._store = lambda *args: None
    worker = Codec(precision="float32")
    made = files(worker)
    assert files(worker) == made
    mine = folder / f"{name}.pickle"
    if mine.exists():
        assert {key: each.data for key, each in pickle.loads(mine.read_bytes()).items()} == made
    mine.write_bytes(pickle.dumps({
        key: Written(data, symbols_digest(worker, data)[0], worker.decompress(data))
        for key, data in made.items()
    }))
    fast = Codec(precision="bfloat16")  # emulated where the configuration has no hardware for it
    seen: set[tuple[bytes, bytes]] = set()  # most configurations write and decode the same
    for path in folder.iterdir():
        of_file: dict[str, Written] = pickle.loads(path.read_bytes())
        new = {(each.data, each.samples.tobytes()): key for key, each in of_file.items()}
        for one in new.keys() - seen:
            check(worker, new[one], of_file[new[one]])
        if new.keys() <= seen:
            continue
        seen |= new.keys()
        batch = [key for key in of_file if key.startswith("batch")]
        together = symbols_digest(worker, *(of_file[key].data for key in batch))
        assert together == [of_file[key].symbols for key in batch]
        for samples, key in zip(
            worker.decompress_batch([of_file[key].data for key in batch]), batch, strict=True
        ):
            assert within_one_level(samples, of_file[key].samples)
        tiles = of_file["tiles"]
        assert psnr(tiles.samples, fast.decompress(tiles.data)) > 45
        assert np.array_equal(fast.decompress(of_file["deep"].data), worker.decompress(of_file["deep"].data))


if __name__ == "__main__":
    from tests.support import determinism_worker  # pickles name this module, not `__main__`

    determinism_worker.main()
