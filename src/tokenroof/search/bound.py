"""The fewest chips that physics allows: peaks of the datasheet, nothing lost, nobody waits."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tokenroof.catalog.core import Chip
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.capacity import resident_weights
from tokenroof.deploy.generation import plan_of
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, Parallel, decode_batch, prefill_batch
from tokenroof.graph.memory import fixed_bytes_per_sequence_per_chip, kv_bytes_per_token_per_chip
from tokenroof.perf.core import Machine
from tokenroof.perf.lowprec import formats_on
from tokenroof.perf.machine import build_machine
from tokenroof.perf.peaks import peak_name
from tokenroof.search.asked import Load, Question
from tokenroof.search.core import LowerBound
from tokenroof.search.space import format_problem
from tokenroof.workload.core import RequestShape

ALONE = Parallel()
"""One chip holds everything: work and bytes of the whole model."""


def lower_bounds(question: Question, load: Load, shape: RequestShape) -> tuple[LowerBound, ...]:
    """The bound of every chip that has some of the formats, fewest first.

    Parameters
    ----------
    question : Question
        Model, chips, formats, targets.
    load : Load
        Rate and lengths; headroom of the question comes on top.
    shape : RequestShape
        The mean request.
    """
    found = []
    formats = question.space.precisions or (question.model.precision,)
    for chip in question.chips:
        tried = [each for each in formats if format_problem(chip, each, question.model) is None]
        if tried:
            bounds = (_bound(question, load, shape, chip, each) for each in tried)
            found.append(min(bounds, key=lambda bound: (bound.chips, bound.memory_chips)))
    return tuple(sorted(found, key=lambda bound: (bound.chips, bound.chip)))


def _bound(
    question: Question, load: Load, shape: RequestShape, chip: Chip, precision: Precision
) -> LowerBound:
    model = question.model
    machine = build_machine(chip, question.space.engines[0], efficiencies=chip.efficiencies or None)
    formats = formats_on(precision, machine.peak_flop_per_s)
    plan = plan_of(model, shape)
    prompt = max(1, round(shape.isl_tokens * (1.0 - load.shared_fraction)))
    per_s = load.requests_per_s * (1.0 + question.headroom_fraction)
    prefill_s = _compute_s(model, formats, machine, prefill_batch(1, prompt))
    one = decode_batch(1, plan.context_tokens)
    step_s = _compute_s(model, formats, machine, one)
    compute = per_s * (prefill_s + plan.steps * step_s)
    bandwidth_bytes_per_s = sum(tier.bandwidth_bytes_per_s.value for tier in chip.memory if tier.holds)
    # what a step reads: sparse attention keeps more than that
    cache_bytes = sum(float(op.work.kv_bytes) * op.count for op in step_ops(model, formats, ALONE, one))
    bandwidth = per_s * plan.steps / _most_tokens(question) * cache_bytes / bandwidth_bytes_per_s
    limit_s = _step_limit_s(question)
    if limit_s is not None and plan.steps:
        read = sum(float(op.work.weights_bytes) * op.count for op in step_ops(model, formats, ALONE, one))
        bandwidth = max(bandwidth, read / (bandwidth_bytes_per_s * limit_s))
    held = float(sum(resident_weights(model, precision, ALONE).values()))
    longest = load.longest_tokens
    held += float(kv_bytes_per_token_per_chip(model, precision, ALONE) * longest)
    held += float(fixed_bytes_per_sequence_per_chip(model, precision, ALONE, longest))
    memory = held / sum(tier.usable_capacity_bytes.value for tier in chip.memory if tier.holds)
    return bound_of(chip.name, precision, memory, compute, bandwidth)


def bound_of(chip: str, precision: Precision, memory: float, compute: float, bandwidth: float) -> LowerBound:
    """The largest of the three, in whole chips."""
    parts = {"memory": memory, "compute": compute, "bandwidth": bandwidth}
    binding = max(parts, key=lambda name: parts[name])
    return LowerBound(
        chip=chip,
        precision=precision,
        chips=max(1, math.ceil(parts[binding] - 1e-9)),
        memory_chips=memory,
        compute_chips=compute,
        bandwidth_chips=bandwidth,
        binding=binding,
    )


def _compute_s(model: ModelSpec, formats: Precision, machine: Machine, batch: Batch) -> float:
    """Arithmetic of a step at the peaks of its formats. [s]"""
    return sum(
        float(op.work.flop) * op.count / float(machine.peak_flop_per_s[peak_name(op, machine)])
        for op in step_ops(model, formats, ALONE, batch)
    )


def _most_tokens(question: Question) -> int:
    """Tokens that one read of the cache may yield: with drafts, all of them and one more."""
    return 1 + max((each.draft_tokens for each in question.space.drafting if each is not None), default=0)


def _step_limit_s(question: Question) -> float | None:
    """What a token may take at most, when no drafts come free; None when nothing is asked. [s]"""
    if any(each is not None for each in question.space.drafting):
        return None
    limits = [
        target.limit_s
        for target in question.targets
        if target.latency in ("tpot", "itl") and (target.quantile is None or target.quantile >= 0.5)
    ]
    return min(limits, default=None)


def least_chips(bounds: Sequence[LowerBound], chips: Sequence[str]) -> int:
    """Fewest chips of these kinds together.

    Each need by itself is met by no fewer than of the kind that is best at it; of two kinds one may be best
    at arithmetic and the other at reading, so that both together are fewer than either alone.
    """
    mine = [bound for bound in bounds if bound.chip in chips]
    if not mine:
        return 1
    need = max(
        min(bound.memory_chips for bound in mine),
        min(bound.compute_chips for bound in mine),
        min(bound.bandwidth_chips for bound in mine),
    )
    return max(1, math.ceil(need - 1e-9))
