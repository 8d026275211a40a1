"""Which algorithms can run, with whose overhead and achieved fraction, and which is cheapest.

Two sources: an efficiency row measured for this collective and group size, or, where there is
none, every legal algorithm at the fabric's stated software overhead and an assumed fraction.

An efficiency row of form "algorithms@<topology>" names its candidates in its parameters::

    one_shot.alpha_s, one_shot.fraction, two_shot.alpha_s, two_shot.fraction,
    ring.ll.alpha_s, ring.ll.fraction, ring.simple.alpha_s, ...
    sharpness                     of the p-norm of latency and wires; 1 when absent
    reference_software_s          the fabric's stated software overhead when it was fitted

The part before the first dot is the algorithm, the middle an implementation's protocol. Alphas
exclude hops, fractions are of the fabric's datasheet bandwidth, so a changed link changes the
answer; a changed software overhead scales the alphas in proportion to ``reference_software_s``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import log2
from typing import Any

import numpy as np

from tokenroof.catalog.efficiency import EfficiencySet
from tokenroof.errors import InputError, UnknownNameError
from tokenroof.graph.core import Num
from tokenroof.perf.collectives.algorithms import ALGORITHMS
from tokenroof.perf.collectives.core import Cost, Reach, plan_s
from tokenroof.perf.core import Net

ASSUMED_FRACTION = 0.8
"""Achieved part of the datasheet bandwidth where nothing was measured. Assumption: NCCL reaches
0.75 to 0.9 of it for large messages on every switched fabric in the calibration data."""

REFERENCE = "reference_software_s"
SHARPNESS = "sharpness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One implementation of one algorithm: overhead without hops [s], achieved fraction, overlap."""

    algorithm: str
    alpha_s: Num
    fraction: Num
    sharpness: float = 1.0


@lru_cache(maxsize=4096)
def _parse(items: tuple[tuple[str, float], ...]) -> tuple[Candidate, ...]:
    values = dict(items)
    names = sorted({key.rpartition(".")[0] for key in values if key.endswith(".alpha_s")})
    return tuple(
        Candidate(
            algorithm=name.partition(".")[0],
            alpha_s=values[f"{name}.alpha_s"],
            fraction=values[f"{name}.fraction"],
            sharpness=values.get(SHARPNESS, 1.0),
        )
        for name in names
    )


def parse(parameters: Mapping[str, float]) -> tuple[Candidate, ...]:
    """Candidates of an efficiency row, in the order of their names."""
    return _parse(tuple(parameters.items()))


def measured(kind: str, group: int, efficiency: EfficiencySet, *, software_s: Num) -> tuple[Candidate, ...]:
    """Candidates measured for a collective, at the group size nearest to the asked one.

    Parameters
    ----------
    kind : str
        Collective.
    group : int
        Members.
    efficiency : EfficiencySet
        Rows with dtype "n2", "n4", "n8", ...: the group size that was measured.
    software_s : Num
        The fabric's stated software overhead. [s]

    Returns
    -------
    tuple of Candidate
        Empty when nothing was measured. Sizes that were not measured take the nearest one in
        log2; beyond the largest one, overheads grow with log2 of the ratio as they did between
        the two largest.
    """
    row = efficiency.rows.get((kind, f"n{group}"))
    growth = 1.0
    if row is None:
        sizes = _sizes(kind, efficiency)
        if not sizes:
            return ()
        nearest = min(sizes, key=lambda size: (abs(log2(size / group)), size))
        row = efficiency.rows[(kind, f"n{nearest}")]
        if group > sizes[-1] and len(sizes) > 1:
            growth = _growth(kind, efficiency, sizes, group)
    scale: Any = software_s / row.parameters[REFERENCE] * growth
    return tuple(
        Candidate(
            algorithm=c.algorithm, alpha_s=c.alpha_s * scale, fraction=c.fraction, sharpness=c.sharpness
        )
        for c in parse(row.parameters)
    )


def _sizes(kind: str, efficiency: EfficiencySet) -> list[int]:
    return sorted(
        int(dtype[1:])
        for op, dtype in efficiency.rows
        if op == kind and dtype[:1] == "n" and dtype[1:].isdigit()
    )


def _growth(kind: str, efficiency: EfficiencySet, sizes: list[int], group: int) -> float:
    last, before = sizes[-1], sizes[-2]
    floors = [
        min(c.alpha_s for c in parse(efficiency.rows[(kind, f"n{n}")].parameters)) for n in (before, last)
    ]
    slope = max(0.0, (float(floors[1]) - float(floors[0])) / log2(last / before))
    return 1.0 + slope * log2(group / last) / float(floors[1]) if floors[1] else 1.0


def assumed(*, software_s: Num) -> tuple[Candidate, ...]:
    """Every algorithm at the fabric's stated overhead and the assumed fraction."""
    return tuple(
        Candidate(algorithm=name, alpha_s=software_s, fraction=ASSUMED_FRACTION) for name in ALGORITHMS
    )


def cheapest(
    kind: str,
    message_bytes: Num,
    reach: Reach,
    net: Net,
    candidates: tuple[Candidate, ...],
    *,
    algorithm: str = "",
) -> Cost | None:
    """The cheapest legal candidate for each message size.

    Parameters
    ----------
    kind : str
        Collective.
    message_bytes : Num
        As in :class:`~tokenroof.graph.core.Collective`; may be an array. [bytes]
    reach : Reach
        What the group sees.
    net : Net
        The fabric's latency. Its numbers may be arrays that broadcast with the messages.
    candidates : tuple of Candidate
        What may run.
    algorithm : str
        Only this one ("" = any).

    Returns
    -------
    Cost or None
        None when no candidate can run this collective here.
    """
    best: Cost | None = None
    for candidate in candidates:
        if algorithm and candidate.algorithm != algorithm:
            continue
        plan = ALGORITHMS[candidate.algorithm](kind, message_bytes, reach)
        if plan is None:
            continue
        latency_s, wire_s = plan_s(
            plan,
            software_s=candidate.alpha_s,
            hop_latency_s=net.hop_latency_s,
            fraction=candidate.fraction,
            sharpness=candidate.sharpness,
        )
        cost = Cost(
            algorithm=candidate.algorithm, latency_s=latency_s, wire_s=wire_s, link_bytes=plan.link_bytes
        )
        best = cost if best is None else _cheaper(best, cost)
    return best


def _cheaper(one: Cost, other: Cost) -> Cost:
    wins = other.time_s < one.time_s
    if not isinstance(wins, np.ndarray):
        return other if wins else one
    if one.algorithm == other.algorithm or not wins.any():
        name = one.algorithm
    else:
        name = other.algorithm if wins.all() else "mixed"
    return Cost(
        algorithm=name,
        latency_s=np.where(wins, other.latency_s, one.latency_s),
        wire_s=np.where(wins, other.wire_s, one.wire_s),
        link_bytes=np.where(wins, other.link_bytes, one.link_bytes),
    )


def check_algorithm(algorithm: str) -> None:
    """Refuse a name that is no algorithm.

    Raises
    ------
    UnknownNameError
        With the nearest names.
    """
    if algorithm and algorithm not in ALGORITHMS:
        raise UnknownNameError("algorithm", algorithm, ALGORITHMS)


def require(cost: Cost | None, *, kind: str, net: Net, algorithm: str) -> Cost:
    """The cost, or a clear refusal when nothing can run the collective.

    Raises
    ------
    InputError
        No algorithm fits the collective and topology.
    """
    if cost is None:
        named = f"algorithm {algorithm!r}" if algorithm else "any algorithm"
        raise InputError(
            f"{kind} cannot run on a {net.topology} with {named}. Known algorithms: {', '.join(ALGORITHMS)}."
        )
    return cost
