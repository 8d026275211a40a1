"""Draw the compact tables of measured collectives in calibration/measured from the full ones.

Run as ``python scripts/sample_collectives.py SOURCE_DIR FITS_CSV``. Kept: the newest version of each
implementation on each chip and group size, run under CUDA graphs or by the library itself; rows
timed without graphs (host launches included) and rows of multi-node Ethernet are left out.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import polars as pl

TARGET = Path(__file__).resolve().parents[1] / "calibration" / "measured"
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
    "h100_dgx": "h100",
    "a100_dgx": "a100",
}
KERNELS = {
    "NCCL(nccl-tests)": "nccl",
    "NCCL(torch) devs/node=2": "nccl",
    "oneCCL": "oneccl",
    "vLLM_custom_graph": "vllm",
    "SGLang_CustomAllReduce_graph": "sglang",
    "TRTLLM": "trtllm",
    "TRTLLM_MNNVL_oneshot": "trtllm",
    "TRTLLM_MNNVL_twoshot": "trtllm",
}
OWNER = {
    "nccl": ("nccl", "torch"),
    "oneccl": ("oneccl",),
    "vllm": ("vllm",),
    "sglang": ("sglang",),
    "trtllm": ("trtllm",),
}
SERIES = ["chip", "kernels", "kind", "group"]
MIN_TOPK, MIN_EXPERTS = 4, 64
"""Fine-grained mixtures: what expert parallelism serves; coarser ones scatter the exchanges' times."""
GPUS = {"gb200": 4, "gb300": 4}


def version_key(version: str) -> list[int]:
    """Numbers of a version, to compare."""
    return [int(number) for number in re.findall(r"\d+", version)]


def newest(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Rows of the newest version of each series."""
    parts = []
    for part in frame.partition_by(keys):
        last = max(part["version"].unique().to_list(), key=version_key)
        parts.append(part.filter(pl.col("version") == last))
    return pl.concat(parts)


def short(column: str) -> pl.Expr:
    """Latencies to four digits."""
    tick = 10.0 ** (pl.col(column).cast(pl.Float64).log10().floor() - 3)
    return ((pl.col(column) / tick).round() * tick).cast(pl.Float32).alias(column)


def collectives(source: Path) -> pl.DataFrame:
    """Series of the collectives of libraries and frameworks."""
    frame = pl.read_parquet(source / "collectives.parquet")
    owner = pl.col("backend").str.split(":").list.first().str.split(".").list.first()
    torch = pl.col("impl") == "NCCL(torch) devs/node=2"
    frame = frame.filter(
        pl.col("device").is_in(list(CHIPS))
        & pl.col("impl").is_in(list(KERNELS))
        & (~torch | ((pl.col("op") == "send_recv") & (pl.col("n_gpus") == 2)))
    ).with_columns(
        pl.col("device").replace_strict(CHIPS).alias("chip"),
        pl.col("impl").replace_strict(KERNELS).alias("kernels"),
        pl.col("op").replace({"alltoall": "all_to_all"}).alias("kind"),
        pl.col("n_gpus").alias("group"),
        pl.col("backend").alias("version"),
        pl.col("bytes").cast(pl.Int64).alias("message_bytes"),
        owner.alias("owner"),
    )
    own = pl.concat(
        [frame.filter((pl.col("kernels") == k) & pl.col("owner").is_in(v)) for k, v in OWNER.items()]
    )
    # The library's own sweep of send and receive is dense: keep one size per quarter of a doubling.
    bucket = (pl.col("message_bytes").log(2) * 4).floor()
    own = own.with_columns(
        pl.when(pl.col("owner") == "torch")
        .then(bucket)
        .otherwise(pl.col("message_bytes").cast(pl.Float64))
        .alias("bucket")
    )
    own = newest(own, SERIES)
    # One- and two-shot kernels of one framework: it runs the faster. Repeats of one size: the median.
    repeats = own.group_by([*SERIES, "version", "impl", "bucket"]).agg(
        pl.col("message_bytes").median().cast(pl.Int64), pl.col("latency_us").median()
    )
    out = repeats.group_by([*SERIES, "version", "message_bytes"]).agg(pl.col("latency_us").min())
    out = out.sort([*SERIES, "message_bytes"]).with_columns(short("latency_us"))
    return out.filter(pl.len().over(SERIES) >= 6)


def destination_ranks(experts: int, topk: int, group: int) -> float:
    """Expected distinct ranks among the experts of a token (hypergeometric)."""
    local = experts // group
    return group * (1.0 - math.comb(experts - local, topk) / math.comb(experts, topk))


def exchanges(source: Path) -> pl.DataFrame:
    """Dispatch and combine of mixtures of experts; the time is the faster of the implementation's modes."""
    frame = pl.read_parquet(source / "moe_alltoall.parquet").filter(pl.col("device").is_in(list(CHIPS)))
    low = frame.filter(pl.col("table") == "wideep_deepep_ll_perf")
    bulk = frame.filter((pl.col("table") == "wideep_deepep_normal_perf") & (pl.col("dispatch_sms") == 24))
    parts = []
    for part, prefix, suffix in ((low, "", "_avg_t_us"), (bulk, "", "_transmit_us")):
        for phase, width in (("dispatch", 1.0), ("combine", 2.0)):
            parts.append(
                part.select(
                    "device",
                    kernels=pl.lit("deepep"),
                    version="backend",
                    phase=pl.lit(phase),
                    group=pl.col("device").replace_strict(GPUS, default=8, return_dtype=pl.Int32),
                    tokens="num_token",
                    hidden="hidden_size",
                    topk="num_topk",
                    experts="num_experts",
                    value_bytes=pl.lit(width),
                    latency_us=pl.col(f"{prefix}{phase}{suffix}"),
                )
            )
    nvlink = frame.filter((pl.col("table") == "trtllm_alltoall_perf") & (pl.col("moe_dtype") == "fp8"))
    keys = ["device", "backend", "kernel", "num_tokens", "hidden_size", "topk", "num_experts", "moe_ep_size"]
    wide = (
        nvlink.group_by([*keys, "op"])
        .agg(pl.col("latency").mean())
        .pivot(on="op", index=keys, values="latency")
    )
    for phase, width, value in (
        ("dispatch", 1.0, pl.col("alltoall_prepare") + pl.col("alltoall_dispatch")),
        ("combine", 2.0, pl.col("alltoall_combine")),
    ):
        parts.append(
            wide.select(
                "device",
                kernels=pl.lit("trtllm"),
                version="backend",
                phase=pl.lit(phase),
                group=pl.col("moe_ep_size").cast(pl.Int32),
                tokens="num_tokens",
                hidden="hidden_size",
                topk="topk",
                experts="num_experts",
                value_bytes=pl.lit(width),
                latency_us=value * 1e3,
            )
        )
    shape = ["kernels", "version", "phase", "group", "tokens", "hidden", "topk", "experts", "value_bytes"]
    out = pl.concat([part.with_columns(pl.col("latency_us").cast(pl.Float64)) for part in parts]).drop_nulls()
    out = out.with_columns(
        pl.col("device").replace_strict(CHIPS).alias("chip"),
        *(pl.col(name).cast(pl.Int32) for name in ("tokens", "topk")),
    ).filter(
        (pl.col("experts") % pl.col("group") == 0)
        & (pl.col("topk") >= MIN_TOPK)
        & (pl.col("experts") >= MIN_EXPERTS)
    )
    out = out.group_by(["chip", *shape]).agg(pl.col("latency_us").min())
    ranks = [destination_ranks(e, k, g) for e, k, g in out.select("experts", "topk", "group").iter_rows()]
    sent = pl.Series("ranks", ranks) * out["tokens"] * out["hidden"] * out["value_bytes"]
    return out.with_columns(sent.round().cast(pl.Int64).alias("message_bytes"), short("latency_us")).sort(
        "chip", *shape
    )


def best_forms(path: Path, kept: pl.DataFrame) -> pl.DataFrame:
    """Held-out error of the best of the three forms of an earlier study, for the series that we keep."""
    frame = pl.read_csv(path).with_columns(
        pl.col("device").replace_strict(CHIPS, default=None).alias("chip"),
        pl.col("impl").replace_strict(KERNELS, default=None).alias("kernels"),
        pl.col("op").replace({"alltoall": "all_to_all"}).alias("kind"),
        pl.col("n_gpus").cast(pl.Int32).alias("group"),
        pl.col("backend").alias("version"),
        (pl.min_horizontal("ab_mape", "pn_mape", "ab2_mape") / 100)
        .round(4)
        .alias("best_form_error_fraction"),
    )
    series = kept.select([*SERIES, "version"]).unique()
    found = series.join(
        frame.select([*SERIES, "version", "best_form_error_fraction"]), on=[*SERIES, "version"], how="inner"
    )
    return found.group_by(SERIES).agg(pl.col("best_form_error_fraction").min()).sort(SERIES)


if __name__ == "__main__":
    source, fits = Path(sys.argv[1]), Path(sys.argv[2])
    kept = collectives(source)
    kept.write_parquet(TARGET / "collectives.parquet", compression="zstd", compression_level=19)
    exchanges(source).write_parquet(TARGET / "moe_alltoall.parquet", compression="zstd", compression_level=19)
    best_forms(fits, kept).write_csv(TARGET / "collectives_best_form.csv")
