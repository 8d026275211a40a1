"""Energy: from what chips draw to what the meter of the building counts."""

from __future__ import annotations

import numpy as np

from tokenroof.cost.money import Num

JOULES_PER_KWH = 3.6e6


def chip_power_w(*, dynamic_energy_j: Num, time_s: Num, idle_w: Num, tdp_w: Num) -> Num:
    """Average power of one chip over a duration.

    Parameters
    ----------
    dynamic_energy_j : Num
        Of arithmetic, memory and wires in that time. [J]
    time_s : Num
        [s]
    idle_w : Num
        Static power. [W]
    tdp_w : Num
        Limit that the board enforces. [W]

    Returns
    -------
    Num
        ``min(tdp, idle + dynamic / time)``. [W]
    """
    power = idle_w + dynamic_energy_j / time_s
    return (
        np.minimum(power, tdp_w)
        if isinstance(power, np.ndarray) or isinstance(tdp_w, np.ndarray)
        else min(power, tdp_w)
    )


def facility_power_w(*, chip_w: Num, server_overhead_factor: Num, pue: Num) -> Num:
    """Power at the meter for one chip.

    Parameters
    ----------
    chip_w : Num
        Average power of the chip. [W]
    server_overhead_factor : Num
        Server power over accelerator power: host CPUs, DRAM, NICs, idle reserve.
    pue : Num
        Facility power over IT power.

    Returns
    -------
    Num
        [W]

    Notes
    -----
    Google's median prompt splits 0.58 accelerators, 0.25 host, 0.10 idle reserve, 0.08 overhead:
    the server side is 1.60 times the accelerators, and 0.58 x 1.60 x 1.09 is the whole.
    """
    return chip_w * server_overhead_factor * pue


def energy_j_per_token(*, power_w: Num, tokens_per_s: Num) -> Num:
    """Energy of one token at a power and a rate. [J]

    >>> energy_j_per_token(power_w=700.0, tokens_per_s=350.0)
    2.0
    """
    return power_w / tokens_per_s


def kwh(energy_j: Num) -> Num:
    """Joules in kilowatt-hours. [kWh]

    >>> kwh(7.2e6)
    2.0
    """
    return energy_j / JOULES_PER_KWH
