"""The step model of one (model, sharding, formats, machine) compiled to arrays.

A step is a sum of sections, each a function of one to four numbers of the batch (``perf.features``).
A table holds the sections sampled where they bend; evaluating it is a few array look-ups, the same
for a scalar and for a million batches. ``docs/model/estimate.md`` says how exact it is;
``tests/laws`` pins it against direct evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.errors import InputError
from tokenroof.graph.core import Batch, Num, Parallel
from tokenroof.perf import compile as compiler
from tokenroof.perf.compile import STEP, Samples
from tokenroof.perf.core import Machine
from tokenroof.perf.features import RankFeatures, rank_features
from tokenroof.perf.parts import sampled_parts

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Index = npt.NDArray[np.intp]
Values = tuple[FloatArray, FloatArray, FloatArray]


MOST_DENSE_TOKENS = 1 << 16
"""Tables of larger budgets are coarse beyond: a step that large is bound by arithmetic, which is linear."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lane:
    """The operators that depend on one number of the batch.

    Attributes
    ----------
    feature : str
        The number, a member of ``perf.features.LANES``.
    dense : Samples
        At every count from 0, shape (dense_tokens + 1,).
    tail : IntArray
        Counts beyond, shape (num_tail,), the first is ``dense_tokens``.
    tail_samples : Samples
        There; linear between, and beyond the last.
    """

    feature: str
    dense: Samples
    tail: IntArray
    tail_samples: Samples

    def at(self, count: IntArray) -> Values:
        """Time [s], energy [J] and ideal arithmetic [s] at each count."""
        last = self.dense.time_s.size - 1
        near = np.minimum(count, last)
        inside = tuple(array[near] for array in self.dense)
        if count.size and count.max() > last:
            index, share = _bracket(self.tail, count.astype(np.float64))
            far = (array[index] + share * (array[index + 1] - array[index]) for array in self.tail_samples)
            inside = tuple(np.where(count > last, out, into) for out, into in zip(far, inside, strict=True))
        time_s, energy_j, compute_s = inside
        return time_s, energy_j, compute_s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepTable:
    """Steps of one compiled subject; the arrays are plain and may be read by compiled code.

    Attributes
    ----------
    subject : Subject
        What was compiled: model, formats, sharding, machine, query tokens per decoding sequence.
    lanes : tuple of Lane
        Sections that depend on one number.
    seqs, contexts : IntArray
        Knots of decode attention: sequences on one rank, mean cached tokens.
    decode : Samples
        Decode attention, shape (num_seqs, num_contexts); linear in the context between knots.
    decode_sum_s : FloatArray
        Sum of its time over all whole contexts from 0 up to each knot. [s]
    chunks, new, past : IntArray
        Knots of prefill attention: chunks on one rank, mean new and past tokens.
    prefill : Samples
        Attention of chunks of equal lengths, shape (num_chunks, num_new, num_past). Chunks of unlike
        lengths are not tabled: the formula is asked.
    efficiencies : tuple of OpEfficiency
        Fitted forms that were looked up.
    """

    subject: compiler.Subject
    lanes: tuple[Lane, ...]
    seqs: IntArray
    contexts: IntArray
    decode: Samples
    decode_sum_s: FloatArray
    chunks: IntArray
    new: IntArray
    past: IntArray
    prefill: Samples
    efficiencies: tuple[tuple[tuple[str, str], OpEfficiency], ...]

    @property
    def overhead_s(self) -> float:
        """Host time of a step. [s]"""
        return float(self.subject.machine.step_overhead_s)

    def evaluate(self, batch: Batch) -> Samples:
        """Time, energy on one chip and ideal arithmetic of one step of the whole replica.

        Parameters
        ----------
        batch : Batch
            Fields may be arrays.

        Returns
        -------
        Samples
            Of the broadcast shape of the batch (0-dimensional for plain numbers); zero for a step
            without tokens. Idle power is not in the energy.

        Raises
        ------
        InputError
            The batch verifies another number of draft tokens than the table was compiled for.
        """
        if batch.decode_tokens != self.subject.decode_tokens:
            raise InputError(
                f"decode_tokens of the batch is {batch.decode_tokens}, the table was compiled for "
                f"{self.subject.decode_tokens}. Compile another table."
            )
        found = rank_features(self.subject.model, self.subject.precision, self.subject.parallel, batch)
        sections = [lane.at(np.asarray(found.lanes[lane.feature], dtype=np.int64)) for lane in self.lanes]
        sections += self._decode_attention(found) + self._prefill_attention(found, batch)
        time_s, energy_j, compute_s = (sum(parts, np.zeros(())) for parts in zip(*sections, strict=True))
        some = np.asarray(batch.tokens) > 0
        return Samples(
            np.where(some, time_s + self.overhead_s, 0.0),
            np.where(some, energy_j, 0.0),
            np.where(some, compute_s, 0.0),
        )

    def step_s(self, batch: Batch) -> Num:
        """Time of one step, see :meth:`evaluate`; a float for a batch of plain numbers. [s]"""
        time_s = self.evaluate(batch).time_s
        return float(time_s) if time_s.ndim == 0 else time_s

    def decode_step_s(self, seqs: Num, context_tokens: Num) -> Num:
        """A pure decode step of ``seqs`` sequences with a mean of ``context_tokens`` cached. [s]"""
        whole = np.asarray(seqs, dtype=np.int64)
        context = np.rint(whole * np.asarray(context_tokens, dtype=np.float64)).astype(np.int64)
        return self.step_s(
            Batch(decode_seqs=whole, decode_context_tokens=context, decode_tokens=self.subject.decode_tokens)
        )

    def decode_attention_s(self, seqs: int, context: int) -> float:
        """Time of decode attention alone, ``seqs`` sequences of ``context`` cached tokens each. [s]"""
        rank_seqs = -(-seqs // self.subject.parallel.dp)
        return self._sum_to(rank_seqs, context) - self._sum_to(rank_seqs, context - 1)

    def decode_attention_sum_s(self, seqs: int, first_context: int, steps: int) -> float:
        """Decode attention summed over ``steps`` steps in which every sequence grows by one token. [s]

        The first step sees ``first_context`` cached tokens per sequence. Closed form, since the time is
        linear between knots; nothing else of a decode step depends on the context.
        """
        rank_seqs = -(-seqs // self.subject.parallel.dp)
        last = first_context + steps - 1
        return self._sum_to(rank_seqs, last) - self._sum_to(rank_seqs, first_context - 1)

    def decode_sum_steps_s(self, seqs: int, first_context: int, steps: int) -> float:
        """Time of ``steps`` decode steps in which every sequence grows by one token a step. [s]"""
        if steps < 1:
            return 0.0
        first_s = float(self.decode_step_s(seqs, first_context))
        rest_s = first_s - self.decode_attention_s(seqs, first_context)
        return steps * rest_s + self.decode_attention_sum_s(seqs, first_context, steps)

    def _sum_to(self, rank_seqs: int, context: int) -> float:
        """Time of decode attention summed over contexts 0..context. [s]"""
        if context < 0:
            return 0.0
        low = min(int(self.seqs.searchsorted(rank_seqs, side="right")), self.seqs.size - 1) - 1
        share = float(rank_seqs - self.seqs[low]) / float(self.seqs[low + 1] - self.seqs[low])
        knot = min(int(self.contexts.searchsorted(context, side="right")), self.contexts.size - 1) - 1
        beyond = context - int(self.contexts[knot])
        width = float(self.contexts[knot + 1] - self.contexts[knot])
        total = 0.0
        for row, part in ((low, 1.0 - share), (low + 1, share)):
            left, right = float(self.decode.time_s[row, knot]), float(self.decode.time_s[row, knot + 1])
            rise = (right - left) / width
            summed = float(self.decode_sum_s[row, knot])
            total += part * (summed + beyond * left + rise * beyond * (beyond + 1) / 2.0)
        return total

    def _decode_attention(self, found: RankFeatures) -> list[Values]:
        seqs = np.asarray(found.decode_seqs, dtype=np.float64)
        if not seqs.any():
            return []
        mean = np.asarray(found.decode_context_tokens, dtype=np.float64) / np.maximum(seqs, 1.0)
        row, down = _bracket(self.seqs, seqs)
        column, right = _bracket(self.contexts, mean)
        corner = row * self.contexts.size + column
        below = corner + self.contexts.size
        out = []
        for array in self.decode:
            flat = array.ravel()
            upper, lower = _between(flat, corner, right), _between(flat, below, right)
            out.append(np.where(seqs > 0, upper + down * (lower - upper), 0.0))
        return [(out[0], out[1], out[2])]

    def _prefill_attention(self, found: RankFeatures, batch: Batch) -> list[Values]:
        chunks = np.asarray(found.prefill_seqs, dtype=np.float64)
        if not chunks.any():
            return []
        count = np.maximum(chunks, 1.0)
        new = np.asarray(found.prefill_new_tokens, dtype=np.float64) / count
        past = np.asarray(found.prefill_past_tokens, dtype=np.float64) / count
        pairs = np.asarray(found.prefill_pairs, dtype=np.float64) / count
        unlike = np.abs(pairs - (new * past + new * (new + 1.0) / 2.0)) > 1e-9 * pairs
        direct = self._unlike_chunks(batch) if unlike.any() else compiler.no_samples(())
        level, up = _bracket(self.chunks, count)
        row, down = _bracket(self.new, new)
        column, right = _bracket(self.past, past)
        height, width = self.new.size, self.past.size
        corners = [
            (share * part, ((level + deeper) * height + row + lower) * width + column)
            for deeper, share in ((0, 1.0 - up), (1, up))
            for lower, part in ((0, 1.0 - down), (1, down))
            if np.any(share * part)
        ]
        some = (chunks > 0) & (new > 0)
        out = []
        for value, asked in zip(self.prefill, direct, strict=True):
            flat = value.ravel()
            total = sum((share * _between(flat, at, right) for share, at in corners), np.zeros(()))
            out.append(np.where(unlike, asked, np.where(some, np.maximum(total, 0.0), 0.0)))
        return [(out[0], out[1], out[2])]

    def _unlike_chunks(self, batch: Batch) -> Samples:
        """Attention of chunks of unlike lengths, by the operators' own formulas."""
        fields = (
            batch.prefill_seqs,
            batch.prefill_tokens,
            batch.prefill_past_tokens,
            batch.prefill_pairs,
        )
        whole = np.broadcast_arrays(*(np.asarray(field, dtype=np.int64) for field in fields))
        asked = compiler.prefill_attention(self.subject, STEP, *(field.ravel() for field in whole))
        return Samples(*(array.reshape(whole[0].shape) for array in asked))


def _bracket(knots: IntArray, value: FloatArray) -> tuple[Index, FloatArray]:
    """Index of the knot below, and the position between it and the next (beyond the ends: outside 0..1)."""
    found = np.minimum(knots.searchsorted(value, side="right"), knots.size - 1)
    index: Index = np.maximum(found - 1, 0)
    left = knots[index]
    share: FloatArray = (value - left) / (knots[index + 1] - left)
    return index, share


def _between(flat: FloatArray, corner: Index, share: FloatArray) -> FloatArray:
    left = flat[corner]
    out: FloatArray = left + share * (flat[corner + 1] - left)
    return out


class _Same:
    """A cache key that is the identity of a value: machines hold mappings and do not hash."""

    __slots__ = ("value",)

    def __init__(self, value: Machine) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value


def compile_table(
    model: ModelSpec,
    precision: Precision,
    parallel: Parallel,
    machine: Machine,
    *,
    dense_tokens: int = 8192,
    decode_tokens: int = 1,
    hot_factor: float = 1.0,
) -> StepTable:
    """Compile the step model; the same machine object gives the same table again.

    Parameters
    ----------
    model, precision, parallel, machine : ModelSpec, Precision, Parallel, Machine
        The subject; the machine's fields must be plain numbers.
    dense_tokens : int
        Largest number of tokens of a step (the engine's budget); up to there, or to
        :data:`MOST_DENSE_TOKENS`, nothing is coarse.
    decode_tokens : int
        Query tokens per decoding sequence (k + 1 with k draft tokens).
    hot_factor : float
        Routed load of the busiest expert rank over the mean.

    Returns
    -------
    StepTable
    """
    dense = min(dense_tokens, MOST_DENSE_TOKENS)
    return _compile(model, precision, parallel, _Same(machine), dense, decode_tokens, hot_factor)


@lru_cache(maxsize=128)
def _compile(
    model: ModelSpec,
    precision: Precision,
    parallel: Parallel,
    machine: _Same,
    dense_tokens: int,
    decode_tokens: int,
    hot_factor: float,
) -> StepTable:
    tuned = machine.value.tuned
    found = sampled_parts(
        compiler.Subject(
            model=model,
            precision=precision,
            parallel=parallel,
            machine=machine.value,
            decode_tokens=decode_tokens,
            hot_factor=hot_factor,
        ),
        dense_tokens,
    )
    corrected = replace(found.subject.machine, tuned=tuned, step_overhead_s=machine.value.step_overhead_s)
    decode, prefill = found.decode.samples(tuned), found.prefill.samples(tuned)
    table = StepTable(
        subject=replace(found.subject, machine=corrected),
        lanes=tuple(
            Lane(
                feature=lane.feature,
                dense=lane.dense.samples(tuned),
                tail=lane.tail,
                tail_samples=lane.beyond.samples(tuned),
            )
            for lane in found.lanes
        ),
        seqs=found.seqs,
        contexts=found.contexts,
        decode=decode,
        decode_sum_s=running_sum(decode.time_s, found.contexts),
        chunks=compiler.CHUNK_KNOTS,
        new=found.new,
        past=found.past,
        prefill=prefill,
        efficiencies=found.efficiencies,
    )
    for array in (*decode, table.decode_sum_s, *prefill):
        array.flags.writeable = False
    return table


def running_sum(rows: FloatArray, knots: IntArray) -> FloatArray:
    """Sum over whole contexts from the first knot (0) up to each knot, of what is linear between. [s]"""
    gap = np.diff(knots).astype(np.float64)
    left, right = rows[:, :-1], rows[:, 1:]
    pieces = gap * (left + right) / 2.0 + (right - left) / 2.0
    return np.concatenate((rows[:, :1], rows[:, :1] + np.cumsum(pieces, axis=1)), axis=1)
