"""A small answer of a plan, written down."""

import math

from tokenroof.catalog.model import Precision
from tokenroof.deploy.core import Infeasible, Metric, Role
from tokenroof.graph.core import Parallel
from tokenroof.search.asked import OBJECTIVES, Load, Target
from tokenroof.search.core import (
    Candidate,
    Check,
    Choice,
    Fewer,
    LowerBound,
    PlanResult,
    PoolPlan,
    Record,
    Rejected,
)

TARGET = Target(latency="ttft", limit_s=1.0)


def candidate(chip="h100", tp=4):
    pool = PoolPlan(
        role=Role.BOTH,
        chip=chip,
        engine="vllm",
        parallel=Parallel(tp=tp),
        max_num_seqs=256,
        max_num_batched_tokens=8192,
    )
    return Candidate(precision=Precision(weights="fp8"), pools=(pool,))


def choice(chip="h100", replicas=3, usd=2.5):
    return Choice(
        candidate=candidate(chip),
        deployment=None,
        serving=None,
        replicas=(replicas,),
        needed=(replicas - 1,),
        chips=4 * replicas,
        nodes=2,
        racks=1,
        facility_w=None,
        usd_per_hour=10.0 * replicas,
        objectives={**dict.fromkeys(OBJECTIVES, math.nan), "usd_per_million_tokens": usd, "chips": 99.0},
        metrics={"ttft_p99_s": Metric(value=0.9, unit="s", definition="", low=0.8, high=1.1)},
        checks=(Check(target=TARGET, value=0.9, low=0.8, high=1.1),),
        fewer=(Fewer(replicas=(replicas - 1,), checks=(), missed="TTFT p99 is 1.4 s, limit 1 s"),),
        bound_chips=2,
        why=("12 chips = 3 replicas x TP4", "TTFT p99 binds"),
    )


def result(*front, others=(), infeasible=None):
    return PlanResult(
        question=None,
        load=Load(
            requests_per_s=5.0,
            isl_tokens=1000.0,
            osl_tokens=200.0,
            longest_tokens=4000,
            shared_fraction=0.0,
            num_requests=1000,
        ),
        front=front,
        others=others,
        bounds=(
            LowerBound(
                chip="h100",
                precision=Precision(),
                chips=2,
                memory_chips=1.8,
                compute_chips=0.4,
                bandwidth_chips=0.7,
                binding="memory",
            ),
        ),
        rejected=(
            Rejected(
                stage="memory",
                family="l4",
                reason="weights",
                count=12,
                example=candidate("l4", 1),
                problem=Infeasible(reason="does not fit.", need=141e9, have=24e9, unit="bytes"),
            ),
        ),
        candidates=14,
        simulated=2,
        infeasible=infeasible,
        notes=("tpu-v7 has no price",),
    )


def record(key="k1", label="h100 TP4", replicas=(3,), ttft_s=0.9):
    return Record(
        key=key,
        label=label,
        replicas=replicas,
        seed=1,
        rate_factor=1.2,
        values={"ttft_p99_s": ttft_s, "tpot_s": 0.03},
        low={"ttft_p99_s": 0.8},
        high={"ttft_p99_s": 1.1},
    )
