"""Coverage-guided search for files that `inspect` and `verify` do not survive.

    pip install atheris
    python -m tests.fuzz.fuzz_inspect FOUND tests/fuzz/corpus -max_total_time=600

FOUND is a folder for new inputs. What fails is written to `crash-…` in the folder of the call; the fix
comes with that file in `tests/golden/invalid`, sealed by `tests.support.layout.reseal`.
"""

from __future__ import annotations

import sys
import zlib

import atheris

with atheris.instrument_imports(include=["codec"]):
    from tests.fuzz import targets
    from tests.support import hostile


def usual(data: bytes, size: int) -> bytes:
    """The fuzzer's own mutation; `Fuzz` exchanges the function, so that it cannot be handed on itself."""
    changed: bytes = atheris.Mutate(data, size)
    return changed


def main() -> None:
    """Run until something fails or the time is up."""
    zlib.crc32 = hostile.any_crc
    atheris.Setup(sys.argv, targets.inspect, custom_mutator=targets.mutator(usual))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
