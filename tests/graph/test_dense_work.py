"""Llama-3.3-70B by hand: 80 layers, width 8192, 64 query and 8 key-value heads of 128, 28672 neurons."""

import pytest
from graph_helpers import WIDE, matrix_bytes, matrix_flop, messages, model, named, ops

from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, Parallel, decode_batch, prefill_batch

MATRIX_PARAMETERS = 70_553_706_496 - 128_256 * 8192 - 161 * 8192  # less token table and norms


def test_a_decode_step_is_a_short_list():
    found = ops("llama-3.3-70b", decode_batch(64, 2048), tp=4)
    assert [(op.name, op.count) for op in found] == [
        ("head.embed", 1),
        ("comm.embed_allreduce", 1),
        ("layer.norm", 161),
        ("attn.qkv", 80),
        ("attn.rope_cache", 80),
        ("attn.decode", 80),
        ("attn.o", 80),
        ("comm.attn_allreduce", 80),
        ("mlp.gate_up", 80),
        ("mlp.act", 80),
        ("mlp.down", 80),
        ("comm.ffn_allreduce", 80),
        ("head.logits", 1),
        ("comm.logits_allgather", 1),
        ("head.sample", 1),
    ]


def test_one_token_costs_twice_the_parameters():
    assert matrix_flop(ops("llama-3.3-70b", decode_batch(1, 0))) == 2 * MATRIX_PARAMETERS


def test_a_prompt_costs_twice_the_parameters_per_token_but_the_head_only_once():
    head = 128_256 * 8192
    found = matrix_flop(ops("llama-3.3-70b", prefill_batch(1, 1000)))
    assert found == 2 * (1000 * (MATRIX_PARAMETERS - head) + head)


def test_every_weight_is_read_once():
    assert matrix_bytes(ops("llama-3.3-70b", decode_batch(7, 100))) == 2 * MATRIX_PARAMETERS
    assert 4 * matrix_bytes(ops("llama-3.3-70b", decode_batch(7, 100), tp=4)) == 2 * MATRIX_PARAMETERS


def test_shapes_under_tensor_parallelism():
    found = ops("llama-3.3-70b", decode_batch(64, 2048), tp=4)
    shapes = {op.name: (op.m, op.n, op.k) for op in found if hasattr(op, "k")}
    assert shapes == {
        "attn.qkv": (64, (64 + 2 * 8) * 128 // 4, 8192),
        "attn.o": (64, 8192, 8192 // 4),
        "mlp.gate_up": (64, 2 * 28672 // 4, 8192),
        "mlp.down": (64, 8192, 28672 // 4),
        "head.logits": (64, 128_256 // 4, 8192),
    }


def test_gemm_work_by_hand():
    work = named(ops("llama-3.3-70b", decode_batch(64, 2048)), "mlp.down").work
    assert work.flop == 2 * 64 * 8192 * 28672
    assert work.weights_bytes == 2 * 8192 * 28672
    assert work.activation_bytes == 2 * 64 * (28672 + 8192)


def test_decode_attention_reads_the_published_cache():
    op = named(ops("llama-3.3-70b", decode_batch(64, 2047)), "attn.decode")
    assert op.context_tokens == 64 * 2048  # the new token's own key included
    assert op.count * op.work.kv_bytes == 64 * 2048 * 327_680
    assert op.work.flop == 4 * 64 * 128 * 64 * 2048


def test_the_new_token_is_written_to_the_cache():
    op = named(ops("llama-3.3-70b", decode_batch(64, 2047)), "attn.rope_cache")
    assert op.count * op.work.kv_bytes == 64 * 327_680


def test_verified_drafts_read_the_cache_once():
    one = named(ops("llama-3.3-70b", decode_batch(8, 1000)), "attn.decode")
    four = named(ops("llama-3.3-70b", decode_batch(8, 1000, tokens=4)), "attn.decode")
    assert four.query_tokens == 4
    assert four.context_tokens == one.context_tokens + 8 * 3
    assert four.work.flop == 4 * 64 * 128 * 8 * (4 * 1000 + 10)


def test_prefill_pairs_by_hand():
    op = named(ops("llama-3.3-70b", prefill_batch(2, 3, past_tokens=5)), "attn.prefill")
    assert op.pairs == 2 * (6 + 7 + 8)
    assert op.work.flop == 4 * 64 * 128 * op.pairs
    assert op.work.kv_bytes == 2 * 5 * 2 * 8 * 128 * 2
    assert op.work.activation_bytes == 2 * (2 * 3 * 64 * 256 + 2 * 3 * 8 * 256)


def test_a_mixed_step_holds_both_kinds_of_attention():
    batch = Batch(
        decode_seqs=3,
        decode_context_tokens=30,
        prefill_seqs=1,
        prefill_tokens=10,
        prefill_pairs=55,
        prefill_logits=0,
    )
    found = ops("llama-3.3-70b", batch)
    assert named(found, "attn.decode").seqs == 3
    assert named(found, "attn.prefill").new_tokens == 10
    assert named(found, "mlp.down").m == 13
    assert named(found, "head.logits").m == 3


def test_a_chunk_that_does_not_end_a_prompt_needs_no_head():
    batch = Batch(prefill_seqs=1, prefill_tokens=10, prefill_pairs=55)
    assert not [op for op in ops("llama-3.3-70b", batch) if op.name.startswith("head.logits")]


def test_two_allreduces_per_layer_of_the_hidden_state():
    found = messages(ops("llama-3.3-70b", decode_batch(64, 2048), tp=8))
    assert found["comm.attn_allreduce"] == ("all_reduce", 64 * 8192 * 2, 8, 1)
    assert found["comm.ffn_allreduce"] == ("all_reduce", 64 * 8192 * 2, 8, 1)
    assert found["comm.logits_allgather"] == ("all_gather", 64 * 128_256 * 2, 8, 1)
    assert messages(ops("llama-3.3-70b", decode_batch(64, 2048))) == {}


@pytest.mark.parametrize(("tp", "kv_heads"), [(1, 8), (4, 2), (8, 1), (16, 1), (64, 1)])
def test_key_value_heads_replicate_beyond_their_number(tp, kv_heads):
    found = ops("llama-3.3-70b", decode_batch(1, 1), tp=tp)
    assert named(found, "attn.decode").kv_heads == kv_heads
    assert named(found, "attn.qkv").n == (64 // tp + 2 * kv_heads) * 128


def test_pipeline_stages_send_the_hidden_state():
    found = ops("llama-3.3-70b", decode_batch(64, 2048), tp=2, pp=4)
    send = named(found, "comm.pp_send")
    assert (send.kind, send.count, send.group, send.stride) == ("send_recv", 3, 2, 2)
    assert send.message_bytes == 64 * 8192 * 2
    assert named(found, "attn.qkv").count == 80


def test_weights_in_fp8_take_half_the_bytes_and_fp8_inputs():
    spec = model("llama-3.3-70b")
    fp8 = type(WIDE)(weights="fp8", experts="fp8", embedding="bf16", activations="fp8", kv="fp8")
    found = step_ops(spec, fp8, Parallel(), decode_batch(4, 100))
    down, head = named(found, "mlp.down"), named(found, "head.logits")
    assert down.work.weights_bytes == 8192 * 28672
    assert down.work.activation_bytes == 4 * (28672 + 2 * 8192)
    assert (down.act_dtype, head.act_dtype) == ("fp8", "bf16")
    assert named(found, "attn.decode").work.kv_bytes == 4 * 101 * 2048


def test_an_empty_batch_has_no_operators():
    assert ops("llama-3.3-70b", Batch()) == []
