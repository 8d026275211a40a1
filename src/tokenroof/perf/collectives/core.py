"""The nouns of collectives: what a group of chips sees of a fabric, and what an algorithm asks of it.

A *topology* turns (fabric, group, stride) into a :class:`Reach`; an *algorithm* turns (kind,
message, reach) into a :class:`Plan`, or into None when it cannot run there. Neither knows software:
:func:`plan_s` adds the software overhead and the achieved fraction of the wires.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tokenroof.graph.core import Int, Num
from tokenroof.perf.core import Net

ALL_REDUCE = "all_reduce"
ALL_GATHER = "all_gather"
REDUCE_SCATTER = "reduce_scatter"
ALL_TO_ALL = "all_to_all"
SEND_RECV = "send_recv"
KINDS = (ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER, ALL_TO_ALL, SEND_RECV)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One torus axis as a group uses it.

    Attributes
    ----------
    extent : int
        Members of the group along the axis.
    hops : int
        Links between two neighbouring members (1 unless the group is strided).
    wraps : bool
        The last member is linked to the first one.
    bandwidth_bytes_per_s : Num
        Of one chip along the axis, both directions' links together, one direction of each,
        after sharing the links with the interleaved groups. [bytes/s]
    """

    extent: int
    hops: int
    wraps: bool
    bandwidth_bytes_per_s: Num

    @property
    def steps(self) -> int:
        """Hops to the farthest member: half way round when the axis wraps."""
        return self.hops * (self.extent // 2 if self.wraps else self.extent - 1)

    @property
    def mean_steps(self) -> float:
        """Mean hops between two different members."""
        if self.extent == 1:
            return 0.0
        total = self.extent**2 // 4 if self.wraps else (self.extent**2 - 1) / 3
        return self.hops * total / (self.extent - 1)

    @property
    def gather_bytes_per_s(self) -> Num:
        """Bandwidth of an all-gather along the axis: the end of a line has one link only."""
        return self.bandwidth_bytes_per_s * (1.0 if self.wraps else 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What one group of chips sees of one fabric. Bandwidths are per chip, one direction.

    A hop is a link on fabrics whose chips forward (ring, torus, mesh, dragonfly) and a switch on
    switched ones, so that a single crossbar is one hop.

    Attributes
    ----------
    group : int
        Members.
    ring_bytes_per_s : Num
        Injection when every member sends to its neighbours on a ring. [bytes/s]
    uniform_bytes_per_s : Num
        Injection when every member sends to every other one alike. [bytes/s]
    pair_bytes_per_s : Num
        Between two members alone. [bytes/s]
    bisection_bytes_per_s : Num
        Through the worst cut into halves, one direction, the whole group. [bytes/s]
    neighbour_hops, diameter_hops : int
        Between ring neighbours, and between the two members farthest apart.
    mean_hops : float
        Over pairs of different members.
    axes : tuple of Axis
        Of a torus; empty elsewhere.
    reduces : bool
        The fabric's switches add.
    """

    group: int
    ring_bytes_per_s: Num
    uniform_bytes_per_s: Num
    pair_bytes_per_s: Num
    bisection_bytes_per_s: Num
    neighbour_hops: int
    diameter_hops: int
    mean_hops: float
    axes: tuple[Axis, ...] = ()
    reduces: bool = False


Topology: TypeAlias = Callable[[Net, int, int], Reach]
"""(fabric, group, stride) -> reach; the group is known to fit the domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an algorithm asks of the fabric.

    Attributes
    ----------
    hops : float
        Hop latencies on the critical path.
    sent_bytes : Num
        What one chip sends. [bytes]
    bandwidth_bytes_per_s : Num
        The pattern's injection bandwidth. [bytes/s]
    link_bytes : Num
        What one chip's share of all links carries, forwarding included: the bytes that cost
        energy. [bytes]
    """

    hops: float
    sent_bytes: Num
    bandwidth_bytes_per_s: Num
    link_bytes: Num


Algorithm: TypeAlias = Callable[[str, Num, Reach], "Plan | None"]
"""(kind, message bytes, reach) -> plan, or None when the algorithm cannot run there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one collective takes.

    Attributes
    ----------
    algorithm : str
        The chosen one ("mixed" when it differs over an array).
    latency_s : Num
        Software and hops. [s]
    wire_s : Num
        Bytes over achieved bandwidth. [s]
    link_bytes : Num
        Bytes that cost energy, one chip's share. [bytes]
    """

    algorithm: str
    latency_s: Num
    wire_s: Num
    link_bytes: Num

    @property
    def time_s(self) -> Num:
        """Latency and wires together. [s]"""
        return self.latency_s + self.wire_s


def as_num(value: Int | Num) -> Num:
    """Floats or float arrays from whole numbers: times are not integers."""
    return np.asarray(value, dtype=np.float64) if isinstance(value, np.ndarray) else float(value)


def plan_s(
    plan: Plan, *, software_s: Num, hop_latency_s: Num, fraction: Num, sharpness: float = 1.0
) -> tuple[Num, Num]:
    """Latency and wire time of a plan, as shares that sum to its duration.

    Parameters
    ----------
    plan : Plan
        What the algorithm asks.
    software_s : Num
        Overhead of the implementation, hops not included. [s]
    hop_latency_s : Num
        Of one hop. [s]
    fraction : Num
        Part of the bandwidth that the implementation reaches; switches that add can exceed 1.
    sharpness : float
        p of (latency^p + wire^p)^(1/p): 1 is one after the other, more is overlapped.

    Returns
    -------
    tuple of Num
        Latency [s], bytes over achieved bandwidth [s]; both shortened alike when they overlap.
    """
    latency_s = software_s + plan.hops * hop_latency_s
    wire_s = plan.sent_bytes / (fraction * plan.bandwidth_bytes_per_s)
    if sharpness == 1.0:
        return latency_s, wire_s
    together = (latency_s**sharpness + wire_s**sharpness) ** (1.0 / sharpness)
    kept = together / (latency_s + wire_s)
    return latency_s * kept, wire_s * kept
