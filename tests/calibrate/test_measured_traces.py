"""Measured serving runs: what ships is what was published, and the page says what is predicted now."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from tokenroof.calibrate.serving import METRICS, predict, predicted, read_runs
from tokenroof.catalog.catalog import load
from tokenroof.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
RUNS = {run.name: run for run in read_runs(ROOT / "calibration" / "measured_serving")}


def _load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


measured_traces = _load("measured_traces")
text = measured_traces.text


# Of the source's own summaries: run, stage, mean and p99 TTFT, mean and p99 E2E [s].
PUBLISHED = (
    ("llama-2-7b codegen", 0, 0.0250366, 0.0459702, 1.81032, 2.18883),
    ("llama-2-7b general", 1, 0.0518544, 0.0724777, 4.15815, 5.2405),
    ("codellama-34b roleplay", 0, 0.0456836, 0.0748752, 3.66973, 4.23093),
    ("mixtral-8x7b codegen", 0, 0.0630034, 0.481588, 4.51852, 8.15753),
    ("codellama-34b reasoning", 0, 120.171, 261.229, 158.991, 297.706),
    ("llama-3.1-8b sharegpt", 0, 7.09716, 19.7553, 28.2007, 37.6388),
    ("qwen3-32b sharegpt", 0, 36.9052, 93.3471, 90.4081, 126.337),
)


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row[0])
def test_what_ships_has_the_published_latencies(row):
    name, stage, mean_ttft_s, p99_ttft_s, mean_e2e_s, p99_e2e_s = row
    run = RUNS[name]
    chosen = run.stage == stage
    ttft_s, e2e_s = run.measured.of("ttft_s", chosen), run.measured.of("e2e_s", chosen)
    assert ttft_s.mean() == pytest.approx(mean_ttft_s, rel=1e-4)
    assert e2e_s.mean() == pytest.approx(mean_e2e_s, rel=1e-4)
    assert np.percentile(ttft_s, 99) == pytest.approx(p99_ttft_s, rel=2e-3)
    assert np.percentile(e2e_s, 99) == pytest.approx(p99_e2e_s, rel=2e-3)


def test_every_open_trace_ships_with_its_address():
    assert len(RUNS) == 12
    for run in RUNS.values():
        assert run.source_url.startswith("https://")
        assert run.licence
        assert (np.diff(run.arrival_s) >= 0).all()
        assert (run.measured.e2e_s > run.measured.ttft_s).all()


def test_prompts_that_come_again_are_the_same_blocks():
    run = RUNS["llama-2-7b codegen"]
    prefixes = run.requests(repeating=True).prefixes
    blocks = [prefixes.ids[prefixes.start[i] : prefixes.start[i + 1]] for i in (0, 1, 100, 101)]
    assert blocks[0].tolist() == blocks[2].tolist()
    assert blocks[1].tolist() == blocks[3].tolist()
    assert not set(blocks[0]) & set(blocks[1])
    assert run.requests(repeating=False).prefixes is None


def test_nothing_is_made_up_of_prompts_that_are_not_known_to_repeat():
    with pytest.raises(InputError, match="nothing is known of repeated prompts"):
        RUNS["qwen3-32b sharegpt"].requests(repeating=True)


def test_the_page_is_current():
    page = (ROOT / "docs" / "measured-traces.md").read_text(encoding="utf-8")
    assert page == measured_traces.page(), "docs/measured-traces.md is out of date: run make docs"


# Mean TPOT and E2E, predicted over measured. Wider only with a Numbers fragment in changelog.d.
PINNED = (
    ("llama-2-7b general", True, 1.09, 1.09),
    ("codellama-34b codegen", True, 1.08, 1.08),
    ("mixtral-8x7b roleplay", True, 1.15, 1.15),
    ("codellama-34b general", False, 1.95, 23.9),
    ("llama-3.1-8b sharegpt", False, 0.98, 0.969),
)


@pytest.mark.parametrize(("name", "repeating", "tpot", "e2e"), PINNED)
def test_predictions_stay_where_they_are(name, repeating, tpot, e2e):
    run = RUNS[name]
    found = predicted(predict(run, load(), repeating=repeating))
    assert found.tpot_s.mean() / run.measured.tpot_s.mean() == pytest.approx(tpot, rel=0.02)
    assert found.e2e_s.mean() / run.measured.e2e_s.mean() == pytest.approx(e2e, rel=0.02)


def test_an_error_that_nobody_has_explained_stops_the_page():
    with pytest.raises(LookupError, match="unexplained"):
        text.footnote("llama-2-7b codegen", "tpot_s", "mean", place="whole")
    with pytest.raises(LookupError, match="unexplained"):
        text.footnote("llama-2-7b codegen", "ttft_s", "p50", place="whole")
    page = (ROOT / "docs" / "measured-traces.md").read_text(encoding="utf-8")
    for letter in "abcde":
        assert f'<a id="{letter}"></a>' in page


def test_ratios_are_bold_beyond_a_factor_of_two_either_way():
    run = RUNS["codellama-34b reasoning"]
    assert [measured_traces.gross(ratio) for ratio in (0.494, 0.5, 1.0, 2.0, 2.01)] == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert measured_traces.ratio_cell(run, "ttft_s", "mean", 0.5) == "0.50"
    assert measured_traces.ratio_cell(run, "ttft_s", "mean", 0.42) == "**0.42** [b](#b)"


def test_every_request_of_every_run_is_served_in_the_simulation():
    run = RUNS["codellama-34b reasoning"]
    found = predicted(predict(run, load(), repeating=True))
    for metric in METRICS:
        assert np.isfinite(found.of(metric)).all()
        assert (found.of(metric) > 0).all()
