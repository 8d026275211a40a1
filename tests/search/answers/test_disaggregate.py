"""Disaggregate or not: laws of the map, and cells that can be worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
from planning import CATALOG, ENGINE, TPOT, TTFT, question, small_space, traffic

from tokenroof.deploy.core import Role
from tokenroof.deploy.handoff import shard_bytes, start_s
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.search.answers.core import (
    APART,
    HANDOFF,
    IDLE_POOL,
    INTERFERENCE,
    LIMITS,
    MEMORY,
    NEITHER,
    NO_FABRIC,
    SHARED_STEPS,
    TOGETHER,
    BreakEvenCell,
    BreakEvenMap,
)
from tokenroof.search.answers.disaggregate import disaggregate
from tokenroof.search.asked import Limits, Question
from tokenroof.search.plan import plan
from tokenroof.search.space import Subject
from tokenroof.search.steady import Ask, settle, together
from tokenroof.workload.core import RequestShape

LENGTHS = (500, 2000, 8000)
RATES = (2.0, 50.0, 1000.0)
SPEEDS = (1e8, 1e9, 1e10, 1e11)


def asked(**given: object) -> Question:
    space = small_space(disaggregated=True, max_num_seqs=(64, 256), max_num_batched_tokens=(2048, 8192))
    return question("h100", **({"space": space, "targets": (TTFT, replace(TPOT, limit_s=0.012))} | given))


@lru_cache
def made() -> BreakEvenMap:
    return disaggregate(
        asked(), catalog=CATALOG, isl_tokens=LENGTHS, rates_per_s=RATES, handoff_bytes_per_s=SPEEDS
    )


def lines() -> list[list[BreakEvenCell]]:
    """Cells of one length and rate, by rising bandwidth."""
    cells = made().cells
    return [list(cells[at : at + len(SPEEDS)]) for at in range(0, len(cells), len(SPEEDS))]


def test_there_is_a_cell_for_every_combination() -> None:
    places = [(cell.isl_tokens, cell.rate_per_s, cell.handoff_bytes_per_s) for cell in made().cells]
    assert places == [(length, rate, speed) for length in LENGTHS for rate in RATES for speed in SPEEDS]


def test_a_longer_hand_off_never_favours_apart() -> None:
    for line in lines():
        values = [math.inf if cell.apart is None else cell.apart.value for cell in line]
        assert values == sorted(values, reverse=True)
        assert sum(a.winner != b.winner for a, b in pairwise(line)) <= 1
        if line[0].winner == APART:
            assert {cell.winner for cell in line} == {APART}
        assert len({cell.together.value if cell.together else None for cell in line}) == 1


def test_a_larger_load_never_costs_more_per_token() -> None:
    cells = {(cell.isl_tokens, cell.rate_per_s, cell.handoff_bytes_per_s): cell for cell in made().cells}
    for length in LENGTHS:
        for low, high in pairwise(RATES):
            one, other = cells[length, low, 1e11], cells[length, high, 1e11]
            assert one.together is not None
            assert other.together is not None
            assert other.together.value <= one.together.value * (1.0 + 1e-9)


def test_the_map_knows_idle_pools_hand_offs_and_interference() -> None:
    reasons = {cell.reason for cell in made().cells}
    assert {IDLE_POOL, HANDOFF, INTERFERENCE} <= reasons
    for cell in made().cells:
        assert cell.why
        if cell.reason == HANDOFF:
            assert cell.winner == TOGETHER
        if cell.reason == INTERFERENCE:
            assert cell.winner == APART


def test_without_targets_apart_has_little_to_win() -> None:
    free = disaggregate(
        asked(targets=()),
        catalog=CATALOG,
        isl_tokens=(2000,),
        rates_per_s=(2.0,),
        handoff_bytes_per_s=(1e11,),
    )
    (cell,) = free.cells
    assert cell.winner == TOGETHER
    assert cell.reason in (IDLE_POOL, SHARED_STEPS)


def test_a_cell_is_the_closed_form_counted_by_hand() -> None:
    """One layout, one set of limits: replicas are the rate over what one yields, dollars follow."""
    space = small_space(parallels=(Parallel(),), disaggregated=True)
    rate, isl = 200.0, 1500
    found = disaggregate(
        asked(space=space, targets=()),
        catalog=CATALOG,
        isl_tokens=(isl,),
        rates_per_s=(rate,),
        handoff_bytes_per_s=(5e9,),
    )
    (cell,) = found.cells
    assert cell.together is not None
    assert cell.apart is not None
    model, chip = CATALOG.model("llama-3.1-8b"), CATALOG.chip("h100")
    subject = Subject(chip=chip, engine=ENGINE, parallel=Parallel(), precision=model.precision, drafting=None)
    ask = Ask(
        model=model,
        shape=RequestShape(isl_tokens=isl, osl_tokens=100),
        computed_fraction=1.0,
        expert_load_factor=1.0,
    )
    points = np.array([256])
    (steady,) = settle(subject, ask, [together(subject, ask, points, np.array([8192]))])
    assert cell.together.replicas == (math.ceil(rate / steady.requests_per_s[0]),)
    dollars = chip.prices_usd_per_hour["cloud_low"].value * cell.together.chips
    per_mtok = dollars / 3600.0 / (rate * (isl + 100)) * 1e6
    assert cell.together.value == pytest.approx(per_mtok, rel=1e-9)
    pool = subject.pool(Role.PREFILL)
    moved = shard_bytes(pool, model, model.precision, isl)
    assert moved == 2 * 32 * 8 * 128 * 2 * isl, "keys and values, layers, heads, 128 numbers of two bytes"
    assert cell.handoff_s == pytest.approx(start_s(pool) + moved / 5e9)


def test_a_target_is_kept_as_strictly_as_it_is_asked() -> None:
    """The limit between two numbers of sequences of one replica: neither margin nor doubt."""
    space = small_space(parallels=(Parallel(),), colocated=True, disaggregated=True)
    model = CATALOG.model("llama-3.1-8b")
    subject = Subject(
        chip=CATALOG.chip("h100"),
        engine=ENGINE,
        parallel=Parallel(),
        precision=model.precision,
        drafting=None,
    )
    shape = RequestShape(isl_tokens=1500, osl_tokens=100)
    ask = Ask(model=model, shape=shape, computed_fraction=1.0, expert_load_factor=1.0)
    points = np.array([16, 64])
    (steady,) = settle(subject, ask, [together(subject, ask, points, np.array([8192, 8192]))])
    rate = 1e4
    for limit_s, most in ((steady.tpot_s[0] * 1.001, 16), (steady.tpot_s[1] * 1.001, 64)):
        found = disaggregate(
            asked(space=space, targets=(replace(TPOT, limit_s=limit_s),)),
            catalog=CATALOG,
            isl_tokens=(1500,),
            rates_per_s=(rate,),
            handoff_bytes_per_s=(5e10,),
        )
        best = found.cells[0].together
        assert best is not None
        assert best.replicas == (math.ceil(rate / steady.requests_per_s[int(most == 64)]),)


def test_a_chip_without_a_fabric_cannot_be_apart() -> None:
    alone = replace(CATALOG.chip("h100"), scale_up=None, scale_out=None)
    space = small_space(parallels=(Parallel(),), disaggregated=True)
    found = disaggregate(
        replace(asked(space=space), chips=(alone,), targets=()), catalog=CATALOG, rates_per_s=(10.0,)
    )
    assert found.own_bytes_per_s is None
    assert {cell.winner for cell in found.cells} == {TOGETHER}
    assert {cell.reason for cell in found.cells} == {NO_FABRIC}


def test_limits_that_two_pools_break_are_the_reason() -> None:
    found = disaggregate(
        asked(targets=(), limits=Limits(chips=1)),
        catalog=CATALOG,
        isl_tokens=(500,),
        rates_per_s=(2.0,),
        handoff_bytes_per_s=(1e11,),
    )
    (cell,) = found.cells
    assert (cell.winner, cell.reason, cell.apart) == (TOGETHER, LIMITS, None)
    assert "chips: at least 2" in cell.why


def test_a_model_that_does_not_fit_is_memory() -> None:
    space = small_space(parallels=(Parallel(),), disaggregated=True)
    large = replace(asked(space=space, targets=()), model=CATALOG.model("llama-3.3-70b"))
    found = disaggregate(large, catalog=CATALOG, isl_tokens=(500,), rates_per_s=(2.0,))
    assert {(cell.winner, cell.reason) for cell in found.cells} == {(NEITHER, MEMORY)}


@pytest.mark.parametrize(
    ("tpot_s", "isl_tokens", "rate_per_s", "winner"),
    [(0.03, 500, 4.0, TOGETHER), (0.012, 3000, 60.0, APART), (0.012, 3000, 200.0, APART)],
)
def test_the_winner_is_that_of_simulated_plans(
    tpot_s: float, isl_tokens: int, rate_per_s: float, winner: str
) -> None:
    """At a Poisson load and targets at p95 and p99, which the closed form does not know."""
    mine = asked(
        targets=(TTFT, replace(TPOT, limit_s=tpot_s)),
        workload=traffic(rate_per_s, isl=isl_tokens, osl=150),
        confirm_seeds=0,
        most_simulated=12,
    )
    (cell,) = disaggregate(
        mine,
        catalog=CATALOG,
        isl_tokens=(isl_tokens,),
        rates_per_s=(rate_per_s,),
        handoff_bytes_per_s=(5e10,),
    ).cells
    assert cell.winner == winner
    values = []
    for best, apart in ((cell.together, False), (cell.apart, True)):
        space = replace(mine.space, colocated=not apart, disaggregated=apart)
        simulated = plan(replace(mine, space=space), catalog=CATALOG, workers=1).best
        assert simulated is not None
        assert best is not None
        values.append(simulated.objectives["usd_per_million_tokens"])
        assert best.value == pytest.approx(values[-1], rel=0.2)
    assert (values[1] < values[0]) == (winner == APART)


def test_what_nothing_can_do_has_no_winner() -> None:
    found = disaggregate(
        asked(targets=(replace(TPOT, limit_s=1e-6),)), catalog=CATALOG, isl_tokens=(500,), rates_per_s=(2.0,)
    )
    assert all("1e-06 s asked" in cell.why for cell in found.cells)
    assert {cell.winner for cell in found.cells} == {NEITHER}
    assert all(math.isnan(cell.gain_fraction) and cell.why for cell in found.cells)


def test_the_map_is_the_same_again() -> None:
    again = disaggregate(
        asked(), catalog=CATALOG, isl_tokens=LENGTHS, rates_per_s=RATES, handoff_bytes_per_s=SPEEDS
    )
    assert repr(again) == repr(made())


def test_an_axis_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="rates_per_s"):
        disaggregate(asked(), catalog=CATALOG, rates_per_s=(0.0,))


def test_several_chips_need_to_be_told_apart() -> None:
    both = replace(asked(), chips=(CATALOG.chip("h100"), CATALOG.chip("l40s")))
    with pytest.raises(InputError, match="Say which"):
        disaggregate(both, catalog=CATALOG)
