"""Fit measured collectives and exchanges of experts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tokenroof.calibrate.network import Series, fit, read_exchanges, read_series
from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.core import Chip
from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.errors import InputError
from tokenroof.perf.collectives.candidates import REFERENCE
from tokenroof.perf.core import Net
from tokenroof.perf.machine import fabric_net

STANDS_FOR = {"gb200-nvl72": "gb300-nvl72"}
"""Chips whose wider groups were not measured, and the twin on the same fabric that was."""

DEEPEP_ENGINES = ("sglang", "vllm")


def fit_collectives(measured: Path, catalog: Catalog) -> tuple[OpEfficiency, ...]:
    """Every measured series as a fitted form, sorted.

    Parameters
    ----------
    measured : Path
        Directory of ``collectives.parquet`` and, perhaps, ``moe_alltoall.parquet``.
    catalog : Catalog
        Fabrics of the chips.

    Raises
    ------
    InputError
        A chip is unknown, or has no fabric.
    """
    series = read_series(measured / "collectives.parquet")
    rows = [fit(one, _fabric(catalog.chip(one.chip)), source=_source_of(one)) for one in series]
    exchanges = measured / "moe_alltoall.parquet"
    for one in read_exchanges(exchanges) if exchanges.is_file() else ():
        row = fit(one, _fabric(catalog.chip(one.chip)), source="aic-comm")
        engines = DEEPEP_ENGINES if one.kernels == "deepep" else (one.kernels,)
        rows += [replace(row, kernels=engine) for engine in engines]
    return tuple(sorted(rows, key=_order))


def with_twins(rows: Sequence[OpEfficiency], catalog: Catalog) -> tuple[OpEfficiency, ...]:
    """Rows and, as assumptions, group sizes that only the twin of a chip was measured at."""
    known = {(row.op, row.chip, row.kernels, row.dtype) for row in rows}
    own = {chip: {REFERENCE: float(_fabric(catalog.chip(chip)).software_latency_s)} for chip in STANDS_FOR}
    more = [
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
    return tuple(sorted((*rows, *more), key=_order))


def _order(row: OpEfficiency) -> tuple[str, str, str, int]:
    return row.op, row.chip, row.kernels, int(row.dtype[1:])


def _fabric(chip: Chip) -> Net:
    net = fabric_net(chip.scale_up)
    if net is None:
        raise InputError(f"chip {chip.name!r} has no fabric that collectives could be fitted on.")
    return net


def _source_of(series: Series) -> str:
    return "vidur" if series.version.startswith("torch") else "aic-comm"
