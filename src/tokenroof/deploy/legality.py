"""Whether a model may be cut a given way on a given chip; if not, why, as a value."""

from __future__ import annotations

from tokenroof.catalog.core import Chip
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.core import Infeasible, Pool
from tokenroof.graph.sharding import sharding_problem
from tokenroof.workload.core import RequestShape


def domain_size(chip: Chip) -> int:
    """Chips that the scale-up fabric joins; 1 without one."""
    return chip.scale_up.domain_size if chip.scale_up is not None else 1


def reach(chip: Chip) -> int:
    """Most chips that any fabric of this chip joins."""
    return max(domain_size(chip), chip.scale_out.domain_size if chip.scale_out is not None else 1)


def layout_problem(pool: Pool, model: ModelSpec, precision: Precision) -> Infeasible | None:
    """Why the pool's sharding is not legal for the model and the chip, or None.

    Checked: the model's heads, experts and layers can be cut so; the tensor parallel group stays inside
    the scale-up domain or has a scale-out fabric to cross it; the fabrics join enough chips.
    """
    parallel, chip = pool.parallel, pool.chip
    clash = sharding_problem(model, parallel, precision)
    if clash is not None:
        return Infeasible(reason=f"not legal: {clash}")
    if parallel.chips > reach(chip):
        have = reach(chip)
        reason = (
            f"not legal: {parallel.chips} chips in one replica, but the fabrics of {chip.name} join {have}. "
            f"Use tp * dp * pp * cp of at most {have}, or another chip."
        )
        return Infeasible(reason=reason, need=parallel.chips, have=have, unit="chips")
    if parallel.stage_chips > domain_size(chip) and chip.scale_out is None:
        have = domain_size(chip)
        reason = (
            f"not legal: a stage of {parallel.stage_chips} chips leaves the scale-up domain of {chip.name} "
            f"({have}) and there is no scale-out fabric. Use tp * dp * cp of at most {have}."
        )
        return Infeasible(reason=reason, need=parallel.stage_chips, have=have, unit="chips")
    return None


def context_problem(model: ModelSpec, shape: RequestShape) -> Infeasible | None:
    """Why the request is longer than the model's context, or None."""
    length = shape.isl_tokens + shape.osl_tokens
    if length <= model.max_context_tokens:
        return None
    reason = (
        f"too long: {shape.isl_tokens} + {shape.osl_tokens} tokens > the {model.max_context_tokens} "
        f"tokens that {model.name} allows. Shorten the request."
    )
    return Infeasible(reason=reason, need=length, have=model.max_context_tokens, unit="tokens")


def engine_problem(pool: Pool, sequences: int) -> Infeasible | None:
    """Why the engine cannot run ``sequences`` at once in one replica, or None.

    Every data parallel rank schedules for itself.
    """
    engine, ranks = pool.engine, pool.parallel.dp
    micro = -(-sequences // pool.parallel.pp)
    limit = engine.max_num_seqs * ranks
    if sequences > limit:
        reason = (
            f"too many sequences: {sequences} per replica > {limit} that {engine.name} runs at once "
            f"(max_num_seqs). Use at most {limit}, or more replicas."
        )
        return Infeasible(reason=reason, need=sequences, have=limit, unit="sequences")
    budget = engine.max_num_batched_tokens * ranks
    if micro > budget - ranks:
        reason = (
            f"too many sequences: a step of {micro} leaves no room for prompts in the budget of {budget} "
            f"tokens of {engine.name} (max_num_batched_tokens). Use at most {budget - ranks}."
        )
        return Infeasible(reason=reason, need=micro, have=budget - ranks, unit="sequences")
    return None
