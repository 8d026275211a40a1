"""A simulated run written by hand: plausible columns, no kernel behind them."""

from dataclasses import replace
from typing import Any

import by_hand
import numpy as np

from tokenroof.deploy.core import Estimate, Metric, Pool, Role
from tokenroof.serve.core import PoolSetup, Setup, Stage
from tokenroof.serve.results import SEGMENT, RequestLog, Run, State
from tokenroof.workload.core import NOBODY, RequestClass, Requests, Slo

TWO_CLASSES = (
    RequestClass(name="chat", priority=0, slo=Slo(ttft_s=1.0, tpot_s=0.04)),
    RequestClass(name="batch", priority=3, slo=Slo(ttft_s=20.0, e2e_s=90.0)),
)
ONE_CLASS = (RequestClass(slo=Slo(ttft_s=1.0, tpot_s=0.04)),)


def run(
    *,
    count: int = 3000,
    slowness: float = 1.0,
    classes: tuple[RequestClass, ...] = ONE_CLASS,
    stages: tuple[Stage, ...] = (Stage.BOTH,),
    complete: bool = True,
    bins: int = 600,
) -> Run:
    rng = np.random.default_rng(7)
    arrival_s = np.sort(rng.uniform(0.0, 600.0, count))
    isl = rng.integers(100, 3000, count)
    osl = rng.integers(1, 600, count)
    ttft_s = slowness * rng.lognormal(-1.2, 0.6, count)
    tpot_s = slowness * rng.normal(0.025, 0.004, count).clip(0.01)
    class_index = rng.integers(0, len(classes), count)
    none = np.full(count, NOBODY)
    requests = Requests(
        arrival_s=arrival_s,
        isl_tokens=isl,
        osl_tokens=osl,
        follows=none,
        session=none,
        class_index=class_index,
        classes=classes,
        label="5 requests/s",
    )
    done = np.ones(count, dtype=bool) if complete else arrival_s < 400.0
    first_s = np.where(done, arrival_s + ttft_s, np.nan)
    log = RequestLog(
        arrival_s=arrival_s,
        start_s=np.where(done, arrival_s + ttft_s / 2, np.nan),
        first_s=first_s,
        finish_s=first_s + (osl - 1) * tpot_s,
        transfer_s=np.full(count, np.nan),
        isl_tokens=isl,
        osl_tokens=osl,
        out_tokens=np.where(done, osl, 0),
        cached_tokens=np.zeros(count, dtype=np.int64),
        prefilled_tokens=isl,
        state=np.where(done, int(State.COMPLETED), int(State.NOT_SENT)),
        reason=np.zeros(count, dtype=np.int64),
        replica=np.zeros(count, dtype=np.int64),
        decode_replica=np.zeros(count, dtype=np.int64),
        preemptions=np.zeros(count, dtype=np.int64),
        retries=np.zeros(count, dtype=np.int64),
        class_index=class_index,
        session=none,
    )
    nothing: Any = None
    pools = tuple(
        PoolSetup(table=nothing, scheduler=nothing, stage=stage, replicas=2, num_blocks=25_000)
        for stage in stages
    )
    t = np.linspace(0.0, 1.0, bins)
    hump = slowness * np.exp(-(((t - 0.6) / 0.2) ** 2))
    one = np.stack(
        [
            20 + 70 * hump + rng.normal(0, 2, bins),
            60 * np.maximum(hump - 0.6, 0.0),
            9000 + 14_000 * hump,
            8000 + 1000 * rng.random(bins),
            2000 + 2500 * hump,
            1.2 + 0.6 * hump,
            np.where(t > 0.55, 2.0, np.where(t > 0.4, 1.0, 2.0)),
        ]
    )
    return Run(
        setup=Setup(pools=pools, router=nothing),
        requests=requests,
        log=log,
        end_s=640.0,
        complete=complete,
        timeline_bin_s=640.0 / bins,
        timeline=np.stack([one * (1.0 if at == 0 else 0.7) for at in range(len(stages))]),
        itl_counts=np.zeros((len(stages), 64 * 30)),
        visits=(),
        replicas={},
        tiers={},
        segments=np.zeros(0, dtype=SEGMENT),
        events=10 * count,
    )


def simulated(name: str = "h100", *, made: Run | None = None, **options: Any) -> Estimate:
    """An estimate with a run; its metrics are those of the closed form beside it."""
    base = by_hand.estimate(name)
    found = made if made is not None else run(**options)
    pools = base.deployment.pools
    if len(found.setup.pools) == 2:
        first: Pool = pools[0]
        pools = (replace(first, role=Role.PREFILL), replace(first, role=Role.DECODE))
    return replace(base, run=found, deployment=replace(base.deployment, pools=pools))


def swept(rates: tuple[float, ...] = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0), name: str = "h100") -> list[Estimate]:
    """One estimate per rate, saturating at 7 requests/s."""
    found = []
    for rate in rates:
        attained = 1.0 / (1.0 + np.exp((rate - 7.0) * 1.8))
        made = simulated(name, count=50)
        values = {
            "request_rate_per_s": rate,
            "goodput_requests_per_s": rate * attained,
            "good_fraction": attained,
        }
        metrics = {
            key: Metric(value=float(value), unit="1/s" if "per_s" in key else "1", definition="by hand")
            for key, value in values.items()
        }
        found.append(replace(made, metrics={**made.metrics, **metrics}))
    return found
