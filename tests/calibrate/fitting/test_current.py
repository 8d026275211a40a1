"""The shipped fits are those of the shipped measurements, settings and code."""

from __future__ import annotations

import csv
import math
import re
import sys
from functools import cache
from pathlib import Path

import pytest

from tokenroof.calibrate.fitting import stamp
from tokenroof.calibrate.fitting.evaluate import simulated
from tokenroof.calibrate.validation.core import Row
from tokenroof.calibrate.validation.files import read_rows
from tokenroof.catalog.catalog import load

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

import calibrate_shipped as shipped

STAMPS = stamp.read(shipped.STAMP)
CATALOG = load()
MOST = 150
"""Parameters fitted to servings."""


@pytest.mark.parametrize("name", sorted(set(shipped.OPERATORS)))
def test_operator_files_are_of_the_kept_measurements(name: str) -> None:
    path = shipped.EFFICIENCY / f"{name}.csv"
    noted = STAMPS[path.name]
    assert noted["rows"] == stamp.of_files(shipped.inputs(name)), f"run: make calibration ({name})"
    assert noted["file"] == stamp.of_files([path]), f"{path.name} was changed by hand: run make calibration"


def test_parameters_are_of_the_kept_servings_and_settings() -> None:
    noted = STAMPS[shipped.TUNING.name]
    assert noted["rows"] == stamp.of_files(shipped.servings_files()), "run: make calibration"
    assert noted["settings"] == shipped.settings(), "run: make calibration"
    assert noted["file"] == stamp.of_files([shipped.TUNING]), "tuning.csv was changed by hand"
    assert 0 < len(CATALOG.tuning.parameters) < MOST


@cache
def _noted() -> dict[str, dict[str, tuple[float, float]]]:
    """Measured, and the logarithm of predicted over measured, by row and column, when they were fitted."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    with shipped.RESIDUALS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["id"], {})[row["metric"]] = float(row["measured"]), float(row["after"])
    return found


def _some() -> list[Row]:
    """One short run of every engine on every chip that was fitted on."""
    noted = _noted()
    found: dict[tuple[str, str], Row] = {}
    rows = [row for row, problem in read_rows(shipped.servings_files()) if not problem and row.id in noted]
    for row in sorted(rows, key=lambda row: (_size(row), row.id)):
        found.setdefault((row.text("framework").lower(), row.text("hardware")), row)
    return list(found.values())


def _size(row: Row) -> float:
    """Requests at once and their length, as far as a row says them in numbers."""
    said = (row.text(name) for name in ("isl", "osl", "tp"))
    at_once = re.search(r"conc=(\d+)", row.text("load"))
    return math.prod(float(each or 1000) for each in said) * (float(at_once[1]) if at_once else 1000.0)


@pytest.mark.parametrize("row", _some(), ids=lambda row: row.id)
def test_predictions_are_those_that_were_noted_when_the_parameters_were_fitted(row: Row) -> None:
    """Code may have changed since, but not what it predicts; where it has: run make calibration."""
    noted = _noted()[row.id]
    found = simulated(row, CATALOG)
    for column, (measured, after) in noted.items():
        if math.isfinite(after):
            assert math.log(found[column] / measured) == pytest.approx(after, abs=2e-3), column
