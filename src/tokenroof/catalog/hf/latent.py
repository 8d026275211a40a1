"""Multi-head latent attention: DeepSeek-V2/V3/V3.2, Kimi-K2 and GLM-5."""

from __future__ import annotations

from tokenroof.catalog.hf.fields import Fields
from tokenroof.catalog.hf.parts import (
    Layer,
    Parts,
    dense_mlp,
    group,
    leading_dense,
    moe,
    mtp_modules,
    num_layers,
    shared_width,
)
from tokenroof.catalog.model import FeedForward, Indexer, MlaAttention


def mla(f: Fields, *, indexer: Indexer | None = None, gated_output: bool = False) -> MlaAttention:
    """The latent attention of a config."""
    f.ignore("head_dim", "qk_head_dim", "num_key_value_heads")
    return MlaAttention(
        num_heads=f.size("heads"),
        q_lora_rank=f.size("q_lora_rank") if f.has("q_lora_rank") else None,
        kv_lora_rank=f.size("kv_lora_rank"),
        qk_nope_head_dim=f.size("qk_nope_head_dim"),
        qk_rope_head_dim=f.size("qk_rope_head_dim"),
        v_head_dim=f.size("v_head_dim"),
        indexer=indexer,
        gated_output=gated_output,
    )


def indexer(f: Fields, *, owned: bool = True) -> Indexer | None:
    """The sparse-attention indexer, or None in models without ``index_topk``."""
    if not f.has("index_topk"):
        return None
    return Indexer(
        num_heads=f.size("index_n_heads"),
        head_dim=f.size("index_head_dim"),
        topk_tokens=f.size("index_topk"),
        owned=owned,
    )


def build_deepseek(f: Fields) -> Parts:
    """DeepSeek-V2 to V3.2, Kimi-K2, GLM-5: latent attention, leading dense layers, shared experts."""
    f.require("hidden", "layers", "heads", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim")
    f.require("v_head_dim", "intermediate", "vocab")
    layers, hidden = num_layers(f), f.size("hidden")
    if f.flag("attention_bias", False):
        f.warn("attention_bias: biases of latent projections are not counted")
    f.ignore("index_share_for_mtp_iteration")
    corrected = f.text("topk_method", "") == "noaux_tc"
    dense, sparse = dense_mlp(f), None
    if f.has("experts"):
        sparse = moe(f, shared_intermediate=shared_width(f), router_bias=corrected)
    types = f.per_layer("indexer_types", layers, ("full", "shared")) or ["full"] * layers
    ffns: list[FeedForward] = [
        sparse if sparse is not None and has else dense for has in leading_dense(f, layers)
    ]
    found = [
        Layer(mixers=(mla(f, indexer=indexer(f, owned=kind == "full")),), ffn=ffn, norm_parameters=2 * hidden)
        for kind, ffn in zip(types, ffns, strict=True)
    ]
    last = Layer(mixers=(mla(f, indexer=indexer(f)),), ffn=sparse or dense, norm_parameters=2 * hidden)
    mtp, mtp_extra = mtp_modules(f, f.count_or("mtp_layers", 0), last, hidden)
    return Parts(
        layers=group(found),
        extra_parameters=hidden,
        mtp=mtp,
        mtp_extra_parameters=mtp_extra,
        experts_only=f.text("model_type", "") == "kimi_k2" or f.outer_type.startswith("kimi"),
    )
