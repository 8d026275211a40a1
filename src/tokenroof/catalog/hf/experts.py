"""Grouped-query attention with experts: Mixtral, Qwen, GLM-4.5, MiniMax-M2, gpt-oss, Llama-4, MiMo."""

from __future__ import annotations

from tokenroof.catalog.hf.fields import Fields, short
from tokenroof.catalog.hf.parts import (
    Heads,
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
    sliding_windows,
)
from tokenroof.catalog.model import Attention, DenseMlp, FeedForward


def qwen_ffn(f: Fields, layers: int) -> list[FeedForward]:
    """Feed-forwards of the Qwen families: experts in every ``decoder_sparse_step``-th layer."""
    if not f.has("experts"):
        return [dense_mlp(f)] * layers
    shared = f.count_or("shared_intermediate", 0)
    sparse = moe(f, shared_intermediate=shared, shared_gate=shared > 0)
    dense_layers = set(f.whole_list("mlp_only_layers") or ())
    step = f.size_or("decoder_sparse_step", 1)
    f.ignore("intermediate_size")
    return [dense_mlp(f) if i in dense_layers or (i + 1) % step else sparse for i in range(layers)]


def build_qwen_moe(f: Fields) -> Parts:
    """Qwen2-MoE and Qwen3-MoE."""
    f.require("hidden", "layers", "heads", "experts", "topk", "expert_intermediate", "vocab")
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    third = "qwen3" in f.text("model_type", "")
    f.ignore("use_sliding_window", "sliding_window", "use_qk_norm")
    qkv_bias = f.flag("attention_bias", f.flag("qkv_bias", not third))
    o_bias, norms = f.flag("attention_bias", False), 2 * h.dim if third else 0
    mixers = [
        attention(h, window_tokens=w, qkv_bias=qkv_bias, o_bias=o_bias, qk_norm_parameters=norms)
        for w in sliding_windows(f, layers)
    ]
    found = [
        Layer(mixers=(mixer,), ffn=ffn, norm_parameters=2 * hidden)
        for mixer, ffn in zip(mixers, qwen_ffn(f, layers), strict=True)
    ]
    return Parts(layers=group(found), extra_parameters=hidden)


def build_mixtral(f: Fields) -> Parts:
    """Mixtral: every feed-forward is a mixture as wide as ``intermediate_size``."""
    f.require("hidden", "layers", "heads", "intermediate", "experts", "topk", "vocab")
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    windows = sliding_windows(f, layers, pattern=[f.has("sliding_window")] * layers)
    sparse = moe(f, intermediate=f.size("intermediate"))
    found = [
        Layer(mixers=(attention(h, window_tokens=w),), ffn=sparse, norm_parameters=2 * hidden)
        for w in windows
    ]
    return Parts(layers=group(found), extra_parameters=hidden)


def build_glm_moe(f: Fields) -> Parts:
    """GLM-4.5, 4.6 and 4.7: leading dense layers, shared expert, corrected sigmoid routing."""
    f.require("hidden", "layers", "heads", "intermediate", "experts", "topk", "expert_intermediate", "vocab")
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    mixer = attention(
        h,
        qkv_bias=f.flag("attention_bias", False),
        qk_norm_parameters=2 * h.dim if f.flag("use_qk_norm", False) else 0,
    )
    sparse = Layer(
        mixers=(mixer,),
        ffn=moe(f, shared_intermediate=shared_width(f), router_bias=True),
        norm_parameters=2 * hidden,
    )
    dense = Layer(mixers=(mixer,), ffn=dense_mlp(f), norm_parameters=2 * hidden)
    mtp, mtp_extra = mtp_modules(f, f.count_or("mtp_layers", 0), sparse, hidden)
    return Parts(
        layers=group(sparse if has_experts else dense for has_experts in leading_dense(f, layers)),
        extra_parameters=hidden,
        mtp=mtp,
        mtp_extra_parameters=mtp_extra,
    )


def build_gpt_oss(f: Fields) -> Parts:
    """gpt-oss: biases everywhere, attention sinks, every other layer windowed, mxfp4 experts."""
    f.require("hidden", "layers", "heads", "intermediate", "experts", "topk", "vocab")
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    biased = f.flag("attention_bias", True)
    sparse = moe(f, intermediate=f.size("intermediate"), bias=True, router_bias=True)
    windows = sliding_windows(f, layers, pattern=[i % 2 == 0 for i in range(layers)])
    found = [
        Layer(
            mixers=(attention(h, window_tokens=w, qkv_bias=biased, o_bias=biased, sinks=True),),
            ffn=sparse,
            norm_parameters=2 * hidden,
        )
        for w in windows
    ]
    return Parts(layers=group(found), extra_parameters=hidden, experts_only=True)


def build_llama4(f: Fields) -> Parts:
    """Llama-4: interleaved experts with one shared expert, three of four layers attend within chunks."""
    f.require(
        "hidden", "layers", "heads", "intermediate", "intermediate_size_mlp", "experts", "topk", "vocab"
    )
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    f.ignore("use_qk_norm", "attn_temperature_tuning", "for_llm_compressor", "attn_scale")
    step = f.size_or("interleave_moe_layer_step", 1)
    listed = f.whole_list("moe_layers")
    sparse_layers = set(listed) if listed is not None else set(range(step - 1, layers, step))
    width = f.size("intermediate")
    sparse = moe(f, intermediate=width, shared_intermediate=width)
    dense = DenseMlp(intermediate=f.size("intermediate_size_mlp"))
    windows = _llama4_windows(f, layers)
    biased = f.flag("attention_bias", False)
    found = [
        Layer(
            mixers=(attention(h, window_tokens=windows[i], qkv_bias=biased, o_bias=biased),),
            ffn=sparse if i in sparse_layers else dense,
            norm_parameters=2 * hidden,
        )
        for i in range(layers)
    ]
    return Parts(layers=group(found), extra_parameters=hidden)


def _llama4_windows(f: Fields, layers: int) -> list[int | None]:
    """Chunked layers keep one chunk; every fourth layer (``no_rope_layers`` 0) sees everything."""
    if not f.has("attention_chunk_size"):
        return [None] * layers
    chunk = f.size("attention_chunk_size")
    listed = f.per_layer("layer_types", layers, ("chunked_attention", "full_attention"))
    flags = f.per_layer("no_rope_layers", layers, (0, 1)) if f.items("no_rope_layers") else None
    if listed is not None:
        chunked = [kind == "chunked_attention" for kind in listed]
    elif flags is not None:
        chunked = [flag == 1 for flag in flags]
    else:
        chunked = [(i + 1) % 4 != 0 for i in range(layers)]
    f.warn("chunked attention is modelled as a sliding window of the chunk size (an upper bound)")
    return [chunk if one else None for one in chunked]


def build_mimo(f: Fields) -> Parts:
    """MiMo-V2-Flash: five windowed layers with sinks to one full, values narrower than keys."""
    f.require("hidden", "layers", "heads", "kv_heads", "head_dim", "intermediate", "experts", "topk", "vocab")
    layers, hidden = num_layers(f), f.size("hidden")
    pattern = f.per_layer("hybrid_layer_pattern", layers, (0, 1))
    if pattern is None:
        raise f.missing(("hybrid_layer_pattern",))
    full = _mimo_attention(f, "", None, f.flag("add_full_attention_sink_bias", False))
    window = f.size("sliding_window")
    f.ignore("sliding_window_size", "attention_chunk_size")
    near = _mimo_attention(f, "swa_", window, f.flag("add_swa_attention_sink_bias", False))
    sparse = moe(f, shared_intermediate=shared_width(f), router_bias=True)
    dense = dense_mlp(f)
    has_experts = leading_dense(f, layers)
    found = [
        Layer(
            mixers=(near if pattern[i] == 1 else full,),
            ffn=sparse if has_experts[i] else dense,
            norm_parameters=2 * hidden,
        )
        for i in range(layers)
    ]
    f.warn("multi-token-prediction modules are not in the config and are not counted")
    return Parts(layers=group(found), extra_parameters=hidden)


def _mimo_attention(f: Fields, prefix: str, window: int | None, sinks: bool) -> Attention:
    num = f.size_or(f"{prefix}num_attention_heads", f.size("heads"))
    kv = f.size_or(f"{prefix}num_key_value_heads", f.size("kv_heads"))
    dim = f.size_or(f"{prefix}head_dim", f.size("head_dim"))
    f.divides(f"{prefix}num_key_value_heads", kv, f"{prefix}num_attention_heads", num)
    return Attention(
        num_heads=num,
        num_kv_heads=kv,
        head_dim=dim,
        v_head_dim=f.size_or(f"{prefix}v_head_dim", dim),
        window_tokens=window,
        qkv_bias=f.flag("attention_bias", False),
        sink_parameters=num if sinks else 0,
    )


def minimax_qk_norm(f: Fields, h: Heads) -> int:
    """Query and key norms of MiniMax: over the whole projection ("per_layer") or per head."""
    if not f.flag("use_qk_norm", False):
        return 0
    kind = f.text("qk_norm_type", "per_layer")
    if kind not in ("per_layer", "per_head"):
        raise f.error("qk_norm_type", f"got {short(kind)}", "It is 'per_layer' or 'per_head'.")
    return 2 * h.dim if kind == "per_head" else (h.num + h.kv) * h.dim


def build_minimax_m2(f: Fields) -> Parts:
    """MiniMax-M2: full attention with wide query and key norms, every layer a mixture."""
    f.require("hidden", "layers", "heads", "intermediate", "experts", "topk", "vocab")
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    f.ignore("attn_type_list")
    sparse = Layer(
        mixers=(attention(h, qk_norm_parameters=minimax_qk_norm(f, h)),),
        ffn=moe(
            f,
            intermediate=f.size("intermediate"),
            shared_intermediate=f.count_or("shared_intermediate", 0),
            router_bias=f.flag("use_routing_bias", False),
        ),
        norm_parameters=2 * hidden,
    )
    modules = f.count_or("num_mtp_modules", 0) * f.count_or("mtp_transformer_layers", 1)
    count = modules if f.flag("use_mtp", False) else 0
    mtp, mtp_extra = mtp_modules(f, count, sparse, hidden)
    if count:
        f.warn("multi-token-prediction modules are taken to have the layers of the decoder (assumption)")
    return Parts(
        layers=group([sparse] * layers), extra_parameters=hidden, mtp=mtp, mtp_extra_parameters=mtp_extra
    )
