"""Residuals of measured servings under parameters that their group was not fitted to."""

from __future__ import annotations

import csv
import math
import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields
from pathlib import Path

import polars as pl

from tokenroof.calibrate.intervals import COLUMNS, FOLDS, Residual
from tokenroof.calibrate.validation.case import case_of
from tokenroof.calibrate.validation.core import Case, Row
from tokenroof.calibrate.validation.fields import measured, number
from tokenroof.calibrate.validation.intervals import asked_of_case
from tokenroof.calibrate.validation.predict import predict_row
from tokenroof.catalog.accuracy import CLOSED_FORM, SIMULATED
from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.tuning import Parameter, Tuning
from tokenroof.deploy.estimate import estimate as closed_form
from tokenroof.deploy.known import THROUGHPUT, Asked
from tokenroof.errors import InputError, TokenroofError
from tokenroof.workload.core import RequestShape

FIT_FOR_INTERVALS = ("A", "B")
"""Rows of these qualities count; others are weakly specified, or ran into stalls."""

CLOSED_COLUMNS: Mapping[str, tuple[str, str]] = {
    "total_tput_per_gpu": (THROUGHPUT, "total_tokens_per_s_per_chip"),
    "mean_tpot_s": ("tpot_s", "tpot_s"),
    "median_ttft_s": ("ttft_s", "ttft_s"),
    "mean_e2e_s": ("e2e_s", "e2e_s"),
}
"""What of a row the closed form is held against: metric of the errors, and of the estimate."""

Tunings = Mapping[tuple[str, str], Tuning]
"""Parameters by fold and group, fitted without the rows of the group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One row under one set of parameters: measured over predicted by metric, and what it is."""

    simulated: Mapping[str, float]
    closed: Mapping[str, float]
    asked: Asked


def groups_of(row: Row, case: Case) -> dict[str, str]:
    """What a row is left out with, by fold."""
    return {
        "hardware": case.deployment.pools[0].chip.name,
        "model": case.deployment.model.name,
        "framework": row.text("framework").lower(),
        "shape": f"{row.text('isl') or row.text('isl_mean')}/{row.text('osl') or row.text('osl_mean')}",
    }


def residuals(
    rows: Sequence[Row],
    catalog: Catalog,
    tunings: Tunings,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Residual, ...]:
    """ln(measured / predicted) of every metric of every row, in every fold.

    Parameters
    ----------
    rows : sequence of Row
        Those that cannot be predicted, or are of too low a quality, are left out.
    catalog : Catalog
        Chips, models, engines, with the parameters for groups without any of their own.
    tunings : mapping of (str, str) to Tuning
        Parameters by fold and group.
    workers : int
        Processes.
    progress : callable, optional
        Told (done, total) predictions.
    """
    jobs: dict[tuple[int, tuple[object, ...]], tuple[Row, Tuning]] = {}
    wanted: list[tuple[int, str, str, tuple[object, ...]]] = []
    for place, row in enumerate(rows):
        if row.text("quality") not in FIT_FOR_INTERVALS:
            continue
        try:
            groups = groups_of(row, case_of(row, catalog))
        except TokenroofError:
            continue
        for fold in FOLDS:
            tuning = tunings.get((fold, groups[fold]), catalog.tuning)
            jobs[place, tuning.parameters] = row, tuning
            wanted.append((place, fold, groups[fold], tuning.parameters))
    found = dict(zip(jobs, _all(list(jobs.values()), catalog, workers, progress), strict=True))
    out: list[Residual] = []
    for place, fold, group, parameters in wanted:
        each = found[place, parameters]
        if each is None:
            continue
        for prediction, ratios in ((SIMULATED, each.simulated), (CLOSED_FORM, each.closed)):
            out += (
                Residual(
                    row=rows[place].id,
                    metric=metric,
                    fold=fold,
                    group=group,
                    log_ratio=math.log(ratio),
                    asked=each.asked,
                    prediction=prediction,
                )
                for metric, ratio in ratios.items()
            )
    return tuple(out)


def ratios_of(row: Row, predicted: Mapping[str, float]) -> dict[str, float]:
    """Measured over predicted by metric; of several columns of a metric the first counts.

    The columns that are not scored (tails) are taken where the scored ones of their kind are fit.
    """
    seen = measured(row)
    if not row.text("cold_start").lower().startswith(("true", "yes", "1")):
        tails = {
            name: number(row, name)
            for name, of in (("p99_tpot_s", "tpot"), ("median_e2e_s", "e2e"), ("p99_e2e_s", "e2e"))
            if f"mean_{of}_s" in seen
        }
        seen |= {name: value for name, value in tails.items() if value is not None}
    found: dict[str, float] = {}
    for column, metric in COLUMNS.items():
        if column in seen and predicted.get(column, 0.0) > 0.0:
            found.setdefault(metric, seen[column] / predicted[column])
    return found


def closed_ratios(row: Row, case: Case, catalog: Catalog) -> dict[str, float]:
    """The same for the closed form, which has a closed loop and no drafts."""
    requests = case.requests
    drafts = any(getattr(options, "drafting", None) is not None for options in case.serving.pools)
    if requests.concurrency is None or drafts:
        return {}
    shape = RequestShape(
        isl_tokens=max(1, round(float(requests.isl_tokens.mean()))),
        osl_tokens=max(1, round(float(requests.osl_tokens.mean()))),
    )
    try:
        found = closed_form(case.deployment, shape, catalog=catalog, concurrency=requests.concurrency)
    except TokenroofError:
        return {}
    seen = measured(row)
    return {
        metric: seen[column] / found.metrics[of].value
        for column, (metric, of) in CLOSED_COLUMNS.items()
        if column in seen and of in found.metrics and found.metrics[of].value > 0.0
    }


def _one(row: Row, catalog: Catalog) -> _Found | None:
    outcome = predict_row(row, catalog)
    if outcome.estimate is None or not outcome.predicted:
        return None
    case = case_of(row, catalog)
    return _Found(
        simulated=ratios_of(row, outcome.predicted),
        closed=closed_ratios(row, case, catalog),
        asked=asked_of_case(case, outcome.estimate)[-1],
    )


# --- processes -----------------------------------------------------------------------------------

_TASK_ROWS = 8
_WORKER: dict[str, Catalog] = {}


def _begin(catalog: Catalog) -> None:
    _WORKER["catalog"] = catalog


def _task(jobs: Sequence[tuple[Row, Tuning]]) -> list[_Found | None]:
    catalogs: dict[tuple[object, ...], Catalog] = {}
    out = []
    for row, tuning in jobs:
        if tuning.parameters not in catalogs:
            catalogs[tuning.parameters] = _WORKER["catalog"].tuned(tuning)
        out.append(_one(row, catalogs[tuning.parameters]))
    return out


def _all(
    jobs: Sequence[tuple[Row, Tuning]],
    catalog: Catalog,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> Iterable[_Found | None]:
    """In the order of the jobs; those that share parameters, chip and model run together."""
    order = sorted(range(len(jobs)), key=lambda place: _alike(jobs[place]))
    tasks = [order[start : start + _TASK_ROWS] for start in range(0, len(order), _TASK_ROWS)]
    found: list[_Found | None] = [None] * len(jobs)
    done = 0
    if workers == 1:
        _begin(catalog)
        for task in tasks:
            for place, each in zip(task, _task([jobs[place] for place in task]), strict=True):
                found[place] = each
        return found
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(catalog,)) as pool:
        futures = {pool.submit(_task, [jobs[place] for place in task]): task for task in tasks}
        for future in as_completed(futures):
            for place, each in zip(futures[future], future.result(), strict=True):
                found[place] = each
            done += len(futures[future])
            if progress is not None:
                progress(done, len(jobs))
    return found


def _alike(job: tuple[Row, Tuning]) -> tuple[str, ...]:
    row, tuning = job
    values = repr([(each.name, each.scope, each.value) for each in tuning.parameters])
    return (values, *(row.text(column) for column in ("hardware", "model", "framework", "tp", "disagg")))


# --- files ---------------------------------------------------------------------------------------

_FIELDS = tuple(each.name for each in fields(Asked) if each.name not in ("bandwidth", "peak"))
TUNING_COLUMNS = ("fold", "group", "name", "scope", "value")


def to_frame(found: Iterable[Residual]) -> pl.DataFrame:
    """Residuals as a table, sorted, so that the same ones give the same file."""
    rows = [
        {
            "row": each.row,
            "metric": each.metric,
            "prediction": each.prediction,
            "fold": each.fold,
            "group": each.group,
            "log_ratio": round(each.log_ratio, 5),
            **{name: getattr(each.asked, name) for name in _FIELDS},
        }
        for each in found
    ]
    return pl.DataFrame(rows).sort("fold", "prediction", "metric", "row", "group", "log_ratio")


def from_frame(table: pl.DataFrame) -> tuple[Residual, ...]:
    """What :func:`to_frame` made."""
    return tuple(
        Residual(
            **{name: row[name] for name in ("row", "metric", "prediction", "fold", "group", "log_ratio")},
            asked=Asked(**{name: row[name] for name in _FIELDS}),
        )
        for row in table.iter_rows(named=True)
    )


def write_tunings(tunings: Tunings, path: Path) -> None:
    """Parameters by fold and group (``Fit.without``), for :func:`read_tunings`; other folds are left out."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(TUNING_COLUMNS)
        for (fold, group), tuning in tunings.items():
            if fold in FOLDS:
                for each in tuning.parameters:
                    writer.writerow((fold, group, each.name, each.scope, f"{each.value:.5g}"))


def read_tunings(path: Path, base: Tuning) -> dict[tuple[str, str], Tuning]:
    """Parameters by fold and group from a CSV with the columns fold, group, name, scope, value.

    Parameters
    ----------
    path : Path
        A line per parameter.
    base : Tuning
        What they are laid over.

    Raises
    ------
    InputError
        Other columns, or an unknown fold.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != TUNING_COLUMNS:
            raise InputError(f"{path}: expected the columns {', '.join(TUNING_COLUMNS)}.")
        found: dict[tuple[str, str], list[Parameter]] = {}
        for row in reader:
            if row["fold"] not in FOLDS:
                raise InputError(
                    f"{path}, line {reader.line_num}: unknown fold {row['fold']!r}. "
                    f"Known: {', '.join(FOLDS)}."
                )
            each = Parameter(name=row["name"], scope=row["scope"], value=float(row["value"]))
            found.setdefault((row["fold"], row["group"]), []).append(each)
    return {key: Tuning(parameters=tuple(each)).over(base) for key, each in found.items()}
