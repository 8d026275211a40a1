"""The arrays of a step table laid end to end in one vector, for compiled code.

A step's time is a weighted sum of few entries of that vector; so is every other additive quantity of
the step, on vectors of the same layout. Code that adds up the weights (*visits*) of many steps has
the sum of any such quantity as one dot product afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenroof.errors import InputError
from tokenroof.perf.table import StepTable

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatLane:
    """Where one lane of the table lies.

    Attributes
    ----------
    feature : str
        Of ``Lane.feature``.
    dense_offset, dense_size : int
        Values at counts 0, 1, ...
    tail_offset, tail_size : int
        Values at the knots ``Lane.tail``.
    """

    feature: str
    dense_offset: int
    dense_size: int
    tail_offset: int
    tail_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatLayout:
    """Where everything lies in a flat vector: lanes, then decode rows, then the prefill grid.

    Attributes
    ----------
    lanes : tuple of FlatLane
        In the table's order.
    seqs : tuple of int
        The table's knots of decoding sequences, from which decode rows are interpolated.
    decode_offset, decode_rows, decode_columns : int
        One row for each number of sequences on one rank from 0 (zeros) up, one column for each knot
        of the context; row-major.
    prefill_offset : int
    prefill_shape : tuple of int
        (num_chunks, num_new, num_past), row-major.
    size : int
        Entries of the vector.
    """

    lanes: tuple[FlatLane, ...]
    seqs: tuple[int, ...]
    decode_offset: int
    decode_rows: int
    decode_columns: int
    prefill_offset: int
    prefill_shape: tuple[int, int, int]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sections:
    """One additive quantity of steps on the knots of a table.

    Attributes
    ----------
    lanes : tuple of (dense, tail)
        By lane of the table, shapes (dense_tokens + 1,) and (num_tail,).
    decode : FloatArray
        Shape (num_seqs, num_contexts).
    prefill : FloatArray
        Shape (num_chunks, num_new, num_past).
    """

    lanes: tuple[tuple[FloatArray, FloatArray], ...]
    decode: FloatArray
    prefill: FloatArray


def flat_layout(table: StepTable, max_rank_seqs: int) -> FlatLayout:
    """The layout of a table's flat vector.

    Parameters
    ----------
    table : StepTable
        What is laid out.
    max_rank_seqs : int
        Most sequences that decode together on one rank.

    Raises
    ------
    InputError
        ``max_rank_seqs`` is below 1.
    """
    if max_rank_seqs < 1:
        raise InputError(f"max_rank_seqs is {max_rank_seqs}. A layout needs room for at least 1 sequence.")
    lanes, offset = [], 0
    for lane in table.lanes:
        dense, tail = lane.dense.time_s.size, lane.tail.size
        lanes.append(
            FlatLane(
                feature=lane.feature,
                dense_offset=offset,
                dense_size=dense,
                tail_offset=offset + dense,
                tail_size=tail,
            )
        )
        offset += dense + tail
    rows, columns = max_rank_seqs + 1, table.contexts.size
    shape = (table.chunks.size, table.new.size, table.past.size)
    return FlatLayout(
        lanes=tuple(lanes),
        seqs=tuple(table.seqs.tolist()),
        decode_offset=offset,
        decode_rows=rows,
        decode_columns=columns,
        prefill_offset=offset + rows * columns,
        prefill_shape=shape,
        size=offset + rows * columns + shape[0] * shape[1] * shape[2],
    )


def flatten(sections: Sections, layout: FlatLayout) -> FloatArray:
    """One quantity as a flat vector, shape (layout.size,).

    Decode rows between the table's knots of sequences are interpolated as the table does it.
    """
    out = np.empty(layout.size)
    for where, (dense, tail) in zip(layout.lanes, sections.lanes, strict=True):
        out[where.dense_offset : where.tail_offset] = dense
        out[where.tail_offset : where.tail_offset + where.tail_size] = tail
    rows = out[layout.decode_offset : layout.prefill_offset].reshape(layout.decode_rows, -1)
    rows[0] = 0.0
    rows[1:] = _rows(sections.decode, layout)
    out[layout.prefill_offset :] = sections.prefill.ravel()
    return out


def flat_times(table: StepTable, layout: FlatLayout) -> FloatArray:
    """Time of every entry, the host's share apart. [s]"""
    lanes = tuple((lane.dense.time_s, lane.tail_samples.time_s) for lane in table.lanes)
    return flatten(
        Sections(lanes=lanes, decode=table.decode.time_s, prefill=table.prefill.time_s),
        layout,
    )


def flat_quantities(quantities: Mapping[str, Sections], layout: FlatLayout) -> dict[str, FloatArray]:
    """Every quantity as a flat vector; ``visits @ vector`` is its sum over the visited steps."""
    return {name: flatten(sections, layout) for name, sections in quantities.items()}


def _rows(grid: FloatArray, layout: FlatLayout) -> FloatArray:
    """Decode rows for 1, 2, ... sequences on one rank, shape (decode_rows - 1, decode_columns)."""
    knots, wanted = np.array(layout.seqs), np.arange(1, layout.decode_rows)
    low = np.clip(knots.searchsorted(wanted, side="right") - 1, 0, knots.size - 2)
    share = ((wanted - knots[low]) / (knots[low + 1] - knots[low]))[:, None]
    found: FloatArray = grid[low] + share * (grid[low + 1] - grid[low])
    return found
