"""Compress a folder of pictures into a Parquet dataset with Ray, on this machine.

    python examples/ray_folder.py PICTURES dataset --actors 2 --quality 60

The dataset has the columns `image` (struct of bytes and path: `datasets.Image`), `path`, `label`
(the folder of the picture), and `error` (the reason if there is no picture). Needs
`pip install 'codec[ray]'`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

# Set before Ray is imported. Ray writes no token to the home folder, which is not needed because
# nothing listens to other machines. Ray sends no usage reports.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import pyarrow.parquet
import ray

import codec
from codec.integrations.ray import compress

SUFFIXES = ["jpg", "jpeg", "png", "webp", "tif", "tiff", "bmp"]


def with_label(row: dict[str, Any], root: Path) -> dict[str, Any]:
    """Row of a file: its bytes, its path within the folder, and the label taken from that path."""
    path = Path(row["path"]).relative_to(root)
    return {"image": row["bytes"], "path": path.as_posix(), "label": path.parent.as_posix()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compress a folder of pictures into a Parquet dataset.")
    parser.add_argument("src", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--quality", type=float, default=60)
    parser.add_argument("--device", default="cpu", help="cpu, or cuda (one GPU per actor).")
    options = parser.parse_args(arguments)
    root = options.src.resolve()
    if options.out.exists():
        parser.error(f"{options.out} already exists")  # Ray would add files with random names to it

    # Besides the cores of the actors, one core reads and another one writes.
    ray.init(num_cpus=options.actors + 2, include_dashboard=False)
    try:
        pictures = ray.data.read_binary_files(str(root), include_paths=True, file_extensions=SUFFIXES)
        labelled = pictures.map(lambda row: with_label(row, root))
        packed = compress(
            labelled, actors=options.actors, device=options.device, quality=options.quality, on_error="record"
        )
        packed.write_parquet(str(options.out))
    finally:
        ray.shutdown()

    rows = pyarrow.parquet.read_table(options.out).to_pylist()
    done = [row for row in rows if row["image"]]
    before = sum((root / row["path"]).stat().st_size for row in done)
    after = sum(len(row["image"]["bytes"]) for row in done)
    print(f"{len(rows)} rows, {len(rows) - len(done)} of them errors; {before} bytes before, {after} after")
    for row in rows:
        if row["error"]:
            print(f"{row['path']}: {row['error']}")
    if done:
        first = codec.decompress(done[0]["image"]["bytes"])
        print(f"{done[0]['path']}, labelled {done[0]['label']}: {first.shape} {first.dtype}")


if __name__ == "__main__":
    main()
