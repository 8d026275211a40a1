"""How a board's power follows what it does, as rows of ``efficiency/power.csv``."""

from __future__ import annotations

from dataclasses import replace
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
from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.perf.machine import build_machine

_ENGINE = "vllm"


def fit_power(measured: Path, catalog: Catalog) -> tuple[OpEfficiency, ...]:
    """Shares of a board's power, and the intervals of its energy by operator.

    Parameters
    ----------
    measured : Path
        Directory of ``power.parquet``.
    catalog : Catalog
        The board that was measured.
    """
    table = load_measured(measured)
    found = fit(table, build_machine(catalog.chip(CHIP), catalog.engine(_ENGINE)))
    shares = {"static_share": found.shares.static_share, "half_fraction": found.shares.half_fraction}
    whole = OpEfficiency(
        op="power",
        chip=CHIP,
        kernels=_ENGINE,
        dtype="any",
        form="power_bend",
        parameters=shares,
        error_fraction=held_out_error(found),
        rows=part(table, "fitted").height,
        source="aiconfigurator",
        claim="measured",
    )
    return (whole, *(_interval(whole, op, ends) for op, ends in intervals(found).items()))


def _interval(whole: OpEfficiency, op: str, ends: tuple[float, float]) -> OpEfficiency:
    low, high = (round(end, 3) for end in ends)
    factors = {"low_factor": low, "high_factor": high, "transfer_factor": TRANSFER_FACTOR}
    return replace(whole, op="power_interval", form="quantiles", kernel=op, parameters=factors)
