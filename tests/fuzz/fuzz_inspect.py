"""Coverage-guided search for files that make `inspect` or `verify` fail.

    pip install atheris
    python -m tests.fuzz.fuzz_inspect FOUND tests/fuzz/corpus -max_total_time=600

FOUND is a folder for new inputs. A failing input is written to `crash-…` in the current folder.
With the fix, repair the checksums of that file with `tests.support.layout.reseal` and add it to
`tests/golden/invalid`.
"""

from __future__ import annotations

import sys
import zlib

import atheris

with atheris.instrument_imports(include=["codec"]):
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
    zlib.crc32 = hostile.any_crc
    atheris.Setup(sys.argv, targets.inspect, custom_mutator=targets.mutator(usual))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
