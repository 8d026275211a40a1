"""Estimates as polars data frames, CSV and Parquet: base units, one row per estimate or operator."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokenroof.deploy.core import Estimate, OpRow
from tokenroof.report.labels import metric_ids, num_chips, short_names

if TYPE_CHECKING:
    import polars as pl

Cell = str | int | float | bool | None


def record(
    label: str, estimate: Estimate, metrics: Sequence[str], ranged: frozenset[str] = frozenset()
) -> dict[str, Cell]:
    """One estimate as one flat row; metric columns carry their unit in the name.

    Those of ``ranged`` are followed by the ends of their interval, ``NAME_low`` and ``NAME_high``.
    """
    deployment, problem = estimate.deployment, estimate.infeasible
    pool = deployment.pools[0]
    row: dict[str, Cell] = {
        "label": label,
        "model": deployment.model.name,
        "chip": " + ".join(dict.fromkeys(pool.chip.name for pool in deployment.pools)),
        "projection": any(pool.chip.projection for pool in deployment.pools),
        "engine": pool.engine.name,
        "num_chips": num_chips(estimate),
        "tp": pool.parallel.tp,
        "pp": pool.parallel.pp,
        "dp": pool.parallel.dp,
        "ep": pool.parallel.ep,
        "cp": pool.parallel.cp,
        "weight_dtype": deployment.precision.weights,
        "kv_dtype": deployment.precision.kv,
        "isl_tokens": estimate.shape.isl_tokens,
        "osl_tokens": estimate.shape.osl_tokens,
        "concurrency": estimate.concurrency,
        "feasible": problem is None,
        "reason": problem.reason if problem else None,
        "need": problem.need if problem else None,
        "have": problem.have if problem else None,
        "need_unit": problem.unit if problem else None,
    }
    for key in metrics:
        metric = estimate.metrics.get(key)
        row[key] = float(metric.value) if metric is not None else None
        if key in ranged:
            row[f"{key}_low"] = metric.low if metric is not None else None
            row[f"{key}_high"] = metric.high if metric is not None else None
    for name in ("prefill", "decode"):
        phase = estimate.phases.get(name)
        row[f"{name}_limit"] = phase.limit if phase else None
        row[f"{name}_mfu_fraction"] = float(phase.mfu_fraction) if phase else None
        row[f"{name}_mbu_fraction"] = float(phase.mbu_fraction) if phase else None
    return row


def records(estimates: Sequence[Estimate]) -> list[dict[str, Cell]]:
    """One flat row per estimate, all with the same columns."""
    metrics = metric_ids(estimates)
    ranged = frozenset(
        key for each in estimates for key, metric in each.metrics.items() if metric.low is not None
    )
    return [record(n, e, metrics, ranged) for n, e in zip(short_names(estimates), estimates, strict=True)]


def frame(estimates: Sequence[Estimate]) -> pl.DataFrame:
    """A data frame with one row per estimate, infeasible ones included.

    Returns
    -------
    polars.DataFrame
        Columns in base units; a metric that an estimate lacks is null.
    """
    import polars as pl

    return pl.DataFrame(records(estimates), infer_schema_length=None)


def operator_frame(estimates: Sequence[Estimate]) -> pl.DataFrame:
    """A data frame with one row per operator of each phase; times per step, all layers. [s, flop, bytes]"""
    import polars as pl

    rows = [
        {"label": label, "phase": phase.name, "operator": op.name, **_cells(op)}
        for label, estimate in zip(short_names(estimates), estimates, strict=True)
        for phase in estimate.phases.values()
        for op in phase.ops
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _cells(op: OpRow) -> dict[str, Cell]:
    fields = dataclasses.asdict(op)
    del fields["name"]
    return {
        key: value if value is None or isinstance(value, (str, int)) else float(value)
        for key, value in fields.items()
    }


def write_frame(estimates: Sequence[Estimate], path: Path) -> None:
    """Write ``frame`` as CSV or Parquet, by the path's extension."""
    table = frame(estimates)
    if path.suffix == ".parquet":
        table.write_parquet(path)
    else:
        table.write_csv(path)
