"""Standard input, output and error of the command line, which may be closed, full or a pipe."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click

from codec.format.readable import OpenFile, open_bytes


class OutputFailed(Exception):
    """stdout cannot be written to. There is no use in going on with other files."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


class _Closed(io.RawIOBase):
    """Output of a program that was started with its stdout closed."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raise OSError(errno.EBADF, "stdout is closed")


def replace_closed_streams() -> None:
    """Make output to a closed stdout an error.

    Python sets `sys.stdout` to None if the descriptor is closed, and the output would be lost.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        # Otherwise the first file that is opened gets the number of stdout or stderr.
        while (number := os.open(os.devnull, os.O_RDONLY)) <= 2:
            pass
        os.close(number)
    if sys.stdout is None:
        raw: Any = _Closed()
        sys.stdout = io.TextIOWrapper(raw, "utf-8", write_through=True)


def say(text: str) -> None:
    """Print a line of output to stdout."""
    with _output():
        click.echo(text)


def tell(text: str) -> None:
    """Print a message to stderr. If that is not possible, it is lost, and the work goes on."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def check_output() -> None:
    """Check that binary data can be written to stdout and is not shown on a terminal."""
    if sys.stdout.isatty():
        raise click.UsageError("refusing to write binary data to a terminal")
    write_output(())


def write_output(chunks: Iterable[bytes]) -> None:
    """Write data to stdout."""
    with _output():
        sys.stdout.buffer.write(b"")  # raises the error of a closed stdout
    for chunk in chunks:
        with _output():
            sys.stdout.buffer.write(chunk)
    with _output():
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _output() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFailed(error) from None


def end_output(code: int) -> int:
    """Write what is left in the buffer of stdout. Return the exit code: 1 if it cannot be written.

    Otherwise the interpreter would do that at its end, and print a traceback.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        output_failed(error)
        return code or 1
    return code


def output_is_broken() -> bool:
    """Whether the rest of the output cannot be written. `end_output` will say so."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def output_failed(error: OSError) -> None:
    """Discard what stdout still holds. Say why, unless its reader has ended, as `head` does."""
    if error.errno != errno.EPIPE:
        tell(f"codec: {error.strerror}" if error.errno == errno.EBADF else f"codec: stdout: {error.strerror}")
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def read_input() -> bytes:
    """Read all of stdin."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, "stdin is closed")
    return sys.stdin.buffer.read()


def open_input(source: str | bytes) -> contextlib.AbstractContextManager[bytes | OpenFile]:
    """Open a file, whose bytes are read when they are needed. Bytes of stdin are returned."""
    return contextlib.nullcontext(source) if isinstance(source, bytes) else open_bytes(source)
