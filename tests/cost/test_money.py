"""Money: hand-computed answers, published points, laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.cost.money import annuity_fraction, blended_usd_per_mtok, phase_usd_per_mtok, tco, usd_per_mtok
from tokenroof.errors import InputError

positive = st.floats(min_value=1e-3, max_value=1e6)
fraction = st.floats(min_value=0.01, max_value=1.0)


def test_four_years_at_ten_percent() -> None:
    """r / (1 - (1 + r)^-n) by hand: 0.1 / (1 - 1.1^-4) = 0.31547."""
    assert annuity_fraction(0.10, 4.0) == pytest.approx(0.315471, rel=1e-5)


def test_without_interest_capital_is_straight_line() -> None:
    assert annuity_fraction(0.0, 5.0) == 0.2


@given(rate=st.floats(min_value=0.0, max_value=0.5), years=st.floats(min_value=0.5, max_value=30))
def test_interest_never_makes_capital_cheaper(rate: float, years: float) -> None:
    assert annuity_fraction(rate, years) >= annuity_fraction(0.0, years) * (1 - 1e-12)


def test_a_chip_owned_for_four_years() -> None:
    """40,000 USD, no interest, 1 kW at PUE 1.5 and 0.1 USD/kWh, 2 % upkeep, 73 USD/kW/month."""
    owned = tco(
        capex_usd=40_000.0,
        lifetime_years=4.0,
        wacc_fraction=0.0,
        power_w=1000.0,
        pue=1.5,
        usd_per_kwh=0.1,
        opex_fraction_per_year=0.02,
        colocation_usd_per_kw_month=73.0,
    )
    assert owned.capital_usd_per_hour == pytest.approx(10_000 / 8760)
    assert owned.electricity_usd_per_hour == pytest.approx(0.15)
    assert owned.upkeep_usd_per_hour == pytest.approx(800 / 8760)
    assert owned.colocation_usd_per_hour == pytest.approx(0.1)
    assert owned.usd_per_hour == pytest.approx(10_800 / 8760 + 0.25)


def test_the_published_rate_behind_a_cost_per_million_tokens() -> None:
    """0.56 USD/Mtok of output on a B200 at 1.95 USD/h needs 967 tokens/s. Source: inferencex-blog."""
    assert usd_per_mtok(usd_per_hour=1.95, tokens_per_s=967.26) == pytest.approx(0.56, rel=1e-4)


def test_half_used_chips_cost_twice_as_much_a_token() -> None:
    full = usd_per_mtok(usd_per_hour=2.0, tokens_per_s=500.0)
    assert usd_per_mtok(usd_per_hour=2.0, tokens_per_s=500.0, utilisation_fraction=0.5) == pytest.approx(
        2 * full
    )


@given(price=positive, prefill=positive, decode=positive, isl=positive, osl=positive, used=fraction)
def test_input_and_output_prices_pay_for_the_whole_request(
    price: float, prefill: float, decode: float, isl: float, osl: float, used: float
) -> None:
    """A request takes ``prefill + decode`` chip-seconds, whoever is billed for them."""
    per_input, per_output = (
        phase_usd_per_mtok(
            usd_per_chip_hour=price, chip_s_per_token=seconds / tokens, utilisation_fraction=used
        )
        for seconds, tokens in ((prefill, isl), (decode, osl))
    )
    whole = price / 3600 * (prefill + decode) / used
    assert (per_input * isl + per_output * osl) / 1e6 == pytest.approx(whole)
    blended = blended_usd_per_mtok(
        input_usd_per_mtok=per_input, output_usd_per_mtok=per_output, input_tokens=isl, output_tokens=osl
    )
    assert blended * (isl + osl) / 1e6 == pytest.approx(whole)


def test_prices_broadcast_over_designs() -> None:
    rates = np.array([100.0, 200.0, 400.0])
    cost = usd_per_mtok(usd_per_hour=np.array([1.0, 2.0, 4.0]), tokens_per_s=rates)
    assert cost == pytest.approx(np.full(3, 1e6 / 3600 / 100))


@pytest.mark.parametrize("utilisation", [0.0, -0.1, 1.01, 60.0])
def test_utilisation_is_a_fraction(utilisation: float) -> None:
    with pytest.raises(InputError, match="above 0 and at most 1"):
        usd_per_mtok(usd_per_hour=1.0, tokens_per_s=1.0, utilisation_fraction=utilisation)


@pytest.mark.parametrize(("rate", "years"), [(-0.1, 4.0), (0.1, 0.0)])
def test_capital_needs_a_rate_and_a_lifetime(rate: float, years: float) -> None:
    with pytest.raises(InputError, match="years must be positive"):
        annuity_fraction(rate, years)
