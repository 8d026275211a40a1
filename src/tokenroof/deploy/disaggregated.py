"""Prefill and decode on replicas of their own: what requests see in steady state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenroof.deploy.client import client_s
from tokenroof.deploy.colocated import Times, prefill_steps, table_of
from tokenroof.deploy.core import Deployment, Pool
from tokenroof.deploy.generation import Plan, decoding
from tokenroof.deploy.handoff import handoff_s
from tokenroof.perf.compile import Samples
from tokenroof.perf.table import StepTable
from tokenroof.workload.core import RequestShape

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

SECTIONS = 32
"""Parts that a range of counts is cut into at once; a step table takes 33 as fast as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart(Times):
    """Times of a deployment with two pools; the hand-off is before the first token.

    Attributes
    ----------
    transfer_s : float
        Hand-off of one prompt's cache. [s]
    decoding : int
        Sequences that decode at any time, all replicas together.
    """

    transfer_s: float
    decoding: int


def serve_apart(
    prefill: Pool,
    decode: Pool,
    deployment: Deployment,
    shape: RequestShape,
    plan: Plan,
    concurrency: int,
    table: StepTable,
) -> Apart:
    """Steady state of ``concurrency`` requests going round prefill, hand-off and decode.

    ``table`` has the steps of the decode pool.

    Notes
    -----
    With ``n`` sequences decoding, decode finishes ``n / (steps * step(n))`` requests per second. Unless
    that is more than the prefill pool yields, ``n`` is the number at which the way from the client,
    prefill, hand-off and decode together hold ``concurrency`` requests (Little's law); else prompts queue,
    and ``n`` is what the prefill pool can feed. Times begin when a request has come.
    """
    ranks, model = prefill.parallel.dp, deployment.model
    prefill_table = table_of(prefill, deployment, plan)
    prompt = prefill_steps(prefill, prefill_table, shape)
    prefill_s = float(prompt.time_s.sum())
    together_s = float(prefill_steps(prefill, prefill_table, shape, ranks).time_s.sum())
    fed_per_s = prefill.replicas * ranks * min(concurrency, prefill.parallel.pp) / together_s
    away_s = client_s(prefill, shape.isl_tokens)
    before_s = prefill_s + handoff_s(prefill, decode, model, deployment.precision, shape.isl_tokens)

    def steps_of(counts: IntArray) -> Samples:
        per_replica = -(-counts // decode.replicas)
        micro = -(-per_replica // np.minimum(per_replica, decode.parallel.pp))
        return table.evaluate(decoding(model, micro, plan.context_tokens))

    def held(counts: IntArray) -> BoolArray:
        rate_per_s = counts / (plan.steps * steps_of(counts).time_s)
        return np.asarray(counts + rate_per_s * (away_s + before_s) <= concurrency)

    def fed(counts: IntArray) -> BoolArray:
        return np.asarray(counts / (plan.steps * steps_of(counts).time_s) <= fed_per_s)

    count = last_count(held, concurrency) if plan.steps else 1
    stay_s = plan.steps * float(steps_of(np.array(count)).time_s)
    saturated = concurrency / (away_s + before_s + stay_s) > fed_per_s
    if saturated and plan.steps:
        count = last_count(fed, concurrency)
    step = steps_of(np.array(count))
    stay_s = plan.steps * float(step.time_s)
    own_s = away_s + before_s + stay_s
    requests_per_s = fed_per_s if saturated else concurrency / own_s
    first_s = plan.first_steps * float(step.time_s)
    rest_s = stay_s - first_s
    after_first = shape.osl_tokens - 1
    return Apart(
        prefill_s=prefill_s,
        transfer_s=before_s - prefill_s,
        # Without a queue the two are equal but for rounding: nothing waits.
        waiting_s=max(concurrency / requests_per_s - own_s, 0.0) if saturated else 0.0,
        decode_step_s=float(step.time_s),
        ttft_s=before_s + first_s,
        tpot_s=rest_s / after_first if after_first and rest_s else float(step.time_s),
        e2e_s=concurrency / requests_per_s - away_s,
        requests_per_s=requests_per_s,
        decoding=count if plan.steps else 0,
        prompt=prompt,
        step=step,
    )


def last_count(holds: Callable[[IntArray], BoolArray], most: int) -> int:
    """Largest count from 1 to ``most`` that still holds, by sections; 1 when none does.

    Parameters
    ----------
    holds : callable
        Whether counts, an array of them, hold; larger ones fail once a smaller one has.
    most : int
        Largest count.
    """
    low, high = 1, most
    while low < high:
        counts = np.unique(np.linspace(low, high, SECTIONS + 1).astype(np.int64))
        good = counts[holds(counts)]
        low = int(good[-1]) if good.size else low
        above = counts[counts > low]
        high = int(above[0]) - 1 if above.size else low
    return low
