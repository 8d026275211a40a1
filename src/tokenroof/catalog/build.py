"""From validated catalog files to the nouns of ``catalog.core``, with the rules that span fields."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from tokenroof.catalog.core import (
    Chip,
    Claim,
    Engine,
    Fabric,
    MemoryTier,
    Node,
    NodeLink,
    OperandKind,
    Quantity,
    Row,
    Source,
)
from tokenroof.catalog.files import merge
from tokenroof.catalog.schema import (
    ChipFile,
    EngineFile,
    FabricFile,
    NodeFile,
    RowFile,
    SourceFile,
    TierFile,
    read_quantity,
    unit_of,
    validate,
)
from tokenroof.errors import CatalogError

_TIER_NOTE = "Driver total not known: taken as the marketed capacity."

# Groups of economics whose figures share one unit; in the others the field's suffix says it.
GROUP_UNITS = {
    "pue": "1",
    "electricity": "USD/kWh",
    "colocation": "USD/kW/month",
    "all_in_power": "W",
    "rack_power": "W",
    "server_overhead": "1",
    "server_power_shares": "1",
    "embodied": "kgCO2e",
    "grid": "kgCO2e/kWh",
    "api_prices": "USD/Mtok",
    "benchmark_cost": "USD/Mtok",
    "reference_mfu": "1",
}


def extend_chip(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A chip file laid over the one it extends.

    Beyond :func:`~tokenroof.catalog.files.merge`: a new marketed capacity drops the inherited usable one,
    and an operand kind that a tier of ``change`` claims leaves the tier that held it.
    """
    merged = merge(base, {key: value for key, value in change.items() if key != "extends"})
    tiers = change.get("memory")
    if not isinstance(tiers, Mapping):
        return merged
    claimed: set[object] = set()
    for name, tier in tiers.items():
        if isinstance(tier, Mapping):
            if tier.get("marketed_capacity") is not None and "usable_capacity" not in tier:
                merged["memory"][name] = {**merged["memory"][name]}
                merged["memory"][name].pop("usable_capacity", None)
            claimed |= {kind for kind in tier.get("holds") or () if isinstance(kind, str)}
    for name, tier in merged["memory"].items():
        given = tiers.get(name)
        states_itself = isinstance(given, Mapping) and "holds" in given
        if isinstance(tier, Mapping) and not states_itself:
            left = [kind for kind in tier.get("holds") or () if kind not in claimed]
            merged["memory"][name] = {**tier, "holds": left}
    return merged


def build_chip(given: Mapping[str, Any], *, path: Path, name: str) -> Chip:
    """A chip from its merged file.

    Raises
    ------
    CatalogError
        A field is missing, unknown or malformed, or fields contradict each other.
    """
    file = validate(ChipFile, given, path=path, name=name)
    here = f"{path}: {name}"
    return Chip(
        name=name,
        title=file.title,
        vendor=file.vendor,
        year=file.year,
        family=file.family,
        relative=file.relative,
        peak_flop_per_s={key: _positive(f"{here}.peak.{key}", peak) for key, peak in file.peak.items()},
        compute_units=1
        if file.compute_units is None
        else _integer(f"{here}.compute_units", file.compute_units),
        cache_bytes=0.0 if file.cache is None else file.cache.value,
        memory=_memory(here, file),
        scale_up=_fabric(f"{here}.scale_up", file.scale_up),
        scale_out=_fabric(f"{here}.scale_out", file.scale_out),
        host_link_bytes_per_s=file.host_link,
        tdp_w=file.tdp,
        all_in_power_w=file.all_in_power,
        die_area_mm2=file.die_area,
        embodied_kgco2e=file.embodied,
        prices_usd_per_hour={str(key): price for key, price in file.prices.items()},
        node=file.node,
        process=file.process,
        boost_clock_hz=file.boost_clock,
        on_chip=file.on_chip,
        projection=file.projection,
        notes=file.notes,
    )


def _memory(here: str, file: ChipFile) -> tuple[MemoryTier, ...]:
    names = file.memory_order or tuple(file.memory)
    if sorted(names) != sorted(file.memory):
        known = ", ".join(file.memory)
        raise CatalogError(f"{here}.memory_order: expected each of {known} once, got {list(names)}.")
    if not names:
        raise CatalogError(f"{here}.memory: no tier. A chip needs at least one memory tier.")
    for kind in OperandKind:
        holders = [name for name in names if kind in file.memory[name].holds]
        if len(holders) != 1:
            what = f"held by both {' and '.join(holders)}" if holders else "held by no tier"
            raise CatalogError(f"{here}.memory: {kind} is {what}. Name it under 'holds' of one tier.")
    return tuple(_tier(f"{here}.memory.{name}", name, file.memory[name]) for name in names)


def _tier(here: str, name: str, tier: TierFile) -> MemoryTier:
    marketed = _positive(f"{here}.marketed_capacity", tier.marketed_capacity)
    usable = tier.usable_capacity or replace(marketed, claim=Claim.ASSUMPTION, note=_TIER_NOTE)
    page = None if tier.page is None else _integer(f"{here}.page", tier.page)
    outstanding = None if tier.outstanding is None else _positive(f"{here}.outstanding", tier.outstanding)
    if outstanding is not None and tier.read_latency is None:
        raise CatalogError(f"{here}.outstanding: needs read_latency (bandwidth <= outstanding / latency).")
    return MemoryTier(
        name=name,
        technology=tier.technology,
        marketed_capacity_bytes=marketed,
        usable_capacity_bytes=_positive(f"{here}.usable_capacity", usable),
        bandwidth_bytes_per_s=_positive(f"{here}.bandwidth", tier.bandwidth),
        holds=tier.holds,
        energy_j_per_byte=tier.energy,
        read_latency_s=tier.read_latency,
        page_bytes=page,
        outstanding_bytes=None if outstanding is None else outstanding.value,
        near_compute=tier.near_compute,
    )


def _fabric(here: str, fabric: FabricFile | None) -> Fabric | None:
    if fabric is None:
        return None
    if fabric.domain_size < 2:
        raise CatalogError(f"{here}.domain_size: got {fabric.domain_size}. A fabric joins two chips or more.")
    _check_torus(here, fabric.topology, fabric.dims, fabric.domain_size)
    return Fabric(
        name=fabric.name or fabric.link,
        link=fabric.link,
        topology=fabric.topology,
        domain_size=fabric.domain_size,
        bandwidth_bytes_per_s=_positive(f"{here}.bandwidth", fabric.bandwidth),
        hop_latency_s=fabric.hop_latency,
        software_latency_s=fabric.software_latency,
        energy_j_per_byte=fabric.energy,
        dims=fabric.dims,
        in_network_reduction=fabric.in_network_reduction,
    )


def _check_torus(here: str, topology: str, dims: tuple[int, ...], size: int) -> None:
    axes = {"torus2d": 2, "torus3d": 3}.get(topology, 0)
    if len(dims) != axes or (axes and (math.prod(dims) != size or min(dims) < 1)):
        want = f"{axes} extents whose product is {size}" if axes else "none"
        raise CatalogError(f"{here}.dims: expected {want} ({topology}), got {list(dims)}.")


def _positive(here: str, quantity: Quantity) -> Quantity:
    if quantity.value <= 0:
        raise CatalogError(f"{here}: expected more than 0 {quantity.unit}, got {quantity.value:g}.")
    return quantity


def _integer(here: str, quantity: Quantity) -> int:
    if quantity.value < 1 or quantity.value != int(quantity.value):
        raise CatalogError(f"{here}: expected a whole number from 1, got {quantity.value:g}.")
    return int(quantity.value)


def build_row(given: Mapping[str, Any], *, path: Path, name: str) -> Row:
    """A memory technology or link row."""
    file = validate(RowFile, given, path=path, name=name)
    return Row(
        name=name,
        title=file.title,
        kind=file.kind,
        fields=file.fields,
        projection=file.projection,
        notes=file.notes,
    )


def build_node(given: Mapping[str, Any], *, path: Path, name: str) -> Node:
    """A board, rack, pod or server."""
    file = validate(NodeFile, given, path=path, name=name)
    if file.chips_per_node < 1:
        raise CatalogError(f"{path}: {name}.chips_per_node: got {file.chips_per_node}. Write 1 or more.")
    _check_torus(f"{path}: {name}", file.scale_up_topology, file.scale_up_dims, file.chips_per_node)
    return Node(
        name=name,
        title=file.title,
        form=file.form,
        chips_per_node=file.chips_per_node,
        scale_up_topology=file.scale_up_topology,
        scale_up_dims=file.scale_up_dims,
        host_power_w=file.host_power,
        power_w=file.power,
        source=file.source,
        links=tuple(
            NodeLink(
                ends=each.ends,
                link=each.link,
                bandwidth_bytes_per_s=each.bandwidth,
                latency_s=each.latency,
            )
            for each in file.links
        ),
        notes=file.notes,
    )


def build_engine(given: Mapping[str, Any], *, path: Path, name: str) -> Engine:
    """A serving engine."""
    file = validate(EngineFile, given, path=path, name=name)
    here = f"{path}: {name}"
    for field, fraction in (
        ("memory_fraction", file.memory_fraction.value),
        ("exposed_collective_fraction", file.exposed_collective_fraction.value),
    ):
        if fraction > 1:
            raise CatalogError(f"{here}.{field}: expected a fraction 0..1, got {fraction:g}.")
    return Engine(
        name=name,
        budget_rule=file.budget_rule,
        memory_fraction=_positive(f"{here}.memory_fraction", file.memory_fraction).value,
        block_tokens=_integer(f"{here}.block_tokens", file.block_tokens),
        max_num_batched_tokens=_integer(f"{here}.max_num_batched_tokens", file.max_num_batched_tokens),
        max_num_seqs=_integer(f"{here}.max_num_seqs", file.max_num_seqs),
        chunked_prefill=file.chunked_prefill,
        step_overhead_s=file.step_overhead,
        context_bytes=file.context,
        graph_bytes=file.graph,
        runtime_bytes=file.runtime,
        communicator_bytes=file.communicator,
        sampler_bytes_per_logit=file.sampler_per_logit,
        exposed_collective_fraction=file.exposed_collective_fraction,
        kernels=file.kernels,
        settings={
            "memory_fraction": file.memory_fraction,
            "block_tokens": file.block_tokens,
            "max_num_batched_tokens": file.max_num_batched_tokens,
            "max_num_seqs": file.max_num_seqs,
        },
    )


def build_source(given: Mapping[str, Any], *, path: Path, name: str) -> Source:
    """A source."""
    file = validate(SourceFile, given, path=path, name=name)
    return Source(id=name, citation=file.citation, url=file.url, licence=file.licence, date=file.date)


def build_group(given: object, *, path: Path, name: str) -> dict[str, Quantity]:
    """One group of economics figures."""
    if not isinstance(given, Mapping):
        raise CatalogError(f"{path}: {name}: expected named figures, got {given!r}.")
    out: dict[str, Quantity] = {}
    for field, value in given.items():
        try:
            out[str(field)] = read_quantity(value, GROUP_UNITS.get(name) or unit_of(str(field)))
        except ValueError as error:
            raise CatalogError(f"{path}: {name}.{field}: {str(error).rstrip('.')}.") from None
    return out


def quantities(thing: object) -> Iterator[Quantity]:
    """Every quantity inside a noun: its mappings, tiers, fabrics and links included."""
    if isinstance(thing, Quantity):
        yield thing
    elif isinstance(thing, Mapping):
        for value in thing.values():
            yield from quantities(value)
    elif isinstance(thing, tuple):
        for value in thing:
            yield from quantities(value)
    elif is_dataclass(thing) and not isinstance(thing, type):
        for field in fields(thing):
            yield from quantities(getattr(thing, field.name))


def source_ids(thing: object) -> set[str]:
    """Every source that a noun names."""
    found = {quantity.source for quantity in quantities(thing)}
    return found | {thing.source} if isinstance(thing, Node) else found
