"""What costs are counted with, from the catalog."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tokenroof.catalog.catalog import load
from tokenroof.cost.basis import PLANS, REGIONS, basis
from tokenroof.errors import InputError, UnknownNameError

CATALOG = load()
ECONOMICS = CATALOG.economics()


def test_every_chip_plan_and_region_has_a_basis() -> None:
    for name in CATALOG.chips():
        found = basis(ECONOMICS, CATALOG.chip(name))
        assert found.pue > 1
        assert found.embodied_kgco2e is None or 30 < found.embodied_kgco2e < 5000, name
        assert (found.usd_per_chip_hour is None) == any("money is left out" in note for note in found.notes)
        assert all(CATALOG.source(source).citation for source in found.sources)
    for region in REGIONS:
        assert 0.01 < basis(ECONOMICS, CATALOG.chip("h100"), region=region).grid_kgco2e_per_kwh < 1
    for plan in PLANS:
        price = basis(ECONOMICS, CATALOG.chip("h100"), price=plan).usd_per_chip_hour
        assert price is not None
        assert 1 < price < 10


@pytest.mark.parametrize(("name", "usd"), [("h100", 1.99), ("h200", 2.5), ("b200", 2.8), ("mi300x", 1.5)])
def test_cloud_means_the_lowest_quote_for_every_chip(name: str, usd: float) -> None:
    found = basis(ECONOMICS, CATALOG.chip(name))
    assert found.usd_per_chip_hour == usd == CATALOG.chip(name).prices_usd_per_hour["cloud_low"].value
    (said,) = [note for note in found.notes if "USD/h" in note]
    assert f"{name} cloud_low {usd:g} USD/h" in said
    assert f"cloud_high {CATALOG.chip(name).prices_usd_per_hour['cloud_high'].value:g}" in said


def test_a_chip_without_a_lowest_quote_says_that_it_does_not_compare() -> None:
    found = basis(ECONOMICS, CATALOG.chip("tpu-v6e"))
    assert found.usd_per_chip_hour == CATALOG.chip("tpu-v6e").prices_usd_per_hour["cloud_median"].value
    assert any("not like for like" in note for note in found.notes)
    assert not any("like for like" in note for note in basis(ECONOMICS, CATALOG.chip("h100")).notes)


def test_the_median_stays_a_plan() -> None:
    h100 = CATALOG.chip("h100")
    assert basis(ECONOMICS, h100, price="cloud_median").usd_per_chip_hour == 2.95
    assert basis(ECONOMICS, CATALOG.chip("b200"), price="cloud_median").usd_per_chip_hour is None


def test_embodied_estimates_follow_the_catalog() -> None:
    groups = dict(ECONOMICS.groups)
    rows = dict(groups["embodied"])
    groups["embodied"] = {**rows, "h100": replace(rows["h100"], value=2 * rows["h100"].value)}
    h200 = CATALOG.chip("h200")
    before, after = basis(ECONOMICS, h200), basis(replace(ECONOMICS, groups=groups), h200)
    assert after.embodied_kgco2e == pytest.approx(2 * before.embodied_kgco2e)
    assert any(
        f"from {before.embodied_low_kgco2e:.0f} to {before.embodied_high_kgco2e:.0f}" in n
        for n in before.notes
    )


def test_owning_an_h100_from_its_parts() -> None:
    """50,000 USD, 4.5 years at 10 %, 700 W x 1.6 x 1.54 at 0.082 USD/kWh, 2 % upkeep, 135 USD/kW/month."""
    by_hand = (
        50_000 * 0.1 / (1 - 1.1**-4.5) / 8760
        + 0.7 * 1.6 * 1.54 * 0.082
        + 50_000 * 0.02 / 8760
        + 0.7 * 1.6 * 135 / 730
    )
    assert basis(ECONOMICS, CATALOG.chip("h100"), price="tco").usd_per_chip_hour == pytest.approx(by_hand)
    assert by_hand == pytest.approx(2.10, abs=0.01)


def test_ownership_without_a_capital_cost_is_refused() -> None:
    with pytest.raises(InputError, match="capex_usd"):
        basis(ECONOMICS, CATALOG.chip("mi300x"), price="tco")
    own = basis(ECONOMICS, CATALOG.chip("mi300x"), price="tco", capex_usd=30_000.0)
    assert own.usd_per_chip_hour is not None


def test_a_price_of_the_users_own_wins() -> None:
    found = basis(ECONOMICS, CATALOG.chip("a10"), usd_per_chip_hour=0.5)
    assert (found.plan, found.usd_per_chip_hour) == ("given", 0.5)


def test_published_carbon_is_preferred_to_an_estimate() -> None:
    published, guessed = (basis(ECONOMICS, CATALOG.chip(name)) for name in ("b200", "h200"))
    assert published.embodied_kgco2e == pytest.approx(284.25)
    assert any("assumption" in note for note in guessed.notes)
    assert guessed.embodied_low_kgco2e < guessed.embodied_kgco2e < guessed.embodied_high_kgco2e


@pytest.mark.parametrize(
    "bad",
    [{"price": "cloud_mean"}, {"region": "mars"}, {"pue": "google_2024"}, {"utilisation_fraction": 60.0}],
)
def test_bad_input_is_refused(bad: dict) -> None:
    with pytest.raises((UnknownNameError, InputError)):
        basis(ECONOMICS, CATALOG.chip("h100"), **bad)
