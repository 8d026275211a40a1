"""Gemma 1, 2, 3 and 4."""

from __future__ import annotations

from dataclasses import replace

from tokenroof.catalog.hf.fields import Fields
from tokenroof.catalog.hf.parts import (
    Heads,
    Layer,
    Parts,
    attention,
    dense_mlp,
    group,
    heads,
    moe,
    num_layers,
    sliding_windows,
)
from tokenroof.catalog.model import Attention, FeedForward

_GEMMA3_DEFAULTS = {
    "heads": 8,
    "kv_heads": 4,
    "head_dim": 256,
    "vocab": 262_208,
    "sliding_window": 4096,
    "context": 131_072,
}


def build_gemma(f: Fields) -> Parts:
    """Gemma 1: the Llama shape with a tied table."""
    return _build(f, norms=2, qk_norm=False, pattern=0)


def build_gemma2(f: Fields) -> Parts:
    """Gemma 2: every other layer windowed, four norms per layer."""
    f.ignore("sliding_window_pattern")
    return _build(f, norms=4, qk_norm=False, pattern=2)


def build_gemma3(f: Fields) -> Parts:
    """Gemma 3: five windowed layers to one full, query and key norms.

    Published configs leave fields out that equal the defaults of transformers' Gemma3TextConfig.
    """
    for word, value in _GEMMA3_DEFAULTS.items():
        f.default(word, value)
    return _build(f, norms=4, qk_norm=True, pattern=f.size_or("sliding_window_pattern", 6))


def _build(f: Fields, *, norms: int, qk_norm: bool, pattern: int) -> Parts:
    f.require("hidden", "layers", "heads", "head_dim", "intermediate", "vocab")
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    biased = f.flag("attention_bias", False)
    windowed = [(i + 1) % pattern != 0 if pattern else False for i in range(layers)]
    found = [
        Layer(
            mixers=(
                attention(
                    h,
                    window_tokens=window,
                    qkv_bias=biased,
                    o_bias=biased,
                    qk_norm_parameters=2 * h.dim if qk_norm else 0,
                ),
            ),
            ffn=dense_mlp(f),
            norm_parameters=norms * hidden,
            norms=norms,
        )
        for window in sliding_windows(f, layers, pattern=windowed)
    ]
    return Parts(layers=group(found), extra_parameters=hidden, tied_default=True)


def build_gemma4(f: Fields) -> Parts:
    """Gemma 4: wide full-attention heads whose values are the keys, experts beside a dense MLP.

    Source: huggingface/transformers, models/gemma4.
    """
    f.require("hidden", "layers", "heads", "head_dim", "intermediate", "vocab", "layer_types")
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    f.ignore("vocab_size_per_layer_input")
    if f.count_or("hidden_size_per_layer_input", 0):
        f.warn("hidden_size_per_layer_input: per-layer embeddings are not modelled; counts are too low")
    shared_from = layers - f.count_or("num_kv_shared_layers", 0)
    windows = sliding_windows(f, layers)
    near, far = _gemma4_attentions(f, h)
    dense = dense_mlp(f)
    ffn: FeedForward = dense
    # Four norms, a layer scalar; with experts three more norms, a router scale and one per expert.
    norms, scales = 4, 1
    if f.flag("enable_moe_block", False):
        ffn = moe(f, parallel_dense_intermediate=dense.intermediate)
        norms, scales = 7, 1 + hidden + ffn.num_experts
    doubled = f.flag("use_double_wide_mlp", False)
    found = []
    for i in range(layers):
        mixer = far if windows[i] is None else replace(near, window_tokens=windows[i])
        shares = i >= shared_from
        if shares:
            mixer = replace(mixer, kv_shared=True, qk_norm_parameters=mixer.head_dim)
        wide = replace(dense, intermediate=2 * dense.intermediate)
        found.append(
            Layer(
                mixers=(mixer,),
                ffn=wide if doubled and shares else ffn,
                norm_parameters=norms * hidden,
                norms=norms,
                mixing_parameters=scales,
            )
        )
    return Parts(layers=group(found), extra_parameters=hidden, tied_default=True)


def _gemma4_attentions(f: Fields, h: Heads) -> tuple[Attention, Attention]:
    """Windowed and full attention; the full one has its own heads and, with k = v, no value projection."""
    biased = f.flag("attention_bias", False)
    near = attention(h, qkv_bias=biased, o_bias=biased, qk_norm_parameters=2 * h.dim)
    same = f.flag("attention_k_eq_v", False)
    kv = f.size_or("num_global_key_value_heads", h.kv) if same else h.kv
    f.ignore("num_global_key_value_heads")
    f.divides("num_global_key_value_heads", kv, "heads", h.num)
    wide = Heads(num=h.num, kv=kv, dim=f.size_or("global_head_dim", h.dim))
    far = attention(wide, qkv_bias=biased, o_bias=biased, qk_norm_parameters=2 * wide.dim)
    return near, replace(far, k_equals_v=same)
