"""How the pools of a run were used."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenroof.serve.core import Stage
from tokenroof.serve.results import TIMELINE, Run

FloatArray = npt.NDArray[np.float64]

_SUMS = ("prefill_tokens", "decode_tokens")
"""Rows of the timeline that are sums over a bin; the others are means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUse:
    """One pool. "Window": means over the window of the metrics, from the timeline; else the whole run.

    Attributes
    ----------
    stage : Stage
        What its replicas do.
    replicas_up : float
        Replicas that serve (or still do, before they leave), mean over the window.
    running_seqs, waiting_seqs : float
        All replicas, mean over the window.
    used_blocks, used_fraction : float
        Blocks held, mean over the window; the same over what the replicas that are up hold at most.
    peak_fraction : float
        Most blocks that a replica held over those it has.
    prefill_tokens_per_s, decode_tokens_per_s : float
        Prompt tokens computed, recomputation included, and tokens of decode steps (all but those that a
        prefill yields), over the window. [tokens/s]
    busy_fraction : float
        Time in steps over time up, all replicas, whole run.
    window_busy_fraction : float
        The same over the window.
    steps : int
        Steps, whole run.
    link_busy_fraction, slowed_fraction : float
        Time that the hand-off link was in use, and time in slowed steps, over time up, whole run.
    """

    stage: Stage
    replicas_up: float
    running_seqs: float
    waiting_seqs: float
    used_blocks: float
    used_fraction: float
    peak_fraction: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    busy_fraction: float
    window_busy_fraction: float
    steps: int
    link_busy_fraction: float
    slowed_fraction: float


def pool_uses(run: Run, from_s: float, to_s: float) -> tuple[PoolUse, ...]:
    """How each pool was used between two times.

    Parameters
    ----------
    run : Run
        With its timeline; bins that lie partly in the window count with that part.
    from_s, to_s : float
        The window. [s]

    Returns
    -------
    tuple of PoolUse
        A fraction of nothing (no time, no cache) is nan, a rate over no time 0.
    """
    edges = np.minimum(run.timeline_bin_s * np.arange(run.timeline.shape[2] + 1), run.end_s)
    width_s = np.maximum(np.diff(edges), 1e-300)
    # before the first request replicas are up and nothing else: what is in its bin came after it
    quiet = not (run.log.arrival_s < from_s).any()
    inside_s = _inside(edges, 0.0 if quiet else from_s, to_s)
    weights = np.where(np.isin(TIMELINE, _SUMS)[:, None], inside_s / width_s, inside_s)
    weights[TIMELINE.index("up_replicas")] = _inside(edges, from_s, to_s)
    return tuple(_use(run, pool, weights, to_s - from_s) for pool in range(len(run.setup.pools)))


def _inside(edges: FloatArray, from_s: float, to_s: float) -> FloatArray:
    """How much of each bin lies between two times. [s]"""
    return np.maximum(np.minimum(edges[1:], to_s) - np.maximum(edges[:-1], from_s), 0.0)


def _use(run: Run, pool: int, weights: FloatArray, span_s: float) -> PoolUse:
    setup = run.setup.pools[pool]
    mine = run.replicas["pool"] == pool
    up_s = float(run.replicas["up_s"][mine].sum())
    rows = dict(zip(TIMELINE, (run.timeline[pool] * weights).sum(axis=1).tolist(), strict=True))
    return PoolUse(
        stage=setup.stage,
        replicas_up=_over(rows["up_replicas"], span_s),
        running_seqs=_over(rows["running_seqs"], span_s),
        waiting_seqs=_over(rows["waiting_seqs"], span_s),
        used_blocks=_over(rows["used_blocks"], span_s),
        used_fraction=_over(rows["used_blocks"], rows["up_replicas"] * setup.num_blocks),
        peak_fraction=float(run.replicas["peak_blocks"][mine].max(initial=0.0)) / setup.num_blocks,
        prefill_tokens_per_s=rows["prefill_tokens"] / span_s if span_s > 0.0 else 0.0,
        decode_tokens_per_s=rows["decode_tokens"] / span_s if span_s > 0.0 else 0.0,
        busy_fraction=_over(float(run.replicas["busy_s"][mine].sum()), up_s),
        window_busy_fraction=_over(rows["busy_replicas"], rows["up_replicas"]),
        steps=int(run.replicas["steps"][mine].sum()),
        link_busy_fraction=_over(float(run.replicas["link_busy_s"][mine].sum()), up_s),
        slowed_fraction=_over(float(run.replicas["slowed_s"][mine].sum()), up_s),
    )


def _over(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else math.nan
