"""What an operator and a step draw: joules of arithmetic, bytes and wires, within the board's limit."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tokenroof.catalog.efficiency import OpEfficiency, load
from tokenroof.errors import CatalogError
from tokenroof.graph.core import Num, Work
from tokenroof.perf.core import Machine

POWER = "power"
"""Operator class of the rows that split a board's power."""


class PowerShares(NamedTuple):
    """Board power at a state of load, as shares of the board's limit.

    Attributes
    ----------
    static_share : float
        Awake with nothing to do.
    compute_share : float
        Arithmetic at the full dense rate of its dtype, on top.
    note : str
        What was assumed, "" where it was measured on this chip.
    """

    static_share: float
    compute_share: float
    note: str


def power_shares(chip: str, relative: str, family: str, rows: Sequence[OpEfficiency] | None) -> PowerShares:
    """The measured split of a board's power that is nearest to this chip.

    Parameters
    ----------
    chip, relative, family : str
        Whose measurement to look for, in this order; else the first one there is.
    rows : sequence of OpEfficiency or None
        In order of precedence; the shipped ones where they say nothing of power.

    Returns
    -------
    PowerShares

    Raises
    ------
    CatalogError
        No row of class "power" is shipped: a bug of ours.
    """
    given = () if rows is None else tuple(row for row in rows if row.op == POWER)
    known = given or _shipped()
    if not known:
        raise CatalogError("no efficiency row of class 'power', not even a shipped one.")
    row = next(
        (row for name in (chip, relative, family) for row in known if name and row.chip == name), known[0]
    )
    note = (
        ""
        if row.chip == chip
        else f"power: shares of the board's limit as measured on {row.chip} "
        f"(error there {100 * row.error_fraction:.0f} % on operators that the fit did not see)"
    )
    return PowerShares(row.parameters["static_share"], row.parameters["compute_share"], note)


@functools.cache
def _shipped() -> tuple[OpEfficiency, ...]:
    return tuple(row for row in load() if row.op == POWER)


def dynamic_energy_j(work: Work, machine: Machine, peak: str, time_s: Num) -> Num | None:
    """Energy of the arithmetic and of every byte through its tier; wires and static power excluded.

    Parameters
    ----------
    work : Work
        Of one run.
    machine : Machine
        Energies of a flop and of a byte, static power and limit.
    peak : str
        Compute dtype.
    time_s : Num
        Of one run: what the board's limit leaves above the static power bounds the energy. [s]

    Returns
    -------
    Num or None
        None when the chip's power is unknown. [J]
    """
    if machine.energy_j_per_flop is None or machine.tdp_w is None or machine.idle_w is None:
        return None
    flop = work.flop
    energy: Num = (flop.astype(np.float64) if isinstance(flop, np.ndarray) else float(flop)) * (
        machine.energy_j_per_flop[peak]
    )
    for kind, moved_bytes in work.by_kind():
        if isinstance(moved_bytes, int) and moved_bytes == 0:
            continue
        energy = energy + moved_bytes * machine.tier(kind).energy_j_per_byte
    return _lower(energy, (machine.tdp_w - machine.idle_w) * time_s)


def whole_energy_j(dynamic_j: Num | None, machine: Machine, time_s: Num) -> Num | None:
    """Dynamic energy plus static power over a time, on one chip, never above the board's limit.

    Parameters
    ----------
    dynamic_j : Num or None
        Of arithmetic, memory and wires in that time. [J]
    machine : Machine
        Static power and limit.
    time_s : Num
        [s]

    Returns
    -------
    Num or None
        ``min(idle_w * time + dynamic, tdp_w * time)``; None when the chip's power is unknown. [J]
    """
    if dynamic_j is None or machine.idle_w is None or machine.tdp_w is None:
        return None
    return _lower(dynamic_j + machine.idle_w * time_s, machine.tdp_w * time_s)


def _lower(a: Num, b: Num) -> Num:
    if isinstance(a, float | int) and isinstance(b, float | int):
        return a if a <= b else b
    out: Num = np.minimum(a, b)
    return out
