"""Prefill and decode, explained operator by operator."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tokenroof.deploy.core import OpRow, Phase
from tokenroof.deploy.provenance import Power
from tokenroof.graph.core import Collective, Num, Op
from tokenroof.perf.core import Machine, OpTime, StepTime
from tokenroof.perf.peaks import peak_name
from tokenroof.perf.step import step_time
from tokenroof.perf.watch import watched

HOST = "host"
"""Limit under which the engine's own time per step is counted."""

FloatArray = npt.NDArray[np.float64]


class LazyPhases(Mapping[str, Phase]):
    """Phases that are worked out when they are first looked at; metrics do not need them.

    Parameters
    ----------
    makers : mapping of str to callable
        By name, in order: what gives the phase.
    """

    __slots__ = ("_made", "_makers")

    def __init__(self, makers: Mapping[str, Callable[[], Phase]]) -> None:
        self._makers = dict(makers)
        self._made: dict[str, Phase] = {}

    def __getitem__(self, name: str) -> Phase:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def phase(
    name: str,
    timed: StepTime,
    machine: Machine,
    *,
    power: Power | None,
    working_chips: float,
    idle_chips: float,
) -> Phase:
    """What one phase does and where its time goes.

    Parameters
    ----------
    name : str
        "prefill" or "decode".
    timed : StepTime
        One step, or several of them as arrays (the chunks of a prompt), which are added up.
    machine : Machine
        The chip it ran on.
    power : Power or None
        Of one chip; None leaves energy out.
    working_chips : float
        Chips that do what one chip does in all stages together (the operators' counts cover them all).
    idle_chips : float
        Chips whose static power is counted for all the time.

    Returns
    -------
    Phase
        ``by_limit_s`` gives each operator's whole time to the resource that needs most of it, and the
        host's share to "host"; it sums to ``time_s``.

    Notes
    -----
    ``mfu_fraction`` weighs the flop of each operator by the peak of its own compute dtype;
    ``mbu_fraction`` is that of the busiest memory tier.
    """
    by_limit: dict[str, float] = {HOST: _total(timed.overhead_s, timed.time_s)}
    rows, ideal_compute_s, ideal_tier_s = [], 0.0, dict.fromkeys((tier.name for tier in machine.tiers), 0.0)
    time_s = _total(timed.time_s)
    for item in timed.ops:
        limit = _charge(item, by_limit)
        row = _row(item, machine, limit, time_s)
        rows.append(row)
        ideal_compute_s += row.flop / row.peak_flop_per_s
        for tier, seconds in _stream_s(item.op, machine, row.count // item.op.count).items():
            ideal_tier_s[tier] += seconds
    return Phase(
        name=name,
        time_s=sum(by_limit.values()),
        limit=max(by_limit, key=by_limit.__getitem__),
        by_limit_s=by_limit,
        ops=tuple(rows),
        mfu_fraction=ideal_compute_s / time_s,
        mbu_fraction=max(ideal_tier_s.values(), default=0.0) / time_s,
        energy_j=_energy_j(rows, time_s, power, working_chips, idle_chips),
    )


def _energy_j(
    rows: Iterable[OpRow], time_s: float, power: Power | None, working_chips: float, idle_chips: float
) -> float | None:
    if power is None:
        return None
    dynamic_j = sum(row.energy_j for row in rows if row.energy_j is not None)
    drawn_j = dynamic_j * working_chips + power.idle_w * time_s * idle_chips
    return min(drawn_j, power.tdp_w * time_s * idle_chips)


def _total(value: Num, like: Num = 0.0) -> float:
    """Sum over the steps; a plain number counts once per step of ``like``."""
    if isinstance(value, np.ndarray):
        return float(value.sum())
    return float(value) * (like.size if isinstance(like, np.ndarray) else 1)


def _charge(item: OpTime, by_limit: dict[str, float]) -> str:
    """Add the operator's time to the limit that takes most of it, step by step; the main one."""
    own = {name: _total(spent) for name, spent in item.by_limit_s().items()}
    for name, spent in own.items():
        by_limit[name] = by_limit.get(name, 0.0) + spent
    main: str = max(own, key=own.__getitem__)
    return main


def _row(item: OpTime, machine: Machine, limit: str, phase_s: float) -> OpRow:
    op = item.op
    steps = item.time_s.size if isinstance(item.time_s, np.ndarray) else 1
    time_s = _total(item.time_s)
    flop = _count(op.work.flop, steps) * op.count
    moved = sum(_count(moved_bytes, steps) for _, moved_bytes in op.work.by_kind()) * op.count
    message = _count(op.message_bytes, steps) * op.count if isinstance(op, Collective) else 0.0
    return OpRow(
        name=op.name,
        kind=_snake(type(op).__name__),
        count=op.count * steps,
        time_s=time_s,
        share_fraction=time_s / phase_s,
        limit=limit,
        flop=flop,
        bytes=moved,
        message_bytes=message,
        intensity_flop_per_byte=flop / moved if moved else 0.0,
        achieved_flop_per_s=flop / time_s if time_s else 0.0,
        peak_flop_per_s=float(machine.peak_flop_per_s[peak_name(op, machine)]),
        energy_j=None if item.energy_j is None else _total(item.energy_j, item.time_s),
        error_fraction=_error_fraction(op, machine),
    )


def _error_fraction(op: Op, machine: Machine) -> float | None:
    """Held-out error of the operator's efficiency on this very chip; the largest of several."""
    looking, rows = watched(machine)
    step_time((op,), looking)
    own = [row.error_fraction for row in rows.seen.values() if row.chip == machine.name and row.rows]
    return max((each for each in own if math.isfinite(each)), default=None)


def _count(value: object, steps: int) -> float:
    if isinstance(value, np.ndarray):
        return float(value.sum())
    assert isinstance(value, int | float | np.integer)
    return float(value) * steps


def _stream_s(op: Op, machine: Machine, steps: int) -> dict[str, float]:
    """Ideal time of the operator's traffic by tier, all runs. [s]"""
    out: dict[str, float] = {}
    for kind, moved_bytes in op.work.by_kind():
        moved = _count(moved_bytes, steps) * op.count
        if moved:
            tier = machine.tier(kind)
            out[tier.name] = out.get(tier.name, 0.0) + moved / float(tier.bandwidth_bytes_per_s)
    return out


@lru_cache(maxsize=64)
def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
