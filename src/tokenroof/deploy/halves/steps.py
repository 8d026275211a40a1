"""Decode steps of attention chips and feed-forward chips together, as one step table.

The batch of a step is cut into micro-batches, as many as ``micro_batches`` says but none empty on the
busiest attention rank, of sizes that differ by one at most. Token table, norms and mixers are done for one
micro-batch after the other, head and sampling once for the whole batch, after the last has come back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.model import FeedForward as Layer
from tokenroof.deploy.core import Deployment, Pool, Role
from tokenroof.deploy.halves.core import FeedForward
from tokenroof.deploy.halves.models import attention_half, feed_forward_of
from tokenroof.deploy.halves.pingpong import Rounds, Station, ping_pong_s
from tokenroof.deploy.halves.wires import End, stride_of, together, way_s
from tokenroof.deploy.provenance import machine_of
from tokenroof.graph.build import ffn_ops
from tokenroof.graph.comms import tp_allgather
from tokenroof.graph.core import Batch, Op, Parallel
from tokenroof.graph.step import Step, make_step
from tokenroof.perf.compile import Samples, dense_knots
from tokenroof.perf.core import Machine
from tokenroof.perf.flat import FlatLayout, flat_layout, flat_times
from tokenroof.perf.lowprec import formats_on
from tokenroof.perf.operators import op_time
from tokenroof.perf.table import Lane, StepTable, compile_table, running_sum
from tokenroof.serve.world import lane_counts

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LEAVES, ENTERS, BACK, RETURNS = (
    "comm.to_feed_forward",
    "comm.enter_allgather",
    "comm.to_attention",
    "comm.return_allgather",
)
"""Messages between the halves: sent, put together on arrival; and the same on the way back."""

PROMPTS = "prefill_tokens"
"""Lane of the whole table in which prompts that are computed again cost everything but their attention."""

_ROWS_AT_ONCE = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Micro-batches of steps; arrays of one shape.

    Attributes
    ----------
    large, small : IntArray
        Their two sizes. [sequences]
    num_large, num_small : IntArray
        How many of each.
    """

    large: IntArray
    small: IntArray
    num_large: IntArray
    num_small: IntArray


def cut(seqs: IntArray, micro_batches: int, ranks: int) -> Cut:
    """Batches of ``seqs`` sequences on ``ranks`` attention ranks, cut into at most so many micro-batches."""
    parts = np.maximum(np.minimum(-(-seqs // ranks), micro_batches), 1)
    small = seqs // parts
    num_large = seqs - small * parts
    return Cut(large=-(-seqs // parts), small=small, num_large=num_large, num_small=parts - num_large)


@dataclass(frozen=True, kw_only=True, eq=False)
class HalvedSteps:
    """Everything that the time of a decode step in two halves depends on.

    Attributes
    ----------
    deployment : Deployment
        With a decode pool and a feed-forward pool.
    attention, feed_forward : Pool, FeedForward
        These, engines as they are served.
    graph_sizes : tuple of int
        Micro-batches of an attention rank are padded up to the next of these.
    """

    deployment: Deployment
    attention: Pool
    feed_forward: FeedForward
    graph_sizes: tuple[int, ...] = ()

    @cached_property
    def rounds(self) -> tuple[tuple[Layer, int], ...]:
        """Every kind of feed-forward, and in how many layers it is."""
        found: Counter[Layer] = Counter()
        for group in self.deployment.model.layers:
            if group.ffn is not None:
                found[group.ffn] += group.count
        return tuple(found.items())

    @property
    def num_rounds(self) -> int:
        """Layers with a feed-forward."""
        return sum(count for _, count in self.rounds)

    @cached_property
    def machines(self) -> tuple[Machine, Machine]:
        """Attention chip and feed-forward chip."""
        return machine_of(self.attention), machine_of(self.feed_forward)

    @cached_property
    def ends(self) -> tuple[End, End]:
        """Both sides of the wires."""
        inside = together(self.attention, self.feed_forward)
        one, other = (
            End(machine=machine, ways=pool.parallel.tp, stride=stride_of(pool, inside=inside))
            for pool, machine in zip((self.attention, self.feed_forward), self.machines, strict=True)
        )
        return one, other

    @cached_property
    def table(self) -> StepTable:
        """Steps of the attention half alone."""
        machine = self.machines[0]
        return compile_table(
            attention_half(self.deployment.model),
            formats_on(self.deployment.precision, machine.peak_flop_per_s),
            self.attention.parallel,
            machine,
            dense_tokens=self.attention.engine.max_num_batched_tokens,
            hot_factor=self.deployment.expert_load_factor,
        )

    def cut(self, seqs: IntArray) -> Cut:
        """How steps of ``seqs`` sequences are cut."""
        return cut(seqs, self.feed_forward.micro_batches, self.attention.parallel.dp)

    def counts(self, micro: IntArray) -> dict[str, IntArray]:
        """What every lane of the attention half counts for micro-batches of so many sequences."""
        return lane_counts(self.table, micro, self.graph_sizes)

    def feed_forward_ops(self, tokens: IntArray) -> list[tuple[int, list[Op]]]:
        """Operators of the feed-forward chips for ``tokens`` tokens: number of layers, what they run.

        Each operator's ``count`` is that of all these layers.
        """
        machine, model = self.machines[1], self.deployment.model
        step = self._step(self.feed_forward, machine, tokens)
        return [
            (
                count,
                [*tp_allgather(step, ENTERS, count, step.tokens, model.hidden), *ffn_ops(layer, count, step)],
            )
            for layer, count in self.rounds
        ]

    def return_ops(self, rank_tokens: IntArray) -> list[Op]:
        """What attention chips of one rank do to put together what came back, all layers."""
        step = self._step(self.attention, self.machines[0], rank_tokens)
        return [*tp_allgather(step, RETURNS, self.num_rounds, rank_tokens, self.deployment.model.hidden)]

    def sends(self, rank_tokens: IntArray, tokens: IntArray) -> tuple[list[Op], list[Op]]:
        """Messages that an attention chip and a feed-forward chip send, all layers.

        ``rank_tokens`` are those of the busiest attention rank, ``tokens`` those of the micro-batch.
        """
        hidden, (one, other) = self.deployment.model.hidden, self.ends
        return (
            [*one.sends(LEAVES, self.num_rounds, rank_tokens, hidden)],
            [*other.sends(BACK, self.num_rounds, self.shares(tokens), hidden)],
        )

    def shares(self, tokens: IntArray) -> IntArray:
        """Tokens of one data parallel rank of the feed-forward chips."""
        out: IntArray = -(-tokens // self.feed_forward.parallel.dp)
        return out

    def _step(self, pool: Pool, machine: Machine, tokens: IntArray) -> Step:
        formats = formats_on(self.deployment.precision, machine.peak_flop_per_s)
        return make_step(
            self.deployment.model,
            formats,
            pool.parallel,
            Batch(decode_seqs=tokens),
            hot_factor=self.deployment.expert_load_factor,
        )

    def micro(self, sizes: IntArray) -> Micro:
        """Times of micro-batches of ``sizes`` sequences."""
        counts = self.counts(sizes)
        fixed_s = sum_s(self.return_ops(counts["tokens"]), self.machines[0], sizes)
        for lane in self.table.lanes:
            if lane.feature != "logits":
                fixed_s = fixed_s + lane.at(counts[lane.feature])[0]
        return Micro(
            attention_s=np.where(sizes > 0, fixed_s, 0.0),
            ranks=-(-sizes // self.attention.parallel.dp),
            feed_forward_s=self.feed_forward_s(counts["whole_tokens"]),
            way_s=self.way_s(counts["tokens"], counts["whole_tokens"]),
        )

    def feed_forward_s(self, tokens: IntArray) -> tuple[FloatArray, ...]:
        """One layer of every kind on the feed-forward chips. [s]"""
        return tuple(
            sum_s(ops, self.machines[1], tokens) / count for count, ops in self.feed_forward_ops(tokens)
        )

    def way_s(self, rank_tokens: IntArray, tokens: IntArray) -> FloatArray:
        """One way over the wires, either direction. [s]"""
        one, other = self.ends
        took = way_s(one, rank_tokens, other, self.shares(tokens), self.deployment.model.hidden)
        return np.where(tokens > 0, took, 0.0)

    def head_s(self, seqs: IntArray) -> FloatArray:
        """Output head and sampling of the whole batch. [s]"""
        rows = -(-seqs // self.attention.parallel.dp)
        lanes = (lane.at(rows)[0] for lane in self.table.lanes if lane.feature == "logits")
        return sum(lanes, np.zeros(seqs.shape))

    def step_s(self, seqs: IntArray, columns: int) -> FloatArray:
        """Decode steps at the first ``columns`` knots of the context, the host's share apart.

        Parameters
        ----------
        seqs : IntArray
            Sequences of the whole replica, shape (num_points,), at least 1.
        columns : int
            Of ``table.contexts``.

        Returns
        -------
        FloatArray
            Shape (num_points, columns). [s]
        """
        parts = self.cut(seqs)
        sizes, at = np.unique(np.concatenate((parts.large, parts.small)), return_inverse=True)
        micro = self.micro(sizes)
        large, small = np.split(at.reshape(-1), 2)
        attention = self.attention_rows(int(micro.ranks.max()))[:, :columns]
        per_round = (micro.attention_s[:, None] + attention[micro.ranks]) / self.num_rounds
        stations = [per_round, *(each[:, None] for each in (micro.way_s, micro.way_s))]

        def station(values: FloatArray) -> Station:
            first = values[large]
            whole = parts.num_large[:, None] * first + parts.num_small[:, None] * values[small]
            return Station(longest_s=first, together_s=whole)

        kinds = [
            Rounds(
                count=count,
                stations=tuple(station(each) for each in (*stations, feed_forward_s[:, None])),
            )
            for (_, count), feed_forward_s in zip(self.rounds, micro.feed_forward_s, strict=True)
        ]
        return self.head_s(seqs)[:, None] + ping_pong_s(kinds)

    def attention_rows(self, most_ranks: int) -> FloatArray:
        """Decode attention of 0, 1, ... sequences on one rank at every knot of the context. [s]"""
        layout = self.layout(most_ranks)
        rows = flat_times(self.table, layout)[layout.decode_offset : layout.prefill_offset]
        return rows.reshape(layout.decode_rows, layout.decode_columns)

    def layout(self, most_ranks: int) -> FlatLayout:
        """Of the attention half's table."""
        return flat_layout(self.table, max(1, most_ranks))

    def whole_table(self, most_seqs: int, longest_tokens: int) -> StepTable:
        """Steps of both halves together, as an engine of one rank would take them.

        Parameters
        ----------
        most_seqs : int
            Sequences that decode at once, all ranks together.
        longest_tokens : int
            Largest context that is asked for; beyond, times are extrapolated.

        Returns
        -------
        StepTable
            Its decode grid is the whole step, its lane of prompt tokens and its prefill grid are what a
            prompt takes that is computed again, one half after the other. Energy is not in it (nan): the
            chips are not alike.
        """
        base = self.table
        columns = min(
            max(2, int(np.searchsorted(base.contexts, longest_tokens)) + 1), int(base.contexts.size)
        )
        seqs = np.arange(1, max(2, most_seqs) + 1)
        step_s = np.concatenate(
            [self.step_s(seqs[at : at + _ROWS_AT_ONCE], columns) for at in range(0, seqs.size, _ROWS_AT_ONCE)]
        )
        contexts = base.contexts[:columns]
        return replace(
            base,
            subject=replace(base.subject, parallel=Parallel()),
            lanes=(self._prompt_lane(),),
            seqs=seqs,
            contexts=contexts,
            decode=_times_alone(step_s),
            decode_sum_s=running_sum(step_s, contexts),
            prefill=_times_alone(base.prefill.time_s),
        )

    def _prompt_lane(self) -> Lane:
        like = self.table.lanes[0]
        every = np.arange(like.dense.time_s.size)
        knots = dense_knots(self.deployment.model, int(every[-1]))
        dense_s = np.interp(every, knots, self.prompt_s(knots))
        return Lane(
            feature=PROMPTS,
            dense=_times_alone(dense_s),
            tail=like.tail,
            tail_samples=_times_alone(self.prompt_s(like.tail)),
        )

    def prompt_s(self, tokens: IntArray) -> FloatArray:
        """Prompts of ``tokens`` tokens on one attention rank but for their attention, halves in turn. [s]"""
        total = sum_s(self.return_ops(tokens), self.machines[0], tokens)
        total = total + 2.0 * self.num_rounds * self.way_s(tokens, tokens)
        for (_, count), each in zip(self.rounds, self.feed_forward_s(tokens), strict=True):
            total = total + count * each
        for lane in self.table.lanes:
            if lane.feature in ("tokens", "whole_tokens", PROMPTS):
                total = total + lane.at(tokens)[0]
            elif lane.feature == "logits":
                total = total + lane.at(np.minimum(tokens, 1))[0]
        return np.where(tokens > 0, total, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Micro:
    """Times of micro-batches; arrays of one shape, all layers together unless said.

    Attributes
    ----------
    attention_s : FloatArray
        Attention chips, decode attention and head apart. [s]
    ranks : IntArray
        Sequences of the busiest attention rank.
    feed_forward_s : tuple of FloatArray
        One layer of every kind. [s]
    way_s : FloatArray
        One way over the wires, one layer. [s]
    """

    attention_s: FloatArray
    ranks: IntArray
    feed_forward_s: tuple[FloatArray, ...]
    way_s: FloatArray


def halved_steps(deployment: Deployment) -> HalvedSteps | None:
    """The steps of a deployment whose layers are in halves; None where they are whole."""
    feed_forward = feed_forward_of(deployment)
    if feed_forward is None:
        return None
    attention = next(pool for pool in deployment.pools if pool.role is Role.DECODE)
    return HalvedSteps(deployment=deployment, attention=attention, feed_forward=feed_forward)


def sum_s(ops: Sequence[Op], machine: Machine, like: IntArray) -> FloatArray:
    """Time of operators one after the other. [s]"""
    total: FloatArray = np.zeros(like.shape)
    for op in ops:
        total = total + op_time(op, machine).time_s
    return total


def _times_alone(time_s: FloatArray) -> Samples:
    """Samples that know nothing but times."""
    unknown = np.broadcast_to(np.float64(np.nan), time_s.shape)
    return Samples(time_s, unknown, unknown)
