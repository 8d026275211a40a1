"""Small questions for the tests of planning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tokenroof.catalog.catalog import load
from tokenroof.graph.core import Parallel
from tokenroof.search.asked import Question, Space, Target
from tokenroof.workload.arrivals import Poisson
from tokenroof.workload.core import Workload
from tokenroof.workload.lengths import Fixed
from tokenroof.workload.pairs import Independent
from tokenroof.workload.synthetic import OpenLoop, Traffic

CATALOG = load()
ENGINE = CATALOG.engine("vllm")
TTFT = Target(latency="ttft", limit_s=1.0)
TPOT = Target(latency="tpot", limit_s=0.03, quantile=0.95)


def traffic(rate_per_s: float, isl: int = 1000, osl: int = 100) -> Workload:
    """Requests of one length at a rate, for long enough that the first ones do not matter."""
    count = max(300, round(20 * rate_per_s))
    mix = (Traffic(lengths=Independent(isl=Fixed(tokens=isl), osl=Fixed(tokens=osl))),)
    return OpenLoop(arrivals=Poisson(rate_per_s=rate_per_s), mix=mix, num_requests=count)


def small_space(**given: Any) -> Space:
    """Few layouts and one set of limits, so that everything can be simulated."""
    usual: dict[str, Any] = {
        "engines": (ENGINE,),
        "parallels": (Parallel(tp=1), Parallel(tp=2)),
        "max_num_seqs": (256,),
        "max_num_batched_tokens": (8192,),
        "disaggregated": False,
    }
    return Space(**(usual | given))


def question(*chips: str, rate: float = 20.0, model: str = "llama-3.1-8b", **given: Any) -> Question:
    """A question about a small model."""
    usual: dict[str, Any] = {
        "model": CATALOG.model(model),
        "workload": traffic(rate),
        "chips": tuple(CATALOG.chip(name) for name in chips or ("h100",)),
        "space": small_space(),
        "targets": (TTFT, TPOT),
    }
    return Question(**(usual | given))


def slower(target: Target, factor: float) -> Target:
    """The same target with another limit."""
    return replace(target, limit_s=target.limit_s * factor)
