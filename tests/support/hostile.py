"""Decode thousands of hostile files in a process with limited memory and time.

    python -m tests.support.hostile WEIGHTS KIND [--count N] [--seed S]

The program prints a report as JSON. The report counts the cases that were refused (for each error),
the cases that gave the original picture, and the cases that gave another picture of the shape that
the header declares. Any other outcome is an error and is listed with the bytes of the case.

Every case is passed to `inspect`, `verify`, `read_metadata` and `decompress`. All or some cases are
also decoded, in turn, with concealment, as a region, and as a region with concealment. `run` forks
a process for the cases. A crash or a hang is visible only in the exit code of the process.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import os
import random
import resource
import signal
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

import codec
from tests.support import children, layout, stored
from tests.support.mutants import CASES
from tests.support.pictures import noise, textured
from tests.support.recoded import recoded
from tests.support.tiles import encode

MEMORY = 1 << 29
"""Bytes of address space that cases may use beyond that of a process with torch and a model.

Such a process takes 0.7 GiB without CUDA, and more with it.
"""

CPU_SECONDS = 10
"""Limit for one case. After that, the kernel ends the process."""

COUNTS: dict[str, int | None] = {
    "prefixes": None, "large": 1000, "flips": None, "mutants": 2000, "sealed": 2500, "unchecked": 2500,
    "recoded": 2500, "junk": 10_000,
}
"""Default number of cases of each kind. None means all cases of the kind."""

EVERY = {"prefixes": 4, "flips": 23, "large": 20, "sealed": 2, "unchecked": 2, "recoded": 2}
"""The value n means that only every n-th case is also decoded as a region or with concealment.

This takes longer than refusing a file.
"""

LIMITS = codec.Limits(max_pixels=1 << 17)
"""Limits of a careful caller, so that no case is slow because its picture is large.

Large pictures are tested in `test_bombs`.
"""


@dataclasses.dataclass
class Report:
    """Outcomes of the cases of one run."""

    kind: str
    outcomes: dict[str, int]
    wrong: list[str]
    """Cases with an outcome that must not happen, each with its bytes in hexadecimal."""
    seconds: float
    """CPU time of the process."""
    slowest_ms: float
    growth_mib: float
    """Growth of the peak resident size of the process, measured after one case of each seed."""

    @property
    def cases(self) -> int:
        """Number of cases."""
        return sum(self.outcomes.values())


class Wrong(Exception):
    """A case had an outcome that must not happen."""


class _AnyCrc(int):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def any_crc(data: object, value: int = 0, /) -> int:
    """Replacement for `zlib.crc32` whose result equals any checksum.

    The author of a hostile file can compute correct checksums.
    """
    return _AnyCrc()


def small_files(worker: codec.Codec) -> dict[str, bytes]:
    """Files of at most 2 kB: one tile and several, latents and stored pixels, gray and RGB."""
    blocks = noise(9, 9, 3).repeat(13, 0).repeat(13, 1)
    return {
        "latents": encode(worker, textured(40, 40), 300),
        "gray tiles": encode(worker, textured(70, 130)[:, :, 0], 100),
        "stored": encode(worker, np.full((40, 40, 3), 9, np.uint8), 512),
        "stored tiles": encode(worker, blocks, 1024),
    }


def seeds(worker: codec.Codec) -> dict[str, bytes]:
    """Files to mutate: `small_files`, and files with alpha, 16 bits, metadata or a residual."""
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
    """Ten files of several tens of kilobytes each."""
    sizes = [(200 + 20 * number, 300, 50 * number + 500) for number in range(10)]
    files = [encode(worker, textured(h, w, level), level) for h, w, level in sizes]
    return {f"large {number}": data for number, data in enumerate(files)}


Outcome = tuple[str, Any]


def attempt(function: Callable[[], Any]) -> Outcome:
    """Call `function`. Return the name of its `CodecError` and None, or "" and its result.

    Raises `Wrong` for any other exception.
    """
    try:
        return "", function()
    except codec.CodecError as error:
        return type(error).__name__, None
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # panics of constriction are not `Exception`s
        raise Wrong(f"{type(error).__name__}: {error}") from error


def _check(good: bool, message: str) -> None:
    if not good:
        raise Wrong(message)


def judge(worker: codec.Codec, data: bytes, variant: int | None) -> tuple[str, bytes]:
    """Decode one case. Return "" or the name of its error, and the picture as bytes.

    Raises `Wrong` if the outcome must not happen.
    """
    error, picture, info = judge_whole(worker, data)
    unread, metadata = attempt(lambda: codec.read_metadata(data))
    _check(bool(unread) != isinstance(metadata, codec.Metadata), f"metadata is {metadata}")
    _check(info is not None or unread == error, f"decompress: {error}, read_metadata: {unread}")
    if variant is not None:
        judge_variant(worker, data, variant, error, picture, info, whole=not unread)
    return error, b"" if picture is None else f"{picture.shape}{picture.dtype}".encode() + picture.tobytes()


def judge_whole(worker: codec.Codec, data: bytes) -> tuple[str, Any, codec.Info | None]:
    """Decode the whole file. Return the name of the error, the picture and the `Info`."""
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
    """Compare another way to decode with the result for the whole file.

    Variant 0 conceals errors, variant 1 decodes a region, and variant 2 does both. `whole` tells
    whether the metadata can be read.
    """
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
    """Run all cases one after another. The file `scratch` holds the current case."""
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
    rng = random.Random(seed)
    cases = recoded(worker, files, rng) if kind == "recoded" else CASES[kind](files, rng)
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
    weights: Path, kind: str, count: int | None = None, seed: int = 0, *,
    before: Callable[[], None] | None = None,
) -> Report:
    """Run the cases in a child, after calling `before` there, and return its report.

    Raises `AssertionError` with the bytes of the current case if the process died.
    """
    count = COUNTS[kind] if count is None else count
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        code = children.finish(children.start(_run, folder, before, weights, kind, count, seed), None)
        scratch, errors = folder / "case", folder / "errors"
        at_work = scratch.read_bytes().hex() if scratch.exists() else ""
        said = errors.read_text(errors="replace") if errors.exists() else ""
        assert code == 0, f"exit {code}: {said}\nwith {at_work}"
        return Report(**json.loads((folder / "report").read_text()))


def _run(
    folder: Path, before: Callable[[], None] | None, weights: Path, kind: str, count: int | None, seed: int
) -> None:
    os.dup2(os.open(folder / "errors", os.O_CREAT | os.O_WRONLY), 2)
    torch.set_num_threads(1)
    if before:
        before()
    report = child(weights, kind, count, seed, folder / "case")
    (folder / "report").write_text(json.dumps(dataclasses.asdict(report)))


@click.command()
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("kind", type=click.Choice(sorted(COUNTS)))
@click.option("--count", type=int, help="Number of cases; kinds with fewer cases run all of them.")
@click.option("--seed", default=0, show_default=True)
@click.option("--scratch", type=click.Path(path_type=Path), help="File that holds the current case.")
def main(weights: Path, kind: str, count: int | None, seed: int, scratch: Path | None) -> None:
    """Decode hostile files of one KIND with the model in WEIGHTS and print a report."""
    report = child(weights, kind, count or COUNTS[kind], seed, scratch)
    print(json.dumps(dataclasses.asdict(report), indent=1))


if __name__ == "__main__":
    main()
