"""A whole calibration from rows: subjects, candidates, fit, cross-validation, what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tokenroof.calibrate.fitting.candidates import NARROW, WIDE, asked, proposed
from tokenroof.calibrate.fitting.core import GROUPINGS, Fit, FitSettings
from tokenroof.calibrate.fitting.crossval import ROW, left_out, residuals_left_out
from tokenroof.calibrate.fitting.evaluate import Evaluator
from tokenroof.calibrate.fitting.fit import UnidentifiedError, fit
from tokenroof.calibrate.fitting.result import result, with_reason
from tokenroof.calibrate.fitting.subjects import subjects_of
from tokenroof.calibrate.validation.files import Read
from tokenroof.calibrate.validation.intervals import served_of
from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.tuning import NEUTRAL
from tokenroof.errors import InputError

SCOPES = (NARROW, WIDE)
CUTS = (*GROUPINGS, ROW)
"""What may be left out in cross-validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a calibration is asked.

    Attributes
    ----------
    parameters : tuple of str
        As ``name:scope``; empty: those that the rows can tell, by rule.
    scopes : str
        Of proposed parameters: "narrow" for chips of the rows, "wide" for engines, vendors and families.
    afresh : bool
        Begin with neutral parameters, not with those of the catalog.
    cross_validate : tuple of str
        What is left out, of :data:`CUTS`.
    settings : FitSettings
        How residuals weigh.
    source : str
        Row of ``sources.yaml`` that the fitted parameters are from.
    """

    parameters: tuple[str, ...] = ()
    scopes: str = NARROW
    afresh: bool = False
    cross_validate: tuple[str, ...] = GROUPINGS
    settings: FitSettings = FitSettings()  # noqa: RUF009 - frozen
    source: str = "user"

    def __post_init__(self) -> None:
        if self.scopes not in SCOPES:
            raise InputError(f"scopes must be {' or '.join(SCOPES)}, got {self.scopes!r}.")
        for cut in self.cross_validate:
            if cut not in CUTS:
                raise InputError(f"cv: rows cannot be left out by {cut!r}. Known: {', '.join(CUTS)}.")


def calibrate_servings(
    rows: Sequence[Read],
    catalog: Catalog,
    question: Question,
    *,
    workers: int = 1,
    tell: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, int], None] | None = None,
) -> Fit:
    """Parameters from measured servings; ``reason`` of the fit says why when there are none.

    Parameters
    ----------
    rows : sequence of Read
        Measured servings.
    catalog : Catalog
        Chips, models, engines, and the parameters to begin with.
    question : Question
        What is asked.
    workers : int
        Processes; the values do not depend on it.
    tell, progress : callable, optional
        Told what is done, and (done, total) rows of it.

    Raises
    ------
    InputError
        An unknown parameter or scope.
    """
    settings = question.settings
    begin = NEUTRAL if question.afresh else catalog.tuning
    subjects, refused = subjects_of(rows, catalog, settings)
    candidates = (
        asked(question.parameters, subjects, begin, settings)
        if question.parameters and subjects
        else proposed(subjects, begin, settings, scopes=question.scopes)
    )
    named = bool(question.parameters)
    with Evaluator(subjects, catalog, workers=workers, progress=progress) as evaluator:
        try:
            solution = fit(evaluator, candidates, begin, settings, asked=named, tell=tell)
        except UnidentifiedError as problem:
            return with_reason(subjects, refused, str(problem))
        parts = [
            part
            for cut in question.cross_validate
            for part in left_out(solution, subjects, cut, settings, asked=named)
        ]
        if parts:
            tell(f"cross-validation: {len(parts)} groups left out")
        found = residuals_left_out(solution, evaluator, parts)
        fitted = result(
            solution, evaluator, settings, refused_rows=refused, left_out=found, source=question.source
        )
        return replace(
            fitted,
            without={(part.grouping, part.key): part.tuning for part in parts},
            served=served_of([each.row for each in subjects], catalog),
        )
