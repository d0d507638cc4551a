"""Process that runs one version of this package; see `bench.studies.versions`.

It uses public functions of the package only, and nothing else of this repository, so that the same
file runs with any version:

    python -P bench/studies/version_worker.py '{"threads": 2, "model": null}'

The argument holds the arguments of `codec.Codec`. The process reads one JSON request per line and
answers each with one JSON line, like `bench.suite.worker`.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import codec
import codec.data

BATCH = 64


def answer(worker: codec.Codec, options: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Process a request.

    - {"about": true}
    - {"encode": PNG file, "setting": quality, "out": file}
    - {"decode": file, "out": .npy file}
    - {"pack": folder, "setting": quality, "out": folder}
    - {"load": folder, "workers": number, "batches": number or null, "loader": options}
    """
    if "about" in request:
        return {
            "version": codec.__version__, "model": worker.model, "id": worker.model_id,
            "precision": options.get("precision") or "by default",
        }
    if "encode" in request:
        with Image.open(request["encode"]) as file:
            image = np.array(file)
        start = time.perf_counter()
        data = worker.compress(image, quality=request["setting"])
        seconds = time.perf_counter() - start
        Path(request["out"]).write_bytes(data)
        return {"seconds": seconds, "bytes": len(data)}
    if "decode" in request:
        data = Path(request["decode"]).read_bytes()
        start = time.perf_counter()
        pixels = worker.decompress(data)
        seconds = time.perf_counter() - start
        np.save(request["out"], pixels)
        return {"seconds": seconds}
    if "pack" in request:
        start = time.perf_counter()
        codec.data.pack(
            request["pack"], request["out"], quality=request["setting"], model=options["model"],
            threads=options["threads"],
        )
        return {"seconds": time.perf_counter() - start}
    loader = codec.data.loader(
        codec.Dataset(request["load"]), BATCH, num_workers=request["workers"], **request["loader"]
    )
    start = time.perf_counter()
    for _ in itertools.islice(loader, request["batches"]):
        pass
    return {"seconds": time.perf_counter() - start}


def main() -> None:
    options: dict[str, Any] = json.loads(sys.argv[1])
    # Output printed by libraries must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = codec.Codec(**options)
    for line in sys.stdin:
        try:
            reply = answer(worker, options, json.loads(line))
        except Exception as error:  # the parent prints any error
            reply = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
