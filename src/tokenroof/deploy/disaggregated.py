"""Prefill and decode on replicas of their own: what requests see in steady state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.colocated import micro_batches, prefill_steps, table_of
from tokenroof.deploy.core import Pool
from tokenroof.deploy.generation import Plan, decoding
from tokenroof.deploy.handoff import handoff_s
from tokenroof.perf.compile import Samples
from tokenroof.workload.core import RequestShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """Times of a deployment with two pools.

    Attributes
    ----------
    prefill_s, transfer_s, waiting_s : float
        Prefill of one prompt, hand-off of its cache, wait for a prefill replica. [s]
    decode_step_s : float
        A generation step of the busiest decode replica. [s]
    ttft_s, tpot_s, e2e_s : float
        What a request sees; the hand-off is before the first token. [s]
    requests_per_s : float
        Of the deployment. [1/s]
    decoding : int
        Sequences that decode at any time, all replicas together.
    prompt, step : Samples
        The steps of one prompt's prefill, and one decode step.
    """

    prefill_s: float
    transfer_s: float
    waiting_s: float
    decode_step_s: float
    ttft_s: float
    tpot_s: float
    e2e_s: float
    requests_per_s: float
    decoding: int
    prompt: Samples
    step: Samples


def serve_apart(
    prefill: Pool,
    decode: Pool,
    model: ModelSpec,
    precision: Precision,
    shape: RequestShape,
    plan: Plan,
    concurrency: int,
) -> Apart:
    """Steady state of ``concurrency`` requests going round prefill, hand-off and decode.

    Notes
    -----
    With ``n`` sequences decoding, decode finishes ``n / (steps * step(n))`` requests per second. Unless
    that is more than the prefill pool yields, ``n`` is the number at which prefill, hand-off and decode
    together hold ``concurrency`` requests (Little's law); else prompts queue, and ``n`` is what the
    prefill pool can feed.
    """
    ranks = prefill.parallel.dp
    prefill_table = table_of(prefill, model, precision, plan)
    prompt = prefill_steps(prefill, prefill_table, shape)
    prefill_s = float(prompt.time_s.sum())
    together_s = float(prefill_steps(prefill, prefill_table, shape, ranks).time_s.sum())
    fed_per_s = prefill.replicas * ranks * min(concurrency, prefill.parallel.pp) / together_s
    before_s = prefill_s + handoff_s(prefill, decode, model, precision, shape.isl_tokens)
    counts = np.arange(1, concurrency + 1)
    per_replica = -(-counts // decode.replicas)
    micro = -(-per_replica // np.minimum(per_replica, decode.parallel.pp))
    steps = table_of(decode, model, precision, plan).evaluate(decoding(model, micro, plan.context_tokens))
    stay_s = plan.steps * steps.time_s
    if plan.steps:
        rate_per_s = counts / stay_s
        index = _last(counts + rate_per_s * before_s <= concurrency)
        saturated = concurrency / (before_s + stay_s[index]) > fed_per_s
        index = _last(rate_per_s <= fed_per_s) if saturated else index
    else:
        index, saturated = 0, concurrency / before_s > fed_per_s
    own_s = before_s + float(stay_s[index])
    requests_per_s = fed_per_s if saturated else concurrency / own_s
    step = Samples(*(array[index] for array in steps))
    first_s = plan.first_steps * float(step.time_s)
    rest_s = float(stay_s[index]) - first_s
    after_first = shape.osl_tokens - 1
    return Apart(
        prefill_s=prefill_s,
        transfer_s=before_s - prefill_s,
        waiting_s=max(concurrency / requests_per_s - own_s, 0.0),
        decode_step_s=float(step.time_s),
        ttft_s=before_s + first_s,
        tpot_s=rest_s / after_first if after_first and rest_s else float(step.time_s),
        e2e_s=concurrency / requests_per_s,
        requests_per_s=requests_per_s,
        decoding=int(counts[index]) if plan.steps else 0,
        prompt=prompt,
        step=step,
    )


def _last(possible: npt.NDArray[np.bool_]) -> int:
    """Index of the last true element, 0 when there is none."""
    found = np.flatnonzero(possible)
    return int(found[-1]) if found.size else 0


def decode_micro_batch(apart: Apart, decode: Pool) -> int:
    """Sequences that advance together on the busiest decode replica."""
    return micro_batches(max(1, -(-apart.decoding // decode.replicas)), decode.parallel.pp)[0]
