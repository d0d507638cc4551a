"""Functions that the fuzzers call. `test_fuzz` calls them with the corpus, without a fuzzer.

Callers replace `zlib.crc32` with `hostile.any_crc`, because the author of a forged file can compute
correct checksums.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import codec
from tests.support import hostile, layout, mutants, recoded

CORPUS = Path(__file__).parent / "corpus"


def inspect(data: bytes) -> None:
    """Call `inspect`, `verify` and `read_metadata`, and compare them with the other header reader.

    These functions need no model.
    """
    refused, info = hostile.attempt(lambda: codec.inspect(data))
    damaged, _ = hostile.attempt(lambda: codec.verify(data))
    unread, _ = hostile.attempt(lambda: codec.read_metadata(data))
    if refused and not refused == damaged == unread:
        raise hostile.Wrong(f"inspect: {refused}, verify: {damaged}, read_metadata: {unread}")
    if info is not None:
        fields, size = layout.parse_header(data)
        found = (info.height, info.width, info.header_bytes, info.bytes)
        if found != (fields.height, fields.width, size, size + sum(fields.lengths)):
            raise hostile.Wrong(f"{info} is not {fields}")
        str((info, info.bits_per_pixel, info.quality_limit))


class _AnyModel(dict[bytes, Any]):
    """A dictionary with the same pipeline for every model id.

    With it, a changed id does not end a run, and neither does a corpus from another machine.
    """

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: bytes) -> Any:
        return next(iter(self.values()))


def decompressor(worker: codec.Codec) -> Callable[[bytes], None]:
    """Return a function that decodes a file in all ways and checks that the results agree."""
    worker._others = _AnyModel(worker._others)

    def decompress(data: bytes) -> None:
        hostile.judge(worker, data, len(data) % 3)

    return decompress


def mutator(
    usual: Callable[[bytes, int], bytes], worker: codec.Codec | None = None
) -> Callable[[bytes, int, int], bytes]:
    """Return a mutator for the fuzzer.

    Half of its changes keep the lengths correct if the file can be parsed. With a `worker`, a third
    of these code other symbols. The others are `usual`.
    """

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5:
            try:
                if worker is not None and rng.random() < 0.33 and _has_few_latents(data):
                    return recoded.recode(worker, data, rng)[:max_size]
                return mutants.forge(data, data, rng)[:max_size]
            except (layout.Refused, codec.CodecError):
                pass
        return usual(data, max_size)

    return mutate


def _has_few_latents(data: bytes) -> bool:
    info = codec.inspect(data)
    return not info.lossless and info.width * info.height <= hostile.LIMITS.max_pixels
