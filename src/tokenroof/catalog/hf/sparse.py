"""Families with a sparse or compressed cache: DeepSeek-V4 and MiniMax-M3."""

from __future__ import annotations

from dataclasses import replace

from tokenroof.catalog.hf.experts import minimax_qk_norm
from tokenroof.catalog.hf.fields import Fields
from tokenroof.catalog.hf.latent import indexer
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
from tokenroof.catalog.model import CompressedAttention, Indexer

_OVERLAPPING_RATIO = 4  # only compressors of this ratio overlap and carry an indexer


def build_deepseek_v4(f: Fields) -> Parts:
    """DeepSeek-V4: compressed attention, hyper-connections, hashed routing in the first layers.

    Source: the DeepSeek-V4 layers of vLLM (vllm-project/vllm, models/deepseek_v4).
    """
    f.require("hidden", "layers", "heads", "head_dim", "q_lora_rank", "o_lora_rank", "o_groups")
    f.require("compress_ratios", "sliding_window", "experts", "topk", "expert_intermediate", "vocab")
    layers, hidden = num_layers(f), f.size("hidden")
    f.ignore("num_key_value_heads")
    f.divides("o_groups", f.size("o_groups"), "heads", f.size("heads"))
    ratios = f.whole_list("compress_ratios") or []
    if len(ratios) < layers:
        raise f.error(
            "compress_ratios", f"got {len(ratios)} entries for {layers} layers", "Give one per layer."
        )
    sparse = moe(f, shared_intermediate=shared_width(f), router_bias=True)
    # The first layers route by a hash of the token and have no correction bias.
    hashed = f.count_or("num_hash_layers", 0)
    norms, mixing = 2 * hidden, 2 * _hyper_connection(f, hidden)
    streams = f.size_or("hc_mult", 1)
    f.warn("one cache entry is taken as kv_dim elements of the KV format; engines keep 64 of them in 16 bit")
    found = [
        Layer(
            mixers=(_compressed(f, ratios[i]),),
            ffn=replace(sparse, router_bias=False) if i < hashed else sparse,
            norm_parameters=norms,
            mixing_parameters=mixing,
            streams=streams,
        )
        for i in range(layers)
    ]
    module = Layer(
        mixers=(_compressed(f, 0),),
        ffn=sparse,
        norm_parameters=norms,
        mixing_parameters=mixing,
        streams=streams,
    )
    mtp, mtp_extra = mtp_modules(f, f.count_or("mtp_layers", 0), module, hidden)
    head = streams * streams * hidden + streams + 1 if streams > 1 else 0
    return Parts(layers=group(found), extra_parameters=hidden + head, mtp=mtp, mtp_extra_parameters=mtp_extra)


def _hyper_connection(f: Fields, hidden: int) -> int:
    """Mixing matrix, base and three scales of one hyper-connection of ``hc_mult`` streams."""
    streams = f.size_or("hc_mult", 1)
    mixes = (2 + streams) * streams
    return mixes * streams * hidden + mixes + 3 if streams > 1 else 0


def _compressed(f: Fields, ratio: int) -> CompressedAttention:
    overlap = ratio == _OVERLAPPING_RATIO
    dim = f.size("head_dim")
    return CompressedAttention(
        num_heads=f.size("heads"),
        head_dim=dim,
        q_lora_rank=f.size("q_lora_rank"),
        o_lora_rank=f.size("o_lora_rank"),
        o_groups=f.size("o_groups"),
        kv_dim=dim,
        ratio=ratio if ratio > 1 else 0,
        window_tokens=f.size("sliding_window"),
        rope_dim=f.count_or("qk_rope_head_dim", 0),
        overlap=overlap,
        indexer=indexer(f) if overlap else None,
    )


def build_minimax_m3(f: Fields) -> Parts:
    """MiniMax-M3: grouped-query attention that picks blocks of keys, leading dense layers."""
    f.require("hidden", "layers", "heads", "experts", "topk", "dense_intermediate_size", "vocab")
    f.require("intermediate")
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    f.ignore("attention_output_gate", "num_mtp_modules", "n_shared_experts")
    full = attention(h, qk_norm_parameters=minimax_qk_norm(f, h))
    config = f.sub("sparse_attention_config")
    chosen, index = [0] * layers, None
    if config is not None and config.flag("use_sparse_attention", False):
        config.require(
            "sparse_num_index_heads", "sparse_index_dim", "sparse_block_size", "sparse_topk_blocks"
        )
        block = config.size("sparse_block_size")
        index = Indexer(
            num_heads=config.size("sparse_num_index_heads"),
            head_dim=config.size("sparse_index_dim"),
            topk_tokens=block * config.size("sparse_topk_blocks"),
            block_tokens=block,
        )
        freq = config.per_layer("sparse_attention_freq", layers, (0, 1))
        chosen = [1] * layers if freq is None else [int(one == 1) for one in freq]
    picky = replace(full, indexer=index)
    width = f.size_or("expert_intermediate", f.size("intermediate"))
    shared = f.count_or("shared_intermediate", 0)
    sparse = moe(
        f, intermediate=width, shared_intermediate=shared, router_bias=f.flag("use_routing_bias", False)
    )
    dense = dense_mlp(f, word="dense_intermediate_size")
    has_experts = leading_dense(f, layers)
    found = [
        Layer(
            mixers=(picky if chosen[i] else full,),
            ffn=sparse if has_experts[i] else dense,
            norm_parameters=2 * hidden,
        )
        for i in range(layers)
    ]
    count = f.count_or("mtp_layers", 0)
    mtp, mtp_extra = mtp_modules(
        f, count, Layer(mixers=(full,), ffn=sparse, norm_parameters=2 * hidden), hidden
    )
    if count:
        f.warn("multi-token-prediction modules are taken to have the layers of the decoder (assumption)")
    return Parts(layers=group(found), extra_parameters=hidden, mtp=mtp, mtp_extra_parameters=mtp_extra)
