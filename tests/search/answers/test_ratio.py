"""The ratio of prefill to decode, against arithmetic by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from planning import CATALOG, ENGINE, TPOT, TTFT, question, small_space

from tokenroof.deploy.core import Role
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.search.answers.ratio import flat_range, ratio
from tokenroof.search.asked import Objective, Question
from tokenroof.search.core import Candidate, PoolPlan


def asked(rate: float = 400.0, **given: object) -> Question:
    return question("h100", rate=rate, **({"space": small_space(disaggregated=True)} | given))


def pools(prefill_tp: int = 1, decode_tp: int = 1) -> Candidate:
    made = [
        PoolPlan(
            role=role,
            chip="h100",
            engine=ENGINE.name,
            parallel=Parallel(tp=tp),
            max_num_seqs=256,
            max_num_batched_tokens=8192,
        )
        for role, tp in ((Role.PREFILL, prefill_tp), (Role.DECODE, decode_tp))
    ]
    return Candidate(precision=CATALOG.model("llama-3.1-8b").precision, pools=tuple(made))


def test_every_row_serves_the_load_and_no_smaller_one_of_its_ratio_does() -> None:
    question_ = asked(headroom_fraction=0.25)
    found = ratio(question_, pools(), catalog=CATALOG)
    rate = 1.25 * float(question_.workload.requests(0).arrival_s.size - 1)
    rate /= float(question_.workload.requests(0).arrival_s[-1])
    for row in found.rows:
        served = min(row.prefill_replicas * found.prefill_per_s, row.decode_replicas * found.decode_per_s)
        assert served >= rate * 0.99
        unit = math.gcd(row.prefill_replicas, row.decode_replicas)
        if row is not found.rows[0] and unit > 1:
            assert served * (unit - 1) / unit < rate * 1.01


def test_the_best_is_the_least_and_near_balance() -> None:
    found = ratio(asked(), pools(), catalog=CATALOG)
    assert found.balanced == pytest.approx(found.decode_per_s / found.prefill_per_s)
    assert found.best.value == min(row.value for row in found.rows)
    assert found.flat_low < found.balanced < found.flat_high
    for row in found.rows:
        assert (row.short == "prefill") == (row.ratio <= found.balanced)
        assert row.idle_fraction == pytest.approx(
            1.0 - min(row.ratio / found.balanced, found.balanced / row.ratio)
        )
    assert [row.ratio for row in found.rows] == sorted(row.ratio for row in found.rows)


def test_chips_per_request_fall_to_balance_and_rise_beyond() -> None:
    found = ratio(asked(), pools(1, 2), catalog=CATALOG)
    below = [row.chips_per_request_per_s for row in found.rows if row.ratio <= found.balanced]
    above = [row.chips_per_request_per_s for row in found.rows if row.ratio >= found.balanced]
    assert below == sorted(below, reverse=True)
    assert above == sorted(above)
    assert {(row.prefill_chips, row.decode_chips) for row in found.rows} == {
        (row.prefill_replicas, 2 * row.decode_replicas) for row in found.rows
    }


def test_ends_of_the_flat_part_cost_just_so_much_more() -> None:
    per_s, costs, tolerance = (7.0, 3.0), (2.0, 5.0), 0.1

    def cost(ratio_: float) -> float:
        return (ratio_ * costs[0] + costs[1]) / min(ratio_ * per_s[0], per_s[1])

    least = cost(per_s[1] / per_s[0])
    for end in flat_range(per_s, costs, tolerance):
        assert cost(end) == pytest.approx(1.1 * least)


def test_spares_are_bought_on_both_sides() -> None:
    bare, spare = (ratio(asked(spare_replicas=n), pools(), catalog=CATALOG) for n in (0, 1))
    for one, other in zip(bare.rows, spare.rows, strict=True):
        assert other.chips == one.chips + 2
        assert (other.prefill_replicas, other.decode_replicas) == (one.prefill_replicas, one.decode_replicas)


def test_an_objective_that_is_to_be_large_takes_the_largest() -> None:
    found = ratio(asked(objectives=(Objective(name="tokens_per_s_per_chip"),)), pools(), catalog=CATALOG)
    assert found.best.value == max(row.value for row in found.rows)


def test_without_a_candidate_the_best_in_closed_form_is_taken() -> None:
    found = ratio(asked(), catalog=CATALOG)
    assert [pool.role for pool in found.candidate.pools] == [Role.PREFILL, Role.DECODE]
    assert repr(ratio(asked(), catalog=CATALOG)) == repr(found)


def test_one_pool_has_no_ratio() -> None:
    one = replace(pools(), pools=(replace(pools().pools[0], role=Role.BOTH),))
    with pytest.raises(InputError, match="one pool"):
        ratio(asked(), one, catalog=CATALOG)


def test_a_pool_that_cannot_keep_the_targets_is_refused() -> None:
    with pytest.raises(InputError, match="tpot"):
        ratio(asked(targets=(TTFT, replace(TPOT, limit_s=1e-5))), pools(), catalog=CATALOG)
