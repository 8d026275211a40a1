"""From operators to the arrays of a step table: where to sample, and what the samples are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.model import (
    Attention,
    CompressedAttention,
    MlaAttention,
    ModelSpec,
    Moe,
    Precision,
)
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, Num, Parallel, causal_pairs
from tokenroof.perf.core import Machine, OpTime
from tokenroof.perf.features import (
    DECODE,
    LANES,
    PREFILL,
    classify,
    classify_mixers,
    mixers_ops,
    rank_features,
)
from tokenroof.perf.operators import op_time
from tokenroof.perf.peaks import peak_name

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

EVERYTHING = 7
"""Value of every batch field in a batch that keeps all operators present."""

FIELDS = (
    "decode_seqs",
    "decode_context_tokens",
    "prefill_seqs",
    "prefill_tokens",
    "prefill_past_tokens",
    "prefill_pairs",
    "prefill_logits",
    "image_tokens",
)
"""Fields of a batch that are sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is compiled: everything a step's time depends on beside the batch."""

    model: ModelSpec
    precision: Precision
    parallel: Parallel
    machine: Machine
    decode_tokens: int
    hot_factor: float

    @property
    def classes(self) -> tuple[str, ...]:
        """What each operator depends on."""
        return classify(self.model, self.precision, self.parallel, self.decode_tokens, self.hot_factor)


class Samples(NamedTuple):
    """What is known at each sampled batch; three arrays of one shape.

    Attributes
    ----------
    time_s : FloatArray
        Exposed time. [s]
    energy_j : FloatArray
        Energy of arithmetic, memory and wires on one chip; nan when its power is unknown. [J]
    compute_s : FloatArray
        Arithmetic at the peaks of its compute dtypes: what a perfect chip would need. [s]
    """

    time_s: FloatArray
    energy_j: FloatArray
    compute_s: FloatArray


def no_samples(shape: tuple[int, ...]) -> Samples:
    """Zeros."""
    return Samples(np.zeros(shape), np.zeros(shape), np.zeros(shape))


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What is collected of every operator: additive numbers by name.

    Attributes
    ----------
    names : tuple of str
        In the order of the rows of what is sampled.
    of : callable
        (operator's time, machine) -> its numbers, a part of ``names``; the others are zero.
    """

    names: tuple[str, ...]
    of: Callable[[OpTime, Machine], Mapping[str, Num]]


def ideal_compute_s(timed: OpTime, machine: Machine) -> Num:
    """Arithmetic of an operator at the peak of its own compute dtype, all its runs. [s]"""
    peak = machine.peak_flop_per_s[peak_name(timed.op, machine)]
    return timed.op.work.flop * (timed.op.count / float(peak))


def _step_numbers(timed: OpTime, machine: Machine) -> dict[str, Num]:
    return {
        "time_s": timed.time_s,
        "energy_j": math.nan if timed.energy_j is None else timed.energy_j,
        "compute_s": ideal_compute_s(timed, machine),
    }


STEP = Columns(names=Samples._fields, of=_step_numbers)
"""The columns of a step table, in the order of ``Samples``."""


def sample(subject: Subject, columns: Columns, section: str, **fields: IntArray) -> FloatArray:
    """Sums over the operators of one section, for batches given by arrays.

    Parameters
    ----------
    subject : Subject
        What is compiled.
    columns : Columns
        What is summed.
    section : str
        A class of :func:`classify`.
    **fields : IntArray
        Fields of ``Batch``, shape (num_points,); fields not given are 0.

    Returns
    -------
    FloatArray
        Shape (num_columns, num_points).
    """
    points = next(iter(fields.values())).shape[0]
    blank = np.zeros(points, dtype=np.int64)
    whole = {name: np.concatenate(([EVERYTHING], fields.get(name, blank))) for name in FIELDS}
    batch = Batch(**whole, decode_tokens=subject.decode_tokens)
    subject_is = (subject.model, subject.precision, subject.parallel)
    if section in (DECODE, PREFILL):
        ops = mixers_ops(*subject_is, batch, subject.hot_factor)
        classes = classify_mixers(*subject_is, subject.decode_tokens, subject.hot_factor)
    else:
        ops, classes = step_ops(*subject_is, batch, hot_factor=subject.hot_factor), subject.classes
    totals = np.zeros((len(columns.names), points + 1))
    rows = dict(zip(columns.names, totals, strict=True))
    for op, found in zip(ops, classes, strict=True):
        if found == section:
            for name, value in columns.of(op_time(op, subject.machine), subject.machine).items():
                rows[name] += value
    return totals[:, 1:]


def dense_knots(model: ModelSpec, dense_tokens: int) -> IntArray:
    """Counts up to ``dense_tokens`` at which single-number sections are sampled; the rest is linear.

    Every count up to 16,384 when there are routed experts, whose waves end anywhere, else up to 1024, and the
    ends of tiles of 16 beyond: between them little or nothing bends, and whole tiles are a little faster.
    """
    routed = any(isinstance(group.ffn, Moe) for group in model.layers)
    fine = np.arange(min(dense_tokens, 16_384 if routed else 1024) + 1)
    ends = _both_ends(0, dense_tokens, 16)
    knots = np.unique(np.concatenate((fine, ends, ends - 1, [dense_tokens])))
    return knots[knots <= dense_tokens]


def tail_knots(dense_tokens: int) -> IntArray:
    """Where single-number sections are sampled beyond ``dense_tokens``: the first is that count.

    The ends of tiles of 128, then of 2048; before the last count of a tile, one more, since counts
    that are whole tiles of 16 are a little faster than all others.
    """
    near, far = 8 * dense_tokens, 64 * dense_tokens
    knots = [
        _both_ends(first, last, width) - before
        for first, last, width in ((dense_tokens, near, 128), (near, far, 2048))
        for before in (0, 1)
    ]
    found = np.unique(np.concatenate(knots))
    return np.concatenate(([dense_tokens], found[found > dense_tokens]))


def _both_ends(first: int, last: int, step: int) -> IntArray:
    starts = np.arange(first, last, step)
    return np.concatenate((starts + 1, starts + step))


def lane_batch(subject: Subject, lane: str, counts: IntArray) -> dict[str, IntArray]:
    """Fields of batches whose rank has ``counts`` of what ``lane`` counts."""
    ranks = subject.parallel.dp
    if lane == "whole_tokens":
        return {"decode_seqs": counts, "decode_context_tokens": counts}
    if lane in ("tokens", "logits", "decode_seqs"):
        return {"decode_seqs": counts * ranks, "decode_context_tokens": counts * ranks}
    chunks = np.where(counts > 0, ranks, 0)
    share = 1 if lane == "prefill_keys" else subject.parallel.cp
    new = counts * ranks * share
    fields = {"prefill_seqs": chunks, "prefill_tokens": new, "prefill_pairs": new}
    return fields | ({"image_tokens": new} if lane == "image_tokens" else {})


def lane_samples(subject: Subject, columns: Columns, lane: str, counts: IntArray) -> FloatArray:
    """One single-number section at each count, shape (num_columns, num_counts)."""
    fields = lane_batch(subject, lane, counts)
    batch = Batch(**fields, decode_tokens=subject.decode_tokens)
    found = rank_features(subject.model, subject.precision, subject.parallel, batch).lanes[lane]
    sampled = sample(subject, columns, lane, **fields)
    if np.array_equal(found, counts):
        return sampled
    known, where = np.unique(found, return_index=True)
    return np.stack([np.interp(counts, known, row[where]) for row in sampled])


def lane_arrays(
    subject: Subject, columns: Columns, lane: str, dense_tokens: int, tail: IntArray
) -> tuple[FloatArray, FloatArray]:
    """One single-number section at every count up to ``dense_tokens`` and at the counts ``tail``.

    Returns
    -------
    tuple of FloatArray
        Shapes (num_columns, dense_tokens + 1), zero at count 0, and (num_columns, num_tail).
    """
    below, every = dense_knots(subject.model, dense_tokens), np.arange(dense_tokens + 1)
    sampled = lane_samples(subject, columns, lane, np.concatenate((below, tail)))
    sampled[:, 0] = 0.0
    dense = np.stack([np.interp(every, below, row[: below.size]) for row in sampled])
    return dense, sampled[:, below.size :]


def windows(model: ModelSpec) -> tuple[int, ...]:
    """Contexts at which some layer of the model changes its behaviour."""
    found: set[int] = set()
    for group in model.layers:
        for mixer in group.mixers:
            if isinstance(mixer, Attention | MlaAttention) and mixer.window_tokens:
                found.add(mixer.window_tokens)
            if isinstance(mixer, CompressedAttention):
                found.add(mixer.window_tokens)
                if mixer.indexer:
                    found.add(mixer.indexer.topk_tokens * mixer.ratio)
            elif isinstance(mixer, Attention | MlaAttention) and mixer.indexer:
                found.add(mixer.indexer.topk_tokens)
    return tuple(sorted(found))


def context_knots(model: ModelSpec, decode_tokens: int) -> IntArray:
    """Contexts at which decode attention is sampled: both ends of 256-key blocks, then ever wider.

    A block ends when the cache and the new tokens together fill it.
    """
    near = _both_ends(0, 16_384, 256)
    wide = [_both_ends(2**power, 2 ** (power + 1), 2 ** (power - 2)) for power in range(14, 24)]
    blocks = np.concatenate((near, *wide)) - decode_tokens
    small = np.array([0, 1, 8, 32, 64, 128])
    bends = np.array([edge + shift for edge in windows(model) for shift in (-1, 0, 1)], dtype=np.int64)
    return np.unique(np.concatenate((small, blocks[blocks > 0], bends - decode_tokens, bends)))


def seqs_knots() -> IntArray:
    """Numbers of decoding sequences at which decode attention is sampled."""
    return np.concatenate(
        (
            np.arange(1, 65),
            np.arange(72, 257, 16),
            np.arange(288, 1025, 64),
            np.arange(2048, 8193, 1024),
        )
    )


def decode_grid(subject: Subject, columns: Columns, seqs: IntArray, contexts: IntArray) -> FloatArray:
    """Decode attention at every pair of knots, shape (num_columns, num_seqs, num_contexts)."""
    shape = (len(columns.names), seqs.size, contexts.size)
    if DECODE not in subject.classes:
        return np.zeros(shape)
    ranks = subject.parallel.dp
    grid_seqs, grid_contexts = (axis.ravel() for axis in np.meshgrid(seqs, contexts, indexing="ij"))
    whole = grid_seqs * ranks
    sampled = sample(subject, columns, DECODE, decode_seqs=whole, decode_context_tokens=whole * grid_contexts)
    return sampled.reshape(shape)


def present_lanes(subject: Subject) -> tuple[str, ...]:
    """Lanes that some operator depends on."""
    return tuple(lane for lane in LANES if lane in subject.classes)


CHUNK_KNOTS: IntArray = np.array([1, 2, 3, 4, 8, 32, 256])
"""Numbers of prompt chunks at which prefill attention is sampled."""

_SAMPLED_TOKENS = 65_536  # new tokens of one step beyond which several chunks are extrapolated


def new_knots(ranks: int) -> IntArray:
    """New tokens of a chunk at which prefill attention is sampled: both ends of its row tiles.

    Few tokens over several context parallel ``ranks`` are rounded up, hence every small count.
    """
    small = np.arange(1, 8 * ranks + 1) if ranks > 1 else np.array([1])
    return np.unique(
        np.concatenate(
            (
                small,
                _both_ends(0, 8192, 64),
                _both_ends(8192, 65_536, 1024),
                _both_ends(65_536, 1_048_576, 16_384),
            )
        )
    )


def past_knots(model: ModelSpec) -> IntArray:
    """Cached tokens before a chunk at which prefill attention is sampled.

    Finer below every window: a chunk of n tokens feels it from a past of ``window - n`` on.
    """
    doubling = 2 ** np.array([7, 8, 9, 10, 11, 12, 13, 15, 17, 19, 21])
    bends = [np.array([0, 1])] + [np.arange(17) * edge // 16 for edge in windows(model)]
    return np.unique(np.concatenate((doubling, *bends)))


def prefill_grid(subject: Subject, columns: Columns, new: IntArray, past: IntArray) -> FloatArray:
    """Attention of chunks of equal lengths at every triple of knots.

    Returns
    -------
    FloatArray
        Shape (num_columns, num_chunks, num_new, num_past). Where a step would hold more than 65,536
        new tokens in several chunks, values grow in proportion to the pairs.
    """
    values = np.zeros((len(columns.names), CHUNK_KNOTS.size, new.size, past.size))
    if PREFILL not in subject.classes:
        return values
    pairs: IntArray = np.asarray(causal_pairs(new[:, None], past[None, :]))
    kept = [
        new.size
        if chunks == 1
        else int(np.searchsorted(new, max(_SAMPLED_TOKENS // chunks, 64), side="right"))
        for chunks in CHUNK_KNOTS.tolist()
    ]
    level, row, column = _grid([np.arange(count) for count in kept], past.size)
    chunks = CHUNK_KNOTS[level] * subject.parallel.dp
    here = prefill_attention(
        subject, columns, chunks, chunks * new[row], chunks * past[column], chunks * pairs[row, column]
    )
    for value, sampled in zip(values, here, strict=True):
        value[level, row, column] = sampled
        for index, count in enumerate(kept):
            value[index, count:] = value[index, count - 1] * pairs[count:] / pairs[count - 1]
    return values


def _grid(rows: list[IntArray], columns: int) -> tuple[IntArray, IntArray, IntArray]:
    """Level, row and column of every point of grids that have other rows on every level."""
    level = np.repeat(np.arange(len(rows)), [len(some) * columns for some in rows])
    row = np.repeat(np.concatenate(rows), columns)
    column = np.tile(np.arange(columns), sum(len(some) for some in rows))
    return level, row, column


def prefill_attention(
    subject: Subject, columns: Columns, chunks: IntArray, new: IntArray, past: IntArray, pairs: IntArray
) -> FloatArray:
    """Prefill attention of batches: chunks, and sums over them of new and past tokens and of pairs.

    Every array has shape (num_points,), the answer (num_columns, num_points).
    """
    return sample(
        subject,
        columns,
        PREFILL,
        prefill_seqs=chunks,
        prefill_tokens=new,
        prefill_past_tokens=past,
        prefill_pairs=pairs,
    )
