"""What is chosen when nothing is said, and answers of the less usual kinds of model."""

from dataclasses import replace

import pytest

from tokenroof.catalog.catalog import Catalog, load
from tokenroof.catalog.tuning import NEUTRAL
from tokenroof.deploy.core import Deployment, Estimate, Pool
from tokenroof.deploy.defaults import default_concurrency, default_parallel
from tokenroof.deploy.estimate import estimate
from tokenroof.deploy.generation import plan_of
from tokenroof.deploy.handoff import handoff_problem, handoff_s
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import RequestShape

SHAPE = RequestShape(isl_tokens=2000, osl_tokens=500)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def chosen(catalog: Catalog, model: str, chip: str) -> Parallel:
    found = catalog.model(model)
    return default_parallel(catalog.chip(chip), catalog.engine("vllm"), found, found.precision, SHAPE)


@pytest.mark.parametrize(
    ("model", "chip", "layout"),
    [
        ("llama-3.1-8b", "h100", Parallel()),
        ("llama-3.3-70b", "h100", Parallel(tp=4)),  # tp=2 holds the weights, but hardly a cache
        ("llama-3.3-70b", "mi300x", Parallel()),
        ("llama-3.3-70b", "h100-pcie", Parallel(tp=2, pp=2)),  # two cards are bridged, not four
        ("llama-3.1-405b", "b200", Parallel(tp=8)),
    ],
)
def test_the_fewest_chips_that_hold_a_working_set(
    catalog: Catalog, model: str, chip: str, layout: Parallel
) -> None:
    assert chosen(catalog, model, chip) == layout


def test_the_default_concurrency_fits(catalog: Catalog) -> None:
    engine = catalog.engine("vllm")
    assert default_concurrency(1000, engine, 1) == 64
    assert default_concurrency(5, engine, 1) == 5
    assert default_concurrency(1000, replace(engine, max_num_seqs=8), 2) == 16


def ask(catalog: Catalog, model: str, shape: RequestShape, **ways: int) -> Estimate:
    found = catalog.model(model)
    pool = Pool(chip=catalog.chip("h100"), engine=catalog.engine("vllm"), parallel=Parallel(**ways))
    deployment = Deployment(model=found, precision=found.precision, pools=(pool,))
    return estimate(deployment, shape, catalog=catalog, concurrency=4)


def test_images_cost_prefill_only(catalog: Catalog) -> None:
    text = ask(catalog, "qwen2.5-vl-7b", SHAPE)
    image = ask(catalog, "qwen2.5-vl-7b", replace(SHAPE, image_tokens=1000))
    assert image.metrics["prefill_s"].value > 1.05 * text.metrics["prefill_s"].value
    assert image.metrics["decode_step_s"].value == text.metrics["decode_step_s"].value
    assert any(op.name.startswith("vision.") for op in image.phases["prefill"].ops)
    assert not any(op.name.startswith("vision.") for op in image.phases["decode"].ops)


def test_block_diffusion_counts_denoising_steps(catalog: Catalog) -> None:
    model = catalog.model("llada-8b")
    assert model.generation is not None
    shape = RequestShape(isl_tokens=500, osl_tokens=128)
    plan = plan_of(model, shape)
    blocks = -(-128 // model.generation.block_tokens)
    assert plan.steps == blocks * model.generation.steps_per_block
    answer = ask(catalog.tuned(NEUTRAL), "llada-8b", shape)
    steps_s = plan.steps * answer.metrics["decode_step_s"].value
    assert answer.metrics["e2e_s"].value == pytest.approx(steps_s, rel=1e-6)
    assert answer.metrics["ttft_s"].value == pytest.approx(steps_s / blocks, rel=1e-6)


def test_a_cached_prefix_makes_diffusion_cheaper(catalog: Catalog) -> None:
    model = catalog.model("llada-8b")
    assert model.generation is not None
    cached = replace(model, generation=replace(model.generation, cached_prefix=True))
    shape = RequestShape(isl_tokens=2000, osl_tokens=128)
    pool = Pool(chip=catalog.chip("h100"), engine=catalog.engine("vllm"), parallel=Parallel())
    answers = [
        estimate(
            Deployment(model=each, precision=each.precision, pools=(pool,)),
            shape,
            catalog=catalog,
            concurrency=1,
        )
        for each in (model, cached)
    ]
    assert answers[1].metrics["tpot_s"].value < answers[0].metrics["tpot_s"].value
    assert answers[1].metrics["ttft_s"].value > answers[1].metrics["prefill_s"].value


def test_a_hand_off_is_as_slow_as_its_slower_end(catalog: Catalog) -> None:
    catalog = catalog.tuned(NEUTRAL)
    model = catalog.model("llama-3.3-70b")
    engine = catalog.engine("vllm")

    def pool(chip: str, tp: int) -> Pool:
        return Pool(chip=catalog.chip(chip), engine=engine, parallel=Parallel(tp=tp))

    slow_s = handoff_s(pool("h100", 4), pool("h100", 2), model, model.precision, 2000)
    fast_s = handoff_s(pool("h100", 4), pool("h100", 4), model, model.precision, 2000)
    shard = 2000 * 80 * 2 * 8 * 128 * 2 / 4  # bytes of a quarter of the cache
    assert fast_s == pytest.approx(shard / 50e9 + 21e-6, rel=1e-3)
    assert slow_s == pytest.approx(2 * shard / 50e9 + 21e-6, rel=1e-3)


def test_a_chip_without_a_fabric_cannot_hand_over(catalog: Catalog) -> None:
    alone = replace(catalog.chip("h100"), scale_up=None, scale_out=None)
    pool = Pool(chip=alone, engine=catalog.engine("vllm"), parallel=Parallel())
    problem = handoff_problem(pool, pool)
    assert problem is not None
    assert problem.reason.startswith("not connected: h100 has no fabric")
