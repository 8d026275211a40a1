"""Rebuild the factors of intervals, ``catalog/data/accuracy.csv`` and ``served.csv``.

python scripts/fit_intervals.py            from residuals in calibration/validation/residuals.parquet
python scripts/fit_intervals.py --predict  predicts the measured servings first

Rows are predicted with parameters that were fitted without their group, calibration/fitted/without.csv or
--tunings FILE.csv: columns fold, group, name, scope, value; a fold is "hardware", "model", "framework" or
"shape". A group that is not in it has the shipped parameters.

Prints what the intervals cover of groups that neither parameters nor intervals were made from.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tokenroof.calibrate.coverage import Coverage, coverage
from tokenroof.calibrate.fitting import stamp
from tokenroof.calibrate.intervals import build
from tokenroof.calibrate.residuals import from_frame, read_tunings, residuals, to_frame
from tokenroof.calibrate.validation.files import read_rows, shipped_files
from tokenroof.catalog.accuracy import write
from tokenroof.catalog.catalog import load

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "src" / "tokenroof" / "catalog" / "data"
WITHOUT = ROOT / "calibration" / "fitted" / "without.csv"
RESIDUALS = ROOT / "calibration" / "validation" / "residuals.parquet"


def main() -> None:
    """Write the files and print the coverage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--predict", action="store_true", help="simulate the measured servings again")
    parser.add_argument(
        "--tunings", type=Path, default=WITHOUT, help="parameters fitted without each group, CSV"
    )
    parser.add_argument("--residuals", type=Path, default=RESIDUALS, help="where residuals are kept")
    parser.add_argument("--target", type=Path, default=DATA, help="directory of both files")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-coverage", action="store_true", help="leave out the coverage")
    asked = parser.parse_args()
    if asked.predict:
        catalog = load()
        tunings = read_tunings(asked.tunings, catalog.tuning) if asked.tunings.is_file() else {}
        rows = [row for row, problem in read_rows(shipped_files()) if not problem]
        found = residuals(rows, catalog, tunings, workers=asked.workers, progress=_tell)
        to_frame(found).write_parquet(asked.residuals)
        made_from = {"tuning": stamp.of_files([DATA / "tuning.csv"])}
        stamp.write(asked.residuals.with_suffix(".json"), {asked.residuals.name: made_from})
    known = from_frame(pl.read_parquet(asked.residuals))
    accuracy = build(known)
    write(accuracy, asked.target)
    for each in accuracy.spreads:
        factors = f"{each.low_factor:6.3f} {each.middle_factor:6.3f} {each.high_factor:6.3f}"
        sys.stdout.write(
            f"{each.metric:20} {each.prediction:12} {each.scope:9} {factors} {each.rows:5} {each.groups:3}\n"
        )
    if asked.no_coverage:
        return
    sys.stdout.write("\nmetric               prediction   left out   rows groups  inside   width\n")
    scores = coverage(known)
    for score in (*scores, *of_all_folds(scores)):
        sys.stdout.write(
            f"{score.metric:20} {score.prediction:12} {score.fold:9} {score.rows:5} {score.groups:6} "
            f"{100 * score.inside_fraction:6.1f} % {100 * score.width_fraction:5.0f} %\n"
        )


def of_all_folds(scores: Sequence[Coverage]) -> list[Coverage]:
    """Every metric over all that was left out."""
    found: dict[tuple[str, str], list[Coverage]] = {}
    for each in scores:
        found.setdefault((each.metric, each.prediction), []).append(each)
    return [
        Coverage(
            metric=metric,
            prediction=prediction,
            fold="all",
            rows=sum(each.rows for each in members),
            groups=sum(each.groups for each in members),
            inside_fraction=sum(each.inside_fraction * each.rows for each in members)
            / sum(each.rows for each in members),
            width_fraction=max(each.width_fraction for each in members),
        )
        for (metric, prediction), members in found.items()
    ]


def _tell(done: int, total: int) -> None:
    sys.stderr.write(f"\r{done} of {total} predictions")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
