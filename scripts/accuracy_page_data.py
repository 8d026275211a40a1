"""What docs/accuracy.md is made of: predictions, held-out predictions, coverage, rows of parameters, as CSV.

``scripts/predict_validation.py`` writes the files, ``scripts/accuracy_page.py`` reads them. Numbers have five
significant digits, so that the same predictions give the same text.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tokenroof.calibrate.coverage import Coverage
from tokenroof.calibrate.fitting.core import Subject
from tokenroof.calibrate.intervals import COLUMNS, FOLDS, Residual
from tokenroof.calibrate.validation.core import Outcome, Row
from tokenroof.calibrate.validation.files import Read, read_rows, shipped_files
from tokenroof.catalog.accuracy import SIMULATED
from tokenroof.catalog.tuning import Tuning

ROOT = Path(__file__).resolve().parents[1]
DIRECTORY = ROOT / "calibration" / "validation"
PREDICTIONS = DIRECTORY / "predictions.csv"
COVERAGE = DIRECTORY / "coverage.csv"
INFORMED = DIRECTORY / "parameter_rows.csv"

NUMBERS = ("measured", "predicted", *(f"without_{fold}" for fold in FOLDS), "low", "high")
HEADER = ("file", "id", "metric", *NUMBERS, "reason")
COVERAGE_HEADER = ("metric", "prediction", "left_out", "rows", "groups", "inside", "width")
INFORMED_HEADER = ("name", "scope", "rows", "hardware", "framework", "model")

KINDS: Mapping[str, tuple[str, ...]] = {
    "throughput": ("total_tput_per_gpu", "output_tput_per_gpu", "input_tput_per_gpu"),
    "tpot": ("mean_tpot_s", "median_tpot_s"),
    "ttft": ("median_ttft_s", "mean_ttft_s"),
}
"""Metrics of tables with little room: the first of these columns that a row has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """A row of the measured servings with what is predicted for it.

    Attributes
    ----------
    file : str
        Name of the file that the row is in.
    outcome : Outcome
        Measured, predicted with the shipped parameters, intervals, reason.
    without : mapping of str to mapping of str to float
        By fold and metric: predicted with parameters that were fitted without the row's group.
    """

    file: str
    outcome: Outcome
    without: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def text(self, column: str) -> str:
        """What the row says in a column."""
        return self.outcome.row.text(column)

    def held_out(self, fold: str) -> Outcome:
        """The outcome with the predictions of a fold; without one where there is none."""
        return replace(self.outcome, predicted=self.without.get(fold, {}), intervals={})


def shipped_rows() -> tuple[tuple[str, Read], ...]:
    """Every row of the measured servings with the name of its file."""
    return tuple((path.name, row) for path in shipped_files() for row in read_rows([path]))


def digits(value: float | None) -> str:
    """Five significant ones; empty for nothing."""
    return "" if value is None else f"{value:.5g}"


# --- predictions ---------------------------------------------------------------------------------


def lines_of(file: str, outcome: Outcome) -> list[dict[str, str]]:
    """The lines of a row: one per metric that was measured, one that says why there is none."""
    lines = []
    for metric, measured in outcome.measured.items():
        line = dict.fromkeys(HEADER, "")
        line |= {"file": file, "id": outcome.row.id, "metric": metric, "measured": digits(measured)}
        line |= {"predicted": digits(outcome.predicted.get(metric)), "reason": outcome.reason}
        low, high = outcome.intervals.get(metric, (None, None))
        line |= {"low": digits(low), "high": digits(high)}
        lines.append(line)
    if not lines:
        reason = outcome.reason or "predicted, but the row has no metric that is fit to be scored"
        lines.append(dict.fromkeys(HEADER, "") | {"file": file, "id": outcome.row.id, "reason": reason})
    return lines


def with_held_out(lines: Iterable[Mapping[str, str]], residuals: Iterable[Residual]) -> list[dict[str, str]]:
    """The lines with what was predicted without a row's group; nothing where residuals say nothing."""
    known = {
        (each.row, each.fold, each.metric): each.log_ratio
        for each in residuals
        if each.prediction == SIMULATED
    }
    filled = []
    shown: set[tuple[str, str]] = set()
    for line in lines:
        filled.append({**line, **{f"without_{fold}": "" for fold in FOLDS}})
        if not line["metric"]:
            continue
        # The first column of a kind is the one whose residual is known (calibrate.residuals.ratios_of).
        kind = COLUMNS[line["metric"]]
        for fold in FOLDS:
            ratio = known.get((line["id"], fold, kind))
            if ratio is not None and (line["id"], kind) not in shown:
                filled[-1][f"without_{fold}"] = digits(float(line["measured"]) / math.exp(ratio))
        shown.add((line["id"], kind))
    return filled


def read_predictions(path: Path = PREDICTIONS) -> tuple[Predicted, ...]:
    """Every shipped row with its predictions; all have to be there."""
    stored: dict[tuple[str, str], list[dict[str, str]]] = {}
    for line in read_lines(path, HEADER):
        stored.setdefault((line["file"], line["id"]), []).append(line)
    rows = shipped_rows()
    missing = [row.id for file, (row, _) in rows if (file, row.id) not in stored]
    if missing or len(stored) != len(rows):
        raise ValueError(f"{path.name} is not of these rows ({missing[:3]}): run make accuracy")
    return tuple(_predicted(file, row, stored[file, row.id]) for file, (row, _) in rows)


def _predicted(file: str, row: Row, lines: Sequence[Mapping[str, str]]) -> Predicted:
    numbers = {
        line["metric"]: {name: float(line[name]) for name in NUMBERS if line[name]}
        for line in lines
        if line["metric"]
    }
    for name, columns in KINDS.items():
        first = next((column for column in columns if column in numbers), None)
        if first is not None:
            numbers[name] = {
                key: value for key, value in numbers[first].items() if key not in ("low", "high")
            }
    outcome = Outcome(
        row=row,
        measured={metric: each["measured"] for metric, each in numbers.items()},
        predicted={metric: each["predicted"] for metric, each in numbers.items() if "predicted" in each},
        intervals={metric: (each["low"], each["high"]) for metric, each in numbers.items() if "low" in each},
        reason=lines[0]["reason"],
    )
    without = {
        fold: {m: each[f"without_{fold}"] for m, each in numbers.items() if f"without_{fold}" in each}
        for fold in FOLDS
    }
    return Predicted(file=file, outcome=outcome, without=without)


# --- coverage, rows of parameters ----------------------------------------------------------------


def coverage_lines(found: Iterable[Coverage]) -> list[dict[str, str]]:
    """What intervals cover of groups that had no part in them."""
    return [
        {
            "metric": each.metric,
            "prediction": each.prediction,
            "left_out": each.fold,
            "rows": str(each.rows),
            "groups": str(each.groups),
            "inside": digits(each.inside_fraction),
            "width": digits(each.width_fraction),
        }
        for each in found
    ]


def informed_lines(tuning: Tuning, subjects: Sequence[Subject]) -> list[dict[str, str]]:
    """Which rows depend on each parameter, in words: how many of which hardware, framework and model."""
    lines = []
    for each in tuning.parameters:
        rows = [one.row for one in subjects if each.name in one.names and each.scope in one.scopes]
        told = {column: _counted(row.text(column) for row in rows) for column in INFORMED_HEADER[3:]}
        lines.append({"name": each.name, "scope": each.scope, "rows": str(len(rows)), **told})
    return lines


def _counted(names: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered)


# --- files ---------------------------------------------------------------------------------------


def read_lines(path: Path, header: Sequence[str]) -> list[dict[str, str]]:
    """The lines of one of the files."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != tuple(header):
            raise ValueError(f"{path.name} has other columns than {', '.join(header)}: run make accuracy")
        return [dict(line) for line in reader]


def write_lines(path: Path, header: Sequence[str], lines: Iterable[Mapping[str, str]]) -> None:
    """One of the files."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
