"""Operators of hyper-connections: a residual stream that is several copies wide.

With ``n`` streams of ``hidden`` elements each sublayer (attention or feed-forward) costs three kernels
beside its own:

* ``hyper.mix``: one product of all streams with an fp32 matrix of ``n * (n + 2)`` columns, whose sum of
  squares comes along; the dynamic weights of reading, writing and mixing;
* ``hyper.read``: those weights made positive and doubly stochastic (Sinkhorn, on n x n numbers, in
  registers), the weighted sum of the streams, and the norm of the sublayer: one vector out of n;
* ``hyper.write``: the streams mixed, and the output of the sublayer added to each of them.

Once a step the token's embedding is copied into all streams, and a last weighted sum makes one of them.
Every tensor parallel rank does all of it.

Sources: arXiv 2512.24880 (manifold-constrained hyper-connections, its fused kernels); SGLang
``layers/mhc.py`` (``mhc_pre_gemm_sqrsum`` with split k, ``mhc_pre_big_fuse_with_norm``, ``mhc_post``) and
``models/deepseek_v4.py`` (streams in bf16, matrices in fp32, ``hc_head`` over all tokens);
flashinfer-ai/flashinfer#3346 lists the same kernels for every engine. Engines of later dates join the write
to the next mix in small batches (sgl-project/sglang#25976), which is not assumed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tokenroof.graph.core import Elementwise, Gemm, Op
from tokenroof.graph.ints import WIDE_BYTES, present, where_present
from tokenroof.graph.sharding import Matrix
from tokenroof.graph.step import Step, elementwise, gemm

_FP32_BYTES = 4
_FP32_ELEMENTS = 2
"""16-bit elements in an fp32 number."""


def hyper_ops(step: Step) -> list[Op]:
    """Reading, mixing and writing of the residual streams in all layers; nothing with a single stream."""
    connections: Counter[int] = Counter()
    for group in step.model.layers:
        if group.streams > 1:
            connections[group.streams] += group.count * group.norms
    ops: list[Op] = []
    for streams, count in connections.items():
        if count:
            ops += _connection(streams, count, step)
    if ops:
        ops = [*_copies(step), *ops, *_last(step)]
    return ops


def mixes(streams: int) -> int:
    """Dynamic weights per token: n to read, n to write, n x n to mix."""
    return streams * (streams + 2)


def _connection(streams: int, count: int, step: Step) -> list[Op]:
    hidden, kept = step.model.hidden, streams * (streams + 1)
    return [
        *_mix(streams, count, step),
        *elementwise(
            "hyper.read",
            count,
            step.tokens,
            (streams + 1) * hidden + _FP32_ELEMENTS * (mixes(streams) + 1 + kept),
            weights_bytes=WIDE_BYTES * hidden,
        ),
        *elementwise("hyper.write", count, step.tokens, (2 * streams + 1) * hidden + _FP32_ELEMENTS * kept),
    ]


def _mix(streams: int, count: int, step: Step) -> list[Gemm]:
    """The product that gives the weights, in TF32: rate of 16-bit arithmetic, matrix in 4 bytes.

    It is skinny, so that the reading of the streams decides, not the rate.
    """
    n, k = mixes(streams), streams * step.model.hidden
    matrix = Matrix(
        name="mix",
        n=n,
        k=k,
        in_features=k,
        weight_dtype="bf16",
        act_dtype="bf16",
        reduced=False,
        bias_elements=0,
    )
    found = gemm("hyper.mix", count, step.tokens, matrix)
    return [
        replace(
            op,
            work=replace(
                op.work,
                weights_bytes=where_present(step.tokens, _FP32_BYTES * (n * k + n + 3)),
                activation_bytes=step.tokens * (WIDE_BYTES * k + _FP32_BYTES * (n + 1)),
            ),
        )
        for op in found
    ]


def _copies(step: Step) -> list[Elementwise]:
    """The embedding of a token, once per stream."""
    return elementwise("hyper.copy", 1, step.tokens, (1 + step.model.residual_streams) * step.model.hidden)


def _last(step: Step) -> list[Elementwise]:
    """One stream out of all for the output head, with its own fp32 matrix; one kernel over all tokens."""
    if not present(step.tokens):
        return []
    streams, hidden = step.model.residual_streams, step.model.hidden
    return elementwise(
        "hyper.head",
        1,
        step.tokens,
        (streams + 1) * hidden,
        weights_bytes=_FP32_BYTES * (streams * streams * hidden + streams + 1),
    )
