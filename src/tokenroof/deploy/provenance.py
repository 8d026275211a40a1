"""Where an answer's figures come from, and what was assumed on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.core import Chip, Claim, Engine, Fabric, Quantity
from tokenroof.catalog.model import ModelSpec
from tokenroof.deploy.core import Pool
from tokenroof.perf.core import Machine
from tokenroof.perf.machine import build_machine


class _Same:
    """A cache key that is the identity of a value; chips and engines hold mappings and do not hash."""

    __slots__ = ("chip", "engine")

    def __init__(self, chip: Chip, engine: Engine) -> None:
        self.chip, self.engine = chip, engine

    def __hash__(self) -> int:
        return hash((id(self.chip), id(self.engine)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.chip is self.chip and other.engine is self.engine


def machine_of(pool: Pool) -> Machine:
    """The machine of a pool's chip and engine; the same objects give the same machine again."""
    return _machine(_Same(pool.chip, pool.engine))


@lru_cache(maxsize=256)
def _machine(key: _Same) -> Machine:
    return build_machine(key.chip, key.engine)


def quantities(pool: Pool) -> Iterator[Quantity]:
    """Every catalog number of the chip and the engine that times and memory depend on."""
    chip, engine = pool.chip, pool.engine
    yield from chip.peak_flop_per_s.values()
    for tier in chip.memory:
        yield from (tier.usable_capacity_bytes, tier.bandwidth_bytes_per_s, tier.energy_j_per_byte)
        if tier.read_latency_s is not None:
            yield tier.read_latency_s
    chips = pool.parallel.chips
    if chips > 1 and chip.scale_up is not None:
        yield from _fabric(chip.scale_up)
    if (
        chips > 1
        and chip.scale_out is not None
        and (chip.scale_up is None or chips > chip.scale_up.domain_size)
    ):
        yield from _fabric(chip.scale_out)
    if chip.tdp_w is not None:
        yield chip.tdp_w
    yield from (engine.step_overhead_s, engine.context_bytes, engine.graph_bytes)
    yield engine.exposed_collective_fraction


def _fabric(fabric: Fabric) -> tuple[Quantity, ...]:
    return (
        fabric.bandwidth_bytes_per_s,
        fabric.hop_latency_s,
        fabric.software_latency_s,
        fabric.energy_j_per_byte,
    )


def source_lines(catalog: Catalog, ids: Iterable[str], model: ModelSpec) -> tuple[str, ...]:
    """Lines "id: citation" of everything used, each once, in order of use.

    A source that no catalog file describes (a user's efficiency row, the address a model was read
    from) stands for itself.
    """
    known = frozenset(catalog.sources())
    named = [name for name in dict.fromkeys(ids) if name]
    lines = [f"{name}: {catalog.source(name).citation}" if name in known else name for name in named]
    if model.source:
        lines.append(
            f"{model.source}: {catalog.source(model.source).citation}"
            if model.source in known
            else f"model {model.name}: {model.source}"
        )
    return tuple(dict.fromkeys(lines))


def projections(pools: Iterable[Pool]) -> tuple[str, ...]:
    """One sentence per chip that does not exist, or that rests on projected figures."""
    out = []
    for pool in pools:
        chip = pool.chip
        projected = [quantity for quantity in quantities(pool) if quantity.claim is Claim.PROJECTION]
        if chip.projection:
            out.append(f"projection: {chip.name} does not exist (yet); its figures are a sketch")
        elif projected:
            out.append(f"projection: {len(projected)} figures of {chip.name} are projections")
    return tuple(dict.fromkeys(out))


def borrowed(machine: Machine, seen: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """What the machine assumes, and which efficiencies (operator class, dtype) were measured elsewhere."""
    names = tuple(f"{op} {dtype} " for op, dtype in seen)
    return (
        *(f"{machine.name}: {sentence}" for sentence in machine.assumptions),
        *(
            f"efficiency: {sentence}"
            for sentence in machine.efficiency.borrowed
            if sentence.startswith(names)
        ),
    )
