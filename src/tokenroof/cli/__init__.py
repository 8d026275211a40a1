"""The command line: one line of error and exit code 2 for what cannot be, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING

from tokenroof.errors import TokenroofError

if TYPE_CHECKING:
    import typer

BAD_INPUT = 2
INTERRUPTED = 130
READER_GONE = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those after the program's name; default: of the process.

    Returns
    -------
    int
        Exit code: 0 done, 2 bad input or nothing feasible, 3 no row validated or no plan possible, 130
        interrupted, 1 the reader went away.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without µ shows ? instead of failing
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _say("interrupted.", INTERRUPTED)
    except BrokenPipeError:
        # what is still buffered has no reader; without this the interpreter complains at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    return code


def _run(arguments: list[str]) -> int:
    import typer

    from tokenroof.cli.app import command

    try:
        code = command().main(args=arguments, prog_name="tokenroof", standalone_mode=False)
    except TokenroofError as error:
        return _say(str(error), BAD_INPUT)
    except typer.BadParameter as error:
        return _say(_plain(error), BAD_INPUT)
    except typer.TyperException as error:
        return _say(error.format_message(), BAD_INPUT)
    except typer.Abort:
        return _say("interrupted.", INTERRUPTED)
    except typer.Exit as done:
        code = done.exit_code
    if code == INTERRUPTED:
        return _say("interrupted.", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _plain(error: typer.BadParameter) -> str:
    """What is wrong with an option, without the words of the library that parses numbers."""
    from pydantic import ValidationError

    cause = error.__cause__
    if error.param is None or not isinstance(cause, ValidationError):
        return error.format_message()
    problem = cause.errors()[0]
    wanted = {"int": "a whole number", "float": "a number"}.get(problem["type"].split("_")[0])
    if wanted is None:
        return error.format_message()
    return f"{error.param.opts[0]} must be {wanted}, got {str(problem['input'])[:40]!r}."


def _say(message: str, code: int) -> int:
    """One line on standard error; nothing when help was printed instead."""
    if message:
        print(f"tokenroof: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201 - the one place that does
    return code
