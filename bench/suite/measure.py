"""Rate, distortion and times of one codec on one picture at one setting; peak memory of a codec."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from . import metrics
from .baselines import Baseline
from .pictures import Picture, read_again


class CodecFailed(Exception):
    """A codec raised, crashed or hung."""


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _pinned(count: int) -> Iterator[None]:
    """Pin this thread, and every process started meanwhile, to `count` cores (on Linux)."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Worker:
    """A child process with one codec, pinned to a number of cores. Restarted after a crash."""

    def __init__(self, codec: str, threads: int, timeout: float) -> None:
        self.codec, self.threads, self.timeout = codec, threads, timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Worker:
        self._log = self._stack.enter_context(tempfile.TemporaryFile())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._end()
        self._stack.close()

    def command(self) -> list[str]:
        """Command line of the child process."""
        # -P: a folder named bench in the current directory must not be imported instead of this
        # package.
        return [sys.executable, "-P", "-m", f"{__package__}.worker", self.codec, str(self.threads)]

    def environment(self) -> dict[str, str]:
        """Environment variables of the child process."""
        count = str(self.threads)
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        return {
            **os.environ, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "PYTHONPATH": path,
        }

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer. `CodecFailed` says how the codec failed."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        line = b""
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                if not selector.select(self.timeout):
                    process.kill()
                    self._end()
                    raise CodecFailed(f"no answer after {self.timeout:g} s")
            line = process.stdout.readline()
        if not line:
            raise CodecFailed(self._end())
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise CodecFailed(reply["error"])
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        with _pinned(self.threads):
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
                env=self.environment(),
                # Only the parent handles Ctrl-C and then stops its workers. Otherwise a codec would
                # appear to fail.
                start_new_session=True,
            )
        return self._process

    def _end(self) -> str:
        """Wait for a process that is ending or has ended, and return how it ended."""
        process, self._process = self._process, None
        assert process is not None
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        code = process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip().splitlines()
        return f"the process ended with {how}" + (f": {said[-1]}" if said else "")


class Station:
    """Everything needed to measure one codec: a worker on one core, one on all, and a folder."""

    def __init__(self, baseline: Baseline, metric_pool: Executor, repeat: int, timeout: float) -> None:
        self.baseline, self.pool, self.repeat, self.timeout = baseline, metric_pool, repeat, timeout
        self._stack = contextlib.ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        self.workers = {
            count: self._stack.enter_context(Worker(baseline.name, count, timeout))
            for count in sorted({1, cores()})
        }

    def __enter__(self) -> Station:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def warm_up(self, picture: Picture) -> None:
        """Run the codec once, so that imports, loading of weights and cold caches are not timed."""
        for worker in self.workers.values():
            with contextlib.suppress(CodecFailed):  # the measurement will fail again and record it
                self._run(worker, picture, self.baseline.settings[0], 1)

    def run(self, picture: Picture, setting: float) -> dict[str, Any]:
        """Encode and decode with timing. Return the first fields of a record.

        Raises `CodecFailed`.
        """
        times: dict[str, dict[str, float]] = {"encode_s": {}, "decode_s": {}}
        for count, worker in self.workers.items():
            encoded, decoded = self._run(worker, picture, setting, self.repeat)
            times["encode_s"][str(count)] = encoded["seconds"]
            times["decode_s"][str(count)] = decoded["seconds"]
        return {"bytes": encoded["bytes"], **times}

    def compare(self, picture: Picture, setting: float) -> Future[dict[str, Any]]:
        """Measure the distortion of the picture that `run` last decoded at this setting.

        The pool does the work. Do not call this while a codec is timed. The future returns the
        other fields of a record or raises `CodecFailed`.
        """
        return self.pool.submit(_distortion, picture, self._pixels(setting), self.baseline.lossless)

    def _pixels(self, setting: float) -> Path:
        return self.folder / f"{setting:g}.npy"

    def _run(
        self, worker: Worker, picture: Picture, setting: float, repeat: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        file, pixels = str(self.folder / "file.bin"), str(self._pixels(setting))
        source = str(picture.path.resolve())
        encoded = worker.ask(encode=source, setting=setting, out=file, repeat=repeat)
        return encoded, worker.ask(decode=file, out=pixels, repeat=repeat)

    def peak_memory(self, picture: Picture, setting: float) -> dict[str, float | None]:
        """Peak memory in MiB: `encode` and `decode`, each in a fresh process.

        The first process reads and encodes one picture. The second process decodes it.
        """
        file, pixels = self.folder / "memory.bin", self.folder / "memory.npy"
        with Worker(self.baseline.name, cores(), self.timeout) as worker:
            source = str(picture.path.resolve())
            encode = worker.ask(encode=source, setting=setting, out=str(file))["peak"]
        with Worker(self.baseline.name, cores(), self.timeout) as worker:
            decode = worker.ask(decode=str(file), out=str(pixels))["peak"]
        return {"encode": encode, "decode": decode}


def _distortion(picture: Picture, file: Path, lossless: bool) -> dict[str, Any]:
    """Compare the decoded pixels with the picture. Runs in the pool."""
    original, decoded = read_again(picture.path), np.load(file)
    if original.shape != decoded.shape:
        raise CodecFailed(f"decoded to {decoded.shape[1]}×{decoded.shape[0]} pixels")
    values = metrics.measure(original, decoded)
    if lossless and values["mse"]:
        raise CodecFailed("not lossless")
    return values
