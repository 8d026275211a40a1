"""What is best: dominance, the Pareto front, a weighted choice. Every value is a cost: less is better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SAME = 1e-9
"""Costs that differ by less than this part of them are the same."""


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether ``one`` is nowhere worse and somewhere better."""
    pairs = list(zip(one, other, strict=True))
    no_worse = all(a <= b + SAME * abs(b) for a, b in pairs)
    return no_worse and any(a < b - SAME * abs(b) for a, b in pairs)


def front(costs: Sequence[Sequence[float]]) -> list[int]:
    """Places that nothing dominates, in their order; of equal ones all.

    Parameters
    ----------
    costs : sequence of sequences of float
        One per candidate, shape (num_candidates, num_objectives); one that is not finite is behind.
    """
    if not costs:
        return []
    table = np.asarray(costs, dtype=np.float64).reshape(len(costs), -1)
    places = [at for at in range(len(costs)) if bool(np.isfinite(table[at]).all())]
    return [at for at in places if not any(dominates(table[rival], table[at]) for rival in places)]


def weighted(costs: Sequence[Sequence[float]], weights: Sequence[float]) -> FloatArray:
    """Logarithm of the weighted geometric mean: units do not count, nor does who else is looked at.

    Parameters
    ----------
    costs : sequence of sequences of float
        Shape (num_candidates, num_objectives); what is to be large comes with a minus sign.
    weights : sequence of float
        Of the objectives.

    Returns
    -------
    FloatArray
        Shape (num_candidates,); less is better, infinite for one that is not finite.
    """
    table = np.asarray(costs, dtype=np.float64).reshape(len(costs), len(weights))
    known = np.isfinite(table) & (table != 0.0)
    size = np.where(known, np.abs(table), 1.0)
    share = np.asarray(weights, dtype=np.float64) / float(np.sum(weights))
    summed: FloatArray = np.where(known.all(axis=1), (np.sign(table) * np.log(size)) @ share, np.inf)
    return summed


def order(costs: Sequence[Sequence[float]], weights: Sequence[float] | None) -> list[int]:
    """All places, best first: by the weighted mean, else by the objectives in turn; ties as they come."""
    if not costs:
        return []
    if weights is not None:
        return [int(at) for at in np.argsort(weighted(costs, weights), kind="stable")]
    table = np.asarray(costs, dtype=np.float64).reshape(len(costs), -1)
    return [int(at) for at in np.lexsort(table.T[::-1])]


def thinned(costs: Sequence[Sequence[float]], places: Sequence[int], tolerance: float) -> list[int]:
    """Of places in order of preference those that are not nearly another that is kept.

    Parameters
    ----------
    costs : sequence of sequences of float
        Of all candidates.
    places : sequence of int
        Of the front, best first.
    tolerance : float
        A place goes when one that is kept is at most so much worse, as a part, in every objective.
    """
    kept: list[int] = []
    for at in places:
        if not any(_nearly(costs[best], costs[at], tolerance) for best in kept):
            kept.append(at)
    return kept


def _nearly(one: Sequence[float], other: Sequence[float], tolerance: float) -> bool:
    """Whether ``one`` is nowhere worse than ``other`` by more than a part of it."""
    return all(a <= b + tolerance * abs(b) for a, b in zip(one, other, strict=True))
