"""Arithmetic that kernels issue: matrix instructions take whole tiles, full or not.

Only energy asks for it here; the time formulas of the operators pad by their own fitted tiles.
"""

from __future__ import annotations

import numpy as np

from tokenroof.graph.core import AttentionDecode, AttentionPrefill, Gemm, MlaDecode, MoeExperts, Num, Op
from tokenroof.graph.moe import active_experts

ROWS = 16.0
"""Least rows of the narrow side: decode attention packs the queries of a key-value head, a product with
few tokens puts the tokens on it."""
EXPERT_ROWS = 64.0
"""Row tile of an expert: of 16 and 64, the one that the measured power of experts agrees with."""
QUERY_ROWS = 128.0
KEYS = 64.0


def _at_least(value: Num, least: float) -> Num:
    if isinstance(value, float | int):
        return max(float(value), least)
    out: Num = np.maximum(value, least)
    return out


def _up(value: Num, block: float) -> Num:
    if isinstance(value, float | int):
        return float(-((-value) // block)) * block
    out: Num = np.ceil(value / block) * block
    return out


def decode_factor(rows: Num, keys: Num) -> Num:
    """Issued over asked-for arithmetic of decode attention.

    Parameters
    ----------
    rows : Num
        Query heads per key-value head, times query tokens.
    keys : Num
        Cached tokens that a sequence sees, mean.
    """
    keys = _at_least(keys, 1.0)
    return _up(rows, ROWS) / rows * ((keys + 0.5 * KEYS) / keys)


def prefill_factor(new_tokens: Num, mean_keys: Num) -> Num:
    """Issued over asked-for arithmetic of prompts: whole tiles of queries, half a tile at the diagonal."""
    new_tokens, mean_keys = _at_least(new_tokens, 1e-9), _at_least(mean_keys, 1e-9)
    return _up(new_tokens, QUERY_ROWS) / new_tokens * ((mean_keys + 0.5 * QUERY_ROWS) / mean_keys)


def expert_factor(tokens_per_expert: Num) -> Num:
    """Issued over asked-for arithmetic of experts; ``tokens_per_expert`` is the mean over the active ones."""
    tokens = _at_least(tokens_per_expert, 1e-9)
    return _at_least(tokens + 0.5 * (EXPERT_ROWS - 1.0), EXPERT_ROWS) / tokens


def issued_factor(op: Op) -> Num:
    """Issued over asked-for arithmetic of an operator; 1 where nothing is known of its tiles.

    Parameters
    ----------
    op : Op
        What runs.

    Returns
    -------
    Num
        At least 1.
    """
    if isinstance(op, AttentionDecode):
        rows = op.q_heads / op.kv_heads * op.query_tokens
        return decode_factor(rows, op.context_tokens / _at_least(op.seqs, 1.0))
    if isinstance(op, MlaDecode):
        return decode_factor(float(op.heads * op.query_tokens), op.context_tokens / _at_least(op.seqs, 1.0))
    if isinstance(op, AttentionPrefill):
        new_tokens = op.new_tokens / _at_least(op.seqs, 1.0)
        return prefill_factor(new_tokens, op.pairs / _at_least(op.new_tokens, 1.0))
    if isinstance(op, MoeExperts):
        active = _at_least(
            active_experts(op.tokens, op.local_experts, op.topk, op.num_experts, op.routing_skew), 1e-9
        )
        routed = op.tokens * op.topk * op.local_experts / op.num_experts * op.hot_factor
        return expert_factor(routed / active)
    if isinstance(op, Gemm):
        m = _at_least(op.m, 1.0)
        return _up(m, ROWS) / m
    return 1.0
