"""What the importer reads from the configs of each family."""

import json
from pathlib import Path

import pytest

import tokenroof.catalog.model as model_nouns
from tokenroof.catalog import counting
from tokenroof.catalog.hf import import_config
from tokenroof.catalog.model import (
    Attention,
    CompressedAttention,
    DenseMlp,
    LinearAttention,
    Mamba,
    MlaAttention,
    Moe,
)

MODELS = Path(model_nouns.__file__).parent / "data" / "models"


def packaged(name):
    data = json.loads((MODELS / f"{name}.json").read_text())
    return import_config(data["config"], name=name, hf_id=data["hf_id"], source=data["source"])


def layers_by(model, kind):
    return sum(group.count for group in model.layers for mixer in group.mixers if isinstance(mixer, kind))


def windows(model):
    return {
        (mixer.window_tokens, group.count)
        for group in model.layers
        for mixer in group.mixers
        if isinstance(mixer, Attention)
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mistral-7b", {(4096, 32)}),
        ("gpt-oss-120b", {(128, 18), (None, 18)}),
        ("gemma-2-27b", {(4096, 23), (None, 23)}),
        ("gemma-3-27b", {(1024, 52), (None, 10)}),
        ("gemma-4-26b-a4b", {(1024, 25), (None, 5)}),
        ("qwen2.5-7b", {(None, 28)}),
        ("mimo-v2-flash", {(None, 1), (128, 39), (None, 8)}),
        ("llama-4-scout", {(8192, 36), (None, 12)}),
    ],
)
def test_windows_alternate_as_published(name, expected):
    assert windows(packaged(name)) == expected


def test_gpt_oss_has_sinks_and_mxfp4_experts_alone():
    model = packaged("gpt-oss-120b")
    assert all(mixer.sink_parameters == 64 for group in model.layers for mixer in group.mixers)
    assert (model.precision.experts, model.precision.weights) == ("mxfp4", "bf16")
    assert (model.precision.expert_inputs, model.precision.activations) == ("mxfp8", "bf16")


def test_deepseek_has_leading_dense_layers_and_a_prediction_module():
    model = packaged("deepseek-v3")
    assert [(group.count, type(group.ffn)) for group in model.layers] == [(3, DenseMlp), (58, Moe)]
    assert sum(group.count for group in model.mtp) == 1
    assert isinstance(model.layers[0].mixers[0], MlaAttention)
    assert model.layers[0].mixers[0].indexer is None


def test_glm_52_shares_its_indexers():
    model = packaged("glm-5.2")
    owned = sum(group.count for group in model.layers if group.mixers[0].indexer.owned)
    assert (owned, model.num_layers) == (21, 78)
    assert {group.mixers[0].indexer.topk_tokens for group in model.layers} == {2048}


def test_deepseek_v4_mixes_ratios():
    model = packaged("deepseek-v4-flash")
    ratios = {}
    for group in model.layers:
        mixer = group.mixers[0]
        assert isinstance(mixer, CompressedAttention)
        assert (mixer.indexer is not None) == (mixer.ratio == 4)
        ratios[mixer.ratio] = ratios.get(mixer.ratio, 0) + group.count
    assert ratios == {0: 2, 4: 21, 128: 20}
    assert (model.precision.weights, model.precision.experts) == ("fp8_block", "mxfp4")


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("jamba-v0.1", {Attention: 4, Mamba: 28}),
        ("nemotron-3-nano-30b-a3b", {Attention: 6, Mamba: 23}),
        ("falcon-h1-34b", {Attention: 72, Mamba: 72}),
        ("qwen3-next-80b-a3b", {Attention: 12, LinearAttention: 36}),
        ("qwen3.5-27b", {Attention: 16, LinearAttention: 48}),
        ("kimi-k3", {MlaAttention: 24, LinearAttention: 69}),
        ("minimax-m1", {Attention: 10, LinearAttention: 70}),
    ],
)
def test_hybrids_count_their_mixers(name, kinds):
    model = packaged(name)
    assert {kind: layers_by(model, kind) for kind in kinds} == kinds


def test_nemotron_super_experts_work_in_a_latent_width():
    moe = next(group.ffn for group in packaged("nemotron-3-super-120b-a12b").layers if group.ffn is not None)
    assert (moe.latent_dim, moe.gated, moe.topk, moe.shared_intermediate) == (1024, False, 22, 5376)


def test_kimi_k3_experts_are_latent_and_its_attention_gated():
    model = packaged("kimi-k3")
    moe = next(group.ffn for group in model.layers if isinstance(group.ffn, Moe))
    assert (moe.latent_dim, moe.latent_norm, moe.shared_intermediate) == (3584, True, 6144)
    assert all(
        mixer.gated_output
        for group in model.layers
        for mixer in group.mixers
        if isinstance(mixer, MlaAttention)
    )
    assert any("mla_use_output_gate" in text for text in model.warnings)
    assert model.precision.experts == "w4a16_mxfp4"


def test_minimax_m3_selects_blocks_after_three_dense_layers():
    model = packaged("minimax-m3")
    sparse = [group for group in model.layers if group.mixers[0].indexer is not None]
    assert sum(group.count for group in sparse) == 57
    assert sparse[0].mixers[0].indexer.topk_tokens == 2048
    assert sparse[0].mixers[0].indexer.block_tokens == 128


def test_gemma_4_runs_a_dense_mlp_beside_its_experts():
    model = packaged("gemma-4-26b-a4b")
    assert all(group.ffn.parallel_dense_intermediate == 2112 for group in model.layers)
    full = next(g.mixers[0] for g in model.layers if g.mixers[0].window_tokens is None)
    assert (full.head_dim, full.num_kv_heads, full.k_equals_v) == (512, 2, True)
    assert model.tied_embeddings


def test_llama_4_maverick_interleaves_experts():
    model = packaged("llama-4-maverick")
    assert sum(group.count for group in model.layers if isinstance(group.ffn, Moe)) == 24


@pytest.mark.parametrize(
    ("name", "tower_b", "patches"),
    [
        ("qwen2.5-vl-7b", 0.6766, 4),
        ("kimi-k2.5", 0.471, 4),
        ("gemma-4-26b-a4b", 0.573, 9),
        ("qwen3.5-27b", 0.461, 4),
    ],
)
def test_vision_towers_are_counted(name, tower_b, patches):
    model = packaged(name)
    assert counting.vision_parameters(model) / 1e9 == pytest.approx(tower_b, abs=5e-4)
    assert model.vision.patches_per_token == patches


def test_qwen25_vl_equals_its_published_total():
    """8.292 B: decoder 7.6156 B and tower 0.6766 B (model card)."""
    model = packaged("qwen2.5-vl-7b")
    assert counting.total_parameters(model) == 8_292_166_656


@pytest.mark.parametrize("name", ["llada-8b", "dream-7b"])
def test_diffusion_models_denoise_blocks_and_say_it_is_assumed(name):
    model = packaged(name)
    assert model.generation.block_tokens == 32
    assert not model.generation.cached_prefix
    assert any("assumption" in text for text in model.warnings)


def test_no_packaged_model_has_an_unknown_field():
    for path in sorted(MODELS.glob("*.json")):
        unknown = [text for text in packaged(path.stem).warnings if text.startswith("unknown field")]
        assert unknown == [], path.stem


def test_native_llada_names_give_the_same_model():
    native = {
        "architectures": ["LLaDAModelLM"],
        "model_type": "llada",
        "d_model": 4096,
        "n_layers": 32,
        "n_heads": 32,
        "n_kv_heads": 32,
        "mlp_hidden_size": 12288,
        "vocab_size": 126464,
        "embedding_size": 126464,
        "max_sequence_length": 4096,
        "weight_tying": False,
        "block_type": "llama",
        "rope": True,
    }
    model = import_config(native, name="native")
    assert counting.parameters(model) == counting.parameters(packaged("llada-8b"))
    assert not any(text.startswith("unknown") for text in model.warnings)


def test_gemma_3_takes_the_defaults_of_its_family_and_says_so():
    short = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {
            "model_type": "gemma3_text",
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "num_hidden_layers": 34,
            "sliding_window": 1024,
        },
        "vision_config": {
            "hidden_size": 1152,
            "image_size": 896,
            "patch_size": 14,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "intermediate_size": 4304,
        },
    }
    model = import_config(short, name="gemma-3-4b")
    assert counting.total_parameters(model) == pytest.approx(4.3e9, rel=0.01)
    assert sum("default of the family" in text for text in model.warnings) == 5


def test_qwen2_vl_tower_equals_its_published_size():
    """Qwen2-VL: a 675 M parameter vision transformer (arXiv 2409.12191), merger included below."""
    config = json.loads((MODELS / "qwen2.5-7b.json").read_text())["config"] | {
        "model_type": "qwen2_vl",
        "vision_config": {
            "depth": 32,
            "embed_dim": 1280,
            "mlp_ratio": 4,
            "num_heads": 16,
            "in_chans": 3,
            "hidden_size": 3584,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "temporal_patch_size": 2,
        },
    }
    model = import_config(config, name="qwen2-vl-7b")
    assert counting.vision_parameters(model) == pytest.approx(675e6, rel=0.005)
