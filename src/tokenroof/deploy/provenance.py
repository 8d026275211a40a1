"""Where an answer's figures come from, and what was assumed on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.core import Chip, Claim, Engine, Fabric, Quantity
from tokenroof.catalog.efficiency import OpEfficiency
from tokenroof.catalog.model import ModelSpec
from tokenroof.deploy.core import Pool
from tokenroof.perf.borrow import GENERIC, is_slow
from tokenroof.perf.core import Machine
from tokenroof.perf.machine import build_machine


class Hardware:
    """A cache key that is the identity of a chip and an engine; both hold mappings and do not hash."""

    __slots__ = ("chip", "engine")

    def __init__(self, chip: Chip, engine: Engine) -> None:
        self.chip, self.engine = chip, engine

    def __hash__(self) -> int:
        return hash((id(self.chip), id(self.engine)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hardware) and other.chip is self.chip and other.engine is self.engine


def machine_of(pool: Pool) -> Machine:
    """The machine of a pool's chip and engine; the same objects give the same machine again."""
    return _machine(Hardware(pool.chip, pool.engine))


@lru_cache(maxsize=256)
def _machine(key: Hardware) -> Machine:
    return build_machine(key.chip, key.engine, efficiencies=key.chip.efficiencies or None)


class Power(NamedTuple):
    """Static power and limit of a chip. [W]"""

    idle_w: float
    tdp_w: float


def power_of(pool: Pool) -> Power | None:
    """What the pool's chips draw; None when no figure is known, and then no energy is either."""
    machine = machine_of(pool)
    if pool.chip.tdp_w is None or machine.idle_w is None or machine.tdp_w is None:
        return None
    return Power(float(machine.idle_w), float(machine.tdp_w))


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
    yield from (engine.runtime_bytes, engine.sampler_bytes_per_logit, engine.exposed_collective_fraction)
    if chips > 1:
        yield engine.communicator_bytes


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
    """What the machine assumes, and which efficiencies (operator class, dtype) are no good guide.

    That is those that were measured elsewhere, and kernels that reach so little of the bandwidth that an
    engine would rather run another.
    """
    keys = tuple(seen)
    names = tuple(f"{op} {dtype} " for op, dtype in keys)
    return (
        *(f"{machine.name}: {sentence}" for sentence in machine.assumptions),
        *(
            f"efficiency: {sentence}"
            for sentence in machine.efficiency.borrowed
            if sentence.startswith(names)
        ),
        *_slow(machine, keys),
    )


class Evidence(NamedTuple):
    """What operator times rest on: how far from a measurement (0 = measured), and in words."""

    distance: int
    text: str

    @property
    def grounded(self) -> bool:
        """Measured on the very chip."""
        return self.distance < _ELSEWHERE


_MEASURED_OPS = frozenset(
    {
        "gemm", "moe", "attention_decode", "attention_prefill", "mla_decode", "mla_prefill",
        "recurrent_decode", "recurrent_prefill",
    }
)  # fmt: skip
_FORMAT, _FRAMEWORK, _ELSEWHERE, _SKETCH = 1, 2, 3, 4


def evidence(pools: Iterable[tuple[Pool, Iterable[tuple[tuple[str, str], OpEfficiency]]]]) -> Evidence:
    """The weakest footing of all pools.

    Parameters
    ----------
    pools : iterable of (Pool, rows)
        Each with the efficiencies that its operators look up, by operator class and dtype. Products of
        matrices, experts, attention and recurrent layers count.
    """
    found = [
        _footing(pool, dtype, row) for pool, rows in pools for (op, dtype), row in rows if op in _MEASURED_OPS
    ]
    worst = max(each.distance for each in found)
    texts = dict.fromkeys(each.text for each in found if each.distance == worst)
    return Evidence(worst, f"borrowed from {', '.join(texts)}" if worst == _ELSEWHERE else next(iter(texts)))


def _footing(pool: Pool, dtype: str, row: OpEfficiency) -> Evidence:
    """How near a row is to what it stands for; one from elsewhere is named by its chip."""
    chip = pool.chip
    if chip.projection or (row.chip == chip.name and not row.rows):
        return Evidence(_SKETCH, "sketch")
    if row.chip != chip.name:
        return Evidence(_ELSEWHERE, "the median of all chips" if row.chip == GENERIC else row.chip)
    if row.kernels != pool.engine.kernels:
        return Evidence(_FRAMEWORK, "same chip, other framework")
    return Evidence(_FORMAT, "same chip, other format") if row.dtype != dtype else Evidence(0, "measured")


def _slow(machine: Machine, keys: Iterable[tuple[str, str]]) -> Iterator[str]:
    """One sentence per product of matrices whose kernel was measured far below the bandwidth."""
    for op, dtype in keys:
        row = machine.efficiency.row(op, dtype) if op in ("gemm", "moe") else None
        if row is not None and is_slow(row):
            fraction = row.parameters["memory_fraction"]
            yield (
                f"efficiency: {op} {dtype} with {row.kernels} on {row.chip} was measured at "
                f"{fraction:.0%} of the memory bandwidth ({row.kernel or row.form}); "
                "another format may be faster"
            )
