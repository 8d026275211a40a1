"""Predict many rows, on several cores."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType

from tokenroof.calibrate.validation.core import Outcome, Row
from tokenroof.calibrate.validation.files import Read
from tokenroof.calibrate.validation.predict import predict_row
from tokenroof.catalog.catalog import Catalog
from tokenroof.errors import InputError

_SAME_TABLES = (
    *("hardware", "model", "weight_precision", "kv_precision", "framework", "disagg", "spec_decoding"),
    *("tp", "ep", "pp", "dp_attention", "prefill_tp", "prefill_ep", "prefill_dp_attention"),
    *("decode_tp", "decode_ep", "decode_dp_attention"),
)
"""Rows that say the same in these columns have the same step tables, which takes longer than to run them."""

_CHUNKS_PER_WORKER = 4
_FEW = 8
"""So many rows are predicted before a second process has started."""


def predict_rows(
    rows: Sequence[Read],
    catalog: Catalog,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Outcome, ...]:
    """The outcome of every row, in their order, whatever is wrong with some.

    Parameters
    ----------
    rows : sequence of Read
        Those with a problem have it as their reason.
    catalog : Catalog
        Chips, models, engines by name, with the parameters to predict with.
    workers : int, optional
        Processes; default: one per core that may be used, and this one alone for few rows. The outcomes
        do not depend on it.
    progress : callable, optional
        Told how many more rows are done.

    Raises
    ------
    InputError
        ``workers`` is below 1, or a process was killed (out of memory, most likely).
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}.")
    tell = progress or (lambda _: None)
    outcomes = {
        place: Outcome(row=row, measured={}, predicted={}, reason=problem)
        for place, (row, problem) in enumerate(rows)
        if problem
    }
    tell(len(outcomes))
    readable = [place for place in range(len(rows)) if place not in outcomes]
    count = workers or _cores()
    chunks = _chunks([(place, rows[place][0]) for place in readable], count)
    if workers is None and len(readable) <= _FEW:
        count = 1
    count = min(count, len(chunks))
    done = _here(chunks, catalog, tell) if count <= 1 else _apart(chunks, catalog, count, tell)
    outcomes.update(done)
    return tuple(outcomes[place] for place in range(len(rows)))


Chunk = tuple[tuple[int, Row], ...]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _chunks(rows: Sequence[tuple[int, Row]], workers: int) -> list[Chunk]:
    """Rows with the same step tables together, the largest chunks first so that cores end together."""
    alike: dict[tuple[str, ...], list[tuple[int, Row]]] = {}
    for place, row in rows:
        alike.setdefault(tuple(row.text(column) for column in _SAME_TABLES), []).append((place, row))
    most = max(_FEW, math.ceil(len(rows) / (_CHUNKS_PER_WORKER * workers)))
    chunks = [
        tuple(members[start : start + most])
        for members in alike.values()
        for start in range(0, len(members), most)
    ]
    return sorted(chunks, key=lambda chunk: (-len(chunk), chunk[0][0]))


def _here(
    chunks: Sequence[Chunk], catalog: Catalog, tell: Callable[[int], None]
) -> Iterator[tuple[int, Outcome]]:
    for chunk in chunks:
        for place, row in chunk:
            yield place, outcome_of(row, catalog)
            tell(1)


def outcome_of(row: Row, catalog: Catalog) -> Outcome:
    """A row's outcome; a fault of ours in one row does not lose the others."""
    try:
        # Without the answer itself: hundreds of them would only wait in memory.
        return replace(predict_row(row, catalog), estimate=None)
    except (ArithmeticError, LookupError, TypeError, ValueError, AssertionError, MemoryError) as fault:
        reason = f"fault of tokenroof, please report it: {type(fault).__name__}: {fault}"
        return Outcome(row=row, measured={}, predicted={}, reason=reason)


# --- processes -----------------------------------------------------------------------------------

_WORKER: dict[str, Catalog] = {}


def _begin(catalog: Catalog) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends us
    _WORKER["catalog"] = catalog


def _predict(chunk: Chunk) -> list[tuple[int, Outcome]]:
    return [(place, outcome_of(row, _WORKER["catalog"])) for place, row in chunk]


def _apart(
    chunks: Sequence[Chunk], catalog: Catalog, workers: int, tell: Callable[[int], None]
) -> Iterator[tuple[int, Outcome]]:
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")  # a fork would copy threads of the caller half
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(catalog,))
    try:
        with nothing_to_import():
            waiting: set[Future[list[tuple[int, Outcome]]]] = {pool.submit(_predict, c) for c in chunks}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                found = future.result()
                yield from found
                tell(len(found))
        pool.shutdown()
    except BrokenProcessPool:
        raise InputError(
            "a process was killed, most likely for memory. Ask for fewer at a time: --workers 1."
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()


@contextmanager
def nothing_to_import() -> Iterator[None]:
    """Processes that start now do not import the caller's script, which may not be made for that.

    A script without ``if __name__ == "__main__"`` would run again in each of them.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
