"""Sliding windows: gpt-oss alternates windows of 128 with full attention; spans against brute force."""

import pytest
from graph_helpers import every, ops
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.graph.core import causal_pairs, decode_batch, prefill_batch
from tokenroof.graph.spans import decode_keys, decode_pairs, prefill_pairs, prefill_past

lengths = st.integers(0, 300)
windows = st.integers(1, 200)


def test_half_the_layers_read_a_window():
    sliding, full = sorted(
        every(ops("gpt-oss-120b", decode_batch(10, 4095)), "attn.decode"), key=lambda op: op.work.flop
    )
    assert (sliding.count, full.count) == (18, 18)
    assert (sliding.context_tokens, full.context_tokens) == (10 * 128, 10 * 4096)
    assert sliding.work.kv_bytes == 10 * 128 * 2 * 8 * 64 * 2


def test_short_contexts_do_not_feel_the_window():
    found = every(ops("gpt-oss-120b", decode_batch(10, 50)), "attn.decode")
    assert {op.context_tokens for op in found} == {10 * 51}


def test_a_chunk_far_into_a_prompt_sees_full_windows_only():
    sliding = min(
        every(ops("gpt-oss-20b", prefill_batch(1, 1000, past_tokens=5000)), "attn.prefill"),
        key=lambda op: op.pairs,
    )
    assert (sliding.pairs, sliding.past_tokens) == (1000 * 128, 127)


@given(seqs=st.integers(1, 5), new=st.integers(1, 200), past=lengths, window=windows)
def test_prefill_pairs_are_those_of_counting(seqs, new, past, window):
    batch = prefill_batch(seqs, new, past_tokens=past)
    counted = sum(min(window, past + j) for j in range(1, new + 1))
    assert prefill_pairs(batch, window) == seqs * counted
    assert prefill_past(batch, window) == seqs * min(past, window - 1)


@given(seqs=st.integers(1, 5), context=lengths, tokens=st.integers(1, 8), window=windows)
def test_decode_spans_are_those_of_counting(seqs, context, tokens, window):
    batch = decode_batch(seqs, context, tokens=tokens)
    seen = [range(max(0, context + j - window), context + j) for j in range(1, tokens + 1)]
    assert decode_pairs(batch, window) == seqs * sum(len(keys) for keys in seen)
    assert decode_keys(batch, window) == seqs * len(set().union(*seen))


@given(new=st.integers(1, 100), past=lengths, seqs=st.integers(1, 4))
def test_without_a_causal_mask_every_query_sees_its_whole_chunk(new, past, seqs):
    assert prefill_pairs(prefill_batch(seqs, new, past_tokens=past), causal=False) == seqs * new * (
        past + new
    )


@pytest.mark.parametrize("context", [1, 127, 128, 129, 100_000])
def test_a_window_of_everything_changes_nothing(context):
    batch = decode_batch(3, context)
    assert decode_pairs(batch, 10**6) == decode_pairs(batch)
    assert decode_keys(batch, 10**6) == decode_keys(batch)


@given(st.integers(0, 40), st.integers(0, 40))
def test_causal_pairs_are_counted_one_query_at_a_time(new, past):
    assert causal_pairs(new, past) == sum(past + i + 1 for i in range(new))
    assert prefill_batch(3, new, past_tokens=past).prefill_pairs == 3 * causal_pairs(new, past)
