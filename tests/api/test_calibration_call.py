"""``tr.calibration``: rows in memory, what it returns, what it writes."""

import json

import pytest

import tokenroof as tr

ROW = {
    "hardware": "h100",
    "num_gpus": 1,
    "tp": 1,
    "model": "llama-3.1-8b",
    "framework": "vllm",
    "isl": 300,
    "osl": 60,
    "length_distribution": "fixed",
}
ROWS = [
    ROW | {"id": f"c{load}", "load": f"closed:conc={load}", "n_requests": 4 * load, "mean_tpot_s": tpot}
    for load, tpot in ((1, 0.0108), (8, 0.0114), (32, 0.0126))
]


@pytest.fixture(scope="module")
def found() -> tr.Calibration:
    return tr.calibration(ROWS, parameters="step_overhead_s:h100", cv="row", workers=1)


def test_it_says_in_short_what_it_is(found: tr.Calibration) -> None:
    assert repr(found).startswith("Calibration: 1 parameters from 3 rows")
    assert found.feasible
    assert found.parameters[0].tunable.unit == "s"


def test_tables_and_json_say_the_same(found: tr.Calibration) -> None:
    told = json.loads(found.json())
    value = told["parameters"][0]["value"]
    assert f"{value:.4g} s" in str(found)
    assert told["operators"] == []


def test_what_is_saved_is_a_catalog(found: tr.Calibration, tmp_path) -> None:
    written = {path.name for path in found.save(tmp_path / "mine")}
    assert written == {"calibration.json", "tuning.csv", "served.csv", "without.csv"}
    slower = tr.simulate("llama-3.1-8b", "h100", rate=1, num_requests=5, catalog=tmp_path / "mine")
    faster = tr.simulate("llama-3.1-8b", "h100", rate=1, num_requests=5)
    assert slower.metric("tpot_s") > faster.metric("tpot_s")


def test_nothing_fitted_is_an_answer_that_cannot_be_saved(tmp_path) -> None:
    found = tr.calibration([row | {"hardware": "h1000"} for row in ROWS], workers=1)
    assert not found.feasible
    assert "no row can be fitted on" in found.reason
    with pytest.raises(tr.InputError, match="nothing was fitted"):
        found.save(tmp_path / "mine")


def test_without_measurements_there_is_nothing_to_do() -> None:
    with pytest.raises(tr.InputError, match="nothing to fit to"):
        tr.calibration()
