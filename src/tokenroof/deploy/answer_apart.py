"""The answer for a prefill pool and a decode pool."""

from __future__ import annotations

from tokenroof.deploy.answer import (
    Question,
    assemble,
    chosen_sequences,
    decode_share,
    explain_decode,
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
from tokenroof.deploy.colocated import micro_batches, table_of
from tokenroof.deploy.core import Estimate, Infeasible, Pool
from tokenroof.deploy.disaggregated import serve_apart
from tokenroof.deploy.metrics import metric


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
    apart = serve_apart(prefill, decode, deployment, shape, plan, whole, table_of(decode, deployment, plan))
    busiest = -(-apart.decoding // decode.replicas)
    problem = sequences_problem(question, decode, memory.max_batch, busiest)
    if problem is not None:
        return infeasible(question, problem, whole, memory)
    micro_batch, in_flight = micro_batches(max(1, busiest), decode.parallel.pp)
    rate = apart.requests_per_s
    usages = (
        usage(
            question,
            prefill,
            (prefill_work(question, prefill, apart.prompt),),
            prefill_chip_s=prefill.parallel.chips * prefill.replicas / rate,
            decode_chip_s=0.0,
        ),
        usage(
            question,
            decode,
            (decode_share(question, decode, apart.step, micro_batch),),
            prefill_chip_s=0.0,
            decode_chip_s=decode.parallel.chips * decode.replicas / rate,
        ),
    )
    held = memory.max_batch * decode.replicas
    metrics = metrics_of(question, apart, usages, requests_per_s=rate, max_batch=held)
    metrics["kv_transfer_s"] = metric("kv_transfer_s", apart.transfer_s)
    return assemble(
        question,
        concurrency=whole,
        metrics=metrics,
        capacity=memory,
        phases=phases_of(
            plan,
            prefill=lambda: explain_prefill(question, prefill),
            decode=lambda: explain_decode(question, decode, micro_batch, in_flight),
        ),
        bases=tuple(each.basis for each in usages),
        assumptions=(*assumed, "the cache is handed over after the prefill; nothing of it is hidden"),
    )
