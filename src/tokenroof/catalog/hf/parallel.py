"""Decoders whose attention and feed-forward read the same norm, side by side: GPT-J, PaLM, Falcon."""

from __future__ import annotations

from tokenroof.catalog.hf.fields import Fields
from tokenroof.catalog.hf.parts import Heads, Layer, Parts, attention, dense_mlp, group, heads, num_layers
from tokenroof.catalog.model import DenseMlp


def build_gptj(f: Fields) -> Parts:
    """GPT-J: one norm per layer, biases in the feed-forward and the output head only.

    ``n_inner`` is null in the published config: four times the width.
    """
    f.require("hidden", "layers", "heads", "vocab")
    f.ignore("rotary", "scale_attn_weights", "gradient_checkpointing", "n_ctx", *_SUMMARY)
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    mlp = DenseMlp(intermediate=f.size_or("n_inner", 4 * hidden), gated=False, bias=True)
    layer = Layer(mixers=(attention(h),), ffn=mlp, norm_parameters=2 * hidden, norms=1)
    head_bias = 0 if f.flag("tie_word_embeddings", False) else f.size("vocab")
    return Parts(layers=group([layer] * layers), extra_parameters=2 * hidden + head_bias)


_SUMMARY = (
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
)


def build_palm(f: Fields) -> Parts:
    """PaLM: multi-query attention, gated feed-forward, no biases, shared embeddings.

    There is no published config; the fields take the names of Llama's.
    """
    f.require("hidden", "layers", "heads", "head_dim", "intermediate", "vocab")
    layers, hidden = num_layers(f), f.size("hidden")
    h = Heads(num=f.size("heads"), kv=f.size_or("kv_heads", 1), dim=f.size("head_dim"))
    f.divides("kv_heads", h.kv, "heads", h.num)
    layer = Layer(mixers=(attention(h),), ffn=dense_mlp(f), norm_parameters=hidden, norms=1)
    return Parts(layers=group([layer] * layers), extra_parameters=hidden, tied_default=True)


def build_falcon(f: Fields) -> Parts:
    """Falcon: multi-query (7B) or grouped (40B, 180B, with two norms side by side) attention.

    Source: huggingface/transformers, models/falcon.
    """
    f.require("hidden", "layers", "heads", "vocab")
    f.ignore("apply_residual_connection_post_layernorm")
    layers, hidden, num = num_layers(f), f.size("hidden"), f.size("heads")
    new = f.flag("new_decoder_architecture", False)
    f.ignore("parallel_attn", "num_kv_heads", "multi_query", "num_ln_in_parallel_attn")
    if not new and not f.flag("parallel_attn", True):
        raise f.error("parallel_attn", "got False", "Falcon with layers in sequence is not supported.")
    if f.flag("alibi", False):
        raise f.error("alibi", "got True", "Falcon with ALiBi positions is not supported.")
    if new:
        kv = f.size_or("kv_heads", num)
        norms = f.size_or("num_ln_in_parallel_attn", 2)
    else:
        kv, norms = 1 if f.flag("multi_query", True) else num, 1
    f.divides("heads", num, "hidden", hidden)
    f.divides("kv_heads", kv, "heads", num)
    biased = f.flag("bias", False)
    mixer = attention(Heads(num=num, kv=kv, dim=hidden // num), qkv_bias=biased, o_bias=biased)
    mlp = DenseMlp(intermediate=f.size_or("ffn_hidden_size", 4 * hidden), gated=False, bias=biased)
    layer = Layer(mixers=(mixer,), ffn=mlp, norm_parameters=2 * norms * hidden, norms=norms)
    return Parts(layers=group([layer] * layers), extra_parameters=2 * hidden, tied_default=True)
