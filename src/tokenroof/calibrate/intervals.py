"""From residuals of rows that nothing was fitted to, to the factors of ``accuracy.csv``.

``docs/model/intervals.md`` gives the rules. Nothing here is fitted to a single row: a scope of a metric has
three quantiles, a group one width.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.accuracy import (
    BORROWED,
    CHIP,
    ENGINE,
    FACETS,
    MODEL,
    SEEN,
    SIMULATED,
    Accuracy,
    Relative,
    Served,
    Spread,
)
from tokenroof.deploy.known import THROUGHPUT, Asked

FloatArray = npt.NDArray[np.float64]
Key = tuple[str, str, str]
"""Metric, kind of prediction, scope."""

MISSED = 0.1
"""Part of the measured servings that lies outside, half on either side."""

COLUMNS: Mapping[str, str] = {
    "total_tput_per_gpu": THROUGHPUT,
    "output_tput_per_gpu": THROUGHPUT,
    "input_tput_per_gpu": THROUGHPUT,
    "mean_tpot_s": "tpot_s",
    "median_tpot_s": "tpot_p50_s",
    "p99_tpot_s": "tpot_p99_s",
    "mean_ttft_s": "ttft_s",
    "median_ttft_s": "ttft_p50_s",
    "p99_ttft_s": "ttft_p99_s",
    "mean_e2e_s": "e2e_s",
    "median_e2e_s": "e2e_p50_s",
    "p99_e2e_s": "e2e_p99_s",
}
"""Which metric's errors a column shows."""

FOLDS: Mapping[str, tuple[str, ...]] = {
    "shape": (SEEN,),
    "hardware": (CHIP, BORROWED),
    "framework": (ENGINE,),
    "model": (MODEL,),
}
"""What is left out in cross-validation, and what the errors then say of."""

LEAST_ROWS = 12
"""Rows below which a scope has no factors of its own."""
_PRIOR_ROWS = 25.0
"""Rows by which a group's width is held at that of all."""
_FARTHEST = 3.0
"""Half-widths beyond which a residual counts as so many, in the width of a group."""
_NOT_WORTH_SAYING = 0.1
"""Logarithm of a group's width below which it is left out."""
_LEAST_FREE = 3.0
"""Degrees of freedom of so few groups that nothing is known of their scatter."""
_ROUNDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """One metric of one row, predicted with parameters that its group was not fitted to.

    Attributes
    ----------
    row : str
        Which.
    metric : str
        A value of :data:`COLUMNS`.
    fold : str
        What was left out: a name of :data:`FOLDS`.
    group : str
        Which of these: a chip, a model, ...
    log_ratio : float
        ln(measured / predicted).
    asked : Asked
        What the row is, of the pool that decodes.
    prediction : str
        "simulated" or "closed form".
    """

    row: str
    metric: str
    fold: str
    group: str
    log_ratio: float
    asked: Asked
    prediction: str = SIMULATED

    @property
    def scope(self) -> str:
        """What its error says of."""
        first, *others = FOLDS[self.fold]
        return others[0] if others and not self.asked.grounded else first

    @property
    def key(self) -> Key:
        """Which factors it counts for."""
        return self.metric, self.prediction, self.scope


def quantile_ends(
    values: FloatArray, weights: FloatArray | None = None, missed: float = MISSED
) -> tuple[float, float]:
    """Low and high end that a further value of the same kind misses in at most ``missed`` of the cases.

    Of n sorted values the floor((n + 1) missed / 2)-th and the ceil((n + 1) (1 - missed / 2))-th, as in split
    conformal prediction; with weights the last value up to which no larger part of them is reached, and n
    is (sum w)^2 / sum w^2. Where there is none (n below 19 for a tenth) the outermost value is moved out by
    sqrt(ln 20 / ln (n + 1)).

    Parameters
    ----------
    values : FloatArray
        Shape (num_values,), at least one.
    weights : FloatArray, optional
        Above 0, of the same shape; default: all alike.
    missed : float
        Part outside, half on either side.

    Returns
    -------
    tuple of float
        In the unit of the values.

    Examples
    --------
    >>> quantile_ends(np.arange(1.0, 100.0))
    (5.0, 95.0)
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    parts = np.ones(ordered.size) if weights is None else weights[order]
    count = float(parts.sum() ** 2 / (parts**2).sum())
    least = (count + 1.0) * missed / 2.0 / count
    reached = np.cumsum(parts) / parts.sum()
    if least * count >= 1.0 - 1e-9:
        back = np.cumsum(parts[::-1]) / parts.sum()
        first, last = (
            max(int(np.searchsorted(each, least + 1e-9, side="right")) - 1, 0) for each in (reached, back)
        )
        return float(ordered[first]), float(ordered[::-1][last])
    middle = float(ordered[np.searchsorted(reached, 0.5)])
    stretch = math.sqrt(math.log(2.0 / missed) / math.log(count + 1.0))
    return (
        middle - stretch * (middle - float(ordered[0])),
        middle + stretch * (float(ordered[-1]) - middle),
    )


def few_groups_factor(groups: float) -> float:
    """Student's 95 % quantile over the normal one: what is known of few levels is that much less sure.

    Parameters
    ----------
    groups : float
        How many there are, in effect; fewer than four count as four.

    Examples
    --------
    >>> round(few_groups_factor(4), 2), round(few_groups_factor(11), 2), round(few_groups_factor(1e6), 2)
    (1.43, 1.1, 1.0)
    """
    free = max(groups - 1.0, _LEAST_FREE)
    z = NormalDist().inv_cdf(1.0 - MISSED / 2.0)
    first, second = (z**3 + z) / 4.0, (5 * z**5 + 16 * z**3 + 3 * z) / 96.0
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384.0
    return 1.0 + (first / free + second / free**2 + third / free**3) / z  # Abramowitz and Stegun 26.7.5


def build(residuals: Iterable[Residual]) -> Accuracy:
    """The factors that residuals give, for groups that are not among them.

    Parameters
    ----------
    residuals : iterable of Residual
        Of cross-validation; a row may be in every fold.

    Returns
    -------
    Accuracy
        Scopes with fewer than twelve rows are left out. What was measured stands beside the factors.
    """
    known = tuple(residuals)
    relatives = _relatives(known)
    bare = Accuracy(relatives=relatives)
    spreads = []
    for key, members in by_scope(known).items():
        if len(members) < LEAST_ROWS:
            continue
        sample = _sample(members, bare)
        middle, below, above = _ends(sample)
        spreads.append(
            Spread(
                metric=key[0],
                prediction=key[1],
                scope=key[2],
                low_factor=math.exp(middle - below),
                middle_factor=math.exp(middle),
                high_factor=math.exp(middle + above),
                rows=len(members),
                groups=int(np.unique(sample.groups).size),
            )
        )
    return Accuracy(
        spreads=tuple(spreads),
        relatives=relatives,
        served=counted({each.row: each.asked for each in known}.values()),
    )


def by_scope(residuals: Iterable[Residual]) -> dict[Key, list[Residual]]:
    """Residuals by the factors they count for."""
    found: dict[Key, list[Residual]] = {}
    for each in residuals:
        found.setdefault(each.key, []).append(each)
    return found


def left_out(members: Sequence[Residual]) -> list[tuple[list[Residual], list[Residual]]]:
    """Each group of residuals of one fold, and all others."""
    groups = dict.fromkeys(each.group for each in members)
    return [
        ([e for e in members if e.group == group], [e for e in members if e.group != group])
        for group in groups
    ]


def counted(found: Iterable[Asked]) -> tuple[Served, ...]:
    """Every combination, with how often it occurs."""
    names = ("chip", "family", "engine", "model", "kind", "format")
    counts = Counter(tuple(getattr(each, name) for name in names) for each in found)
    return tuple(
        Served(**dict(zip(names, key, strict=True)), rows=count) for key, count in sorted(counts.items())
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """Residuals of one metric and scope as arrays of shape (num_residuals,): logarithms, widths, groups.

    ``new_group`` says that intervals are for a group that is not among them.
    """

    logs: FloatArray
    widths: FloatArray
    groups: npt.NDArray[np.str_]
    new_group: bool


def _sample(members: Sequence[Residual], accuracy: Accuracy) -> Sample:
    return Sample(
        np.array([each.log_ratio for each in members]),
        _widths(members, accuracy),
        np.array([each.group for each in members]),
        new_group=members[0].scope != SEEN,
    )


def _ends(sample: Sample) -> tuple[float, float, float]:
    """Middle of the logarithms, and how far the ends lie below and above it where the width is 1.

    Rows of a group are alike: where a further group is asked for they count as the root of their number.
    """
    _, place, rows = np.unique(sample.groups, return_inverse=True, return_counts=True)
    weights = 1.0 / np.sqrt(rows[place]) if sample.new_group else np.ones(place.size)
    order = np.argsort(sample.logs, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    middle = float(sample.logs[order][np.searchsorted(reached, 0.5)])
    low, high = quantile_ends((sample.logs - middle) / sample.widths, weights)
    factor = few_groups_factor(float(np.sqrt(rows).sum() ** 2 / rows.sum()))
    return middle, factor * max(-low, 0.0), factor * max(high, 0.0)


# --- groups --------------------------------------------------------------------------------------


def _doubtful(scope: str) -> tuple[str, ...]:
    """Facets of which nothing is known in a scope: there a width does not go below 1."""
    known = {CHIP: ("family",), BORROWED: ("family",), ENGINE: ("engine",), MODEL: ("kind", "format")}
    return known.get(scope, ())


def _widths(members: Sequence[Residual], accuracy: Accuracy) -> FloatArray:
    """Width of the group of every residual, as it will be applied."""
    found = []
    for each in members:
        width = 1.0
        for facet in FACETS:
            own = accuracy.relative(kind_of_metric(each.metric), facet, getattr(each.asked, facet))
            width *= max(own, 1.0) if facet in _doubtful(each.scope) else own
        found.append(width)
    return np.array(found)


def kind_of_metric(metric: str) -> str:
    """What the widths of groups are told by: "total", "tpot", "ttft", "e2e"."""
    return metric.partition("_")[0]


def _relatives(residuals: Sequence[Residual]) -> tuple[Relative, ...]:
    """How much wider errors are by facet, each held at 1 by a prior; of simulated rows with all else seen."""
    seen = [each for each in residuals if each.scope == SEEN and each.prediction == SIMULATED]
    kinds = dict.fromkeys(kind_of_metric(each.metric) for each in seen)
    return tuple(
        relative
        for kind in kinds
        for relative in _of_kind(kind, [each for each in seen if kind_of_metric(each.metric) == kind])
    )


def _of_kind(kind: str, members: Sequence[Residual]) -> list[Relative]:
    sizes = np.empty(len(members))
    metrics = np.array([each.metric for each in members])
    per_row = len(set(metrics))
    for metric in set(metrics):
        mask = metrics == metric
        values = np.array([each.log_ratio for each in members])[mask]
        off = np.abs(values - np.median(values))
        sizes[mask] = np.minimum(off / max(float(np.quantile(off, 1.0 - MISSED)), 1e-9), _FARTHEST)
    usual = float(np.sqrt((sizes**2).mean())) or 1.0
    names = {facet: np.unique([getattr(each.asked, facet) for each in members]) for facet in FACETS}
    codes = {
        facet: np.searchsorted(names[facet], [getattr(each.asked, facet) for each in members])
        for facet in FACETS
    }
    widths = {facet: np.ones(names[facet].size) for facet in FACETS}
    for _ in range(_ROUNDS):
        for facet in FACETS:
            others = np.ones(len(members))
            for other in FACETS:
                if other != facet:
                    others *= widths[other][codes[other]]
            squares = np.bincount(codes[facet], (sizes / usual / others) ** 2) / per_row
            rows = np.bincount(codes[facet]) / per_row
            widths[facet] = np.sqrt((squares + _PRIOR_ROWS) / (rows + _PRIOR_ROWS))
    return [
        Relative(
            metric=kind,
            facet=facet,
            name=str(name),
            spread=float(width),
            rows=len({each.row for each in members if getattr(each.asked, facet) == name}),
        )
        for facet in FACETS
        for name, width in zip(names[facet], widths[facet], strict=True)
        if abs(math.log(width)) > _NOT_WORTH_SAYING
    ]
