"""Compressed datasets: sharded Parquet files that other tools can read, and batches for training.

    codec.data.pack("photos/", "packed/", quality=60)
    for batch in codec.data.loader(codec.Dataset("packed/"), 64, shuffle=True, num_workers=4):
        batch["image"], batch["label"]          # N×3×H×W uint8, N int64

Needs pyarrow: `pip install 'codec[data]'`.

Imports: `convert`, `api` and below.
Start reading: `packing/pack.py` writes a dataset, `reading/dataset.py` reads it. `layout.py`
defines the Parquet columns and metadata. `sources/` are the forms in which pictures come.
`unpacking.py` and `exporting.py` write them out again. `tars.py` reads and writes tars, and
`sums.py` holds locks and digests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codec.data.exporting import export
from codec.data.packing.pack import pack
from codec.data.packing.report import Report
from codec.data.reading.checking import verify
from codec.data.reading.dataset import Dataset
from codec.data.unpacking import unpack

if TYPE_CHECKING:
    from codec.data.reading.batches import loader

__all__ = ["Dataset", "Report", "export", "loader", "pack", "unpack", "verify"]


def __getattr__(name: str) -> Any:
    # The loader needs torch, so it is imported only when it is used.
    if name == "loader":
        from codec.data.reading.batches import loader

        return loader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
