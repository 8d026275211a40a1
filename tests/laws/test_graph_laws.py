"""Work is conserved: over batches, over chips, over chunks of a prompt, and over arrays."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.catalog.catalog import load
from tokenroof.catalog.model import LinearAttention, Mamba, ModelSpec, Precision, with_routing_skew
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import (
    AttentionDecode,
    AttentionPrefill,
    Batch,
    Collective,
    Gemm,
    MlaDecode,
    MlaPrefill,
    MoeExperts,
    Op,
    Parallel,
    RecurrentMix,
    decode_batch,
    prefill_batch,
)
from tokenroof.graph.memory import (
    fixed_bytes_per_sequence_per_chip,
    kv_bytes_per_token_per_chip,
    weight_bytes_per_chip,
)
from tokenroof.graph.moe import active_experts
from tokenroof.graph.recurrent import state_bytes
from tokenroof.graph.sharding import sharding_problem

NAMES = (
    "llama-3.3-70b",
    "deepseek-v3",
    "mixtral-8x7b",
    "gpt-oss-120b",
    "qwen3-next-80b-a3b",
    "deepseek-v3.2",
    "deepseek-v4-flash",
    "jamba-v0.1",
    "kimi-k3",
    "qwen2.5-vl-7b",
    "llada-8b",
)
FULL_ATTENTION = ("llama-3.3-70b", "deepseek-v3", "mixtral-8x7b")
MODELS = {name: load().model(name) for name in NAMES}
WIDE = Precision()
CONTEXT_KINDS = (AttentionDecode, AttentionPrefill, MlaDecode, MlaPrefill)
LAYOUTS = (
    Parallel(),
    Parallel(tp=2),
    Parallel(tp=2, dp=2, ep=4),
    Parallel(dp=4),
    Parallel(tp=2, pp=2, cp=2),
)

names = st.sampled_from(NAMES)
layouts = st.sampled_from(LAYOUTS)
chunks = st.tuples(st.integers(1, 400), st.integers(0, 5000))  # new and past tokens
contexts = st.lists(st.integers(0, 20_000), min_size=1, max_size=5)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    lengths = draw(st.lists(st.integers(0, 20_000), max_size=5))
    return batch_of(lengths, draw(st.lists(chunks, max_size=4)))


def batch_of(lengths: list[int], prompts: list[tuple[int, int]]) -> Batch:
    return Batch(
        decode_seqs=len(lengths),
        decode_context_tokens=sum(lengths),
        prefill_seqs=len(prompts),
        prefill_tokens=sum(new for new, _ in prompts),
        prefill_past_tokens=sum(past for _, past in prompts),
        prefill_pairs=sum(new * past + new * (new + 1) // 2 for new, past in prompts),
        prefill_logits=len(prompts),
        image_tokens=sum(new for new, _ in prompts) // 2,
    )


def build(model: ModelSpec, batch: Batch, parallel: Parallel = LAYOUTS[0]) -> list[Op]:
    return step_ops(model, WIDE, parallel, batch)


def total(found: list[Op], kinds: tuple[type[Op], ...], field: str) -> int:
    return sum(op.count * getattr(op.work, field) for op in found if isinstance(op, kinds))


@given(name=st.sampled_from(FULL_ATTENTION), first=contexts, second=contexts)
def test_decode_attention_is_additive_over_sequences(name, first, second):
    parts = [build(MODELS[name], batch_of(lengths, [])) for lengths in (first, second, first + second)]
    for field in ("flop", "kv_bytes", "activation_bytes"):
        one, other, both = (total(found, CONTEXT_KINDS, field) for found in parts)
        assert one + other == both


@given(name=st.sampled_from(FULL_ATTENTION), first=st.lists(chunks, min_size=1, max_size=3), second=chunks)
def test_prefill_attention_is_additive_over_chunks(name, first, second):
    parts = [build(MODELS[name], batch_of([], prompts)) for prompts in (first, [second], [*first, second])]
    for field in ("flop", "kv_bytes", "activation_bytes"):
        one, other, both = (total(found, CONTEXT_KINDS, field) for found in parts)
        assert one + other == both


@pytest.mark.parametrize("name", load().models())
def test_recurrent_work_and_state_are_conserved_over_tensor_parallel_ranks(name):
    """Every recurrent kind in the catalog: ranks share heads (channels for Mamba-1), none copies them."""
    spec, batch = load().model(name), batch_of([100, 7], [(300, 0)])
    layers = {m for group in spec.layers for m in group.mixers if isinstance(m, Mamba | LinearAttention)}
    for tp in (2, 4, 8):
        if not layers or sharding_problem(spec, Parallel(tp=tp)):
            continue
        whole, shard = build(spec, batch), build(spec, batch, Parallel(tp=tp))
        for field in ("flop", "state_bytes"):
            assert tp * total(shard, (RecurrentMix,), field) == total(whole, (RecurrentMix,), field) > 0
        for layer in layers:
            copied = isinstance(layer, Mamba) and layer.version == 2 and layer.num_groups % tp
            if not copied:
                assert tp * state_bytes(layer, tp, "fp32") == state_bytes(layer, 1, "fp32")


@given(name=names, first=st.integers(1, 50), second=st.integers(1, 50))
def test_matrix_flop_and_states_are_additive_over_sequences(name, first, second):
    one, other, both = (
        build(MODELS[name], decode_batch(seqs, 77)) for seqs in (first, second, first + second)
    )
    for kinds, field in (((Gemm,), "flop"), ((RecurrentMix,), "flop"), ((RecurrentMix,), "state_bytes")):
        assert total(one, kinds, field) + total(other, kinds, field) == total(both, kinds, field)


@given(name=st.sampled_from(NAMES[:-1]), sizes=st.lists(st.integers(1, 300), min_size=1, max_size=5))
def test_chunks_of_a_prompt_sum_to_the_whole(name, sizes):
    """Query-key pairs, windows included, whatever the chunking; entries of compressed caches round."""
    past, pairs = 0, Counter[str]()
    for new in sizes:
        for op in build(MODELS[name], prefill_batch(1, new, past_tokens=past)):
            if isinstance(op, AttentionPrefill | MlaPrefill):
                pairs[op.name] += op.count * op.pairs
        past += new
    whole = Counter[str]()
    layers = 0
    for op in build(MODELS[name], prefill_batch(1, past)):
        if isinstance(op, AttentionPrefill | MlaPrefill):
            whole[op.name] += op.count * op.pairs
            layers += op.count
    slack = layers * len(sizes) if name == "deepseek-v4-flash" else 0
    assert sum(whole.values()) - slack <= sum(pairs.values()) <= sum(whole.values())


@given(context=st.integers(0, 10_000), name=st.sampled_from(NAMES[:-1]))
def test_a_decode_step_is_a_chunk_of_one_token(context, name):
    """The same pairs and, in matrices that do not depend on the phase, the same flop."""
    decode = build(MODELS[name], decode_batch(1, context))
    prefill = build(MODELS[name], prefill_batch(1, 1, past_tokens=context))
    own = ("mla.absorb_k", "mla.absorb_v", "mla.kv_b")
    sides = [
        sum(
            op.count * op.work.flop
            for op in found
            if isinstance(op, Gemm | MoeExperts) and op.name not in own
        )
        for found in (decode, prefill)
    ]
    assert sides[0] == sides[1]


@given(
    batch=batches(), tp=st.sampled_from([2, 4, 8]), name=st.sampled_from(("llama-3.3-70b", "mixtral-8x7b"))
)
def test_tensor_parallel_flop_sum_to_the_whole(batch, tp, name):
    whole, shard = build(MODELS[name], batch), build(MODELS[name], batch, Parallel(tp=tp))
    sharded = {op.name: op.count * op.work.flop for op in shard}
    vocab = MODELS[name].vocab
    for op in whole:
        replicated = op.name == "moe.router" or (op.name == "head.logits" and vocab % tp)
        if op.work.flop and not replicated:
            assert tp * sharded[op.name] == op.count * op.work.flop, op.name


@given(tokens=st.integers(1, 64), ways=st.sampled_from([1, 2, 4, 8, 16]))
def test_expert_parallel_work_sums_to_the_whole(tokens, ways):
    model = with_routing_skew(MODELS["deepseek-v3"], 0.0)
    batch = decode_batch(tokens * 32, 100)
    whole = next(op for op in build(model, batch) if isinstance(op, MoeExperts))
    shard = next(op for op in build(model, batch, Parallel(dp=16, ep=ways)) if isinstance(op, MoeExperts))
    assert 16 * shard.work.flop == whole.work.flop
    assert 16 * shard.work.weights_bytes == pytest.approx(whole.work.weights_bytes, rel=1e-9)


@given(tokens=st.integers(1, 4096), ways=st.sampled_from([2, 4, 8, 16]), skew=st.floats(0.1, 1.5))
def test_the_busiest_expert_rank_has_no_less_than_its_share_and_no_more_than_it_holds(tokens, ways, skew):
    share = active_experts(tokens, 256, 8, 256, skew) / ways
    busiest = active_experts(tokens, 256 // ways, 8, 256, skew)
    assert share * (1 - 1e-9) <= busiest <= 256 // ways
    even = active_experts(tokens, 256, 8, 256)
    assert share * ways <= even * 1.005  # popular experts are hit again and again


@given(
    name=st.sampled_from(("mixtral-8x7b", "deepseek-v3", "qwen3-next-80b-a3b")),
    tp=st.sampled_from([1, 2, 4, 8]),
    pp=st.sampled_from([1, 2, 4]),
    dp=st.sampled_from([1, 2, 4]),
)
def test_experts_of_all_chips_are_the_experts_of_the_model(name, tp, pp, dp):
    model = MODELS[name]
    if model.num_layers % pp:
        return
    whole = weight_bytes_per_chip(model, WIDE, Parallel())["experts"]
    for ep in (1, math.gcd(tp * dp, 8)):
        parallel = Parallel(tp=tp, pp=pp, dp=dp, ep=ep)
        shard = weight_bytes_per_chip(model, WIDE, parallel)["experts"]
        assert 0 <= parallel.chips * shard - whole < parallel.chips  # a stage rounds up to whole bytes


@given(batch=batches(), name=names, layout=layouts, hot=st.sampled_from([1.0, 1.5]))
def test_everything_is_finite_and_not_negative(batch, name, layout, hot):
    for op in step_ops(MODELS[name], MODELS[name].precision, layout, batch, hot_factor=hot):
        for field in dataclasses.fields(op.work):
            value = getattr(op.work, field.name)
            assert type(value) is int
            assert value >= 0
        if isinstance(op, Collective):
            assert op.message_bytes > 0
            assert op.group > 1
        assert op.count > 0


@given(name=names, layout=layouts)
def test_an_empty_batch_is_no_work(name, layout):
    assert step_ops(MODELS[name], WIDE, layout, Batch()) == []
    padded = Batch(decode_seqs=np.array([0, 3]), decode_context_tokens=np.array([0, 99]))
    for op in step_ops(MODELS[name], WIDE, layout, padded):
        for field in dataclasses.fields(op.work):
            assert np.ravel(np.asarray(getattr(op.work, field.name)))[0] == 0, op.name


@given(found=st.lists(batches(), min_size=2, max_size=4), name=names, layout=layouts)
def test_an_array_of_batches_is_a_loop_over_batches(found, name, layout):
    columns = {
        field.name: np.array([getattr(batch, field.name) for batch in found], dtype=np.int64)
        for field in dataclasses.fields(Batch)
        if field.name != "decode_tokens"
    }
    together = step_ops(MODELS[name], WIDE, layout, Batch(**columns))
    for index, batch in enumerate(found):
        alone = numbered(step_ops(MODELS[name], WIDE, layout, batch))
        for key, op in numbered(together).items():
            if key not in alone:
                assert not any(at(value, index) for value in dataclasses.astuple(op.work)), key
                continue
            for field in dataclasses.fields(op):
                mine, other = getattr(op, field.name), getattr(alone[key], field.name)
                if field.name == "work":
                    assert [at(x, index) for x in dataclasses.astuple(mine)] == list(
                        dataclasses.astuple(other)
                    )
                else:
                    assert at(mine, index) == other, (key, field.name)


def numbered(found: list[Op]) -> dict[tuple[str, int], Op]:
    """By name and by how many of that name came before."""
    seen: Counter[str] = Counter()
    out = {}
    for op in found:
        out[op.name, seen[op.name]] = op
        seen[op.name] += 1
    return out


def at(value: object, index: int) -> object:
    return value[index].item() if isinstance(value, np.ndarray) else value


@given(name=names, tokens=st.integers(1, 100_000))
def test_a_longer_context_never_holds_less(name, tokens):
    model = MODELS[name]
    held = [
        fixed_bytes_per_sequence_per_chip(model, WIDE, Parallel(), n)
        + n * kv_bytes_per_token_per_chip(model, WIDE, Parallel())
        for n in (tokens, tokens + 1)
    ]
    assert 0 < held[0] <= held[1]
