"""The flat vector holds the table's own entries, and its decode rows are the table's own answers."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.catalog.catalog import load
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.perf.flat import flat_layout, flat_times
from tokenroof.perf.machine import build_machine
from tokenroof.perf.table import StepTable, compile_table

MAX_SEQS = 700


@lru_cache
def table() -> StepTable:
    catalog = load()
    model = catalog.model("mixtral-8x7b")
    machine = build_machine(catalog.chip("h100"), catalog.engine("vllm"))
    return compile_table(model, model.precision, Parallel(tp=2), machine, dense_tokens=2048)


def test_every_entry_of_the_table_is_found_where_the_layout_says() -> None:
    compiled, layout = table(), flat_layout(table(), MAX_SEQS)
    flat = flat_times(compiled, layout)
    assert flat.shape == (layout.size,)
    for lane, where in zip(compiled.lanes, layout.lanes, strict=True):
        assert where.feature == lane.feature
        dense = flat[where.dense_offset : where.dense_offset + where.dense_size]
        tail = flat[where.tail_offset : where.tail_offset + where.tail_size]
        assert np.array_equal(dense, lane.dense.time_s)
        assert np.array_equal(tail, lane.tail_samples.time_s)
    rows = flat[layout.decode_offset : layout.prefill_offset].reshape(layout.decode_rows, -1)
    known = [seqs for seqs in compiled.seqs if seqs <= MAX_SEQS]
    assert not rows[0].any()
    assert np.allclose(rows[known], compiled.decode.time_s[: len(known)], rtol=1e-14)
    assert np.array_equal(
        flat[layout.prefill_offset :].reshape(layout.prefill_shape), compiled.prefill.time_s
    )


@given(seqs=st.integers(1, MAX_SEQS), knot=st.integers(0, 10_000))
def test_a_decode_row_is_what_the_table_interpolates(seqs: int, knot: int) -> None:
    compiled, layout = table(), flat_layout(table(), MAX_SEQS)
    column = knot % layout.decode_columns
    entry = flat_times(compiled, layout)[layout.decode_offset + seqs * layout.decode_columns + column]
    assert entry == pytest.approx(
        compiled.decode_attention_s(seqs, int(compiled.contexts[column])), rel=1e-6, abs=1e-12
    )


def test_rows_beyond_the_last_knot_are_extrapolated() -> None:
    compiled = table()
    more = int(compiled.seqs[-1]) + 100
    layout = flat_layout(compiled, more)
    rows = flat_times(compiled, layout)[layout.decode_offset : layout.prefill_offset]
    last, before = compiled.decode.time_s[-1], compiled.decode.time_s[-2]
    step = (last - before) / (compiled.seqs[-1] - compiled.seqs[-2])
    assert rows.reshape(layout.decode_rows, -1)[-1] == pytest.approx(last + 100 * step)


def test_a_layout_needs_a_sequence() -> None:
    with pytest.raises(InputError, match="max_rank_seqs is 0"):
        flat_layout(table(), 0)
