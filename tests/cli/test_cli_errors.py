"""Bad input on the command line: one clear line or an infeasible row, exit code 2, never a traceback."""

import json
import os
from pathlib import Path

import pytest

from tokenroof.cli import main

SMALL = ["estimate", "--model", "llama-3.1-8b", "--chip", "h100"]


@pytest.fixture
def refused(capsys):
    """Runs a command that must fail, and gives the one line it says."""

    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("tokenroof: ")
        assert captured.err.count("\n") == 1
        assert "Traceback" not in captured.err
        return captured.err

    return run


@pytest.fixture
def infeasible(capsys):
    """Runs a command whose only answer is a row that says why there is none; gives that row as JSON."""

    def run(*arguments):
        assert main([*map(str, arguments), "--json"]) == 2
        captured = capsys.readouterr()
        assert captured.err == ""
        rows = json.loads(captured.out)["estimates"]
        assert all(not row["feasible"] and not row["metrics"] for row in rows)
        return rows[0]["infeasible"]

    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["estimate", "--model", "llama-3.1-8b", "--chip", "hh100"], "unknown chip 'hh100'. Nearest: h100"),
        (["estimate", "--model", "lama-3.1-8b", "--chip", "h100"], "Nearest: llama-3.1-8b"),
        ([*SMALL, "--engine", "vlm"], "unknown engine 'vlm'. Nearest: vllm"),
        (["links", "show", "nvlnk4"], "unknown link 'nvlnk4'. Nearest: nvlink4"),
        (["memories", "show", "hbm33"], "list them with 'tokenroof memories list'"),
        (["prices", "show", "cloud_medium"], "Nearest: cloud_median"),
        ([*SMALL, "--prefill-chip", "h2000"], "Nearest: h200"),
        ([*SMALL, "--region", "mars"], "unknown region 'mars'. Known: brazil"),
        ([*SMALL, "--price", "free"], "unknown price 'free'. Known: cloud"),
        ([*SMALL, "--pue", "mine"], "industry_latest"),
        ([*SMALL, "--weights", "fp5"], "unknown dtype 'fp5'. Known: fp32, bf16"),
        ([*SMALL, "--kv", "fp8_block"], "no format of a cache. Known: bf16"),
        ([*SMALL, "--chart-kind", "pie"], "unknown chart 'pie'. Known: roofline"),
        (["models", "list", "qqqqqqqq"], "no models match 'qqqqqqqq'"),
        (["chips", "show", "h1000"], "Nearest: h100"),
    ],
)
def test_an_unknown_name_offers_what_is_known(refused, arguments, words):
    assert words in refused(*arguments)


@pytest.mark.parametrize("option", ["--isl", "--osl", "--tp", "--pp", "--dp", "--ep", "--cp", "--replicas"])
@pytest.mark.parametrize("value", ["0", "-1", "1000000000000000"])
def test_counts_and_lengths_must_make_sense(refused, option, value):
    assert f"{option[2:]} must be" in refused(*SMALL, option, value)


@pytest.mark.parametrize("option", ["--batch", "--concurrency"])
@pytest.mark.parametrize("value", ["0", "-4"])
def test_at_least_one_sequence(refused, option, value):
    assert "must be a whole number of at least 1" in refused(*SMALL, option, value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--price", value) for value in ("nan", "-1", "0", "inf")),
        *(("--utilisation", value) for value in ("nan", "0", "1.5", "-0.1")),
        *(("--capex-usd", value) for value in ("nan", "-5")),
    ],
)
def test_money_must_be_a_number_that_makes_sense(refused, option, value):
    assert "must be" in refused(*SMALL, option, value)


@pytest.mark.parametrize("value", ["x", "1.5", "", "nan"])
def test_text_is_no_count(refused, value):
    assert "--tp" in refused(*SMALL, "--tp", value)


def test_batch_and_concurrency_conflict(refused):
    assert "not both" in refused(*SMALL, "--batch", "4", "--concurrency", "4")


def test_more_image_tokens_than_prompt(refused):
    assert "image_tokens must lie in 0..isl_tokens" in refused(*SMALL, "--image-tokens", "9999")


def test_prefill_ways_without_a_prefill_chip(refused):
    assert "need prefill_chip" in refused(*SMALL, "--prefill-tp", "2")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ('{"hidden_size": ', "not valid JSON"),
        ("[1, 2]", "got a JSON list"),
        ("{}", "required fields are missing: model_type"),
        ('{"model_type": "perceiver"}', "perceiver"),
    ],
)
@pytest.mark.parametrize("command", [["models", "import"], ["estimate", "--chip", "h100", "--model"]])
def test_a_malformed_config(refused, tmp_path, content, words, command):
    file = tmp_path / "config.json"
    file.write_text(content)
    assert words in refused(*command, file)
    assert words in refused(*command, tmp_path)


def test_a_binary_config(refused, tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(range(256)) * 20)
    assert "not UTF-8 text" in refused("estimate", "--chip", "h100", "--model", file)


def test_a_huge_config_is_not_read(refused, tmp_path):
    file = tmp_path / "config.json"
    with file.open("wb") as sparse:
        sparse.truncate(5 * 10**9)
    assert "5000.0 MB is too large" in refused("estimate", "--chip", "h100", "--model", file)


def test_a_directory_without_a_config(refused, tmp_path):
    assert "no such file" in refused("models", "import", tmp_path)
    assert "no such file" in refused("estimate", "--chip", "h100", "--model", tmp_path)


def test_a_device_is_no_config(refused):
    assert "neither a file nor a directory" in refused("models", "import", "/dev/zero")


@pytest.mark.parametrize("name", ["", " ", "a" * 5000, "a\0b", "{", "[]"])
def test_rubbish_for_a_model(refused, name):
    assert "model" in refused("estimate", "--chip", "h100", "--model", name)


@pytest.mark.parametrize("name", ["", "a" * 5000, "no/such.yaml", "a\0.yaml"])
def test_rubbish_for_a_chip(refused, name):
    assert len(refused("estimate", "--model", "llama-3.1-8b", "--chip", name)) < 300


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("--chart", "roof.bmp", "unknown chart format"),
        ("--chart", "roof", "unknown chart format"),
        ("--csv", "table.xls", "Known: .csv, .parquet"),
        ("--html", "report.pdf", "Known: .html"),
    ],
)
def test_an_unknown_extension_is_refused_before_anything_is_computed(refused, option, name, words):
    assert words in refused(*SMALL, option, name)


def test_output_that_cannot_be_written(capsys, tmp_path):
    taken = tmp_path / "file"
    taken.write_text("")
    assert main([*SMALL, "--csv", str(taken / "table.csv")]) == 2
    assert capsys.readouterr().err == (
        f"tokenroof: cannot write '{taken / 'table.csv'}': a directory of it is a file. Give another path.\n"
    )
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    assert main([*SMALL, "--csv", str(folder)]) == 2
    assert "Is a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("chips/mine.yaml", "extends: h100\nbananas: 3", "unknown field 'bananas'"),
        ("chips/mine.yaml", "extends: h1000", "Nearest: h100"),
        ("chips/mine.yaml", "", "empty"),
        ("chips/mine.yaml", "a: [1", "not valid YAML"),
        ("chips/mine.yaml", "extends: h100\ntdp: 3 bananas", "unknown unit"),
    ],
)
def test_a_broken_chip_of_the_user_names_file_and_field(refused, tmp_path, file, content, words):
    (tmp_path / "chips").mkdir()
    (tmp_path / file).write_text(content)
    command = ["estimate", "--model", "llama-3.1-8b", "--chip", "mine", "--catalog", tmp_path]
    message = refused(*command)
    assert words in message
    assert "mine.yaml" in message
    assert words in refused("chips", "show", "mine", "--catalog", tmp_path)


def test_broken_prices_of_the_user(refused, tmp_path):
    (tmp_path / "economics.yaml").write_text("[1, 2")
    assert "economics.yaml" in refused(*SMALL, "--catalog", tmp_path)


def test_no_such_catalog(refused, tmp_path, monkeypatch):
    assert "no catalog directory" in refused("chips", "list", "--catalog", tmp_path / "nowhere")
    monkeypatch.setenv("TOKENROOF_CATALOG", os.fspath(tmp_path / "nowhere"))
    assert "no catalog directory" in refused(*SMALL)


def test_tp_that_does_not_divide_the_heads_names_the_nearest_that_does(infeasible):
    problem = infeasible(*SMALL, "--tp", "3")
    assert "tp=3 does not divide the 32 query heads" in problem["reason"]
    assert "Use tp=2 or tp=4" in problem["reason"]


def test_longer_than_the_context(infeasible):
    problem = infeasible(*SMALL, "--isl", "131073")
    assert (problem["need"], problem["have"], problem["unit"]) == (131573, 131072, "tokens")


def test_absurd_lengths_are_still_a_row(infeasible):
    assert infeasible(*SMALL, "--isl", "1000000000000", "--tp", "1")["unit"] == "tokens"


def test_a_model_that_does_not_fit_says_what_would(infeasible):
    problem = infeasible("estimate", "--model", "llama-3.3-70b", "--chip", "h100", "--tp", "1")
    assert problem["need"] > problem["have"] > 0
    assert problem["unit"] == "bytes"
    assert "Try --tp 4" in problem["reason"]


def test_a_batch_above_what_fits(infeasible):
    problem = infeasible(*SMALL, "--batch", "100000")
    assert problem["need"] == 100000
    assert 0 < problem["have"] < 100000
    assert f"at most {problem['have']:.0f}" in problem["reason"]


def test_expert_parallelism_of_a_dense_model(infeasible):
    assert "routed experts" in infeasible(*SMALL, "--ep", "8")["reason"]


def test_one_feasible_chip_is_enough(capsys):
    command = ["estimate", "--model", "llama-3.3-70b", "--chip", "h100", "--chip", "b200", "--tp", "1"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "Infeasible" in shown
    assert "does not fit" in shown


def test_explain_says_why_not(capsys):
    assert main(["explain", "--model", "llama-3.1-8b", "--chip", "h100", "--tp", "3"]) == 2
    captured = capsys.readouterr()
    assert "does not divide" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize(
    "arguments", [["estimate"], ["nonsense"], ["--nonsense"], [*SMALL, "extra"], ["chips", "show"]]
)
def test_a_command_that_is_none(refused, arguments):
    assert len(refused(*arguments)) > len("tokenroof: \n")


def test_no_chart_is_left_behind_when_nothing_is_feasible(tmp_path: Path, capsys):
    chart = tmp_path / "chart.svg"
    assert main([*SMALL, "--tp", "3", "--chart", str(chart)]) == 2
    assert not chart.exists()
    assert "does not divide" in capsys.readouterr().out
