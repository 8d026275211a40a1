"""Money: what a chip-hour costs, and what a million tokens costs at a stated utilisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tokenroof.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

Num: TypeAlias = "float | npt.NDArray[np.float64]"

HOURS_PER_YEAR = 8760.0
HOURS_PER_MONTH = HOURS_PER_YEAR / 12
SECONDS_PER_HOUR = 3600.0
TOKENS_PER_MTOK = 1e6


def annuity_fraction(rate_fraction: Num, years: Num) -> Num:
    """Yearly payment that repays a unit of capital with interest.

    Parameters
    ----------
    rate_fraction : Num
        Weighted average cost of capital per year; 0 is straight-line.
    years : Num
        Over which it is repaid. [years]

    Returns
    -------
    Num
        r / (1 - (1 + r)^-n), and 1/n at r = 0. [1/year]

    Raises
    ------
    InputError
        A negative rate or no positive lifetime.

    Examples
    --------
    >>> round(annuity_fraction(0.10, 4.0), 4), annuity_fraction(0.0, 4.0)
    (0.3155, 0.25)
    """
    if np.any(np.asarray(rate_fraction) < 0) or np.any(np.asarray(years) <= 0):
        raise InputError(
            f"rate must not be negative and years must be positive, got {rate_fraction} and {years}."
        )
    # expm1/log1p keep the small rates exact; where() needs a stand-in that does not divide by zero.
    zero = np.asarray(rate_fraction) == 0
    rate = np.where(zero, 1.0, rate_fraction)
    value = np.where(zero, 1.0 / np.asarray(years), rate / -np.expm1(-years * np.log1p(rate)))
    return value if value.ndim else float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tco:
    """What owning one chip costs per hour, by part.

    Attributes
    ----------
    capital_usd_per_hour : Num
        Capex repaid with interest. [USD/h]
    electricity_usd_per_hour : Num
        At the meter, cooling included. [USD/h]
    upkeep_usd_per_hour : Num
        Staff, spares, software: a fraction of the capex per year. [USD/h]
    colocation_usd_per_hour : Num
        Building and power infrastructure, rented by the kW. [USD/h]
    """

    capital_usd_per_hour: Num
    electricity_usd_per_hour: Num
    upkeep_usd_per_hour: Num
    colocation_usd_per_hour: Num

    @property
    def usd_per_hour(self) -> Num:
        """All parts. [USD/h]"""
        return (
            self.capital_usd_per_hour
            + self.electricity_usd_per_hour
            + self.upkeep_usd_per_hour
            + self.colocation_usd_per_hour
        )


def tco(
    *,
    capex_usd: Num,
    lifetime_years: Num,
    wacc_fraction: Num,
    power_w: Num,
    pue: Num,
    usd_per_kwh: Num,
    opex_fraction_per_year: Num,
    colocation_usd_per_kw_month: Num,
) -> Tco:
    """Total cost of owning one chip with its share of server and network.

    Parameters
    ----------
    capex_usd : Num
        Chip with its share of server and network. [USD]
    lifetime_years : Num
        Amortisation. [years]
    wacc_fraction : Num
        Cost of capital per year.
    power_w : Num
        Average power of the chip and its server share, before cooling. [W]
    pue : Num
        Facility power over IT power.
    usd_per_kwh : Num
        Electricity. [USD/kWh]
    opex_fraction_per_year : Num
        Upkeep without electricity, as a fraction of the capex. [1/year]
    colocation_usd_per_kw_month : Num
        Building rent by IT power; 0 when the building is in the capex. [USD/kW/month]

    Returns
    -------
    Tco
        By part; all hours of the year are paid, used or not. [USD/h]

    Notes
    -----
    ``capex x annuity(WACC, years) / 8760 + kW x PUE x USD/kWh + capex x opex / 8760 + kW x rent``.
    """
    return Tco(
        capital_usd_per_hour=capex_usd * annuity_fraction(wacc_fraction, lifetime_years) / HOURS_PER_YEAR,
        electricity_usd_per_hour=power_w / 1e3 * pue * usd_per_kwh,
        upkeep_usd_per_hour=capex_usd * opex_fraction_per_year / HOURS_PER_YEAR,
        colocation_usd_per_hour=power_w / 1e3 * colocation_usd_per_kw_month / HOURS_PER_MONTH,
    )


def usd_per_mtok(*, usd_per_hour: Num, tokens_per_s: Num, utilisation_fraction: Num = 1.0) -> Num:
    """Cost of a million tokens.

    Parameters
    ----------
    usd_per_hour : Num
        Of everything that serves. [USD/h]
    tokens_per_s : Num
        Rate while serving: output tokens for cost per output token, all tokens for a blended one. [tokens/s]
    utilisation_fraction : Num
        Part of the paid hours that serve at that rate, above 0 up to 1.

    Returns
    -------
    Num
        [USD/Mtok]

    Raises
    ------
    InputError
        A utilisation outside (0, 1].

    Examples
    --------
    >>> round(usd_per_mtok(usd_per_hour=3.6, tokens_per_s=1000.0), 6)
    1.0
    """
    return phase_usd_per_mtok(
        usd_per_chip_hour=usd_per_hour,
        chip_s_per_token=1.0 / tokens_per_s,
        utilisation_fraction=utilisation_fraction,
    )


def phase_usd_per_mtok(
    *, usd_per_chip_hour: Num, chip_s_per_token: Num, utilisation_fraction: Num = 1.0
) -> Num:
    """Cost of a million tokens of one phase, by the chip time that the phase takes.

    Parameters
    ----------
    usd_per_chip_hour : Num
        Of the phase's chips. [USD/h]
    chip_s_per_token : Num
        Chips x seconds of prefill per input token, or of decode per output token. [s]
    utilisation_fraction : Num
        Part of the paid hours that serve.

    Returns
    -------
    Num
        [USD/Mtok]

    Notes
    -----
    The convention for input and output prices: each phase pays for the chip time it takes, so that
    ``isl x input + osl x output`` is the whole cost of a request, colocated or apart.
    """
    check_utilisation(utilisation_fraction)
    return usd_per_chip_hour / SECONDS_PER_HOUR * chip_s_per_token / utilisation_fraction * TOKENS_PER_MTOK


def blended_usd_per_mtok(
    *, input_usd_per_mtok: Num, output_usd_per_mtok: Num, input_tokens: Num, output_tokens: Num
) -> Num:
    """Mean over all tokens of a request mix. [USD/Mtok]

    >>> blended_usd_per_mtok(
    ...     input_usd_per_mtok=1.0, output_usd_per_mtok=4.0, input_tokens=2000.0, output_tokens=1000.0
    ... )
    2.0
    """
    spent = input_usd_per_mtok * input_tokens + output_usd_per_mtok * output_tokens
    return spent / (input_tokens + output_tokens)


def check_utilisation(utilisation_fraction: Num) -> None:
    """Refuse a utilisation outside (0, 1].

    Raises
    ------
    InputError
        It is not a fraction above zero.
    """
    value = np.asarray(utilisation_fraction)
    if not bool(np.all((value > 0) & (value <= 1))):
        raise InputError(
            f"utilisation must be above 0 and at most 1, got {utilisation_fraction}. Write 0.6 for 60 %."
        )
