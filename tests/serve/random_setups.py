"""Deployments and workloads of every kind by chance, small enough to be served in a moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from tokenroof.catalog.catalog import load
from tokenroof.graph.core import Parallel
from tokenroof.perf.machine import build_machine
from tokenroof.perf.table import StepTable, compile_table
from tokenroof.serve.core import (
    Autoscaler,
    CacheTier,
    Fleet,
    Incident,
    Link,
    PoolSetup,
    Router,
    Scheduler,
    Setup,
    Speculation,
    Stage,
)
from tokenroof.serve.policies.sglang import Sglang
from tokenroof.serve.policies.static import Static
from tokenroof.serve.policies.trtllm import Trtllm
from tokenroof.serve.policies.vllm import Vllm
from tokenroof.serve.routers.least_loaded import LeastLoaded
from tokenroof.serve.routers.power_of_two import PowerOfTwo
from tokenroof.serve.routers.prefix_affinity import PrefixAffinity
from tokenroof.serve.routers.round_robin import RoundRobin
from tokenroof.serve.routers.session_affinity import SessionAffinity
from tokenroof.workload.core import NOBODY, Prefixes, RequestClass, Requests

IntArray = npt.NDArray[np.int64]

WAYS = {
    "one": Parallel(),
    "stages": Parallel(pp=2),
    "more stages": Parallel(pp=4),
    "data parallel": Parallel(dp=2),
    "context parallel": Parallel(tp=2, cp=2),
    "all": Parallel(tp=2, pp=2, dp=2),
}
SEATS, BUDGET = 12, 256
RULES: dict[str, Scheduler] = {
    "vllm": Vllm(max_num_seqs=SEATS, max_num_batched_tokens=BUDGET),
    "vllm, short chunks": Vllm(
        max_num_seqs=SEATS, max_num_batched_tokens=BUDGET, long_prefill_token_threshold=96
    ),
    "vllm, whole prompts": Vllm(
        max_num_seqs=SEATS, max_num_batched_tokens=BUDGET, enable_chunked_prefill=False
    ),
    "sglang": Sglang(max_running_requests=SEATS, chunked_prefill_size=BUDGET, max_prefill_tokens=2 * BUDGET),
    "sglang, mixed": Sglang(max_running_requests=SEATS, chunked_prefill_size=BUDGET, enable_mixed_chunk=True),
    "trtllm": Trtllm(max_batch_size=SEATS, max_num_tokens=BUDGET),
    "trtllm, most use": Trtllm(
        max_batch_size=SEATS, max_num_tokens=BUDGET, capacity_scheduler_policy="MAX_UTILIZATION"
    ),
    "static": Static(max_batch_size=SEATS, batch_timeout_s=0.05),
}
ROUTERS: dict[str, Router] = {
    "round robin": RoundRobin(),
    "least loaded": LeastLoaded(),
    "power of two": PowerOfTwo(),
    "prefix affinity": PrefixAffinity(),
    "session affinity": SessionAffinity(),
}
LINK = Link(bytes_per_s=2e10, latency_s=2e-4, bytes_per_token=131_072.0, overlap_fraction=0.5)
DRAFTS = Speculation(draft_tokens=3, acceptance_fraction=0.6, draft_step_s=1e-3)
TIERS = (
    CacheTier(name="host", blocks=60, bytes_per_s=2e10, latency_s=1e-4),
    CacheTier(name="store", blocks=200, bytes_per_s=1e10, latency_s=1e-3, shared=True, write_through=False),
)


@lru_cache
def table(ways: str = "one", decode_tokens: int = 1) -> StepTable:
    """Llama 3.1 8B on H100s."""
    catalog = load()
    model = catalog.model("llama-3.1-8b")
    machine = build_machine(catalog.chip("h100"), catalog.engine("vllm"))
    return compile_table(
        model,
        model.precision,
        WAYS[ways],
        machine,
        dense_tokens=2 * BUDGET,
        decode_tokens=decode_tokens,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is drawn: names of the tables above, switches, and the seed of the requests.

    Attributes
    ----------
    ways, decode_ways : str
        Sharding; the second is that of decode replicas when prefill is apart.
    rule, router : str
        Batching and routing.
    replicas : int
        Of each pool.
    apart, drafts, tight, graphs, fixed, tiers : bool
        Prefill and decode apart; speculation; hardly any cache; padded graphs; state blocks; tiers.
    load : str
        "open", "closed" or "sessions".
    shared : bool
        Prompts begin alike.
    levels : bool
        Priorities.
    ahead : bool
        Steps are planned while the one before runs, where the rule can.
    interval : int
        Decode steps from one receiving of requests to the next, where the rule can.
    changes : bool
        Replicas fail, are slow, come back; a spare, and one more when many wait.
    seed : int
        Of lengths and times.
    """

    ways: str = "one"
    decode_ways: str = "one"
    rule: str = "vllm"
    router: str = "least loaded"
    replicas: int = 1
    apart: bool = False
    drafts: bool = False
    tight: bool = False
    graphs: bool = False
    fixed: bool = False
    tiers: bool = False
    load: str = "open"
    shared: bool = False
    levels: bool = False
    ahead: bool = False
    interval: int = 1
    changes: bool = False
    seed: int = 0


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Cases of every kind; the simplest first."""
    flag = st.booleans()
    shared = draw(flag)
    return Case(
        ways=draw(st.sampled_from(list(WAYS))),
        decode_ways=draw(st.sampled_from(list(WAYS))),
        rule=draw(st.sampled_from(list(RULES))),
        router=draw(st.sampled_from(list(ROUTERS))),
        replicas=draw(st.integers(1, 3)),
        apart=draw(flag),
        drafts=draw(flag),
        tight=draw(flag),
        graphs=draw(flag),
        fixed=draw(flag),
        tiers=shared and draw(flag),
        load=draw(st.sampled_from(["open", "closed", "sessions"])),
        shared=shared,
        levels=draw(flag),
        ahead=draw(flag),
        interval=draw(st.sampled_from([1, 2, 3, 10])),
        changes=draw(flag),
        seed=draw(st.integers(0, 2**20)),
    )


def fleet(case: Case) -> Fleet:
    """What changes in a case: times are such that nothing else happens at them."""
    if not case.changes:
        return Fleet()
    rng = np.random.default_rng([case.seed, 1])
    last = case.replicas - 1
    ends = range(2 if case.apart else 1)
    incidents = [
        Incident(at_s=rng.uniform(0.1, 1.5), for_s=rng.uniform(0.1, 0.8), pool=pool, replicas=(last,))
        for pool in ends
    ]
    slow = Incident(at_s=rng.uniform(0.1, 1.0), for_s=rng.uniform(0.2, 2.0), slowdown=rng.uniform(1.1, 3.0))
    scaler = Autoscaler(
        signal="queue", target=3.0, most=case.replicas + 1, interval_s=0.31, down_after_s=0.7, pool=0
    )
    return Fleet(
        incidents=(*incidents, slow),
        spares=tuple(int(rng.integers(2)) for _ in ends),
        takeover_s=0.07,
        autoscalers=(scaler,) if rng.random() < 0.5 else (),
        max_retries=2,
    )


def setup(case: Case) -> Setup:
    """The deployment of a case."""
    rule: Any = RULES[case.rule]
    if case.ahead and case.rule != "static":
        rule = replace(rule, async_scheduling=True)
    if case.rule.startswith("sglang"):
        rule = replace(rule, scheduler_recv_interval=case.interval)
    common: dict[str, Any] = {
        "scheduler": rule,
        "replicas": case.replicas,
        "num_blocks": 45 if case.tight else 2000,
        "block_tokens": 16,
        "blocks_per_sequence": 2 if case.fixed else 0,
        "block_bytes": 16 * 131_072.0,
        "prefix_caching": case.shared,
        "start_up_s": 0.13,
        "graph_sizes": (1, 2, 4, 8) if case.graphs else (),
    }
    drafts = DRAFTS if case.drafts else None
    verified = 1 + DRAFTS.draft_tokens if case.drafts else 1
    tiers = TIERS if case.tiers else ()
    if not case.apart:
        both = PoolSetup(table=table(case.ways, verified), speculation=drafts, tiers=tiers, **common)
        pools: tuple[PoolSetup, ...] = (both,)
    else:
        first = PoolSetup(table=table(case.ways), stage=Stage.PREFILL, link=LINK, tiers=tiers, **common)
        common["prefix_caching"] = False
        second = PoolSetup(
            table=table(case.decode_ways, verified),
            stage=Stage.DECODE,
            link=replace(LINK, bytes_per_s=1e10),
            speculation=drafts,
            **common,
        )
        pools = (first, second)
    return Setup(
        pools=pools,
        router=ROUTERS[case.router],
        fleet=fleet(case),
        seed=case.seed,
        record_segments=20_000,
    )


def requests(case: Case, count: int = 60) -> Requests:
    """The workload of a case: bursts and gaps, prompts of 2 to 600 tokens, answers of 1 to 120."""
    rng = np.random.default_rng(case.seed)
    isl = np.exp(rng.uniform(np.log(2.0), np.log(600.0), count)).astype(np.int64)
    osl = np.exp(rng.uniform(0.0, np.log(120.0), count)).astype(np.int64)
    arrival_s = np.cumsum(rng.exponential(0.03, count) * rng.choice([0.01, 1.0, 4.0], count))
    follows, session = np.full(count, NOBODY), np.full(count, NOBODY)
    if case.load == "sessions":
        last: dict[int, int] = {}
        for row in range(count):
            session[row] = row if row < 6 else rng.integers(6 + row // 3)
            mine = int(session[row])
            if mine in last:
                follows[row] = last[mine]
                arrival_s[row] = rng.exponential(0.2)
                isl[row] = min(isl[last[mine]] + osl[last[mine]] + rng.integers(1, 40), 620)
            last[mine] = row
        session = np.unique(session, return_inverse=True)[1].astype(np.int64)
    elif case.load == "closed":
        arrival_s = rng.exponential(0.05, count) * rng.integers(0, 2, count)
    levels = rng.integers(0, 8, count) if case.levels else np.zeros(count, np.int64)
    return Requests(
        arrival_s=arrival_s,
        isl_tokens=isl,
        osl_tokens=osl,
        follows=follows,
        session=session,
        class_index=levels.astype(np.int64),
        classes=tuple(RequestClass(name=str(level), priority=level) for level in range(8)),
        prefixes=_prefixes(rng, isl + osl, follows) if case.shared else None,
        concurrency=9 if case.load == "closed" else None,
    )


def _prefixes(rng: np.random.Generator, tokens: IntArray, follows: IntArray) -> Prefixes:
    """Units of 32 tokens: one of three beginnings, then the own; who follows repeats all of the former."""
    own: list[list[int]] = []
    fresh = 0
    known: dict[tuple[int, int], int] = {}
    for row, length in enumerate(tokens.tolist()):
        units = length // 32
        begin = list(own[follows[row]]) if follows[row] != NOBODY else []
        family, common = int(rng.integers(3)), int(rng.integers(0, 9))
        for at in range(len(begin), units):
            key = (family, at) if at < common and len(begin) == at else (-1 - row, at)
            if key not in known:
                known[key] = fresh
                fresh += 1
            begin.append(known[key])
        own.append(begin[:units])
    start = np.cumsum([0, *(len(some) for some in own)]).astype(np.int64)
    return Prefixes(
        block_tokens=32, start=start, ids=np.array([unit for some in own for unit in some], np.int64)
    )
