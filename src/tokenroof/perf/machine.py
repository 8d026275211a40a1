"""A chip and an engine, resolved into the numbers the step model runs on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from tokenroof.catalog.core import Chip, Engine, Fabric, MemoryTier, OperandKind, Quantity
from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.catalog.tuning import scopes_of
from tokenroof.errors import InputError
from tokenroof.perf.borrow import choose_rows, shipped_rows
from tokenroof.perf.core import Machine, Net, Tier, Tuned
from tokenroof.perf.energy import activity_j_per_flop, power_shares
from tokenroof.perf.lowprec import with_wide_peak
from tokenroof.perf.tuned import FACTORS


def build_machine(
    chip: Chip, engine: Engine, *, efficiencies: Sequence[OpEfficiency] | None = None
) -> Machine:
    """The machine that operators of this chip run on, under this engine's kernels.

    Parameters
    ----------
    chip : Chip
        Peaks, memory tiers, fabrics, power.
    engine : Engine
        Which framework's kernels run, and its host time per step.
    efficiencies : sequence of OpEfficiency, optional
        Fitted forms in order of precedence; the shipped ones when not given.

    Returns
    -------
    Machine
        Rows borrowed from another chip are named in ``efficiency.borrowed``.

    Notes
    -----
    The bandwidth of a near-compute tier is what its own arithmetic sees: operands that live there do
    not cross the chip's main interface, and what does cross it is not modelled; ``assumptions`` says so.

    Raises
    ------
    InputError
        The chip has no memory tier for some kind of operand, or no usable peak.
    """
    topology = chip.scale_up.topology if chip.scale_up is not None else ""
    chosen = (
        shipped_rows(chip.name, chip.relative, chip.family, engine.kernels, topology)
        if efficiencies is None
        else choose_rows(chip.name, chip.relative, chip.family, engine.kernels, topology, efficiencies)
    )
    tdp_w = _value(chip.tdp_w)
    power = power_shares(chip.name, chip.relative, chip.family, efficiencies)
    peaks, missing_peak = with_wide_peak({name: peak.value for name, peak in chip.peak_flop_per_s.items()})
    return Machine(
        name=chip.name,
        peak_flop_per_s=peaks,
        compute_units=float(chip.compute_units),
        cache_bytes=chip.cache_bytes,
        tiers=tuple(_tier(tier) for tier in chip.memory),
        placement=_placement(chip),
        scale_up=fabric_net(chip.scale_up),
        scale_out=fabric_net(chip.scale_out),
        efficiency=chosen,
        idle_w=None if tdp_w is None else tdp_w * power.static_share,
        tdp_w=tdp_w,
        energy_j_per_flop=(
            None
            if tdp_w is None
            else {name: activity_j_per_flop(power, tdp_w, peak) for name, peak in peaks.items()}
        ),
        step_overhead_s=engine.step_overhead_s.value + tuned_value(chip, engine, "step_overhead_s"),
        exposed_collective_fraction=engine.exposed_collective_fraction.value,
        assumptions=tuple(
            said
            for said in (missing_peak, power.note if tdp_w is not None else "", _near_compute(chip))
            if said
        ),
        tuned=Tuned(
            factors={name: tuned_value(chip, engine, f"time_{name}") for name in FACTORS},
            launch=tuned_value(chip, engine, "launch"),
            prompt_layer_s=tuned_value(chip, engine, "prompt_layer_s"),
            sequence_s=tuned_value(chip, engine, "sequence_s"),
        ),
    )


def tuned_value(chip: Chip, engine: Engine, name: str) -> float:
    """A parameter of ``catalog.tuning`` for an engine on a chip, in its unit."""
    scopes = scopes_of(vendor=chip.vendor, family=chip.family, chip=chip.name, engine=engine.name)
    return chip.tuning.value(name, scopes)


def achievable_bandwidth_bytes_per_s(
    bandwidth_bytes_per_s: float, *, outstanding_bytes: float | None, read_latency_s: float | None
) -> float:
    """Bandwidth that the bytes in flight can sustain (Little's law).

    Parameters
    ----------
    bandwidth_bytes_per_s : float
        What the interface could move. [bytes/s]
    outstanding_bytes : float or None
        Bytes that can be in flight; None = enough. [bytes]
    read_latency_s : float or None
        Latency of one access; None = negligible. [s]

    Returns
    -------
    float
        ``min(bandwidth, outstanding / latency)``. [bytes/s]
    """
    if outstanding_bytes is None or not read_latency_s:
        return bandwidth_bytes_per_s
    return min(bandwidth_bytes_per_s, outstanding_bytes / read_latency_s)


def _near_compute(chip: Chip) -> str:
    """What is left out where arithmetic sits at a memory; "" where none does."""
    names = [tier.name for tier in chip.memory if tier.near_compute]
    if not names:
        return ""
    return (
        f"{' and '.join(names)}: bandwidth inside the memory serves every operand placed there; transfers "
        "over the main interface are not modelled"
    )


def _tier(tier: MemoryTier) -> Tier:
    return Tier(
        name=tier.name,
        bandwidth_bytes_per_s=achievable_bandwidth_bytes_per_s(
            tier.bandwidth_bytes_per_s.value,
            outstanding_bytes=tier.outstanding_bytes,
            read_latency_s=_value(tier.read_latency_s),
        ),
        energy_j_per_byte=tier.energy_j_per_byte.value,
    )


def _value(quantity: Quantity | None) -> float | None:
    return None if quantity is None else quantity.value


def _placement(chip: Chip) -> dict[OperandKind, str]:
    """The nearest tier that says it holds each kind of operand."""
    placement: dict[OperandKind, str] = {}
    for kind, tier in product(OperandKind, chip.memory):
        if kind in tier.holds:
            placement.setdefault(kind, tier.name)
    missing = [kind.value for kind in OperandKind if kind not in placement]
    if missing:
        raise InputError(
            f"chip {chip.name!r}: no memory tier holds {', '.join(missing)}. "
            "Name it in the 'holds' of a tier."
        )
    return placement


def fabric_net(fabric: Fabric | None) -> Net | None:
    """A catalog fabric as the step model sees it."""
    if fabric is None:
        return None
    return Net(
        name=fabric.name,
        topology=fabric.topology,
        domain_size=fabric.domain_size,
        bandwidth_bytes_per_s=fabric.bandwidth_bytes_per_s.value,
        hop_latency_s=fabric.hop_latency_s.value,
        software_latency_s=fabric.software_latency_s.value,
        energy_j_per_byte=fabric.energy_j_per_byte.value,
        dims=fabric.dims,
        in_network_reduction=fabric.in_network_reduction,
    )
