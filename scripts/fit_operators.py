"""Fit the operator formulas to calibration/measured and write catalog/data/efficiency.

Run as ``python scripts/fit_operators.py [TABLE ...]``; needs scipy (not a dependency of the
package). Each group (chip, framework, dtype) is fitted on its training half by robust least squares
on log(predicted / measured); the error written beside the numbers is that of the held-out half.
Rows for a family and for "generic" are medians over the chips that were measured.
"""

from __future__ import annotations

import csv
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
from scipy.optimize import least_squares

from tokenroof.calibrate.accuracy import row_name
from tokenroof.calibrate.benchmark import Hardware, hardware_of
from tokenroof.calibrate.operators import TABLES, read_table, residual
from tokenroof.catalog.catalog import load
from tokenroof.catalog.efficiency import COLUMNS as HEADER

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "calibration" / "measured"
TARGET = ROOT / "src" / "tokenroof" / "catalog" / "data" / "efficiency"
COLUMNS = list(HEADER)
STARTS = 3
TRAINING_ROWS = 900
NEVER = 1e9
QUANTISED = ("fp8", "fp8_block", "nvfp4", "sq")  # activations pass through a kernel of their own

Bounds = tuple[float, float, float]  # start, low, high
CACHED: dict[str, Bounds] = {"cached_speedup": (3, 1, 10), "cached_scale": (0.8, 0.2, 3)}
DECODE: dict[str, Bounds] = {
    "compute_fraction": (0.3, 0.02, 1.1),
    "memory_fraction": (0.85, 0.1, 1.0),
    "launch_s": (9e-6, 1e-7, 2e-4),
    "sharpness": (4, 1, 20),
    "fill_fraction": (0.4, 0.02, 4),
    "split_tokens": (256, 32, 1e6),
    "reduce_s": (8e-7, 1e-9, 1e-5),
    "head_s": (5e-10, 1e-13, 1e-8),
}
PREFILL: dict[str, Bounds] = {
    "compute_fraction": (0.55, 0.02, 1.1),
    "memory_fraction": (0.4, 0.05, 1.0),
    "launch_s": (1e-5, 1e-7, 2e-4),
    "sharpness": (1.3, 0.7, 20),
    "chain_weight": (1, 0.01, 3),
    "tile_s": (1e-9, 1e-13, 6e-8),
}
TILED: dict[str, Bounds] = {
    "compute_fraction": (0.6, 0.02, 1.1),
    "memory_fraction": (0.85, 0.1, 1.0),
    "sharpness": (3, 1, 20),
}
FREE: dict[str, dict[str, Bounds]] = {
    "gemm": {
        **TILED,
        "launch_s": (4e-6, 1e-7, 1e-4),
        "tile_exponent": (0.05, 1e-3, 1),
        "fill_fraction": (0.4, 0.02, 2),
        "step_s": (2e-7, 1e-9, 2e-6),
        "ragged_fraction": (0.05, 1e-3, 0.8),
        "quantise_fraction": (0.6, 0.1, 1.0),
    },
    "attention_decode": {**DECODE, **CACHED, "ungrouped_cost": (1.5, 0.05, 300)},
    "attention_prefill": {**PREFILL, **CACHED, "kv_passes": (1, 0.2, 20)},
    "mla_decode": {**DECODE, **CACHED},
    "mla_prefill": {**PREFILL, **CACHED},
    "moe": {
        **TILED,
        **CACHED,
        "launch_s": (1.5e-5, 1e-6, 2e-4),
        "tile_exponent": (0.02, 1e-3, 1.2),
        "fill_fraction": (0.05, 0.01, 4),
        "step_s": (1e-8, 1e-10, 2e-5),
        "expert_s": (3e-8, 1e-10, 1e-6),
        "activation_passes": (1, 0.2, 20),
    },
    "recurrent": {
        **CACHED,
        "compute_fraction": (0.2, 0.002, 1.1),
        "memory_fraction": (0.6, 0.05, 1.0),
        "launch_s": (1e-5, 1e-7, 1e-4),
        "chunk_s": (3e-6, 1e-9, 3e-5),
        "sharpness": (2, 0.7, 20),
    },
    "elementwise": {
        **CACHED,
        "launch_s": (2e-6, 1e-7, 2e-5),
        "memory_fraction": (0.8, 0.1, 1.0),
    },
}
FORM = {
    "gemm": "wave",
    "attention_decode": "decode",
    "mla_decode": "decode",
    "attention_prefill": "prefill",
    "mla_prefill": "prefill",
    "moe": "grouped",
    "recurrent": "scan",
    "elementwise": "streaming",
}
SOURCES = {"torch": "vidur", "hf": "llmservingsim", "pytorch": "llmcompass"}


def choices(table: str, key: tuple[str, ...]) -> Iterator[dict[str, float]]:
    """Discrete parameters to try for a group, each with the continuous ones refitted."""
    one_kernel = {"max_rows": NEVER, "least_rows": 1.0, "ungrouped_cost": 1.0}
    if table == "gemm":
        for ways, power in product((1.0, 4.0, 8.0), (2.0, 4.0, 8.0)):
            chosen = {"split_ways": ways, "sharpness": power}
            yield chosen if key[2] in QUANTISED else {**chosen, "quantise_fraction": 0.6}
    elif table == "attention_decode":
        yield from ({"min_rows": rows, **one_kernel} for rows in (1.0, 16.0, 32.0))
        if key[1] == "trtllm":  # its grouped kernel takes up to 32 queries per key-value head
            for rows in (1.0, 16.0, 32.0):
                yield from ({"min_rows": rows, "max_rows": 32.0, "least_rows": least} for least in (1.0, 2.0))
    elif table == "mla_decode":
        yield from ({"min_rows": rows, **one_kernel} for rows in (1.0, 16.0, 64.0, 128.0))
    elif table == "moe":
        yield from ({"width_step": step} for step in (16.0, 64.0, 128.0))
    elif table == "elementwise" and key[1] == "torch":  # timed to 1 us: no launch floor to be read off
        yield {"launch_s": 2.3e-6}
    elif table == "recurrent" and key[3] == "True":
        yield {"chunk_s": 0.0, "compute_fraction": 1.0, "sharpness": 4.0}
    else:
        yield {}


def fit(
    table: str, rows: pl.DataFrame, hardware: Hardware, fixed: Mapping[str, float], starts: int
) -> tuple[float, dict[str, float]]:
    """Best of several starts: cost per row and parameters."""
    rows = rows.filter(~pl.col("held_out"))
    if rows.height > TRAINING_ROWS:
        rows = rows[np.random.default_rng(1).permutation(rows.height)[:TRAINING_ROWS].tolist()]
    measured_s = rows["latency_us"].to_numpy().astype(np.float64) * 1e-6
    free = {name: bounds for name, bounds in FREE[table].items() if name not in fixed}
    start, low, high = np.log(np.array(list(free.values()))).T
    predict = TABLES[table].predict

    def parameters(x: np.ndarray) -> dict[str, float]:
        return {**dict(zip(free, np.exp(x).tolist(), strict=True)), **fixed}

    def residuals(x: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(predict(rows, hardware, parameters(x)), 1e-12) / measured_s)

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


def fit_group(job: tuple[str, tuple[str, ...], pl.DataFrame]) -> list[object]:
    """The efficiency row of one group."""
    warnings.simplefilter("ignore")
    table, key, rows = job
    hardware = hardware_of(load().chip(key[0]))
    tried = [
        (fit(table, rows, hardware, fixed, 1)[0], index) for index, fixed in enumerate(choices(table, key))
    ]
    _, found = fit(table, rows, hardware, list(choices(table, key))[min(tried)[1]], STARTS)
    found = {name: float(f"{value:.4g}") for name, value in sorted(found.items())}
    test = rows.filter(pl.col("held_out"))
    measured_s = test["latency_us"].to_numpy().astype(np.float64) * 1e-6
    error = residual(TABLES[table].predict(test, hardware, found), measured_s)
    op, dtype = row_name(table, key)
    print(table, *key, f"{error.mean_fraction:.2%} (median {error.median_fraction:.2%})", flush=True)
    kernel = rows["kernel"][0] if "kernel" in rows.columns else ""
    source = SOURCES.get(key[1], "aic" if table != "elementwise" and key[0] != "rtx4090" else "llmservingsim")
    row = [op, key[0], key[1], dtype, kernel, FORM[table], found]
    return [*row, f"{error.mean_fraction:.4f}", rows.height, source, "measured"]


def medians(rows: list[list[object]]) -> list[list[object]]:
    """Rows for each family and for any chip."""
    catalog = load()
    groups: dict[tuple[str, ...], list[list[object]]] = defaultdict(list)
    for row in rows:
        for chip in ("generic", catalog.chip(str(row[1])).family):
            groups[str(row[0]), chip, str(row[3])].append(row)
    out = []
    for (op, chip, dtype), members in sorted(groups.items()):
        found = {}
        for name in members[0][6]:  # type: ignore[attr-defined]
            value = float(np.median([member[6][name] for member in members]))  # type: ignore[index]
            found[name] = float(f"{value:.4g}")
        out.append(
            [op, chip, "generic", dtype, "", members[0][5], found, "nan", 0, "operator-fits", "assumption"]
        )
    return out


def write(table: str, rows: list[list[object]]) -> None:
    """The efficiency file of one table."""
    with (TARGET / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            text = " ".join(f"{name}={value:.4g}" for name, value in row[6].items())  # type: ignore[attr-defined]
            writer.writerow([*row[:6], text, *row[7:]])


def main() -> None:
    """Fit the tables named on the command line, or all."""
    for table in sys.argv[1:] or list(TABLES):
        rows = read_table(MEASURED, table)
        group = list(TABLES[table].group)
        jobs = [
            (table, tuple(map(str, key)), part)
            for key, part in sorted(
                rows.group_by(group, maintain_order=True), key=lambda pair: tuple(map(str, pair[0]))
            )
            if part.height >= 12
        ]
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            fitted = list(pool.map(fit_group, jobs))
        write(table, fitted + medians(fitted))


if __name__ == "__main__":
    main()
