"""From where a fit ended to what is said of it: parameters with their evidence, errors of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tokenroof.calibrate.fitting.core import (
    KINDS,
    Candidate,
    Errors,
    Fit,
    FitSettings,
    GroupErrors,
    Refusal,
    RowResidual,
    Subject,
    value_at,
)
from tokenroof.calibrate.fitting.evaluate import Evaluator
from tokenroof.calibrate.fitting.fit import Solution
from tokenroof.calibrate.fitting.identify import correlations
from tokenroof.calibrate.fitting.linear import BoolArray, FloatArray, posterior
from tokenroof.calibrate.fitting.targets import Targets, log_predicted
from tokenroof.catalog.tuning import Parameter, Tuning

DIGITS = 4
"""Significant digits of fitted values: what is written is what residuals are of."""

_FELT = 0.005
"""A row informs a parameter when some metric moves by so much over the spread of its prior."""

_FAR = 2.0
_ALIKE = 0.9
_WEAK_EVIDENCE = 3


def result(
    solution: Solution,
    evaluator: Evaluator,
    settings: FitSettings,
    *,
    refused_rows: Sequence[Refusal] = (),
    left_out: Mapping[str, FloatArray] | None = None,
    source: str = "tokenroof",
) -> Fit:
    """What is said of a fit; rows are simulated once more with the values as they are written.

    Parameters
    ----------
    solution : Solution
        Where it ended.
    evaluator : Evaluator
        Of its rows.
    settings : FitSettings
        As for the fit.
    refused_rows : sequence of Refusal
        Rows that could not be used.
    left_out : mapping of str to FloatArray, optional
        Residuals of rows with parameters that were fitted without them, by grouping.
    source : str
        Row of ``sources.yaml`` that the parameters are from.
    """
    subjects, targets = evaluator.subjects, solution.targets
    inflation = _inflation(solution)
    covariance = posterior(solution.problem, solution.place, solution.active)
    parameters = tuple(
        _parameter(solution, index, float(covariance[at, at]), inflation, source)
        for at, index in enumerate(solution.active)
    )
    tuning = Tuning(parameters=parameters).over(solution.begin)
    after = log_predicted(evaluator, targets, [tuning], [frozenset(range(len(subjects)))])[0]
    moved = dict(left_out or {})
    before, now = solution.before - targets.log_measured, after - targets.log_measured
    labels = [solution.candidates[index].label for index in solution.active]
    return Fit(
        subjects=subjects,
        refused_rows=(
            *refused_rows,
            *(Refusal(what=subjects[at].row.id, reason=said) for at, said in evaluator.problems.items()),
        ),
        parameters=parameters,
        far=tuple(
            solution.candidates[index].label for index in solution.active if abs(solution.place[index]) > _FAR
        ),
        refused=solution.refused,
        considered=len(solution.candidates),
        tuning=tuning,
        residuals=_rows(targets, before, now, moved),
        errors=_errors(targets, before, now, moved, np.ones(len(targets), dtype=bool)),
        groups=_groups(subjects, targets, before, now, moved),
        inflation=inflation,
        alike=tuple(
            (labels[one], labels[other], alike)
            for one, other, alike in correlations(covariance)
            if abs(alike) > _ALIKE
        ),
    )


def _inflation(solution: Solution) -> float:
    """Root of the weighted mean square of residuals, robust, per degree of freedom."""
    problem = solution.problem
    size = np.minimum(np.abs(problem.residuals), problem.huber)
    freedom = max(float(problem.weights.sum()) - len(solution.active), 1.0)
    return math.sqrt(float(problem.weights @ size**2) / freedom)


def _parameter(solution: Solution, index: int, variance: float, inflation: float, source: str) -> Parameter:
    each: Candidate = solution.candidates[index]
    value = value_at(each.tunable, each.expected + each.spread * float(solution.place[index]))
    moves = np.abs(solution.problem.slopes[:, index] * solution.targets.spread) > _FELT
    rows = {place for place, felt in zip(solution.targets.subject, moves, strict=True) if felt}
    return Parameter(
        name=each.name,
        scope=each.scope,
        value=float(f"{value:.{DIGITS}g}"),
        standard_error=float(f"{each.spread * math.sqrt(variance) * max(1.0, inflation):.2g}"),
        prior_spread=each.spread,
        rows=len(rows),
        source=source,
        claim="measured",
        note="few rows" if len(rows) < _WEAK_EVIDENCE else "",
    )


def _rows(
    targets: Targets, before: FloatArray, after: FloatArray, left_out: Mapping[str, FloatArray]
) -> tuple[RowResidual, ...]:
    return tuple(
        RowResidual(
            subject=place,
            kind=targets.kind[at],
            before=float(before[at]),
            after=float(after[at]),
            left_out={name: float(array[at]) for name, array in left_out.items()},
        )
        for at, place in enumerate(targets.subject)
    )


def _errors(
    targets: Targets,
    before: FloatArray,
    after: FloatArray,
    left_out: Mapping[str, FloatArray],
    keep: BoolArray,
) -> tuple[Errors, ...]:
    found = []
    kinds = np.array(targets.kind)
    for kind in KINDS:
        mine = keep & (kinds == kind)
        if mine.any():
            found.append(
                Errors(
                    kind=kind,
                    rows=int(mine.sum()),
                    before=_median(before[mine]),
                    after=_median(after[mine]),
                    bias=float(np.expm1(np.nanmedian(after[mine])))
                    if np.isfinite(after[mine]).any()
                    else math.nan,
                    left_out={name: _median(array[mine]) for name, array in left_out.items()},
                )
            )
    return tuple(found)


def _median(logs: FloatArray) -> float:
    some = logs[np.isfinite(logs)]
    return float(np.median(np.abs(np.expm1(some)))) if some.size else math.nan


def _groups(
    subjects: Sequence[Subject],
    targets: Targets,
    before: FloatArray,
    after: FloatArray,
    left_out: Mapping[str, FloatArray],
) -> tuple[GroupErrors, ...]:
    keys = [(each.groups["hardware"], each.groups["model"], each.groups["framework"]) for each in subjects]
    out = []
    for key in sorted(set(keys)):
        rows = frozenset(place for place, other in enumerate(keys) if other == key)
        found = _errors(targets, before, after, left_out, targets.rows(rows))
        out.append(GroupErrors(key=key, rows=len(rows), errors=found))
    return tuple(out)


def with_reason(subjects: Sequence[Subject], refused_rows: Sequence[Refusal], reason: str) -> Fit:
    """A fit that found nothing."""
    return replace(Fit(subjects=tuple(subjects)), refused_rows=tuple(refused_rows), reason=reason)
