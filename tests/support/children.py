"""Run functions and the command line in child processes that tests can interrupt, kill or limit.

The children fork from one clean process that has loaded torch. A fork takes milliseconds, while a
new process takes seconds. They do not fork from the process that runs the tests, because its
threads do not survive a fork.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "codec.cli.main", "codec.engine.encoding", "tests.conftest"])

TIMEOUT = 120


class Finished(NamedTuple):
    """Result of a child. `code` is its exit code, or minus the signal that killed it."""

    code: int
    out: bytes
    err: bytes


def start(function: Callable[..., None], *arguments: Any) -> Any:
    """Start a process that runs a module-level function.

    It ends with the code of the function's `SystemExit`, or with 0.
    """
    process = _CONTEXT.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


def finish(process: Any, timeout: float | None = TIMEOUT) -> int:
    """Wait for a process and return its exit code."""
    process.join(timeout)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
        raise AssertionError(f"a child did not end within {timeout} s")
    process.close()
    return int(code)


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a module-level function in a child. Return its result or raise its exception."""
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    process = start(_send_result, sender, function, arguments)
    sender.close()
    with receiver:
        try:
            result = receiver.recv() if receiver.poll(TIMEOUT) else None
        except EOFError:
            result = None
    code = finish(process)
    assert code == 0, f"the child ended with {code}"
    if isinstance(result, BaseException):
        raise result
    return result


def _send_result(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        result = function(*arguments)
    except Exception as error:
        result = error
    sender.send(result)


def start_script(script: Path, arguments: Sequence[object], out: Path) -> Any:
    """Start a process that runs a Python script as `__main__`. Its output is written to `out`."""
    return start(_run_script, str(script), [str(word) for word in arguments], str(out))


def _run_script(script: str, arguments: list[str], out: str) -> None:
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


def command_line(
    arguments: Sequence[object],
    *,
    before: Callable[[], None] | None = None,
    stdin: bytes | None = b"",
    stdout: int | None = -1,
) -> Finished:
    """Run `codec` with `arguments` in a child, after calling `before` in the child.

    `stdin` is the input of the command. `stdout` is a descriptor to write to, or -1 to return the
    output. With None, the stream is closed, as `<&-` and `>&-` do. The output must fit into a pipe.
    """
    ends = [_CONTEXT.Pipe(duplex=False) for _ in range(3)]
    (source, to_child), (from_out, out), (from_err, err) = ends
    passed = Connection(os.dup(stdout)) if stdout not in (None, -1) else out
    words = [os.fspath(word) if isinstance(word, os.PathLike) else word for word in arguments]
    process = start(
        _run, [word if isinstance(word, bytes) else str(word) for word in words], before,
        None if stdin is None else source, None if stdout is None else passed, err,
    )
    for connection in {source, out, err, passed}:
        connection.close()
    os.write(to_child.fileno(), stdin or b"")
    to_child.close()
    texts = [_read_all(connection) for connection in (from_out, from_err)]
    return Finished(finish(process), *texts)


def _read_all(connection: Connection) -> bytes:
    parts = []
    while part := os.read(connection.fileno(), 1 << 16):
        parts.append(part)
    connection.close()
    return b"".join(parts)


def _run(
    arguments: list[str | bytes],
    before: Callable[[], None] | None,
    stdin: Connection | None,
    stdout: Connection | None,
    stderr: Connection,
) -> None:
    sys.stdin = _open(0, stdin, "r")
    sys.stdout = _open(1, stdout, "w")
    sys.stderr = _open(2, stderr, "w")
    from codec.cli.main import main

    if before:
        before()
    try:
        main([os.fsdecode(word) for word in arguments], prog_name="codec")
    except SystemExit as done:
        # Like the interpreter, end without a message if stdout no longer accepts output.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, AttributeError):
                stream.flush()
        os._exit(int(done.code or 0))


def _open(number: int, connection: Connection | None, mode: str) -> Any:
    """Open the standard stream of a descriptor as Python does. Return None if it is closed."""
    if connection is None:
        os.close(number)
        return None
    os.dup2(connection.fileno(), number)
    connection.close()
    errors = {0: "strict", 1: "strict", 2: "backslashreplace"}[number]
    return open(number, mode, encoding="utf-8", errors=errors, closefd=False)
