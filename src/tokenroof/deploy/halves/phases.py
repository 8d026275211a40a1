"""A decode step in two halves, explained: what either kind of chips does, and how long it waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tokenroof.deploy.core import Phase, Pool, Role
from tokenroof.deploy.halves.steps import HalvedSteps
from tokenroof.deploy.phases import HOST, phase
from tokenroof.deploy.provenance import machine_of, power_of
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Op, decode_batch
from tokenroof.graph.head import head_ops
from tokenroof.graph.step import make_step
from tokenroof.perf.core import StepTime
from tokenroof.perf.operators import op_time
from tokenroof.perf.table import StepTable

IntArray = npt.NDArray[np.int64]

WAITING = "waiting"
"""Limit under which the time is counted in which chips wait for the other half of a layer, or the wires."""


def explain_halves(
    steps: HalvedSteps, table: StepTable, seqs: int, context: int
) -> dict[str, Callable[[], Phase]]:
    """The decode step on the attention chips and on the feed-forward chips, to be explained when asked for.

    Parameters
    ----------
    steps : HalvedSteps
        Both halves.
    table : StepTable
        Of both together.
    seqs, context : int
        Sequences of the step, and cached tokens of each.
    """
    return {
        "decode": lambda: _attention_phase(steps, table, seqs, context),
        "feed_forward": lambda: _feed_forward_phase(steps, table, seqs, context),
    }


def _attention_phase(steps: HalvedSteps, table: StepTable, seqs: int, context: int) -> Phase:
    """Micro-batches through the attention half, then the head once for all."""
    subject = steps.table.subject
    half = (subject.model, subject.precision, subject.parallel)
    batch = decode_batch(seqs, context)
    head = head_ops(make_step(*half, batch, hot_factor=subject.hot_factor))
    names = {op.name for op in head}
    micro = _micro_batches(steps, seqs)
    found = step_ops(*half, decode_batch(micro, context), hot_factor=subject.hot_factor)
    ops = [op for op in found if op.name not in names] + [*steps.return_ops(steps.counts(micro)["tokens"])]
    return _phase(steps.attention, table, "decode", [*ops, *head], seqs, context)


def _feed_forward_phase(steps: HalvedSteps, table: StepTable, seqs: int, context: int) -> Phase:
    tokens = steps.counts(_micro_batches(steps, seqs))["whole_tokens"]
    ops = [op for _, found in steps.feed_forward_ops(tokens) for op in found]
    return _phase(steps.feed_forward, table, "feed_forward", ops, seqs, context)


def _micro_batches(steps: HalvedSteps, seqs: int) -> IntArray:
    """Sizes of the micro-batches of one step, one by one."""
    parts = steps.cut(np.array([seqs]))
    sizes = np.concatenate((parts.large, parts.small))
    return np.repeat(sizes, np.concatenate((parts.num_large, parts.num_small)))


def _phase(pool: Pool, table: StepTable, name: str, ops: Sequence[Op], seqs: int, context: int) -> Phase:
    """What one kind of chips does in a step; the rest of the step it waits, or its host works."""
    step_s = float(table.evaluate(decode_batch(seqs, context)).time_s)
    machine = machine_of(pool)
    timed = tuple(op_time(op, machine) for op in ops)
    own_s = sum(float(np.sum(each.time_s)) for each in timed)
    found = phase(
        name,
        StepTime(ops=timed, overhead_s=max(0.0, step_s - own_s), time_s=step_s, energy_j=None),
        machine,
        power=power_of(pool),
        working_chips=pool.parallel.stage_chips,
        idle_chips=pool.parallel.chips,
    )
    idle_s = found.by_limit_s[HOST]
    host_s = min(table.overhead_s, idle_s) if pool.role is Role.DECODE else 0.0
    by_limit = {**found.by_limit_s, HOST: host_s, WAITING: idle_s - host_s}
    return replace(found, by_limit_s=by_limit, limit=max(by_limit, key=by_limit.__getitem__))
