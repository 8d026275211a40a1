"""DeepSeek-V3 by hand: 61 latent-attention layers, 58 of them with 8 of 256 experts and a shared one."""

import numpy as np
import pytest
from graph_helpers import WIDE, every, matrix_bytes, matrix_flop, messages, model, named, ops

from tokenroof.catalog.model import with_routing_skew
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Parallel, decode_batch, prefill_batch

EMBEDDING = 129_280 * 7168
VECTORS = 61 * (2 * 7168 + 1536 + 512) + 7168 + 58 * 256
ACTIVE = 37_552_297_472 - EMBEDDING - VECTORS  # published as 37 B; in matrices, per token
TOTAL = 671_026_419_200 - EMBEDDING - VECTORS


def test_one_token_costs_twice_the_active_parameters():
    assert matrix_flop(ops("deepseek-v3", decode_batch(1, 0))) == 2 * ACTIVE


def test_one_token_reads_the_active_parameters():
    assert matrix_bytes(ops("deepseek-v3", decode_batch(1, 0), WIDE)) == 2 * ACTIVE


def test_many_tokens_read_the_whole_model():
    assert matrix_bytes(ops("deepseek-v3", decode_batch(100_000, 0), WIDE)) == 2 * TOTAL


def test_decode_reads_the_published_cache():
    op = named(ops("deepseek-v3", decode_batch(32, 999)), "mla.decode")
    assert op.count * op.work.kv_bytes == 32 * 1000 * 70_272
    assert op.work.flop == 2 * 128 * (576 + 512) * 32 * 1000


def test_the_latent_is_replicated_under_tensor_parallelism():
    found = ops("deepseek-v3", decode_batch(32, 999), tp=8)
    op = named(found, "mla.decode")
    assert (op.heads, op.work.kv_bytes) == (16, 32 * 1000 * 576 * 2)
    assert (named(found, "mla.qkv_a").n, named(found, "mla.q_b").n) == (1536 + 576, 16 * 192)


def test_decode_absorbs_what_prefill_expands():
    decode = ops("deepseek-v3", decode_batch(5, 10), WIDE)
    prefill = ops("deepseek-v3", prefill_batch(1, 5, past_tokens=7), WIDE)
    absorbed = [named(decode, name) for name in ("mla.absorb_k", "mla.absorb_v")]
    expanded = named(prefill, "mla.kv_b")
    assert not every(decode, "mla.kv_b")
    assert not every(prefill, "mla.absorb_k")
    assert sum(op.work.weights_bytes for op in absorbed) == expanded.work.weights_bytes == 2 * 128 * 256 * 512
    assert expanded.m == 5 + 7  # the past is expanded again


def test_prefill_heads_have_their_own_keys():
    op = named(ops("deepseek-v3", prefill_batch(1, 100)), "mla.prefill")
    assert (op.qk_dim, op.v_dim, op.pairs) == (192, 128, 5050)
    assert op.work.flop == 2 * 128 * 320 * 5050


@pytest.mark.parametrize(("tokens", "active"), [(1, 8.0), (64, 222.442488), (10_000, 256.0)])
def test_expected_active_experts(tokens, active):
    """Weights read are an expectation: evenly routed, 256 * (1 - (1 - 8/256)**tokens) of 3 * 7168 * 2048."""
    even = with_routing_skew(model("deepseek-v3"), 0.0)
    op = named(step_ops(even, WIDE, Parallel(), decode_batch(tokens, 10)), "moe.experts")
    assert op.work.weights_bytes / (2 * 3 * 7168 * 2048) == pytest.approx(active, rel=1e-6)


def test_experts_of_one_rank():
    op = named(ops("deepseek-v3", decode_batch(1024, 10), WIDE, dp=16, ep=16), "moe.experts")
    assert (op.tokens, op.local_experts, op.intermediate) == (1024, 16, 2048)
    assert op.work.flop == 6 * 7168 * 2048 * 1024 * 8 // 16


def test_the_hottest_rank_has_more_rows_but_not_more_weights():
    spec = ops("deepseek-v3", decode_batch(1024, 10), WIDE, dp=16, ep=16)
    hot = step_ops(model("deepseek-v3"), WIDE, Parallel(dp=16, ep=16), decode_batch(1024, 10), hot_factor=1.5)
    even, skewed = named(spec, "moe.experts"), named(hot, "moe.experts")
    assert skewed.work.flop == even.work.flop * 3 // 2
    assert skewed.work.weights_bytes == even.work.weights_bytes
    assert skewed.hot_factor == 1.5


def test_attention_data_parallel_ranks_share_the_batch():
    found = ops("deepseek-v3", decode_batch(130, 1000), dp=16, ep=16)
    assert named(found, "mla.q_b").m == 9  # ceil(130 / 16)
    assert named(found, "mla.decode").context_tokens == 9 * 1001
    assert named(found, "moe.experts").tokens == 130
    assert named(found, "moe.shared_down").work.weights_bytes >= 2048 * 7168


def test_one_prompt_keeps_one_data_parallel_rank_busy():
    found = ops("deepseek-v3", prefill_batch(1, 4096), dp=8, ep=8)
    assert named(found, "mla.prefill").new_tokens == 4096


def test_dispatch_and_combine_of_expert_parallelism():
    """A token goes once to each rank that owns one of its experts: here 32 ranks of 8 experts."""
    found = messages(ops("deepseek-v3", decode_batch(64 * 32, 10), WIDE, dp=32, ep=32))
    kind, sent, group, stride = found["comm.moe_dispatch"]
    assert (kind, group, stride) == ("all_to_all", 32, 1)
    assert found["comm.moe_combine"] == found["comm.moe_dispatch"]
    generator = np.random.default_rng(0)
    draws = [np.unique(generator.permutation(256)[:8] // 8).size for _ in range(4000)]
    assert sent / (2 * 64 * 7168) == pytest.approx(np.mean(draws), rel=0.005)
    assert "comm.ffn_allreduce" not in found


def test_quantised_activations_are_dispatched_in_their_format():
    found = messages(ops("deepseek-v3", decode_batch(64 * 32, 10), dp=32, ep=32))
    ratio = found["comm.moe_combine"][1] / found["comm.moe_dispatch"][1]
    assert ratio == pytest.approx(2.0, rel=1e-3)


def test_without_expert_parallelism_tokens_are_gathered():
    found = messages(ops("deepseek-v3", decode_batch(64, 10), WIDE, tp=2, dp=4))
    assert found["comm.moe_allgather"] == ("all_gather", 64 * 7168 * 2, 4, 2)
    assert found["comm.moe_reduce_scatter"] == ("reduce_scatter", 64 * 7168 * 2, 4, 2)
    assert found["comm.ffn_allreduce"] == ("all_reduce", 16 * 7168 * 2, 2, 1)


def test_without_data_parallelism_one_allreduce_does():
    for ep in (1, 4, 8):
        found = messages(ops("deepseek-v3", decode_batch(64, 10), WIDE, tp=8, ep=ep))
        assert found["comm.ffn_allreduce"] == ("all_reduce", 64 * 7168 * 2, 8, 1)
        assert not [name for name in found if name.startswith("comm.moe")]


def test_what_expert_parallelism_leaves_splits_each_expert():
    op = named(ops("deepseek-v3", decode_batch(64, 10), WIDE, tp=8, ep=2), "moe.experts")
    assert (op.local_experts, op.intermediate) == (128, 512)


def test_mixtral_by_hand():
    """2 of 8 experts of 3 * 4096 * 14336; published 12.9 B active."""
    found = ops("mixtral-8x7b", decode_batch(1, 0), WIDE)
    embedding, norms = 32_000 * 4096, 65 * 4096
    assert matrix_flop(found) == 2 * (12_879_925_248 - embedding - norms)
    assert named(found, "moe.experts").work.weights_bytes == 2 * 2 * 3 * 4096 * 14336
