"""What attention chips and feed-forward chips do in steps, each for themselves: joules, arithmetic, bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenroof.deploy.halves.steps import PROMPTS, HalvedSteps
from tokenroof.graph.core import Op
from tokenroof.perf.core import Machine
from tokenroof.perf.flat import FlatLane, FlatLayout, flatten
from tokenroof.perf.operators import op_time
from tokenroof.perf.quantities import compile_quantities, numbers_of
from tokenroof.perf.table import Lane

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SCALARS = ("energy_j", "compute_s")
_ON_WIRES = ("energy_j", "network_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """How often what was done.

    Attributes
    ----------
    sizes, often : IntArray, FloatArray
        Sequences of a micro-batch; how many of these there were.
    seqs, steps : IntArray, FloatArray
        Sequences of a step; how many of these there were.
    rows : FloatArray
        By micro-batch size: how often at which knot of the context, shape (num_sizes, num_contexts).
    prompts, prompt_steps : IntArray, FloatArray
        New tokens of steps with prompts in them; how many there were.
    prefill : FloatArray
        Visits of the prefill grid, flat.
    """

    sizes: IntArray
    often: FloatArray
    seqs: IntArray
    steps: FloatArray
    rows: FloatArray
    prompts: IntArray
    prompt_steps: FloatArray
    prefill: FloatArray


def cut_visits(steps: HalvedSteps, seqs: IntArray, rows: FloatArray) -> Visits:
    """Decode steps by micro-batch.

    Parameters
    ----------
    steps : HalvedSteps
        How they are cut.
    seqs : IntArray
        Sequences of steps, shape (num_points,).
    rows : FloatArray
        How often such a step had which context, shape (num_points, num_contexts).
    """
    often = rows.sum(axis=1)
    parts = steps.cut(seqs)
    share = np.concatenate((parts.num_large, parts.num_small)).astype(np.float64)
    some = share > 0.0
    return Visits(
        sizes=np.concatenate((parts.large, parts.small))[some],
        often=(share * np.tile(often, 2))[some],
        seqs=seqs,
        steps=often,
        rows=(share[:, None] * np.tile(rows, (2, 1)))[some],
        prompts=np.zeros(0, np.int64),
        prompt_steps=np.zeros(0),
        prefill=np.zeros(steps.table.prefill.time_s.size),
    )


def attention_sums(steps: HalvedSteps, seen: Visits) -> dict[str, float]:
    """Quantities of :class:`tokenroof.perf.quantities.Quantities` of one attention chip, summed."""
    ranks = steps.attention.parallel.dp
    rank_seqs = -(-seen.sizes // ranks)
    layout = steps.layout(int(rank_seqs.max(initial=1)))
    visits = np.zeros(layout.size)
    rows = visits[layout.decode_offset : layout.prefill_offset].reshape(layout.decode_rows, -1)
    np.add.at(rows[:, : seen.rows.shape[1]], rank_seqs, seen.rows)
    visits[layout.prefill_offset :] = seen.prefill
    counts = steps.counts(seen.sizes)
    for lane, where in zip(steps.table.lanes, layout.lanes, strict=True):
        if lane.feature == "logits":
            visit_lane(visits, lane, where, -(-seen.seqs // ranks), seen.steps)
            visit_lane(visits, lane, where, np.ones_like(seen.prompts), seen.prompt_steps)
        else:
            visit_lane(visits, lane, where, counts[lane.feature], seen.often)
            if lane.feature in ("tokens", "whole_tokens", PROMPTS):
                visit_lane(visits, lane, where, seen.prompts, seen.prompt_steps)
    sums = _table_sums(steps, visits, layout)
    machine = steps.machines[0]
    for tokens, whole, often in (
        (counts["tokens"], counts["whole_tokens"], seen.often),
        (seen.prompts, seen.prompts, seen.prompt_steps),
    ):
        add(sums, steps.return_ops(tokens), machine, often)
        add(sums, steps.sends(tokens, whole)[0], machine, often, kinds=_ON_WIRES)
    return sums


def feed_forward_sums(steps: HalvedSteps, seen: Visits) -> dict[str, float]:
    """The same of one feed-forward chip."""
    machine = steps.machines[1]
    sums = {"energy_j": 0.0, "compute_s": 0.0}
    for tokens, often in (
        (steps.counts(seen.sizes)["whole_tokens"], seen.often),
        (seen.prompts, seen.prompt_steps),
    ):
        for _, ops in steps.feed_forward_ops(tokens):
            add(sums, ops, machine, often)
        add(sums, steps.sends(tokens, tokens)[1], machine, often, kinds=_ON_WIRES)
    return sums


def add(
    sums: dict[str, float],
    ops: Iterable[Op],
    machine: Machine,
    often: FloatArray,
    *,
    kinds: tuple[str, ...] = (*_SCALARS, "limit_s", "memory_s", "network_s"),
) -> None:
    """Add operators that ran ``often``, batch by batch; of their quantities, those of some ``kinds``."""
    for op in ops:
        for name, value in numbers_of(op_time(op, machine), machine).items():
            if name.partition(":")[0] in kinds:
                total = float(np.sum(np.broadcast_to(np.asarray(value), often.shape) * often))
                sums[name] = sums.get(name, 0.0) + total


def visit_lane(visits: FloatArray, lane: Lane, where: FlatLane, counts: IntArray, often: FloatArray) -> None:
    """Count what ``Lane.at`` would interpolate, ``often`` times at each of ``counts``."""
    near = counts < where.dense_size
    np.add.at(visits, where.dense_offset + counts[near], often[near])
    far, rest = counts[~near], often[~near]
    left = np.clip(lane.tail.searchsorted(far, side="right") - 1, 0, lane.tail.size - 2)
    share = (far - lane.tail[left]) / (lane.tail[left + 1] - lane.tail[left])
    np.add.at(visits, where.tail_offset + left, rest * (1.0 - share))
    np.add.at(visits, where.tail_offset + left + 1, rest * share)


def _table_sums(steps: HalvedSteps, visits: FloatArray, layout: FlatLayout) -> dict[str, float]:
    quantities = compile_quantities(steps.table)
    wanted = [
        name
        for name in quantities
        if name in _SCALARS or name.split(":")[0] in ("limit_s", "memory_s", "network_s")
    ]
    used = np.flatnonzero(visits)
    return {name: float(visits[used] @ flatten(quantities[name], layout)[used]) for name in wanted}
