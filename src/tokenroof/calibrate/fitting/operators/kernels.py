"""Fit the operator formulas to measured kernels, group by group.

Each group (chip, framework, formats) is fitted on its training half by robust least squares on
log(predicted / measured); the error written beside the numbers is that of the held-out half.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from tokenroof.calibrate.accuracy import row_name
from tokenroof.calibrate.benchmark import Hardware, hardware_of
from tokenroof.calibrate.fitting.operators.forms import FORM, FREE, choices
from tokenroof.calibrate.operators import TABLES, read_table, residual
from tokenroof.catalog.catalog import Catalog, load
from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.errors import InputError

FloatArray: TypeAlias = npt.NDArray[np.float64]

LEAST_ROWS = 12
"""A group of fewer rows is not fitted."""

STARTS = 3
TRAINING_ROWS = 900
_SOURCES = {"torch": "vidur", "hf": "llmservingsim", "pytorch": "llmcompass"}
HELD_OUT = "held_out"


@dataclass(frozen=True, slots=True)
class Job:
    """One group to fit: its table, the values of its group columns, its rows."""

    table: str
    key: tuple[str, ...]
    rows: pl.DataFrame
    source: str
    directories: tuple[Path, ...]


def fit_table(
    measured: Path,
    table: str,
    catalog: Catalog,
    *,
    source: str = "",
    workers: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[OpEfficiency, ...]:
    """One fitted form per group of a measured table.

    Parameters
    ----------
    measured : Path
        Directory of ``<table>.parquet``, in the format of ``calibration/measured``.
    table : str
        A key of ``calibrate.operators.TABLES``.
    catalog : Catalog
        Peaks and bandwidths of the chips.
    source : str
        Row of ``sources.yaml``; "": where the rows of the repository come from.
    workers : int
        Processes; the numbers do not depend on it.
    tell : callable, optional
        Told the error of every group.

    Raises
    ------
    InputError
        Columns are missing, a chip is unknown, or scipy is not installed.
    """
    if find_spec("scipy") is None:
        raise InputError("fitting operators needs scipy. Install it: pip install 'tokenroof[calibrate]'.")
    rows = with_halves(read_table(measured, table), TABLES[table].group)
    jobs = [
        Job(table, tuple(map(str, key)), part, source, catalog.directories[1:])
        for key, part in sorted(
            rows.group_by(list(TABLES[table].group), maintain_order=True),
            key=lambda pair: tuple(map(str, pair[0])),
        )
        if part.height >= LEAST_ROWS
    ]
    if workers == 1 or len(jobs) < 2:
        found = [fit_group(job) for job in jobs]
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            found = list(pool.map(fit_group, jobs))
    for row in found:
        tell(f"{row.op} {row.chip} {row.kernels} {row.dtype}: {row.error_fraction:.2%} of {row.rows} rows")
    return tuple(found)


def with_halves(rows: pl.DataFrame, group: Sequence[str]) -> pl.DataFrame:
    """Rows that do not say which of them are held out: every second one of its group.

    Raises
    ------
    InputError
        A column is missing.
    """
    missing = [name for name in (*group, "latency_us") if name not in rows.columns]
    if missing:
        raise InputError(f"measured operators: no column {', '.join(missing)}. See calibration/README.md.")
    if HELD_OUT in rows.columns:
        return rows
    order = pl.int_range(pl.len()).over(list(group))
    return rows.with_columns((order % 2 == 1).alias(HELD_OUT))


def fit_group(job: Job) -> OpEfficiency:
    """The fitted form of one group."""
    warnings.simplefilter("ignore")  # of trial values far from the answer
    hardware = hardware_of(_catalog(job.directories).chip(job.key[0]))
    tried = [
        (_fit(job, hardware, fixed, 1)[0], index) for index, fixed in enumerate(choices(job.table, job.key))
    ]
    best = list(choices(job.table, job.key))[min(tried)[1]]
    _, found = _fit(job, hardware, best, STARTS)
    found = {name: float(f"{value:.4g}") for name, value in sorted(found.items())}
    test = job.rows.filter(pl.col(HELD_OUT))
    measured_s = test["latency_us"].to_numpy().astype(np.float64) * 1e-6
    error = residual(TABLES[job.table].predict(test, hardware, found), measured_s)
    op, dtype = row_name(job.table, job.key)
    return OpEfficiency(
        op=op,
        chip=job.key[0],
        kernels=job.key[1],
        dtype=dtype,
        form=FORM[job.table],
        parameters=found,
        error_fraction=error.mean_fraction,
        rows=job.rows.height,
        source=job.source or _source(job),
        claim="measured",
        kernel=job.rows["kernel"][0] if "kernel" in job.rows.columns else "",
    )


def _source(job: Job) -> str:
    measured_by_aic = job.table != "elementwise" and job.key[0] != "rtx4090"
    return _SOURCES.get(job.key[1], "aic" if measured_by_aic else "llmservingsim")


@lru_cache(maxsize=2)
def _catalog(directories: tuple[Path, ...]) -> Catalog:
    return load(directories)


def _fit(
    job: Job, hardware: Hardware, fixed: Mapping[str, float], starts: int
) -> tuple[float, dict[str, float]]:
    """Best of several starts: cost per row, and parameters."""
    from scipy.optimize import least_squares

    rows = job.rows.filter(~pl.col(HELD_OUT))
    if rows.height > TRAINING_ROWS:
        rows = rows[np.random.default_rng(1).permutation(rows.height)[:TRAINING_ROWS].tolist()]
    measured_s = rows["latency_us"].to_numpy().astype(np.float64) * 1e-6
    free = {name: bounds for name, bounds in FREE[job.table].items() if name not in fixed}
    start, low, high = np.log(np.array(list(free.values()))).T
    predict = TABLES[job.table].predict

    def parameters(place: FloatArray) -> dict[str, float]:
        return {**dict(zip(free, np.exp(place).tolist(), strict=True)), **fixed}

    def residuals(place: FloatArray) -> FloatArray:
        found: FloatArray = np.log(np.maximum(predict(rows, hardware, parameters(place)), 1e-12) / measured_s)
        return found

    jump = np.random.default_rng(7)
    best = None
    for attempt in range(starts):
        moved = start + (attempt > 0) * jump.normal(0.0, 0.6, len(start)) * np.minimum(1.0, (high - low) / 2)
        first = np.clip(moved, low + 1e-3, high - 1e-3)
        found = least_squares(
            residuals, first, bounds=(low, high), loss="soft_l1", f_scale=0.1, max_nfev=40, diff_step=1e-3
        )
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    return float(best.cost) / len(measured_s), parameters(best.x)


def medians(rows: Sequence[OpEfficiency], catalog: Catalog) -> tuple[OpEfficiency, ...]:
    """Rows for each family and for any chip: medians over the chips that were measured."""
    groups: dict[tuple[str, str, str], list[OpEfficiency]] = defaultdict(list)
    for row in rows:
        for chip in ("generic", catalog.chip(row.chip).family):
            groups[row.op, chip, row.dtype].append(row)
    return tuple(
        OpEfficiency(
            op=op,
            chip=chip,
            kernels="generic",
            dtype=dtype,
            form=members[0].form,
            parameters={
                name: float(f"{float(np.median([each.parameters[name] for each in members])):.4g}")
                for name in members[0].parameters
            },
            error_fraction=float("nan"),
            rows=0,
            source="operator-fits",
            claim="assumption",
        )
        for (op, chip, dtype), members in sorted(groups.items())
    )
