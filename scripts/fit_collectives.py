"""Fit the measured collectives and write the efficiency rows that ship.

Run as ``python scripts/fit_collectives.py``; reads calibration/measured and the catalog, writes
src/tokenroof/catalog/data/efficiency/collectives.csv. The same data always gives the same file.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from tokenroof.calibrate.network import Series, fit, read_exchanges, read_series
from tokenroof.catalog.catalog import Catalog, load
from tokenroof.catalog.core import Chip
from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.perf.collectives.candidates import REFERENCE
from tokenroof.perf.core import Net
from tokenroof.perf.machine import fabric_net

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "calibration" / "measured"
TARGET = ROOT / "src" / "tokenroof" / "catalog" / "data" / "efficiency" / "collectives.csv"
HEADER = "op,chip,kernels,dtype,kernel,form,parameters,error_fraction,rows,source,claim"
STANDS_FOR = {"gb200-nvl72": "gb300-nvl72"}
"""Chips whose wider groups were not measured, and the twin on the same fabric that was."""
DEEPEP_ENGINES = ("sglang", "vllm")


def fabric(chip: Chip) -> Net:
    """The scale-up fabric of a measured chip."""
    net = fabric_net(chip.scale_up)
    assert net is not None
    return net


def source_of(series: Series) -> str:
    """Row of the sources that a series comes from."""
    return "vidur" if series.version.startswith("torch") else "aic-comm"


def main() -> None:
    """Fit everything and write the file."""
    catalog = load()
    series = read_series(MEASURED / "collectives.parquet")
    rows = [fit(one, fabric(catalog.chip(one.chip)), source=source_of(one)) for one in series]
    for one in read_exchanges(MEASURED / "moe_alltoall.parquet"):
        row = fit(one, fabric(catalog.chip(one.chip)), source="aic-comm")
        engines = DEEPEP_ENGINES if one.kernels == "deepep" else (one.kernels,)
        rows += [replace(row, kernels=engine) for engine in engines]
    rows += _from_twins(rows, catalog)
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        file.write(HEADER + "\n")
        for row in sorted(rows, key=lambda row: (row.op, row.chip, row.kernels, int(row.dtype[1:]))):
            parameters = " ".join(f"{name}={value:.4g}" for name, value in row.parameters.items())
            what = (row.op, row.chip, row.kernels, row.dtype, row.kernel, row.form, parameters)
            writer.writerow((*what, f"{row.error_fraction:.4g}", row.rows, row.source, row.claim))


def _from_twins(rows: list[OpEfficiency], catalog: Catalog) -> list[OpEfficiency]:
    """Group sizes that only the twin was measured at, as assumptions."""
    known = {(row.op, row.chip, row.kernels, row.dtype) for row in rows}
    own = {chip: {REFERENCE: float(fabric(catalog.chip(chip)).software_latency_s)} for chip in STANDS_FOR}
    return [
        replace(
            row,
            chip=chip,
            rows=0,
            claim="assumption",
            kernel=f"{row.kernel} on {twin}",
            parameters={**row.parameters, **own[chip]},
        )
        for chip, twin in STANDS_FOR.items()
        for row in rows
        if row.chip == twin and (row.op, chip, row.kernels, row.dtype) not in known
    ]


if __name__ == "__main__":
    main()
