"""Which peak an operator's arithmetic is measured against."""

from __future__ import annotations

from functools import singledispatch

from tokenroof.graph.core import AttentionPrefill, Gemm, IndexScore, MoeExperts, Op
from tokenroof.perf.core import Machine
from tokenroof.perf.lowprec import attention_peak, compute_path, wide_peak


@singledispatch
def peak_name(op: Op, machine: Machine) -> str:
    """The compute dtype whose peak bounds ``op``; a key of ``machine.peak_flop_per_s``."""
    return wide_peak(machine.peak_flop_per_s)


@peak_name.register
def _(op: Gemm, machine: Machine) -> str:
    return compute_path(op.weight_dtype, op.act_dtype, machine.peak_flop_per_s).peak


@peak_name.register
def _(op: MoeExperts, machine: Machine) -> str:
    return compute_path(op.weight_dtype, op.act_dtype, machine.peak_flop_per_s).peak


@peak_name.register
def _(op: AttentionPrefill, machine: Machine) -> str:
    return attention_peak(op.q_dtype, machine.peak_flop_per_s)


@peak_name.register
def _(op: IndexScore, machine: Machine) -> str:
    return attention_peak("fp8", machine.peak_flop_per_s)
