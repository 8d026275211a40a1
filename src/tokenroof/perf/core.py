"""The nouns of time: a machine that operators run on, and where a step's time goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tokenroof.catalog.core import OperandKind
from tokenroof.catalog.efficiency import EfficiencySet
from tokenroof.graph.core import Num, Op


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A memory tier as the step model sees it; any number may be an array.

    ``bandwidth_bytes_per_s`` is already capped by what can be in flight (Little's law).
    """

    name: str
    bandwidth_bytes_per_s: Num
    energy_j_per_byte: Num


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """A fabric as the step model sees it; any number may be an array."""

    name: str
    topology: str
    domain_size: int
    bandwidth_bytes_per_s: Num
    hop_latency_s: Num
    software_latency_s: Num
    energy_j_per_byte: Num
    dims: tuple[int, ...] = ()
    in_network_reduction: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What measured servings add to the times of operators, see ``catalog.tuning``.

    Attributes
    ----------
    factors : mapping of str to Num
        Time over the formula's, by class of operator ("gemm", "attention", "experts", "small",
        "collective"); a class that is not named is 1.
    launch : Num
        Latency of kernels over that of their formulas, collectives excepted.
    sequence_s : Num
        Added to sampling, per sequence of a rank that gets a token. [s]
    prompt_layer_s : Num
        Added to the attention of new tokens, per layer. [s]
    """

    factors: Mapping[str, Num] = field(default_factory=dict)
    launch: Num = 1.0
    prompt_layer_s: Num = 0.0
    sequence_s: Num = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One chip resolved for the step model: peaks, tiers, fabrics and achieved fractions.

    Built by ``perf.machine.machine(chip, engine, ...)``; a design-space sweep replaces fields by
    arrays and calls the same functions.

    Attributes
    ----------
    peak_flop_per_s : mapping of str to Num
        Dense datasheet peaks by compute dtype. [flop/s]
    compute_units : Num
        SMs or the like.
    cache_bytes : Num
        Last-level cache. [bytes]
    tiers : tuple of Tier
        Nearest first.
    placement : mapping of OperandKind to str
        Tier name by operand kind.
    scale_up, scale_out : Net or None
        Fabrics.
    efficiency : EfficiencySet
        Achieved fractions by operator and dtype, and how they were obtained.
    idle_w, tdp_w : Num or None
        Static power and the limit; None when no power figure is known. [W]
    energy_j_per_flop : mapping of str to Num, or None
        Dynamic energy of one flop by compute dtype; None when no power figure is known. [J/flop]
    step_overhead_s : Num
        Host time per engine step. [s]
    exposed_collective_fraction : Num
        Part of collective time not hidden behind compute.
    assumptions : tuple of str
        What had to be assumed about the chip, one sentence each.
    tuned : Tuned
        Corrections from measured servings.
    """

    name: str
    peak_flop_per_s: Mapping[str, Num]
    compute_units: Num
    cache_bytes: Num
    tiers: tuple[Tier, ...]
    placement: Mapping[OperandKind, str]
    scale_up: Net | None
    scale_out: Net | None
    efficiency: EfficiencySet
    idle_w: Num | None
    tdp_w: Num | None
    energy_j_per_flop: Mapping[str, Num] | None
    step_overhead_s: Num
    exposed_collective_fraction: Num
    assumptions: tuple[str, ...] = ()
    tuned: Tuned = field(default_factory=Tuned)

    def tier(self, kind: OperandKind) -> Tier:
        """The tier that operands of ``kind`` are read from."""
        name = self.placement[kind]
        return next(tier for tier in self.tiers if tier.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpTime:
    """Where the time of one operator goes, all its ``count`` runs together.

    Attributes
    ----------
    op : Op
        What ran.
    time_s : Num
        Total. [s]
    compute_s : Num
        What arithmetic alone would take. [s]
    memory_s : mapping of str to Num
        What traffic alone would take, by tier name. [s]
    network_s : mapping of str to Num
        What wires alone would take, by fabric name: what one chip sends over the bandwidth that the
        algorithm achieves in its pattern, without latency. Where an implementation overlaps latency and
        wires, both are shortened alike so that they sum to its duration. [s]
    network_bytes : mapping of str to Num
        What one chip's share of the wires carries, forwarding included, by fabric name. [bytes]
    latency_s : Num
        Launch floors, serial loops, and software and hops of messages. [s]
    energy_j : Num or None
        Dynamic energy on one chip; None when its power is unknown. [J]
    """

    op: Op
    time_s: Num
    compute_s: Num
    memory_s: Mapping[str, Num]
    network_s: Mapping[str, Num]
    network_bytes: Mapping[str, Num]
    latency_s: Num
    energy_j: Num | None

    def limits(self) -> dict[str, Num]:
        """Seconds by limiting resource: "compute", "memory:<tier>", "network:<fabric>", "latency"."""
        out: dict[str, Num] = {"compute": self.compute_s, "latency": self.latency_s}
        out |= {f"memory:{name}": value for name, value in self.memory_s.items()}
        out |= {f"network:{name}": value for name, value in self.network_s.items()}
        return out

    def by_limit_s(self) -> dict[str, Num]:
        """The whole of ``time_s`` given to the resource that needs most of it, batch by batch. [s]

        Keys are those of :meth:`limits` that win somewhere; arrays are zero where another one does.
        """
        seconds = self.limits()
        if not isinstance(self.time_s, np.ndarray):
            return {max(seconds, key=lambda name: float(seconds[name])): self.time_s}
        table = np.stack([np.broadcast_to(np.asarray(took), self.time_s.shape) for took in seconds.values()])
        winners = table.argmax(axis=0)
        names = list(seconds)
        return {
            names[index]: np.where(winners == index, self.time_s, 0.0)
            for index in np.unique(winners).tolist()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """One engine step: its operators and the host's share.

    ``time_s`` is the sum of the operators' exposed times plus ``overhead_s``; ``energy_j`` is None when
    the chip's power is unknown.
    """

    ops: tuple[OpTime, ...]
    overhead_s: Num
    time_s: Num
    energy_j: Num | None = None
