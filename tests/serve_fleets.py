"""Small deployments and requests that the tests of routers and fleets share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tokenroof.catalog.catalog import load
from tokenroof.graph.core import Parallel
from tokenroof.perf.machine import build_machine
from tokenroof.perf.table import StepTable, compile_table
from tokenroof.serve.core import Fleet, Link, PoolSetup, Router, Setup, Stage
from tokenroof.serve.policies.vllm import Vllm
from tokenroof.serve.routers.least_loaded import LeastLoaded
from tokenroof.workload.core import NOBODY, Prefixes, Requests


@lru_cache
def table() -> StepTable:
    catalog = load()
    model = catalog.model("llama-3.1-8b")
    machine = build_machine(catalog.chip("h100"), catalog.engine("vllm"))
    return compile_table(model, model.precision, Parallel(), machine, dense_tokens=512)


def pool(replicas: int = 1, **fields: Any) -> PoolSetup:
    """Replicas of an 8B model on one H100 each, with a small engine."""
    known: dict[str, Any] = {
        "table": table(),
        "scheduler": Vllm(max_num_seqs=16, max_num_batched_tokens=512),
        "num_blocks": 2_000,
        "start_up_s": 2.0,
    }
    return PoolSetup(replicas=replicas, **{**known, **fields})


def apart(prefill: int, decode: int, **fields: Any) -> tuple[PoolSetup, PoolSetup]:
    """Prefill and decode replicas; a hand-off of 1,000 tokens takes 13 ms."""
    link = Link(bytes_per_s=1e10, latency_s=1e-4, bytes_per_token=131_072.0)
    first = pool(prefill, stage=Stage.PREFILL, link=link, **fields)
    return first, pool(decode, stage=Stage.DECODE, link=link, **fields)


def setup(
    *pools: PoolSetup, router: Router | None = None, fleet: Fleet | None = None, **fields: Any
) -> Setup:
    return Setup(pools=pools or (pool(),), router=router or LeastLoaded(), fleet=fleet or Fleet(), **fields)


def requests(
    arrival_s: Sequence[float],
    isl: Sequence[int] | int,
    osl: Sequence[int] | int,
    *,
    session: Sequence[int] | None = None,
    units: Sequence[Sequence[int]] | None = None,
    unit_tokens: int = 16,
    concurrency: int | None = None,
) -> Requests:
    """Requests that follow nobody; ``units`` are identities of their leading blocks."""
    count = len(arrival_s)
    prefixes = None
    if units is not None:
        start = np.cumsum([0, *(len(some) for some in units)])
        ids = np.array([each for some in units for each in some], np.int64)
        prefixes = Prefixes(block_tokens=unit_tokens, start=start.astype(np.int64), ids=ids)
    return Requests(
        arrival_s=np.array(arrival_s, np.float64),
        isl_tokens=np.broadcast_to(np.array(isl, np.int64), count).copy(),
        osl_tokens=np.broadcast_to(np.array(osl, np.int64), count).copy(),
        follows=np.full(count, NOBODY),
        session=np.full(count, NOBODY) if session is None else np.array(session, np.int64),
        class_index=np.zeros(count, np.int64),
        prefixes=prefixes,
        concurrency=concurrency,
    )


def poisson(count: int, rate_per_s: float, isl: int, osl: int, seed: int = 0, **fields: Any) -> Requests:
    """By chance, lengths between half and one and a half times these."""
    rng = np.random.default_rng(seed)
    lengths = [rng.integers(max(1, mean // 2), 3 * mean // 2 + 1, count).tolist() for mean in (isl, osl)]
    times = np.cumsum(rng.exponential(1.0 / rate_per_s, count)).tolist()
    return requests(times, *lengths, **fields)
