"""``import tokenroof as tr``: what a notebook sees."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import tokenroof as tr
from tokenroof.deploy.core import Estimate, Role

MODEL, CHIP = "llama-3.1-8b", "h100"


@pytest.fixture(scope="module")
def answer():
    return tr.estimate(MODEL, [CHIP, "b200"], isl=1000, osl=200, concurrency=8)


def test_exported_names_are_exactly_those_that_load():
    assert sorted(tr.__all__) == list(tr.__all__) == sorted(tr._HOMES)
    for name in tr.__all__:
        assert getattr(tr, name).__name__ == name
        assert name in dir(tr)
    with pytest.raises(AttributeError, match="has no attribute 'estimat'"):
        _ = tr.estimat


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, tokenroof as tr; loaded = {m.split('.')[0] for m in sys.modules}; "
        "assert not loaded & {'numpy', 'polars', 'altair', 'pydantic', 'typer', 'rich'}, loaded; "
        "tr.estimate('llama-3.1-8b', 'h100'); loaded = {m.split('.')[0] for m in sys.modules}; "
        "assert not loaded & {'polars', 'altair', 'vl_convert', 'typer', 'rich'}, loaded"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""


def test_an_answer_is_a_sequence_of_estimates(answer):
    assert len(answer) == 2
    assert all(isinstance(each, Estimate) for each in answer)
    assert answer[1] is list(answer)[1]
    assert [each.label for each in answer] == [CHIP, "b200"]
    assert answer.feasible
    with pytest.raises(AttributeError):
        answer.estimates = ()


def test_an_answer_shows_itself(answer):
    assert "time per output token" in str(answer)
    assert "time per output token" in answer._repr_html_()
    assert answer._repr_html_().startswith("<pre")
    assert answer.table().columns
    assert "Sources" in answer.explain()
    assert tr.explain(MODEL, CHIP, isl=1000, osl=200, concurrency=8) in answer.explain()


def test_repr_is_one_line_per_estimate(answer):
    head, *lines = repr(answer).splitlines()
    assert head.startswith("Answer of 2 estimates")
    assert [line.split(":")[0].strip() for line in lines] == [CHIP, "b200"]
    assert all("tpot_s " in line for line in lines)
    alone = repr(tr.estimate("llama-3.3-70b", "l4", tp=1)).splitlines()
    assert alone[0].startswith("Answer of 1 estimate;")
    assert "infeasible: " in alone[1]
    assert repr(tr.Answer(())).startswith("Answer of 0 estimates")


def test_one_metric_of_an_answer(answer):
    assert answer.metric("tpot_s", 1) == answer.metric("tpot_s", -1) == answer[1].metrics["tpot_s"].value
    assert tr.Answer(answer.estimates[:1]).metric("ttft_s") == answer[0].metrics["ttft_s"].value
    with pytest.raises(tr.InputError, match=r"holds 2 estimates. Say which: metric\('tpot_s', 0\)"):
        answer.metric("tpot_s")
    for index in (2, -3):
        with pytest.raises(tr.InputError, match=r"index must lie in 0\.\.1"):
            answer.metric("tpot_s", index)
    with pytest.raises(tr.InputError, match=r"unknown metric 'tpot'\. Known: .*tpot_s"):
        answer.metric("tpot", 0)


def test_a_metric_of_what_cannot_be_says_why():
    alone = tr.estimate("llama-3.3-70b", "l4", tp=1)
    with pytest.raises(tr.InputError, match="no tpot_s, the estimate is infeasible: does not fit: weights"):
        alone.metric("tpot_s")


def test_an_answer_is_a_frame(answer):
    frame = answer.to_frame()
    assert isinstance(frame, pl.DataFrame)
    assert frame["chip"].to_list() == [CHIP, "b200"]
    assert frame["tpot_s"][0] == answer[0].metrics["tpot_s"].value


@pytest.mark.parametrize("suffix", [".json", ".csv", ".parquet", ".svg", ".html"])
def test_saving_goes_by_extension(answer, tmp_path, suffix):
    file = tmp_path / "deep" / f"answer{suffix}"
    assert answer.save(file) == file
    assert file.stat().st_size > 500


def test_saving_as_something_unknown(answer, tmp_path):
    with pytest.raises(tr.InputError, match=r"Known: \.svg, \.png, \.pdf, \.html, \.json, \.csv, \.parquet"):
        answer.save(tmp_path / "answer.xlsx")
    with pytest.raises(tr.InputError, match="unknown chart 'pie'"):
        answer.save(tmp_path / "answer.svg", kind="pie")
    assert list(tmp_path.iterdir()) == []


def test_a_model_and_a_chip_may_be_objects(answer, tmp_path):
    catalog = tr.load_catalog()
    again = tr.estimate(
        catalog.model(MODEL), catalog.chip(CHIP), isl=1000, osl=200, concurrency=8, catalog=catalog
    )
    assert again[0].metrics == answer[0].metrics
    file = tmp_path / "faster.yaml"
    file.write_text("extends: b200\n")
    mine = tr.estimate(MODEL, file, isl=1000, osl=200, concurrency=8)
    assert mine[0].deployment.pools[0].chip.name == "faster"


@pytest.mark.parametrize(
    ("weights", "activations", "embedding"),
    [
        ("bf16", "bf16", "bf16"),
        ("fp16", "fp16", "fp16"),
        ("fp8", "fp8", "bf16"),
        ("fp8_block", "fp8", "bf16"),
        ("nvfp4", "nvfp4", "bf16"),
        ("mxfp4", "mxfp8", "bf16"),
        ("int4", "bf16", "bf16"),
        ("w4a16_mxfp4", "bf16", "bf16"),
    ],
)
def test_weights_bring_their_activations(weights, activations, embedding):
    chosen = tr.estimate(MODEL, CHIP, weights=weights)[0].deployment.precision
    assert (chosen.weights, chosen.experts) == (weights, weights)
    assert (chosen.activations, chosen.embedding, chosen.kv) == (activations, embedding, "bf16")


def test_weight_only_formats_leave_a_quantised_models_arithmetic_at_16_bit():
    assert tr.estimate("deepseek-v3", "b200", weights="int4")[0].deployment.precision.activations == "bf16"


def test_ways_left_open_are_chosen_and_said():
    chosen = tr.estimate("llama-3.3-70b", CHIP)[0]
    assert chosen.deployment.pools[0].parallel.tp == 4
    assert any(note.startswith("layout: 4 x h100 (tp=4, pp=1)") for note in chosen.assumptions)
    given = tr.estimate("llama-3.3-70b", CHIP, tp=4)[0]
    assert given.metrics == chosen.metrics
    assert not any(note.startswith("layout") for note in given.assumptions)
    spread = tr.estimate("deepseek-v3", "h200", dp=8, ep=8)[0].deployment.pools[0].parallel
    assert (spread.tp, spread.dp, spread.ep) == (1, 8, 8)
    sharded = tr.estimate("deepseek-v3", "h200", ep=8)[0].deployment.pools[0].parallel
    assert (sharded.tp, sharded.ep) == (8, 8)


def test_prefill_on_other_chips():
    pools = tr.estimate(MODEL, CHIP, prefill_chip="h200", prefill_replicas=2)[0].deployment.pools
    assert [(pool.role, pool.chip.name, pool.replicas) for pool in pools] == [
        (Role.PREFILL, "h200", 2),
        (Role.DECODE, CHIP, 1),
    ]


def test_a_sweep_runs_from_one_to_what_fits():
    sweep = tr.batch_sweep(MODEL, [CHIP, "h200"], isl=1000, osl=200)
    first = [each.concurrency for each in sweep if each.deployment.pools[0].chip.name == CHIP]
    assert first[:4] == [1, 2, 4, 8]
    assert first[-1] <= sweep[0].metrics["max_batch"].value < 2 * first[-1]
    assert all(each.feasible for each in sweep)
    rates = [each.metrics["output_tokens_per_s_per_chip"].value for each in sweep][: len(first)]
    assert rates == sorted(rates)
    asked = tr.batch_sweep(MODEL, CHIP, batches=[3, 10**6])
    assert [each.feasible for each in asked] == [True, False]
    assert sweep.chart("sweep").to_dict()["layer"]


BAD = {
    "tp": (0, -1, True, 1.5, float("nan"), "2", 10**6, 10**400),
    "isl": (0, -1, False, 2.0, None, "x"),
    "osl": (0, float("inf")),
    "image_tokens": (-1, 1.0),
    "concurrency": (0, True, 1.5, 10**9),
    "batch": (0, "8"),
    "replicas": (0, None, 10**6),
    "prefill_tp": (2,),
    "weights": ("fp5", 8, ""),
    "kv": ("fp5", 8, "int4_g32"),
    "engine": ("vlm", None, 3, ""),
    "price": ("free", "nan", float("nan"), -1, 0, True, None),
    "region": ("mars", None, 1),
    "pue": ("x", 1.2),
    "utilisation": (0, 1.5, float("nan"), "half", None, True),
    "capex_usd": (0, float("nan"), "much"),
    "prefill_chip": ("h1000", 5, ""),
    "catalog": ("/no/such/directory",),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_every_argument_is_checked(name, value):
    with pytest.raises(tr.InputError) as caught:
        tr.estimate(MODEL, CHIP, **{name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("chip", ["", [], None, 5, [None], "h1000", Path("no.yaml"), [["h100"]]])
def test_rubbish_for_a_chip(chip):
    with pytest.raises(tr.TokenroofError):
        tr.estimate(MODEL, chip)


@pytest.mark.parametrize("model", ["", None, 5, "lama", {}, {"model_type": 3}, "{", Path("no"), [], b"x"])
def test_rubbish_for_a_model(model):
    with pytest.raises(tr.InputError):
        tr.estimate(model, CHIP)


def test_batches_may_not_be_empty():
    with pytest.raises(tr.InputError, match="batches must not be empty"):
        tr.batch_sweep(MODEL, CHIP, batches=[])
