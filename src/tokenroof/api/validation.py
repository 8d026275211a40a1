"""Predicted against measured servings: how right the numbers are, on anyone's own runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tokenroof.api.answer import check_suffix, text_of, writing
from tokenroof.api.lookup import CatalogLike, load_catalog
from tokenroof.api.progress import counting
from tokenroof.calibrate.validation import files, score
from tokenroof.calibrate.validation.core import METRICS, Outcome
from tokenroof.calibrate.validation.results import Group, Score, Validation
from tokenroof.calibrate.validation.run import predict_rows
from tokenroof.errors import InputError

if TYPE_CHECKING:
    import polars as pl
    from rich.console import RenderableType

PathLike: TypeAlias = "str | os.PathLike[str]"
DataLike: TypeAlias = "PathLike | Sequence[PathLike] | Iterable[Mapping[str, object]] | pl.DataFrame"
"""A result file, several of them, or rows in memory."""

BY = ("hardware", "model", "framework")
SUFFIXES = (".json", ".html", ".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """What :func:`tokenroof.validate` returns: predicted against measured, row by row and in groups.

    ``print(report)`` shows the tables.

    Attributes
    ----------
    found : Validation
        Outcomes, scores, groups, reasons.
    worst : int
        How many of the worst rows are shown.
    """

    found: Validation
    worst: int = 10

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.found.outcomes)

    def __len__(self) -> int:
        return len(self.found.outcomes)

    def __getitem__(self, index: int) -> Outcome:
        return self.found.outcomes[index]

    def __str__(self) -> str:
        return text_of(self.tables())

    def __repr__(self) -> str:
        from tokenroof.report.validation import headline

        return f"ValidationReport: {headline(self.found)}; print it for the tables"

    @property
    def feasible(self) -> bool:
        """Whether any row has a prediction."""
        return bool(self.found.predicted)

    @property
    def metrics(self) -> Mapping[str, Score]:
        """Errors by metric, over all rows."""
        return self.found.scores

    @property
    def groups(self) -> tuple[Group, ...]:
        """Errors of groups of rows."""
        return self.found.groups

    @property
    def reasons(self) -> Mapping[str, int]:
        """Why rows have no prediction, and how many."""
        return self.found.reasons

    def error(self, metric: str) -> float:
        """Median absolute error of a metric, as a fraction of what was measured.

        Raises
        ------
        InputError
            There is no such metric, or no row has it both measured and predicted.
        """
        if metric not in METRICS:
            raise InputError(f"unknown metric {metric!r}. Known: {', '.join(METRICS)}.")
        found = self.found.scores[metric].median_fraction
        if found is None:
            raise InputError(f"no row has {metric} both measured and predicted.")
        return found

    def tables(self) -> RenderableType:
        """Everything for a terminal, as rich draws it."""
        from tokenroof.report.validation_tables import answer

        return answer(self.found, score.worst(self.found.outcomes, self.worst))

    def document(self) -> dict[str, Any]:
        """Everything as plain values; the content of :meth:`json`."""
        from tokenroof.report.validation import document

        return document(self.found)

    def json(self) -> str:
        """Everything as JSON text; errors in percent (docs/reference/json.md)."""
        from tokenroof.report.validation import dumps

        return dumps(self.found)

    def html(self) -> str:
        """Everything as one page that loads nothing."""
        from tokenroof.report.validation_page import page

        lists = {
            metric: score.worst(self.found.outcomes, self.worst, (metric,))
            for metric in ("total_tput_per_gpu", "mean_tpot_s", "median_ttft_s")
        }
        return page(self.found, score.worst(self.found.outcomes, self.worst), lists)

    def to_frame(self) -> pl.DataFrame:
        """A polars data frame, one row per row: what it says it is, predicted, measured, errors, why not."""
        import polars as pl

        columns = tuple(dict.fromkeys((*BY, *self.found.by)))
        rows = [_record(outcome, columns) for outcome in self.found.outcomes]
        schema = {name: pl.Float64 if name.startswith(_NUMBERS) else pl.String for name in _names(columns)}
        return pl.DataFrame(rows, schema=schema)

    def save(self, path: str | Path) -> Path:
        """Write ``.json``, the page (``.html``) or the rows (``.csv``, ``.parquet``).

        Raises
        ------
        InputError
            Another extension, or a file that cannot be written.
        """
        file = Path(path)
        check_suffix(file, SUFFIXES)
        suffix = file.suffix.lower()
        with writing(file):
            if suffix == ".json":
                file.write_text(self.json() + "\n", encoding="utf-8")
            elif suffix == ".html":
                file.write_text(self.html(), encoding="utf-8")
            elif suffix == ".csv":
                self.to_frame().write_csv(file)
            else:
                self.to_frame().write_parquet(file)
        return file

    def save_all(self, directory: str | Path) -> tuple[Path, ...]:
        """Write ``report.json``, ``report.html`` and ``rows.csv`` into a directory.

        Raises
        ------
        InputError
            It cannot be written.
        """
        folder = Path(directory)
        return tuple(self.save(folder / name) for name in ("report.json", "report.html", "rows.csv"))


_NUMBERS = ("predicted_", "measured_", "error_")


def _names(columns: Sequence[str]) -> tuple[str, ...]:
    numbers = (f"{kind}{metric}" for metric in METRICS for kind in _NUMBERS)
    return ("id", *(column for column in columns if column != "id"), *numbers, "reason", "notes")


def _record(outcome: Outcome, columns: Sequence[str]) -> dict[str, object]:
    found: dict[str, object] = {column: outcome.row.text(column) for column in columns}
    for metric in METRICS:
        found[f"predicted_{metric}"] = outcome.predicted.get(metric)
        found[f"measured_{metric}"] = outcome.measured.get(metric)
        found[f"error_{metric}"] = score.error(outcome, metric)
    return found | {"id": outcome.row.id, "reason": outcome.reason, "notes": "; ".join(outcome.notes)}


def validate(
    data: DataLike | None = None,
    *,
    by: str | Sequence[str] = BY,
    given: Mapping[str, object] | None = None,
    where: Mapping[str, str | Sequence[str]] | None = None,
    catalog: CatalogLike = (),
    worst: int = 10,
    workers: int | None = None,
    progress: bool = False,
) -> ValidationReport:
    """Simulate measured servings, and say how far the predictions are off.

    Parameters
    ----------
    data : path, sequence of paths, rows, optional
        Result files (CSV with the columns of docs/howto/validate.md, or what ``vllm bench serve``, SGLang,
        GuideLLM, AIPerf, inference-perf or InferenceMAX write), or rows as mappings or a polars data
        frame. Default: the measured servings that come with the repository.
    by : str or sequence of str
        Columns that rows are grouped by, all together and each alone ("hardware,model").
    given : mapping, optional
        Columns that the rows do not say: ``{"hardware": "h100", "tp": 2}``.
    where : mapping, optional
        Rows to take: column to a value, or to several of them.
    catalog : path, sequence of paths, or Catalog
        Directories of the user's own chips, models, parameters.
    worst : int
        How many of the worst rows are shown.
    workers : int, optional
        Processes. Default: one per core.
    progress : bool
        Show on standard error how far it is.

    Returns
    -------
    ValidationReport
        A row that cannot be predicted is in it with its reason.

    Raises
    ------
    InputError
        A file that cannot be read, an unknown column, no row left.

    Examples
    --------
    >>> import tokenroof as tr
    >>> row = {"hardware": "h100", "num_gpus": 1, "tp": 1, "model": "llama-3.1-8b", "framework": "vllm",
    ...        "isl": 200, "osl": 50, "load": "closed:conc=4", "total_tput_per_gpu": 2500}
    >>> report = tr.validate([row, row | {"model": "lama-4"}])
    >>> len(report.found.predicted), report.metrics["total_tput_per_gpu"].n
    (1, 1)
    """
    columns = _columns(by)
    if worst < 0:
        raise InputError(f"worst must be at least 0, got {worst}.")
    told = {name: str(value) for name, value in (given or {}).items()}
    rows = read_data(data, told)
    files.check_columns(columns, rows, option="by")
    if where:
        rows = files.only(rows, {name: _several(values) for name, values in where.items()})
    with counting("validate", total=len(rows), enabled=progress) as tell:
        outcomes = predict_rows(rows, load_catalog(catalog), workers=workers, progress=tell)
    return ValidationReport(score.validation(outcomes, columns, files.references()), worst)


def _columns(by: str | Sequence[str]) -> tuple[str, ...]:
    names = by.split(",") if isinstance(by, str) else by
    found = tuple(dict.fromkeys(stripped for name in names if (stripped := name.strip())))
    if not found:
        raise InputError("by names no column. Give one or more, as hardware,model,framework.")
    return found


def _several(values: str | Sequence[str]) -> Sequence[str]:
    return (values,) if isinstance(values, str) else tuple(values)


def read_data(data: DataLike | None, given: Mapping[str, str]) -> tuple[files.Read, ...]:
    """The rows of what a caller gives; None is the measured servings of the repository.

    Raises
    ------
    InputError
        A file cannot be read, or there are no rows.
    """
    if data is None:
        return files.read_rows(files.shipped_files(), given)
    if isinstance(data, str | os.PathLike):
        return files.read_rows((data,), given)
    import polars as pl

    listed: list[Any] = data.to_dicts() if isinstance(data, pl.DataFrame) else list(data)
    if not listed:
        raise InputError("no rows are given.")
    if all(isinstance(each, str | os.PathLike) for each in listed):
        return files.read_rows(listed, given)
    return files.rows_from(listed, given)
