"""Prefill and decode on replicas of their own: what requests see in steady state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.colocated import idle_prefill_s, micro_batches, table_of
from tokenroof.deploy.core import Pool
from tokenroof.deploy.generation import Plan, decoding
from tokenroof.deploy.handoff import handoff_s
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
    With ``n`` sequences decoding, decode finishes ``n / (steps * step(n))`` requests per second, but
    not more than the prefill pool yields. The number decoding is the one at which prefill, hand-off
    and decode together hold ``concurrency`` requests (Little's law); found by trying all.
    """
    table = table_of(decode, model, precision, plan)
    prefill_s = idle_prefill_s(prefill, table_of(prefill, model, precision, plan), shape)
    transfer_s = handoff_s(prefill, decode, model, precision, shape.isl_tokens)
    most_per_s = prefill.replicas / prefill_s
    if plan.steps == 0:
        before_s = prefill_s + transfer_s
        rate = min(concurrency / before_s, most_per_s)
        return Apart(
            prefill_s=prefill_s,
            transfer_s=transfer_s,
            waiting_s=concurrency / rate - before_s,
            decode_step_s=float(table.step_s(decoding(model, 1, plan.context_tokens))),
            ttft_s=before_s,
            tpot_s=float(table.step_s(decoding(model, 1, plan.context_tokens))),
            e2e_s=concurrency / rate,
            requests_per_s=rate,
            decoding=0,
        )
    counts = np.arange(1, concurrency + 1)
    per_replica = -(-counts // decode.replicas)
    stages = np.minimum(per_replica, decode.parallel.pp)
    step_s = np.asarray(table.step_s(decoding(model, -(-per_replica // stages), plan.context_tokens)))
    rate_per_s = counts / (plan.steps * step_s)
    held = counts + rate_per_s * (prefill_s + transfer_s)
    possible = (rate_per_s <= most_per_s) & (held <= concurrency + 0.5)
    index = int(np.flatnonzero(possible)[-1]) if possible.any() else 0
    step = float(step_s[index])
    rate = min(float(rate_per_s[index]), most_per_s)
    stay = concurrency / rate
    waiting_s = max(stay - prefill_s - transfer_s - plan.steps * step, 0.0)
    bottleneck = float(rate_per_s[min(index + 1, concurrency - 1)]) > most_per_s
    waiting_s = waiting_s if bottleneck else 0.0
    ttft_s = prefill_s + transfer_s + plan.first_steps * step
    rest_s = (plan.steps - plan.first_steps) * step
    e2e_s = waiting_s + ttft_s + rest_s
    return Apart(
        prefill_s=prefill_s,
        transfer_s=transfer_s,
        waiting_s=waiting_s,
        decode_step_s=step,
        ttft_s=ttft_s,
        tpot_s=rest_s / max(shape.osl_tokens - 1, 1),
        e2e_s=e2e_s,
        requests_per_s=min(concurrency / e2e_s, most_per_s),
        decoding=int(counts[index]),
    )


def decode_micro_batch(apart: Apart, decode: Pool) -> int:
    """Sequences that advance together on the busiest decode replica."""
    return micro_batches(max(1, -(-apart.decoding // decode.replicas)), decode.parallel.pp)[0]
