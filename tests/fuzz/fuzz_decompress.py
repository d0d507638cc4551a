"""Coverage-guided search for files that `decompress` does not survive: as `fuzz_inspect`.

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
    """The fuzzer's own mutation; `Fuzz` exchanges the function, so that it cannot be handed on itself."""
    changed: bytes = atheris.Mutate(data, size)
    return changed


def main() -> None:
    """Run until something fails or the time is up."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        path.write_bytes(make_tiny_weights())
        worker = codec.Codec(model=path)
    zlib.crc32 = hostile.any_crc
    target = targets.decompressor(worker)
    atheris.Setup(sys.argv, target, custom_mutator=targets.mutator(usual))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
