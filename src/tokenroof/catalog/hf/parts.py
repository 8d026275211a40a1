"""What a family builder returns, and the pieces builders share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenroof.catalog.hf.fields import MAX_LAYERS, Fields
from tokenroof.catalog.model import (
    Attention,
    BlockDiffusion,
    DenseMlp,
    FeedForward,
    LayerGroup,
    Mixer,
    Moe,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One decoder layer before grouping."""

    mixers: tuple[Mixer, ...]
    ffn: FeedForward | None
    norm_parameters: int
    norms: int = 2
    mixing_parameters: int = 0
    streams: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The decoder that a builder read from a config.

    ``tied_default`` is what the family does when ``tie_word_embeddings`` is absent;
    ``experts_only`` says that its quantised checkpoints keep attention in 16 bit.
    """

    layers: tuple[LayerGroup, ...]
    extra_parameters: int
    mtp: tuple[LayerGroup, ...] = ()
    mtp_extra_parameters: int = 0
    tied_default: bool = False
    experts_only: bool = False
    generation: BlockDiffusion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Head counts and dimension of a grouped-query attention."""

    num: int
    kv: int
    dim: int


def group(layers: Iterable[Layer]) -> tuple[LayerGroup, ...]:
    """Identical layers counted together, in order of first appearance."""
    return tuple(
        LayerGroup(
            count=n,
            mixers=layer.mixers,
            ffn=layer.ffn,
            norm_parameters=layer.norm_parameters,
            norms=layer.norms,
            mixing_parameters=layer.mixing_parameters,
            streams=layer.streams,
        )
        for layer, n in Counter(layers).items()
    )


def num_layers(f: Fields) -> int:
    """Decoder layers, at most 10,000."""
    layers = f.size("layers")
    if layers > MAX_LAYERS:
        raise f.error("layers", f"got {layers}", f"At most {MAX_LAYERS} layers are accepted.")
    return layers


def heads(f: Fields) -> Heads:
    """Heads of a config, with the usual defaults: as many KV heads, hidden / heads wide."""
    num = f.size("heads")
    kv = f.size_or("kv_heads", num)
    f.divides("kv_heads", kv, "heads", num)
    if not f.has("head_dim"):
        f.divides("heads", num, "hidden", f.size("hidden"))
    return Heads(num=num, kv=kv, dim=f.size_or("head_dim", f.size("hidden") // num))


def attention(
    h: Heads,
    *,
    window_tokens: int | None = None,
    qkv_bias: bool = False,
    o_bias: bool = False,
    qk_norm_parameters: int = 0,
    sinks: bool = False,
    gated_output: bool = False,
) -> Attention:
    """A grouped-query attention with equal key and value dimensions."""
    return Attention(
        num_heads=h.num,
        num_kv_heads=h.kv,
        head_dim=h.dim,
        v_head_dim=h.dim,
        window_tokens=window_tokens,
        qkv_bias=qkv_bias,
        o_bias=o_bias,
        qk_norm_parameters=qk_norm_parameters,
        sink_parameters=h.num if sinks else 0,
        gated_output=gated_output,
    )


_UNGATED = frozenset(("gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu", "relu2", "quick_gelu"))


def is_gated(f: Fields, *, family_gates_gelu: bool = True) -> bool:
    """Whether the feed-forward has a gate; families that never gate pass False for GELU."""
    act = f.text("activation", "silu")
    return act not in _UNGATED or (family_gates_gelu and act.startswith("gelu"))


def dense_mlp(f: Fields, *, word: str = "intermediate", gated: bool = True, bias: bool = False) -> DenseMlp:
    """A dense feed-forward whose width is under ``word``."""
    return DenseMlp(intermediate=f.size(word), gated=gated, bias=bias)


def check_topk(f: Fields, experts: int) -> int:
    """Experts per token, at most all of them."""
    topk = f.size("topk")
    if topk > experts:
        rule = f"A token cannot use more than the {experts} routed experts. Correct config.json."
        raise f.error("topk", f"got {topk}", rule)
    return topk


def moe(
    f: Fields,
    *,
    intermediate: int | None = None,
    shared_intermediate: int = 0,
    gated: bool = True,
    bias: bool = False,
    router_bias: bool = False,
    shared_gate: bool = False,
    latent_dim: int = 0,
    latent_norm: bool = False,
    parallel_dense_intermediate: int = 0,
) -> Moe:
    """A mixture of experts with the routed counts of the config."""
    experts = f.size("experts")
    return Moe(
        num_experts=experts,
        topk=check_topk(f, experts),
        intermediate=f.size("expert_intermediate") if intermediate is None else intermediate,
        gated=gated,
        bias=bias,
        shared_intermediate=shared_intermediate,
        shared_gate=shared_gate,
        router_bias=router_bias,
        latent_dim=latent_dim,
        latent_norm=latent_norm,
        parallel_dense_intermediate=parallel_dense_intermediate,
    )


def shared_width(f: Fields) -> int:
    """Total width of the shared experts: their number times the width of a routed expert."""
    shared = f.count_or("shared_experts", 0)
    return shared * f.size("expert_intermediate") if shared else 0


def leading_dense(f: Fields, layers: int) -> list[bool]:
    """For each layer whether it has experts: after ``first_k_dense_replace``, every ``moe_layer_freq``."""
    listed = f.per_layer("mlp_layer_types", layers, ("dense", "sparse"))
    if listed is not None:
        f.ignore("first_k_dense_replace", "moe_layer_freq")
        return [kind == "sparse" for kind in listed]
    if isinstance(f.raw("moe_layer_freq"), list):
        f.ignore("first_k_dense_replace")
        freq = f.per_layer("moe_layer_freq", layers, (0, 1))
        return [one == 1 for one in freq or ()]
    first, every = f.count_or("first_k_dense_replace", 0), f.size_or("moe_layer_freq", 1)
    return [i >= first and i % every == 0 for i in range(layers)]


def sliding_windows(f: Fields, layers: int, *, pattern: Sequence[bool] | None = None) -> list[int | None]:
    """Window of each layer: from ``layer_types``, else from ``pattern`` (True = windowed)."""
    listed = f.per_layer("layer_types", layers, ("sliding_attention", "full_attention"))
    if listed is not None:
        pattern = [kind == "sliding_attention" for kind in listed]
    if pattern is None or not any(pattern):
        f.ignore("sliding_window")
        return [None] * layers
    window = f.size("sliding_window")
    return [window if windowed else None for windowed in pattern]


def mtp_modules(f: Fields, count: int, layer: Layer, hidden: int) -> tuple[tuple[LayerGroup, ...], int]:
    """Prediction modules of DeepSeek-V3 form: one layer each, a 2h x h projection and three norms.

    Returns the layer groups and the parameters outside them. Source: arXiv 2412.19437 section 2.2.
    """
    if not count:
        return (), 0
    if count > MAX_LAYERS:
        raise f.error("mtp_layers", f"got {count}", f"At most {MAX_LAYERS} layers are accepted.")
    return group([layer] * count), count * (2 * hidden * hidden + 3 * hidden)
