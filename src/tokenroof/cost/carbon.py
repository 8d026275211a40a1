"""Carbon: of the electricity used, and of the hardware's making."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.cost.energy import kwh
from tokenroof.cost.money import HOURS_PER_YEAR, SECONDS_PER_HOUR, TOKENS_PER_MTOK, Num, check_utilisation

BOARD_MEMORY_BYTES = 80e9
BOARD_DIE_MM2 = 814.0
"""DRAM and logic area of one H100 on the HGX board that unpublished footprints are scaled from."""
ESTIMATE_LOW, ESTIMATE_HIGH = 0.77, 1.95
"""Range around the estimate: published A100 figures (127.6 kg a card, 318 kg with its server share)
over what the estimate gives for one (165 kg)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embodied:
    """Carbon of making one chip, with its range. [kgCO2e]"""

    kgco2e: float
    low_kgco2e: float
    high_kgco2e: float
    note: str


def operational_kgco2e(*, facility_energy_j: Num, grid_kgco2e_per_kwh: Num) -> Num:
    """Carbon of electricity.

    Parameters
    ----------
    facility_energy_j : Num
        At the meter, cooling included. [J]
    grid_kgco2e_per_kwh : Num
        Average intensity of the grid. [kgCO2e/kWh]

    Returns
    -------
    Num
        [kgCO2e]
    """
    return kwh(facility_energy_j) * grid_kgco2e_per_kwh


def embodied_share_kgco2e(
    *, chip_s: Num, embodied_kgco2e: Num, lifetime_years: Num, utilisation_fraction: Num = 1.0
) -> Num:
    """Share of the hardware's making that some chip time carries.

    Parameters
    ----------
    chip_s : Num
        Chips x seconds of service. [s]
    embodied_kgco2e : Num
        Of one chip and its board share. [kgCO2e]
    lifetime_years : Num
        Over which it is written off linearly. [years]
    utilisation_fraction : Num
        Part of the lifetime that serves; the idle part is carried by the served one.

    Returns
    -------
    Num
        [kgCO2e]
    """
    check_utilisation(utilisation_fraction)
    lifetime_s = lifetime_years * HOURS_PER_YEAR * SECONDS_PER_HOUR
    return embodied_kgco2e * chip_s / (lifetime_s * utilisation_fraction)


def kgco2e_per_mtok(*, kgco2e_per_s: Num, tokens_per_s: Num) -> Num:
    """Carbon of a million tokens at a rate. [kgCO2e/Mtok]"""
    return kgco2e_per_s / tokens_per_s * TOKENS_PER_MTOK


def estimate_embodied(
    *,
    die_area_mm2: float,
    memory_bytes: float,
    board_kgco2e: float,
    memory_share: float,
    ics_share: float,
) -> Embodied:
    """Embodied carbon of a chip that nobody published, by ratio to the HGX H100 board.

    Parameters
    ----------
    die_area_mm2 : float
        Logic area, all dies. [mm2]
    memory_bytes : float
        All DRAM on the package or board. [bytes]
    board_kgco2e : float
        One H100 with its share of the HGX board, cradle to gate. [kgCO2e]
    memory_share, ics_share : float
        Parts of it that DRAM and ICs make.

    Returns
    -------
    Embodied
        With a range and a note that says it is an assumption.

    Notes
    -----
    NVIDIA's product carbon footprint splits the HGX H100 board into memory 42 %, ICs 25 %, the rest
    33 % (thermal, mechanical, boards). Memory is scaled by capacity, ICs by logic area, the rest is
    kept. It gives 300 kg for a B200 (1600 mm2, 192 GB) against the 284 kg published.

    Examples
    --------
    >>> board = {"board_kgco2e": 164.0, "memory_share": 0.42, "ics_share": 0.25}
    >>> round(estimate_embodied(die_area_mm2=814.0, memory_bytes=80e9, **board).kgco2e, 1)
    164.0
    """
    memory = board_kgco2e * memory_share * memory_bytes / BOARD_MEMORY_BYTES
    ics = board_kgco2e * ics_share * die_area_mm2 / BOARD_DIE_MM2
    total = memory + ics + board_kgco2e * (1.0 - memory_share - ics_share)
    return Embodied(
        kgco2e=total,
        low_kgco2e=total * ESTIMATE_LOW,
        high_kgco2e=total * ESTIMATE_HIGH,
        note=(
            "assumption: scaled from the HGX H100 board by memory capacity and logic area; "
            f"range {ESTIMATE_LOW:g} to {ESTIMATE_HIGH:g} times"
        ),
    )
