"""Hostile files by the thousand, in a process of limited memory and time that may die of them.

    python -m tests.support.hostile WEIGHTS KIND [--count N] [--seed S]

prints as JSON how many cases were refused, by error, gave the original picture, or another one of
the shape that the header declares. Anything else is listed with its bytes, and must not happen.
Every case goes through `inspect`, `verify`, `read_metadata` and `decompress`, and all or some in turn
through a region, through concealment and through both. `run` starts the process; only its exit tells
of a crash or a hang.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import codec
from tests.support import layout, stored
from tests.support.mutants import CASES
from tests.support.pictures import noise, textured
from tests.support.tiles import encode

MEMORY = 1 << 29
"""Address space beyond what the process has with torch and a model: 0.7 GiB without CUDA, more with it."""

CPU_SECONDS = 10
"""Of one case; then the kernel ends the process."""

COUNTS: dict[str, int | None] = {
    "prefixes": None, "large": 1000, "flips": None, "mutants": 2000, "sealed": 2500, "unchecked": 2500,
    "junk": 10_000,
}
"""Cases of each kind, unless told otherwise; None: all that there are."""

PROGRAM = ("-m", "tests.support.hostile")

EVERY = {"prefixes": 4, "flips": 23, "large": 20, "sealed": 2, "unchecked": 2}
"""Only each of so many cases is decoded in part and concealed too: that takes longer than to be refused."""

LIMITS = codec.Limits(max_pixels=1 << 17)
"""What a careful caller allows, so that no case is slow for being large: `test_bombs` has those."""


@dataclasses.dataclass
class Report:
    """How the cases of one run ended."""

    kind: str
    outcomes: dict[str, int]
    wrong: list[str]
    """What must not happen, each with the bytes in hexadecimal."""
    seconds: float
    """Of the process's CPU time."""
    slowest_ms: float
    growth_mib: float
    """Of the process's largest resident size, after one case of each seed."""

    @property
    def cases(self) -> int:
        """Their number."""
        return sum(self.outcomes.values())


class Wrong(Exception):
    """What must not happen."""


class _AnyCrc(int):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def any_crc(data: object, value: int = 0, /) -> int:
    """In the place of `zlib.crc32` it equals every other: hostile files are of those who compute them."""
    return _AnyCrc()


def small_files(worker: codec.Codec) -> dict[str, bytes]:
    """Files of one tile and of several, latents and stored, gray and RGB, 2 kB at most."""
    blocks = noise(9, 9, 3).repeat(13, 0).repeat(13, 1)
    return {
        "latents": encode(worker, textured(40, 40), 300),
        "gray tiles": encode(worker, textured(70, 130)[:, :, 0], 100),
        "stored": encode(worker, np.full((40, 40, 3), 9, np.uint8), 512),
        "stored tiles": encode(worker, blocks, 1024),
    }


def seeds(worker: codec.Codec) -> dict[str, bytes]:
    """What mutants are made of: `small_files`, and others with alpha, 16 bits, metadata, a residual."""
    examples = stored.examples()
    names = ("gray-8-alpha1", "RGB-8-alpha2", "gray-12", "RGB-16-alpha0")
    ramp = np.arange(50 * 40, dtype=np.uint16).reshape(50, 40)
    soft = np.dstack([textured(50, 40).astype(np.uint16) << 4, ramp << 1])
    xmp = codec.Metadata(xmp=b"<x/>")
    deep = {
        "deep latents": worker.compress(soft, quality=20, bit_depth=12, metadata=xmp),
        "residual": worker.compress(soft[:20], quality=92, bit_depth=12),
    }
    return small_files(worker) | deep | {name: examples[name] for name in names}


def large_files(worker: codec.Codec) -> dict[str, bytes]:
    """Ten files of some tens of kilobytes."""
    sizes = [(200 + 20 * number, 300, 50 * number + 500) for number in range(10)]
    files = [encode(worker, textured(h, w, level), level) for h, w, level in sizes]
    return {f"large {number}": data for number, data in enumerate(files)}


Outcome = tuple[str, Any]


def attempt(function: Callable[[], Any]) -> Outcome:
    """The name of the error and nothing, or no name and what is returned; raises `Wrong`."""
    try:
        return "", function()
    except codec.CodecError as error:
        return type(error).__name__, None
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # constriction's panics are no `Exception`
        raise Wrong(f"{type(error).__name__}: {error}") from error


def _check(good: bool, message: str) -> None:
    if not good:
        raise Wrong(message)


def judge(worker: codec.Codec, data: bytes, variant: int | None) -> tuple[str, bytes]:
    """How one case ended, "" or the name of an error, and the picture; raises `Wrong`."""
    error, picture, info = judge_whole(worker, data)
    unread, metadata = attempt(lambda: codec.read_metadata(data))
    _check(bool(unread) != isinstance(metadata, codec.Metadata), f"metadata is {metadata}")
    _check(info is not None or unread == error, f"decompress: {error}, read_metadata: {unread}")
    if variant is not None:
        judge_variant(worker, data, variant, error, picture, info, whole=not unread)
    return error, b"" if picture is None else f"{picture.shape}{picture.dtype}".encode() + picture.tobytes()


def judge_whole(worker: codec.Codec, data: bytes) -> tuple[str, Any, codec.Info | None]:
    """Name of the error, picture, and what `inspect` says."""
    refused, info = attempt(lambda: codec.inspect(data))
    damaged, _ = attempt(lambda: codec.verify(data))
    error, picture = attempt(lambda: worker.decompress(data, limits=LIMITS))
    if refused:
        _check(error == damaged == refused, f"inspect: {refused}, verify: {damaged}, decompress: {error}")
    _check(not damaged or bool(error), f"decoded, though verify says {damaged}")
    if picture is not None:
        shape = layout.parse_header(data)[0].shape
        _check(picture.shape == shape, f"picture of {picture.shape}, not {shape}")
    return error, picture, info


def judge_variant(
    worker: codec.Codec, data: bytes, variant: int, error: str, picture: Any, info: codec.Info | None, *,
    whole: bool,
) -> None:
    """Concealed (variant 0), a region (1), or both (2) against all of it; `whole` if its metadata are."""
    region, conceal = variant != 0, variant != 1
    height, width = (info.height, info.width) if info else (1, 1)
    top, left = height // 2, width // 3
    box = (top, left, min(height - top, 40), min(width - left, 40))
    options: dict[str, Any] = {"on_error": "conceal" if conceal else "raise"}
    options |= {"region": box} if region else {}
    again, part = attempt(lambda: worker.decompress(data, limits=LIMITS, **options))
    if conceal and part is not None:
        part, lost = part
        _check(lost.shape == part.shape[:2], "the mask has another shape")
        _check(picture is None or not lost.any(), "nothing is damaged, but the mask says so")
        shown = picture is not None or lost.any() or region or not whole
        _check(bool(shown), "damaged, but the mask does not say so")
    if info is None:
        _check(again == error, f"inspect: {error}, with {options}: {again}")
    if part is not None:
        expected = box[2:] if region else (height, width)
        _check(part.shape[:2] == expected, f"picture of {part.shape} with {options}")
    if picture is not None:
        same = picture[top : top + box[2], left : left + box[3]] if region else picture
        _check(not again, f"decoded, but with {options}: {again}")
        _check(np.array_equal(part, same), f"other pixels with {options}")


def child(weights: Path, kind: str, count: int | None, seed: int, scratch: Path | None) -> Report:
    """All cases, one after another; the one at work is in `scratch`."""
    worker = codec.Codec(model=weights)
    files = {"prefixes": small_files, "flips": small_files, "large": large_files}.get(kind, seeds)(worker)
    warnings.simplefilter("error")
    originals = set()
    if kind == "unchecked":
        zlib.crc32 = any_crc
    for data in files.values():
        originals.update({judge(worker, data, variant)[1] for variant in range(3)})
    originals.discard(b"")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    outcomes: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest, begin = 0.0, time.process_time()
    cases = CASES[kind](files, random.Random(seed))
    note = os.open(scratch, os.O_CREAT | os.O_WRONLY) if scratch else os.memfd_create("case")
    for number, data in enumerate(itertools.islice(cases, count)):
        os.ftruncate(note, os.pwrite(note, data, 0))
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        start = time.process_time()
        try:
            turn, rest = divmod(number, EVERY.get(kind, 1))
            error, picture = judge(worker, data, None if rest else turn % 3)
            decoded = "original" if picture in originals else "declared shape"
            outcomes[f"refused {error}" if error else decoded] += 1
        except Wrong as what:
            outcomes["anything else"] += 1
            wrong.append(f"{what}: {data.hex()}")
        slowest = max(slowest, time.process_time() - start)
    signal.setitimer(signal.ITIMER_PROF, 0)
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    return Report(
        kind, dict(sorted(outcomes.items())), wrong[:20],
        seconds=round(time.process_time() - begin, 1),
        slowest_ms=round(1000 * slowest),
        growth_mib=round(growth / 1024, 1),
    )


def run(
    weights: Path, kind: str, count: int | None = None, seed: int = 0, *, program: tuple[str, ...] = PROGRAM
) -> Report:
    """The report of a process of its own; `AssertionError` with the bytes if it died."""
    count = COUNTS[kind] if count is None else count
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "case"
        command = [sys.executable, *program, str(weights), kind, "--seed", str(seed)]
        command += ["--scratch", str(scratch)] + (["--count", str(count)] if count else [])
        done = subprocess.run(
            command, cwd=Path(__file__).parents[2], env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, check=False,
        )
        at_work = scratch.read_bytes().hex() if scratch.exists() else ""
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}\nwith {at_work}"
    return Report(**json.loads(done.stdout))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Hostile files by the thousand.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("kind", choices=sorted(CASES))
    parser.add_argument("--count", type=int, help="of cases; where there are only so many, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="where the case at work is kept")
    given = parser.parse_args()
    count = given.count or COUNTS[given.kind]
    report = child(given.weights, given.kind, count, given.seed, given.scratch)
    print(json.dumps(dataclasses.asdict(report), indent=1))


if __name__ == "__main__":
    main()
