"""From event to event or step by step: the same decisions in the same order, times equal to rounding."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from random_setups import RULES, WAYS, Case, cases, requests, setup

from tokenroof.serve.invariants import check
from tokenroof.serve.results import Run
from tokenroof.serve.run import simulate

DECISIONS = ("steps", "prefill_tokens", "decode_tokens", "prefill_ends", "peak_blocks")
TIMES = ("busy_s", "up_s", "slowed_s", "link_busy_s")
BLOCKS = ("taken_blocks", "freed_blocks")


def served(case: Case, *, crawl: bool) -> Run:
    run = simulate(replace(setup(case), crawl=crawl), requests(case))
    assert check(run) == ()
    return run


def assert_close(one: Any, other: Any, what: str) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12, err_msg=what)


def assert_same(jump: Run, crawl: Run) -> None:
    """Same decisions about every request and in every replica; times to a part 1e-9."""
    for column in fields(jump.log):
        one, other = getattr(jump.log, column.name), getattr(crawl.log, column.name)
        if column.name.endswith("_s"):
            assert_close(one, other, column.name)
        else:
            np.testing.assert_array_equal(one, other, err_msg=column.name)
    for name in ("start_s", "first_s", "finish_s"):
        one, other = (np.argsort(getattr(run.log, name), kind="stable") for run in (jump, crawl))
        np.testing.assert_array_equal(one, other, err_msg=f"order of {name}")
    for name in (*DECISIONS, *BLOCKS):
        np.testing.assert_array_equal(jump.replicas[name], crawl.replicas[name], err_msg=name)
    for name in TIMES:
        assert_close(jump.replicas[name], crawl.replicas[name], name)
    for one, other in zip(jump.visits, crawl.visits, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-7, err_msg="visits")
    assert jump.itl_counts.sum() == crawl.itl_counts.sum()
    assert_close(jump.end_s, crawl.end_s, "end")
    for name, values in jump.tiers.items():
        assert_close(values, crawl.tiers[name], name)


@settings(max_examples=60)
@given(case=cases())
def test_jumping_is_crawling(case: Case) -> None:
    jump, crawl = served(case, crawl=False), served(case, crawl=True)
    assert_same(jump, crawl)
    assert jump.events <= crawl.events


@settings(max_examples=60)
@given(case=cases())
def test_jumping_is_crawling_with_plans_ahead(case: Case) -> None:
    case = replace(case, ahead=True)
    assert_same(served(case, crawl=False), served(case, crawl=True))


@settings(max_examples=60)
@given(case=cases())
def test_jumping_is_crawling_with_requests_received_now_and_then(case: Case) -> None:
    rule = case.rule if case.rule.startswith("sglang") else "sglang"
    case = replace(case, rule=rule, interval=max(2, case.interval))
    assert_same(served(case, crawl=False), served(case, crawl=True))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_with_plans_ahead(rule: str) -> None:
    for apart in (False, True):
        case = Case(rule=rule, ahead=True, apart=apart, tight=True, replicas=2, shared=True, levels=True)
        assert_same(served(case, crawl=False), served(case, crawl=True))


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_with_every_sharding(rule: str, ways: str) -> None:
    case = Case(rule=rule, ways=ways, tight=True, replicas=2, shared=True, levels=True)
    assert_same(served(case, crawl=False), served(case, crawl=True))
