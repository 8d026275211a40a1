"""Linear-attention hybrids: Qwen3-Next and Qwen3.5, Kimi Linear and K3, MiniMax-M1."""

from __future__ import annotations

from dataclasses import replace

from tokenroof.catalog.hf.experts import qwen_ffn
from tokenroof.catalog.hf.fields import Fields
from tokenroof.catalog.hf.latent import mla
from tokenroof.catalog.hf.parts import (
    Layer,
    Parts,
    attention,
    dense_mlp,
    group,
    heads,
    leading_dense,
    moe,
    mtp_modules,
    num_layers,
    shared_width,
)
from tokenroof.catalog.model import FeedForward, LinearAttention, Mixer


def build_qwen_delta(f: Fields) -> Parts:
    """Qwen3-Next and Qwen3.5: three gated-delta-net layers to one gated full-attention layer."""
    f.require("hidden", "layers", "heads", "vocab", "linear_num_key_heads", "linear_num_value_heads")
    f.require("linear_key_head_dim", "linear_value_head_dim")
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    f.ignore("attn_output_gate", "use_sliding_window")
    k_heads, v_heads = f.size("linear_num_key_heads"), f.size("linear_num_value_heads")
    f.divides("linear_num_key_heads", k_heads, "linear_num_value_heads", v_heads)
    delta = LinearAttention(
        kind="gated_delta_net",
        num_k_heads=k_heads,
        num_v_heads=v_heads,
        k_head_dim=f.size("linear_key_head_dim"),
        v_head_dim=f.size("linear_value_head_dim"),
        conv_kernel=f.size_or("linear_conv_kernel_dim", 4),
    )
    biased = f.flag("attention_bias", False)
    full = attention(h, qkv_bias=biased, o_bias=biased, qk_norm_parameters=2 * h.dim, gated_output=True)
    every = f.size_or("full_attention_interval", 4)
    kinds = f.per_layer("layer_types", layers, ("linear_attention", "full_attention")) or [
        "full_attention" if (i + 1) % every == 0 else "linear_attention" for i in range(layers)
    ]
    ffns = qwen_ffn(f, layers)
    found = [
        Layer(mixers=(full if kind == "full_attention" else delta,), ffn=ffn, norm_parameters=2 * hidden)
        for kind, ffn in zip(kinds, ffns, strict=True)
    ]
    module = Layer(mixers=(full,), ffn=ffns[-1], norm_parameters=2 * hidden)
    mtp, mtp_extra = mtp_modules(f, f.count_or("mtp_layers", 0), module, hidden)
    return Parts(layers=group(found), extra_parameters=hidden, mtp=mtp, mtp_extra_parameters=mtp_extra)


def build_kimi_linear(f: Fields) -> Parts:
    """Kimi Linear and Kimi-K3: Kimi delta attention with latent attention in every fourth layer.

    K3 adds latent experts, output gates and block-wise attention residuals (two norms and two
    projections to one number per layer).
    """
    f.require("hidden", "layers", "heads", "intermediate", "vocab", "kv_lora_rank", "linear_attn_config")
    layers, hidden = num_layers(f), f.size("hidden")
    linear = f.sub("linear_attn_config")
    if linear is None:
        raise f.missing(("linear_attn_config",))
    linear.require("num_heads", "head_dim", "full_attn_layers")
    num, dim = linear.size("num_heads"), linear.size("head_dim")
    delta = LinearAttention(
        kind="kimi_delta",
        num_k_heads=num,
        num_v_heads=num,
        k_head_dim=dim,
        v_head_dim=dim,
        conv_kernel=linear.size_or("short_conv_kernel_size", 4),
        gate_rank=0 if linear.flag("use_full_rank_gate", False) else dim,
    )
    third = f.outer_type == "kimi_k3"
    if third and not f.has("mla_use_output_gate"):
        f.warn("mla_use_output_gate is missing: latent attention is taken to be gated, as published for K3")
    f.ignore("mla_use_nope", "rotary_type", "kda_layers")
    latent = mla(f, gated_output=f.flag("mla_use_output_gate", third))
    full_layers = set(linear.whole_list("full_attn_layers", 1) or ())
    residuals = 0
    if f.has("attn_res_block_size"):
        f.size("attn_res_block_size")
        residuals = 4 * hidden
        f.warn("attention residuals are counted as parameters, not as time")
    sparse = _kimi_experts(f)
    dense = dense_mlp(f)
    has_experts = leading_dense(f, layers) if sparse is not None else [False] * layers
    found = []
    for i in range(layers):
        mixer: Mixer = latent if i + 1 in full_layers else delta
        ffn = sparse if has_experts[i] and sparse is not None else dense
        found.append(Layer(mixers=(mixer,), ffn=ffn, norm_parameters=2 * hidden, mixing_parameters=residuals))
    mtp, mtp_extra = mtp_modules(f, f.count_or("mtp_layers", 0), found[-1], hidden)
    return Parts(
        layers=group(found),
        extra_parameters=hidden + (2 * hidden if f.has("attn_res_block_size") else 0),
        mtp=mtp,
        mtp_extra_parameters=mtp_extra,
        experts_only=True,
    )


def _kimi_experts(f: Fields) -> FeedForward | None:
    if not f.has("experts"):
        return None
    return moe(
        f,
        shared_intermediate=shared_width(f),
        router_bias=True,
        latent_dim=f.count_or("routed_expert_hidden_size", 0),
        latent_norm=f.flag("latent_moe_use_norm", False),
    )


def build_minimax_m1(f: Fields) -> Parts:
    """MiniMax-Text-01 and M1: seven lightning layers to one softmax layer, experts everywhere."""
    f.require("hidden", "layers", "heads", "head_dim", "intermediate", "experts", "topk", "vocab")
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    f.ignore("postnorm", "shared_moe_mode", "block_size")
    lightning = LinearAttention(
        kind="lightning",
        num_k_heads=h.num,
        num_v_heads=h.num,
        k_head_dim=h.dim,
        v_head_dim=h.dim,
        conv_kernel=0,
    )
    kinds = f.per_layer("attn_type_list", layers, (0, 1))
    if kinds is None:
        listed = f.per_layer("layer_types", layers, ("linear_attention", "full_attention"))
        if listed is None:
            raise f.missing(("attn_type_list",))
        kinds = [int(kind == "full_attention") for kind in listed]
    shared = f.count_or("shared_intermediate", 0)
    sparse = replace(moe(f, intermediate=f.size("intermediate")), shared_intermediate=shared)
    found = [
        Layer(mixers=(attention(h) if kind == 1 else lightning,), ffn=sparse, norm_parameters=2 * hidden)
        for kind in kinds
    ]
    return Parts(layers=group(found), extra_parameters=hidden)
