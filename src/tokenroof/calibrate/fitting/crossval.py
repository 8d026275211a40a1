"""How well rows are predicted by parameters that were fitted without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tokenroof.calibrate.fitting.core import FitSettings, Subject
from tokenroof.calibrate.fitting.evaluate import Evaluator
from tokenroof.calibrate.fitting.fit import Solution, choose
from tokenroof.calibrate.fitting.linear import FloatArray, solve
from tokenroof.calibrate.fitting.targets import log_predicted, tuning_of
from tokenroof.catalog.tuning import Tuning

FOLDS = 10
ROW = "row"
"""The grouping of cross-validation that leaves out every tenth configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A group of rows, and parameters that were fitted without it.

    Attributes
    ----------
    grouping, key : str
        Which rows.
    rows : frozenset of int
        Their places.
    tuning : Tuning
        Fitted without them.
    """

    grouping: str
    key: str
    rows: frozenset[int]
    tuning: Tuning


def left_out(
    solution: Solution,
    subjects: Sequence[Subject],
    grouping: str,
    settings: FitSettings,
    *,
    asked: bool = False,
) -> Iterator[LeftOut]:
    """Every group of a grouping, with the parameters of the other rows.

    Parameters
    ----------
    solution : Solution
        Of all rows: residuals are taken as linear around it.
    subjects : sequence of Subject
        Rows.
    grouping : str
        Of ``core.GROUPINGS``, or :data:`ROW`.
    settings : FitSettings
        As for the fit.
    asked : bool
        Whether the parameters were named; otherwise they are chosen again without the group, too.
    """
    for key, rows in groups(subjects, grouping).items():
        others = solution.problem.only(~solution.targets.rows(rows))
        if not others.weights.any():
            continue
        if asked:
            place = solve(others, solution.active)
        else:
            _, place = choose(others, solution.candidates, settings)
        tuning = tuning_of(solution.candidates, place, solution.begin)
        yield LeftOut(grouping=grouping, key=key, rows=rows, tuning=tuning)


def groups(subjects: Sequence[Subject], grouping: str) -> Mapping[str, frozenset[int]]:
    """Places of rows by what they are in a grouping."""
    found: dict[str, set[int]] = {}
    if grouping == ROW:
        same: dict[str, int] = {}
        for place, each in enumerate(subjects):
            fold = same.setdefault(each.configuration, len(same) % FOLDS)
            found.setdefault(f"fold {fold + 1}", set()).add(place)
    else:
        for place, each in enumerate(subjects):
            found.setdefault(each.groups[grouping], set()).add(place)
    return {key: frozenset(places) for key, places in found.items()}


def residuals_left_out(
    solution: Solution, evaluator: Evaluator, parts: Sequence[LeftOut]
) -> dict[str, FloatArray]:
    """Logarithms of predicted over measured of rows that were left out, simulated, by grouping.

    Each array has shape (num_targets,); nan where there is no prediction.
    """
    found = log_predicted(
        evaluator, solution.targets, [part.tuning for part in parts], [part.rows for part in parts]
    )
    out: dict[str, FloatArray] = {}
    for part, predicted in zip(parts, found, strict=True):
        here = out.setdefault(part.grouping, np.full(len(solution.targets), np.nan))
        mine = solution.targets.rows(part.rows)
        here[mine] = predicted[mine] - solution.targets.log_measured[mine]
    return out
