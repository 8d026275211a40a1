"""The answer for a prefill pool and a decode pool."""

from __future__ import annotations

from tokenroof.deploy.accounts import Usage, accounts
from tokenroof.deploy.answer import (
    Question,
    assemble,
    basis_of,
    chosen_sequences,
    decode_work,
    explain_decode,
    explain_prefill,
    fit_problem,
    infeasible,
    prefill_work,
    sequences_problem,
)
from tokenroof.deploy.capacity import capacity
from tokenroof.deploy.core import Estimate, Infeasible, Metric, Pool
from tokenroof.deploy.disaggregated import Apart, decode_micro_batch, serve_apart
from tokenroof.deploy.metrics import metric
from tokenroof.deploy.provenance import machine_of


def answer(
    question: Question, prefill: Pool, decode: Pool, concurrency: int | None, batch: int | None
) -> Estimate:
    """See :func:`tokenroof.deploy.estimate.estimate`; the capacity is that of the decode pool."""
    deployment, shape, plan = question.deployment, question.shape, question.plan
    model, precision = deployment.model, deployment.precision
    memory = capacity(decode, model, precision, shape)
    asked = concurrency or batch or 0
    problem = fit_problem(question, prefill) or fit_problem(question, decode)
    if problem is None and not plan.prompt_tokens:
        problem = Infeasible(
            reason=f"{model.name} runs the whole sequence in every step: it has no prefill to put elsewhere."
        )
    if problem is not None:
        return infeasible(question, problem, asked, memory)
    whole, _, assumed = chosen_sequences(decode, memory.max_batch, concurrency, batch)
    apart = serve_apart(prefill, decode, model, precision, shape, plan, whole)
    busiest = -(-apart.decoding // decode.replicas)
    problem = sequences_problem(question, decode, memory.max_batch, busiest)
    if problem is not None:
        return infeasible(question, problem, whole, memory)
    micro_batch = decode_micro_batch(apart, decode)
    decode_j = plan.steps * decode_work(decode, apart.step).dynamic_j / micro_batch
    dynamic_j = (prefill_work(question, prefill, apart.prompt).dynamic_j, decode_j)
    usages = tuple(
        _usage(question, pool, apart, spent, prefills=index == 0)
        for index, (pool, spent) in enumerate(zip((prefill, decode), dynamic_j, strict=True))
    )
    metrics = {
        **_speed(question, apart, sum(usage.chips for usage in usages)),
        "max_batch": metric("max_batch", memory.max_batch * decode.replicas),
        **accounts(usages, shape, requests_per_s=apart.requests_per_s),
    }
    return assemble(
        question,
        concurrency=whole,
        metrics=metrics,
        capacity=memory,
        phases={
            "prefill": lambda: explain_prefill(question, prefill),
            "decode": lambda: explain_decode(question, decode, micro_batch),
        },
        bases=tuple(usage.basis for usage in usages),
        assumptions=(*assumed, "the cache is handed over after the prefill; nothing of it is hidden"),
    )


def _usage(question: Question, pool: Pool, apart: Apart, dynamic_j: float, *, prefills: bool) -> Usage:
    machine = machine_of(pool)
    chips = pool.parallel.chips * pool.replicas
    spent_s = chips / apart.requests_per_s
    return Usage(
        chips=chips,
        prefill_chip_s=spent_s if prefills else 0.0,
        decode_chip_s=0.0 if prefills else spent_s,
        dynamic_j_per_request=dynamic_j,
        idle_w=float(machine.idle_w),
        tdp_w=float(machine.tdp_w),
        basis=basis_of(question, pool),
    )


def _speed(question: Question, apart: Apart, chips: int) -> dict[str, Metric]:
    shape = question.shape
    output_per_s = apart.requests_per_s * shape.osl_tokens
    values = {
        "prefill_s": apart.prefill_s,
        "kv_transfer_s": apart.transfer_s,
        "ttft_s": apart.ttft_s,
        "waiting_s": apart.waiting_s,
        "tpot_s": apart.tpot_s,
        "decode_step_s": apart.decode_step_s,
        "e2e_s": apart.e2e_s,
        "output_tokens_per_s": output_per_s,
        "output_tokens_per_s_per_chip": output_per_s / chips,
        "total_tokens_per_s_per_chip": apart.requests_per_s * (shape.isl_tokens + shape.osl_tokens) / chips,
        "output_tokens_per_s_per_user": 1.0 / apart.tpot_s,
        "requests_per_s": apart.requests_per_s,
        "chips": chips,
    }
    return {name: metric(name, value) for name, value in values.items()}
