"""The closed-form answer for a prefill pool, attention chips that decode, and feed-forward chips."""

from __future__ import annotations

import math

import numpy as np

from tokenroof.deploy.answer import (
    Question,
    Work,
    assemble,
    chosen_sequences,
    explain_prefill,
    fit_problem,
    infeasible,
    metrics_of,
    phases_of,
    prefill_work,
    sequences_problem,
    usage,
)
from tokenroof.deploy.capacity import capacity
from tokenroof.deploy.core import Estimate, Pool
from tokenroof.deploy.disaggregated import serve_apart
from tokenroof.deploy.halves.core import FeedForward
from tokenroof.deploy.halves.models import attention_half
from tokenroof.deploy.halves.notes import halves_notes
from tokenroof.deploy.halves.phases import explain_halves
from tokenroof.deploy.halves.steps import HalvedSteps
from tokenroof.deploy.halves.sums import attention_sums, cut_visits, feed_forward_sums
from tokenroof.deploy.metrics import metric


def answer(
    question: Question,
    prefill: Pool,
    decode: Pool,
    feed_forward: FeedForward,
    concurrency: int | None,
    batch: int | None,
) -> Estimate:
    """See :func:`tokenroof.deploy.estimate.estimate`; the capacity is that of the attention chips."""
    deployment, shape, plan = question.deployment, question.shape, question.plan
    memory = capacity(decode, attention_half(deployment.model), deployment.precision, shape)
    asked = concurrency or batch or 0
    problems = (fit_problem(question, pool) for pool in (prefill, decode, feed_forward))
    problem = next((found for found in problems if found is not None), None)
    if problem is not None:
        return infeasible(question, problem, asked, memory)
    whole, busiest, assumed = chosen_sequences(decode, memory.max_batch, concurrency, batch)
    steps = HalvedSteps(deployment=deployment, attention=decode, feed_forward=feed_forward)
    table = steps.whole_table(busiest, shape.isl_tokens + shape.osl_tokens)
    apart = serve_apart(prefill, decode, deployment, shape, plan, whole, table)
    busiest = max(1, -(-apart.decoding // decode.replicas))
    problem = sequences_problem(question, decode, memory.max_batch, busiest)
    if problem is not None:
        return infeasible(question, problem, whole, memory)
    rate = apart.requests_per_s
    works = (prefill_work(question, prefill, apart.prompt), *_decode_works(steps, question, busiest))
    chip_s = [pool.parallel.chips * pool.replicas / rate for pool in (prefill, decode, feed_forward)]
    usages = tuple(
        usage(
            question,
            pool,
            (work,),
            prefill_chip_s=spent_s if pool is prefill else 0.0,
            decode_chip_s=0.0 if pool is prefill else spent_s,
        )
        for pool, work, spent_s in zip((prefill, decode, feed_forward), works, chip_s, strict=True)
    )
    held = memory.max_batch * decode.replicas
    metrics = metrics_of(question, apart, usages, requests_per_s=rate, max_batch=held)
    metrics["kv_transfer_s"] = metric("kv_transfer_s", apart.transfer_s)
    phases = phases_of(
        plan,
        prefill=lambda: explain_prefill(question, prefill),
        decode=lambda: explain_halves(steps, table, busiest, plan.context_tokens)["decode"](),
    )
    if plan.steps:
        phases |= explain_halves(steps, table, busiest, plan.context_tokens)
    return assemble(
        question,
        concurrency=whole,
        metrics=metrics,
        capacity=memory,
        phases=phases,
        bases=tuple(each.basis for each in usages),
        assumptions=(
            *assumed,
            "the cache is handed over after the prefill; nothing of it is hidden",
            *halves_notes(steps),
        ),
    )


def _decode_works(steps: HalvedSteps, question: Question, seqs: int) -> tuple[Work, Work]:
    """What all decode steps of one request take from either kind of chips, at the mean context."""
    contexts = steps.table.contexts
    rows = np.zeros((1, contexts.size))
    context = question.plan.context_tokens
    left = min(int(contexts.searchsorted(context, side="right")), contexts.size - 1) - 1
    share = (context - contexts[left]) / (contexts[left + 1] - contexts[left])
    rows[0, left : left + 2] = 1.0 - share, share
    seen = cut_visits(steps, np.array([seqs]), rows)
    found = []
    for sums, pool in (
        (attention_sums(steps, seen), steps.attention),
        (feed_forward_sums(steps, seen), steps.feed_forward),
    ):
        chips = pool.parallel.stage_chips * question.plan.steps / seqs
        energy_j = sums["energy_j"] * chips
        found.append(
            Work(
                dynamic_j=None if math.isnan(energy_j) else energy_j,
                compute_chip_s=sums["compute_s"] * chips,
            )
        )
    return found[0], found[1]
