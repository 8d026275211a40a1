"""Published and independently computed counts of the packaged models."""

import json
from pathlib import Path

import pytest

import tokenroof.catalog.model as model_nouns
from tokenroof.catalog import counting
from tokenroof.catalog.hf import import_config
from tokenroof.catalog.model import Attention, CompressedAttention, Precision

MODELS = Path(model_nouns.__file__).parent / "data" / "models"
EXPECTED = json.loads((Path(__file__).parent / "expected_models.json").read_text())
NAMES = sorted(EXPECTED["models"])


def packaged(name):
    data = json.loads((MODELS / f"{name}.json").read_text())
    return import_config(
        data["config"], name=name, hf_id=data["hf_id"], source=data["source"], stated=data["stated"]
    )


def with_key(key):
    return [name for name in NAMES if key in EXPECTED["models"][name]]


def stated(name):
    return json.loads((MODELS / f"{name}.json").read_text())["stated"]


def test_every_model_of_the_reference_is_packaged_with_source_and_licence():
    files = {path.stem for path in MODELS.glob("*.json")}
    assert files == set(NAMES)
    assert len(files) >= 64
    for name in files:
        data = json.loads((MODELS / f"{name}.json").read_text())
        assert data["hf_id"]
        assert data["source"]
        assert data["licence"]
        assert data["stated"]["basis"]


@pytest.mark.parametrize("name", with_key("parameters"))
def test_parameters_equal_the_independent_count(name):
    expected = EXPECTED["models"][name]
    difference = EXPECTED["differences"].get(name, {"parameters": 0})["parameters"]
    model = packaged(name)
    assert counting.parameters(model) == expected["parameters"] + difference
    assert counting.active_parameters(model) == expected["active"] + difference


@pytest.mark.parametrize("name", [name for name in NAMES if "total_params" in stated(name)])
def test_total_is_within_1_5_percent_of_what_the_card_states(name):
    """Cards count the decoder alone, with its vision tower, or the whole checkpoint with MTP modules."""
    model = packaged(name)
    decoder = counting.parameters(model)
    counts = (
        decoder,
        decoder + counting.vision_parameters(model),
        counting.total_parameters(model),
    )
    assert min(abs(count / model.stated_parameters - 1) for count in counts) < 0.015


@pytest.mark.parametrize("name", [name for name in NAMES if "active_params" in stated(name)])
def test_active_is_within_5_percent_of_what_the_card_states(name):
    """With or without the input table: cards follow either convention; exceptions carry their reason."""
    model = packaged(name)
    counts = [counting.active_parameters(model, count_embedding=with_table) for with_table in (True, False)]
    if model.vision is not None:
        counts += [count + counting.vision_parameters(model) for count in counts]
    error = min(abs(count / model.stated_active_parameters - 1) for count in counts)
    if name in EXPECTED["active_exceptions"]:
        assert error >= 0.05
        assert counts[0] == EXPECTED["active_exceptions"][name]["active"]
    else:
        assert error < 0.05


@pytest.mark.parametrize("name", [name for name in NAMES if "kv_bytes_per_token" in stated(name)])
def test_kv_bytes_per_token_equal_the_published_value(name):
    """Published tables are BF16. Sources are in the model files (arXiv 2505.09343 table 1 and others)."""
    assert (
        counting.kv_bytes_per_token(packaged(name), Precision(kv="bf16"))
        == stated(name)["kv_bytes_per_token"]
    )


def test_published_kv_values_cover_six_models():
    assert len([name for name in NAMES if "kv_bytes_per_token" in stated(name)]) >= 6


@pytest.mark.parametrize("name", with_key("kv_bytes_per_token_bf16"))
def test_kv_bytes_equal_the_independent_count_plus_index_keys(name):
    model = packaged(name)
    index = sum(
        group.count * counting.index_bytes_per_token(mixer)
        for group in model.layers
        for mixer in group.mixers
    )
    expected = EXPECTED["models"][name]["kv_bytes_per_token_bf16"]
    assert counting.kv_bytes_per_token(model, Precision(kv="bf16")) == expected + index
    assert (index > 0) == (name in ("deepseek-v3.2", "glm-5", "glm-5.2"))


@pytest.mark.parametrize("name", with_key("recurrent_elements"))
def test_recurrent_state_equals_the_independent_count(name):
    total = sum(
        group.count * counting.recurrent_elements_per_sequence(mixer)
        for group in packaged(name).layers
        for mixer in group.mixers
    )
    assert total == EXPECTED["models"][name]["recurrent_elements"]


@pytest.mark.parametrize("name", NAMES)
def test_parts_sum_to_the_total(name):
    model = packaged(name)
    parts = counting.parameter_parts(model)
    assert sum(parts.values()) == counting.total_parameters(model)
    assert all(count >= 0 for count in parts.values())
    assert 0 < counting.active_parameters(model) <= counting.parameters(model)


def test_prediction_module_of_deepseek_v3():
    """The model card of DeepSeek-V3 (README_WEIGHTS) gives 11.5 B unique parameters to the MTP module."""
    assert counting.mtp_parameters(packaged("deepseek-v3")) == pytest.approx(11.5e9, rel=0.015)


def test_indexer_of_deepseek_v32_adds_14_million_per_layer():
    mixers = [packaged(name).layers[0].mixers[0] for name in ("deepseek-v3.2", "deepseek-v3")]
    sizes = [counting.mixer_parameters(mixer, 7168) for mixer in mixers]
    assert sizes[0] - sizes[1] == 1536 * 64 * 128 + 7168 * 128 + 7168 * 64 + 2 * 128


def test_windows_leave_only_the_layers_that_grow():
    model = packaged("gpt-oss-120b")
    assert counting.kv_bytes_per_token(model) == 2 * counting.kv_bytes_per_token(model, windows=True)


def test_kv_follows_the_format():
    model = packaged("llama-3.3-70b")
    assert counting.kv_bytes_per_token(model, Precision(kv="fp8")) == 163_840


def test_compressed_cache_of_deepseek_v4_by_hand():
    csa = CompressedAttention(
        num_heads=64,
        head_dim=512,
        q_lora_rank=1024,
        o_lora_rank=1024,
        o_groups=8,
        kv_dim=512,
        ratio=4,
        window_tokens=128,
        overlap=True,
    )
    assert counting.kv_elements_per_token(csa) == 128
    # Two neighbouring groups of 4 tokens, values and gates, twice the width.
    assert counting.recurrent_elements_per_sequence(csa) == 2 * 8 * 1024


def test_shared_keys_have_no_projection_and_no_cache():
    own = Attention(num_heads=8, num_kv_heads=2, head_dim=64, v_head_dim=64)
    shared = Attention(num_heads=8, num_kv_heads=2, head_dim=64, v_head_dim=64, kv_shared=True)
    assert counting.mixer_parameters(own, 512) - counting.mixer_parameters(shared, 512) == 2 * 2 * 64 * 512
    assert counting.kv_elements_per_token(shared) == 0
    assert counting.kv_elements_per_token(own) == 256
