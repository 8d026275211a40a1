"""Hyper-connections and the small kernels of compressed attention, against arithmetic by hand."""

from dataclasses import replace

import pytest
from graph_helpers import WIDE, every, messages, model, named, ops

from tokenroof.catalog.catalog import load
from tokenroof.catalog.model import ModelSpec
from tokenroof.deploy.halves.models import attention_half, feed_forward_half
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Op, Parallel, decode_batch, prefill_batch
from tokenroof.perf.machine import build_machine
from tokenroof.perf.operators import op_time

PRO = "deepseek-v4-pro"  # 61 layers of width 7168 with 4 streams; 30 of ratio 4, 31 of ratio 128


def with_streams(spec: ModelSpec, streams: int) -> ModelSpec:
    return replace(spec, layers=tuple(replace(group, streams=streams) for group in spec.layers))


def run(spec: ModelSpec, tokens: int = 10) -> list[Op]:
    return step_ops(spec, WIDE, Parallel(tp=8), decode_batch(tokens, 1000))


def test_a_sublayer_mixes_reads_and_writes_four_streams():
    found = ops(PRO, decode_batch(10, 1000), WIDE, tp=8)
    mix, read, write = (named(found, f"hyper.{name}") for name in ("mix", "read", "write"))
    assert (mix.m, mix.n, mix.k, mix.count) == (10, 4 + 4 + 16, 4 * 7168, 2 * 61)
    assert mix.work.flop == 2 * 10 * 24 * 28_672
    assert mix.work.weights_bytes == 4 * (24 * 28_672 + 24 + 3)
    assert mix.work.activation_bytes == 10 * (2 * 28_672 + 4 * 25)
    assert read.count == write.count == 2 * 61
    assert read.work.activation_bytes == 10 * (2 * 5 * 7168 + 4 * (25 + 4 + 16))
    assert read.work.weights_bytes == 2 * 7168
    assert write.work.activation_bytes == 10 * (2 * 9 * 7168 + 4 * (4 + 16))


def test_the_matrices_are_the_parameters_that_mix():
    spec = model(PRO)
    mix = named(run(spec), "hyper.mix")
    parameters = sum(group.count * group.mixing_parameters for group in spec.layers)
    assert mix.count * mix.work.weights_bytes == 4 * parameters


def test_streams_begin_as_copies_and_end_as_one():
    found = ops(PRO, decode_batch(10, 1000), WIDE, tp=8)
    assert named(found, "hyper.copy").work.activation_bytes == 10 * 2 * 5 * 7168
    head = named(found, "hyper.head")
    assert head.work.activation_bytes == 10 * 2 * 5 * 7168
    assert head.work.weights_bytes == 4 * (4 * 4 * 7168 + 4 + 1)
    assert named(found, "layer.norm").count == 1  # the others are part of the reading


def test_stages_send_all_streams():
    sent = messages(ops(PRO, decode_batch(10, 1000), WIDE, pp=2))["comm.pp_send"][1]
    assert sent == 10 * 2 * 4 * 7168


def test_one_stream_is_an_ordinary_residual():
    plain = run(with_streams(model(PRO), 1))
    assert not [op.name for op in plain if op.name.startswith("hyper.")]
    assert named(plain, "layer.norm").count == 1 + 2 * 61


@pytest.mark.parametrize("name", [name for name in load().models() if model(name).residual_streams == 1])
def test_models_without_streams_have_none_of_it(name):
    spec = model(name)
    found = step_ops(spec, spec.precision, Parallel(), decode_batch(3, 100))
    assert not [op.name for op in found if op.name.startswith("hyper.")]


@pytest.mark.parametrize("batch", [decode_batch(1, 1000), decode_batch(256, 1000), prefill_batch(1, 8192)])
def test_more_streams_never_take_less(batch):
    catalog = load()
    machine = build_machine(catalog.chip("b200"), catalog.engine("sglang"))
    spec, before_s, before_bytes = model(PRO), 0.0, 0
    for streams in (1, 2, 3, 4, 8):
        found = step_ops(with_streams(spec, streams), WIDE, Parallel(), batch)
        time_s = sum(float(op_time(op, machine).time_s) for op in found)
        moved_bytes = sum(op.work.activation_bytes * op.count for op in found)
        assert time_s >= before_s
        assert moved_bytes > before_bytes
        before_s, before_bytes = time_s, moved_bytes


def test_the_attention_half_has_the_streams():
    spec = model(PRO)
    whole, own, other = (
        {op.name: op.count for op in run(part) if op.name.startswith("hyper.")}
        for part in (spec, attention_half(spec), feed_forward_half(spec))
    )
    assert whole == own
    assert other == {}


def test_the_small_kernels_of_a_selecting_layer():
    """16 of 128 heads of 512; window entry of 512, compressor of 2 x 512 values and gates, index of 128."""
    found = ops(PRO, decode_batch(8, 1000), WIDE, tp=8)
    assert [op.count for op in every(found, "attn.q_norm")] == [31, 30]
    assert every(found, "attn.q_norm")[0].work.activation_bytes == 8 * 2 * 2 * 1536
    assert every(found, "attn.q_rope")[0].work.activation_bytes == 8 * 2 * 2 * 16 * 512
    assert every(found, "attn.unrotate")[0].work.activation_bytes == 8 * 2 * 2 * 16 * 64
    assert every(found, "attn.rope_cache")[0].work.kv_bytes == 8 * 2 * 512
    heavy, overlapping = every(found, "attn.pool")
    assert heavy.work.activation_bytes == 8 * 4 * 2 * 512
    assert heavy.work.state_bytes == 2 * 8 * 4 * 2 * 512
    assert overlapping.work.state_bytes == 2 * heavy.work.state_bytes
    heavy, overlapping = every(found, "attn.pool_cache")
    assert (heavy.rows, overlapping.rows) == (1, 2)
    assert (heavy.work.kv_bytes, overlapping.work.kv_bytes) == (2 * 8 * 512 // 128, 2 * 8 * 512 // 4)
    assert named(found, "index.pool").work.activation_bytes == 8 * 4 * 2 * 2 * 128
    assert named(found, "index.quantise").work.activation_bytes == 8 * 3 * 64 * 128
    assert named(found, "index.pool_cache").count == 30
