"""Operators of state-space and linear-attention mixers."""

from __future__ import annotations

from functools import singledispatch

from tokenroof.catalog.model import LinearAttention, Mamba
from tokenroof.graph.comms import tp_allreduce
from tokenroof.graph.core import Int, Op, RecurrentMix, Work
from tokenroof.graph.ints import WIDE_BYTES, ceil_int, exact_bytes, present, tensor_bytes
from tokenroof.graph.step import Step, elementwise, gemm

CHUNK_TOKENS = 64
"""Tokens that a chunked scan processes as one block (flash-linear-attention; Mamba-2 uses 64 to 256)."""


@singledispatch
def state_shape(layer: Mamba | LinearAttention, tp: int) -> tuple[int, int, int]:
    """``(heads, key_dim, value_dim)`` of the recurrent state on one rank."""
    raise TypeError(f"no state for {type(layer).__name__}")


@state_shape.register
def _(layer: Mamba, tp: int) -> tuple[int, int, int]:
    if layer.version == 1:  # no heads: every channel has its own state, and ranks share the channels
        return 1, layer.state_dim, ceil_int(layer.num_heads * layer.head_dim, tp)
    return ceil_int(layer.num_heads, tp), layer.state_dim, layer.head_dim


@state_shape.register
def _(layer: LinearAttention, tp: int) -> tuple[int, int, int]:
    return ceil_int(layer.num_v_heads, tp), layer.k_head_dim, layer.v_head_dim


@singledispatch
def conv_channels(layer: Mamba | LinearAttention, tp: int) -> int:
    """Channels of the short convolution on one rank; 0 without one."""
    raise TypeError(f"no convolution for {type(layer).__name__}")


@conv_channels.register
def _(layer: Mamba, tp: int) -> int:
    heads, _, width = state_shape(layer, tp)
    inner = heads * width
    if layer.version == 1:
        return inner
    return inner + 2 * ceil_int(layer.num_groups, tp) * layer.state_dim


@conv_channels.register
def _(layer: LinearAttention, tp: int) -> int:
    if not layer.conv_kernel:
        return 0
    k_heads, v_heads = ceil_int(layer.num_k_heads, tp), ceil_int(layer.num_v_heads, tp)
    return 2 * k_heads * layer.k_head_dim + v_heads * layer.v_head_dim


def kind_of(layer: Mamba | LinearAttention) -> str:
    """Name of the recurrence, as :class:`~tokenroof.graph.core.RecurrentMix` spells it."""
    return f"mamba{layer.version}" if isinstance(layer, Mamba) else layer.kind


def state_bytes(layer: Mamba | LinearAttention, tp: int, state_dtype: str) -> int:
    """Recurrent state (in ``state_dtype``) and convolution inputs (16 bit) of one sequence. [bytes]"""
    heads, key_dim, value_dim = state_shape(layer, tp)
    conv = conv_channels(layer, tp) * max(layer.conv_kernel - 1, 0)
    return exact_bytes(state_dtype, heads * key_dim * value_dim) + WIDE_BYTES * conv


def recurrent_ops(layer: Mamba | LinearAttention, count: int, step: Step) -> list[Op]:
    """Projections, convolution, recurrence, gate and messages of ``count`` identical layers."""
    prefix = "ssm" if isinstance(layer, Mamba) else "linear"
    found = step.matrices(layer)
    ops: list[Op] = []
    convolved = False
    for matrix in found:
        # Version 1 derives the step size, B and C ("x") from what the convolution returns.
        if matrix.name == "x" or (matrix is found[-1] and not convolved):
            ops += _convolution(layer, count, step, prefix)
            convolved = True
        if matrix is found[-1]:
            ops += _mix(layer, count, step, prefix)
            ops += _gate(layer, count, step, prefix)
        ops += gemm(f"{prefix}.{matrix.name}", count, step.tokens, matrix)
        if matrix.reduced and matrix is not found[-1]:
            ops += tp_allreduce(step, f"comm.{prefix}_{matrix.name}_allreduce", count, matrix.n)
    ops += tp_allreduce(step, "comm.attn_allreduce", count, step.model.hidden)
    return ops


def _convolution(layer: Mamba | LinearAttention, count: int, step: Step, prefix: str) -> list[Op]:
    """Short convolutions with their state, one kernel per phase."""
    channels = conv_channels(layer, step.parallel.tp)
    kept = 2 * WIDE_BYTES * channels * max(layer.conv_kernel - 1, 0)
    if not kept:
        return []
    return [
        op
        for phase, seqs, tokens in (
            ("step", step.batch.decode_seqs, step.decode_query_tokens),
            ("scan", step.batch.prefill_seqs, step.prefill_query_tokens),
        )
        for op in elementwise(f"{prefix}.conv_{phase}", count, tokens, 2 * channels, state_bytes=kept * seqs)
    ]


def _gate(layer: Mamba | LinearAttention, count: int, step: Step, prefix: str) -> list[Op]:
    """Norm and gate of the mixer's output; its small vectors are read here."""
    heads, _, value_dim = state_shape(layer, step.parallel.tp)
    small = step.small_bytes(layer)
    return [*elementwise(f"{prefix}.gate", count, step.tokens, 3 * heads * value_dim, weights_bytes=small)]


def _mix(layer: Mamba | LinearAttention, count: int, step: Step, prefix: str) -> list[Op]:
    """The recurrence: one step per decode token, a chunked scan over prompts.

    Per token and head a state of ``k x v`` is decayed, updated and read: 6 k v flop, and 2 k v more for
    the delta rule, which first predicts the value. A chunked scan spends 4 k v per token on the state
    and half a chunk of scores and values beside it; Mamba-1 has no chunked form (arXiv 2312.00752) and
    scans token by token. The state is read and written once per sequence
    and run; ``cp`` ranks pass it on, so a scan under context parallelism is not split but in tokens.
    """
    tp, batch = step.parallel.tp, step.batch
    heads, key_dim, value_dim = state_shape(layer, tp)
    delta = isinstance(layer, LinearAttention) and layer.kind != "lightning"
    area = key_dim * value_dim
    step_flop = heads * area * (8 if delta else 6)
    scan_flop = heads * ((6 if delta else 4) * area + CHUNK_TOKENS * (key_dim + value_dim))
    if kind_of(layer) == "mamba1":
        scan_flop = step_flop
    one = tensor_bytes(step.precision.state, heads * area)
    moved = WIDE_BYTES * heads * (2 * key_dim + 2 * value_dim)

    def mix(name: str, seqs: Int, tokens: Int, flop: int, decode: bool) -> list[Op]:
        if not present(seqs):
            return []
        work = Work(flop=tokens * flop, state_bytes=2 * one * seqs, activation_bytes=tokens * moved)
        op = RecurrentMix(
            name=name,
            count=count,
            work=work,
            kind=kind_of(layer),
            seqs=seqs,
            tokens=tokens,
            heads=heads,
            key_dim=key_dim,
            value_dim=value_dim,
            decode=decode,
        )
        return [op]

    return [
        *mix(f"{prefix}.step", batch.decode_seqs, step.decode_query_tokens, step_flop, True),
        *mix(f"{prefix}.scan", batch.prefill_seqs, step.prefill_query_tokens, scan_flop, False),
    ]
