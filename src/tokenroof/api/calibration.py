"""Parameters fitted to one's own measurements, written as a catalog directory that every command takes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenroof.api.answer import text_of, writing
from tokenroof.api.lookup import CatalogLike, load_catalog
from tokenroof.api.progress import telling
from tokenroof.api.validation import DataLike, read_data
from tokenroof.calibrate.fitting.core import GROUPINGS, Fit
from tokenroof.calibrate.fitting.run import Question, calibrate_servings
from tokenroof.calibrate.residuals import write_tunings
from tokenroof.catalog.accuracy import SERVED_FILE, write_served
from tokenroof.catalog.tuning import FILE, Parameter, Tuning, write
from tokenroof.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

REPORT, WITHOUT = "calibration.json", "without.csv"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What :func:`tokenroof.calibrate` returns; ``print(calibration)`` shows the tables.

    Attributes
    ----------
    fit : Fit
        Of measured servings.
    """

    fit: Fit

    def __str__(self) -> str:
        return text_of(self.tables())

    def __repr__(self) -> str:
        return (
            f"Calibration: {len(self.fit.parameters)} parameters from {len(self.fit.subjects)} rows; "
            "print it for the tables"
        )

    @property
    def feasible(self) -> bool:
        """Whether anything was fitted."""
        return not self.fit.reason

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Fitted values with their evidence."""
        return self.fit.parameters

    def tables(self) -> RenderableType:
        """Everything for a terminal, as rich draws it."""
        from tokenroof.report.calibration import tables

        return tables(self.fit)

    def document(self) -> dict[str, Any]:
        """Everything as plain values; the content of :meth:`json`."""
        from tokenroof.report.calibration import document

        return document(self.fit)

    def json(self) -> str:
        """Everything as JSON text; errors in percent (docs/reference/json.md)."""
        from tokenroof.report.calibration import dumps

        return dumps(self.document())

    def save(self, directory: str | Path) -> tuple[Path, ...]:
        """Write a catalog directory: ``tuning.csv``, ``served.csv``, and ``calibration.json`` beside them.

        After cross-validation ``without.csv`` has the parameters that were fitted without each group:
        ``scripts/fit_intervals.py`` makes intervals of them.

        Raises
        ------
        InputError
            Nothing was fitted, or the directory cannot be written.
        """
        if not self.feasible:
            raise InputError(f"nothing was fitted, so nothing is written: {self.fit.reason}")
        folder = Path(directory)
        table, report = folder / FILE, folder / REPORT
        with writing(table):
            write(Tuning(parameters=self.fit.parameters), table)
        with writing(report):
            report.write_text(self.json() + "\n", encoding="utf-8")
        seen, without = folder / SERVED_FILE, folder / WITHOUT
        with writing(seen):
            write_served(self.fit.served, seen)
        if not self.fit.without:
            return table, report, seen
        with writing(without):
            write_tunings(self.fit.without, without)
        return table, report, seen, without


def calibrate(
    data: DataLike,
    *,
    given: Mapping[str, object] | None = None,
    parameters: str | Sequence[str] = (),
    scopes: str = "narrow",
    afresh: bool = False,
    cv: str | Sequence[str] = GROUPINGS,
    catalog: CatalogLike = (),
    workers: int | None = None,
    progress: bool = False,
) -> Calibration:
    """Fit parameters of engines and chips to measured servings.

    Parameters
    ----------
    data : path, sequence of paths, or rows
        As of :func:`tokenroof.validate`.
    given : mapping, optional
        Columns that the rows do not say: ``{"hardware": "h100", "tp": 2}``.
    parameters : str or sequence of str
        Those to fit, as ``name:scope`` ("time_gemm:h100,step_overhead_s:vllm"). Default: those that the
        rows can tell, chosen by rule.
    scopes : str
        Where parameters that are chosen by rule apply: "narrow" to the chips of the rows, "wide" to their
        engines, vendors and families as well.
    afresh : bool
        Begin with parameters that change nothing, not with those of the catalog.
    cv : str or sequence of str
        What rows are left out by, to be predicted with parameters that were fitted without them: hardware,
        model, framework, shape, row. Empty: nothing is.
    catalog : path, sequence of paths, or Catalog
        Directories of the user's own chips, models, parameters.
    workers : int, optional
        Processes. Default: one per core.
    progress : bool
        Say on standard error what is done.

    Returns
    -------
    Calibration
        ``feasible`` is False when the rows identify no parameter; the reason is in it.

    Raises
    ------
    InputError
        A file that cannot be read, an unknown column, parameter or scope.
    """
    rows = read_data(data, {name: str(value) for name, value in (given or {}).items()})
    question = Question(
        parameters=_several(parameters), scopes=scopes, afresh=afresh, cross_validate=_several(cv)
    )
    count = _workers(workers)
    with telling("calibrate", enabled=progress) as (tell, bar):
        found = calibrate_servings(
            rows, load_catalog(catalog), question, workers=count, tell=tell, progress=bar
        )
    return Calibration(found)


def _several(given: str | Sequence[str]) -> tuple[str, ...]:
    names = given.split(",") if isinstance(given, str) else given
    return tuple(dict.fromkeys(stripped for name in names if (stripped := name.strip())))


def _workers(given: int | None) -> int:
    if given is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if given < 1:
        raise InputError(f"workers must be at least 1, got {given}.")
    return given
