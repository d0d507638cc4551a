"""Process that runs and times one codec. Its parent pins it, and kills it if it hangs.

    python -m bench.suite.worker CODEC THREADS

It reads one JSON request per line and answers each with one JSON line. Pixels and bytes are passed
in files, so that neither process waits for the other during a timed run.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .baselines import Decode, Encode, find
from .pictures import read_again


def peak_memory() -> float | None:
    """Peak resident memory of this process in MiB, or None if there is no /proc (Linux).

    `getrusage` is not used because its value survives `exec` and so starts at that of the parent.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    sizes = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")]
    return sizes[0] if sizes else None


def timed(work: Callable[[], Any], repeat: int) -> tuple[Any, float]:
    """Result of `work`, and the median time of `repeat` runs in seconds."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return result, statistics.median(seconds)


def answer(request: dict[str, Any], encode: Encode, decode: Decode) -> dict[str, Any]:
    """Process a request: {"encode": picture file, "setting", "out"} or {"decode": file, "out"}."""
    repeat = request.get("repeat", 1)
    out = Path(request["out"])
    if "encode" in request:
        image = read_again(Path(request["encode"]))
        data, seconds = timed(lambda: encode(image, request["setting"]), repeat)
        peak = peak_memory()
        out.write_bytes(data)
        return {"seconds": seconds, "bytes": len(data), "peak": peak}
    data = Path(request["decode"]).read_bytes()
    pixels, seconds = timed(lambda: decode(data), repeat)
    peak = peak_memory()
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"decoded to {pixels.dtype} of shape {pixels.shape}")
    np.save(out, pixels)
    return {"seconds": seconds, "peak": peak}


def main() -> None:
    name, threads = sys.argv[1], int(sys.argv[2])
    # Output printed by libraries must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    codec: tuple[Encode, Decode] | None = None
    for line in sys.stdin:
        try:
            codec = codec or find(name).start(threads)
            reply = answer(json.loads(line), *codec)
        except Exception as error:  # any error of a codec is a result of the benchmark
            text = " ".join(str(error).split())
            reply = {"error": f"{type(error).__name__}: {text}" if text else type(error).__name__}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
