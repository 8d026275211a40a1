"""The figures that money, energy and carbon are counted with, taken from the catalog."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.catalog.core import Chip, Economics, Quantity
from tokenroof.cost.carbon import estimate_embodied
from tokenroof.cost.money import check_utilisation, tco
from tokenroof.errors import InputError, UnknownNameError

CLOUD = "cloud"
TCO = "tco"
GIVEN = "given"
"""A price of the user's own: one for all chips, or under this name in the prices of a chip."""
PLANS = (CLOUD, "cloud_low", "cloud_median", "cloud_high", "own_hyperscaler", "own_neocloud", "rent_3yr", TCO)
"""Ways to pay for a chip-hour: market prices, published ownership costs, or computed here. "cloud" is
the lowest on-demand price, which is quoted for more chips than a median, so that chips compare alike."""

CAPITAL_ROWS = {"h100": "h100_cluster_per_gpu_usd", "gb200-nvl72": "gb200_nvl72_per_gpu_usd"}
"""Chips whose capital cost, server and network included, is in the catalog."""

DRAM = ("hbm", "gddr", "lpddr", "ddr", "dram3d", "hibl", "hizq")
"""How the names of DRAM technologies begin; what else a chip reads from is left out of its footprint."""

_EMBODIED_ROWS = {
    "kgco2e": ("embodied", "h100"),
    "memory_share": ("embodied_shares", "hgx_h100_memory_fraction"),
    "ics_share": ("embodied_shares", "hgx_h100_ics_fraction"),
}
"""The board that an unpublished footprint is scaled from."""

_US, _EU = "us_industrial_2024", "eu_non_household_2024"
REGIONS = {
    "us": (_US, "us_2024"),
    "eu": (_EU, "eu27_2024"),
    "china": ("china_industrial", "china_2024"),
    "world": (_US, "world_2025"),
    "uk": (_EU, "uk_2024"),
    "france": (_EU, "france_2024"),
    "germany": (_EU, "germany_2024"),
    "sweden": (_EU, "sweden_2024"),
    "poland": (_EU, "poland_2024"),
    "brazil": (_US, "brazil_2024"),
    "canada": (_US, "canada_2024"),
    "india": (_US, "india_2024"),
    "japan": (_US, "japan_2024"),
}
"""Electricity price row and grid row by region."""

_CLOUD_PRICES = ("cloud_low", "cloud_median", "cloud_high")
_PRICED_ELSEWHERE = ("world", "brazil", "canada", "india", "japan")


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBasis:
    """What one chip's time, energy and making cost.

    Attributes
    ----------
    plan : str
        How the chip-hour is paid, see :data:`PLANS`.
    usd_per_chip_hour : float or None
        None when the catalog has no figure for this chip and plan. [USD/h]
    utilisation_fraction : float
        Part of the paid and amortised hours that serve.
    usd_per_kwh : float
        Electricity. [USD/kWh]
    pue : float
        Facility power over IT power.
    server_overhead_factor : float
        Server power over accelerator power.
    grid_kgco2e_per_kwh : float
        [kgCO2e/kWh]
    embodied_kgco2e, embodied_low_kgco2e, embodied_high_kgco2e : float or None
        Making of one chip and its board share; None when not even an estimate is possible. [kgCO2e]
    lifetime_years : float
        Linear write-off of the embodied carbon. [years]
    notes : tuple of str
        What was assumed or is missing.
    sources : tuple of str
        Rows of ``sources.yaml`` used.
    """

    plan: str
    usd_per_chip_hour: float | None
    utilisation_fraction: float
    usd_per_kwh: float
    pue: float
    server_overhead_factor: float
    grid_kgco2e_per_kwh: float
    embodied_kgco2e: float | None
    embodied_low_kgco2e: float | None
    embodied_high_kgco2e: float | None
    lifetime_years: float
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


def basis(
    economics: Economics,
    chip: Chip,
    *,
    price: str = CLOUD,
    region: str = "us",
    pue: str = "industry_latest",
    utilisation_fraction: float = 1.0,
    usd_per_chip_hour: float | None = None,
    capex_usd: float | None = None,
) -> CostBasis:
    """The cost basis of one chip.

    Parameters
    ----------
    economics : Economics
        Figures of the catalog.
    chip : Chip
        Its prices, power, die and embodied carbon.
    price : str
        One of :data:`PLANS`, or :data:`GIVEN`; "tco" computes ownership from capital, power and upkeep.
    region : str
        One of :data:`REGIONS`: decides electricity price and grid.
    pue : str
        Row of the group "pue".
    utilisation_fraction : float
        Part of the hours that serve, above 0 up to 1.
    usd_per_chip_hour : float or None
        A price of the user's own, instead of the plan's. [USD/h]
    capex_usd : float or None
        Capital cost of one chip with its server and network share, for "tco". [USD]

    Returns
    -------
    CostBasis
        Money is None, with a note, when the catalog knows no price for this chip.

    Raises
    ------
    UnknownNameError
        Unknown plan, region or row.
    InputError
        A utilisation outside (0, 1], or "tco" without a capital cost.
    """
    check_utilisation(utilisation_fraction)
    if price not in (*PLANS, GIVEN):
        raise UnknownNameError("price", price, PLANS)
    if region not in REGIONS:
        raise UnknownNameError("region", region, REGIONS)
    used: list[Quantity] = []
    notes: list[str] = []

    def take(group: str, name: str) -> float:
        return _row(economics, group, name, used)

    electricity, grid = REGIONS[region]
    usd_per_kwh, factor = take("electricity", electricity), take("server_overhead", "google_server_side")
    pue_value = take("pue", pue)
    if usd_per_chip_hour is not None:
        hourly: float | None = usd_per_chip_hour
        notes.append(f"chip-hour at {usd_per_chip_hour:g} USD, as given")
    elif price == TCO:
        if chip.tdp_w is None:
            raise InputError(f"no board power is known for {chip.name}: 'tco' needs it. Add tdp to the chip.")
        capital = capex_usd if capex_usd is not None else _capital(economics, chip, used)
        hourly = float(
            tco(
                capex_usd=capital,
                lifetime_years=take("amortisation", "gpu_server_neocloud_years"),
                wacc_fraction=take("amortisation", "wacc_fraction"),
                power_w=chip.tdp_w.value * factor,
                pue=pue_value,
                usd_per_kwh=usd_per_kwh,
                opex_fraction_per_year=take("amortisation", "opex_per_capex_year_fraction"),
                colocation_usd_per_kw_month=take("colocation", "wholesale"),
            ).usd_per_hour
        )
        notes.append(
            f"chip-hour computed from a capital cost of {capital:,.0f} USD at board power "
            f"and {usd_per_kwh:g} USD/kWh"
        )
    else:
        hourly = _price(chip, price, notes, used)
    if region in _PRICED_ELSEWHERE:
        notes.append(f"no electricity price is known for {region}: US industrial average taken")
    embodied = _embodied(economics, chip, notes, used)
    return CostBasis(
        plan=price if usd_per_chip_hour is None else GIVEN,
        usd_per_chip_hour=hourly,
        utilisation_fraction=utilisation_fraction,
        usd_per_kwh=usd_per_kwh,
        pue=pue_value,
        server_overhead_factor=factor,
        grid_kgco2e_per_kwh=take("grid", grid),
        embodied_kgco2e=embodied[0],
        embodied_low_kgco2e=embodied[1],
        embodied_high_kgco2e=embodied[2],
        lifetime_years=take("amortisation", "carbon_gpu_years"),
        notes=tuple(notes),
        sources=tuple(dict.fromkeys(quantity.source for quantity in used)),
    )


def _row(economics: Economics, group: str, name: str, used: list[Quantity]) -> float:
    rows = economics.groups.get(group, {})
    if name not in rows:
        raise UnknownNameError(group, name, rows)
    used.append(rows[name])
    return rows[name].value


def _price(chip: Chip, plan: str, notes: list[str], used: list[Quantity]) -> float | None:
    prices = chip.prices_usd_per_hour
    name = next((name for name in (_CLOUD_PRICES if plan == CLOUD else (plan,)) if name in prices), None)
    if name is None:
        known = ", ".join(sorted(prices)) or "none"
        notes.append(
            f"no {plan} price is known for {chip.name} (known: {known}): money is left out; "
            "give a price per chip-hour to have it"
        )
        return None
    quoted = prices[name]
    used.append(quoted)
    said = f"{chip.name} {name} {quoted.value:g} USD/h" + (f": {quoted.note}" if quoted.note else "")
    others = [
        f"{other} {prices[other].value:g}" for other in _CLOUD_PRICES if other in prices and other != name
    ]
    if plan == CLOUD and others:
        said += f"; also quoted: {', '.join(others)}"
    notes.append(said)
    if plan == CLOUD and name != _CLOUD_PRICES[0]:
        notes.append(
            f"no lowest cloud price is known for {chip.name}: {name} taken, "
            "not like for like with other chips"
        )
    return quoted.value


def _capital(economics: Economics, chip: Chip, used: list[Quantity]) -> float:
    row = economics.groups.get("capital", {}).get(CAPITAL_ROWS.get(chip.name, ""))
    if row is None:
        raise InputError(
            f"no capital cost is known for {chip.name}. Give capex_usd, or use one of the prices: "
            f"{', '.join(sorted(chip.prices_usd_per_hour)) or 'none known'}."
        )
    used.append(row)
    return row.value


def _embodied(
    economics: Economics, chip: Chip, notes: list[str], used: list[Quantity]
) -> tuple[float | None, float | None, float | None]:
    """Published, else estimated from die and memory, else unknown: value, low, high. [kgCO2e]"""
    known = chip.embodied_kgco2e
    if known is not None:
        used.append(known)
        low = known.low if known.low is not None else known.value
        high = known.high if known.high is not None else known.value
        if low < high:
            notes.append(
                f"embodied carbon of {chip.name}: {known.value:.0f} kg, studies from {low:.0f} to {high:.0f}"
            )
        return known.value, low, high
    if chip.die_area_mm2 is None:
        notes.append(f"embodied carbon of {chip.name} is unknown, and so is its die area: left out")
        return None, None, None
    dram = [tier for tier in chip.memory if tier.technology.startswith(DRAM)]
    others = [tier.name for tier in chip.memory if tier not in dram]
    if others:
        notes.append(f"embodied carbon of {chip.name} does not count its {', '.join(others)}")
    memory_bytes = sum(tier.marketed_capacity_bytes.value for tier in dram)
    board = {field: _row(economics, group, name, used) for field, (group, name) in _EMBODIED_ROWS.items()}
    guess = estimate_embodied(
        die_area_mm2=chip.die_area_mm2.value,
        memory_bytes=memory_bytes,
        board_kgco2e=board["kgco2e"],
        memory_share=board["memory_share"],
        ics_share=board["ics_share"],
    )
    notes.append(
        f"embodied carbon of {chip.name}: {guess.kgco2e:.0f} kg, from {guess.low_kgco2e:.0f} to "
        f"{guess.high_kgco2e:.0f}; {guess.note}"
    )
    return guess.kgco2e, guess.low_kgco2e, guess.high_kgco2e
