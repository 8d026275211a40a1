"""Fit parameters of servings: simulate, linearise, choose, move, simulate again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tokenroof.calibrate.fitting.core import Candidate, FitSettings, Refusal
from tokenroof.calibrate.fitting.evaluate import Evaluator
from tokenroof.calibrate.fitting.identify import identified
from tokenroof.calibrate.fitting.linear import FloatArray, Linear, select, solve
from tokenroof.calibrate.fitting.targets import (
    Targets,
    linear,
    log_predicted,
    slopes_by_name,
    tuning_of,
)
from tokenroof.catalog.tuning import Tuning
from tokenroof.errors import InputError

BEGIN_SKEW = 0.7
"""Where even routing is left from: at zero itself nothing changes with the exponent."""

MOST_PARAMETERS = 60

_SMALL = 0.02
"""A move of so many prior spreads, or less, ends a fit."""


class UnidentifiedError(InputError):
    """The rows tell no parameter; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Where a fit ended, with what it takes to ask on.

    Attributes
    ----------
    candidates : tuple of Candidate
        What could be fitted.
    active : tuple of int
        What was.
    place : FloatArray
        Coordinates in units of prior spreads.
    problem : Linear
        Residuals around it, simulated there.
    targets : Targets
        What the residuals are of.
    begin : Tuning
        What the fit began with.
    before : FloatArray
        Logarithms of predictions with it.
    refused : tuple of Refusal
        What was asked for and cannot be told.
    """

    candidates: tuple[Candidate, ...]
    active: tuple[int, ...]
    place: FloatArray
    problem: Linear
    targets: Targets
    begin: Tuning
    before: FloatArray
    refused: tuple[Refusal, ...] = ()

    @property
    def tuning(self) -> Tuning:
        """The fitted parameters over those the fit began with."""
        return tuning_of(self.candidates, self.place, self.begin)


def fit(
    evaluator: Evaluator,
    candidates: Sequence[Candidate],
    begin: Tuning,
    settings: FitSettings,
    *,
    asked: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Solution:
    """The most likely parameters.

    Parameters
    ----------
    evaluator : Evaluator
        Simulates the rows.
    candidates : sequence of Candidate
        What may be fitted.
    begin : Tuning
        What is expected, and what else holds.
    settings : FitSettings
        How residuals weigh.
    asked : bool
        Whether all candidates are wanted; otherwise those are taken that the rows can tell.
    tell : callable, optional
        Told what is done, in a sentence.

    Raises
    ------
    UnidentifiedError
        There are no rows, no candidates, or nothing that the rows can tell.
    """
    if not evaluator.subjects:
        raise UnidentifiedError("no row can be fitted on: rows need a load, lengths and results.")
    if not candidates:
        raise UnidentifiedError("no parameter depends on these rows.")
    around = _Around(evaluator, tuple(candidates), begin, settings)
    before = around.log_predicted(np.zeros(len(candidates)))
    if not np.isfinite(before).any():
        raise UnidentifiedError(
            f"no row can be simulated. The first: {next(iter(evaluator.problems.values()), '')}"
        )
    place = np.array([_first(each) for each in candidates])
    now = around.log_predicted(place)
    active = list(range(len(candidates))) if asked else []
    by_name: dict[str, FloatArray] = {}
    refused: list[Refusal] = []
    for step in range(settings.steps):
        if step in _SLOPES_AT:
            tell(f"slopes of {len({each.name for each in candidates})} kinds of parameters")
            by_name = around.slopes(place, now)
        problem = around.problem(by_name, now, place)
        if asked and step in _CHOICE_AT:
            active, more = identified(problem, candidates, active, settings)
            refused += more
        elif step in _CHOICE_AT:
            active, _ = choose(problem, candidates, settings)
            active, _ = identified(problem, candidates, active, settings)
        goal = solve(problem, active)
        if not active:
            raise UnidentifiedError(_nothing(refused))
        was = problem.cost(place)
        place, now = around.move(problem, place, goal)
        problem = around.problem(by_name, now, place)
        tell(f"step {step + 1}: {len(active)} parameters, cost {was:.1f} to {problem.cost(place):.1f}")
        if step > max(_SLOPES_AT) and np.max(np.abs(goal - problem.at)) < _SMALL:
            break
    return Solution(
        candidates=tuple(candidates),
        active=tuple(active),
        place=place,
        problem=problem,
        targets=around.targets,
        begin=begin,
        before=before,
        refused=tuple(refused),
    )


def choose(
    problem: Linear, candidates: Sequence[Candidate], settings: FitSettings
) -> tuple[list[int], FloatArray]:
    """The candidates that the rows speak for, and the point; see :func:`linear.select`."""
    least = [each.least_pairs for each in candidates]
    return select(problem, (), evidence=settings.evidence, most=MOST_PARAMETERS, least=least)


def _nothing(refused: Sequence[Refusal]) -> str:
    if refused:
        return f"none of the parameters can be told. {refused[0].what}: {refused[0].reason}"
    return (
        "these rows identify no parameter: predictions change less than measurements scatter, or are right "
        "already. Give more rows, or name parameters that they depend on (--parameters)."
    )


_SLOPES_AT = (0, 2)
_CHOICE_AT = (0, 1, 2)


def _first(each: Candidate) -> float:
    return BEGIN_SKEW / each.spread if each.name == "routing_skew" and each.expected == 0.0 else 0.0


class _Around:
    """Residuals of one fit's rows around points."""

    def __init__(
        self, evaluator: Evaluator, candidates: tuple[Candidate, ...], begin: Tuning, settings: FitSettings
    ) -> None:
        self.targets = Targets.of(evaluator.subjects, settings)
        self._evaluator, self._candidates = evaluator, candidates
        self._begin, self._settings = begin, settings
        self._everyone = frozenset(range(len(evaluator.subjects)))

    def log_predicted(self, place: FloatArray) -> FloatArray:
        tuning = tuning_of(self._candidates, place, self._begin)
        found: FloatArray = log_predicted(self._evaluator, self.targets, [tuning], [self._everyone])[0]
        return found

    def slopes(self, place: FloatArray, now: FloatArray) -> dict[str, FloatArray]:
        tuning = tuning_of(self._candidates, place, self._begin)
        names = tuple(dict.fromkeys(each.name for each in self._candidates))
        return slopes_by_name(self._evaluator, self.targets, tuning, now, names)

    def problem(self, by_name: dict[str, FloatArray], now: FloatArray, place: FloatArray) -> Linear:
        return linear(
            self._evaluator.subjects, self._candidates, self.targets, by_name, now, place, self._settings
        )

    def move(self, problem: Linear, place: FloatArray, goal: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Go towards the goal, as far as the simulated residuals get better, too."""
        was = problem.cost(place)
        for reach in _REACHES:
            there = place + reach * (goal - place)
            now = self.log_predicted(there)
            residuals = np.nan_to_num((now - self.targets.log_measured) / self.targets.spread)
            if replace(problem, residuals=residuals, at=there).cost(there) < was:
                break
        return there, now


_REACHES = (1.0, 0.4, 0.15)
