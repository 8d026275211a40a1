"""Which few numbers of a batch each operator depends on, found by asking the operators.

A step's time is a sum over operators, and each depends on very few numbers of the batch: a
projection on the tokens of its rank, the output head on the rows of logits, decode attention on
sequences and their context. :func:`classify` finds out which by building the operators for a grid
of batches in which these numbers collide, so that no list of operator names is kept here.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.model import Mixer, ModelSpec, Precision
from tokenroof.graph.build import mixer_ops, step_ops
from tokenroof.graph.core import Batch, Int, Op, Parallel
from tokenroof.graph.step import make_step

IntArray = npt.NDArray[np.int64]

LANES = (
    "tokens",
    "whole_tokens",
    "logits",
    "decode_seqs",
    "prefill_tokens",
    "prefill_keys",
    "image_tokens",
)
"""Single numbers, in the order they are tried."""

DECODE = "decode"
"""Rank's decoding sequences and the sum of their cached tokens."""

PREFILL = "prefill"
"""Rank's chunks, new tokens, past tokens and query-key pairs."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RankFeatures:
    """What the busiest chip's operators can depend on.

    Attributes
    ----------
    lanes : mapping of str to Int
        Single numbers by name, see ``LANES``.
    decode_seqs, decode_context_tokens : Int
        Decoding sequences of the rank, and the sum of their cached tokens.
    prefill_seqs, prefill_new_tokens, prefill_past_tokens, prefill_pairs : Int
        Chunks of the rank, and sums over them.
    """

    lanes: dict[str, Int]
    decode_seqs: Int
    decode_context_tokens: Int
    prefill_seqs: Int
    prefill_new_tokens: Int
    prefill_past_tokens: Int
    prefill_pairs: Int


def rank_features(model: ModelSpec, precision: Precision, parallel: Parallel, batch: Batch) -> RankFeatures:
    """The numbers of ``batch`` as the busiest chip sees them."""
    step = make_step(model, precision, parallel, batch, hot_factor=1.0)
    rank = step.batch
    return RankFeatures(
        lanes={
            "tokens": step.tokens,
            "whole_tokens": batch.tokens,
            "logits": rank.logits,
            "decode_seqs": rank.decode_seqs,
            "prefill_tokens": step.prefill_query_tokens,
            "prefill_keys": rank.prefill_tokens + rank.prefill_past_tokens,
            "image_tokens": rank.image_tokens,
        },
        decode_seqs=rank.decode_seqs,
        decode_context_tokens=rank.decode_context_tokens,
        prefill_seqs=rank.prefill_seqs,
        prefill_new_tokens=rank.prefill_tokens,
        prefill_past_tokens=rank.prefill_past_tokens,
        prefill_pairs=rank.prefill_pairs,
    )


def mixers_ops(
    model: ModelSpec, precision: Precision, parallel: Parallel, batch: Batch, hot_factor: float
) -> list[Op]:
    """The operators of the token mixers alone: the part of ``step_ops`` that attention is in."""
    step = make_step(model, precision, parallel, batch, hot_factor=hot_factor)
    counts: Counter[Mixer] = Counter()
    for group in model.layers:
        for mixer in group.mixers:
            counts[mixer] += group.count
    return [op for mixer, count in counts.items() for op in mixer_ops(mixer, count, step)]


@lru_cache(maxsize=256)
def classify_mixers(
    model: ModelSpec, precision: Precision, parallel: Parallel, decode_tokens: int, hot_factor: float
) -> tuple[str, ...]:
    """The part of :func:`classify` that belongs to :func:`mixers_ops`."""
    batch = _probes(parallel, decode_tokens)
    names = [op.name for op in step_ops(model, precision, parallel, batch, hot_factor=hot_factor)]
    part = [op.name for op in mixers_ops(model, precision, parallel, batch, hot_factor)]
    start = next(index for index in range(len(names)) if names[index : index + len(part)] == part)
    return classify(model, precision, parallel, decode_tokens, hot_factor)[start : start + len(part)]


@lru_cache(maxsize=256)
def classify(
    model: ModelSpec, precision: Precision, parallel: Parallel, decode_tokens: int, hot_factor: float
) -> tuple[str, ...]:
    """For every operator of a step in which everything is present: what it depends on.

    Returns
    -------
    tuple of str
        A member of ``LANES``, or ``DECODE``, or ``PREFILL``, by position in ``step_ops``.

    Raises
    ------
    AssertionError
        An operator depends on something else: a bug of ours.
    """
    batch = _probes(parallel, decode_tokens)
    ops = step_ops(model, precision, parallel, batch, hot_factor=hot_factor)
    found = rank_features(model, precision, parallel, batch)
    rows = np.shape(batch.decode_seqs)[0]
    groups = {name: _groups(rows, value) for name, value in found.lanes.items()}
    groups[DECODE] = _groups(rows, found.decode_seqs, found.decode_context_tokens)
    groups[PREFILL] = _groups(
        rows,
        found.prefill_seqs,
        found.prefill_new_tokens,
        found.prefill_past_tokens,
        found.prefill_pairs,
    )
    out = []
    for op in ops:
        signature = _signature(op, rows)
        name = next(
            (name for name, first in groups.items() if np.array_equal(signature, signature[first])), None
        )
        assert name is not None, f"operator {op.name} of {model.name} depends on an unknown batch feature"
        out.append(name)
    return tuple(out)


def _groups(rows: int, *columns: Int) -> npt.NDArray[np.intp]:
    """For each row, the first row with equal values in all columns."""
    table = np.stack([np.broadcast_to(np.asarray(column), (rows,)) for column in columns], axis=1)
    _, first, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
    out: npt.NDArray[np.intp] = first[inverse.reshape(-1)]
    return out


def _signature(op: Op, rows: int) -> npt.NDArray[np.float64]:
    """One number per probe that changes whenever any shape or traffic of the operator does."""
    total = np.zeros(rows)
    values = [getattr(op, field.name) for field in dataclasses.fields(op) if field.name != "work"]
    values += [getattr(op.work, field.name) for field in dataclasses.fields(op.work)]
    for index, value in enumerate(values):
        if isinstance(value, np.ndarray):
            total = total + np.sqrt(2.0 + index) * value
    return total


def _probes(parallel: Parallel, decode_tokens: int) -> Batch:
    """A grid of batches in which every feature both collides and varies while others stay."""
    ranks = parallel.dp
    share = ranks * parallel.cp
    grid = product(
        (4 * ranks, 4 * ranks - 1, 6 * ranks),  # decoding sequences
        (40 * ranks, 900 * ranks, 400_000 * ranks),  # their context: inside and beyond any window
        (
            0,
            2 * ranks,
            5 * ranks,
            2 * share,
            5 * share,
        ),  # sequences' worth of prompt tokens beyond 512 per rank
        (2 * ranks, 4 * ranks),  # chunks
        (0, 40 * share, 1036 * share, 400_000 * share),  # past, likewise
        (200_000 * share, 300_000 * share),  # pairs
        (0, 2 * ranks),  # chunks that end
        (share, 64 * share),  # image tokens
    )
    columns = np.array(list(grid), dtype=np.int64).T
    seqs, context, beyond, chunks, past, pairs, ending, images = columns
    return Batch(
        decode_seqs=seqs,
        decode_context_tokens=context,
        decode_tokens=decode_tokens,
        prefill_seqs=chunks,
        prefill_tokens=512 * share + beyond * decode_tokens,
        prefill_past_tokens=past,
        prefill_pairs=pairs,
        prefill_logits=ending,
        image_tokens=images,
    )
