"""Corrections from measured servings, laid over the time of an operator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tokenroof.graph.core import (
    AttentionDecode,
    AttentionPrefill,
    Collective,
    Elementwise,
    Gemm,
    IndexScore,
    MlaDecode,
    MlaPrefill,
    MoeExperts,
    Num,
    Op,
    RecurrentMix,
)
from tokenroof.perf.core import Machine, OpTime, Tuned
from tokenroof.perf.roofline import real

CLASSES: dict[type[Op], str] = {
    Gemm: "gemm",
    AttentionDecode: "attention",
    AttentionPrefill: "attention",
    MlaDecode: "attention",
    MlaPrefill: "attention",
    IndexScore: "attention",
    RecurrentMix: "attention",
    MoeExperts: "experts",
    Elementwise: "small",
    Collective: "collective",
}
"""Class of an operator by its type."""

SAMPLING = "head.sample"
"""The operator that runs once for each sequence that gets a token."""

FACTORS = tuple(dict.fromkeys(CLASSES.values()))

PROMPT_ATTENTION = (AttentionPrefill, MlaPrefill)


def tuned_time(timed: OpTime, machine: Machine) -> OpTime:
    """An operator's time with the machine's corrections.

    Parameters
    ----------
    timed : OpTime
        By the operator's formula.
    machine : Machine
        Whose ``tuned`` applies: launch floors shortened, every second of the operator times the factor of
        its class; to the attention of new tokens, what each layer of a step with prompts takes more.

    Returns
    -------
    OpTime
        The same object where nothing is corrected. Energy stays: the work is the same.
    """
    name = CLASSES[type(timed.op)]
    factor = machine.tuned.factors.get(name, 1.0)
    extra = machine.tuned.prompt_layer_s if isinstance(timed.op, PROMPT_ATTENTION) else 0.0
    each = machine.tuned.sequence_s if timed.op.name == SAMPLING else 0.0
    if (
        _is(factor, 1.0)
        and _is(launch_factor(name, machine.tuned), 1.0)
        and _is(extra, 0.0)
        and _is(each, 0.0)
    ):
        return timed
    more: Num = extra * prompt_layers(timed) + each * sampled_rows(timed)
    rest = 1.0 if name == "small" else factor
    latency_s = corrected_s(name, timed.latency_s, timed.latency_s, machine.tuned)
    return replace(
        timed,
        time_s=corrected_s(name, timed.time_s, timed.latency_s, machine.tuned) + more,
        compute_s=timed.compute_s * rest,
        memory_s={tier: took * rest for tier, took in timed.memory_s.items()},
        network_s={net: took * rest for net, took in timed.network_s.items()},
        latency_s=latency_s + more,
    )


def corrected_s(name: str, time_s: Num, latency_s: Num, tuned: Tuned) -> Num:
    """Time of operators of one class, ``latency_s`` of it launch floors and the like, corrected. [s]

    Small kernels are fused, which saves their floors and not their bytes.
    """
    factor, launch = tuned.factors.get(name, 1.0), launch_factor(name, tuned)
    if name == "small":
        return time_s - (1.0 - launch * factor) * latency_s
    return (time_s - (1.0 - launch) * latency_s) * factor


def launch_factor(name: str, tuned: Tuned) -> Num:
    """What remains of the launch floors of a class; messages have none."""
    return tuned.launch if name != "collective" else 1.0


def prompt_layers(timed: OpTime) -> Num:
    """Layers in which an operator works on new tokens; 0 for others than attention."""
    if not isinstance(timed.op, PROMPT_ATTENTION):
        return 0.0
    some = timed.op.count * np.asarray(np.asarray(timed.time_s) > 0.0, dtype=np.float64)
    return float(some) if np.ndim(some) == 0 else some


def sampled_rows(timed: OpTime) -> Num:
    """Sequences that an operator samples a token of; 0 for others than sampling."""
    op = timed.op
    return real(op.rows) if isinstance(op, Elementwise) and op.name == SAMPLING else 0.0


def _is(value: Num, plain: float) -> bool:
    return not isinstance(value, np.ndarray) and value == plain
