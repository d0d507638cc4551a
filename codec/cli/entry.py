"""Start and end of the command line: signals, warnings, and errors that no command handles."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import click

from codec.cli import streams
from codec.cli.texts import reason


class EntryPoint(click.Group):
    """A group of commands that ends with an exit code and one line on stderr, never a traceback."""

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None,
        complete_var: str | None = None, standalone_mode: bool = True, **extra: Any,
    ) -> Any:
        def run() -> Any:
            return super(EntryPoint, self).main(args, prog_name, complete_var, False, **extra)

        if not standalone_mode:
            return run()
        streams.replace_closed_streams()
        sys.exit(streams.end_output(_exit_code(run)))


def _exit_code(run: Callable[[], Any]) -> int:
    code: Any = 1
    try:
        code = run()
    except SystemExit as done:
        code = done.code
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        code = error.exit_code
    except click.Abort:
        streams.tell("Aborted!")
    except streams.OutputFailed as failed:
        streams.output_failed(failed.error)
    except Exception as error:
        if not (isinstance(error, OSError) and streams.output_is_broken()):
            streams.tell(f"codec: {reason(error)}")
    return code if isinstance(code, int) else 0


def prepare() -> None:
    """Set the state of the process. Called before every command."""
    # What other libraries warn of or log is for their developers.
    warnings.simplefilter("ignore")
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.NullHandler())
    _end_in_order()
    # Must be set before torch is loaded. Threads that wait actively would keep other threads from
    # running on shared cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The encoding of the terminal may lack × and characters of file names.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _end_in_order() -> None:
    """End on SIGTERM and SIGHUP as on Ctrl-C, so that files that are being written are removed."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        # A signal that is ignored (as under nohup) stays ignored. Outside the main thread, setting
        # a handler raises ValueError.
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_DFL:
            with contextlib.suppress(ValueError):
                signal.signal(getattr(signal, name), end)
