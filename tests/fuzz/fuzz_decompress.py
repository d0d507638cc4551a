"""Coverage-guided search for files that make `decompress` fail, in the same way as `fuzz_inspect`.

    python -m tests.fuzz.fuzz_decompress FOUND tests/fuzz/corpus -max_total_time=600 -timeout=10
"""

from __future__ import annotations

import sys
import tempfile
import zlib
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["codec"]):
    import codec
    from tests.conftest import make_tiny_weights
    from tests.fuzz import targets
    from tests.support import hostile


def usual(data: bytes, size: int) -> bytes:
    """Mutate data as the fuzzer does by default.

    `Fuzz` replaces `atheris.Mutate`, so the function itself cannot be passed on.
    """
    changed: bytes = atheris.Mutate(data, size)
    return changed


def main() -> None:
    """Run until an input fails or the time is over."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        path.write_bytes(make_tiny_weights())
        worker = codec.Codec(model=path)
    zlib.crc32 = hostile.any_crc
    target = targets.decompressor(worker)
    atheris.Setup(sys.argv, target, custom_mutator=targets.mutator(usual, worker))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
