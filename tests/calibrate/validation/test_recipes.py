"""Options that servers of published benchmarks were started with."""

from typing import Any

import pytest

from tokenroof.calibrate.validation.case import case_of
from tokenroof.calibrate.validation.core import Row
from tokenroof.calibrate.validation.engines import engine_of, recipe_notes, settings_of
from tokenroof.calibrate.validation.recipes import recipes, started_with
from tokenroof.catalog.catalog import Catalog, load
from tokenroof.deploy.simulated.engines.choose import engine_options

DEEPSEEK = {
    "source": "InferenceMAX",
    "framework": "sglang",
    "hardware": "B200-SXM-180GB",
    "model": "DeepSeek-R1-0528",
    "weight_precision": "nvfp4",
    "tp": "8",
    "isl": "1024",
    "osl": "8192",
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def row(**texts: str) -> Row:
    return Row(line=2, texts=DEEPSEEK | texts)


def values(concurrency: int | None = 64, **texts: str) -> dict[str, Any]:
    return {name: each.value for name, each in started_with(row(**texts), concurrency).items()}


@pytest.mark.parametrize(("concurrency", "interval"), [(4, 10), (15, 10), (16, 30), (256, 30)])
def test_requests_are_received_more_rarely_with_many_clients(concurrency: int, interval: int) -> None:
    assert values(concurrency) == {
        "max_running_requests": 256,
        "chunked_prefill_size": 16384,
        "mem_fraction_static": 0.85,
        "cuda_graph_max_bs": 256,
        "scheduler_recv_interval": interval,
    }


@pytest.mark.parametrize(
    "texts",
    [
        {"source": "Nebius-H200"},
        {"source": ""},
        {"framework": "dynamo-sglang"},
        {"framework": "vllm"},
        {"hardware": "GB200-NVL72"},
        {"model": "DeepSeek-V4-Pro"},
        {"weight_precision": "bf16"},
    ],
)
def test_rows_of_others_get_none(texts: dict[str, str]) -> None:
    assert values(**texts) == {}


def test_names_of_aggregates_are_understood() -> None:
    written = {"source": "InferenceX", "hardware": "b200", "weight_precision": "fp4"}
    assert values(model="nvidia/DeepSeek-R1-0528-FP4-V2", **written)["scheduler_recv_interval"] == 30
    assert values(framework="TensorRT-LLM", **written)["cuda_graph_max_batch_size"] == 512


def test_lengths_choose_among_the_limits_of_a_script() -> None:
    h200 = {"hardware": "H200-SXM-141GB", "weight_precision": "fp8-block"}
    assert values(**h200)["max_running_requests"] == 256
    assert values(osl="1024", **h200)["max_running_requests"] == 512
    amd = {"hardware": "MI355X", "weight_precision": "mxfp4", "isl": "8192", "osl": "1024"}
    assert [values(conc, **amd)["chunked_prefill_size"] for conc in (32, 64)] == [196608, 32768]


def test_the_clients_concurrency_may_be_the_limit() -> None:
    vllm = {"framework": "vllm", "model": "gpt-oss-120b", "weight_precision": "mxfp4", "hardware": "H100-SXM"}
    assert values(48, **vllm)["max_num_seqs"] == 48
    assert "max_num_seqs" not in values(None, **vllm)


def test_columns_of_the_row_win_and_notes_say_what_was_taken(catalog: Catalog) -> None:
    engine = engine_of("sglang", catalog)
    told = row(max_num_seqs="100", max_batched_tokens="4096")
    found: Any = settings_of(told, engine, concurrency=64, limited=True)
    assert (found.max_running_requests, found.chunked_prefill_size) == (100, 4096)
    assert (found.scheduler_recv_interval, found.mem_fraction_static) == (30, 0.85)
    (note,) = recipe_notes(told, engine, concurrency=64, limited=True)
    assert note == (
        "server started with mem_fraction_static=0.85, cuda_graph_max_bs=256, scheduler_recv_interval=30 "
        "(SemiAnalysisAI/InferenceX benchmarks/dsr1_fp4_b200.sh at 1fc5d73)"
    )


def test_a_case_is_noted_and_served_with_its_recipe(catalog: Catalog) -> None:
    texts = {"load": "closed:conc=4", "num_gpus": "8", "ep": "8", "n_requests": "40"}
    case = case_of(row(**texts), catalog)
    settings: Any = case.serving.pools[0].settings
    assert settings.scheduler_recv_interval == 10
    assert any("scheduler_recv_interval=10" in note for note in case.notes)
    other = case_of(row(source="somebody", **texts), catalog)
    assert not any("server started with" in note for note in other.notes)


def test_pools_apart_were_started_with_other_scripts(catalog: Catalog) -> None:
    engine = engine_of("sglang", catalog)
    found: Any = settings_of(row(), engine, concurrency=64, limited=False)
    assert (found.scheduler_recv_interval, found.max_running_requests) == (1, None)
    assert recipe_notes(row(), engine, concurrency=64, limited=False) == ()


def test_every_line_is_an_option_of_its_engine_and_says_where_it_is_from(catalog: Catalog) -> None:
    assert len(recipes()) > 100
    for recipe in recipes():
        assert recipe.framework in ("sglang", "vllm", "trt")
        assert catalog.chip(recipe.hardware)
        texts = {"source": recipe.sources[0], "framework": recipe.framework, "hardware": recipe.hardware}
        texts |= {"model": recipe.model, "weight_precision": recipe.weights, **recipe.equal}
        concurrency = max(recipe.least_concurrency, 1)
        found = started_with(Row(line=2, texts=texts), concurrency)[recipe.option]
        engine_options(engine_of(recipe.framework, catalog), {recipe.option: found.value})
        assert recipe.source.startswith("SemiAnalysisAI/InferenceX benchmarks/")
        assert len(recipe.source.rsplit(" at ", 1)[1]) == 7
