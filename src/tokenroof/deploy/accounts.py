"""Money, power and carbon of a steady state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tokenroof.catalog.core import Chip, Economics
from tokenroof.cost.basis import CLOUD, CostBasis
from tokenroof.cost.basis import basis as cost_basis
from tokenroof.cost.carbon import embodied_share_kgco2e, kgco2e_per_mtok, operational_kgco2e
from tokenroof.cost.energy import chip_power_w, energy_j_per_token, facility_power_w
from tokenroof.cost.money import blended_usd_per_mtok, phase_usd_per_mtok
from tokenroof.deploy.core import Metric
from tokenroof.deploy.metrics import metric
from tokenroof.deploy.provenance import Power


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What money and carbon are counted with, by name; see :func:`tokenroof.cost.basis.basis`.

    Attributes
    ----------
    price, region, pue : str
        How a chip-hour is paid; where the electricity comes from; whose facility.
    utilisation_fraction : float
        Part of the paid hours that serve at the estimated rate.
    usd_per_chip_hour, capex_usd : float or None
        The user's own price, or capital cost of a chip. [USD/h], [USD]
    """

    price: str = CLOUD
    region: str = "us"
    pue: str = "industry_latest"
    utilisation_fraction: float = 1.0
    usd_per_chip_hour: float | None = None
    capex_usd: float | None = None

    def basis(self, economics: Economics, chip: Chip) -> CostBasis:
        """The figures for one chip."""
        return cost_basis(
            economics,
            chip,
            price=self.price,
            region=self.region,
            pue=self.pue,
            utilisation_fraction=self.utilisation_fraction,
            usd_per_chip_hour=self.usd_per_chip_hour,
            capex_usd=self.capex_usd,
        )


class Tokens(Protocol):
    """Prompt and answer of a request, or their means over many."""

    @property
    def isl_tokens(self) -> float:
        """Of the prompt. [tokens]"""
        ...

    @property
    def osl_tokens(self) -> float:
        """Of the answer. [tokens]"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one kind of chip does for the requests of a deployment.

    Attributes
    ----------
    chips : float
        Chips of the kind; their mean over the time when replicas come and go.
    prefill_chip_s, decode_chip_s : float
        Chip time of one request by phase; together all of the chips' time over the requests. [s]
    compute_chip_s : float
        What the arithmetic of one request takes at the peaks, all chips together. [s]
    dynamic_j_per_request : float or None
        Energy of arithmetic, memory and wires of one request; None without a power figure. [J]
    power : Power or None
        Static power and limit of a chip.
    basis : CostBasis
        Prices and intensities of the chip.
    """

    chips: float
    prefill_chip_s: float
    decode_chip_s: float
    compute_chip_s: float
    dynamic_j_per_request: float | None
    power: Power | None
    basis: CostBasis


def accounts(usages: tuple[Usage, ...], shape: Tokens, *, requests_per_s: float) -> dict[str, Metric]:
    """Metrics of money, energy and carbon; what no figure is known for is left out.

    Parameters
    ----------
    usages : tuple of Usage
        One per pool.
    shape : Tokens
        Lengths.
    requests_per_s : float
        Of the deployment. [1/s]
    """
    return {
        **_money(usages, shape, requests_per_s),
        **_energy(usages, shape, requests_per_s),
        **_embodied(usages, shape, requests_per_s),
    }


def _tokens(shape: Tokens) -> float:
    return shape.isl_tokens + shape.osl_tokens


def _money(usages: tuple[Usage, ...], shape: Tokens, requests_per_s: float) -> dict[str, Metric]:
    hourly = input_usd = output_usd = 0.0
    for usage in usages:
        price = usage.basis.usd_per_chip_hour
        if price is None:
            return {}
        hourly += price * usage.chips
        input_usd += float(
            phase_usd_per_mtok(
                usd_per_chip_hour=price,
                chip_s_per_token=usage.prefill_chip_s / shape.isl_tokens,
                utilisation_fraction=usage.basis.utilisation_fraction,
            )
        )
        output_usd += float(
            phase_usd_per_mtok(
                usd_per_chip_hour=price,
                chip_s_per_token=usage.decode_chip_s / shape.osl_tokens,
                utilisation_fraction=usage.basis.utilisation_fraction,
            )
        )
    total = blended_usd_per_mtok(
        input_usd_per_mtok=input_usd,
        output_usd_per_mtok=output_usd,
        input_tokens=float(shape.isl_tokens),
        output_tokens=float(shape.osl_tokens),
    )
    return {
        "usd_per_hour": metric("usd_per_hour", hourly),
        "usd_per_mtok_input": metric("usd_per_mtok_input", input_usd),
        "usd_per_mtok_output": metric("usd_per_mtok_output", output_usd),
        "usd_per_mtok_total": metric("usd_per_mtok_total", float(total)),
    }


def _energy(usages: tuple[Usage, ...], shape: Tokens, requests_per_s: float) -> dict[str, Metric]:
    serving = power = facility = carbon_per_s = 0.0
    for usage in usages:
        if usage.power is None or usage.dynamic_j_per_request is None:
            return {}
        chip_w = float(
            chip_power_w(
                dynamic_energy_j=usage.dynamic_j_per_request * requests_per_s / usage.chips,
                time_s=1.0,
                idle_w=usage.power.idle_w,
                tdp_w=usage.power.tdp_w,
            )
        )
        serving += chip_w * usage.chips
        # Paid hours that serve nobody draw static power, borne by those that do.
        served = usage.basis.utilisation_fraction
        chip_w += usage.power.idle_w * (1.0 - served) / served
        at_meter = float(
            facility_power_w(
                chip_w=chip_w, server_overhead_factor=usage.basis.server_overhead_factor, pue=usage.basis.pue
            )
        )
        power += chip_w * usage.chips
        facility += at_meter * usage.chips
        carbon_per_s += float(
            operational_kgco2e(
                facility_energy_j=at_meter * usage.chips,
                grid_kgco2e_per_kwh=usage.basis.grid_kgco2e_per_kwh,
            )
        )
    chips = sum(usage.chips for usage in usages)
    output_per_s, tokens_per_s = requests_per_s * shape.osl_tokens, requests_per_s * _tokens(shape)
    carbon = 1e3 * kgco2e_per_mtok(kgco2e_per_s=carbon_per_s, tokens_per_s=tokens_per_s)
    return {
        "power_w_per_chip": metric("power_w_per_chip", serving / chips),
        "energy_j_per_output_token": metric(
            "energy_j_per_output_token", float(energy_j_per_token(power_w=power, tokens_per_s=output_per_s))
        ),
        "energy_j_per_token": metric(
            "energy_j_per_token", float(energy_j_per_token(power_w=power, tokens_per_s=tokens_per_s))
        ),
        "facility_energy_j_per_output_token": metric(
            "facility_energy_j_per_output_token",
            float(energy_j_per_token(power_w=facility, tokens_per_s=output_per_s)),
        ),
        "gco2e_per_mtok_operational": metric("gco2e_per_mtok_operational", float(carbon)),
    }


def _embodied(usages: tuple[Usage, ...], shape: Tokens, requests_per_s: float) -> dict[str, Metric]:
    per_s = 0.0
    for usage in usages:
        made = usage.basis.embodied_kgco2e
        if made is None:
            return {}
        per_s += float(
            embodied_share_kgco2e(
                chip_s=float(usage.chips),
                embodied_kgco2e=made,
                lifetime_years=usage.basis.lifetime_years,
                utilisation_fraction=usage.basis.utilisation_fraction,
            )
        )
    value = 1e3 * kgco2e_per_mtok(kgco2e_per_s=per_s, tokens_per_s=requests_per_s * _tokens(shape))
    return {"gco2e_per_mtok_embodied": metric("gco2e_per_mtok_embodied", float(value))}
