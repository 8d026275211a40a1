"""The ratio of prefill to decode: chips of each pool against it, the best one, and how flat the best is."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Role
from tokenroof.errors import InputError
from tokenroof.search.accounting import ChipCost
from tokenroof.search.answers.closed import (
    CLOSED_FORM,
    as_asked,
    ask_of,
    best_of,
    computed_fraction,
    costs_of,
    demand,
    fair,
    pool_options,
    replicas_of,
    values_of,
)
from tokenroof.search.answers.core import RatioRow, RatioTable
from tokenroof.search.asked import Question
from tokenroof.search.core import Candidate

NEAR_BALANCE = 8.0
"""Ratios beyond balance by more than this factor are left out."""

NOTES = (
    CLOSED_FORM,
    "a ratio is kept whole: both pools grow together, by whole units, until they serve the load",
    "flatness is that of the exact curve, where whole replicas do not matter; spares are left out of it",
)


def ratio(
    question: Question,
    candidate: Candidate | None = None,
    *,
    catalog: Catalog,
    most_replicas: int = 6,
    tolerance_fraction: float = 0.05,
) -> RatioTable:
    """Chips of the prefill and the decode pool against their ratio, in closed form.

    Parameters
    ----------
    question : Question
        Load, targets, headroom, spares; of its objectives the first counts.
    candidate : Candidate, optional
        Prefill and decode apart; default: the best of the question in closed form.
    catalog : Catalog
        Economics.
    most_replicas : int
        Ratios have at most so many replicas on either side of the colon.
    tolerance_fraction : float
        A ratio whose cost is at most so much above that of the best is as good as it.

    Returns
    -------
    RatioTable
        The fewest replicas of each pool that serve the load are a row, too, whatever their ratio.

    Raises
    ------
    InputError
        The candidate has one pool, does not keep the targets, or nothing apart does.

    Notes
    -----
    A replica serves what it does in steady state within the targets: so many requests per second, whatever
    the other pool does. The ratio at which neither waits for the other, ``decode_per_s / prefill_per_s``, is
    the best but for whole replicas; below it decode idles, above it prefill does. Queues (a pool that is
    always full answers late) are not seen: ``plan`` simulates the counts that it chooses.
    """
    if most_replicas < 1 or not tolerance_fraction >= 0.0:
        raise InputError(
            f"most_replicas must be at least 1 and tolerance_fraction at least 0, got {most_replicas} and "
            f"{tolerance_fraction!r}."
        )
    load, shape = demand(question)
    costs = costs_of(question, catalog)
    ask = ask_of(question, shape, computed_fraction(question, load))
    if candidate is None:
        legal, options = replicas_of(question, ask, (Role.PREFILL, Role.DECODE))
        best, _, _ = best_of(fair(question), load, costs, legal, options, apart=True)
        if best is None:
            raise InputError("nothing with prefill and decode apart keeps the targets. Loosen them.")
        candidate = best.candidate
    if len(candidate.pools) != 2:
        raise InputError(f"{candidate.label} has one pool: there is no ratio. Take one with two.")
    found = pool_options(question, ask, candidate)
    per_s = tuple(float(each.requests_per_s[0]) for each in found)
    for each, pool in zip(found, candidate.pools, strict=True):
        if not each.fits[0]:
            need, have = as_asked(float(each.need[0])), as_asked(float(each.have[0]))
            late = each.reason[0] != "memory"
            why = f"{each.reason[0]}: {need:.4g} s > {have:.4g} s" if late else "does not fit the memory"
            raise InputError(f"{pool.role.value} of {candidate.label}: {why} in closed form. Take another.")
    rate = load.requests_per_s * (1.0 + question.headroom_fraction)
    balanced = per_s[1] / per_s[0]
    counts = np.array(_counts(per_s, rate, balanced, most_replicas), dtype=np.float64).T
    bought = counts + question.spare_replicas
    objective = question.objectives[0]
    values = values_of(question, load, costs, found, candidate, list(bought))[objective.name]
    served = counts * np.array(per_s)[:, None]
    own = np.array([pool.parallel.chips for pool in candidate.pools])[:, None]
    exact = (counts * own).sum(axis=0) / served.min(axis=0)
    rows = tuple(
        RatioRow(
            prefill_replicas=int(counts[0, at]),
            decode_replicas=int(counts[1, at]),
            prefill_chips=int(bought[0, at] * own[0, 0]),
            decode_chips=int(bought[1, at] * own[1, 0]),
            ratio=float(counts[0, at] / counts[1, at]),
            chips_per_request_per_s=float(exact[at]),
            value=float(values[at]),
            short=(Role.PREFILL if served[0, at] <= served[1, at] else Role.DECODE).value,
            idle_fraction=float(1.0 - served[:, at].min() / served[:, at].max()),
        )
        for at in range(counts.shape[1])
    )
    best_row = min(
        rows, key=lambda row: (objective.cost(row.value), row.chips, abs(math.log(row.ratio / balanced)))
    )
    flat = flat_range(per_s, _unit_costs(candidate, costs), tolerance_fraction)
    return RatioTable(
        candidate=candidate,
        objective=objective.name,
        prefill_per_s=per_s[0],
        decode_per_s=per_s[1],
        balanced=balanced,
        rows=rows,
        best=best_row,
        flat_low=flat[0],
        flat_high=flat[1],
        tolerance_fraction=tolerance_fraction,
        notes=NOTES,
    )


def flat_range(
    per_s: tuple[float, ...], unit_costs: tuple[float, float], tolerance_fraction: float
) -> tuple[float, float]:
    """Ratios at which a request costs at most so much more than at balance.

    Parameters
    ----------
    per_s : tuple of float
        Of one replica of prefill, and of decode. [1/s]
    unit_costs : tuple of float
        Of one replica of each.
    tolerance_fraction : float
        How much more.

    Notes
    -----
    With ``r`` prefill replicas per decode replica a request costs ``(r a + b) / min(r p, d)``: it falls as
    ``a / p + b / (r p)`` up to balance, and then rises as ``(r a + b) / d``.

    Examples
    --------
    >>> flat_range((2.0, 1.0), (1.0, 1.0), 0.5)  # balance at 0.5, where a request costs 1.5
    (0.2857142857142857, 1.25)
    """
    (prefill, decode), (first, second) = per_s, unit_costs
    most = (first / prefill + second / decode) * (1.0 + tolerance_fraction)
    return second / (prefill * (most - first / prefill)), (most * decode - second) / first


def _unit_costs(candidate: Candidate, costs: dict[str, ChipCost]) -> tuple[float, float]:
    """Of one replica of each pool: dollars where both are known, else chips."""
    first, second = (pool.parallel.chips * costs[pool.chip].usd_per_hour for pool in candidate.pools)
    if math.isnan(first + second):
        return float(candidate.pools[0].parallel.chips), float(candidate.pools[1].parallel.chips)
    return first, second


def _counts(
    per_s: tuple[float, ...], rate: float, balanced: float, most_replicas: int
) -> list[tuple[int, int]]:
    """Replicas of both pools for every ratio, ascending, and the fewest of each."""
    found = {tuple(max(1, math.ceil(rate / each - 1e-9)) for each in per_s)}
    numbers = range(1, most_replicas + 1)
    for pair in {Fraction(a, b) for a in numbers for b in numbers}:
        if 1.0 / NEAR_BALANCE <= float(pair) / balanced <= NEAR_BALANCE:
            least = min(pair.numerator * per_s[0], pair.denominator * per_s[1])
            units = max(1, math.ceil(rate / least - 1e-9))
            found.add((units * pair.numerator, units * pair.denominator))
    return sorted(((a, b) for a, b in found), key=lambda each: (each[0] / each[1], each[0]))
