"""Matrix shapes by hand, and the promises that sharding relies on."""

import json
from pathlib import Path

import pytest

import tokenroof.catalog.model as model_nouns
from tokenroof.catalog.counting import expert_parameters, ffn_parameters, mixer_parameters
from tokenroof.catalog.hf import import_config
from tokenroof.catalog.model import Attention, DenseMlp, LinearAttention, Mamba, MlaAttention, Moe
from tokenroof.catalog.shapes import expert_projections, projections, vectors

MODELS = Path(model_nouns.__file__).parent / "data" / "models"


def shapes(layer, hidden):
    return {p.name: (p.n, p.k, p.shard, p.units) for p in projections(layer, hidden)}


def test_grouped_query_attention_fuses_q_k_v():
    layer = Attention(num_heads=64, num_kv_heads=8, head_dim=128, v_head_dim=128)
    assert shapes(layer, 8192) == {
        "q": (8192, 8192, "column", 64),
        "k": (1024, 8192, "column", 8),
        "v": (1024, 8192, "column", 8),
        "o": (8192, 8192, "row", 64),
    }
    assert [p.gemm for p in projections(layer, 8192)] == ["qkv", "qkv", "qkv", "o"]


def test_a_gated_output_doubles_the_query_projection():
    layer = Attention(num_heads=16, num_kv_heads=2, head_dim=256, v_head_dim=256, gated_output=True)
    assert shapes(layer, 2048)["q"][0] == 2 * 16 * 256


def test_latent_attention_of_deepseek_v3():
    """arXiv 2412.19437 section 4.2: 128 heads, ranks 1536 and 512, 128 + 64 wide keys."""
    layer = MlaAttention(
        num_heads=128,
        q_lora_rank=1536,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
    )
    assert shapes(layer, 7168) == {
        "q_a": (1536, 7168, "replicated", 1),
        "kv_a": (576, 7168, "replicated", 1),
        "q_b": (24576, 1536, "column", 128),
        "kv_b": (32768, 512, "column", 128),
        "o": (7168, 16384, "row", 128),
    }
    assert vectors(layer, 7168) == {"q_norm": 1536, "kv_norm": 512}


def test_mamba_2_projects_to_gate_input_b_c_and_step():
    """arXiv 2405.21060: in_proj is 2 inner + 2 groups x state + heads wide."""
    layer = Mamba(version=2, num_heads=64, head_dim=64, state_dim=128, num_groups=8, conv_kernel=4)
    fused = sum(p.n for p in projections(layer, 2688) if p.gemm == "in")
    assert fused == 2 * 4096 + 2 * 8 * 128 + 64
    assert vectors(layer, 2688)["conv"] == (4096 + 2048) * 5


def test_kimi_delta_with_a_full_gate_by_hand():
    layer = LinearAttention(
        kind="kimi_delta", num_k_heads=96, num_v_heads=96, k_head_dim=128, v_head_dim=128, conv_kernel=4
    )
    inner, hidden = 96 * 128, 7168
    matrices = 5 * inner * hidden + 128 * hidden + inner * 128 + 96 * hidden
    small = 3 * inner * 4 + inner + 96 + 128
    assert mixer_parameters(layer, hidden) == matrices + small


def test_experts_work_in_the_latent_width():
    moe = Moe(num_experts=8, topk=2, intermediate=64, gated=False, latent_dim=32, shared_intermediate=16)
    assert {p.name: (p.n, p.k) for p in expert_projections(moe, 128)} == {"up": (64, 32), "down": (32, 64)}
    names = set(shapes(moe, 128))
    assert names == {"router", "latent_down", "latent_up", "shared_up", "shared_down"}
    assert ffn_parameters(moe, 128) == 8 * expert_parameters(moe, 128) + 128 * (8 + 2 * 32 + 2 * 16)


def test_biases_are_counted_once_per_output():
    assert ffn_parameters(DenseMlp(intermediate=10, gated=True, bias=True), 4) == 3 * 40 + 2 * 10 + 4


@pytest.mark.parametrize("name", sorted(path.stem for path in MODELS.glob("*.json")))
def test_split_dimensions_are_whole_units(name):
    model = import_config(json.loads((MODELS / f"{name}.json").read_text())["config"], name=name)
    for group in model.layers:
        for part in (*group.mixers, *((group.ffn,) if group.ffn is not None else ())):
            for p in projections(part, model.hidden):
                split = {"column": p.n * p.batch, "row": p.k, "replicated": p.units}[p.shard]
                assert split % p.units == 0, p


@pytest.mark.parametrize("name", sorted(path.stem for path in MODELS.glob("*.json")))
def test_projections_of_one_gemm_read_the_same_width(name):
    model = import_config(json.loads((MODELS / f"{name}.json").read_text())["config"], name=name)
    for group in model.layers:
        for part in (*group.mixers, *((group.ffn,) if group.ffn is not None else ())):
            widths = {}
            for p in projections(part, model.hidden):
                widths.setdefault(p.gemm, set()).add(p.k)
            assert all(len(width) == 1 for width in widths.values())


def test_an_unknown_layer_type_is_our_bug():
    with pytest.raises(TypeError, match="no projections for int"):
        projections(3, 4)
    with pytest.raises(TypeError, match="no vectors for int"):
        vectors(3, 4)
