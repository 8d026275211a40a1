"""The fewest replicas of a candidate that keep the targets, each count simulated.

A search is a generator: it yields the counts that it wants simulated, and is sent whether they keep the
targets. So many of them can run side by side, and none knows of processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

from tokenroof.search.core import Record

Counts = tuple[int, ...]

DEARER = "dearer"
"""Reason of a search that ended because no count that is left is worth it."""

GROWTH = (1.1, 1.25, 1.5, 2.0, 3.0)
"""Counts that are tried, over the least of the closed form, when that is not enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one count.

    Attributes
    ----------
    missed : str
        What is not kept; "" for nothing.
    short : int
        The pool that is to blame.
    record : Record
        The simulation that missed, or the first of those that all kept the targets.
    value : float
        Metric that missed by most, over its limit; 0 when it is not about a latency.
    """

    missed: str
    short: int
    record: Record
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The end of a search.

    Attributes
    ----------
    replicas : tuple of int or None
        The fewest; None when no count was found, or none that is cheaper than asked.
    verdict : Verdict
        There; without counts, the last one.
    reason : str
        Why there are none: "", :data:`DEARER` or what is missed.
    asked : tuple of int
        With :data:`DEARER`: the counts that were not worth it.
    """

    replicas: Counts | None
    verdict: Verdict
    reason: str = ""
    asked: Counts = ()


Search = Generator[Counts, Verdict, Found]


def fewest(
    start: Counts,
    unit_cost: tuple[float, ...],
    allowed: Callable[[Counts], bool],
    *,
    floor: Counts | None = None,
) -> Search:
    """Search upwards from ``start`` until everything is kept, then down again, pool by pool.

    Parameters
    ----------
    start : tuple of int
        Least counts by the closed form; not trusted: fewer are tried when these are enough.
    unit_cost : tuple of float
        Of one replica, by pool: the dearest is taken away first.
    allowed : callable
        Whether counts are still worth a simulation: within the limits, cheaper than the best known.
    floor : tuple of int, optional
        Never fewer: what a load that goes on needs, however few keep the targets for the requests that
        are simulated. Default: one each.
    """
    least = floor or (1,) * len(start)
    start = counts = tuple(map(max, start, least))
    if not allowed(counts):
        return Found(replicas=None, verdict=_none(), reason=DEARER, asked=counts)
    verdict = yield counts
    rise = [0] * len(start)
    while verdict.missed:
        pool, before = verdict.short, verdict
        if rise[pool] >= len(GROWTH):
            return Found(replicas=None, verdict=verdict, reason=verdict.missed)
        more = max(counts[pool] + 1, round(start[pool] * GROWTH[rise[pool]]))
        rise[pool] += 1
        counts = _with(counts, pool, more)
        if not allowed(counts):
            return Found(replicas=None, verdict=verdict, reason=DEARER, asked=counts)
        verdict = yield counts
        if _stuck(before, verdict, counts, start, pool):
            return Found(replicas=None, verdict=verdict, reason=verdict.missed)
    for pool in sorted(range(len(counts)), key=lambda index: -unit_cost[index]):
        counts, verdict = yield from _down(counts, pool, verdict, least[pool])
    if len(counts) == 2:
        counts, verdict = yield from _exchanged(counts, unit_cost, verdict, allowed)
    return Found(replicas=counts, verdict=verdict)


Walk = Generator[Counts, Verdict, tuple[Counts, Verdict]]


def _down(counts: Counts, pool: int, verdict: Verdict, least: int = 1) -> Walk:
    """Fewer replicas of one pool, by steps that double, then halve."""
    low, high, step = least, counts[pool], 1
    while low < high:
        fewer = max(low, high - step)
        tried = yield _with(counts, pool, fewer)
        if tried.missed:
            low, step = fewer + 1, max(1, (high - fewer) // 2)
        else:
            high, verdict, step = fewer, tried, 2 * step
    return _with(counts, pool, high), verdict


def _exchanged(
    counts: Counts, unit_cost: tuple[float, ...], verdict: Verdict, allowed: Callable[[Counts], bool]
) -> Walk:
    """One replica of a pool for as many of the other as are cheaper than it, while that helps."""
    for pool, other in ((0, 1), (1, 0)):
        while counts[pool] > 1:
            more = math.ceil(unit_cost[pool] / unit_cost[other]) - 1
            tried = _with(_with(counts, pool, counts[pool] - 1), other, counts[other] + more)
            if more < 1 or not allowed(tried):
                break
            found = yield tried
            if found.missed:
                break
            counts, verdict = yield from _down(tried, other, found)
    return counts, verdict


def _with(counts: Counts, pool: int, count: int) -> Counts:
    return tuple(count if index == pool else each for index, each in enumerate(counts))


def _stuck(before: Verdict, now: Verdict, counts: Counts, start: Counts, pool: int) -> bool:
    """Whether more replicas have not helped: the same latency, with half as many again as at the start."""
    return (
        bool(now.missed)
        and counts[pool] >= 1.5 * start[pool]
        and now.value > 0.0
        and now.value > 0.99 * before.value > 0.0
        and now.short == before.short
    )


def _none() -> Verdict:
    empty = Record(key="", label="", replicas=(), seed=0, rate_factor=1.0, values={}, low={}, high={})
    return Verdict(missed="", short=0, record=empty, value=0.0)
