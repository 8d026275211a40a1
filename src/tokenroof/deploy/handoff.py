"""Moving a prompt's cache from the replica that prefilled it to the one that decodes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.core import Chip, Fabric
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.deploy.core import Infeasible, Pool
from tokenroof.graph.memory import fixed_bytes_per_sequence_per_chip, kv_bytes_per_token_per_chip
from tokenroof.perf.machine import tuned_value


def handoff_fabric(chip: Chip) -> Fabric | None:
    """The fabric a hand-off leaves the chip by: scale-out, else scale-up."""
    return chip.scale_out if chip.scale_out is not None else chip.scale_up


def handoff_problem(prefill: Pool, decode: Pool) -> Infeasible | None:
    """Why the two pools cannot exchange caches, or None."""
    for pool in (prefill, decode):
        if handoff_fabric(pool.chip) is None:
            reason = f"not connected: {pool.chip.name} has no fabric to hand caches over. Use one pool."
            return Infeasible(reason=reason)
    return None


def start_s(pool: Pool) -> float:
    """From the end of a prefill until bytes flow at this end. [s]

    Start-up of the fabric, one hop, and what measured servings add: asking for the cache, polling for it.
    """
    fabric = handoff_fabric(pool.chip)
    assert fabric is not None, "checked by handoff_problem"
    wires_s = fabric.software_latency_s.value + fabric.hop_latency_s.value
    return wires_s + tuned_value(pool.chip, pool.engine, "handoff_s")


def shard_bytes(pool: Pool, model: ModelSpec, precision: Precision, tokens: int) -> float:
    """What one chip of a replica holds of the cache of one sequence. [bytes]"""
    growing = kv_bytes_per_token_per_chip(model, precision, pool.parallel) * tokens
    return float(growing + fixed_bytes_per_sequence_per_chip(model, precision, pool.parallel, tokens))


def handoff_s(prefill: Pool, decode: Pool, model: ModelSpec, precision: Precision, tokens: int) -> float:
    """Time to hand over the cache of ``tokens`` tokens, after the prefill, all chips at once. [s]

    Parameters
    ----------
    prefill, decode : Pool
        Both ends; every chip sends, or receives, its own shard over its own links.
    model, precision : ModelSpec, Precision
        What is cached.
    tokens : int
        Of the prompt.

    Returns
    -------
    float
        Of the slower end: :func:`start_s`, and its largest shard over its bandwidth. Nothing is hidden
        behind the prefill. [s]
    """
    return max(float(end_s(pool, model, precision, tokens)) for pool in (prefill, decode))


def end_s(
    pool: Pool,
    model: ModelSpec,
    precision: Precision,
    tokens: int,
    bytes_per_s: float | npt.NDArray[np.float64] | None = None,
) -> float | npt.NDArray[np.float64]:
    """Time that one end of a hand-off takes, see :func:`handoff_s`. [s]

    Parameters
    ----------
    pool : Pool
        The end.
    model, precision, tokens : ModelSpec, Precision, int
        As there.
    bytes_per_s : float or FloatArray, optional
        Bandwidth of a chip's link, when it is not that of its fabric. [bytes/s]
    """
    fabric = handoff_fabric(pool.chip)
    assert fabric is not None, "checked by handoff_problem"
    moved = shard_bytes(pool, model, precision, tokens)
    rate = fabric.bandwidth_bytes_per_s.value if bytes_per_s is None else bytes_per_s
    return start_s(pool) + moved / rate
