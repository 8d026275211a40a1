"""The answer for one pool that prefills and decodes."""

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
from tokenroof.deploy.closed_loop import serve_clients
from tokenroof.deploy.core import Estimate, Pool


def answer(question: Question, pool: Pool, concurrency: int | None, batch: int | None) -> Estimate:
    """See :func:`tokenroof.deploy.estimate.estimate`."""
    deployment, shape, plan = question.deployment, question.shape, question.plan
    memory = capacity(pool, deployment.model, deployment.precision, shape)
    problem = fit_problem(question, pool)
    if problem is not None:
        return infeasible(question, problem, concurrency or batch or 0, memory)
    whole, sequences, assumed = chosen_sequences(pool, memory.max_batch, concurrency, batch)
    problem = sequences_problem(question, pool, memory.max_batch, sequences)
    if problem is not None:
        return infeasible(question, problem, whole, memory)
    served = serve_clients(pool, deployment, shape, plan, sequences)
    rate = served.requests_per_s * whole / sequences
    works = [decode_share(question, pool, served.step, served.micro_batch)]
    if plan.prompt_tokens:
        works.append(prefill_work(question, pool, served.prompt))
    whole_s = pool.parallel.chips * pool.replicas / rate
    # Decoding pays for its share of the steps without prompts, prefill for the rest.
    together = served.micro_batch * served.in_flight
    decode_s = min(plan.steps * served.decode_step_s / together * pool.parallel.chips, whole_s)
    spent = usage(question, pool, works, prefill_chip_s=whole_s - decode_s, decode_chip_s=decode_s)
    held = memory.max_batch * pool.replicas
    apart = "prompts run in steps of their own, before decode"
    return assemble(
        question,
        concurrency=whole,
        metrics=metrics_of(question, served, (spent,), requests_per_s=rate, max_batch=held),
        capacity=memory,
        phases=phases_of(
            plan,
            prefill=lambda: explain_prefill(question, pool),
            decode=lambda: explain_decode(question, pool, served.micro_batch, served.in_flight),
        ),
        bases=(spent.basis,),
        assumptions=assumed if pool.engine.chunked_prefill else (*assumed, apart),
    )
