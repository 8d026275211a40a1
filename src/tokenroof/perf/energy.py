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
"""Operator class of the rows that say how a board's power follows what it does."""
POWER_INTERVAL = "power_interval"
"""Operator class of the rows that say how far measured power lies from it."""
ANY_OPERATOR = "any"


class PowerShares(NamedTuple):
    """How a board's power follows what it does.

    Attributes
    ----------
    static_share : float
        Awake with nothing to do, part of the board's limit.
    half_fraction : float
        Rate of issued arithmetic, as part of the dense peak, that alone draws half of what the limit
        leaves above the static power.
    note : str
        What was assumed, "" where it was measured on this chip.
    """

    static_share: float
    half_fraction: float
    note: str


class PowerInterval(NamedTuple):
    """Factors on a modelled power, and on an energy per token, between which measured ones lie.

    Attributes
    ----------
    low_factor, high_factor : float
        5 % and 95 % quantile of measured over modelled power.
    note : str
        Whose measurements they are, and what was widened.
    """

    low_factor: float
    high_factor: float
    note: str


def power_shares(chip: str, relative: str, family: str, rows: Sequence[OpEfficiency] | None) -> PowerShares:
    """The measured power of a board that is nearest to this chip.

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
        No row of class "power" is shipped (a bug of ours), or a row lacks one of its numbers.
    """
    given = () if rows is None else tuple(row for row in rows if row.op == POWER)
    known = given or _shipped(POWER)
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
    try:
        return PowerShares(row.parameters["static_share"], row.parameters["half_fraction"], note)
    except KeyError as error:
        raise CatalogError(
            f"efficiency row 'power' of {row.chip}: no {error.args[0]}, given are "
            f"{', '.join(row.parameters) or 'none'}. Write 'static_share=... half_fraction=...'."
        ) from None


def power_interval(chip: str, op: str = ANY_OPERATOR) -> PowerInterval:
    """Between which factors of the modelled power, and energy per token, measured ones lie (90 %).

    Parameters
    ----------
    chip : str
        Name of the chip; one that nobody measured gets the interval of the one measured, wider.
    op : str
        "attention_decode", "attention_prefill", "moe", or "any" for all of them together, which is also
        what operators without measured power get.

    Returns
    -------
    PowerInterval

    Raises
    ------
    CatalogError
        No row of class "power_interval" is shipped: a bug of ours.

    Notes
    -----
    Quantiles over operators that the fit did not see. The time of an operator has an error of its own;
    for the energy of a token combine both.
    """
    known = _shipped(POWER_INTERVAL)
    rows = {row.kernel: row for row in known}
    row = rows.get(op) or rows.get(ANY_OPERATOR)
    if row is None:
        raise CatalogError("no efficiency row of class 'power_interval', not even a shipped one.")
    numbers = row.parameters
    if row.chip == chip:
        return PowerInterval(numbers["low_factor"], numbers["high_factor"], f"measured on {row.chip}")
    wide = numbers["transfer_factor"]
    note = f"measured on {row.chip}, widened by a factor of {wide:g} for {chip} (assumption)"
    return PowerInterval(
        float(np.exp(-np.hypot(np.log(numbers["low_factor"]), np.log(wide)))),
        float(np.exp(np.hypot(np.log(numbers["high_factor"]), np.log(wide)))),
        note,
    )


@functools.cache
def _shipped(op: str) -> tuple[OpEfficiency, ...]:
    return tuple(row for row in load() if row.op == op)


def activity_j_per_flop(shares: PowerShares, tdp_w: float, peak_flop_per_s: Num) -> Num:
    """Energy of an issued flop on a board that does little else. [J/flop]

    With the instructions, the operands and the clocks that come with it, so far above the arithmetic
    alone; :func:`within_limit` bends the sum as the limit nears.
    """
    return (1.0 - shares.static_share) * tdp_w / (shares.half_fraction * peak_flop_per_s)


def within_limit(activity_j: Num, room_j: Num) -> Num:
    """Dynamic energy of some activity where the board's limit leaves so much.

    ``activity * room / (activity + room)``: all of the activity while it is small, all of the room at
    most. A board near its limit lowers its clock and voltage, and bursts within an operator reach the
    limit before the mean does. More activity and more time both give more energy.

    Parameters
    ----------
    activity_j : Num
        Of arithmetic and memory, were there no limit. [J]
    room_j : Num
        What the limit leaves above the static power in the time. [J]

    Returns
    -------
    Num
        Not more than either. [J]
    """
    both = activity_j + room_j
    if isinstance(both, float | int):
        return activity_j * room_j / both if both > 0.0 else 0.0
    bent: Num = np.where(both > 0.0, activity_j * room_j / np.maximum(both, 1e-300), 0.0)
    return bent


def dynamic_energy_j(
    work: Work, machine: Machine, peak: str, time_s: Num, issued_factor: Num = 1.0
) -> Num | None:
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
    issued_factor : Num
        Arithmetic that the kernel issues over what was asked for (``perf.issue``).

    Returns
    -------
    Num or None
        None when the chip's power is unknown. [J]
    """
    if machine.energy_j_per_flop is None or machine.tdp_w is None or machine.idle_w is None:
        return None
    flop = work.flop
    energy: Num = (flop.astype(np.float64) if isinstance(flop, np.ndarray) else float(flop)) * (
        machine.energy_j_per_flop[peak] * issued_factor
    )
    for kind, moved_bytes in work.by_kind():
        if isinstance(moved_bytes, int) and moved_bytes == 0:
            continue
        energy = energy + moved_bytes * machine.tier(kind).energy_j_per_byte
    return within_limit(energy, (machine.tdp_w - machine.idle_w) * time_s)


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
