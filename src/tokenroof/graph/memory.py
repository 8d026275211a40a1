"""Bytes that live on one chip: weights, what a token adds to the cache, what a sequence costs, activations.

Every figure is that of the busiest chip of a replica. Layers are dealt evenly to pipeline stages, the
busiest taking ``ceil(layers / pp)`` of them; which kinds of layer it gets is not known, so it is
given the same mix as the model.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil

from tokenroof.catalog.counting import (
    index_bytes_per_token,
    recurrent_elements_per_sequence,
    vision_layer_parameters,
    window_tokens,
)
from tokenroof.catalog.model import (
    Attention,
    CompressedAttention,
    DenseMlp,
    FeedForward,
    LayerGroup,
    LinearAttention,
    Mamba,
    Mixer,
    MlaAttention,
    ModelSpec,
    Moe,
    Precision,
)
from tokenroof.graph import attention, mla, moe, recurrent, vision
from tokenroof.graph.core import Parallel
from tokenroof.graph.ints import WIDE_BYTES, ceil_int, exact_bytes
from tokenroof.graph.sharding import matrices, small_bytes

_FP32_BYTES = 4


def stage_share(model: ModelSpec, parallel: Parallel, total: int) -> int:
    """What the busiest pipeline stage holds of ``total``, a sum over all layers."""
    layers = model.num_layers
    return ceil_int(total * ceil_int(layers, parallel.pp), layers)


@lru_cache(maxsize=256)
def _weights(model: ModelSpec, precision: Precision, parallel: Parallel) -> tuple[tuple[str, int], ...]:
    hidden, tp = model.hidden, parallel.tp
    roles = dict.fromkeys(("attention", "dense", "experts", "embedding", "vision", "mtp", "other"), 0)
    for role, total in _layers(model, model.layers, precision, parallel).items():
        roles[role] = stage_share(model, parallel, total)
    table = exact_bytes(precision.embedding, ceil_int(model.vocab, tp) * hidden)
    # With several stages the first holds the table and the last the head, each one of them.
    roles["embedding"] = table if model.tied_embeddings or parallel.pp > 1 else 2 * table
    roles["other"] += WIDE_BYTES * model.extra_parameters
    roles["vision"] = _vision(model, tp)
    roles["mtp"] = sum(_layers(model, model.mtp, precision, parallel).values())
    roles["mtp"] += exact_bytes(precision.weights, model.mtp_extra_parameters)
    return tuple(roles.items())


def weight_bytes_per_chip(model: ModelSpec, precision: Precision, parallel: Parallel) -> dict[str, int]:
    """Weights on the busiest chip by role. [bytes]

    Parameters
    ----------
    model, precision, parallel : ModelSpec, Precision, Parallel
        What is stored, in which formats, spread how.

    Returns
    -------
    dict of str to int
        "attention" (every token mixer), "dense" (dense and shared feed-forwards, routers),
        "experts", "embedding" (table and head), "vision", "mtp" (only loaded when speculation is on:
        leave it out otherwise) and "other" (norms, hyper-connections and the like). Data and context
        parallel ranks each hold all but the experts; latents of MLA, routers and surplus key-value heads
        are on every tensor parallel rank. With ``pp > 1`` this is the first stage, with the token table.
    """
    return dict(_weights(model, precision, parallel))


def _layers(
    model: ModelSpec, groups: tuple[LayerGroup, ...], precision: Precision, parallel: Parallel
) -> dict[str, int]:
    hidden = model.hidden
    out = {"attention": 0, "dense": 0, "experts": 0, "other": 0}
    for group in groups:
        for mixer in group.mixers:
            out["attention"] += group.count * layer_bytes(mixer, hidden, parallel.tp, precision)
        if group.ffn is not None:
            out["dense"] += group.count * layer_bytes(group.ffn, hidden, parallel.tp, precision)
            out["experts"] += group.count * _expert_bytes(group.ffn, hidden, precision, parallel)
        out["other"] += group.count * WIDE_BYTES * (group.norm_parameters + group.mixing_parameters)
    return out


def layer_bytes(layer: Mixer | FeedForward, hidden: int, tp: int, precision: Precision) -> int:
    """Matrices and vectors of one mixer or feed-forward on one rank, routed experts apart. [bytes]"""
    found = matrices(layer, hidden, tp, precision)
    return sum(matrix.weights_bytes for matrix in found) + small_bytes(layer, hidden, tp, precision)


def _expert_bytes(ffn: FeedForward, hidden: int, precision: Precision, parallel: Parallel) -> int:
    match ffn:
        case DenseMlp():
            return 0
        case Moe():
            one = moe.expert_bytes(ffn, hidden, parallel.expert_tp, precision.experts)
            return moe.local_experts(ffn, parallel.ep) * one


def _vision(model: ModelSpec, tp: int) -> int:
    """The vision tower on one rank: blocks split as they run, patch embedding and projector whole."""
    tower = model.vision
    if tower is None:
        return 0
    ways = vision.vision_ways(tower, tp)
    found = vision.layer_matrices(tower, ways)
    block = sum(m.weights_bytes + WIDE_BYTES * m.bias_elements for m in found)
    whole = vision.layer_matrices(tower, 1)
    rest = vision_layer_parameters(tower) - sum(m.n * m.k + m.bias_elements for m in whole)
    ends = tower.patch_parameters + tower.projector_parameters
    return tower.num_layers * (block + WIDE_BYTES * max(0, rest)) + WIDE_BYTES * ends


def _cache_elements(mixer: Mixer, tp: int) -> int:
    """Elements a token adds to the cache of one layer on one rank, windows not applied."""
    match mixer:
        case Attention():
            return attention.cached_elements(mixer, tp)
        case MlaAttention():
            return mla.cached_elements(mixer)
        case CompressedAttention():
            return ceil_int(mixer.kv_dim, mixer.ratio) if mixer.ratio else 0
        case Mamba() | LinearAttention():
            return 0


@lru_cache(maxsize=256)
def kv_bytes_per_token_per_chip(model: ModelSpec, precision: Precision, parallel: Parallel) -> int:
    """Cache bytes one more token of a sequence adds on one chip of its data parallel rank. [bytes]

    Layers whose cache is capped by a window are left out (``fixed_bytes_per_sequence_per_chip``).
    Key-value heads are split over ``tp`` (whole heads, at least one each), latents are not; tokens
    are split over ``cp`` ranks, so that a sequence costs this much per token on average. Index keys of
    sparse attention are included. A replica of ``dp`` ranks holds ``dp`` times the tokens of one.
    """
    total = 0
    for group in model.layers:
        for mixer in group.mixers:
            if window_tokens(mixer) is None:
                kept = exact_bytes(precision.kv, _cache_elements(mixer, parallel.tp))
                total += group.count * (kept + index_bytes_per_token(mixer))
    return ceil_int(stage_share(model, parallel, total), parallel.cp)


def fixed_bytes_per_sequence_per_chip(
    model: ModelSpec, precision: Precision, parallel: Parallel, context_tokens: int
) -> int:
    """What a sequence of ``context_tokens`` holds on one chip beside its growing cache. [bytes]

    Recurrent states, the inputs of short convolutions, and caches capped at their window.
    """
    total = 0
    for group in model.layers:
        for mixer in group.mixers:
            total += group.count * _fixed_bytes(mixer, precision, parallel, context_tokens)
    return stage_share(model, parallel, total)


def _fixed_bytes(mixer: Mixer, precision: Precision, parallel: Parallel, context_tokens: int) -> int:
    match mixer:
        case Mamba() | LinearAttention():
            return recurrent.state_bytes(mixer, parallel.tp, precision.state)
        case CompressedAttention():
            tokens = ceil_int(min(context_tokens, mixer.window_tokens), parallel.cp)
            waiting = recurrent_elements_per_sequence(mixer) * _FP32_BYTES
            return exact_bytes(precision.kv, tokens * mixer.kv_dim) + waiting
        case Attention() | MlaAttention():
            if mixer.window_tokens is None:
                return 0
            tokens = ceil_int(min(context_tokens, mixer.window_tokens), parallel.cp)
            kept = tokens * _cache_elements(mixer, parallel.tp)
            return exact_bytes(precision.kv, kept) + tokens * index_bytes_per_token(mixer)


def activation_bytes_per_chip(model: ModelSpec, precision: Precision, parallel: Parallel, tokens: int) -> int:
    """Most activation memory alive at once when one rank runs ``tokens`` tokens in a step. [bytes]

    Hidden state and residual stay alive through a layer; beside them the larger of what its mixer and
    its feed-forward keep (inputs and outputs of neighbouring operators). Routed rows of a mixture of
    experts are those of the mean rank. Logits and what sampling needs are not included.
    """
    hidden, tp = model.hidden, parallel.tp
    own = ceil_int(tokens, parallel.cp)
    peak = 0
    for group in model.layers:
        for layer in (*group.mixers, *((group.ffn,) if group.ffn is not None else ())):
            widths = [m.n for m in matrices(layer, hidden, tp, precision)] or [0]
            alive = own * WIDE_BYTES * (max(widths) + hidden)
            if isinstance(layer, Moe):
                alive = max(alive, _routed_bytes(layer, hidden, parallel, tokens))
            elif isinstance(layer, DenseMlp):
                alive += own * WIDE_BYTES * ceil_int(layer.intermediate, tp)
            peak = max(peak, alive)
    return own * WIDE_BYTES * 2 * hidden + peak


def _routed_bytes(layer: Moe, hidden: int, parallel: Parallel, tokens: int) -> int:
    """Buffers of the grouped GEMMs: gate-up output or sums, activation, and what is dispatched."""
    width = layer.latent_dim or hidden
    inner = ceil_int(layer.intermediate, parallel.expert_tp)
    local = moe.local_experts(layer, parallel.ep)
    rows = ceil(tokens * parallel.dp * layer.topk * local / layer.num_experts)
    gates = 2 if layer.gated else 1
    return rows * WIDE_BYTES * (max(gates * inner, width) + inner) + tokens * parallel.dp * WIDE_BYTES * width
