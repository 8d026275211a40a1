"""Rebuild the fitted files that ship: ``catalog/data/efficiency/*.csv`` and ``catalog/data/tuning.csv``.

python scripts/calibrate_shipped.py                       everything, from calibration/
python scripts/calibrate_shipped.py operators [TABLE ...] forms of operators, collectives, board power
python scripts/calibrate_shipped.py servings              parameters of ``tuning.csv``
python scripts/calibrate_shipped.py servings --data FILE  from other rows

The same measurements give the same files. What they were made from is noted in calibration/fitted, where
a test looks whether they are current.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tokenroof.api.calibration import WITHOUT, Calibration
from tokenroof.calibrate.fitting import stamp
from tokenroof.calibrate.fitting.core import Fit
from tokenroof.calibrate.fitting.operators.collectives import fit_collectives, with_twins
from tokenroof.calibrate.fitting.operators.kernels import fit_table, medians
from tokenroof.calibrate.fitting.operators.power import fit_power
from tokenroof.calibrate.fitting.operators.write import COLLECTIVES, write_rows
from tokenroof.calibrate.fitting.run import Question, calibrate_servings
from tokenroof.calibrate.operators import TABLES
from tokenroof.calibrate.residuals import write_tunings
from tokenroof.calibrate.validation.files import read_rows, shipped_files
from tokenroof.catalog.catalog import load
from tokenroof.catalog.tuning import Tuning, write
from tokenroof.report.calibration import dumps

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "calibration" / "measured"
FITTED = ROOT / "calibration" / "fitted"
DATA = ROOT / "src" / "tokenroof" / "catalog" / "data"
TUNING, EFFICIENCY = DATA / "tuning.csv", DATA / "efficiency"
RESIDUALS, STAMP = FITTED / "residuals.csv", FITTED / "stamp.json"
POWER = "power"
OPERATORS = (*TABLES, COLLECTIVES, POWER)
INPUTS = {COLLECTIVES: ("collectives", "moe_alltoall")}
"""Measured tables of an output, where they are not called as it is."""

QUESTION = Question(scopes="wide", afresh=True, source="tokenroof")


def operators(names: Sequence[str], workers: int) -> None:
    """Fit measured operators, and write their files."""
    catalog = load()
    for name in names:
        path = EFFICIENCY / f"{name}.csv"
        if name == COLLECTIVES:
            write_rows(with_twins(fit_collectives(MEASURED, catalog), catalog), path, error=".4g")
        elif name == POWER:
            write_rows(fit_power(MEASURED, catalog), path)
        else:
            rows = fit_table(MEASURED, name, catalog, workers=workers, tell=_say)
            write_rows((*rows, *medians(rows, catalog)), path)
        _say(f"wrote {path.relative_to(ROOT)}")
        stamped({path.name: {"rows": stamp.of_files(inputs(name)), "file": stamp.of_files([path])}})


def inputs(name: str) -> list[Path]:
    """Measured tables that an efficiency file is made from."""
    return [MEASURED / f"{table}.parquet" for table in INPUTS.get(name, (name,))]


def servings_files() -> list[Path]:
    """Measured servings that the shipped parameters are fitted to."""
    return list(shipped_files())


def settings() -> str:
    """Hash of how they are fitted."""
    return stamp.of_settings(QUESTION.settings, scopes=QUESTION.scopes, parameters=QUESTION.parameters)


def servings(data: Sequence[Path], workers: int, target: Path) -> None:
    """Fit measured servings, and write ``tuning.csv`` with what a test and the intervals need beside it."""
    rows = read_rows(data)
    found = calibrate_servings(rows, load(), QUESTION, workers=workers, tell=_say)
    sys.stdout.write(str(Calibration(found)))
    if found.reason:
        raise SystemExit(found.reason)
    write(Tuning(parameters=found.parameters), target)
    said = Calibration(found).document()
    del said["rows"]  # residuals.csv has them
    (FITTED / "calibration.json").write_text(dumps(said) + "\n", encoding="utf-8")
    write_tunings(found.without, FITTED / WITHOUT)
    write_residuals(found, RESIDUALS)
    _say(f"wrote {target}")
    stamped(
        {
            TUNING.name: {
                "rows": stamp.of_files(data),
                "settings": settings(),
                "code": stamp.of_code(),
                "file": stamp.of_files([target]),
            }
        }
    )


def write_residuals(found: Fit, path: Path) -> None:
    """Predictions of every row, so that a test can ask for some of them again."""
    cuts = QUESTION.cross_validate
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "metric", "measured", "before", "after", *(f"without_{cut}" for cut in cuts)))
        for each in found.residuals:
            subject = found.subjects[each.subject]
            logs = (each.before, each.after, *(each.left_out[cut] for cut in cuts))
            seen = subject.measured[each.kind]
            writer.writerow((subject.row.id, subject.columns[each.kind], f"{seen:.6g}", *map(_log, logs)))


def _log(value: float) -> str:
    return f"{value:.4f}"


def stamped(more: dict[str, dict[str, str]]) -> None:
    """Note what files were made from."""
    known = stamp.read(STAMP) if STAMP.is_file() else {}
    stamp.write(STAMP, known | more)


def _say(said: str) -> None:
    sys.stderr.write(f"{said}\n")
    sys.stderr.flush()


def main() -> None:
    """Rebuild what is asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("what", nargs="?", choices=("all", "operators", "servings"), default="all")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of operators: {', '.join(OPERATORS)}")
    parser.add_argument(
        "--data", type=Path, action="append", help="measured servings, instead of the shipped"
    )
    parser.add_argument("--target", type=Path, default=TUNING, help="where parameters are written")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    unknown = [name for name in asked.tables if name not in OPERATORS]
    if unknown:
        parser.error(f"no table {unknown[0]!r}. Known: {', '.join(OPERATORS)}.")
    FITTED.mkdir(exist_ok=True)
    if asked.what in ("all", "operators"):
        operators(asked.tables or OPERATORS, asked.workers)
    if asked.what in ("all", "servings"):
        servings(asked.data or servings_files(), asked.workers, asked.target)


if __name__ == "__main__":
    main()
