"""How far a run is, on standard error, when it is long and somebody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenroof.deploy.core import Probe
    from tokenroof.serve.run import Progress

QUIET_S = 1.0
"""Runs shorter than this show nothing. [s]"""

Watch = Callable[["Progress"], None]


@contextmanager
def watching(label: str, *, enabled: bool) -> Iterator[Watch | None]:
    """A callback that draws a bar: requests over, simulated time, requests per second, time left.

    Parameters
    ----------
    label : str
        What runs.
    enabled : bool
        Whether to; nothing is shown either where standard error is no terminal.
    """
    if not enabled or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} requests, {task.fields[now]} simulated,"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    bar = Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=5)
    began = time.monotonic()
    task = bar.add_task(label, total=1, now="0 s", speed="")
    first: list[tuple[float, int]] = []

    def watch(progress: Progress) -> None:
        at = time.monotonic()
        if not first:
            first.append((at, progress.ended))
        since, before = first[0]
        speed = f"{(progress.ended - before) / (at - since):,.0f}/s" if at > since else ""
        now = simulated_text(progress.now_s)
        bar.update(task, total=progress.requests, completed=progress.ended, now=now, speed=speed)
        if at - began > QUIET_S and not bar.live.is_started:
            bar.start()

    try:
        yield watch
    finally:
        bar.stop()


@contextmanager
def searching(label: str, *, enabled: bool) -> Iterator[Callable[[Probe], None] | None]:
    """A callback that says which rates were tried, on one line of standard error."""
    if not enabled or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    console = Console(stderr=True)
    with console.status(f"{label}: searching") as status:
        yield lambda probe: status.update(
            f"{label}: {probe.rate_per_s:.3g} requests/s {'meet' if probe.met else 'miss'} the limits"
        )


@contextmanager
def counting(label: str, *, total: int, enabled: bool) -> Iterator[Callable[[int], None] | None]:
    """A callback that draws a bar of things done, when it takes long and somebody looks.

    Parameters
    ----------
    label : str
        What is done.
    total : int
        How many there are.
    enabled : bool
        Whether to; nothing is shown either where standard error is no terminal.
    """
    if not enabled or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} rows"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=5) as bar:
        task = bar.add_task(label, total=total)
        yield lambda more: bar.advance(task, more)


@contextmanager
def telling(
    label: str, *, enabled: bool
) -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None] | None]]:
    """Two callbacks: sentences, each a line of standard error, and (done, total) rows of the last one.

    Parameters
    ----------
    label : str
        What is done.
    enabled : bool
        Whether to; rows are counted only where standard error is a terminal.
    """
    if not enabled:
        yield lambda _: None, None
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not sys.stderr.isatty():
        yield lambda said: console.print(f"{label}: {said}", markup=False), None
        return
    with console.status(label) as status:
        yield (
            lambda said: console.print(f"{label}: {said}", markup=False),
            lambda done, total: status.update(f"{label}: {done:,} of {total:,} rows"),
        )


def simulated_text(seconds: float) -> str:
    """A simulated time in short."""
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 7200.0 else f"{seconds / 3600.0:.1f} h"
