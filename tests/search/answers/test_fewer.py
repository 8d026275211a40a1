"""What fewer chips would cost in latency."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from answered import STORE, planned, planned_apart
from planning import CATALOG

from tokenroof.errors import InputError
from tokenroof.search.answers.fewer import fewer
from tokenroof.search.core import PlanResult


@pytest.mark.parametrize("result", [planned, planned_apart])
def test_the_choice_keeps_its_targets_and_one_fewer_is_that_of_the_plan(result: object) -> None:
    found: PlanResult = result()  # type: ignore[operator]
    best = found.best
    assert best is not None
    table = fewer(found, catalog=CATALOG, steps=2, store=STORE, workers=1)
    first, *rest = table.rows
    assert first.replicas == best.needed
    assert first.chips == best.chips
    assert first.usd_per_hour == pytest.approx(best.usd_per_hour)
    assert first.missed == ""
    assert all(check.met for check in first.checks)
    by_counts = {row.replicas: row for row in rest}
    for less in best.fewer:
        assert by_counts[less.replicas].missed
        assert less.missed
    for row in rest:
        assert row.chips < best.chips
        assert row.saved_fraction == pytest.approx(1.0 - row.chips / best.chips)
        if row.missed and " > " in row.missed and "_s " in row.missed:
            assert not all(check.met for check in row.checks)


def test_fewer_and_fewer_chips_are_slower_and_slower() -> None:
    table = fewer(planned(), catalog=CATALOG, steps=3, store=STORE, workers=1)
    assert [row.chips for row in table.rows] == sorted((row.chips for row in table.rows), reverse=True)
    for name in {check.target.name for check in table.rows[0].checks}:
        values = [check.value for row in table.rows for check in row.checks if check.target.name == name]
        # beyond its capacity a replica is full: more requests wait, and its steps stay as they are
        assert all(now >= 0.97 * before for before, now in pairwise(values))
        assert values[-1] > 1.5 * values[0]
    assert {row.pool for row in table.rows} == {"", "both"}


def test_each_pool_is_thinned_by_itself() -> None:
    best = planned_apart().best
    assert best is not None
    table = fewer(planned_apart(), catalog=CATALOG, steps=1, store=STORE, workers=1)
    for row in table.rows[1:]:
        assert sum(a != b for a, b in zip(row.replicas, best.needed, strict=True)) == 1
    assert repr(table) == repr(fewer(planned_apart(), catalog=CATALOG, steps=1, workers=1))


def test_a_plan_without_a_choice_has_nothing_to_thin() -> None:
    with pytest.raises(InputError, match="no choice"):
        fewer(replace(planned(), front=()), catalog=CATALOG)
