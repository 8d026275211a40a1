"""What every way of drafting says, and how its time becomes part of a step table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.model import Attention, DenseMlp, LayerGroup, MlaAttention, ModelSpec, Precision
from tokenroof.deploy.core import Deployment, Pool
from tokenroof.deploy.provenance import machine_of
from tokenroof.deploy.simulated.memory import DraftMemory
from tokenroof.errors import InputError
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, Parallel
from tokenroof.graph.sharding import sharding_problem
from tokenroof.perf import compile as compiler
from tokenroof.perf.compile import STEP, Columns, Samples
from tokenroof.perf.lowprec import formats_on
from tokenroof.perf.operators import op_time
from tokenroof.perf.table import Lane, StepTable

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FEATURE = "decode_seqs"
"""The number of the batch that drafting depends on: sequences that decode on a rank."""

MOST_SEQUENCES = 2048
"""Drafting is sampled at every count up to this one."""

_NEURONS = 256


class Drafting(Protocol):
    """A way to draft tokens."""

    @property
    def draft_tokens(self) -> int:
        """Tokens that are drafted and verified per step."""
        ...

    @property
    def acceptance_fraction(self) -> float:
        """Probability that a draft token is right, given that all before it were."""
        ...

    def sample(
        self, pool: Pool, deployment: Deployment, columns: Columns, counts: IntArray, context: int
    ) -> FloatArray | None:
        """What drafting adds to a step, for ``counts`` sequences on every rank; None: nothing.

        Parameters
        ----------
        pool, deployment : Pool, Deployment
            Where, and for what.
        columns : Columns
            What is asked for.
        counts : IntArray
            1 or more, shape (num_counts,).
        context : int
            Cached tokens of each sequence. [tokens]

        Returns
        -------
        FloatArray or None
            Shape (num_columns, num_counts).
        """
        ...

    def memory(self, pool: Pool, deployment: Deployment) -> DraftMemory:
        """What it holds on one chip."""
        ...

    def note(self) -> str:
        """What is assumed, for the assumptions."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafter:
    """A model that yields one draft token per pass, cut as the target's tensor and data parallel ranks."""

    model: ModelSpec
    precision: Precision


def check_draft(draft_tokens: int, acceptance_fraction: float) -> None:
    """Refuse a draft of no tokens, or a probability that is none.

    Raises
    ------
    InputError
        As said there.
    """
    if draft_tokens < 1:
        raise InputError(f"draft_tokens must be at least 1, got {draft_tokens}. Leave speculation out.")
    if not 0.0 <= acceptance_fraction <= 1.0:
        raise InputError(f"acceptance_fraction must lie in 0..1, got {acceptance_fraction!r}.")


def drafter_parallel(pool: Pool) -> Parallel:
    """How a drafter is cut: over the tensor parallel ranks of one stage, on every data parallel rank."""
    return Parallel(tp=pool.parallel.tp, dp=pool.parallel.dp)


def pass_samples(
    pool: Pool,
    deployment: Deployment,
    drafter: Drafter,
    columns: Columns,
    counts: IntArray,
    context: int,
) -> FloatArray:
    """One pass of the drafter, without host time; see :meth:`Drafting.sample`.

    Raises
    ------
    InputError
        The drafter cannot be cut as its target is.
    """
    machine, parallel = machine_of(pool), drafter_parallel(pool)
    formats = formats_on(drafter.precision, machine.peak_flop_per_s)
    clash = sharding_problem(drafter.model, parallel, drafter.precision)
    if clash is not None:
        raise InputError(f"{drafter.model.name} cannot draft here: {clash}")
    whole = counts * parallel.dp
    batch = Batch(decode_seqs=whole, decode_context_tokens=whole * context)
    totals = np.zeros((len(columns.names), counts.size))
    rows = dict(zip(columns.names, totals, strict=True))
    for op in step_ops(drafter.model, formats, parallel, batch, hot_factor=deployment.expert_load_factor):
        for name, value in columns.of(op_time(op, machine), machine).items():
            if name in rows:  # the target's operators by name are not those of the drafter
                rows[name] += value
    return totals


def draft_rows(
    pool: Pool, deployment: Deployment, drafting: Drafting, columns: Columns, dense_tokens: int, context: int
) -> tuple[FloatArray, FloatArray] | None:
    """What drafting adds to a step at every count, and at the knots beyond.

    Returns
    -------
    tuple of FloatArray, or None
        Shapes (num_columns, dense + 1), zero at no sequence, and (num_columns, num_tail); None: nothing.
    """
    last, tail = lane_knots(dense_tokens)
    counts = np.concatenate((np.arange(1, last + 1), tail))
    found = drafting.sample(pool, deployment, columns, counts, context)
    if found is None:
        return None
    return np.concatenate((np.zeros((found.shape[0], 1)), found[:, :last]), axis=1), found[:, last:]


def draft_lane(
    pool: Pool, deployment: Deployment, drafting: Drafting, dense_tokens: int, context: int
) -> Lane | None:
    """What drafting adds to the steps of a table whose lanes reach to ``dense_tokens``; None: nothing."""
    rows = draft_rows(pool, deployment, drafting, STEP, dense_tokens, context)
    if rows is None:
        return None
    dense, beyond = rows
    return Lane(
        feature=FEATURE,
        dense=Samples(*dense),
        tail=lane_knots(dense_tokens)[1],
        tail_samples=Samples(*beyond),
    )


def lane_knots(dense_tokens: int) -> tuple[int, IntArray]:
    """Last count that is sampled densely, and the knots beyond: those of a table's own lane of sequences."""
    last = min(dense_tokens, MOST_SEQUENCES)
    return last, compiler.tail_knots(last)


def with_lane(table: StepTable, lane: Lane | None) -> StepTable:
    """The table with the work of one more lane, added to the lane of its feature if there is one."""
    if lane is None:
        return table
    same = next((each for each in table.lanes if each.feature == lane.feature), None)
    if same is None:
        return replace(table, lanes=(*table.lanes, lane))
    both = Lane(
        feature=lane.feature,
        dense=Samples(*(a + b for a, b in zip(same.dense, lane.dense, strict=True))),
        tail=same.tail,
        tail_samples=Samples(*(a + b for a, b in zip(same.tail_samples, lane.tail_samples, strict=True))),
    )
    return replace(table, lanes=tuple(both if each is same else each for each in table.lanes))


def one_layer(model: ModelSpec, group: LayerGroup, name: str) -> ModelSpec:
    """A model of a single layer of ``group`` with the embedding and head of ``model``."""
    return replace(
        model,
        name=name,
        layers=(replace(group, count=1),),
        mtp=(),
        mtp_extra_parameters=0,
        vision=None,
        extra_parameters=0,
        warnings=(),
    )


def dense_layer(model: ModelSpec, joined: int) -> LayerGroup:
    """A dense decoder layer as wide as what ``model`` runs per token, fed with ``joined`` hidden states.

    The projection that joins them (``joined * hidden**2`` parameters) is counted as so many more neurons
    of the feed-forward: the same bytes and the same arithmetic. Neurons are rounded up to whole 256.
    """
    group = next(
        (each for each in reversed(model.layers) for mixer in each.mixers if _attends(mixer)),
        model.layers[-1],
    )
    width, gated = _active_width(group if group.ffn is not None else model.layers[-1])
    whole = width + joined * model.hidden // (3 if gated else 2)
    whole = -(-whole // _NEURONS) * _NEURONS
    mixers = tuple(mixer for mixer in group.mixers if _attends(mixer)) or group.mixers
    return replace(
        group,
        mixers=mixers[:1],
        ffn=DenseMlp(intermediate=whole, gated=gated),
        mixing_parameters=0,
        streams=1,
    )


def _attends(mixer: object) -> bool:
    return isinstance(mixer, Attention | MlaAttention) and mixer.window_tokens is None


def _active_width(group: LayerGroup) -> tuple[int, bool]:
    """Neurons of a feed-forward that one token passes, and whether it is gated."""
    ffn = group.ffn
    if ffn is None or isinstance(ffn, DenseMlp):
        return (ffn.intermediate, ffn.gated) if ffn is not None else (0, True)
    return ffn.topk * ffn.intermediate + ffn.shared_intermediate + ffn.parallel_dense_intermediate, ffn.gated
