"""Parameters fitted to one's own measurements, written as a catalog directory that every command takes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenroof.api.answer import text_of, writing
from tokenroof.api.lookup import Catalog, CatalogLike, load_catalog
from tokenroof.api.progress import telling
from tokenroof.api.validation import DataLike, read_data
from tokenroof.calibrate.fitting.core import GROUPINGS, Fit
from tokenroof.calibrate.fitting.operators.write import fit_directory, write_rows
from tokenroof.calibrate.fitting.run import Question, calibrate_servings
from tokenroof.calibrate.residuals import write_tunings
from tokenroof.catalog.accuracy import SERVED_FILE, write_served
from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.catalog.tuning import FILE, Parameter, Tuning, write
from tokenroof.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

REPORT, WITHOUT = "calibration.json", "without.csv"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What :func:`tokenroof.calibration` returns; ``print(calibration)`` shows the tables.

    Attributes
    ----------
    fit : Fit or None
        Of measured servings; None when there were none.
    operators : mapping of str to tuple of OpEfficiency
        Fitted forms of measured operators, by the name of their file.
    """

    fit: Fit | None = None
    operators: Mapping[str, tuple[OpEfficiency, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        return text_of(self.tables())

    def __repr__(self) -> str:
        rows = len(self.fit.subjects) if self.fit is not None else 0
        forms = sum(map(len, self.operators.values()))
        return (
            f"Calibration: {len(self.parameters)} parameters from {rows} rows, {forms} forms of operators; "
            "print it for the tables"
        )

    @property
    def feasible(self) -> bool:
        """Whether anything was fitted."""
        return bool(self.parameters or self.operators)

    @property
    def reason(self) -> str:
        """Why no parameter was fitted to the servings; "" when some were, or there were none."""
        return self.fit.reason if self.fit is not None else ""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Fitted values with their evidence."""
        return self.fit.parameters if self.fit is not None else ()

    def tables(self) -> RenderableType:
        """Everything for a terminal, as rich draws it."""
        from tokenroof.report.calibration import tables

        return tables(self.fit, self.operators)

    def document(self) -> dict[str, Any]:
        """Everything as plain values; the content of :meth:`json`."""
        from tokenroof.report.calibration import document

        return document(self.fit, self.operators)

    def json(self) -> str:
        """Everything as JSON text; errors in percent (docs/reference/json.md)."""
        from tokenroof.report.calibration import dumps

        return dumps(self.document())

    def save(self, directory: str | Path) -> tuple[Path, ...]:
        """Write a catalog directory: ``tuning.csv``, ``served.csv``, ``efficiency/``, ``calibration.json``.

        After cross-validation ``without.csv`` has the parameters that were fitted without each group:
        ``scripts/fit_intervals.py`` makes intervals of them.

        Raises
        ------
        InputError
            Nothing was fitted, or the directory cannot be written or has somebody else's files.
        """
        if not self.feasible:
            raise InputError(f"nothing was fitted, so nothing is written: {self.reason}")
        folder = writable(directory)
        report = folder / REPORT
        (folder / WITHOUT).unlink(missing_ok=True)  # of an earlier fit
        with writing(report):
            report.write_text(self.json() + "\n", encoding="utf-8")
        written = [report]
        for name, rows in self.operators.items():
            path = folder / "efficiency" / f"{name}.csv"
            with writing(path):
                write_rows(rows, path)
            written.append(path)
        if self.fit is not None and self.fit.parameters:
            written += _save_fit(self.fit, folder)
        return tuple(written)


def writable(directory: str | Path) -> Path:
    """A directory that a calibration may write: a new one, an empty one, or that of an earlier calibration.

    Raises
    ------
    InputError
        It is a file, or has a catalog that no calibration wrote.
    """
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file. Give a directory to write the catalog to.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / REPORT).is_file():
        raise InputError(
            f"{folder}: has files that no calibration wrote; they would be replaced. Give a new directory, "
            "and both to --catalog."
        )
    return folder


def _save_fit(fit: Fit, folder: Path) -> list[Path]:
    table, seen, without = folder / FILE, folder / SERVED_FILE, folder / WITHOUT
    with writing(table):
        write(Tuning(parameters=fit.parameters), table)
    with writing(seen):
        write_served(fit.served, seen)
    if not fit.without:
        return [table, seen]
    with writing(without):
        write_tunings(fit.without, without)
    return [table, seen, without]


def calibration(
    data: DataLike | None = None,
    *,
    operators: str | os.PathLike[str] | None = None,
    given: Mapping[str, object] | None = None,
    parameters: str | Sequence[str] = (),
    scopes: str = "narrow",
    afresh: bool = False,
    cv: str | Sequence[str] = GROUPINGS,
    catalog: CatalogLike = (),
    workers: int | None = None,
    progress: bool = False,
) -> Calibration:
    """Fit parameters of engines and chips to measured servings, and forms of operators to measured operators.

    Parameters
    ----------
    data : path, sequence of paths, or rows, optional
        As of :func:`tokenroof.validate`.
    operators : path, optional
        Directory of measured operators: tables as in ``calibration/measured`` of the repository.
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
    if data is None and operators is None:
        raise InputError(
            "nothing to fit to. Give measured servings (data) or measured operators (operators)."
        )
    found = load_catalog(catalog)
    question = Question(
        parameters=_several(parameters), scopes=scopes, afresh=afresh, cross_validate=_several(cv)
    )
    count = _workers(workers)
    told = {name: str(value) for name, value in (given or {}).items()}
    rows = read_data(data, told) if data is not None else ()
    with telling("calibrate", enabled=progress) as (tell, bar):
        forms: dict[str, tuple[OpEfficiency, ...]] = {}
        if operators is not None:
            forms = fit_directory(Path(operators), found, source="user", workers=count, tell=tell)
        if data is None:
            return Calibration(operators=forms)
        with _laid_over(found, forms) as served:
            fit = calibrate_servings(rows, served, question, workers=count, tell=tell, progress=bar)
    return Calibration(fit, forms)


@contextmanager
def _laid_over(catalog: Catalog, forms: Mapping[str, tuple[OpEfficiency, ...]]) -> Iterator[Catalog]:
    """The catalog with forms that were just fitted: servings are fitted on top of them."""
    if not forms:
        yield catalog
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in forms.items():
            write_rows(rows, Path(folder) / "efficiency" / f"{name}.csv")
        yield load_catalog([*catalog.directories[1:], Path(folder)])


def _several(given: str | Sequence[str]) -> tuple[str, ...]:
    names = given.split(",") if isinstance(given, str) else given
    return tuple(dict.fromkeys(stripped for name in names if (stripped := name.strip())))


def _workers(given: int | None) -> int:
    if given is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if given < 1:
        raise InputError(f"workers must be at least 1, got {given}.")
    return given
