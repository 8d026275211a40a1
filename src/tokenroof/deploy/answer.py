"""What both kinds of deployment need to turn times into an :class:`Estimate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.model import Moe
from tokenroof.cost.basis import CostBasis
from tokenroof.deploy.accounts import Spending, Usage, accounts
from tokenroof.deploy.capacity import memory_problem
from tokenroof.deploy.client import client_s
from tokenroof.deploy.colocated import Times, prefill_steps, table_of
from tokenroof.deploy.core import Capacity, Deployment, Estimate, Infeasible, Metric, Phase, Pool, Role
from tokenroof.deploy.defaults import DEFAULT_CONCURRENCY, default_concurrency, nearest_fit
from tokenroof.deploy.generation import Plan, chunk_batch, chunk_sizes, decoding
from tokenroof.deploy.halves.models import part_of
from tokenroof.deploy.legality import engine_problem
from tokenroof.deploy.metrics import metric
from tokenroof.deploy.phases import LazyPhases, phase
from tokenroof.deploy.provenance import (
    borrowed,
    evidence,
    machine_of,
    power_of,
    projections,
    quantities,
    source_lines,
)
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, decode_batch
from tokenroof.perf.compile import Samples
from tokenroof.perf.lowprec import formats_on
from tokenroof.perf.step import step_time
from tokenroof.workload.core import RequestShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked, resolved."""

    deployment: Deployment
    shape: RequestShape
    plan: Plan
    catalog: Catalog
    spending: Spending
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one phase takes from a replica.

    Attributes
    ----------
    dynamic_j : float or None
        Energy of arithmetic, memory and wires, all chips; None without a power figure. [J]
    compute_chip_s : float
        Arithmetic at the peaks, all chips. [s]
    """

    dynamic_j: float | None
    compute_chip_s: float


def infeasible(
    question: Question, problem: Infeasible, concurrency: int, capacity: Capacity | None = None
) -> Estimate:
    """The answer that there is none, and why."""
    return Estimate(
        deployment=question.deployment,
        shape=question.shape,
        concurrency=concurrency,
        metrics={},
        phases={},
        capacity=capacity,
        infeasible=problem,
        assumptions=projections(question.deployment.pools),
        label=question.label,
    )


def fit_problem(question: Question, pool: Pool) -> Infeasible | None:
    """Why the model does not fit the pool's chips, with the nearest change that would, or None."""
    deployment, shape = question.deployment, question.shape
    part = part_of(deployment, pool)
    problem = memory_problem(pool, part, deployment.precision, shape)
    if problem is None:
        return None
    nearest = nearest_fit(pool, part, deployment.precision, shape)
    return replace(problem, reason=f"{problem.reason} {nearest}")


def sequences_problem(question: Question, pool: Pool, held: int, sequences: int) -> Infeasible | None:
    """Why a replica cannot hold or run so many sequences, or None."""
    if sequences > held:
        shape, chips = question.shape, pool.parallel.chips
        reason = (
            f"does not fit: {sequences} sequences of {shape.isl_tokens} + {shape.osl_tokens} tokens "
            f"per replica > {held} that its cache holds on {chips} x {pool.chip.name}. "
            f"Use at most {held} per replica, or more replicas or chips."
        )
        return Infeasible(reason=reason, need=sequences, have=held, unit="sequences")
    return engine_problem(pool, sequences)


def chosen_sequences(
    pool: Pool, held: int, concurrency: int | None, batch: int | None
) -> tuple[int, int, tuple[str, ...]]:
    """Concurrency of the deployment, sequences of its busiest replica, and what was assumed."""
    if batch is not None:
        return batch * pool.replicas, batch, ()
    if concurrency is not None:
        return concurrency, -(-concurrency // pool.replicas), ()
    chosen = default_concurrency(held, pool.engine, pool.parallel.dp)
    why = "the default" if chosen == DEFAULT_CONCURRENCY else "all that fit"
    return chosen * pool.replicas, chosen, (f"concurrency: {chosen} sequences per replica, {why}",)


def decode_work(pool: Pool, step: Samples) -> Work:
    """What one generation step takes."""
    return _work(pool, step, 1)


def prefill_work(question: Question, pool: Pool, alone: Samples) -> Work:
    """What one prompt takes, as a share of as many as keep every data parallel rank busy.

    ``alone`` are the steps of one prompt on an idle replica.
    """
    ranks = pool.parallel.dp
    if ranks > 1:
        table = table_of(pool, question.deployment, question.plan)
        alone = prefill_steps(pool, table, question.shape, ranks)
    return _work(pool, alone, ranks)


def _work(pool: Pool, steps: Samples, requests: int) -> Work:
    """Share of one of ``requests``; a sample is one chip's work in all stages."""
    chips = pool.parallel.stage_chips / requests
    known = power_of(pool) is not None
    return Work(
        dynamic_j=float(steps.energy_j.sum()) * chips if known else None,
        compute_chip_s=float(steps.compute_s.sum()) * chips,
    )


def usage(
    question: Question, pool: Pool, works: Iterable[Work], *, prefill_chip_s: float, decode_chip_s: float
) -> Usage:
    """What the pool spends on one request, which takes ``works``."""
    each = tuple(works)
    power = power_of(pool)
    return Usage(
        chips=pool.parallel.chips * pool.replicas,
        prefill_chip_s=prefill_chip_s,
        decode_chip_s=decode_chip_s,
        compute_chip_s=sum(work.compute_chip_s for work in each),
        dynamic_j_per_request=None if power is None else sum(work.dynamic_j or 0.0 for work in each),
        power=power,
        basis=question.spending.basis(question.catalog.economics(), pool.chip),
    )


def decode_share(question: Question, pool: Pool, step: Samples, micro_batch: int) -> Work:
    """What all generation steps of one request take."""
    one, steps = decode_work(pool, step), question.plan.steps
    return Work(
        dynamic_j=None if one.dynamic_j is None else steps * one.dynamic_j / micro_batch,
        compute_chip_s=steps * one.compute_chip_s / micro_batch,
    )


def metrics_of(
    question: Question, times: Times, usages: tuple[Usage, ...], *, requests_per_s: float, max_batch: int
) -> dict[str, Metric]:
    """Every metric that both kinds of deployment have; one that the request does not define is left out."""
    shape, plan = question.shape, question.plan
    chips = sum(each.chips for each in usages)
    output_per_s = requests_per_s * shape.osl_tokens
    prompts = next(pool for pool in question.deployment.pools if pool.role is not Role.DECODE)
    outside_s = client_s(prompts, shape.isl_tokens)
    values = {
        "prefill_s": times.prefill_s,
        "ttft_s": outside_s + times.ttft_s,
        "waiting_s": times.waiting_s,
        "tpot_s": times.tpot_s,
        "decode_step_s": times.decode_step_s,
        "e2e_s": outside_s + times.e2e_s,
        "output_tokens_per_s": output_per_s,
        "output_tokens_per_s_per_chip": output_per_s / chips,
        "total_tokens_per_s_per_chip": requests_per_s * (shape.isl_tokens + shape.osl_tokens) / chips,
        "output_tokens_per_s_per_user": 1.0 / times.tpot_s,
        "requests_per_s": requests_per_s,
        "chips": chips,
        "max_batch": max_batch,
        "mfu_fraction": sum(each.compute_chip_s for each in usages) * requests_per_s / chips,
    }
    spent = accounts(usages, shape, requests_per_s=requests_per_s)
    undefined = {
        *(() if plan.prompt_tokens else ("prefill_s", "usd_per_mtok_input")),
        *(() if plan.steps else ("decode_step_s", "usd_per_mtok_output")),
        *(("tpot_s", "output_tokens_per_s_per_user") if shape.osl_tokens == 1 else ()),
    }
    found = {name: metric(name, value) for name, value in values.items()} | spent
    return {name: each for name, each in found.items() if name not in undefined}


def phases_of(
    plan: Plan, *, prefill: Callable[[], Phase], decode: Callable[[], Phase]
) -> dict[str, Callable[[], Phase]]:
    """The phases that a request goes through, to be explained when asked for.

    There is no prefill where every step runs the whole sequence, and no decode after a single token.
    """
    return {
        **({"prefill": prefill} if plan.prompt_tokens else {}),
        **({"decode": decode} if plan.steps else {}),
    }


def explain_decode(
    question: Question, pool: Pool, seqs: int, in_flight: int, *, query_tokens: int = 1
) -> Phase:
    """One generation step of ``seqs`` sequences at the mean context, operator by operator.

    ``in_flight`` such micro-batches share the static power of the replica; a step that verifies drafts
    has ``query_tokens`` per sequence.
    """
    context = question.plan.context_tokens
    batch = (
        decoding(question.deployment.model, seqs, context)
        if query_tokens == 1
        else decode_batch(seqs, context, tokens=query_tokens)
    )
    chips = pool.parallel.chips / in_flight
    return _explain(
        question, pool, "decode", batch, working_chips=pool.parallel.stage_chips, idle_chips=chips
    )


def explain_prefill(question: Question, pool: Pool) -> Phase:
    """One prompt alone, all its chunks, operator by operator; one data parallel rank works on it."""
    sizes = chunk_sizes(question.shape.isl_tokens, pool.engine.max_num_batched_tokens)
    batch = chunk_batch(question.shape, sizes, prompts=1)
    parallel = pool.parallel
    rank = parallel.stage_chips / parallel.dp
    return _explain(question, pool, "prefill", batch, working_chips=rank, idle_chips=parallel.chips)


def _explain(
    question: Question, pool: Pool, name: str, batch: Batch, *, working_chips: float, idle_chips: float
) -> Phase:
    deployment, machine = question.deployment, machine_of(pool)
    formats = formats_on(deployment.precision, machine.peak_flop_per_s)
    ops = step_ops(deployment.model, formats, pool.parallel, batch, hot_factor=deployment.expert_load_factor)
    timed = step_time(ops, machine)
    return phase(
        name, timed, machine, power=power_of(pool), working_chips=working_chips, idle_chips=idle_chips
    )


def assemble(
    question: Question,
    *,
    concurrency: int,
    metrics: Mapping[str, Metric],
    capacity: Capacity,
    phases: Mapping[str, Callable[[], Phase]],
    bases: Iterable[CostBasis],
    assumptions: tuple[str, ...],
) -> Estimate:
    """Put the answer together, with what was assumed and where figures come from."""
    deployment = question.deployment
    priced = tuple(bases)
    tables = [table_of(pool, deployment, question.plan) for pool in deployment.pools]
    footing = evidence(
        (pool, table.efficiencies) for pool, table in zip(deployment.pools, tables, strict=True)
    )
    used = [quantity for pool in deployment.pools for quantity in quantities(pool)]
    notes = [
        *projections(deployment.pools),
        *assumptions,
        *_unpowered(deployment),
        *_balanced(deployment),
        *_blocks(deployment),
        *(f"model: {warning}" for warning in deployment.model.warnings),
        *(
            note
            for pool, table in zip(deployment.pools, tables, strict=True)
            for note in borrowed(machine_of(pool), (key for key, _ in table.efficiencies))
        ),
        *(f"cost: {note}" for basis in priced for note in basis.notes),
        *(_accounting(basis) for basis in priced),
    ]
    return Estimate(
        deployment=deployment,
        shape=question.shape,
        concurrency=concurrency,
        metrics=metrics,
        phases=LazyPhases(phases),
        capacity=capacity,
        infeasible=None,
        assumptions=tuple(dict.fromkeys(notes)),
        sources=source_lines(
            question.catalog,
            [
                *(quantity.source for quantity in used),
                *(row.source for table in tables for _, row in table.efficiencies),
                *(name for basis in priced for name in basis.sources),
            ],
            deployment.model,
        ),
        label=question.label,
        evidence=footing.text,
        grounded=footing.grounded,
    )


def _unpowered(deployment: Deployment) -> tuple[str, ...]:
    """Chips without a power figure."""
    return tuple(
        f"energy: no power figure is known for {pool.chip.name}; left out"
        for pool in deployment.pools
        if power_of(pool) is None
    )


def _balanced(deployment: Deployment) -> tuple[str, ...]:
    """That expert parallel ranks are taken to be equally busy."""
    routed = any(isinstance(group.ffn, Moe) for group in deployment.model.layers)
    spread = any(pool.parallel.ep > 1 for pool in deployment.pools)
    balanced = deployment.expert_load_factor == 1.0
    return ("experts: balanced load assumed",) if routed and spread and balanced else ()


def _blocks(deployment: Deployment) -> tuple[str, ...]:
    """That the first block of a diffusion model is counted in the time to first token."""
    diffusion = deployment.model.generation
    if diffusion is None:
        return ()
    return (
        f"tokens: the first {diffusion.block_tokens} come together, all their steps within the time to "
        "first token; the time per output token spreads the other steps over the rest of the answer",
    )


def _accounting(basis: CostBasis) -> str:
    return (
        f"cost: {basis.utilisation_fraction:.0%} of the paid hours serve; servers draw "
        f"{basis.server_overhead_factor:g} times their chips, PUE {basis.pue:g}; grid "
        f"{basis.grid_kgco2e_per_kwh * 1e3:g} gCO2e/kWh; made to last {basis.lifetime_years:g} years"
    )
