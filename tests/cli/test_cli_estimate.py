"""What ``estimate`` and ``explain`` print and write."""

import csv
import json
import re

import pytest
from typer.testing import CliRunner

from tokenroof.cli import main
from tokenroof.cli.app import app

SMALL = ["estimate", "--model", "llama-3.1-8b", "--chip", "h100"]


@pytest.fixture
def said(capsys):
    """Runs a command that must succeed, and gives what it printed."""

    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_chips_stand_side_by_side(said):
    shown = said(*SMALL, "--chip", "b200", "--chip", "mi300x")
    assert "llama-3.1-8b: 2,000 tokens in, 500 out, 64 sequences at once" in shown
    assert re.search(r"1 x h100 +1 x b200 +1 x mi300x", shown)
    for label in ("time to first token", "time per output token", "cost of output", "carbon, embodied"):
        assert label in shown
    assert "concurrency: 64 sequences per replica, the default" in shown
    assert "layout: 1 x h100 (tp=1, pp=1)" in shown


def test_json_is_pure_and_complete(capsys, tmp_path):
    table = tmp_path / "new" / "table.csv"
    assert main([*SMALL, "--json", "--csv", str(table)]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    row = document["estimates"][0]
    assert row["metrics"]["tpot_s"]["unit"] == "s"
    assert document["definitions"]["tpot_s"]["definition"]
    assert row["sources"]
    assert captured.err == f"wrote {table}\n"
    (line,) = csv.DictReader(table.read_text().splitlines())
    assert float(line["tpot_s"]) == pytest.approx(row["metrics"]["tpot_s"]["value"], rel=1e-12)


@pytest.mark.parametrize(
    ("suffix", "start"), [(".svg", b"<svg"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".html", b"<!DOCTYPE")]
)
def test_a_chart_in_a_directory_that_is_made(capsys, tmp_path, suffix, start):
    file = tmp_path / "a" / "b" / f"chart{suffix}"
    assert main([*SMALL, "--chart", str(file), "--chart-kind", "memory"]) == 0
    assert capsys.readouterr().err == f"wrote {file}\n"
    assert file.read_bytes().lstrip().startswith(start)


def test_a_sweep_draws_more_batches_than_were_asked(said, tmp_path):
    file = tmp_path / "sweep.svg"
    said(*SMALL, "--batch", "8", "--chart", file, "--chart-kind", "sweep")
    assert ">128<" in file.read_text()


def test_a_report_tells_of_chips_that_do_not_fit_too(capsys, tmp_path):
    file = tmp_path / "new" / "report.html"
    command = ["estimate", "--model", "llama-3.1-70b", "--chip", "b200", "--chip", "l4", "--tp", "1"]
    assert main([*command, "--html", str(file)]) == 0
    assert capsys.readouterr().err == f"wrote {file}\n"
    page = file.read_text()
    assert page.startswith("<!doctype html>")
    assert "does not fit" in page
    assert "<svg" in page


def test_a_report_is_written_even_when_nothing_fits(capsys, tmp_path):
    file = tmp_path / "report.html"
    assert main([*SMALL, "--tp", "3", "--html", str(file)]) == 2
    assert "does not divide" in file.read_text()


def test_parquet_by_extension(said, tmp_path):
    file = tmp_path / "table.parquet"
    said(*SMALL, "--csv", file)
    assert file.read_bytes().startswith(b"PAR1")


def test_every_option_reaches_the_answer(said):
    given = "--tp 2 --dp 2 --ep 4 --isl 1000 --osl 100 --batch 32 --weights fp8 --kv fp8 --engine sglang"
    document = json.loads(
        said(
            "estimate",
            "--model",
            "mixtral-8x7b",
            "--chip",
            "h200",
            *given.split(),
            "--replicas",
            "2",
            "--json",
        )
    )
    row = document["estimates"][0]
    pool = row["pools"][0]
    assert pool["parallel"] == {"tp": 2, "pp": 1, "dp": 2, "ep": 4, "cp": 1}
    assert (pool["engine"], pool["replicas"], row["num_chips"]) == ("sglang", 2, 8)
    assert row["workload"] == {"isl_tokens": 1000, "osl_tokens": 100, "image_tokens": 0, "concurrency": 64}
    assert row["precision"] == {
        "weights": "fp8",
        "experts": "fp8",
        "embedding": "bf16",
        "activations": "fp8",
        "expert_activations": "fp8",
        "kv": "fp8",
        "state": "fp32",
    }


def test_prefill_apart(said):
    row = json.loads(
        said(*SMALL, "--prefill-chip", "h200", "--prefill-tp", "2", "--prefill-replicas", "2", "--json")
    )["estimates"][0]
    assert [(pool["role"], pool["chip"]) for pool in row["pools"]] == [
        ("prefill", "h200"),
        ("decode", "h100"),
    ]
    assert row["pools"][0]["parallel"]["tp"] == 2
    assert row["num_chips"] == 5


def test_a_price_of_the_users_own_scales_the_cost(said):
    cost = [
        json.loads(said(*SMALL, "--price", price, "--json"))["estimates"][0]["metrics"]["usd_per_mtok_total"]
        for price in ("2", "4")
    ]
    assert cost[1]["value"] == pytest.approx(2 * cost[0]["value"])


def test_a_model_from_a_file_equals_the_catalog(said, tmp_path):
    config = {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": False,
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    metrics = [
        json.loads(said("estimate", "--model", model, "--chip", "h100", "--json"))["estimates"][0]["metrics"]
        for model in ("llama-3.1-8b", file, tmp_path, json.dumps(config))
    ]
    assert metrics[0] == metrics[1] == metrics[2] == metrics[3]


def test_a_chip_of_the_users_own(said, tmp_path, monkeypatch):
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips" / "mine.yaml").write_text("extends: h100\ntitle: Mine\nrelative: h100\n")
    fast = json.loads(said(*SMALL, "--json"))["estimates"][0]["metrics"]["tpot_s"]
    for more in (["--catalog", tmp_path], []):
        if not more:
            monkeypatch.setenv("TOKENROOF_CATALOG", str(tmp_path))
        row = json.loads(said("estimate", "--model", "llama-3.1-8b", "--chip", "mine", "--json", *more))[
            "estimates"
        ][0]
        assert row["metrics"]["tpot_s"]["value"] == pytest.approx(fast["value"], rel=1e-9)
        assert "mine" in said("chips", "list", "mine", *more)


def test_explain_accounts_for_time_memory_and_sources(said):
    shown = said("explain", "--model", "llama-3.1-8b", "--chip", "h100")
    for words in (
        "Prefill of one prompt of 2,000 tokens takes",
        "attn.decode",
        "weights",
        "Sources",
        "aic: ",
    ):
        assert words in shown


def test_help_of_every_command():
    runner = CliRunner()
    for command in ([], ["estimate"], ["explain"], ["chips"], ["models", "import"], ["prices", "show"]):
        result = runner.invoke(app, [*command, "--help"])
        assert result.exit_code == 0
        assert "Usage" in result.output


def test_version(said):
    assert re.fullmatch(r"tokenroof \d+\.\d+\.\d+\n", said("--version"))
