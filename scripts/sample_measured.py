"""Draw the compact measured tables in calibration/measured from the full normalised ones.

Run as ``python scripts/sample_measured.py SOURCE_DIR``; the draw depends only on the rows, so it
repeats. What is kept, and why, is written in calibration/README.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl

TARGET = Path(__file__).resolve().parents[1] / "calibration" / "measured"
DTYPES = {"bfloat16": "bf16", "bf16": "bf16", "float16": "bf16"}
CHIPS = {
    "a100_sxm": "a100",
    "h100_sxm": "h100",
    "h200_sxm": "h200",
    "b200_sxm": "b200",
    "b300_sxm": "b300",
    "gb200": "gb200-nvl72",
    "gb300": "gb300-nvl72",
    "l40s": "l40s",
    "rtx_pro_6000_server": "rtx-pro-6000",
    "b60": "arc-b60",
    "rtx4090": "rtx4090",
    "tpu_v6e": "tpu-v6e",
    "mi210": "mi210",
}
CACHE_BYTES = {"a100_sxm": 40e6, "h100_sxm": 50e6, "h200_sxm": 50e6, "b60": 18e6, "l40s": 96e6}
BIG_CACHE_BYTES = 126e6  # B200 and its relatives, RTX PRO 6000
WEIGHT_BYTES = {"bf16": 2.0, "nvfp4": 0.5625, "int4_wo": 0.5}


def named(frame: pl.DataFrame, *dtype_columns: str) -> pl.DataFrame:
    """Our chip, framework and dtype names."""
    frame = frame.filter(pl.col("device").is_in(list(CHIPS)))
    cache = pl.col("device").replace_strict(CACHE_BYTES, default=BIG_CACHE_BYTES, return_dtype=pl.Float64)
    return frame.with_columns(
        cache.alias("cache_bytes"),
        pl.col("device").replace_strict(CHIPS).alias("chip"),
        pl.col("backend").str.split(":").list.first().alias("kernels"),
        *(pl.col(column).cast(pl.String).replace(DTYPES) for column in dtype_columns),
    )


def draw(frame: pl.DataFrame, group: list[str], shape: list[str], limit: int) -> pl.DataFrame:
    """At most ``limit`` rows of each group, half of them held out; latencies to four digits."""
    frame = frame.group_by(group + shape).agg(pl.col("latency_us").mean()).sort(group + shape)
    parts = []
    for part in frame.partition_by(group, maintain_order=True):
        kept = np.sort(np.random.default_rng(20260).permutation(part.height)[:limit])
        held_out = np.random.default_rng(20261).permutation(len(kept)) % 2 == 1
        parts.append(part[kept.tolist()].with_columns(held_out=pl.Series(held_out)))
    out = pl.concat(parts)
    tick = 10.0 ** (pl.col("latency_us").log10().floor() - 3)
    return out.with_columns(
        ((pl.col("latency_us") / tick).round() * tick).cast(pl.Float32),
        *(pl.col(name).cast(pl.Int32) for name in shape if out[name].dtype.is_integer()),
    )


def preferred_kernel(frame: pl.DataFrame, group: list[str]) -> pl.DataFrame:
    """Rows of the most measured kernel of each group."""
    counts = frame.group_by([*group, "kernel"]).len().sort(["len", "kernel"], descending=[True, False])
    return frame.join(
        counts.unique(group, keep="first", maintain_order=True), on=[*group, "kernel"], how="semi"
    )


def gemm(source: Path) -> pl.DataFrame:
    """Products whose benchmarked weights exceed 1.5 caches, so that they come from memory."""
    frame = named(pl.read_parquet(source / "gemm.parquet"), "dtype")
    width = pl.col("dtype").replace_strict(WEIGHT_BYTES, default=1.0, return_dtype=pl.Float64)
    # The benchmark cycles through six copies of the weights, under TensorRT-LLM through one.
    copies = pl.when(pl.col("kernels") == "trtllm").then(1.0).otherwise(6.0)
    cold = pl.col("n").cast(pl.Float64) * pl.col("k") * width * copies > 1.5 * pl.col("cache_bytes")
    big = (pl.col("n") >= 512) & (pl.col("k") >= 512)
    eager = (pl.col("kernels") == "vllm") & (pl.col("dtype") == "fp8_block")
    aic = frame.filter((pl.col("source") == "aiconfigurator") & cold & big & ~eager)
    other = frame.filter(pl.col("device").is_in(["rtx4090", "tpu_v6e", "mi210"]) & big)
    return draw(pl.concat([aic, other]), ["chip", "kernels", "dtype"], ["m", "n", "k"], 4000)


def attention_decode(source: Path) -> pl.DataFrame:
    """Decode attention without a window, over at least 64 tokens."""
    frame = named(pl.read_parquet(source / "attention_decode.parquet"), "q_dtype", "kv_dtype")
    frame = frame.filter(
        (pl.col("source") == "aiconfigurator")
        & (pl.col("window") == 0)
        & (pl.col("context") >= 64)
        & pl.col("head_dim").is_in([64, 128, 256])
    )
    group = ["chip", "kernels", "kv_dtype", "head_dim"]
    return draw(preferred_kernel(frame, group), group, ["batch", "context", "n_q", "n_kv"], 3000)


def attention_prefill(source: Path) -> pl.DataFrame:
    """Whole prompts of at least 64 tokens, without a window."""
    frame = named(pl.read_parquet(source / "attention_prefill.parquet"), "q_dtype", "kv_dtype")
    frame = frame.filter(
        (pl.col("source") == "aiconfigurator")
        & (pl.col("window") == 0)
        & (pl.col("seq_new") >= 64)
        & (pl.col("seq_past") == 0)
        & pl.col("head_dim").is_in([64, 128, 256])
    )
    group = ["chip", "kernels", "q_dtype", "kv_dtype", "head_dim"]
    return draw(preferred_kernel(frame, group), group, ["batch", "seq_new", "n_q", "n_kv"], 1900)


def attention_beyond(source: Path) -> pl.DataFrame:
    """What no fit uses: sliding windows, and prompts over a cached past (vLLM on RTX cards)."""
    parts = []
    for phase, length in (("decode", "context"), ("prefill", "seq_new")):
        frame = named(pl.read_parquet(source / f"attention_{phase}.parquet"), "q_dtype", "kv_dtype")
        if phase == "decode":
            frame = frame.with_columns(seq_past=pl.col("context"), seq_new=pl.lit(1))
        windowed = (pl.col("source") == "aiconfigurator") & (pl.col("window") > 0) & (pl.col(length) >= 64)
        past = (pl.col("source") == "llmservingsim") & (pl.col("seq_past") > 0) & (phase == "prefill")
        frame = frame.filter((windowed | past) & pl.col("head_dim").is_in([64, 128, 256]))
        frame = frame.with_columns(phase=pl.lit(phase)).select(
            "chip", "kernels", "phase", "q_dtype", "kv_dtype", "head_dim", "window", "kernel",
            "batch", "seq_new", "seq_past", "n_q", "n_kv", "latency_us",
        )  # fmt: skip
        group = ["chip", "kernels", "phase", "q_dtype", "kv_dtype", "head_dim", "window"]
        shape = ["batch", "seq_new", "seq_past", "n_q", "n_kv"]
        parts.append(draw(preferred_kernel(frame, group), group, shape, 300))
    return pl.concat(parts)


def mla(source: Path, phase: str) -> pl.DataFrame:
    """Latent attention kernels alone, lengths of at least 64."""
    frame = named(pl.read_parquet(source / f"mla_{phase}.parquet"), "kv_dtype")
    length = "context" if phase == "decode" else "seq_new"
    frame = frame.filter(
        (pl.col("kind") == "attn_kernel") & (pl.col("source") == "aiconfigurator") & (pl.col(length) >= 64)
    )
    return draw(frame, ["chip", "kernels", "kv_dtype"], ["batch", "n_heads_local", length], 1100)


def moe(source: Path) -> pl.DataFrame:
    """Layers of gated or plain experts, all on one chip."""
    frame = named(pl.read_parquet(source / "moe.parquet"), "dtype")
    frame = frame.filter((pl.col("ep") == 1) & ~pl.col("kernel").str.contains("nongated"))
    group = ["chip", "kernels", "dtype"]
    shape = ["kernel", "tokens", "hidden", "inter", "topk", "experts", "tp", "distribution"]
    return draw(preferred_kernel(frame, group), group, shape, 2600)


def recurrent(source: Path) -> pl.DataFrame:
    """Linear attention without its convolution."""
    frame = named(pl.read_parquet(source / "linear_attention.parquet"))
    frame = frame.filter(
        pl.col("table").is_in(["gdn", "kda"])
        & pl.col("phase").is_in(["context", "generation"])
        & ~pl.col("kernel").str.contains("conv")
    ).with_columns(
        pl.col("table").replace_strict({"gdn": "gated_delta_net", "kda": "kimi_delta"}).alias("kind"),
        (pl.col("phase") == "generation").alias("decode"),
        pl.col("seq").cast(pl.Int64).alias("seq_new"),
    )
    group = ["chip", "kernels", "kind", "decode"]
    shape = ["batch", "seq_new", "n_v_heads", "head_k", "head_v"]
    return draw(preferred_kernel(frame, group), group, shape, 1000)


def elementwise(source: Path) -> pl.DataFrame:
    """Norms and activations timed as kernels alone; bytes as the benchmarked layers move them."""
    frame = pl.read_parquet(source / "elementwise.parquet")
    kernel_only = pl.col("method").is_in(["vllm_profiler", "frontier_kernel_only"])
    rounded = (pl.col("method") == "vidur_kernel_sum") & (pl.col("op") == "add") & (pl.col("latency_us") >= 5)
    wide = {"act_fn": 3, "mlp_act": 3}
    tall = {
        "add": 3,
        "layernorm": 4,
        "final_layernorm": 2,
        "input_layernorm": 2,
        "post_attention_layernorm": 2,
    }
    frame = frame.filter(
        (kernel_only | rounded)
        & pl.col("op").is_in([*wide, *tall])
        & pl.col("device").is_in(["rtx_pro_6000_server", "rtx4090", "a100_sxm", "h100_sxm", "a40"])
    ).with_columns(
        pl.col("device").replace_strict({**CHIPS, "a40": "a40"}).alias("chip"),
        pl.col("source").replace_strict({"llmservingsim": "vllm", "vidur": "torch"}).alias("kernels"),
        pl.when(pl.col("op").is_in(list(wide)))
        .then(pl.col("tokens") * pl.col("inter") / pl.col("tp") * 3 * 2)
        .otherwise(pl.col("tokens") * pl.col("hidden") * pl.col("op").replace_strict(tall, default=0) * 2)
        .cast(pl.Float64)
        .alias("moved_bytes"),
    )
    return draw(frame.filter(pl.col("moved_bytes") > 0), ["chip", "kernels"], ["op", "moved_bytes"], 2000)


def best_forms(source: Path) -> pl.DataFrame:
    """Held-out error of the best form that the first operator study found for each group."""
    parts = []
    for name, op, dtype in (
        ("gemm", pl.lit("gemm"), pl.col("dtype").replace({**DTYPES, "sq": "int8"})),
        (
            "decode",
            pl.lit("attention_decode"),
            pl.format("{}/hd128", pl.col("kv").replace(DTYPES)),
        ),
        (
            "prefill",
            pl.lit("attention_prefill"),
            pl.format("{}/{}/hd{}", pl.col("q").replace(DTYPES), pl.col("kv").replace(DTYPES), "hd"),
        ),
        ("mla", pl.format("mla_{}", "op"), pl.col("kv").replace(DTYPES)),
        ("moe", pl.lit("moe"), pl.col("dtype").replace(DTYPES)),
    ):
        frame = pl.read_csv(source / "fits" / f"{name}.csv").filter(
            pl.col("device").is_in(list(CHIPS)) & pl.col("fw").is_in(["vllm", "sglang", "trtllm"])
        )
        errors = [column for column in frame.columns if column.endswith("_mape") and column != "naive_mape"]
        parts.append(
            frame.select(
                op=op,
                chip=pl.col("device").replace_strict(CHIPS),
                kernels="fw",
                dtype=dtype,
                error_fraction=(pl.min_horizontal(errors) / 100).round(4),
            )
        )
    return pl.concat(parts).unique(["op", "chip", "kernels", "dtype"], keep="first", maintain_order=True)


def main() -> None:
    """Read the tables of the directory named on the command line, write the compact ones."""
    source = Path(sys.argv[1])
    TARGET.mkdir(parents=True, exist_ok=True)
    tables = {
        "gemm": gemm(source),
        "attention_decode": attention_decode(source),
        "attention_prefill": attention_prefill(source),
        "attention_beyond": attention_beyond(source),
        "mla_decode": mla(source, "decode"),
        "mla_prefill": mla(source, "prefill"),
        "moe": moe(source),
        "recurrent": recurrent(source),
        "elementwise": elementwise(source),
    }
    best_forms(source).write_csv(TARGET / "operators_best_form.csv")
    for name, table in tables.items():
        table.write_parquet(TARGET / f"{name}.parquet", compression="zstd", compression_level=19)


if __name__ == "__main__":
    main()
