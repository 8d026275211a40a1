"""Recurrent, sparse, compressed, shared and vision layers, and block diffusion."""

import pytest
from graph_helpers import WIDE, every, messages, model, named, ops

from tokenroof.catalog.counting import active_parameters
from tokenroof.catalog.model import (
    Attention,
    BlockDiffusion,
    DenseMlp,
    LayerGroup,
    Mamba,
    ModelSpec,
    Moe,
    Precision,
)
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, Parallel, decode_batch, prefill_batch
from tokenroof.graph.generation import generation_batch, tokens_per_step
from tokenroof.graph.memory import weight_bytes_per_chip


def spec(*layers: LayerGroup, **fields: object) -> ModelSpec:
    base = {
        "name": "by-hand",
        "hf_id": "",
        "architecture": "",
        "hidden": 64,
        "vocab": 100,
        "tied_embeddings": False,
        "max_context_tokens": 1000,
        "precision": Precision(),
        "source": "",
    }
    return ModelSpec(layers=layers, **(base | fields))


def test_a_recurrent_state_is_read_and_written_once_per_step():
    found = ops("qwen3-next-80b-a3b", decode_batch(10, 5000), WIDE)
    op = named(found, "linear.step")
    assert (op.kind, op.count, op.heads, op.key_dim, op.value_dim) == ("gated_delta_net", 36, 32, 128, 128)
    assert op.work.state_bytes == 10 * 2 * 4 * 32 * 128 * 128
    assert named(found, "attn.decode").count == 12
    assert op.work == named(ops("qwen3-next-80b-a3b", decode_batch(10, 9), WIDE), "linear.step").work


def test_a_prompt_is_scanned():
    op = named(ops("qwen3-next-80b-a3b", prefill_batch(2, 500), WIDE, tp=2), "linear.scan")
    assert (op.decode, op.tokens, op.seqs, op.heads) == (False, 1000, 2, 16)


@pytest.mark.parametrize(
    ("version", "names"),
    [(1, ["ssm.in", "ssm.x", "ssm.dt", "ssm.out"]), (2, ["ssm.in", "ssm.out"])],
)
def test_projections_of_both_mamba_versions(version, names):
    mamba = Mamba(
        version=version, num_heads=8, head_dim=16, state_dim=4, num_groups=2, conv_kernel=4, dt_rank=2
    )
    model = spec(LayerGroup(count=3, mixers=(mamba,), ffn=None, norm_parameters=64, norms=1))
    found = step_ops(model, WIDE, Parallel(tp=2), decode_batch(5, 7))
    assert [op.name for op in found if op.name in names] == names
    assert named(found, "layer.norm").count == 4  # one per layer, and the last
    assert named(found, "ssm.step").kind == f"mamba{version}"
    assert ("comm.ssm_x_allreduce" in messages(found)) == (version == 1)
    order = [op.name for op in found]
    if version == 1:
        assert order.index("ssm.conv_step") < order.index("ssm.x")


def test_the_indexer_scores_everything_and_attention_reads_what_it_selects():
    found = ops("deepseek-v3.2", decode_batch(4, 9999), WIDE)
    index, attention = named(found, "index.decode"), named(found, "mla.decode")
    assert (index.pairs, index.heads, index.head_dim) == (4 * 10_000, 64, 128)
    assert index.work.flop == 2 * 64 * 128 * 4 * 10_000
    assert index.work.kv_bytes == 4 * (10_000 + 1) * 132
    assert attention.context_tokens == 4 * 2048
    short = named(ops("deepseek-v3.2", decode_batch(4, 999), WIDE), "mla.decode")
    assert short.context_tokens == 4 * 1000


def test_sparse_prefill_runs_absorbed():
    found = ops("deepseek-v3.2", prefill_batch(1, 5000), WIDE)
    op = named(found, "mla.prefill")
    assert (op.qk_dim, op.v_dim) == (576, 512)
    assert op.pairs == 2048 * 2049 // 2 + 2048 * (5000 - 2048)
    assert not every(found, "mla.kv_b")
    assert named(found, "mla.absorb_k").m == 5000


def test_shared_indexers_score_in_their_own_layer_only():
    layers = sum(op.count for op in every(ops("glm-5.2", decode_batch(4, 100)), "mla.decode"))
    scored = sum(op.count for op in every(ops("glm-5.2", decode_batch(4, 100)), "index.decode"))
    assert 0 < scored < layers == model("glm-5.2").num_layers


def test_compressed_layers_see_a_window_and_entries():
    """DeepSeek-V4-Flash: windows of 128, all entries of ratio 128, 512 chosen entries of ratio 4."""
    found = every(ops("deepseek-v4-flash", decode_batch(2, 65_535), WIDE), "attn.decode")
    assert {op.context_tokens for op in found} == {2 * 128, 2 * (128 + 512), 2 * (128 + 512)}
    scores = every(ops("deepseek-v4-flash", decode_batch(2, 65_535), WIDE), "index.decode")
    assert {op.pairs for op in scores} == {2 * 65_536 // 4}


def test_layers_that_share_keys_have_no_projection_and_no_cache_of_them():
    own = Attention(num_heads=4, num_kv_heads=2, head_dim=16, v_head_dim=16)
    shared = Attention(num_heads=4, num_kv_heads=2, head_dim=16, v_head_dim=16, kv_shared=True)
    mlp = DenseMlp(intermediate=128)
    model = spec(
        LayerGroup(count=1, mixers=(own,), ffn=mlp, norm_parameters=128),
        LayerGroup(count=3, mixers=(shared,), ffn=mlp, norm_parameters=128),
    )
    found = step_ops(model, WIDE, Parallel(), decode_batch(1, 9))
    assert [(op.n, op.count) for op in every(found, "attn.qkv")] == [(128, 1), (64, 3)]
    assert [op.work.kv_bytes for op in every(found, "attn.rope_cache")] == [2 * 64, 0]
    assert [op.work.kv_bytes for op in every(found, "attn.decode")] == [2 * 64 * 10] * 2
    assert named(found, "mlp.down").count == 4  # identical feed-forwards are one operator


def test_experts_in_a_latent_with_a_dense_part_beside():
    attention = Attention(num_heads=4, num_kv_heads=2, head_dim=16, v_head_dim=16)
    moe = Moe(
        num_experts=8,
        topk=2,
        intermediate=32,
        latent_dim=16,
        shared_intermediate=48,
        parallel_dense_intermediate=96,
        gated=False,
    )
    model = spec(LayerGroup(count=2, mixers=(attention,), ffn=moe, norm_parameters=128))
    found = step_ops(model, WIDE, Parallel(tp=2), decode_batch(6, 3))
    shapes = {op.name: (op.n, op.k) for op in found if op.name.startswith("moe.") and hasattr(op, "k")}
    assert shapes == {
        "moe.router": (8, 64),
        "moe.latent_down": (16, 64),
        "moe.latent_up": (64, 16),
        "moe.shared_up": (24, 64),
        "moe.shared_down": (64, 24),
        "moe.dense_up": (48, 64),
        "moe.dense_down": (64, 48),
    }
    experts = named(found, "moe.experts")
    assert (experts.hidden, experts.intermediate) == (16, 16)
    assert experts.work.flop == 4 * 16 * 16 * 6 * 2


def test_the_vision_tower_runs_on_image_tokens_only():
    text = ops("qwen2.5-vl-7b", prefill_batch(1, 500))
    batch = Batch(prefill_seqs=1, prefill_tokens=500, prefill_pairs=125_250, image_tokens=256)
    seen = ops("qwen2.5-vl-7b", batch)
    assert not [op for op in text if op.name.startswith("vision")]
    assert named(seen, "vision.qkv").m == 4 * 256
    assert named(seen, "vision.qkv").count == 32
    assert named(seen, "vision.attention").pairs == 1024 * 1024
    assert not named(seen, "vision.attention").causal
    assert not every(ops("qwen2.5-vl-7b", decode_batch(8, 500)), "vision.qkv")


def test_a_vision_tower_that_tensor_parallelism_does_not_divide_runs_whole():
    tower = model("kimi-k3").vision
    assert tower is not None
    assert tower.num_heads == 12
    whole = weight_bytes_per_chip(model("kimi-k3"), WIDE, Parallel())["vision"]
    assert weight_bytes_per_chip(model("kimi-k3"), WIDE, Parallel(tp=8))["vision"] == whole
    assert weight_bytes_per_chip(model("kimi-k3"), WIDE, Parallel(tp=4))["vision"] < whole


def block_model(*, cached_prefix: bool) -> ModelSpec:
    attention = Attention(num_heads=4, num_kv_heads=2, head_dim=16, v_head_dim=16)
    return spec(
        LayerGroup(count=2, mixers=(attention,), ffn=DenseMlp(intermediate=128), norm_parameters=128),
        generation=BlockDiffusion(block_tokens=32, steps_per_block=8, cached_prefix=cached_prefix),
    )


def test_a_diffusion_step_passes_a_whole_block():
    model = block_model(cached_prefix=True)
    found = step_ops(model, WIDE, Parallel(), generation_batch(model, 3, 100))
    block = named(found, "attn.block")
    assert (block.new_tokens, block.past_tokens, block.pairs) == (96, 300, 3 * 32 * 132)
    assert not block.causal
    assert named(found, "head.logits").m == 96
    assert tokens_per_step(model) == 4.0


def test_without_a_cache_a_diffusion_step_recomputes_the_sequence():
    model = block_model(cached_prefix=False)
    found = step_ops(model, WIDE, Parallel(), generation_batch(model, 3, 100))
    prefill = named(found, "attn.prefill")
    assert (prefill.new_tokens, prefill.pairs) == (3 * 132, 3 * 132 * 132)
    assert named(found, "head.logits").m == 96


def test_autoregressive_models_decode_one_token():
    assert generation_batch(model("llama-3.1-8b"), 3, 100) == decode_batch(3, 100)
    assert tokens_per_step(model("llama-3.1-8b")) == 1.0
    assert model("llada-8b").generation is not None


def test_hybrids_cost_twice_their_active_parameters():
    """Jamba: matrices are all of it but norms, convolutions, decay rates and the token table."""
    found = ops("jamba-v0.1", decode_batch(1, 0), WIDE)
    matrices = sum(
        op.count * op.work.flop
        for op in found
        if op.name.split(".")[0] in ("attn", "mlp", "moe", "ssm", "head")
    )
    expected = 2 * active_parameters(model("jamba-v0.1"), count_embedding=False)
    assert matrices == pytest.approx(expected, rel=0.01)
