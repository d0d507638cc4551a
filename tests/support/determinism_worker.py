"""Print digests of files and of decoded symbols. `test_determinism` runs this as a process.

    python -m tests.support.determinism_worker THREADS MKLDNN(0|1) PREPARED.json
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

from codec.api import Codec
from codec.coding.latents import decode_latents
from codec.engine.reading import inspect
from codec.format import tiling
from tests.support.pictures import textured
from tests.support.tiles import unpack

SHAPES = [(1, 1), (33, 47), (64, 64), (240, 176), (97, 400), (300, 520)]
QUALITIES = (10, 80)


def symbols_digest(worker: Codec, data: bytes) -> str:
    """Return the SHA-256 of all symbols of a file, tile by tile, as little-endian int32."""
    header, payloads = unpack(data)
    model = worker.model_for(header.model_id)
    digest = hashlib.sha256()
    boxes = tiling.tiles(header.height, header.width, header.tile_size)
    for box, payload, tile in zip(boxes, payloads, header.tiles, strict=True):
        level = torch.tensor([header.level])
        size = (box.height, box.width)
        _, symbols = decode_latents(
            model.networks, model.tables, [payload], [tile.content_crc], level, size
        )
        for array in symbols[0]:
            digest.update(array.astype("<i4").tobytes())
    return digest.hexdigest()


def batch_digests(worker: Codec, files: list[bytes]) -> list[str]:
    """Return `symbols_digest` of one-tile files of the same size, decoded as one batch."""
    parsed = [unpack(data) for data in files]
    header = parsed[0][0]
    _, symbols = decode_latents(
        worker._loaded.networks,
        worker._loaded.tables,
        [payloads[0] for _, payloads in parsed],
        [header.tiles[0].content_crc for header, _ in parsed],
        torch.tensor([header.level for header, _ in parsed]),
        tiling.latent_size(header.height, header.width),
    )
    return [hashlib.sha256(b"".join(a.astype("<i4").tobytes() for a in tile)).hexdigest() for tile in symbols]


def check_residual(worker: Codec, path: Path) -> None:
    """Check the error bound of a 16-bit file, whichever process wrote it.

    The error may exceed the bound by 1, because synthesis may differ between processes.
    """
    image = np.round(textured(97, 130).astype(np.float64) * 65535 / 255).astype(np.uint16)
    if not path.exists():
        path.write_bytes(worker.compress(image, quality=100, bit_depth=16))
    data = path.read_bytes()
    assert inspect(data).max_error == 32
    assert np.abs(worker.decompress(data).astype(int) - image).max() <= 33


def main() -> None:
    threads, mkldnn, prepared = int(sys.argv[1]), sys.argv[2] == "1", Path(sys.argv[3])
    torch.set_num_threads(threads)
    torch.backends.mkldnn.set_flags(mkldnn)
    from codec.engine import encoding as module

    module._store = lambda *args: None
    worker = Codec()
    result: dict[str, list[str]] = {"files": [], "batch": [], "symbols": [], "prepared": []}
    for shape in SHAPES:
        for quality in QUALITIES:
            images = [textured(*shape, seed) for seed in range(3)]
            single = worker.compress(images[0], quality=quality)
            batch = worker.compress_batch(images, quality=quality)
            result["files"].append(hashlib.sha256(single).hexdigest())
            result["batch"] += [hashlib.sha256(data).hexdigest() for data in batch]
            result["symbols"].append(symbols_digest(worker, single))
    if prepared.exists():
        # Files that another process wrote decode to the same symbols.
        for text in json.loads(prepared.read_text()):
            result["prepared"].append(symbols_digest(worker, bytes.fromhex(text)))
    else:
        images = [textured(*shape) for shape in SHAPES]
        files = [worker.compress(image, quality=q) for image in images for q in QUALITIES]
        prepared.write_text(json.dumps([data.hex() for data in files]))
        result["prepared"] = [symbols_digest(worker, data) for data in files]
    check_residual(worker, prepared.with_suffix(".cae"))
    # Decode three files as one batch.
    files = worker.compress_batch([textured(200, 130, seed) for seed in range(3)], quality=30)
    together = batch_digests(worker, files)
    assert together == [symbols_digest(worker, data) for data in files]
    result["decoded in a batch"] = together
    print(json.dumps(result))


if __name__ == "__main__":
    main()
