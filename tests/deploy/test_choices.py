"""What the asked load and balance change: the default layout, and the busiest expert rank."""

import numpy as np
import pytest

import tokenroof as tr
from tokenroof.catalog.catalog import Catalog, load
from tokenroof.deploy.core import Deployment, Estimate, Pool
from tokenroof.deploy.defaults import default_parallel, held, nearest_fit
from tokenroof.deploy.disaggregated import last_count
from tokenroof.deploy.estimate import estimate
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import RequestShape

SHAPE = RequestShape(isl_tokens=2000, osl_tokens=500)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


@pytest.mark.parametrize("sequences", [1, 8, 64, 200, 900, 2500])
def test_the_layout_holds_what_is_asked_for_and_no_smaller_one_does(catalog: Catalog, sequences: int) -> None:
    model, chip, engine = catalog.model("llama-3.3-70b"), catalog.chip("h100"), catalog.engine("vllm")
    chosen = default_parallel(chip, engine, model, model.precision, SHAPE, sequences)

    def holds(parallel: Parallel) -> bool:
        pool = Pool(chip=chip, engine=engine, parallel=parallel)
        return held(pool, model, model.precision, SHAPE) >= sequences

    assert holds(chosen)
    smaller = [Parallel(tp=tp, pp=pp) for tp in (1, 2, 4, 8) for pp in (1, 2, 4)]
    assert not any(
        holds(each)
        for each in smaller
        if each.chips < chosen.chips and (each.pp == 1 or each.tp == chosen.tp)
    )


def test_what_nothing_holds_falls_back_to_a_working_set(catalog: Catalog) -> None:
    model, chip, engine = catalog.model("llama-3.1-8b"), catalog.chip("h100"), catalog.engine("vllm")
    ask = (chip, engine, model, model.precision, SHAPE)
    assert default_parallel(*ask, 10**6) == default_parallel(*ask)


def test_the_concurrency_reaches_the_default_layout() -> None:
    few = tr.estimate("llama-3.3-70b", "h100", concurrency=8)[0]
    many = tr.estimate("llama-3.3-70b", "h100", concurrency=250)[0]
    assert few.feasible
    assert many.feasible
    assert many.metrics["chips"].value > few.metrics["chips"].value
    halved = tr.estimate("llama-3.3-70b", "h100", concurrency=250, replicas=2)[0]
    assert halved.deployment.pools[0].parallel.chips <= many.deployment.pools[0].parallel.chips


def test_a_sweep_keeps_one_layout() -> None:
    rows = tr.batch_sweep("llama-3.3-70b", "h100", batches=[1, 8, 64])
    assert len({row.deployment.pools[0].parallel for row in rows}) == 1
    assert all(any(note.startswith("layout: 4 x h100") for note in row.assumptions) for row in rows)


def experts(catalog: Catalog, factor: float, **ways: int) -> Estimate:
    model = catalog.model("gpt-oss-120b")
    pool = Pool(chip=catalog.chip("h100"), engine=catalog.engine("vllm"), parallel=Parallel(**ways))
    deployment = Deployment(model=model, precision=model.precision, pools=(pool,), expert_load_factor=factor)
    return estimate(deployment, SHAPE, catalog=catalog, concurrency=128)


def test_a_busy_expert_rank_slows_every_answer(catalog: Catalog) -> None:
    even, uneven = (experts(catalog, factor, tp=4, ep=4) for factor in (1.0, 2.0))
    for name in ("prefill_s", "e2e_s"):
        assert uneven.metrics[name].value > 1.02 * even.metrics[name].value
    assert uneven.phases["prefill"].time_s > even.phases["prefill"].time_s
    assert "experts: balanced load assumed" in even.assumptions
    assert "experts: balanced load assumed" not in uneven.assumptions
    assert "experts: balanced load assumed" not in experts(catalog, 1.0, tp=4).assumptions


def test_the_load_factor_is_asked_for_by_name() -> None:
    even = tr.estimate("gpt-oss-120b", "h100", tp=4, ep=4, concurrency=128)[0]
    uneven = tr.estimate("gpt-oss-120b", "h100", tp=4, ep=4, concurrency=128, expert_load_factor=2)[0]
    assert uneven.metrics["prefill_s"].value > even.metrics["prefill_s"].value


@pytest.mark.parametrize("factor", [0.5, 0.0, float("nan"), float("inf")])
def test_a_load_factor_below_the_mean_is_refused(factor: float) -> None:
    with pytest.raises(InputError, match="expert_load_factor must be a finite number"):
        tr.estimate("gpt-oss-120b", "h100", tp=4, ep=4, expert_load_factor=factor)


@pytest.mark.parametrize("most", [1, 2, 33, 34, 1000, 1_000_000])
def test_sections_find_the_last_count_that_holds(most: int) -> None:
    for limit in {0, 1, most // 3, most - 1, most, most + 5}:

        def holds(counts: np.ndarray, limit: int = limit) -> np.ndarray:
            return counts <= limit

        assert last_count(holds, most) == min(max(limit, 1), most)


def test_the_nearest_fit_is_spelled_as_one_command(catalog: Catalog) -> None:
    model, chip, engine = catalog.model("llama-3.1-405b"), catalog.chip("h100"), catalog.engine("vllm")
    pool = Pool(chip=chip, engine=engine, parallel=Parallel(tp=8))
    found = default_parallel(chip, engine, model, model.precision, SHAPE)
    assert (found.tp, found.pp) == (8, 2)
    assert nearest_fit(pool, model, model.precision, SHAPE).startswith("Try --tp 8 --pp 2, or")
