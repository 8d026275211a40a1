"""Energy and carbon: hand-computed answers, published footprints, laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.cost.carbon import (
    embodied_share_kgco2e,
    estimate_embodied,
    kgco2e_per_mtok,
    operational_kgco2e,
)
from tokenroof.cost.energy import (
    chip_power_w,
    energy_j_per_token,
    facility_power_w,
    kwh,
)
from tokenroof.errors import InputError

BOARD = {"board_kgco2e": 164.0, "memory_share": 0.42, "ics_share": 0.25}


def test_power_is_static_plus_dynamic_until_the_limit() -> None:
    assert chip_power_w(dynamic_energy_j=100.0, time_s=0.5, idle_w=210.0, tdp_w=700.0) == 410.0
    assert chip_power_w(dynamic_energy_j=1e6, time_s=0.5, idle_w=210.0, tdp_w=700.0) == 700.0


@given(
    energy=st.floats(min_value=0, max_value=1e6),
    time=st.floats(min_value=1e-6, max_value=1e3),
    limit=st.floats(min_value=1, max_value=2e3),
)
def test_power_never_passes_the_limit(energy: float, time: float, limit: float) -> None:
    power = chip_power_w(dynamic_energy_j=energy, time_s=time, idle_w=0.3 * limit, tdp_w=limit)
    assert 0.3 * limit <= power <= limit


def test_power_broadcasts() -> None:
    power = chip_power_w(dynamic_energy_j=np.array([0.0, 1e3]), time_s=1.0, idle_w=100.0, tdp_w=700.0)
    assert power == pytest.approx([100.0, 700.0])


def test_google_shares_give_the_server_factor() -> None:
    """Shares 0.58 chip, 0.25 host, 0.10 idle reserve: 0.93 / 0.58 = 1.60. Source: google-env."""
    assert facility_power_w(chip_w=0.58, server_overhead_factor=1.6, pue=1.0) == pytest.approx(0.93, rel=0.01)


def test_an_h100_behind_an_average_meter() -> None:
    """700 W x 1.60 x 1.54 = 1725 W, where the TCO model provisions 1730 W all in. Source: ixc."""
    assert facility_power_w(chip_w=700.0, server_overhead_factor=1.6, pue=1.54) == pytest.approx(
        1730, rel=0.01
    )


def test_one_kilowatt_hour_on_the_world_grid() -> None:
    assert kwh(3.6e6) == 1.0
    assert operational_kgco2e(facility_energy_j=3.6e6, grid_kgco2e_per_kwh=0.473) == pytest.approx(0.473)


def test_energy_of_a_token_at_the_meter() -> None:
    at_meter = facility_power_w(chip_w=700.0, server_overhead_factor=1.6, pue=1.25)
    assert energy_j_per_token(power_w=at_meter, tokens_per_s=700.0) == pytest.approx(2.0)


def test_a_chip_used_for_its_whole_life_carries_its_own_making() -> None:
    life_s = 4 * 8760 * 3600.0
    assert embodied_share_kgco2e(chip_s=life_s, embodied_kgco2e=164.0, lifetime_years=4.0) == pytest.approx(
        164.0
    )


def test_idle_hours_are_carried_by_the_used_ones() -> None:
    share = {
        used: embodied_share_kgco2e(
            chip_s=1.0, embodied_kgco2e=164.0, lifetime_years=4.0, utilisation_fraction=used
        )
        for used in (1.0, 0.25)
    }
    assert share[0.25] == pytest.approx(4 * share[1.0])
    with pytest.raises(InputError):
        embodied_share_kgco2e(chip_s=1.0, embodied_kgco2e=1.0, lifetime_years=4.0, utilisation_fraction=0.0)


def test_carbon_of_a_million_tokens() -> None:
    assert kgco2e_per_mtok(kgco2e_per_s=1e-4, tokens_per_s=1000.0) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("die_mm2", "memory_bytes", "published_kgco2e", "rel"),
    [(814.0, 80e9, 164.0, 1e-9), (1600.0, 192e9, 284.25, 0.06)],
)
def test_estimate_against_published_boards(
    die_mm2: float, memory_bytes: float, published_kgco2e: float, rel: float
) -> None:
    """HGX H100 (the reference) and HGX B200, an eighth of each board. Source: nvidia-pcf."""
    guess = estimate_embodied(die_area_mm2=die_mm2, memory_bytes=memory_bytes, **BOARD)
    assert guess.kgco2e == pytest.approx(published_kgco2e, rel=rel)
    assert guess.low_kgco2e < published_kgco2e < guess.high_kgco2e
    assert guess.note.startswith("assumption")


def test_published_a100_figures_lie_on_the_ends_of_the_range() -> None:
    """127.6 kg a card (Falk 2025), 318 kg with its server share (Chien 2023)."""
    guess = estimate_embodied(die_area_mm2=826.0, memory_bytes=80e9, **BOARD)
    assert guess.low_kgco2e == pytest.approx(127.6, rel=0.01)
    assert guess.high_kgco2e == pytest.approx(318.0, rel=0.02)


@given(die=st.floats(min_value=0, max_value=5e4), memory=st.floats(min_value=0, max_value=1e13))
def test_more_silicon_is_never_cleaner(die: float, memory: float) -> None:
    base = estimate_embodied(die_area_mm2=die, memory_bytes=memory, **BOARD)
    assert estimate_embodied(die_area_mm2=die + 1, memory_bytes=memory, **BOARD).kgco2e >= base.kgco2e
    assert estimate_embodied(die_area_mm2=die, memory_bytes=memory + 1e9, **BOARD).kgco2e >= base.kgco2e
