"""Speed of simulation, printed as a table: part of `make bench`. `--mooncake FILE` takes a whole trace.

Requests of 512 prompt and 256 output tokens, Poisson at 70 % of what a replica of Llama-3.1-8B on one
H100 completes when everything is there at once. "with all metrics" is from requests to every metric.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np

from tokenroof.catalog.catalog import load
from tokenroof.deploy.capacity import capacity
from tokenroof.deploy.core import Pool
from tokenroof.graph.core import Parallel
from tokenroof.perf.machine import build_machine
from tokenroof.perf.table import StepTable, compile_table
from tokenroof.serve.core import PoolSetup, Setup
from tokenroof.serve.metrics import measure
from tokenroof.serve.policies.vllm import Vllm
from tokenroof.serve.results import Run
from tokenroof.serve.routers.least_loaded import LeastLoaded
from tokenroof.serve.run import simulate
from tokenroof.workload.arrivals import AllAtOnce, Poisson
from tokenroof.workload.core import Requests, RequestShape
from tokenroof.workload.lengths import Fixed
from tokenroof.workload.pairs import Independent
from tokenroof.workload.readers import read_trace
from tokenroof.workload.synthetic import OpenLoop, Traffic

ISL, OSL, LOAD = 512, 256, 0.7
GROWTH = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)


def one_pool(replicas: int = 1, *, prefix_caching: bool = False) -> Setup:
    """Replicas of Llama-3.1-8B on one H100 each, vLLM's rule."""
    catalog = load()
    model, engine, chip = catalog.model("llama-3.1-8b"), catalog.engine("vllm"), catalog.chip("h100")
    pool = Pool(chip=chip, engine=engine, parallel=Parallel())
    table: StepTable = compile_table(model, model.precision, Parallel(), build_machine(chip, engine))
    held = capacity(pool, model, model.precision, RequestShape(isl_tokens=ISL, osl_tokens=OSL))
    return Setup(
        pools=(
            PoolSetup(
                table=table,
                scheduler=Vllm(max_num_seqs=256, max_num_batched_tokens=8192, async_scheduling=True),
                replicas=replicas,
                num_blocks=held.kv_blocks,
                block_tokens=held.block_tokens,
                prefix_caching=prefix_caching,
            ),
        ),
        router=LeastLoaded(),
    )


def traffic(count: int, rate_per_s: float | None) -> Requests:
    """So many requests, at a rate or all at once."""
    lengths = Independent(isl=Fixed(tokens=ISL), osl=Fixed(tokens=OSL))
    arrivals = AllAtOnce() if rate_per_s is None else Poisson(rate_per_s=rate_per_s)
    return OpenLoop(arrivals=arrivals, mix=(Traffic(lengths=lengths),), num_requests=count).requests(0)


def saturation_per_s(setup: Setup) -> float:
    """Requests per second that one replica completes when all are there."""
    run = simulate(setup, traffic(20_000, None))
    return len(run.log) / run.end_s


def timed(setup: Setup, requests: Requests, runs: int = 6) -> tuple[float, Run]:
    """Shortest time of a simulation with all its metrics, and its outcome. [s]"""
    best, run = np.inf, None
    for _ in range(runs):
        start = time.perf_counter()
        run = simulate(setup, requests)
        measure(run)
        best = min(best, time.perf_counter() - start)
    assert run is not None
    return float(best), run


def in_process(what: str) -> float:
    """A figure that needs a fresh process."""
    with tempfile.TemporaryDirectory() as cache:
        variables = {**os.environ, "XDG_CACHE_HOME": cache} if what == "--compile" else dict(os.environ)
        done = subprocess.run(
            [sys.executable, __file__, what], env=variables, check=True, capture_output=True, text=True
        )
        return float(done.stdout)


def memory_per_request() -> float:
    """Bytes per request at the peak, the requests themselves included, as Python traces them. [bytes]"""
    setup, count = one_pool(), 1_000_000
    measure(simulate(setup, traffic(1000, 10.0)))
    tracemalloc.start()
    measure(simulate(setup, traffic(count, 20.0)))
    return tracemalloc.get_traced_memory()[1] / count


def compile_s() -> float:
    """The first simulation of a process without a cache. [s]"""
    setup, requests = one_pool(), traffic(10, 1.0)
    start = time.perf_counter()
    simulate(setup, requests)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mooncake", default="mooncake-conversation-sample")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--compile", action="store_true")
    asked = parser.parse_args()
    if asked.memory:
        print(memory_per_request())
        return
    if asked.compile:
        print(compile_s())
        return
    setup = one_pool()
    rate = LOAD * saturation_per_s(setup)
    rows: list[tuple[str, float, str, float | None]] = []
    for count in GROWTH:
        best, run = timed(setup, traffic(count, rate), runs=1 if count > 1_000_000 else 6)
        limit = 1.0 if count == 1_000_000 else None
        rows.append((f"{count:,} requests, one replica, with all metrics", best, "s", limit))
        if count == 1_000_000:
            rows.append(("  events of these, each", best / run.events * 1e9, "ns", None))
    best, _ = timed(one_pool(32), traffic(1_000_000, 32 * rate))
    rows.append(("1,000,000 requests, 32 replicas, least loaded", best, "s", 5.0))
    trace = read_trace(asked.mooncake).requests(0)
    best, run = timed(one_pool(8, prefix_caching=True), trace)
    hits = run.log.cached_tokens.sum() / run.log.isl_tokens.sum()
    name = Path(asked.mooncake).stem
    rows.append((f"{name}, {len(trace):,} requests, prefix cache", best, "s", 1.0))
    rows.append(("  prompt tokens found in the cache", float(hits), "", None))
    crawling, _ = timed(replace(setup, crawl=True), traffic(100_000, rate))
    rows.append(("100,000 requests step by step (crawling)", crawling, "s", None))
    rows.append(("memory of a request", in_process("--memory"), "bytes", 500.0))
    rows.append(("first call without a cache: compilation", in_process("--compile"), "s", 20.0))
    print(f"\nrate: {rate:.1f} requests/s and replica ({LOAD:.0%} of saturation)")
    print(f"{'what':62}{'measured':>12} {'unit':6}{'asked':>10}")
    for what, value, unit, limit in rows:
        verdict = "" if limit is None else ("ok" if value < limit else "MISSED")
        shown = "" if limit is None else f"< {limit:,.4g}"
        print(f"{what:62}{value:>12,.4g} {unit:6}{shown:>10}  {verdict}")


if __name__ == "__main__":
    main()
