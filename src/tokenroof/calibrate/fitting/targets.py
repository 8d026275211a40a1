"""Residuals of rows and their slopes, as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokenroof.calibrate.fitting.core import Candidate, FitSettings, Subject, coordinate, value_at
from tokenroof.calibrate.fitting.evaluate import Evaluator
from tokenroof.calibrate.fitting.linear import BoolArray, FloatArray, IntArray, Linear
from tokenroof.catalog.tuning import ALL, TUNABLES, Parameter, Tuning

_FACTOR_STEP = 0.05
_PART_OF_SPREAD = 0.25
"""Steps of difference quotients: large over the jumps of a simulation, small over what is curved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Every metric of every subject that is fitted.

    Attributes
    ----------
    subject : tuple of int
        Place of the row.
    kind : tuple of str
        Of ``core.KINDS``.
    column : tuple of str
        Of the row and of a prediction.
    log_measured, spread, weight : FloatArray
        Shape (num_targets,).
    """

    subject: tuple[int, ...]
    kind: tuple[str, ...]
    column: tuple[str, ...]
    log_measured: FloatArray
    spread: FloatArray
    weight: FloatArray

    @classmethod
    def of(cls, subjects: Sequence[Subject], settings: FitSettings) -> Targets:
        """All metrics of all subjects."""
        listed = [(place, kind) for place, each in enumerate(subjects) for kind in each.measured]
        return cls(
            subject=tuple(place for place, _ in listed),
            kind=tuple(kind for _, kind in listed),
            column=tuple(subjects[place].columns[kind] for place, kind in listed),
            log_measured=np.array([math.log(subjects[place].measured[kind]) for place, kind in listed]),
            spread=np.array([settings.spread[kind] for _, kind in listed]),
            weight=np.array([subjects[place].weight for place, _ in listed]),
        )

    def __len__(self) -> int:
        return len(self.subject)

    def rows(self, places: frozenset[int]) -> BoolArray:
        """Which targets are of these subjects."""
        return np.array([place in places for place in self.subject], dtype=bool)


def log_predicted(
    evaluator: Evaluator, targets: Targets, tunings: Sequence[Tuning], only: Sequence[frozenset[int]]
) -> FloatArray:
    """Logarithms of predictions, nan where there is none, shape (num_tunings, num_targets).

    Parameters
    ----------
    evaluator : Evaluator
        Simulates.
    targets : Targets
        What is asked.
    tunings : sequence of Tuning
        With which parameters.
    only : sequence of frozenset of int
        Subjects that are asked with each of them.
    """
    jobs = [(place, tuning) for tuning, places in zip(tunings, only, strict=True) for place in sorted(places)]
    found = iter(evaluator.predict(jobs))
    out = np.full((len(tunings), len(targets)), np.nan)
    for index, places in enumerate(only):
        metrics = {place: next(found) for place in sorted(places)}
        for target, (place, column) in enumerate(zip(targets.subject, targets.column, strict=True)):
            said = (metrics.get(place) or {}).get(column)
            if said is not None and said > 0.0:
                out[index, target] = math.log(said)
    return out


def pairs_of(subjects: Sequence[Subject]) -> IntArray:
    """Which pair of a chip and a model each subject is of, shape (num_subjects,)."""
    places: dict[tuple[str, str], int] = {}
    pairs = [(each.groups["hardware"], each.groups["model"]) for each in subjects]
    return np.array([places.setdefault(pair, len(places)) for pair in pairs], dtype=np.int64)


def tuning_of(candidates: Sequence[Candidate], place: FloatArray, begin: Tuning) -> Tuning:
    """Parameters at a point, over those that the fit began with; what is neutral is left out."""
    moved = [
        Parameter(
            name=each.name,
            scope=each.scope,
            value=value_at(each.tunable, each.expected + each.spread * float(step)),
        )
        for each, step in zip(candidates, place, strict=True)
        if step != 0.0
    ]
    return Tuning(parameters=tuple(moved)).over(begin)


def slopes_by_name(
    evaluator: Evaluator, targets: Targets, at: Tuning, base: FloatArray, names: Sequence[str]
) -> dict[str, FloatArray]:
    """Change of each logarithm by a name's coordinate, whatever its scope, shape (num_targets,).

    Factors of all scopes are multiplied and seconds added, so that a row depends on every scope that holds
    for it alike: one quotient per name is enough.
    """
    steps = {name: _step(name) for name in names}
    tunings = [_shifted(at, name, step) for name, step in steps.items()]
    depends = [
        frozenset(place for place, each in enumerate(evaluator.subjects) if name in each.names)
        for name in names
    ]
    found = log_predicted(evaluator, targets, tunings, depends)
    return {
        name: np.nan_to_num((found[index] - base) / step) for index, (name, step) in enumerate(steps.items())
    }


def _step(name: str) -> float:
    tunable = TUNABLES[name]
    return _FACTOR_STEP if tunable.factor else _PART_OF_SPREAD * tunable.spread


def _shifted(at: Tuning, name: str, step: float) -> Tuning:
    tunable = TUNABLES[name]
    value = value_at(tunable, coordinate(tunable, at.value(name)) + step)
    return Tuning(parameters=(Parameter(name=name, scope=ALL, value=value),)).over(at)


def linear(
    subjects: Sequence[Subject],
    candidates: Sequence[Candidate],
    targets: Targets,
    by_name: dict[str, FloatArray],
    log_found: FloatArray,
    at: FloatArray,
    settings: FitSettings,
) -> Linear:
    """The residuals around a point; what has no prediction has no weight."""
    holds = np.array([[subjects[place].has(each) for each in candidates] for place in targets.subject])
    columns = np.stack([by_name[each.name] * each.spread for each in candidates], axis=1)
    residuals = (log_found - targets.log_measured) / targets.spread
    some = np.isfinite(residuals)
    bounds = np.array([each.bounds for each in candidates])
    expected, spread = (
        np.array([getattr(each, name) for each in candidates]) for name in ("expected", "spread")
    )
    return Linear(
        slopes=np.where(holds & some[:, None], columns, 0.0) / targets.spread[:, None],
        residuals=np.where(some, residuals, 0.0),
        weights=np.where(some, targets.weight, 0.0),
        pairs=pairs_of([subjects[place] for place in targets.subject]),
        at=at,
        low=(bounds[:, 0] - expected) / spread,
        high=(bounds[:, 1] - expected) / spread,
        huber=settings.huber,
    )
