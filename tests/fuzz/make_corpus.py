"""Write the initial corpus of the fuzzers: python -m tests.fuzz.make_corpus"""

from __future__ import annotations

import tempfile
from pathlib import Path

import codec
from tests.conftest import make_tiny_weights
from tests.fuzz.targets import CORPUS
from tests.support import hostile


def main() -> None:
    """Write small files of every kind. Files that fuzzers have found are kept."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        path.write_bytes(make_tiny_weights())
        files = hostile.seeds(codec.Codec(model=path))
    CORPUS.mkdir(exist_ok=True)
    for name, data in files.items():
        (CORPUS / f"{name.replace(' ', '-')}.cae").write_bytes(data)


if __name__ == "__main__":
    main()
