"""Answers over many loads: nothing beyond the peaks, and nothing lost by asking for more at once."""

from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenroof as tr
from tokenroof.catalog.catalog import Catalog, load
from tokenroof.deploy.core import Deployment, Estimate, Pool
from tokenroof.deploy.estimate import estimate
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import RequestShape


@lru_cache
def catalog() -> Catalog:
    return load()


def ask(model: str, chip: str, isl: int, osl: int, concurrency: int, **ways: int) -> Estimate:
    found = catalog().model(model)
    pool = Pool(chip=catalog().chip(chip), engine=catalog().engine("vllm"), parallel=Parallel(**ways))
    deployment = Deployment(model=found, precision=found.precision, pools=(pool,))
    shape = RequestShape(isl_tokens=isl, osl_tokens=osl)
    return estimate(deployment, shape, catalog=catalog(), concurrency=concurrency)


LAYOUTS = {"one": {}, "ranks": {"dp": 2}, "stages": {"pp": 2}}


@settings(max_examples=60)
@given(
    isl=st.integers(1, 20_000),
    osl=st.integers(1, 2000),
    concurrency=st.integers(1, 300),
    layout=st.sampled_from(sorted(LAYOUTS)),
)
def test_no_load_is_served_faster_than_the_peaks(isl: int, osl: int, concurrency: int, layout: str) -> None:
    answer = ask("llama-3.1-8b", "h200", isl, osl, concurrency, **LAYOUTS[layout])
    if answer.feasible:
        assert answer.metrics["mfu_fraction"].value <= 1.0


@pytest.mark.parametrize(
    ("model", "chip", "isl", "osl", "ways"),
    [
        ("llama-3.1-8b", "h100", 500, 101, {}),
        ("llama-3.1-8b", "h200", 5600, 4, {}),
        ("llama-3.1-8b", "h200", 2000, 50, {"dp": 2}),
        ("llama-3.3-70b", "h100", 1000, 300, {"tp": 4, "pp": 2}),
    ],
)
def test_more_at_once_never_lowers_the_throughput(
    model: str, chip: str, isl: int, osl: int, ways: dict[str, int]
) -> None:
    """Within 2 %: tiles of matrix multiplies and kernels' splits make steps uneven."""
    counts = (1, 2, 3, 5, 8, 12, 16, 24, 32, 48, 64, 72, 80, 96, 112, 128, 150, 152, 154, 176, 200, 250)
    answers = [ask(model, chip, isl, osl, count, **ways) for count in counts]
    rates = [answer.metrics["requests_per_s"].value for answer in answers if answer.feasible]
    assert len(rates) > 12
    for index, rate in enumerate(rates[1:], start=1):
        assert rate >= 0.98 * max(rates[:index]), counts[index]


def test_prompts_that_do_not_divide_the_budget_are_not_rounded_away() -> None:
    """1.44 prompts of 5600 tokens fit 8192, so 8000-token prompts cost as much per token."""
    tokens_per_s = [
        isl * ask("llama-3.1-8b", "h200", isl, 4, 32).metrics["requests_per_s"].value
        for isl in (4000, 5600, 8000)
    ]
    assert max(tokens_per_s) < 1.1 * min(tokens_per_s)


@pytest.mark.parametrize(("ways", "ranks"), [({"tp": 1}, 1), ({"tp": 4}, 1), ({"tp": 1, "dp": 4}, 4)])
def test_phases_at_work_add_up_to_the_arithmetic_used(ways: dict[str, int], ranks: int) -> None:
    """One prompt keeps one rank busy, a decode step all of them; the rest of the time is no arithmetic."""
    answer = tr.estimate("llama-3.1-8b", "h100", isl=2000, osl=500, concurrency=64, **ways)[0]
    prefill, decode = (answer.phases[name] for name in ("prefill", "decode"))
    prompt_s = prefill.mfu_fraction * prefill.time_s / ranks
    answer_s = 499 * decode.mfu_fraction * decode.time_s / 64
    used = answer.metrics["requests_per_s"].value * (prompt_s + answer_s)
    assert answer.metrics["mfu_fraction"].value == pytest.approx(used, rel=1e-3)
    assert "chip at work" in answer.metrics["mfu_fraction"].definition
