"""Simulate every measured serving of the repository, and keep what came of it for docs/accuracy.md.

python scripts/predict_validation.py             minutes; reads calibration/validation, writes into it:
python scripts/predict_validation.py --held-out  keeps the predictions, and reads what was held out again

- predictions.csv: a line per row and metric: measured, predicted with the shipped parameters, predicted with
  parameters fitted without the row's hardware, model, framework or shape (out of residuals.parquet, which
  scripts/fit_intervals.py writes, empty without it), the 90 % interval, why there is no prediction.
- coverage.csv: what the intervals contain of groups that had no part in them.
- parameter_rows.csv: which rows depend on each fitted parameter.

Parameters come first (tuning.csv), then intervals (accuracy.csv), then this, then scripts/accuracy_page.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent))

import accuracy_page_data as data

from tokenroof.calibrate.coverage import coverage
from tokenroof.calibrate.fitting.core import FitSettings
from tokenroof.calibrate.fitting.subjects import subjects_of
from tokenroof.calibrate.intervals import Residual
from tokenroof.calibrate.residuals import from_frame
from tokenroof.calibrate.validation.run import predict_rows
from tokenroof.catalog.catalog import load

RESIDUALS = data.DIRECTORY / "residuals.parquet"


def read_residuals(path: Path = RESIDUALS) -> tuple[Residual, ...]:
    """Those of cross-validation; none without the file."""
    return from_frame(pl.read_parquet(path)) if path.is_file() else ()


def predicted_lines(ids: Iterable[str] | None = None, *, workers: int = 1) -> list[dict[str, str]]:
    """Lines of predictions.csv, simulated now, without what is held out.

    Parameters
    ----------
    ids : iterable of str, optional
        Rows; default: all of them.
    workers : int
        Processes.
    """
    wanted = None if ids is None else set(ids)
    rows = [each for each in data.shipped_rows() if wanted is None or each[1][0].id in wanted]
    found = predict_rows([row for _, row in rows], load(), workers=workers, progress=_Progress(len(rows)))
    return [
        line for (file, _), outcome in zip(rows, found, strict=True) for line in data.lines_of(file, outcome)
    ]


class _Progress:
    """Counts rows on the terminal."""

    def __init__(self, total: int) -> None:
        self._done, self._total = 0, total

    def __call__(self, more: int) -> None:
        self._done += more
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{self._done} of {self._total} rows")
            sys.stderr.flush()


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--residuals", type=Path, default=RESIDUALS, help="of cross-validation")
    parser.add_argument("--held-out", action="store_true", help="keep the predictions that are there")
    asked = parser.parse_args()
    residuals = read_residuals(asked.residuals)
    catalog = load()
    rows = [row for _, row in data.shipped_rows()]
    subjects = subjects_of(rows, catalog, FitSettings())[0] if catalog.tuning.parameters else ()
    data.write_lines(data.INFORMED, data.INFORMED_HEADER, data.informed_lines(catalog.tuning, subjects))
    data.write_lines(data.COVERAGE, data.COVERAGE_HEADER, data.coverage_lines(coverage(residuals)))
    kept = asked.held_out
    lines = data.read_lines(data.PREDICTIONS, data.HEADER) if kept else predicted_lines(workers=asked.workers)
    data.write_lines(data.PREDICTIONS, data.HEADER, data.with_held_out(lines, residuals))
    print(f"wrote {len(lines)} lines of {len(rows)} rows")


if __name__ == "__main__":
    main()
