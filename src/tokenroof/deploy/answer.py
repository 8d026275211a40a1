"""What both kinds of deployment need to turn times into an :class:`Estimate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from tokenroof.catalog.catalog import Catalog
from tokenroof.cost.basis import CostBasis
from tokenroof.deploy.accounts import Spending
from tokenroof.deploy.capacity import memory_problem
from tokenroof.deploy.colocated import prefill_steps, table_of
from tokenroof.deploy.core import Capacity, Deployment, Estimate, Infeasible, Metric, Phase, Pool
from tokenroof.deploy.defaults import DEFAULT_CONCURRENCY, default_concurrency, nearest_fit
from tokenroof.deploy.generation import Plan, chunk_batch, chunk_sizes, decoding
from tokenroof.deploy.legality import engine_problem
from tokenroof.deploy.phases import LazyPhases, phase
from tokenroof.deploy.provenance import (
    borrowed,
    machine_of,
    projections,
    quantities,
    source_lines,
)
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch
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
    dynamic_j : float
        Energy of arithmetic, memory and wires, all chips. [J]
    compute_s : float
        Arithmetic at the peaks, on one chip for all stages. [s]
    """

    dynamic_j: float
    compute_s: float


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
    problem = memory_problem(pool, deployment.model, deployment.precision, shape)
    if problem is None:
        return None
    nearest = nearest_fit(pool, deployment.model, deployment.precision, shape)
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
    return Work(dynamic_j=float(step.energy_j) * pool.parallel.stage_chips, compute_s=float(step.compute_s))


def prefill_work(question: Question, pool: Pool, alone: Samples) -> Work:
    """What one prompt takes, as a share of as many as keep every data parallel rank busy.

    ``alone`` are the steps of one prompt on an idle replica.
    """
    ranks, deployment = pool.parallel.dp, question.deployment
    if ranks > 1:
        table = table_of(pool, deployment.model, deployment.precision, question.plan)
        alone = prefill_steps(pool, table, question.shape, ranks)
    return Work(
        dynamic_j=float(alone.energy_j.sum()) * pool.parallel.stage_chips / ranks,
        compute_s=float(alone.compute_s.sum()) / ranks,
    )


def explain_decode(question: Question, pool: Pool, seqs: int) -> Phase:
    """One generation step of ``seqs`` sequences at the mean context, operator by operator."""
    batch = decoding(question.deployment.model, seqs, question.plan.context_tokens)
    return _explain(question, pool, "decode", batch)


def explain_prefill(question: Question, pool: Pool) -> Phase:
    """One prompt alone, all its chunks, operator by operator."""
    sizes = chunk_sizes(question.shape.isl_tokens, pool.engine.max_num_batched_tokens)
    return _explain(question, pool, "prefill", chunk_batch(question.shape, sizes, prompts=1))


def _explain(question: Question, pool: Pool, name: str, batch: Batch) -> Phase:
    machine = machine_of(pool)
    formats = formats_on(question.deployment.precision, machine.peak_flop_per_s)
    timed = step_time(step_ops(question.deployment.model, formats, pool.parallel, batch), machine)
    return phase(name, timed, machine, chips=pool.parallel.chips)


def basis_of(question: Question, pool: Pool) -> CostBasis:
    """Prices and intensities of the pool's chip."""
    return question.spending.basis(question.catalog.economics(), pool.chip)


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
    tables = [
        table_of(pool, deployment.model, deployment.precision, question.plan) for pool in deployment.pools
    ]
    used = [quantity for pool in deployment.pools for quantity in quantities(pool)]
    notes = [
        *projections(deployment.pools),
        *assumptions,
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
    )


def _accounting(basis: CostBasis) -> str:
    return (
        f"cost: {basis.utilisation_fraction:.0%} of the paid hours serve; servers draw "
        f"{basis.server_overhead_factor:g} times their chips, PUE {basis.pue:g}; grid "
        f"{basis.grid_kgco2e_per_kwh * 1e3:g} gCO2e/kWh; made to last {basis.lifetime_years:g} years"
    )
