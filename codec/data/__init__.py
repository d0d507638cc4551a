"""Compressed datasets: sharded Parquet files that other tools can read, and batches for training.

    codec.data.pack("photos/", "packed/", quality=60)
    for batch in codec.data.loader(codec.Dataset("packed/"), 64, shuffle=True, num_workers=4):
        batch["image"], batch["label"]          # N×3×H×W uint8, N int64

Needs pyarrow: `pip install 'codec[data]'`.

Imports: `convert`, `api` and below.
Start reading: `packing.py` writes a dataset, `dataset.py` reads it. `layout.py` defines the Parquet
columns and metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codec.data.checking import verify
from codec.data.dataset import Dataset
from codec.data.packing import pack
from codec.data.report import Report
from codec.data.unpacking import export, unpack

if TYPE_CHECKING:
    from codec.data.batches import loader

__all__ = ["Dataset", "Report", "export", "loader", "pack", "unpack", "verify"]


def __getattr__(name: str) -> Any:
    # The loader needs torch, so it is imported only when it is used.
    if name == "loader":
        from codec.data.batches import loader

        return loader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
