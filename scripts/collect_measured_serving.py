"""Write calibration/measured_serving/traces.parquet from the request logs that its README names.

Run as ``python scripts/collect_measured_serving.py SOURCE_DIR``: SOURCE_DIR has one CSV (or .csv.gz) per
run of ``runs.csv``, by the name in its column ``file``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl

from tokenroof.workload.readers import Trace, read_trace

TARGET = Path(__file__).resolve().parents[1] / "calibration" / "measured_serving"


def columns(source: Path, name: str) -> pl.DataFrame:
    """One run: whole microseconds and tokens, requests that failed left out."""
    trace = read_trace(source)
    assert isinstance(trace, Trace), f"{source} is not a log of measured requests"
    requests = trace.requests(seed=0)
    micro = {
        "arrival_us": requests.arrival_s,
        "ttft_us": trace.measured["ttft_s"],
        "e2e_us": trace.measured["e2e_s"],
    }
    return pl.DataFrame(
        {
            "run": pl.Series([name] * len(requests), dtype=pl.Categorical),
            "isl_tokens": requests.isl_tokens.astype(np.int16),
            "osl_tokens": requests.osl_tokens.astype(np.int16),
            **{label: np.rint(1e6 * values).astype(np.int32) for label, values in micro.items()},
        }
    )


def main(source: Path) -> None:
    """Write the table."""
    runs = pl.read_csv(TARGET / "runs.csv")
    frames = [columns(source / file, name) for name, file in runs.select("name", "file").iter_rows()]
    pl.concat(frames).write_parquet(TARGET / "traces.parquet", compression="zstd", compression_level=19)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
