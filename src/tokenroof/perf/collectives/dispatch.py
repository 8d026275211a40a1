"""The time of a collective: which fabrics it crosses, in which phases, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.errors import InputError, UnknownNameError
from tokenroof.graph.core import Collective, Int, Num
from tokenroof.perf.collectives.candidates import assumed, cheapest, check_algorithm, measured, require
from tokenroof.perf.collectives.core import (
    ALL_GATHER,
    ALL_REDUCE,
    ALL_TO_ALL,
    KINDS,
    REDUCE_SCATTER,
    SEND_RECV,
    Cost,
    as_num,
)
from tokenroof.perf.collectives.topology import reach
from tokenroof.perf.core import Machine, Net, OpTime
from tokenroof.perf.dispatch import op_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One collective on one fabric, part of a hierarchical one."""

    net: Net
    kind: str
    message_bytes: Num
    group: int
    stride: int
    scale_up: bool


def members_per_domain(group: int, stride: int, domain_size: int) -> int:
    """Members of a group inside one scale-up domain: the largest divisor of the group that fits.

    >>> members_per_domain(16, 1, 8), members_per_domain(12, 1, 8), members_per_domain(2, 8, 8)
    (8, 6, 1)
    """
    room = max(1, domain_size // stride)
    return max(n for n in range(1, min(group, room) + 1) if group % n == 0)


def phases(kind: str, message_bytes: Num, group: int, stride: int, machine: Machine) -> tuple[Phase, ...]:
    """The phases of a collective, one when it stays in the scale-up domain.

    Notes
    -----
    With m members per domain and g/m domains: all-reduce = reduce-scatter of S inside, all-reduce
    of S/m between equals, all-gather of S inside. All-gather and reduce-scatter are its halves.
    All-to-all = exchange of S between equals, then exchange of S inside. Phases follow each other:
    overlap between fabrics is not credited. A send crosses one fabric.

    Raises
    ------
    InputError
        The group leaves the domain and the chip has no scale-out fabric.
    """
    up = machine.scale_up
    fits = 1 if up is None else members_per_domain(group, stride, up.domain_size)
    if up is not None and fits == group:
        return (_phase(up, kind, message_bytes, group, stride, scale_up=True),)
    out = machine.scale_out
    if out is None:
        have = 1 if up is None else up.domain_size
        raise InputError(
            f"{group * stride} chips of {machine.name} need a scale-out fabric, but it has none and its "
            f"scale-up domain ends at {have}. "
            f"Use at most {have} chips per replica, or add scale_out to the chip."
        )
    if kind == SEND_RECV or fits == 1 or up is None:
        return (_phase(out, kind, message_bytes, group, 1, scale_up=False),)
    outer = group // fits
    inside = _phase(up, kind, message_bytes, fits, stride, scale_up=True)
    if kind == ALL_TO_ALL:
        return (_phase(out, kind, message_bytes, outer, 1, scale_up=False), inside)
    between = _phase(out, kind, message_bytes / fits, outer, 1, scale_up=False)
    if kind == ALL_REDUCE:
        scatter = _phase(up, REDUCE_SCATTER, message_bytes, fits, stride, scale_up=True)
        gather = _phase(up, ALL_GATHER, message_bytes, fits, stride, scale_up=True)
        return (scatter, between, gather)
    return (inside, between) if kind == REDUCE_SCATTER else (between, inside)


def _phase(net: Net, kind: str, message_bytes: Num, group: int, stride: int, *, scale_up: bool) -> Phase:
    return Phase(
        net=net, kind=kind, message_bytes=message_bytes, group=group, stride=stride, scale_up=scale_up
    )


def phase_cost(phase: Phase, machine: Machine, *, algorithm: str = "") -> Cost:
    """Cost of one phase with the measured implementations, or the assumed ones."""
    net = phase.net
    seen = reach(net, phase.group, phase.stride)
    known = (
        measured(phase.kind, phase.group, machine.efficiency, software_s=net.software_latency_s)
        if phase.scale_up
        else ()
    )
    cost = cheapest(phase.kind, phase.message_bytes, seen, net, known, algorithm=algorithm)
    if cost is None:
        guessed = assumed(software_s=net.software_latency_s)
        cost = cheapest(phase.kind, phase.message_bytes, seen, net, guessed, algorithm=algorithm)
    return require(cost, kind=phase.kind, net=net, algorithm=algorithm)


def costs(
    kind: str, message_bytes: Int, group: int, stride: int, machine: Machine, *, algorithm: str = ""
) -> tuple[tuple[Net, Cost], ...]:
    """Cost by phase; empty for a group of one.

    Raises
    ------
    UnknownNameError
        Unknown collective or algorithm.
    InputError
        A group or stride below one, no scale-out fabric, or an algorithm that cannot run.
    """
    if kind not in KINDS:
        raise UnknownNameError("collective", kind, KINDS)
    if group < 1 or stride < 1:
        raise InputError(f"group and stride must be at least 1, got {group} and {stride}.")
    check_algorithm(algorithm)
    if group == 1:
        return ()
    return tuple(
        (phase.net, phase_cost(phase, machine, algorithm=algorithm))
        for phase in phases(kind, as_num(message_bytes), group, stride, machine)
    )


def collective_s(
    kind: str, message_bytes: Int, group: int, stride: int, machine: Machine, *, algorithm: str = ""
) -> Num:
    """Duration of one collective, nothing of it hidden.

    Parameters
    ----------
    kind : str
        "all_reduce", "all_gather", "reduce_scatter", "all_to_all" or "send_recv".
    message_bytes : Int
        nccl-tests convention, see :class:`~tokenroof.graph.core.Collective`; may be an array. [bytes]
    group, stride : int
        Members and their distance.
    machine : Machine
        Its fabrics and efficiencies.
    algorithm : str
        Force one algorithm; "" takes the cheapest.

    Returns
    -------
    Num
        Duration; zero for a group of one. [s]

    Raises
    ------
    InputError
        See :func:`costs`.
    """
    total: Num = 0.0
    for _, cost in costs(kind, message_bytes, group, stride, machine, algorithm=algorithm):
        total = total + cost.time_s
    return total


@op_time.register
def collective_time(op: Collective, machine: Machine) -> OpTime:
    """Where the time of a collective operator goes, all its runs together.

    ``time_s`` counts only the part that the engine does not hide behind compute
    (``machine.exposed_collective_fraction``); ``network_s``, ``network_bytes`` and ``latency_s`` are whole.
    """
    wires: dict[str, Num] = {}
    carried: dict[str, Num] = {}
    latency: Num = 0.0
    energy: Num = 0.0
    for net, cost in costs(op.kind, op.message_bytes, op.group, op.stride, machine):
        wires[net.name] = wires.get(net.name, 0.0) + cost.wire_s * op.count
        carried[net.name] = carried.get(net.name, 0.0) + cost.link_bytes * op.count
        latency = latency + cost.latency_s * op.count
        energy = energy + cost.link_bytes * net.energy_j_per_byte * op.count
    total: Num = latency
    for value in wires.values():
        total = total + value
    return OpTime(
        op=op,
        time_s=total * machine.exposed_collective_fraction,
        compute_s=0.0,
        memory_s={},
        network_s=wires,
        network_bytes=carried,
        latency_s=latency,
        energy_j=energy if machine.tdp_w is not None else None,
    )


__all__: list[str] = ["Phase", "collective_s", "collective_time", "costs", "members_per_domain", "phases"]
