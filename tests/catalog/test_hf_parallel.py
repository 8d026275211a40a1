"""Importers of GPT-J, PaLM, Falcon and OPT: what the config leaves unsaid, and what is refused."""

import pytest

from tokenroof.catalog import counting
from tokenroof.catalog.catalog import load
from tokenroof.catalog.hf import import_config
from tokenroof.errors import InputError

CATALOG = load()
FALCON = {
    "model_type": "falcon",
    "hidden_size": 4544,
    "num_hidden_layers": 32,
    "num_attention_heads": 71,
    "vocab_size": 65024,
    "max_position_embeddings": 2048,
}
OPT = {
    "model_type": "opt",
    "hidden_size": 5120,
    "ffn_dim": 20480,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "vocab_size": 50272,
    "max_position_embeddings": 2048,
    "activation_function": "relu",
}


@pytest.mark.parametrize("name", ["gpt-j-6b", "palm-540b", "falcon-7b"])
def test_parallel_layers_run_one_norm(name):
    (group,) = CATALOG.model(name).layers
    assert group.norms == 1


def test_falcon_40b_norms_attention_and_feed_forward_apart():
    (group,) = CATALOG.model("falcon-40b").layers
    assert group.norms == 2
    assert group.mixers[0].num_kv_heads == 8


def test_falcon_without_more_words_is_multi_query_and_tied():
    """The defaults of transformers' FalconConfig; 6,921,720,704 parameters are published."""
    model = import_config(FALCON, name="x")
    assert counting.parameters(model) == 6_921_720_704
    assert model.layers[0].mixers[0].num_kv_heads == 1
    many = import_config({**FALCON, "multi_query": False}, name="x")
    assert many.layers[0].mixers[0].num_kv_heads == 71


def test_opt_has_learned_positions_and_biases():
    model = import_config(OPT, name="x")
    assert model.tied_embeddings
    assert counting.parameters(model) == 12_853_473_280
    assert model.extra_parameters == 2 * 5120 + 2050 * 5120


def test_gptj_as_published_is_imported_without_a_warning():
    config = {
        "activation_function": "gelu_new", "architectures": ["GPTJForCausalLM"], "attn_pdrop": 0.0,
        "bos_token_id": 50256, "embd_pdrop": 0.0, "eos_token_id": 50256, "gradient_checkpointing": False,
        "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gptj", "n_embd": 4096,
        "n_head": 16, "n_inner": None, "n_layer": 28, "n_positions": 2048, "resid_pdrop": 0.0, "rotary": True,
        "rotary_dim": 64, "scale_attn_weights": True, "summary_activation": None, "summary_use_proj": True,
        "summary_first_dropout": 0.1, "summary_proj_to_labels": True, "summary_type": "cls_index",
        "tie_word_embeddings": False, "use_cache": True, "vocab_size": 50400,
    }  # fmt: skip
    model = import_config(config, name="x")
    assert counting.parameters(model) == 6_050_882_784
    assert not model.warnings


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**FALCON, "alibi": True}, "alibi: got True"),
        ({**FALCON, "parallel_attn": False}, "parallel_attn: got False"),
        ({**FALCON, "new_decoder_architecture": True, "num_kv_heads": 9}, "num_kv_heads: got 9"),
        ({**FALCON, "num_attention_heads": 70}, "num_attention_heads: got 70"),
        ({**OPT, "word_embed_proj_dim": 512}, "word_embed_proj_dim: got 512"),
        ({"model_type": "palm", "hidden_size": 8}, "required fields are missing"),
    ],
)
def test_what_is_not_modelled_is_refused(config, message):
    with pytest.raises(InputError) as caught:
        import_config(config, name="x")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
