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
from tokenroof.perf.core import Machine, OpTime

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

FACTORS = tuple(dict.fromkeys(CLASSES.values()))


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
    launch = machine.tuned.launch if name != "collective" else 1.0
    extra = machine.tuned.prompt_layer_s if isinstance(timed.op, AttentionPrefill | MlaPrefill) else 0.0
    if _is(factor, 1.0) and _is(launch, 1.0) and _is(extra, 0.0):
        return timed
    added = extra * timed.op.count * np.asarray(np.asarray(timed.time_s) > 0.0, dtype=np.float64)
    more: Num = float(added) if np.ndim(added) == 0 else added
    saved_s = (1.0 - launch) * timed.latency_s
    return replace(
        timed,
        time_s=(timed.time_s - saved_s) * factor + more,
        compute_s=timed.compute_s * factor,
        memory_s={name: took * factor for name, took in timed.memory_s.items()},
        network_s={name: took * factor for name, took in timed.network_s.items()},
        latency_s=(timed.latency_s - saved_s) * factor + more,
    )


def _is(value: Num, plain: float) -> bool:
    return not isinstance(value, np.ndarray) and value == plain
