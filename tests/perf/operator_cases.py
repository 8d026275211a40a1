"""Operators and machines for the tests of operator times."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from tokenroof.catalog.catalog import load
from tokenroof.catalog.tuning import NEUTRAL
from tokenroof.graph.core import (
    AttentionDecode,
    AttentionPrefill,
    Elementwise,
    Gemm,
    IndexScore,
    MlaDecode,
    MlaPrefill,
    MoeExperts,
    RecurrentMix,
    Work,
)
from tokenroof.graph.ints import tensor_bytes
from tokenroof.perf.core import Machine
from tokenroof.perf.machine import build_machine


@cache
def machine(chip: str = "h100", engine: str = "vllm") -> Machine:
    catalog = load().tuned(NEUTRAL)
    return build_machine(catalog.chip(chip), catalog.engine(engine))


def with_bandwidth(base: Machine, factor) -> Machine:
    tiers = tuple(
        replace(tier, bandwidth_bytes_per_s=tier.bandwidth_bytes_per_s * factor) for tier in base.tiers
    )
    return replace(base, tiers=tiers)


def with_flop_rate(base: Machine, factor) -> Machine:
    peaks = {name: peak * factor for name, peak in base.peak_flop_per_s.items()}
    return replace(base, peak_flop_per_s=peaks)


def gemm(m, n=8192, k=8192, weight_dtype="bf16", act_dtype="bf16", count=1) -> Gemm:
    work = Work(
        flop=2 * m * n * k,
        weights_bytes=tensor_bytes(weight_dtype, n * k),
        activation_bytes=tensor_bytes(act_dtype, m * k) + 2 * m * n,
    )
    return Gemm(
        name="gemm", count=count, work=work, m=m, n=n, k=k, weight_dtype=weight_dtype, act_dtype=act_dtype
    )


def decode(seqs, context, q=64, kv=8, head_dim=128, kv_dtype="bf16", count=1) -> AttentionDecode:
    work = Work(
        flop=4 * seqs * q * head_dim * context,
        kv_bytes=tensor_bytes(kv_dtype, seqs * context * kv * 2 * head_dim),
        activation_bytes=4 * seqs * q * head_dim,
    )
    return AttentionDecode(
        name="decode",
        count=count,
        work=work,
        seqs=seqs,
        context_tokens=seqs * context,
        q_heads=q,
        kv_heads=kv,
        head_dim=head_dim,
        v_head_dim=head_dim,
        kv_dtype=kv_dtype,
    )


def prefill(
    seqs, new, past=0, q=64, kv=8, head_dim=128, q_dtype="bf16", kv_dtype="bf16", window=None, causal=True
) -> AttentionPrefill:
    pairs = new * past + (new * (new + 1) // 2 if causal else new * new)
    if window is not None:
        pairs = sum(min(past + i + 1, window) for i in range(new))
        past = min(past, window - 1)
    work = Work(
        flop=4 * seqs * q * head_dim * pairs,
        kv_bytes=tensor_bytes(kv_dtype, seqs * past * kv * 2 * head_dim),
        activation_bytes=4 * seqs * new * (q + kv) * head_dim,
    )
    return AttentionPrefill(
        name="prefill",
        count=1,
        work=work,
        seqs=seqs,
        new_tokens=seqs * new,
        past_tokens=seqs * past,
        pairs=seqs * pairs,
        q_heads=q,
        kv_heads=kv,
        head_dim=head_dim,
        v_head_dim=head_dim,
        q_dtype=q_dtype,
        kv_dtype=kv_dtype,
        causal=causal,
    )


def mla_decode(seqs, context, heads=16, kv_dtype="bf16") -> MlaDecode:
    work = Work(
        flop=2 * seqs * heads * 1088 * context,
        kv_bytes=tensor_bytes(kv_dtype, seqs * context * 576),
        activation_bytes=2 * seqs * heads * 1088,
    )
    return MlaDecode(
        name="mla",
        count=1,
        work=work,
        seqs=seqs,
        context_tokens=seqs * context,
        heads=heads,
        kv_dtype=kv_dtype,
    )


def mla_prefill(seqs, new, heads=16, kv_dtype="bf16") -> MlaPrefill:
    pairs = seqs * (new * (new + 1) // 2)
    return MlaPrefill(
        name="mla",
        count=1,
        work=Work(flop=2 * heads * 320 * pairs, activation_bytes=2 * seqs * new * heads * 640),
        seqs=seqs,
        new_tokens=seqs * new,
        past_tokens=seqs * 0,
        pairs=pairs,
        heads=heads,
        qk_dim=192,
        v_dim=128,
        kv_dtype=kv_dtype,
    )


def moe(tokens, experts=256, topk=8, hidden=7168, width=2048, local=256, hot=1.0, weight_dtype="fp8_block"):
    touched = (
        np.minimum(local, tokens * topk) if isinstance(tokens, np.ndarray) else min(local, tokens * topk)
    )
    rows = tokens * topk * local // experts
    return MoeExperts(
        name="moe",
        count=1,
        work=Work(
            flop=6 * rows * hidden * width,
            weights_bytes=tensor_bytes(weight_dtype, touched * 3 * hidden * width),
            activation_bytes=rows * (3 * hidden + 6 * width) * 2,
        ),
        tokens=tokens,
        hidden=hidden,
        intermediate=width,
        num_experts=experts,
        local_experts=local,
        topk=topk,
        gated=True,
        weight_dtype=weight_dtype,
        act_dtype="fp8",
        hot_factor=hot,
    )


def recurrent(seqs, new, kind="gated_delta_net", is_decode=False, heads=32) -> RecurrentMix:
    work = Work(
        flop=seqs * new * heads * 8 * 128 * 128,
        state_bytes=8 * seqs * heads * 128 * 128,
        activation_bytes=2 * seqs * new * heads * 512,
    )
    return RecurrentMix(
        name="scan",
        count=1,
        work=work,
        kind=kind,
        seqs=seqs,
        tokens=seqs * new,
        heads=heads,
        key_dim=128,
        value_dim=128,
        decode=is_decode,
    )


def index_score(seqs, context, heads=64, head_dim=128) -> IndexScore:
    return IndexScore(
        name="index",
        count=1,
        work=Work(flop=2 * seqs * heads * head_dim * context, kv_bytes=seqs * context * head_dim),
        seqs=seqs,
        pairs=seqs * context,
        new_tokens=seqs,
        heads=heads,
        head_dim=head_dim,
    )


def elementwise(moved_bytes) -> Elementwise:
    return Elementwise(name="norm", count=1, work=Work(activation_bytes=moved_bytes), rows=1)


def of_every_kind(size):
    """One operator of each type; ``size`` sequences or rows, an int or an array."""
    return [
        gemm(size),
        gemm(size, weight_dtype="fp8", act_dtype="fp8"),
        gemm(size, weight_dtype="int4"),
        decode(size, 2048),
        decode(size, 700, kv_dtype="fp8", head_dim=64),
        prefill(size, 1000),
        prefill(size, 512, past=4096),
        prefill(size, 1024, causal=False, head_dim=80, q=16, kv=16),
        mla_decode(size, 3000),
        mla_prefill(size, 777),
        moe(size),
        recurrent(size, 1, is_decode=True),
        recurrent(size, 900, kind="mamba2"),
        index_score(size, 9000),
        elementwise(size * 16384),
    ]
