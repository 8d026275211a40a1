"""How many measured servings intervals contain that were made without them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tokenroof.calibrate.intervals import LEAST_ROWS, Residual, build, left_out
from tokenroof.deploy.known import log_factors


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many residuals lie in intervals that their own group had no part in.

    Attributes
    ----------
    metric, prediction, fold : str
        What is predicted, how, and what was left out: parameters and intervals are without it.
    rows, groups : int
        How many residuals, in how many groups.
    inside_fraction : float
        Part that lies in its interval.
    width_fraction : float
        High over low end, less 1, median over the rows.
    """

    metric: str
    prediction: str
    fold: str
    rows: int
    groups: int
    inside_fraction: float
    width_fraction: float


def coverage(residuals: Iterable[Residual]) -> tuple[Coverage, ...]:
    """What the intervals cover: of every row one that no residual of its own group had a part in.

    Parameters
    ----------
    residuals : iterable of Residual
        Of cross-validation.

    Notes
    -----
    The rows of a group are left out of every fold, and from what counts as measured; then their intervals
    are those that anyone would get who asks for them.
    """
    known = tuple(residuals)
    hits: dict[tuple[str, str, str], list[tuple[bool, float]]] = {}
    for fold in dict.fromkeys(each.fold for each in known):
        for own, _ in left_out([each for each in known if each.fold == fold]):
            gone = {each.row for each in own}
            rest = [each for each in known if each.row not in gone]
            if len({each.row for each in rest}) < LEAST_ROWS:
                continue
            accuracy = build(rest)
            for each in own:
                found = log_factors(each.asked, each.metric, each.prediction, accuracy)
                if found is not None:
                    low, high = min(found[0], 0.0), max(found[1], 0.0)
                    hits.setdefault((each.metric, each.prediction, fold), []).append(
                        (low <= each.log_ratio <= high, math.exp(high - low) - 1.0)
                    )
    members = by_fold(known)
    return tuple(
        Coverage(
            metric=key[0],
            prediction=key[1],
            fold=key[2],
            rows=len(each),
            groups=len({residual.group for residual in members[key]}),
            inside_fraction=float(np.mean([hit for hit, _ in each])),
            width_fraction=float(np.median([width for _, width in each])),
        )
        for key, each in hits.items()
    )


def by_fold(residuals: Iterable[Residual]) -> dict[tuple[str, str, str], list[Residual]]:
    """Residuals by metric, kind of prediction and fold."""
    found: dict[tuple[str, str, str], list[Residual]] = {}
    for each in residuals:
        found.setdefault((each.metric, each.prediction, each.fold), []).append(each)
    return found
