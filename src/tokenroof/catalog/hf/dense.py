"""Decoders of the Llama shape: grouped-query attention and one dense feed-forward per layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tokenroof.catalog.hf.fields import Fields
from tokenroof.catalog.hf.parts import (
    Heads,
    Layer,
    Parts,
    attention,
    dense_mlp,
    group,
    heads,
    num_layers,
    sliding_windows,
)
from tokenroof.catalog.model import BlockDiffusion


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseTraits:
    """How a family departs from Llama.

    Attributes
    ----------
    qkv_bias, o_bias : bool
        Biases when the config does not say (``attention_bias`` overrides both where it is read).
    head_norms, width_norms : bool
        Query and key norms per head (Qwen3) or over the whole projection (OLMo-2).
    gated, mlp_bias : bool
        Form of the feed-forward.
    norms : int
        Norm vectors of ``hidden`` per layer; ``norm_size`` 2 when they carry a bias.
    tied : bool
        ``tie_word_embeddings`` when absent.
    """

    qkv_bias: bool = False
    o_bias: bool = False
    head_norms: bool = False
    width_norms: bool = False
    gated: bool = True
    mlp_bias: bool = False
    norms: int = 2
    norm_size: int = 1
    tied: bool = False


LLAMA = DenseTraits()
QWEN2 = DenseTraits(qkv_bias=True)
QWEN3 = DenseTraits(head_norms=True)
OLMO2 = DenseTraits(width_norms=True)
GLM4 = DenseTraits(norms=4)
SEED = DenseTraits(qkv_bias=True)
STARCODER2 = DenseTraits(qkv_bias=True, o_bias=True, gated=False, mlp_bias=True, norm_size=2, tied=True)
COHERE = DenseTraits(norms=1, tied=True)
OPT = DenseTraits(qkv_bias=True, o_bias=True, gated=False, mlp_bias=True, norm_size=2, tied=True)


def qk_norm(traits: DenseTraits, h: Heads) -> int:
    """Parameters of the query and key norms of one layer."""
    if traits.head_norms:
        return 2 * h.dim
    return (h.num + h.kv) * h.dim if traits.width_norms else 0


def builder(traits: DenseTraits) -> Callable[[Fields], Parts]:
    """An importer for a dense family with ``traits``."""

    def build(f: Fields) -> Parts:
        f.require("hidden", "layers", "heads", "intermediate", "vocab")
        layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
        biased = f.flag("attention_bias", False)
        mixers = [
            attention(
                h,
                window_tokens=window,
                qkv_bias=biased or f.flag("qkv_bias", traits.qkv_bias),
                o_bias=f.flag("attention_out_bias", biased or traits.o_bias),
                qk_norm_parameters=qk_norm(traits, h),
            )
            for window in _windows(f, layers)
        ]
        mlp = dense_mlp(f, gated=traits.gated, bias=f.flag("mlp_bias", f.flag("use_bias", traits.mlp_bias)))
        norms = traits.norms * traits.norm_size * hidden
        return Parts(
            layers=group(
                Layer(mixers=(mixer,), ffn=mlp, norm_parameters=norms, norms=traits.norms) for mixer in mixers
            ),
            extra_parameters=traits.norm_size * hidden,
            tied_default=traits.tied,
        )

    return build


def _windows(f: Fields, layers: int) -> list[int | None]:
    """Windows of Mistral (every layer) and Qwen (from ``max_window_layers`` on, when switched on)."""
    if f.has("layer_types"):
        return sliding_windows(f, layers)
    if not f.has("sliding_window"):
        return [None] * layers
    if f.has("use_sliding_window"):
        first = f.count_or("max_window_layers", 0) if f.flag("use_sliding_window", False) else layers
        return sliding_windows(f, layers, pattern=[i >= first for i in range(layers)])
    return sliding_windows(f, layers, pattern=[True] * layers)


def build_opt(f: Fields) -> Parts:
    """OPT: biases everywhere, learned positions (two rows more than the context), a shared table."""
    f.ignore("do_layer_norm_before", "enable_bias", "layer_norm_elementwise_affine", "layerdrop")
    if f.size_or("word_embed_proj_dim", f.size("hidden")) != f.size("hidden"):
        rule = "A table narrower than the model (OPT-350M) is not supported."
        raise f.error("word_embed_proj_dim", f"got {f.size('word_embed_proj_dim')}", rule)
    parts = builder(OPT)(f)
    return replace(
        parts, extra_parameters=parts.extra_parameters + (f.size("context") + 2) * f.size("hidden")
    )


def build_llada(f: Fields) -> Parts:
    """LLaDA: the Llama shape, denoised in blocks of 32 tokens without a cache (its published defaults)."""
    f.ignore("generation", "block_type", "embedding_size", "include_bias", "include_qkv_bias")
    f.ignore("alibi", "rope", "rope_full_precision", "block_group_size", "layer_norm_type")
    f.ignore("activation_type", "attention_layer_norm", "mlp_ratio", "precision", "max_position_embeddings")
    tied = f.flag("weight_tying", False)
    bias = f.flag("include_bias", False)
    traits = DenseTraits(
        qkv_bias=bias or f.flag("include_qkv_bias", False), o_bias=bias, mlp_bias=bias, tied=tied
    )
    f.warn("block diffusion: 32 denoising passes per block of 32 tokens, no cached prefix (assumption)")
    return _diffusion(builder(traits)(f))


def build_dream(f: Fields) -> Parts:
    """Dream: the Qwen2.5 shape with biases on queries, keys and values, denoised as one block."""
    f.ignore("generation")
    f.warn("block diffusion: 32 denoising passes per block of 32 tokens, no cached prefix (assumption)")
    return _diffusion(builder(QWEN2)(f))


def _diffusion(parts: Parts) -> Parts:
    return Parts(
        layers=parts.layers,
        extra_parameters=parts.extra_parameters,
        tied_default=parts.tied_default,
        generation=BlockDiffusion(block_tokens=32, steps_per_block=32, cached_prefix=False),
    )
