"""Main loop of the benchmark: every codec on every picture at every setting, without repetition."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from .baselines import Baseline, Unavailable
from .environment import machine
from .measure import CodecFailed, Station, cores
from .metrics import VERSION
from .pictures import NotMeasured, Picture
from .results import Record, Store

Advance = Callable[[str, int], None]
"""Called with the name of the codec and the number of its finished measurements."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A requested codec with its version, or with the reason why it cannot run."""

    baseline: Baseline
    settings: tuple[float, ...]
    version: str = ""
    unavailable: str | None = None

    def identity(self, picture: Picture, setting: float) -> Record:
        """Fields that identify a measurement.

        Options are part of the version, so a change of options makes a new measurement.
        """
        return {
            "codec": self.baseline.name, "version": f"{self.version}; {self.baseline.describe}",
            "machine": machine(), "setting": setting, "picture": picture.digest, "measures": VERSION,
        }

    def memory_identity(self, pictures: Sequence[Picture]) -> Record:
        """Like `identity`, for peak memory: the largest picture at the middle setting."""
        largest = max(pictures, key=lambda picture: picture.pixels)
        return {**self.identity(largest, self.settings[len(self.settings) // 2]), "memory": None}


def prepare(baselines: Sequence[Baseline], points: int | None) -> list[Entry]:
    """Entries of the codecs, which state whether each of them can run here.

    Each entry has at most `points` settings, the two extremes among them.
    """
    entries = []
    for baseline in baselines:
        settings = _thinned(baseline.settings, points)
        try:
            version = baseline.version()
            if baseline.ours:
                baseline.start(1)  # damaged weights raise once here, not for every picture
            entries.append(Entry(baseline, settings, version))
        except Unavailable as error:
            entries.append(Entry(baseline, settings, unavailable=str(error)))
    return entries


def _thinned(settings: tuple[float, ...], points: int | None) -> tuple[float, ...]:
    if points is None or points >= len(settings):
        return settings
    if points == 1:
        return (settings[len(settings) // 2],)
    last = len(settings) - 1
    return tuple(settings[round(i * last / (points - 1))] for i in range(points))


def total(entries: Sequence[Entry], pictures: Sequence[Picture]) -> int:
    """Number of measurements in a run, without those of memory."""
    return sum(len(entry.settings) * len(pictures) for entry in entries if not entry.unavailable)


def run(
    entries: Sequence[Entry], pictures: Sequence[Picture], store: Store, *,
    repeat: int, timeout: float, retime: bool, advance: Advance,
) -> None:
    """Measure what `store` does not contain yet. With `retime`, measure all times again.

    A failure of a codec is stored as a record with an error.
    """
    # Processes are spawned, not forked, because the parent may have started threads.
    with ProcessPoolExecutor(
        cores(), mp_context=multiprocessing.get_context("spawn"), initializer=_start_measuring
    ) as pool:
        try:
            for entry in entries:
                if not entry.unavailable:
                    with Station(entry.baseline, pool, repeat, timeout) as station:
                        _run_codec(entry, pictures, store, station, retime, advance)
        except BaseException:  # includes Ctrl-C: pending work is not needed any more
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_measuring() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent handles Ctrl-C
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:  # no process may outlive a killed parent
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    import torch

    torch.set_num_threads(1)  # the pool has one process per core


def _run_codec(
    entry: Entry, pictures: Sequence[Picture], store: Store, station: Station, retime: bool, advance: Advance
) -> None:
    name = entry.baseline.name
    plan = [(picture, _to_do(entry, picture, store, retime)) for picture in pictures]
    advance(name, sum(len(entry.settings) - len(settings) for _, settings in plan))
    first = next((picture for picture, settings in plan if settings), None)
    if first:
        station.warm_up(first)
    for picture, settings in plan:
        for record in _measure(entry, picture, settings, store, station):
            store.add(record)
            advance(name, 1)
    memory = entry.memory_identity(pictures)
    if not store.done(memory):
        largest = max(pictures, key=lambda picture: picture.pixels)
        try:
            store.add({**memory, "memory": station.peak_memory(largest, memory["setting"])})
        except CodecFailed as error:
            store.add({**memory, "error": str(error)})


def _to_do(entry: Entry, picture: Picture, store: Store, retime: bool) -> list[float]:
    return [s for s in entry.settings if retime or not store.done(entry.identity(picture, s))]


def _measure(
    entry: Entry, picture: Picture, settings: Sequence[float], store: Store, station: Station
) -> Iterator[Record]:
    """Measure the times at all settings first, then the distortion.

    The pool that measures distortion would disturb the times.
    """
    timed: dict[float, Record] = {}
    for setting in settings:
        identity = entry.identity(picture, setting)
        try:
            timed[setting] = {**identity, **station.run(picture, setting)}
        except CodecFailed as error:
            if not store.done(identity):  # after a failed retiming the old record is kept
                yield {**identity, "error": str(error)}
    compared = {}
    for setting, record in timed.items():
        known = store.get(entry.identity(picture, setting)) or {}
        if known.get("bytes") == record["bytes"]:  # timed again: the distortion is already known
            yield {**known, **record}
        else:
            compared[setting] = station.compare(picture, setting)
    for setting, future in compared.items():
        try:
            yield {**timed[setting], **future.result()}
        except (CodecFailed, NotMeasured, MemoryError, OSError) as error:
            yield {**entry.identity(picture, setting), "error": str(error) or type(error).__name__}
