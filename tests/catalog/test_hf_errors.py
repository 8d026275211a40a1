"""Bad configs: one-line errors that name the field, never a traceback of another kind."""

import json

import pytest

from tokenroof.catalog.hf import import_config, parse_config_text, read_config
from tokenroof.errors import InputError, UnsupportedModelError

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 2048,
}
MOE = LLAMA | {
    "model_type": "qwen3_moe",
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 256,
}


def message(config, error=InputError):
    with pytest.raises(error) as caught:
        import_config(config, name="x")
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("model 'x'")
    return text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("{", "not valid JSON"),
        ('{"a": 1,}', "not valid JSON"),
        ("[1, 2]", "got a JSON list"),
        ("3", "got a JSON int"),
        ("null", "got a JSON NoneType"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", "number too long"),
        ('{"a": "' + "x" * 10_000_001 + '"}', "too large"),
    ],
)
def test_rubbish_text_is_refused_in_one_line(tmp_path, content, words):
    file = tmp_path / "config.json"
    file.write_text(content)
    for call in (
        lambda: parse_config_text(content),
        lambda: read_config(file),
        lambda: read_config(tmp_path),
    ):
        with pytest.raises(InputError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_config(tmp_path / "absent.json")
    with pytest.raises(InputError, match="no such file"):
        read_config(tmp_path)
    (tmp_path / "config.json").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(InputError, match="not UTF-8"):
        read_config(tmp_path / "latin.json")
    with pytest.raises(InputError, match="not a path"):
        read_config("a\0b")


def test_directory_and_byte_order_mark_are_read(tmp_path):
    (tmp_path / "config.json").write_text("\ufeff" + json.dumps(LLAMA), encoding="utf-8")
    assert read_config(tmp_path) == LLAMA
    assert import_config(read_config(tmp_path), name="x").hidden == 512


@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, 512.0, "512", True, [512], {}, 10**30])
def test_sizes_are_positive_whole_numbers(field, value):
    text = message(LLAMA | {field: value})
    assert field in text
    assert "whole number" in text


def test_every_missing_field_is_named():
    text = message({"model_type": "llama", "hidden_size": 512})
    for field in ("num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"):
        assert field in text
    assert "hidden_size" not in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_key_value_heads": 3}, "num_key_value_heads: got 3. It must divide num_attention_heads = 8"),
        ({"num_attention_heads": 6, "num_key_value_heads": 2}, "must divide hidden_size = 512"),
        ({"num_hidden_layers": 1_000_000}, "At most 10000 layers"),
        ({"attention_bias": "yes"}, "attention_bias: got 'yes'. It must be true or false"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings"),
        ({"layer_types": ["full_attention"]}, "got 1 entries for 4 layers"),
        ({"layer_types": ["full_attention", "odd", "odd", "odd"]}, "got 'odd'"),
        ({"layer_types": 7}, "must be a list"),
        ({"layer_types": ["sliding_attention"] * 4}, "sliding_window"),
        ({"n_heads": 4}, "given twice with different values"),
        ({"model_type": 5}, "must be a string"),
        ({"architectures": [3]}, "list of strings"),
        ({"torch_dtype": "int3"}, "It is one of"),
        ({"quantization_config": 4}, "must be an object"),
        ({"quantization_config": {"quant_method": "magic"}}, "Known: fp8"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 3}}, "Only 4 and 8 bit"),
        ({"text_config": [1]}, "must be an object"),
        ({5: 1}, "field name 5 is not a string"),
    ],
)
def test_contradictions_are_named(change, words):
    assert words in message(LLAMA | change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_experts_per_tok": 9}, "cannot use more than the 8 routed experts"),
        ({"num_experts": 0}, "num_experts"),
        ({"moe_intermediate_size": None}, "moe_intermediate_size"),
        ({"num_local_experts": 16}, "given twice"),
        ({"decoder_sparse_step": 0}, "decoder_sparse_step"),
        ({"mlp_only_layers": ["a"]}, "mlp_only_layers"),
    ],
)
def test_expert_fields_are_checked(change, words):
    assert words in message(MOE | change)


def test_a_config_must_be_a_mapping():
    message([1, 2])


def test_unknown_architecture_offers_the_nearest():
    text = message({"model_type": "deepseek_v5", "kv_lora_rank": 512}, UnsupportedModelError)
    assert "deepseek_v3" in text or "deepseek_v4" in text


@pytest.mark.parametrize("field", ["num_experts", "ssm_state_size", "kv_lora_rank", "linear_num_key_heads"])
def test_an_unknown_type_with_a_special_part_is_not_imported_as_dense(field):
    text = message(LLAMA | {"model_type": "novel", field: 16}, UnsupportedModelError)
    assert field in text


def test_an_encoder_decoder_is_not_supported():
    message(LLAMA | {"model_type": "novel", "is_encoder_decoder": True}, UnsupportedModelError)


def test_a_plain_unknown_decoder_is_imported_with_a_warning():
    model = import_config(LLAMA | {"model_type": "novel"}, name="x")
    assert model.num_layers == 4
    assert any("plain dense decoder" in text for text in model.warnings)


def test_an_empty_config_names_what_is_missing():
    assert "model_type" in message({})


def test_unknown_fields_that_are_on_are_named_and_those_off_are_not():
    config = LLAMA | {
        "clever_cache_ratio": 4,
        "unused_switch": False,
        "attention_dropout": 0.1,
        "eos_token_id": 2,
    }
    warnings = import_config(config, name="x").warnings
    assert [text for text in warnings if "clever_cache_ratio" in text]
    assert not [text for text in warnings if "unused_switch" in text or "dropout" in text or "eos" in text]


def test_stated_figures_are_checked():
    model = import_config(LLAMA, name="x", stated={"total_params": 10_000_000})
    assert (model.stated_parameters, model.stated_active_parameters) == (1e7, None)
    for value in (-1, "8B", True, float("nan"), float("inf")):
        with pytest.raises(InputError, match="stated total_params"):
            import_config(LLAMA, name="x", stated={"total_params": value})


def test_nemotron_patterns_are_checked():
    config = {
        "model_type": "nemotron_h",
        "hidden_size": 512,
        "num_attention_heads": 8,
        "vocab_size": 1000,
        "mamba_num_heads": 8,
        "mamba_head_dim": 64,
        "ssm_state_size": 16,
        "intermediate_size": 1024,
        "max_position_embeddings": 2048,
    }
    assert "hybrid_override_pattern" in message(config)
    assert "got 'X'" in message(config | {"hybrid_override_pattern": "MX"})
    assert "has 2 letters" in message(config | {"hybrid_override_pattern": "M*", "num_hidden_layers": 3})
    assert "layers_block_type" in message(config | {"layers_block_type": ["mamba", ["x"]]})
    assert import_config(config | {"hybrid_override_pattern": "M*-"}, name="x").num_layers == 3
