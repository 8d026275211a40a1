"""Writing to the terminal."""

from __future__ import annotations

import sys

from rich.console import Console

_PIPED_WIDTH = 140  # a pipe has no width of its own; five chips fit side by side


def console() -> Console:
    """Standard output: the terminal's own width, or a fixed one when it is none."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def notes() -> Console:
    """Standard error, for what is said about the output rather than in it."""
    return Console(stderr=True, highlight=False, soft_wrap=True)
