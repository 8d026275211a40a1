"""How far a plan is, on standard error, when somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tokenroof.search.core import Progress, Watch

_STAGES = {"screen": "screening", "simulate": "simulating", "answer": "answering"}


@contextmanager
def planning(label: str, *, enabled: bool) -> Iterator[Watch | None]:
    """A callback that draws a bar: the stage, simulations that are over, the time since the beginning.

    How many simulations there will be depends on what they show, so the bar has an end only where the plan
    says one.

    Parameters
    ----------
    label : str
        What is planned.
    enabled : bool
        Whether to; nothing is shown either where standard error is no terminal.
    """
    if not enabled or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[text]}", markup=False),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=5) as bar:
        drawn = bar.add_task(f"{label}: {_STAGES['screen']}", total=None, text="")

        def watch(progress: Progress) -> None:
            stage = _STAGES.get(progress.stage, progress.stage)
            over = f"{progress.done:,} simulations over" if progress.stage == "simulate" else ""
            bar.update(
                drawn,
                description=f"{label}: {stage}",
                # a bar that is full would stop the clock
                total=progress.total if progress.total > progress.done else None,
                completed=progress.done,
                text=", ".join(filter(None, (over, progress.text))),
            )

        yield watch
