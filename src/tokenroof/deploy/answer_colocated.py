"""The answer for one pool that prefills and decodes."""

from __future__ import annotations

from tokenroof.deploy.accounts import Usage, accounts
from tokenroof.deploy.answer import (
    Question,
    Work,
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
from tokenroof.deploy.colocated import Served, serve
from tokenroof.deploy.core import Estimate, Metric, Pool
from tokenroof.deploy.metrics import metric
from tokenroof.deploy.provenance import machine_of


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
    served = serve(pool, deployment.model, deployment.precision, shape, plan, sequences)
    requests_per_s = served.requests_per_s * whole / sequences
    decode = decode_work(pool, served.decode_step)
    prefill = prefill_work(question, pool, served.idle_prefill)
    chips = pool.parallel.chips * pool.replicas
    usage = _usage(question, pool, served, decode, prefill, requests_per_s)
    metrics = {
        **_speed(question, served, chips, requests_per_s),
        "max_batch": metric("max_batch", memory.max_batch * pool.replicas),
        "mfu_fraction": metric("mfu_fraction", _mfu(question, served, decode, prefill, pool)),
        **accounts((usage,), shape, requests_per_s=requests_per_s),
    }
    notes = (
        assumed
        if pool.engine.chunked_prefill
        else (*assumed, "prompts run in steps of their own, before decode")
    )
    if pool.chip.tdp_w is None:
        notes = (*notes, f"energy: no power figure is known for {pool.chip.name}; left out")
    return assemble(
        question,
        concurrency=whole,
        metrics=metrics,
        capacity=memory,
        phases={
            "prefill": lambda: explain_prefill(question, pool),
            "decode": lambda: explain_decode(question, pool, served.micro_batch),
        },
        bases=(usage.basis,),
        assumptions=notes,
    )


def _speed(question: Question, served: Served, chips: int, requests_per_s: float) -> dict[str, Metric]:
    shape = question.shape
    output_per_s = requests_per_s * shape.osl_tokens
    values = {
        "prefill_s": served.idle_prefill_s,
        "ttft_s": served.ttft_s,
        "waiting_s": served.waiting_s,
        "tpot_s": served.tpot_s,
        "decode_step_s": served.decode_step_s,
        "e2e_s": served.e2e_s,
        "output_tokens_per_s": output_per_s,
        "output_tokens_per_s_per_chip": output_per_s / chips,
        "total_tokens_per_s_per_chip": requests_per_s * (shape.isl_tokens + shape.osl_tokens) / chips,
        "output_tokens_per_s_per_user": 1.0 / served.tpot_s,
        "requests_per_s": requests_per_s,
        "chips": chips,
    }
    return {name: metric(name, value) for name, value in values.items()}


def _decode_s_per_request(question: Question, served: Served) -> float:
    """Replica time that decoding one request takes, its share of the steps. [s]"""
    return question.plan.steps * served.decode_step_s / (served.micro_batch * served.in_flight)


def _usage(
    question: Question, pool: Pool, served: Served, decode: Work, prefill: Work, requests_per_s: float
) -> Usage:
    machine = machine_of(pool)
    chips = pool.parallel.chips * pool.replicas
    whole_s = chips / requests_per_s
    decode_s = min(_decode_s_per_request(question, served) * pool.parallel.chips, whole_s)
    dynamic_j = question.plan.steps * decode.dynamic_j / served.micro_batch
    if question.plan.prompt_tokens:
        dynamic_j += prefill.dynamic_j
    return Usage(
        chips=chips,
        prefill_chip_s=whole_s - decode_s,
        decode_chip_s=decode_s,
        dynamic_j_per_request=dynamic_j,
        idle_w=float(machine.idle_w),
        tdp_w=float(machine.tdp_w),
        basis=basis_of(question, pool),
    )


def _mfu(question: Question, served: Served, decode: Work, prefill: Work, pool: Pool) -> float:
    """Ideal compute time of a request over the replica time it gets."""
    steps = question.plan.steps
    ideal_s = steps * decode.compute_s / served.micro_batch
    if question.plan.prompt_tokens:
        ideal_s += prefill.compute_s
    return ideal_s * served.requests_per_s / pool.parallel.pp
