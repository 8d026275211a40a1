"""Draw ``calibration/measured/power.parquet`` from the full table of measured board power.

Run as ``python scripts/sample_power.py SOURCE_DIR``; the draw is seeded, so it repeats. What is kept, and
why, is written in docs/energy-accuracy.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl

from tokenroof.calibrate.power import CACHE_FOOTPRINTS, WHOLE_LOOP_US

TARGET = Path(__file__).resolve().parents[1] / "calibration" / "measured" / "power.parquet"
CACHE_BYTES = 126e6
WIDE_BYTES = 2.0
OPS = {
    "generation_attention_perf": "attention_decode",
    "context_attention_perf": "attention_prefill",
    "moe_perf": "moe",
}
WIDTHS = {"bfloat16": 2.0, "fp8": 1.0, "fp8_block": 1.0}
KEPT = {"fitted": 1500, "short loop": 500, "other kernel": 300}
"""Most rows of an operator: of calls that a fit may use; of those whose loop was too short for the power
meter; of kernels and head dimensions outside the operator formulas."""


def shaped(frame: pl.DataFrame) -> pl.DataFrame:
    """Arithmetic, traffic and the sides of the matrix products, by the conventions of ``tokenroof.graph``."""
    width = pl.col("dtype").replace_strict(WIDTHS, return_dtype=pl.Float64)
    whole = {name: pl.col(name).cast(pl.Float64) for name in frame.columns if frame[name].dtype.is_integer()}
    batch, q, kv, head_dim, window = (whole[key] for key in ("batch", "n_q", "n_kv", "head_dim", "window"))
    new, context = whole["isl"], whole["step"] + 1.0
    limit = pl.when(window > 0).then(window).otherwise(1e12)
    seen, growing = pl.min_horizontal(context, limit), pl.min_horizontal(new, limit)
    pairs = growing * (growing + 1.0) / 2.0 + (new - growing) * growing
    experts, hidden, topk = whole["experts"], whole["hidden"], whole["topk"]
    inter = whole["inter"] / pl.max_horizontal(whole["tp"], 1)
    active = experts * (1.0 - (1.0 - topk / experts).pow(whole["tokens"]))
    routed = whole["tokens"] * topk
    values = {
        "attention_decode": {
            "flop": 4.0 * batch * q * head_dim * seen,
            "bytes": batch * head_dim * (2.0 * seen * kv * width + 2.0 * WIDE_BYTES * q),
            "rows": q / kv,
            "keys": seen,
        },
        "attention_prefill": {
            "flop": 4.0 * batch * q * head_dim * pairs,
            "bytes": 2.0 * batch * new * head_dim * (WIDE_BYTES * (q + kv) + width * kv),
            "rows": new,
            "keys": pairs / new,
        },
        "moe": {
            "flop": 6.0 * routed * hidden * inter,
            "bytes": 3.0 * active * hidden * inter * width
            + routed * (width * (hidden + inter) + WIDE_BYTES * (5.0 * inter + 2.0 * hidden)),
            "rows": routed / active,
            "keys": pl.lit(0.0),
        },
    }
    parts = []
    for op, columns in values.items():
        part = frame.filter(pl.col("op") == op)
        side = pl.col("experts" if op == "moe" else "head_dim").cast(pl.String)
        family = pl.concat_str(side, pl.lit(" experts" if op == "moe" else " wide"))
        parts.append(part.with_columns(**columns).with_columns(family=family))
    return pl.concat(parts)


def main() -> None:
    """Read the table of the directory named on the command line, write the compact one."""
    frame = pl.read_parquet(Path(sys.argv[1]) / "power_b200.parquet")
    frame = frame.filter(pl.col("dtype").is_in(list(WIDTHS)) & (pl.col("ep") <= 1))
    frame = shaped(frame.with_columns(op=pl.col("table").replace_strict(OPS)))
    usual = (pl.col("kernel") != "vllm_triton_attn") & pl.col("head_dim").is_in([0, 64, 128, 256])
    # Decode and experts re-read what they stream; small sets come from the last-level cache.
    cold = (pl.col("op") == "attention_prefill") | (pl.col("bytes") > CACHE_FOOTPRINTS * CACHE_BYTES)
    frame = frame.with_columns(
        dtype=pl.col("dtype").replace({"bfloat16": "bf16"}),
        part=pl.when(~usual)
        .then(pl.lit("other kernel"))
        .when((pl.col("latency_us") < WHOLE_LOOP_US) | ~cold)
        .then(pl.lit("short loop"))
        .otherwise(pl.lit("fitted")),
    ).filter((pl.col("part") != "other kernel") | (pl.col("latency_us") >= WHOLE_LOOP_US))
    columns = ("op", "part", "dtype", "family", "latency_us", "flop", "bytes", "rows", "keys", "power_w")
    frame = frame.select(columns).sort(columns)
    drawn = []
    for (_, part), rows in frame.group_by("op", "part", maintain_order=True):
        kept = np.sort(np.random.default_rng(20264).permutation(rows.height)[: KEPT[str(part)]])
        drawn.append(rows[kept.tolist()])
    numbers = [pl.col(name).round_sig_figs(4).cast(pl.Float32) for name in columns[4:]]
    pl.concat(drawn).with_columns(numbers).write_parquet(TARGET, compression="zstd", compression_level=19)


if __name__ == "__main__":
    main()
