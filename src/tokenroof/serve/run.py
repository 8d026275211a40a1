"""Run the event kernel: in slices, so that progress is seen and an interruption loses nothing."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tokenroof.perf.flat import FlatLane, FlatLayout
from tokenroof.serve import kernel
from tokenroof.serve.account import ALIVE, BUSY, ROWS, RUNNING, USED, WAITING, note
from tokenroof.serve.arrays import World
from tokenroof.serve.core import Setup
from tokenroof.serve.fleet import change, open_fleet
from tokenroof.serve.jit import jit
from tokenroof.serve.moves import COMPLETED, out_tokens
from tokenroof.serve.prefix import tier_totals
from tokenroof.serve.results import RequestLog, Run
from tokenroof.serve.world import lane_counts, make_world
from tokenroof.workload.core import Requests

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SLICE = 400_000
"""Events between two looks at the clock: a tenth of a second or so."""

_REPLICA_COLUMNS = (
    "pool",
    "busy_s",
    "up_s",
    "slowed_s",
    "link_busy_s",
    "prefill_tokens",
    "decode_tokens",
    "prefill_ends",
    "segments",
    "rounds",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    requests, ended : int
        Of how many requests so many are over (completed, rejected or failed).
    now_s : float
        Simulated time. [s]
    log : RequestLog
        As it is now.
    done : IntArray
        Rows of the requests that are over, in the order in which they ended.
    """

    requests: int
    ended: int
    now_s: float
    log: RequestLog
    done: IntArray


def simulate(setup: Setup, requests: Requests, *, progress: Callable[[Progress], None] | None = None) -> Run:
    """Serve ``requests`` on ``setup``.

    Parameters
    ----------
    setup : Setup
        Pools, router, what changes.
    requests : Requests
        What is sent.
    progress : callable, optional
        Told after every slice of events; may raise KeyboardInterrupt.

    Returns
    -------
    Run
        ``complete`` is False when the run was interrupted: what was simulated until then is in it.

    Raises
    ------
    InputError
        A setup that cannot serve.
    """
    world, layouts = make_world(setup, requests)
    complete, told = False, 0
    try:
        open_fleet(world)
        while _call(kernel.advance, world, SLICE):
            if world.g[0]["changes"]:
                _call(change, world)
                if world.g[0]["events"] < told + SLICE:
                    continue
            told = int(world.g[0]["events"])
            if progress is not None:
                progress(_progress(world))
        complete = True
    except KeyboardInterrupt:
        pass
    if progress is not None and complete:
        progress(_progress(world))
    return _run(setup, requests, world, layouts, complete)


def _call(function: Callable[..., Any], *args: object) -> Any:
    """Call a compiled function; the first call of a process may compile it.

    Compiling makes millions of objects that all live on; looking for garbage among them is half the work.
    """
    if _is_ready(function) or not gc.isenabled():
        return function(*args)
    gc.disable()
    try:
        return function(*args)
    finally:
        gc.enable()


def kernel_is_ready() -> bool:
    """Whether the kernel is compiled, or loaded from the cache, in this process; in plain Python always."""
    return _is_ready(kernel.advance)


def _is_ready(function: Callable[..., Any]) -> bool:
    signatures: list[object] | None = getattr(function, "signatures", None)
    return signatures is None or len(signatures) > 0


def _progress(world: World) -> Progress:
    g = world.g[0]
    ended = int(g["ended"])
    return Progress(
        requests=world.req.size,
        ended=ended,
        now_s=float(g["now_s"]),
        log=_log(world),
        done=world.done[:ended],
    )


def _log(world: World) -> RequestLog:
    """Columns of the log, apart from the rows that the kernel goes on writing."""
    rows = world.req
    times = np.empty((5, rows.size))
    counts = np.empty((13, rows.size), np.int32)
    _columns(world, times, counts)
    return RequestLog(
        **{name: times[at] for at, name in enumerate(_TIMES)},
        **{name: counts[at] for at, name in enumerate(_COUNTS)},
    )


_TIMES = ("arrival_s", "start_s", "first_s", "finish_s", "transfer_s")
_COUNTS = (
    "isl_tokens",
    "osl_tokens",
    "out_tokens",
    "cached_tokens",
    "prefilled_tokens",
    "state",
    "reason",
    "replica",
    "decode_replica",
    "preemptions",
    "retries",
    "class_index",
    "session",
)


@jit
def _columns(w: World, times: FloatArray, counts: npt.NDArray[np.int32]) -> None:
    """Rows to columns in one pass."""
    for i in range(w.req.size):
        row = w.req[i]
        state = row["state"]
        times[0, i] = row["arrival_s"] if state != 0 else np.nan
        times[1, i], times[2, i] = row["start_s"], row["first_s"]
        times[3, i], times[4, i] = row["finish_s"], row["transfer_s"]
        counts[0, i], counts[1, i] = row["isl"], row["osl"]
        counts[2, i] = row["osl"] if state == COMPLETED else out_tokens(w, i)
        counts[3, i], counts[4, i] = row["cached"], row["prefilled"]
        counts[5, i], counts[6, i] = state, row["reason"]
        counts[7, i], counts[8, i] = row["prefiller"], row["replica"]
        counts[9, i], counts[10, i] = row["preemptions"], row["retries"]
        counts[11, i], counts[12, i] = row["class_index"], row["session"]


def _run(
    setup: Setup, requests: Requests, world: World, layouts: tuple[FlatLayout, ...], complete: bool
) -> Run:
    end_s = float(world.g[0]["now_s"])
    for r in range(world.rep.size):
        note(world, r, end_s)
    bin_s = float(world.g[0]["bin_s"])
    bins = max(1, min(world.timeline.shape[2], int(np.ceil(end_s / bin_s))))
    timeline = world.timeline[:, :ROWS, :bins].copy()
    # Means over what of a bin has passed; sums stay sums.
    width = np.minimum(bin_s, np.maximum(end_s - bin_s * np.arange(bins), 1e-12))
    for row in (RUNNING, WAITING, USED, BUSY, ALIVE):
        timeline[:, row] /= width
    replicas = {name: world.rep[name].astype(np.float64) for name in _REPLICA_COLUMNS}
    replicas["steps"] = world.rep["done_steps"].astype(np.float64)
    for name in ("peak", "taken", "freed"):
        replicas[f"{name}_blocks"] = world.rep[name].astype(np.float64)
    return Run(
        setup=setup,
        requests=requests,
        log=_log(world),
        end_s=end_s,
        complete=complete,
        timeline_bin_s=bin_s,
        timeline=timeline,
        itl_counts=world.itl,
        visits=_visits(setup, world, layouts),
        replicas=replicas,
        tiers=tier_totals(world.prefix) if setup.pools[0].tiers else {},
        segments=world.segment[: int(world.g[0]["segments"])],
        events=int(world.g[0]["events"]),
        past_events=int(world.g[0]["past_event"]),
    )


def _visits(setup: Setup, world: World, layouts: tuple[FlatLayout, ...]) -> tuple[FloatArray, ...]:
    """Visits by pool, with the decode steps' lanes, which the kernel counts by batch, spread out."""
    out, at = [], 0
    for p, (pool, layout) in enumerate(zip(setup.pools, layouts, strict=True)):
        visits = world.visit[at : at + layout.size].copy()
        at += layout.size
        seqs = np.flatnonzero(world.decode_visits[p])
        stages = np.maximum(np.minimum(seqs, int(world.pool[p]["pp"])), 1)
        times = (world.decode_visits[p, seqs] * stages).astype(np.float64)
        counts = lane_counts(pool.table, -(-seqs // stages), pool.graph_sizes)
        for lane, where in zip(pool.table.lanes, layout.lanes, strict=True):
            _visit_lane(visits, lane.tail, where, counts[lane.feature], times)
        out.append(visits)
    return tuple(out)


def _visit_lane(
    visits: FloatArray, tail: IntArray, where: FlatLane, counts: IntArray, times: FloatArray
) -> None:
    near = (counts > 0) & (counts < where.dense_size)
    np.add.at(visits, where.dense_offset + counts[near], times[near])
    far = counts >= where.dense_size
    if far.any():
        knot = np.clip(np.searchsorted(tail, counts[far], side="right") - 1, 0, tail.size - 2)
        share = (counts[far] - tail[knot]) / (tail[knot + 1] - tail[knot])
        np.add.at(visits, where.tail_offset + knot, times[far] * (1.0 - share))
        np.add.at(visits, where.tail_offset + knot + 1, times[far] * share)
