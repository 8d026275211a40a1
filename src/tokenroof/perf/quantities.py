"""What steps do beside taking time: joules, flop, bytes by tier and by wire, and what limits them.

A step table holds the time of every section of a step on its knots. Here the same sections are
sampled on the same knots for every other additive quantity, so that the weights with which a run
interpolated the table's times give the run's total of each quantity as one dot product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, Num
from tokenroof.perf.compile import (
    EVERYTHING,
    FIELDS,
    Columns,
    Subject,
    decode_grid,
    ideal_compute_s,
    lane_arrays,
    prefill_grid,
)
from tokenroof.perf.core import Machine, Net, OpTime
from tokenroof.perf.flat import FlatLayout, Sections, flatten
from tokenroof.perf.roofline import real
from tokenroof.perf.table import StepTable

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantities(Mapping[str, Sections]):
    """Additive quantities of steps on the knots of a table, by name.

    Attributes
    ----------
    table : StepTable
        Whose knots they are.
    sections : mapping of str to Sections
        See Notes for the names.

    Notes
    -----
    All are of the busiest chip; with pipeline stages, of one chip of each stage, added up. The host's
    time per step (``table.overhead_s``) is in none of them. Collectives are counted whole except in
    times, which are net of what the engine hides behind compute.

    ============================ ======= =====================================================================
    ``time_s``                   s       the table's own
    ``time_s:<operator>``        s       of one operator ("attn.decode"); they sum to ``time_s``
    ``limit_s:<resource>``       s       each operator's whole time, given to the resource that needs most of
                                         it (``OpTime.by_limit_s``): "compute", "latency", "memory:<tier>",
                                         "network:<fabric>"; they sum to ``time_s``
    ``energy_j``                 J       arithmetic, memory and wires; nan when the chip's power is unknown
    ``compute_s``                s       arithmetic at the dense peak of each operator's compute dtype
    ``flop``                     flop    arithmetic
    ``memory_bytes:<tier>``      bytes   every operand once per operator: no re-reads by kernels, no caches
    ``memory_s:<tier>``          s       these over the tier's bandwidth: what a perfect chip would need
    ``network_bytes:<fabric>``   bytes   through one chip's share of the wires, forwarding included
    ``network_s:<fabric>``       s       these over the chip's bandwidth into the fabric, no latency and no
                                         protocol; ``OpTime.network_s``, which decides limits, is what
                                         one chip sends over the bandwidth *achieved* in the pattern
    ``latency_s``                s       launch floors, serial loops, software and hops of messages
    ============================ ======= =====================================================================
    """

    table: StepTable
    sections: Mapping[str, Sections]

    def __getitem__(self, name: str) -> Sections:
        return self.sections[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sections)

    def __len__(self) -> int:
        return len(self.sections)

    def sum(self, name: str, visits: FloatArray, layout: FlatLayout) -> float:
        """Total of one quantity over a run.

        Parameters
        ----------
        name : str
            Quantity.
        visits : FloatArray
            Weight with which the run used each entry of the flat table, shape (layout.size,).
        layout : FlatLayout
            Of that vector.
        """
        return float(visits @ flatten(self.sections[name], layout))

    def sums(self, visits: FloatArray, layout: FlatLayout) -> dict[str, float]:
        """Total of every quantity over a run, see :meth:`sum`."""
        return {name: self.sum(name, visits, layout) for name in self.sections}


@lru_cache(maxsize=8)
def compile_quantities(table: StepTable) -> Quantities:
    """Sample every quantity on the knots of a table; the same table gives the same object again.

    Parameters
    ----------
    table : StepTable
        Its subject is asked again.

    Returns
    -------
    Quantities
        As exact as the table. Steps with more than 65,536 new tokens in several chunks are
        extrapolated in proportion to their query-key pairs there and here, bytes included.
    """
    subject = table.subject
    columns = Columns(names=_names(subject), of=numbers_of)
    lanes = [
        lane_arrays(subject, columns, lane.feature, lane.dense.time_s.size - 1, lane.tail)
        for lane in table.lanes
    ]
    decode = decode_grid(subject, columns, table.seqs, table.contexts)
    prefill = prefill_grid(subject, columns, table.new, table.past)
    return Quantities(
        table=table,
        sections={
            name: Sections(
                lanes=tuple((dense[index], tail[index]) for dense, tail in lanes),
                decode=decode[index],
                prefill=prefill[index],
            )
            for index, name in enumerate(columns.names)
        },
    )


def _names(subject: Subject) -> tuple[str, ...]:
    """Every quantity of this subject: tiers and fabrics of its machine, operators of its model."""
    machine = subject.machine
    tiers = [tier.name for tier in machine.tiers]
    fabrics = [net.name for net in _nets(machine)]
    everything = Batch(**dict.fromkeys(FIELDS, EVERYTHING), decode_tokens=subject.decode_tokens)
    ops = step_ops(
        subject.model, subject.precision, subject.parallel, everything, hot_factor=subject.hot_factor
    )
    names = [
        "time_s",
        *(f"time_s:{op.name}" for op in ops),
        "limit_s:compute",
        "limit_s:latency",
        *(f"limit_s:memory:{tier}" for tier in tiers),
        *(f"limit_s:network:{fabric}" for fabric in fabrics),
        "energy_j",
        "compute_s",
        "flop",
        *(f"{what}:{tier}" for what in ("memory_bytes", "memory_s") for tier in tiers),
        *(f"{what}:{fabric}" for what in ("network_bytes", "network_s") for fabric in fabrics),
        "latency_s",
    ]
    return tuple(dict.fromkeys(names))


def numbers_of(timed: OpTime, machine: Machine) -> dict[str, Num]:
    """Every quantity of one operator, all its runs together; what it has none of is left out."""
    op = timed.op
    out: dict[str, Num] = {
        "time_s": timed.time_s,
        f"time_s:{op.name}": timed.time_s,
        "energy_j": np.nan if timed.energy_j is None else timed.energy_j,
        "compute_s": ideal_compute_s(timed, machine),
        "flop": real(op.work.flop) * op.count,
        "latency_s": timed.latency_s,
    }
    for limit, took in timed.by_limit_s().items():
        out[f"limit_s:{limit}"] = took
    for kind, moved_bytes in op.work.by_kind():
        if isinstance(moved_bytes, int) and moved_bytes == 0:
            continue
        tier, moved = machine.tier(kind), real(moved_bytes) * op.count
        _add(out, f"memory_bytes:{tier.name}", moved)
        _add(out, f"memory_s:{tier.name}", moved / tier.bandwidth_bytes_per_s)
    bandwidths = {net.name: net.bandwidth_bytes_per_s for net in _nets(machine)}
    for fabric, carried in timed.network_bytes.items():
        _add(out, f"network_bytes:{fabric}", carried)
        _add(out, f"network_s:{fabric}", carried / bandwidths[fabric])
    return out


def _add(out: dict[str, Num], name: str, value: Num) -> None:
    out[name] = out[name] + value if name in out else value


def _nets(machine: Machine) -> list[Net]:
    return [net for net in (machine.scale_up, machine.scale_out) if net is not None]
