"""Errors of predictions: by row, by metric, by group."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tokenroof.calibrate.validation.core import METRICS, Outcome
from tokenroof.calibrate.validation.results import Group, Reference, Score, Validation

PRIMARY = ("total_tput_per_gpu", "output_tput_per_gpu", "mean_tpot_s", "median_tpot_s")
"""Metrics that rows are ranked by: every kind of row has one of them, and none hangs on a queue."""

_NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:[.,]\d+)*(?![\w.-]*\w)")
"""One that stands alone: those inside names ("llama-3.1-8b", "8xH100") tell things apart."""

_DIFFERS = "…"


def error(outcome: Outcome, metric: str) -> float | None:
    """(predicted - measured) / measured of a row; None when it lacks either.

    Parameters
    ----------
    outcome : Outcome
        Of the row.
    metric : str
        A name of :data:`METRICS`.
    """
    predicted, measured = outcome.predicted.get(metric), outcome.measured.get(metric)
    if predicted is None or measured is None or not math.isfinite(predicted):
        return None
    return (predicted - measured) / measured


def score(outcomes: Iterable[Outcome], metric: str) -> Score:
    """How far a metric is off over some rows."""
    found: list[float] = []
    inside: list[bool] = []
    for outcome in outcomes:
        off = error(outcome, metric)
        if off is None:
            continue
        found.append(off)
        if metric in outcome.intervals:
            low, high = outcome.intervals[metric]
            inside.append(low <= outcome.measured[metric] <= high)
    if not found:
        return Score(n=0)
    sizes = np.abs(found)
    return Score(
        n=len(found),
        median_fraction=float(np.median(sizes)),
        mean_fraction=float(sizes.mean()),
        p90_fraction=float(np.percentile(sizes, 90)),
        bias_fraction=float(np.mean(found)),
        interval_fraction=float(np.mean(inside)) if inside else None,
    )


def scores(outcomes: Sequence[Outcome]) -> dict[str, Score]:
    """Every metric, those without a row included."""
    return {metric: score(outcomes, metric) for metric in METRICS}


def groups(outcomes: Sequence[Outcome], by: Sequence[str]) -> tuple[Group, ...]:
    """Rows that say the same in some columns, sorted by what they say.

    Parameters
    ----------
    outcomes : sequence of Outcome
        All rows.
    by : sequence of str
        Columns.
    """
    members: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        members.setdefault(tuple(outcome.row.text(column) for column in by), []).append(outcome)
    return tuple(
        Group(
            by=tuple(by),
            key=key,
            rows=len(members[key]),
            predicted=sum(bool(outcome.predicted) for outcome in members[key]),
            scores=scores(members[key]),
        )
        for key in sorted(members)
    )


def reasons(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Why rows have no prediction, and how many; the most frequent first.

    Reasons that differ in numbers alone are counted together, with "…" for the numbers that differ.
    """
    told = Counter(outcome.reason for outcome in outcomes if not outcome.predicted)
    alike: dict[str, list[str]] = {}
    for reason in told:
        alike.setdefault(_NUMBER.sub("\0", reason), []).append(reason)
    counts = {_merged(texts): sum(told[text] for text in texts) for texts in alike.values()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _merged(texts: Sequence[str]) -> str:
    """One text for texts that differ in numbers alone."""
    columns = zip(*(_NUMBER.findall(text) for text in texts), strict=True)
    numbers = iter([found[0] if len(set(found)) == 1 else _DIFFERS for found in columns])
    return _NUMBER.sub(lambda _: next(numbers), texts[0])


def worst(
    outcomes: Iterable[Outcome], count: int, metrics: Sequence[str] = PRIMARY
) -> tuple[tuple[Outcome, str, float], ...]:
    """Rows with the largest errors, each with the metric that is furthest off and its error.

    Parameters
    ----------
    outcomes : iterable of Outcome
        All rows; those without an error in these metrics are left out.
    count : int
        How many.
    metrics : sequence of str
        What rows are ranked by: the largest of |ln(predicted / measured)|, so that half and double weigh
        the same.
    """
    ranked: list[tuple[float, Outcome, str, float]] = []
    for outcome in outcomes:
        offs = [(metric, off) for metric in metrics if (off := error(outcome, metric)) is not None]
        if offs:
            metric, off = max(offs, key=lambda each: _size(each[1]))
            ranked.append((_size(off), outcome, metric, off))
    ranked.sort(key=lambda each: -each[0])
    return tuple((outcome, metric, off) for _, outcome, metric, off in ranked[: max(count, 0)])


def _size(off: float) -> float:
    return abs(math.log1p(off)) if off > -1.0 else math.inf


def validation(
    outcomes: Sequence[Outcome], by: Sequence[str], references: Sequence[Reference] = ()
) -> Validation:
    """Everything about some rows.

    Parameters
    ----------
    outcomes : sequence of Outcome
        In the order of the files.
    by : sequence of str
        Columns to group by: together, and each alone.
    references : sequence of Reference
        What the errors are held against.
    """
    columns = tuple(dict.fromkeys(by))
    cuts: Mapping[tuple[str, ...], None] = dict.fromkeys((columns, *((column,) for column in columns)))
    return Validation(
        outcomes=tuple(outcomes),
        scores=scores(outcomes),
        by=columns,
        groups=tuple(group for cut in cuts if cut for group in groups(outcomes, cut)),
        reasons=reasons(outcomes),
        references=tuple(references),
    )
