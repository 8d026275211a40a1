"""Exact counts: parameters, active parameters, cached and recurrent elements.

Everything is a sum over :mod:`tokenroof.catalog.shapes`. Vision towers and multi-token-prediction
modules are counted apart (:func:`vision_parameters`, :func:`mtp_parameters`).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import singledispatch

from tokenroof.catalog.dtypes import dtype
from tokenroof.catalog.model import (
    Attention,
    CompressedAttention,
    DenseMlp,
    FeedForward,
    Indexer,
    LayerGroup,
    LinearAttention,
    Mamba,
    Mixer,
    MlaAttention,
    ModelSpec,
    Moe,
    Precision,
    VisionTower,
)
from tokenroof.catalog.shapes import expert_projections, projections, vectors

# vLLM stores an index key as fp8 with one fp32 scale per 128 elements, whatever the KV format.
_INDEX_KEY_BITS = Fraction(8) + Fraction(32, 128)


def mixer_parameters(mixer: Mixer, hidden: int) -> int:
    """Parameters of one token mixer, its own norms included."""
    return sum(p.parameters for p in projections(mixer, hidden)) + sum(vectors(mixer, hidden).values())


def ffn_parameters(ffn: FeedForward, hidden: int) -> int:
    """Parameters of one feed-forward: router, shared and all routed experts."""
    return _ffn_common(ffn, hidden) + _routed(ffn, hidden, active=False)


def active_ffn_parameters(ffn: FeedForward, hidden: int) -> int:
    """Parameters of one feed-forward that a token uses: router, shared and ``topk`` experts."""
    return _ffn_common(ffn, hidden) + _routed(ffn, hidden, active=True)


def expert_parameters(moe: Moe, hidden: int) -> int:
    """Parameters of one routed expert."""
    return sum(p.parameters for p in expert_projections(moe, hidden))


def _ffn_common(ffn: FeedForward, hidden: int) -> int:
    return sum(p.parameters for p in projections(ffn, hidden)) + sum(vectors(ffn, hidden).values())


def _routed(ffn: FeedForward, hidden: int, *, active: bool) -> int:
    match ffn:
        case DenseMlp():
            return 0
        case Moe():
            return (ffn.topk if active else ffn.num_experts) * expert_parameters(ffn, hidden)


def layer_parameters(group: LayerGroup, hidden: int, *, active: bool = False) -> int:
    """Parameters of one layer of ``group``; with ``active`` those one token uses."""
    ffn = 0
    if group.ffn is not None:
        ffn = (active_ffn_parameters if active else ffn_parameters)(group.ffn, hidden)
    mixers = sum(mixer_parameters(mixer, hidden) for mixer in group.mixers)
    return mixers + ffn + group.norm_parameters + group.mixing_parameters


def embedding_parameters(model: ModelSpec) -> int:
    """The token table and, unless tied to it, the output head."""
    return model.vocab * model.hidden * (1 if model.tied_embeddings else 2)


def decoder_parameters(model: ModelSpec) -> int:
    """All decoder layers, without embeddings, vision tower and prediction modules."""
    return sum(group.count * layer_parameters(group, model.hidden) for group in model.layers)


def parameters(model: ModelSpec) -> int:
    """Parameters of the decoder with embeddings; vision tower and prediction modules excluded."""
    return embedding_parameters(model) + decoder_parameters(model) + model.extra_parameters


def mtp_parameters(model: ModelSpec) -> int:
    """Parameters of the multi-token-prediction modules (their embeddings are shared)."""
    layers = sum(group.count * layer_parameters(group, model.hidden) for group in model.mtp)
    return layers + model.mtp_extra_parameters


def vision_layer_parameters(tower: VisionTower) -> int:
    """Parameters of one block of a vision tower."""
    width = tower.num_heads * tower.head_dim
    matrices = 3 if tower.gated else 2
    attention = 4 * tower.hidden * width + (3 * width + tower.hidden if tower.attention_bias else 0)
    mlp = matrices * tower.hidden * tower.intermediate
    if tower.mlp_bias:
        mlp += (matrices - 1) * tower.intermediate + tower.hidden
    return attention + mlp + tower.norm_parameters


def vision_parameters(model: ModelSpec) -> int:
    """Parameters of the vision tower and its projector; 0 without one."""
    tower = model.vision
    if tower is None:
        return 0
    blocks = tower.num_layers * vision_layer_parameters(tower)
    return blocks + tower.patch_parameters + tower.projector_parameters


def total_parameters(model: ModelSpec) -> int:
    """Everything in the checkpoint: decoder, vision tower and prediction modules."""
    return parameters(model) + vision_parameters(model) + mtp_parameters(model)


def parameter_parts(model: ModelSpec) -> Mapping[str, int]:
    """The parts whose sum is :func:`total_parameters`."""
    mixers = norms = mixing = dense = routed = 0
    for group in model.layers:
        mixers += group.count * sum(mixer_parameters(m, model.hidden) for m in group.mixers)
        norms += group.count * group.norm_parameters
        mixing += group.count * group.mixing_parameters
        if group.ffn is not None:
            dense += group.count * _ffn_common(group.ffn, model.hidden)
            routed += group.count * _routed(group.ffn, model.hidden, active=False)
    return {
        "embedding": embedding_parameters(model),
        "mixers": mixers,
        "dense": dense,
        "experts": routed,
        "norms": norms,
        "mixing": mixing,
        "extra": model.extra_parameters,
        "vision": vision_parameters(model),
        "mtp": mtp_parameters(model),
    }


def active_parameters(model: ModelSpec, *, count_embedding: bool = True) -> int:
    """Parameters that one decoded token uses: ``topk`` routed experts and everything shared.

    Parameters
    ----------
    model : ModelSpec
        The model.
    count_embedding : bool
        False leaves out the input table, of which a token reads one row; a tied table is counted
        all the same since the output head multiplies it. Model cards follow either convention.
    """
    layers = sum(group.count * layer_parameters(group, model.hidden, active=True) for group in model.layers)
    tables = embedding_parameters(model)
    if not count_embedding and not model.tied_embeddings:
        tables -= model.vocab * model.hidden
    return tables + layers + model.extra_parameters


@singledispatch
def kv_elements_per_token(mixer: Mixer) -> int:
    """Elements one layer caches per context token, windows not applied, index keys not included.

    A compressed cache (DeepSeek-V4) counts one entry per ``ratio`` tokens, rounded up; its raw
    window belongs to :func:`state_elements_per_sequence`.
    """
    raise TypeError(f"no cache rule for {type(mixer).__name__}")


@kv_elements_per_token.register
def _(mixer: Attention) -> int:
    if mixer.kv_shared:
        return 0
    return mixer.num_kv_heads * (mixer.head_dim + mixer.v_head_dim)


@kv_elements_per_token.register
def _(mixer: MlaAttention) -> int:
    return mixer.kv_lora_rank + mixer.qk_rope_head_dim


@kv_elements_per_token.register
def _(mixer: CompressedAttention) -> int:
    return -(-mixer.kv_dim // mixer.ratio) if mixer.ratio else 0


@kv_elements_per_token.register(Mamba)
@kv_elements_per_token.register(LinearAttention)
def _(mixer: Mamba | LinearAttention) -> int:
    return 0


def index_elements_per_token(mixer: Mixer) -> int:
    """Index-key elements one layer caches per context token (sparse attention); else 0."""
    match mixer:
        case CompressedAttention(indexer=Indexer() as indexer):
            return -(-indexer.head_dim // mixer.ratio)
        case Attention(indexer=Indexer() as indexer) | MlaAttention(indexer=Indexer() as indexer) if (
            indexer.owned
        ):
            return indexer.head_dim
        case _:
            return 0


def index_bytes_per_token(mixer: Mixer) -> int:
    """Bytes of index keys per context token of one layer: fp8 and a scale, whatever the KV format."""
    total = _INDEX_KEY_BITS * index_elements_per_token(mixer) / 8
    return -(-total.numerator // total.denominator)


def recurrent_elements_per_sequence(mixer: Mixer) -> int:
    """Elements of the recurrent state of one layer, convolution inputs not included."""
    match mixer:
        case Mamba():
            return mixer.num_heads * mixer.head_dim * mixer.state_dim
        case LinearAttention():
            return mixer.num_v_heads * mixer.k_head_dim * mixer.v_head_dim
        case CompressedAttention():
            return _compressor_state(mixer)
        case _:
            return 0


def _compressor_state(mixer: CompressedAttention) -> int:
    """Values and gates of the tokens that wait for their group to fill, attention and index."""
    if not mixer.ratio:
        return 0
    widths = mixer.kv_dim + (mixer.indexer.head_dim if mixer.indexer is not None else 0)
    factor = 2 if mixer.overlap else 1
    return 2 * widths * factor * mixer.ratio * factor


def conv_elements_per_sequence(mixer: Mixer) -> int:
    """Elements of the short-convolution state of one layer: the last ``kernel - 1`` inputs."""
    match mixer:
        case Mamba():
            inner = mixer.num_heads * mixer.head_dim
            groups = 2 * mixer.num_groups * mixer.state_dim if mixer.version == 2 else 0
            return (inner + groups) * (mixer.conv_kernel - 1)
        case LinearAttention() if mixer.conv_kernel:
            width = 2 * mixer.num_k_heads * mixer.k_head_dim + mixer.num_v_heads * mixer.v_head_dim
            return width * (mixer.conv_kernel - 1)
        case _:
            return 0


def state_elements_per_sequence(mixer: Mixer) -> int:
    """Elements one layer keeps per sequence whatever its length: recurrent and convolution state."""
    return recurrent_elements_per_sequence(mixer) + conv_elements_per_sequence(mixer)


def window_tokens(mixer: Mixer) -> int | None:
    """Tokens a layer's cache is capped at, or None when it grows with the context."""
    match mixer:
        case Attention() | MlaAttention():
            return mixer.window_tokens
        case _:
            return None


def kv_bytes_per_token(model: ModelSpec, precision: Precision | None = None, *, windows: bool = False) -> int:
    """Cache bytes one token adds over all layers, before sharding. [bytes]

    Parameters
    ----------
    model : ModelSpec
        The model.
    precision : Precision or None
        Formats; None = those of the model.
    windows : bool
        True leaves out layers whose cache is capped by a window, so the result is the growth at
        long context. False counts every layer in full, the convention of published tables.

    Notes
    -----
    Index keys of sparse attention are included at their own format.
    """
    kv = dtype((precision or model.precision).kv)
    total = 0
    for group in model.layers:
        for mixer in group.mixers:
            if windows and window_tokens(mixer) is not None:
                continue
            total += group.count * (kv.bytes_of(kv_elements_per_token(mixer)) + index_bytes_per_token(mixer))
    return total
