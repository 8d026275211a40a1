"""Memory waterfalls against block counts that vLLM logged, and the rules against each other."""

from dataclasses import replace

import pytest

from tokenroof.catalog.catalog import Catalog, load
from tokenroof.catalog.core import Engine, MemoryTier, OperandKind, Quantity
from tokenroof.deploy.capacity import Claims, cache_pool_bytes, capacity, memory_problem
from tokenroof.deploy.core import Capacity, Pool
from tokenroof.errors import CatalogError
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import RequestShape

SHAPE = RequestShape(isl_tokens=1000, osl_tokens=200)
GIB = 2**30


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def engine_with(catalog: Catalog, **changes: object) -> Engine:
    return replace(catalog.engine("vllm"), **changes)


def held(catalog: Catalog, model: str, chip: str, tp: int, engine: Engine) -> Capacity:
    found = catalog.model(model)
    pool = Pool(chip=catalog.chip(chip), engine=engine, parallel=Parallel(tp=tp))
    return capacity(pool, found, found.precision, SHAPE)


def tier_total(answer: Capacity, tier: str) -> float:
    return sum(item.bytes for item in answer.items if item.tier == tier)


# Blocks of 16 tokens on H100 80 GB, vLLM 0.15, gpu_memory_utilization 0.9, max_num_seqs 128; logged by
# inference-sim/training and inference-sim/sim-to-real-accuracy-validation (facts only, no licence stated).
LOGGED_BLOCKS = [
    ("llama-2-7b", 1, 2048, 7462),
    ("llama-2-7b", 1, 2048, 7463),
    ("mixtral-8x7b", 2, 2048, 27510),
    ("codellama-34b", 2, 2048, 26602),
    ("mistral-nemo-12b", 1, 2048, 19251),
    ("mistral-nemo-12b", 2, 1024, 48009),
]


@pytest.mark.parametrize(("model", "tp", "max_batched", "blocks"), LOGGED_BLOCKS)
def test_blocks_match_what_vllm_logged(
    catalog: Catalog, model: str, tp: int, max_batched: int, blocks: int
) -> None:
    """Within 2 %: the profile run's max_num_seqs is not recorded with certainty (128 or 256)."""
    engine = engine_with(catalog, max_num_batched_tokens=max_batched, max_num_seqs=128)
    answer = held(catalog, model, "h100", tp, engine)
    assert answer.block_tokens == 16
    assert answer.kv_blocks == pytest.approx(blocks, rel=0.02)


@pytest.mark.parametrize(
    ("model", "tp", "available_gib"),
    [("llama-3.1-8b", 1, 51.38), ("qwen3-32b", 1, 4.45), ("gpt-oss-20b", 1, 50.28)],
)
def test_cache_matches_what_vllm_logged_at_its_defaults(
    catalog: Catalog, model: str, tp: int, available_gib: float
) -> None:
    """Available KV cache of vLLM on H100, defaults (llm-d-benchmark, Apache-2.0). Within 3 %."""
    answer = held(catalog, model, "h100", tp, catalog.engine("vllm"))
    pool = sum(item.bytes for item in answer.items if item.name in ("kv cache", "state"))
    assert pool / GIB == pytest.approx(available_gib, rel=0.03)


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm", "generic"])
def test_the_items_fill_the_chip(catalog: Catalog, engine: str) -> None:
    answer = held(catalog, "llama-3.1-8b", "h100", 1, catalog.engine(engine))
    assert tier_total(answer, "hbm") == pytest.approx(
        catalog.chip("h100").memory[0].usable_capacity_bytes.value
    )
    assert all(item.bytes > 0 for item in answer.items)


def test_the_rules_by_hand(catalog: Catalog) -> None:
    claims = Claims(total=80.0, weights=20.0, activations=5.0, runtime=1.0, context=2.0, graphs=3.0)
    rule = {
        "utilization": 0.9 * 80 - 26,
        "static_fraction": 0.9 * 77 - 20,
        "free_fraction": 0.9 * 49,
        "all": 0.9 * 49,
    }
    for name, pool in rule.items():
        engine = engine_with(catalog, budget_rule=name, memory_fraction=0.9)
        assert cache_pool_bytes(engine, claims) == pytest.approx(pool)


def test_an_unknown_rule_is_a_catalog_error(catalog: Catalog) -> None:
    claims = Claims(total=1.0, weights=0.0, activations=0.0, runtime=0.0, context=0.0, graphs=0.0)
    with pytest.raises(CatalogError, match=r"unknown budget_rule 'half'\. Known: utilization"):
        cache_pool_bytes(engine_with(catalog, budget_rule="half"), claims)


def test_data_parallel_ranks_hold_a_cache_each(catalog: Catalog) -> None:
    model = catalog.model("llama-3.1-8b")
    one = Pool(chip=catalog.chip("h100"), engine=catalog.engine("vllm"), parallel=Parallel())
    four = replace(one, parallel=Parallel(dp=4))
    alone, together = (capacity(pool, model, model.precision, SHAPE) for pool in (one, four))
    assert together.max_batch == pytest.approx(4 * alone.max_batch, rel=0.02)  # communicators take a little


def test_a_recurrent_model_counts_state_not_blocks(catalog: Catalog) -> None:
    answer = held(catalog, "nemotron-h-56b", "h100", 4, catalog.engine("vllm"))
    assert answer.state_bytes_per_sequence > 0
    assert any(item.name == "state" for item in answer.items)
    assert answer.max_batch > 0


def test_weights_elsewhere_leave_the_hbm_to_the_cache(catalog: Catalog) -> None:
    chip = catalog.chip("h100")
    near = chip.memory[0]

    def gigabytes(value: float) -> Quantity:
        return replace(near.usable_capacity_bytes, value=value * 1e9)

    kinds = tuple(kind for kind in OperandKind if kind is not OperandKind.WEIGHTS)
    far: MemoryTier = replace(
        near,
        name="hbf",
        holds=(OperandKind.WEIGHTS,),
        usable_capacity_bytes=gigabytes(512.0),
        marketed_capacity_bytes=gigabytes(512.0),
    )
    split = replace(chip, memory=(replace(near, holds=kinds), far))
    model = catalog.model("llama-3.3-70b")
    pool = Pool(chip=split, engine=catalog.engine("vllm"), parallel=Parallel())
    answer = capacity(pool, model, model.precision, SHAPE)
    assert tier_total(answer, "hbf") == pytest.approx(512e9)
    assert {item.tier for item in answer.items if item.name.startswith("weights")} == {"hbf"}
    assert memory_problem(pool, model, model.precision, SHAPE) is None
    on_hbm = replace(pool, chip=chip)
    problem = memory_problem(on_hbm, model, model.precision, SHAPE)
    assert problem is not None
    assert problem.need is not None
    assert problem.have is not None
    assert problem.need > problem.have
    assert problem.reason.startswith("does not fit: weights 141.1 GB")


def test_layers_for_speculation_are_not_loaded(catalog: Catalog) -> None:
    """DeepSeek-R1 carries a layer for multi-token prediction, 1.56 GB a chip on eight."""
    model = catalog.model("deepseek-r1")
    pool = Pool(chip=catalog.chip("h200"), engine=catalog.engine("vllm"), parallel=Parallel(tp=8))
    without = replace(model, mtp=(), mtp_extra_parameters=0)
    assert model.mtp
    answers = [capacity(pool, each, each.precision, SHAPE) for each in (model, without)]
    assert answers[0] == answers[1]
    assert not any(item.name.endswith("mtp") for item in answers[0].items)
