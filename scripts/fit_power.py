"""Fit how a board's power follows what it does and write ``catalog/data/efficiency/power.csv``.

python scripts/fit_power.py
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from tokenroof.calibrate.power import (
    CHIP,
    TRANSFER_FACTOR,
    fit,
    held_out_error,
    intervals,
    load_measured,
    part,
)
from tokenroof.catalog.catalog import load
from tokenroof.catalog.efficiency import COLUMNS
from tokenroof.perf.machine import build_machine

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "src" / "tokenroof" / "catalog" / "data" / "efficiency" / "power.csv"


def rows() -> list[tuple[str, ...]]:
    """Header and rows of the file, from the measurements."""
    measured = load_measured(ROOT / "calibration" / "measured")
    catalog = load()
    found = fit(measured, build_machine(catalog.chip(CHIP), catalog.engine("vllm")))
    error, count = f"{held_out_error(found):.4f}", str(part(measured, "fitted").height)
    numbers = f"static_share={found.shares.static_share:g} half_fraction={found.shares.half_fraction:g}"
    tail = (error, count, "aiconfigurator", "measured")
    out = [COLUMNS, ("power", CHIP, "vllm", "any", "", "power_bend", numbers, *tail)]
    for op, (low, high) in intervals(found).items():
        numbers = f"low_factor={low:.3f} high_factor={high:.3f} transfer_factor={TRANSFER_FACTOR:g}"
        out.append(("power_interval", CHIP, "vllm", "any", op, "quantiles", numbers, *tail))
    return out


def main() -> None:
    """Write the rows and print them."""
    written = rows()
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(written)
    sys.stdout.writelines(f"{' '.join(row)}\n" for row in written[1:])


if __name__ == "__main__":
    main()
