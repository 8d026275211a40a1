"""Fit the split of a board's power and write ``catalog/data/efficiency/power.csv``.

python scripts/fit_power.py
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from statistics import mean

from tokenroof.calibrate.power import CHIP, errors, fit, load_measured, with_shares
from tokenroof.catalog.catalog import load
from tokenroof.catalog.efficiency import COLUMNS
from tokenroof.perf.machine import build_machine

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Write the row and print the errors."""
    measured = load_measured(ROOT / "calibration" / "measured")
    catalog = load()
    machine = build_machine(catalog.chip(CHIP), catalog.engine("vllm"))
    shares, held_out = fit(measured, machine)
    path = ROOT / "src" / "tokenroof" / "catalog" / "data" / "efficiency" / "power.csv"
    parameters = f"static_share={shares.static_share:g} compute_share={shares.compute_share:g}"
    row = (
        "power", CHIP, "vllm", "any", "", "power_shares", parameters,
        f"{mean(held_out.values()):.4f}", measured.height, "aiconfigurator", "measured",
    )  # fmt: skip
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows((COLUMNS, row))
    for title, found in (("fitted", errors(measured, with_shares(machine, shares))), ("held out", held_out)):
        told = ", ".join(f"{op} {100 * error:.1f} %" for op, error in found.items())
        sys.stdout.write(f"{title}: {told}; mean {100 * mean(found.values()):.1f} %\n")


if __name__ == "__main__":
    main()
