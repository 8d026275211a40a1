"""The error of the shipped efficiency rows on the shipped measurements, group by group."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from tokenroof.calibrate.attention import attention_beyond_seconds
from tokenroof.calibrate.benchmark import Array, Hardware, hardware_of
from tokenroof.calibrate.operators import TABLES, Residual, read_table, residual
from tokenroof.catalog.catalog import load
from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.catalog.efficiency import load as load_rows

REFERENCE_FILE = "operators_best_form.csv"
_RENAMED = {"sq": "int8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupAccuracy:
    """How well one efficiency row explains its measurements.

    Attributes
    ----------
    table, chip, kernels, dtype : str
        Which group.
    row : OpEfficiency
        The shipped row.
    held_out, everything : Residual
        On the half that was not fitted, and on all shipped rows.
    reference_fraction : float or None
        Mean error of the best form of the first operator study; None where it had none.
    """

    table: str
    chip: str
    kernels: str
    dtype: str
    row: OpEfficiency
    held_out: Residual
    everything: Residual
    reference_fraction: float | None


def row_name(table: str, key: Sequence[object]) -> tuple[str, str]:
    """Operator class and dtype of a group, as efficiency rows spell them.

    Parameters
    ----------
    table : str
        Name of the measured table.
    key : sequence
        Values of its group columns.
    """
    parts = [str(part) for part in key[2:]]
    if table == "recurrent":
        return ("recurrent_decode" if str(key[3]) == "True" else "recurrent_prefill"), parts[0]
    if table == "elementwise":
        return table, "bf16"
    if table.startswith("attention"):
        return table, "/".join([*parts[:-1], f"hd{parts[-1]}"])
    return table, _RENAMED.get(parts[0], parts[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class BeyondAccuracy:
    """How well a row predicts measurements outside the domain it was fitted on."""

    chip: str
    kernels: str
    what: str
    found: Residual


def beyond(directory: Path) -> tuple[BeyondAccuracy, ...]:
    """Errors on windows and on prompts over a past, all formats together; no fit saw these rows."""
    rows = read_table(directory, "attention_beyond")
    group = ["chip", "kernels", "phase", "q_dtype", "kv_dtype", "head_dim", "window"]
    ratios: dict[tuple[str, str, str], list[Array]] = {}
    parts = rows.partition_by(group, as_dict=True)
    for key, part in sorted(parts.items(), key=lambda item: tuple(map(str, item[0]))):
        chip, kernels, phase, q_dtype, kv_dtype, head_dim, window = map(str, key)
        name = f"{kv_dtype}/hd{head_dim}" if phase == "decode" else f"{q_dtype}/{kv_dtype}/hd{head_dim}"
        row = _index().get((f"attention_{phase}", chip, kernels, name))
        if row is None:
            continue
        predicted_s = attention_beyond_seconds(part, hardware(chip), row.parameters)
        measured_s = part["latency_us"].to_numpy().astype(np.float64) * 1e-6
        case = f"window of {window}" if window != "0" else "cached past"
        ratios.setdefault((chip, kernels, f"{phase}, {case}"), []).append(predicted_s / measured_s)
    return tuple(
        BeyondAccuracy(
            chip=chip,
            kernels=kernels,
            what=what,
            found=residual(np.concatenate(found), np.ones(sum(map(len, found)))),
        )
        for (chip, kernels, what), found in ratios.items()
    )


@lru_cache(maxsize=1)
def _index() -> dict[tuple[str, str, str, str], OpEfficiency]:
    return {(row.op, row.chip, row.kernels, row.dtype): row for row in reversed(load_rows())}


@lru_cache(maxsize=256)
def hardware(chip: str) -> Hardware:
    """Numbers of a catalog chip."""
    return hardware_of(load().chip(chip))


def read_reference(directory: Path) -> Mapping[tuple[str, str, str, str], float]:
    """Errors of the first operator study's best forms, by operator, chip, framework and dtype."""
    with (directory / REFERENCE_FILE).open(encoding="utf-8", newline="") as file:
        return {
            (row["op"], row["chip"], row["kernels"], row["dtype"]): float(row["error_fraction"])
            for row in csv.DictReader(file)
        }


def groups(
    directory: Path, table: str, chips: Sequence[str] | None = None
) -> Iterator[tuple[tuple[object, ...], pl.DataFrame]]:
    """Rows of each group of a measured table, in a fixed order; only some chips when named."""
    rows = read_table(directory, table)
    if chips is not None:
        rows = rows.filter(pl.col("chip").is_in(list(chips)))
    parts = rows.partition_by(list(TABLES[table].group), as_dict=True, maintain_order=True)
    yield from sorted(parts.items(), key=lambda item: tuple(map(str, item[0])))


def accuracy(directory: Path, table: str, chips: Sequence[str] | None = None) -> tuple[GroupAccuracy, ...]:
    """Errors of every group of a table that has a shipped row of its own.

    Parameters
    ----------
    directory : Path
        Where ``<table>.parquet`` and the reference errors are.
    table : str
        A key of ``calibrate.operators.TABLES``.
    chips : sequence of str, optional
        Only these.

    Returns
    -------
    tuple of GroupAccuracy
    """
    reference = read_reference(directory)
    out = []
    for key, rows in groups(directory, table, chips):
        op, dtype = row_name(table, key)
        chip, kernels = str(key[0]), str(key[1])
        row = _index().get((op, chip, kernels, dtype))
        if row is None:
            continue
        predicted_s = TABLES[table].predict(rows, hardware(chip), row.parameters)
        measured_s = rows["latency_us"].to_numpy().astype(np.float64) * 1e-6
        held_out = rows["held_out"].to_numpy()
        out.append(
            GroupAccuracy(
                table=table,
                chip=chip,
                kernels=kernels,
                dtype=dtype,
                row=row,
                held_out=residual(predicted_s[held_out], measured_s[held_out]),
                everything=residual(predicted_s, measured_s),
                reference_fraction=reference.get((op, chip, kernels, dtype)),
            )
        )
    return tuple(out)
