"""quantization_config and hf_quant_config.json set the default formats."""

import json

import pytest

from tokenroof.catalog.hf import import_config, read_config
from tokenroof.errors import InputError

MOE = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "torch_dtype": "bfloat16",
    "hidden_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 2048,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 256,
}
INT4 = {"num_bits": 4, "type": "int", "group_size": 32}
INT8 = {"num_bits": 8, "type": "int"}
FP8 = {"num_bits": 8, "type": "float"}


def formats(**quantization):
    p = import_config(MOE | {"quantization_config": quantization}, name="x").precision
    return p.weights, p.experts, p.activations, p.kv


def groups(weights, inputs=None):
    return {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": inputs}}


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, ("fp8_block", "fp8_block", "fp8", "bf16")),
        ({"quant_method": "fp8"}, ("fp8", "fp8", "fp8", "bf16")),
        ({"quant_method": "mxfp4"}, ("bf16", "mxfp4", "bf16", "bf16")),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, ("int4", "int4", "bf16", "bf16")),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, ("int4_g32", "int4_g32", "bf16", "bf16")),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, ("int8_wo", "int8_wo", "bf16", "bf16")),
        (
            {"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"},
            ("nvfp4", "nvfp4", "nvfp4", "fp8"),
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "float-quantized",
                "config_groups": groups(FP8, FP8),
            },
            ("fp8", "fp8", "fp8", "bf16"),
        ),
        (
            {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": groups(INT4)},
            ("int4_g32", "int4_g32", "bf16", "bf16"),
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "int-quantized",
                "config_groups": groups(INT8, INT8),
            },
            ("int8", "int8", "int8", "bf16"),
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "mxfp4-pack-quantized",
                "config_groups": groups(FP8),
            },
            ("w4a16_mxfp4", "w4a16_mxfp4", "bf16", "bf16"),
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "nvfp4-pack-quantized",
                "config_groups": groups(FP8, FP8),
            },
            ("nvfp4", "nvfp4", "nvfp4", "bf16"),
        ),
        (
            {"quant_method": "fp8", "kv_cache_scheme": {"num_bits": 8, "type": "float"}},
            ("fp8", "fp8", "fp8", "fp8"),
        ),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, ("int8_wo", "int8_wo", "bf16", "bf16")),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("int4", "int4", "bf16", "bf16")),
    ],
)
def test_each_method_sets_its_formats(quantization, expected):
    assert formats(**quantization) == expected


def test_embeddings_stay_in_16_bit():
    model = import_config(MOE | {"quantization_config": {"quant_method": "fp8"}}, name="x")
    assert model.precision.embedding == "bf16"


@pytest.mark.parametrize(
    ("skipped", "expected"),
    [
        (["lm_head"], ("nvfp4", "nvfp4")),
        (["lm_head", "re:.*self_attn.*"], ("bf16", "nvfp4")),
        ([f"model.layers.{i}.self_attn*" for i in range(4)], ("bf16", "nvfp4")),
        (["model.layers.0.self_attn*"], ("nvfp4", "nvfp4")),
        (["re:.*experts.*"], ("nvfp4", "bf16")),
        (["re:.*shared_experts.*"], ("nvfp4", "nvfp4")),
        (["model.layers.3.mlp.experts"], ("nvfp4", "nvfp4")),
    ],
)
def test_modules_left_alone_keep_their_role_in_16_bit(skipped, expected):
    assert formats(quant_method="modelopt", quant_algo="NVFP4", ignore=skipped)[:2] == expected


def test_modelopt_file_beside_the_config_is_merged(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(MOE))
    quant = {
        "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}
    }
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(quant))
    model = import_config(read_config(tmp_path), name="x")
    assert (model.precision.weights, model.precision.kv) == ("nvfp4", "fp8")
    assert not [text for text in model.warnings if "hf_quant_config" in text]


def test_mixed_precision_is_named_as_an_approximation():
    layers = {"model.layers.0.mlp.experts": {"quant_algo": "NVFP4"}, "lm_head": {"quant_algo": "FP8"}}
    config = MOE | {
        "hf_quant_config": {"quantization": {"quant_algo": "MIXED_PRECISION", "quantized_layers": layers}}
    }
    model = import_config(config, name="x")
    assert model.precision.experts == "nvfp4"
    assert any("mixed precision" in text for text in model.warnings)


def test_missing_groups_are_assumed_and_said():
    config = MOE | {"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized"}}
    model = import_config(config, name="x")
    assert model.precision.experts == "int4_g32"
    assert any("config_groups" in text for text in model.warnings)


@pytest.mark.parametrize(
    "quantization",
    [
        {},
        {"quant_method": "unheard-of"},
        {"quant_method": "modelopt", "quant_algo": "INT2"},
        {"quant_method": "compressed-tensors", "format": "strange"},
        {"quant_method": "awq", "bits": 2},
        {"quant_method": 4},
        {"quant_method": "fp8", "ignore": "lm_head"},
    ],
)
def test_unknown_formats_are_refused(quantization):
    with pytest.raises(InputError) as caught:
        formats(**quantization)
    assert "\n" not in str(caught.value)


def test_expert_dtype_of_deepseek_v4_must_be_known():
    with pytest.raises(InputError, match="expert_dtype"):
        import_config(MOE | {"expert_dtype": "fp3"}, name="x")


@pytest.mark.parametrize(
    ("name", "expected"), [("float16", "fp16"), ("bfloat16", "bf16"), ("float32", "bf16")]
)
def test_plain_weights_follow_the_dtype(name, expected):
    assert import_config(MOE | {"torch_dtype": name}, name="x").precision.weights == expected
