"""Plans written by hand: plausible numbers, no formula of the package behind them."""

from dataclasses import replace

import by_hand

from tokenroof.catalog.model import Precision
from tokenroof.deploy.core import Deployment, Infeasible, Metric, Pool, Role
from tokenroof.deploy.simulated.question import Serving
from tokenroof.graph.core import Parallel
from tokenroof.search.asked import Limits, Load, Objective, Question, Space, Target
from tokenroof.search.core import (
    Candidate,
    Check,
    Choice,
    Fewer,
    LowerBound,
    PlanResult,
    PoolPlan,
    Rejected,
)
from tokenroof.workload.arrivals import Poisson
from tokenroof.workload.lengths import Fixed
from tokenroof.workload.pairs import Independent
from tokenroof.workload.synthetic import OpenLoop, Traffic

TTFT = Target(latency="ttft", limit_s=1.0)
TPOT = Target(latency="tpot", limit_s=0.04, quantile=0.95)
FP8 = Precision(weights="fp8", experts="fp8", embedding="bf16", activations="fp8", kv="fp8")
CHIPS = tuple(
    by_hand.chip(name, bf16=9.9e14, fp8=1.98e15, bandwidth=3.35e12, capacity=8e10)
    for name in ("h100", "h200", "b200")
)
UNITS = {
    "usd_per_mtok_input": "USD/Mtok",
    "usd_per_mtok_output": "USD/Mtok",
    "output_tokens_per_s_per_chip": "tokens/s",
    "output_tokens_per_s_per_user": "tokens/s",
    "energy_j_per_output_token": "J",
}


def pool_plan(chip: str, *, role: Role = Role.BOTH, tp: int = 8) -> PoolPlan:
    return PoolPlan(
        role=role,
        chip=chip,
        engine="vllm",
        parallel=Parallel(tp=tp),
        max_num_seqs=256,
        max_num_batched_tokens=8192,
    )


def candidate(*pools: PoolPlan) -> Candidate:
    return Candidate(precision=FP8, pools=pools)


def check(target: Target, value: float) -> Check:
    return Check(target=target, value=value, low=0.8 * value, high=1.5 * value)


def choice(
    *pools: PoolPlan,
    replicas: tuple[int, ...],
    usd_per_hour: float | None = 120.0,
    cost: float = 0.4171,
    ttft_s: float = 0.71,
    tpot_s: float = 0.031,
    spares: int = 0,
) -> Choice:
    """A deployment; ``cost`` is that of a million tokens."""
    found = candidate(*pools)
    by_name = {each.name: each for each in CHIPS}
    chips = sum(pool.parallel.chips * count for pool, count in zip(pools, replicas, strict=True))
    values = {
        "usd_per_mtok_input": 0.6 * cost,
        "usd_per_mtok_output": 2.2 * cost,
        "output_tokens_per_s_per_chip": 16_000 / chips,
        "output_tokens_per_s_per_user": 0.8 / tpot_s,
        "energy_j_per_output_token": 1.25,
    }
    return Choice(
        candidate=found,
        deployment=Deployment(
            model=by_hand.MODEL,
            precision=FP8,
            pools=tuple(
                Pool(
                    chip=by_name[pool.chip],
                    engine=by_hand.ENGINE,
                    parallel=pool.parallel,
                    role=pool.role,
                    replicas=count,
                )
                for pool, count in zip(pools, replicas, strict=True)
            ),
        ),
        serving=Serving(),
        replicas=replicas,
        needed=tuple(count - spares for count in replicas),
        chips=chips,
        nodes=-(-chips // 8),
        racks=1,
        facility_w=1730.0 * chips,
        usd_per_hour=usd_per_hour,
        objectives={
            "usd_per_million_tokens": cost if usd_per_hour is not None else float("nan"),
            "chips": float(chips),
            "tokens_per_s_per_chip": 80_000 / chips,
            "power_w": 1100.0 * chips,
            "gco2e_per_million_tokens": 61.0 * cost,
            "ttft_s": 0.4 * ttft_s,
            "tpot_s": 0.8 * tpot_s,
        },
        metrics={
            name: Metric(value=value, unit=UNITS[name], definition=name, low=0.9 * value, high=1.3 * value)
            for name, value in values.items()
        },
        checks=(check(TTFT, ttft_s), check(TPOT, tpot_s)),
        fewer=(
            Fewer(
                replicas=tuple(count - 1 for count in replicas),
                checks=(check(TTFT, 3.1), check(TPOT, 0.038)),
                missed="ttft_p99_s is 3.1 s > 1 s",
            ),
        ),
        bound_chips=12,
        why=(
            f"{chips} chips = ...",
            "h200: 24 requests/s, 4.8 for each of 5",
            f"with {' + '.join(str(count - 1) for count in replicas)} replicas: ttft_p99_s is 3.1 s > 1 s",
        ),
        notes=("acceptance is an assumption",),
    )


def question(**given: object) -> Question:
    usual = {
        "model": by_hand.MODEL,
        "workload": OpenLoop(
            arrivals=Poisson(rate_per_s=20.0),
            mix=(Traffic(lengths=Independent(isl=Fixed(tokens=2000), osl=Fixed(tokens=500))),),
            num_requests=100,
        ),
        "chips": CHIPS,
        "space": Space(engines=(by_hand.ENGINE,)),
        "targets": (TTFT, TPOT),
        "limits": Limits(chips=64),
        "headroom_fraction": 0.2,
    }
    return Question(**(usual | given))


LOAD = Load(
    requests_per_s=20.0,
    isl_tokens=2000.0,
    osl_tokens=500.0,
    longest_tokens=2500,
    shared_fraction=0.25,
    num_requests=100,
)


def bound(chip: str, chips: int, compute: float) -> LowerBound:
    return LowerBound(
        chip=chip,
        precision=FP8,
        chips=chips,
        memory_chips=3.25,
        compute_chips=compute,
        bandwidth_chips=8.125,
        binding="compute",
    )


REJECTED = (
    Rejected(
        stage="bound",
        family="h200",
        reason="others of the same chips are as good or better in closed form",
        count=4200,
        example=None,
        problem=Infeasible(reason="others of the same chips are as good or better in closed form"),
    ),
    Rejected(
        stage="screen",
        family="h100",
        reason="tpot_p95_s",
        count=311,
        example=candidate(pool_plan("h100", tp=4)),
        problem=Infeasible(
            reason="tpot_p95_s: 0.052 s at best, 0.04 s asked.", need=0.052, have=0.04, unit="s"
        ),
    ),
    Rejected(
        stage="memory",
        family="h100",
        reason="memory",
        count=96,
        example=None,
        problem=Infeasible(reason="weights do not fit", need=1.411e11, have=7.92e10, unit="bytes"),
    ),
)


def plan(**given: object) -> PlanResult:
    """H200s are best, apart is dearer, H100s are too slow."""
    best = choice(pool_plan("h200"), replicas=(5,), spares=1)
    apart = choice(
        pool_plan("h200", role=Role.PREFILL, tp=4),
        pool_plan("b200", role=Role.DECODE),
        replicas=(3, 4),
        usd_per_hour=150.0,
        cost=0.5213,
        tpot_s=0.019,
    )
    third = choice(pool_plan("b200", tp=4), replicas=(9,), usd_per_hour=None, ttft_s=0.3)
    usual = {
        "question": question(),
        "load": LOAD,
        "front": (best,),
        "others": (apart, third),
        "bounds": (bound("h200", 12, 11.4), bound("h100", 14, 13.7)),
        "rejected": REJECTED,
        "candidates": 4610,
        "simulated": 7,
        "notes": ("b200 has no price",),
    }
    return PlanResult(**(usual | given))


def pareto() -> PlanResult:
    """Two objectives: what was behind is on the front."""
    found = plan()
    objectives = (Objective(name="usd_per_million_tokens"), Objective(name="tpot_s"))
    return replace(
        found,
        question=question(objectives=objectives),
        front=(*found.front, found.others[0]),
        others=found.others[1:],
    )


def impossible() -> PlanResult:
    """Nothing keeps the targets."""
    reason = (
        "ttft_p99_s: 0.0278 s at best, 0.002 s asked. Nearest ask that can be met: TTFT p99 <= 0.0493 s, "
        "with 2 x h100 PP2 fp8."
    )
    return plan(
        front=(),
        others=(),
        simulated=0,
        infeasible=Infeasible(reason=reason, need=0.0493, have=0.002, unit="s"),
    )
