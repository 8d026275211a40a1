"""From a model, a sharding and a batch to the operators of one engine step."""

from __future__ import annotations

from collections import Counter
from typing import assert_never

from tokenroof.catalog.model import (
    Attention,
    CompressedAttention,
    DenseMlp,
    FeedForward,
    LinearAttention,
    Mamba,
    Mixer,
    MlaAttention,
    ModelSpec,
    Moe,
    Precision,
)
from tokenroof.graph.attention import attention_ops
from tokenroof.graph.comms import pipeline_sends
from tokenroof.graph.compressed import compressed_ops
from tokenroof.graph.core import Batch, Op, Parallel
from tokenroof.graph.head import embedding_ops, head_ops, norm_ops
from tokenroof.graph.hyper import hyper_ops
from tokenroof.graph.ints import present
from tokenroof.graph.mla import mla_ops
from tokenroof.graph.mlp import mlp_ops
from tokenroof.graph.moe import moe_ops
from tokenroof.graph.recurrent import recurrent_ops
from tokenroof.graph.step import Step, make_step
from tokenroof.graph.vision import vision_ops


def step_ops(
    model: ModelSpec,
    precision: Precision,
    parallel: Parallel,
    batch: Batch,
    *,
    hot_factor: float = 1.0,
) -> list[Op]:
    """The operators of one engine step, as the busiest chip of the replica runs them.

    Parameters
    ----------
    model : ModelSpec
        What runs.
    precision : Precision
        In which formats.
    parallel : Parallel
        Spread how; assumed legal (``graph.sharding.sharding_problem``).
    batch : Batch
        Prompt chunks and decoding sequences of the whole replica; fields may be arrays.
    hot_factor : float
        Routed load of the busiest expert rank over the mean, at least 1.

    Returns
    -------
    list of Op
        In order of execution. ``count`` covers all layers of all pipeline stages: one pass of the
        batch through the whole model, sends between stages included. Layers with the same mixer (or
        the same feed-forward) are one operator whatever group they come from. An operator without
        work in any element of the batch is left out; an empty batch has no operators.

    Notes
    -----
    Shapes and messages are exact integers. The expected number of active experts is not, see
    ``graph.moe``; spans under sliding windows use mean lengths, see ``graph.spans``.
    """
    if not present(batch.tokens):
        return []
    step = make_step(model, precision, parallel, batch, hot_factor=hot_factor)
    mixers: Counter[Mixer] = Counter()
    feeds: Counter[FeedForward] = Counter()
    for group in model.layers:
        for mixer in group.mixers:
            mixers[mixer] += group.count
        if group.ffn is not None:
            feeds[group.ffn] += group.count
    ops: list[Op] = [*vision_ops(step), *embedding_ops(step), *norm_ops(step), *hyper_ops(step)]
    for mixer, count in mixers.items():
        ops += mixer_ops(mixer, count, step)
    for ffn, count in feeds.items():
        ops += ffn_ops(ffn, count, step)
    ops += pipeline_sends(step)
    ops += head_ops(step)
    return ops


def mixer_ops(mixer: Mixer, count: int, step: Step) -> list[Op]:
    """Operators of ``count`` layers' token mixer."""
    match mixer:
        case Attention():
            return attention_ops(mixer, count, step)
        case MlaAttention():
            return mla_ops(mixer, count, step)
        case CompressedAttention():
            return compressed_ops(mixer, count, step)
        case Mamba() | LinearAttention():
            return recurrent_ops(mixer, count, step)
        case _:
            assert_never(mixer)


def ffn_ops(ffn: FeedForward, count: int, step: Step) -> list[Op]:
    """Operators of ``count`` layers' feed-forward."""
    match ffn:
        case DenseMlp():
            return mlp_ops(ffn, count, step)
        case Moe():
            return moe_ops(ffn, count, step)
        case _:
            assert_never(ffn)
