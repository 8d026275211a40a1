"""Options of engines: what they change, and every way of writing them wrong."""

import pytest

from tokenroof.catalog.catalog import Catalog, load
from tokenroof.catalog.core import Engine
from tokenroof.deploy.simulated.engines.choose import engine_options, engine_with
from tokenroof.errors import CatalogError, InputError, UnknownNameError

GB80 = 80e9


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def changed(catalog: Catalog, name: str, **options: object) -> Engine:
    engine = catalog.engine(name)
    return engine_with(engine, engine_options(engine, options))


@pytest.mark.parametrize(
    ("engine", "options", "fields"),
    [
        ("vllm", {"max_num_seqs": 64, "block_size": 32}, {"max_num_seqs": 64, "block_tokens": 32}),
        ("vllm", {"gpu_memory_utilization": 0.8}, {"memory_fraction": 0.8}),
        ("vllm", {"--max-num-batched-tokens": 2048}, {"max_num_batched_tokens": 2048}),
        ("vllm", {"enable_chunked_prefill": False}, {"chunked_prefill": False}),
        ("sglang", {"max_running_requests": 48, "page_size": 64}, {"max_num_seqs": 48, "block_tokens": 64}),
        ("sglang", {"mem_fraction_static": 0.7}, {"memory_fraction": 0.7}),
        ("sglang", {"chunked_prefill_size": 4096}, {"max_num_batched_tokens": 4096}),
        (
            "sglang",
            {"chunked_prefill_size": -1},
            {"max_num_batched_tokens": 16384, "chunked_prefill": False},
        ),
        ("trtllm", {"kv_cache_free_gpu_mem_fraction": 0.5}, {"memory_fraction": 0.5}),
        ("trtllm", {"free_gpu_memory_fraction": 0.5}, {"memory_fraction": 0.5}),
        ("trtllm", {"max_batch_size": 16, "max_num_tokens": 4096}, {"max_num_seqs": 16}),
        ("trtllm", {"tokens_per_block": 64}, {"block_tokens": 64}),
        ("generic", {"max_num_seqs": 7}, {"max_num_seqs": 7}),
    ],
)
def test_options_change_the_engine(
    catalog: Catalog, engine: str, options: dict[str, object], fields: dict[str, object]
) -> None:
    found = changed(catalog, engine, **options)
    assert {name: getattr(found, name) for name in fields} == fields
    plain = catalog.engine(engine)
    others = {"name", "budget_rule", "kernels", "context_bytes", "graph_bytes"}
    assert all(getattr(found, name) == getattr(plain, name) for name in others)


def test_what_is_not_given_is_the_catalogs(catalog: Catalog) -> None:
    for name in catalog.engines():
        assert changed(catalog, name) == catalog.engine(name)


def test_a_number_of_the_users_is_said_to_be_his(catalog: Catalog) -> None:
    found = changed(catalog, "vllm", max_num_seqs=64)
    assert found.settings["max_num_seqs"].source == "user"
    assert found.settings["block_tokens"].source == "vllm-docs"


def test_the_same_options_give_the_same_engine_object(catalog: Catalog) -> None:
    """Compiled step tables are kept by identity."""
    assert changed(catalog, "vllm", max_num_seqs=64) is changed(catalog, "vllm", max_num_seqs=64)


@pytest.mark.parametrize(
    ("engine", "options", "said"),
    [
        ("vllm", {"max_num_seq": 64}, r"unknown vllm option 'max_num_seq'\. Nearest: max_num_seqs"),
        ("vllm", {"mem_fraction_static": 0.8}, r"unknown vllm option 'mem_fraction_static'"),
        ("vllm", {"kv_cache_dtype": "fp8"}, r"belongs to the model: give it as 'kv'"),
        ("sglang", {"tp_size": 4}, r"belongs to the pool: give it as 'tp'"),
        ("vllm", {"max_num_seqs": 0}, r"vllm option max_num_seqs must be at least 1, got 0"),
        ("vllm", {"max_num_seqs": "64"}, r"must be a whole number, got '64'"),
        ("vllm", {"max_num_seqs": True}, r"must be a whole number, got True"),
        ("vllm", {"max_num_seqs": 6.5}, r"must be a whole number, got 6\.5"),
        ("vllm", {"gpu_memory_utilization": 1.2}, r"above 0 and at most 1, got 1\.2"),
        ("vllm", {"gpu_memory_utilization": 0}, r"above 0 and at most 1, got 0"),
        ("vllm", {"enable_prefix_caching": 1}, r"must be true or false, got 1"),
        ("vllm", {"cudagraph_capture_sizes": 8}, r"must be a list of whole numbers, got 8"),
        ("vllm", {"max_num_seqs": 8, "--max-num-seqs": 9}, r"is given twice"),
        ("sglang", {"chunked_prefill_size": -2}, r"at least 1, got -2"),
        ("sglang", {"chunked_prefill_size": -1, "enable_mixed_chunk": True}, r"needs chunks"),
        ("sglang", {"schedule_conservativeness": 0}, r"must be above 0, got 0"),
        ("trtllm", {"capacity_scheduler_policy": "EVICT"}, r"one of GUARANTEED_NO_EVICT, MAX_UTILIZATION"),
    ],
)
def test_wrong_options_are_refused(
    catalog: Catalog, engine: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        engine_options(catalog.engine(engine), options)


def test_static_batching_is_a_rule_of_its_own(catalog: Catalog) -> None:
    engine = catalog.engine("vllm")
    settings = engine_options(engine, {"max_batch_size": 8, "batch_timeout_s": 0.1}, scheduler="static")
    found = engine_with(engine, settings)
    assert (found.max_num_seqs, found.chunked_prefill, found.budget_rule) == (8, False, "utilization")
    assert settings.scheduler(found).settings()["max_seqs"] == 8
    with pytest.raises(UnknownNameError, match=r"unknown scheduler 'statc'\. Nearest: static"):
        engine_options(engine, {}, scheduler="statc")


def test_an_engine_with_an_unknown_rule_is_a_catalog_error(catalog: Catalog) -> None:
    from dataclasses import replace

    with pytest.raises(CatalogError, match="unknown budget_rule 'half'"):
        engine_options(replace(catalog.engine("vllm"), budget_rule="half"), {})


@pytest.mark.parametrize(
    ("engine", "options", "tp", "query", "head", "last"),
    [
        ("vllm", {}, 1, 1, (1, 2, 4, 8, 16), 512),
        ("vllm", {"max_num_seqs": 16}, 1, 1, (1, 2, 4, 8, 16), 32),
        ("vllm", {"max_num_seqs": 16}, 1, 4, (1, 2, 4, 6, 8), 32),
        ("vllm", {"enforce_eager": True}, 1, 1, (), 0),
        ("vllm", {"cudagraph_capture_sizes": [4, 1]}, 1, 1, (1, 4), 4),
        ("sglang", {}, 1, 1, (1, 2, 4, 8, 12), 256),
        ("sglang", {}, 4, 1, (1, 2, 4, 8, 12), 512),
        ("sglang", {}, 1, 4, (1, 2, 3, 4, 5), 256),
        ("sglang", {"disable_cuda_graph_padding": True}, 1, 1, (), 0),
        ("trtllm", {}, 1, 1, (), 0),
        ("trtllm", {"cuda_graph_padding_enabled": True}, 1, 1, (1, 2, 4, 8, 16), 128),
        ("generic", {}, 1, 1, (), 0),
    ],
)
def test_graphs_are_captured_for_the_engines_own_sizes(
    catalog: Catalog,
    engine: str,
    options: dict[str, object],
    tp: int,
    query: int,
    head: tuple[int, ...],
    last: int,
) -> None:
    """VllmConfig._set_cudagraph_sizes (tokens), ServerArgs of SGLang, CudaGraphConfig of TensorRT-LLM."""
    settings = engine_options(catalog.engine(engine), options)
    sizes = settings.graph_sizes(
        engine_with(catalog.engine(engine), settings), query_tokens=query, chip_bytes=GB80, tp=tp
    )
    assert sizes[: len(head)] == head
    assert (sizes[-1] if sizes else 0) == last
    assert list(sizes) == sorted(set(sizes))


OFF = {
    "vllm": {"async_scheduling": False},
    "sglang": {"disable_overlap_schedule": True},
    "trtllm": {"disable_overlap_scheduler": True},
}


@pytest.mark.parametrize("engine", OFF)
def test_without_overlap_the_host_costs_the_upper_end_of_its_range(catalog: Catalog, engine: str) -> None:
    plain, slow = changed(catalog, engine), changed(catalog, engine, **OFF[engine])
    assert slow.step_overhead_s.value == plain.step_overhead_s.high
    assert slow.step_overhead_s.value > plain.step_overhead_s.value


@pytest.mark.parametrize("engine", OFF)
def test_steps_are_planned_ahead_unless_told_otherwise(catalog: Catalog, engine: str) -> None:
    found = catalog.engine(engine)
    assert engine_options(found, {}).scheduler(found).settings()["ahead"]
    assert not engine_options(found, OFF[engine]).scheduler(found).settings()["ahead"]


def test_static_batches_and_no_engine_in_particular_do_not_plan_ahead(catalog: Catalog) -> None:
    generic, vllm = catalog.engine("generic"), catalog.engine("vllm")
    assert not engine_options(generic, {}).scheduler(generic).settings()["ahead"]
    static = engine_options(vllm, {}, scheduler="static").scheduler(vllm).settings()
    assert not static.get("ahead", False)
