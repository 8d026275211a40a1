"""Fit how a board's power follows what it does and write ``catalog/data/efficiency/power.csv``.

python scripts/fit_power.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from tokenroof.calibrate.fitting.operators.power import fit_power
from tokenroof.calibrate.fitting.operators.write import texts, write_rows
from tokenroof.catalog.catalog import load
from tokenroof.catalog.efficiency import COLUMNS

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "src" / "tokenroof" / "catalog" / "data" / "efficiency" / "power.csv"


def rows() -> list[tuple[str, ...]]:
    """Header and rows of the file, from the measurements."""
    return [COLUMNS, *texts(fit_power(ROOT / "calibration" / "measured", load()))]


def main() -> None:
    """Write the rows and print them."""
    write_rows(fit_power(ROOT / "calibration" / "measured", load()), TARGET)
    sys.stdout.writelines(f"{' '.join(row)}\n" for row in rows()[1:])


if __name__ == "__main__":
    main()
