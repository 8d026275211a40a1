"""``tokenroof runs``: what is printed, the JSON, and one line for what cannot be."""

import json
from pathlib import Path

import polars as pl
import pytest

from plan_by_hand import choice, record, result
from small_runs import QUESTION
from tokenroof.api.runs.simulations import Simulations
from tokenroof.api.runs.store import RunStore
from tokenroof.api.runs.tables import plan_tables
from tokenroof.cli import main


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A directory with two runs, one of them interrupted, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, usd, question in (("cheap", 2.0, QUESTION), ("dear", 2.5, {**QUESTION, "model": "large"})):
        with RunStore(Path("runs") / name, question, label=question["model"]) as run:
            store = Simulations(run)
            store.put("k1", record())
            answer = result(choice(usd=usd), others=(choice("h200", usd=3.0),))
            run.finish(plan_tables(answer, store.used))
    with RunStore(Path("runs") / "halted", QUESTION) as run:
        Simulations(run).put("k1", record())
    return tmp_path


@pytest.fixture
def said(capsys):
    def run(*arguments):
        assert main(["runs", *map(str, arguments)]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(capsys):
    def run(*arguments):
        assert main(["runs", *map(str, arguments)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("tokenroof: ")
        assert captured.err.count("\n") == 1
        return captured.err

    return run


def test_list(kept, said):
    text = said("list")
    for words in (("cheap", "complete", "plan small", "12", "2.00"), ("halted", "interrupted")):
        assert any(all(word in line for word in words) for line in text.splitlines())
    assert (kept / "runs" / "runs.duckdb").is_file()
    found = json.loads(said("list", kept / "runs", "--json"))
    assert found["schema"] == "tokenroof-runs/1"
    assert [run["state"] for run in found["runs"]] == ["complete", "complete", "interrupted"]
    assert found["runs"][0]["answer"] == {
        "label": choice().candidate.label,
        "chips": 12,
        "usd_per_million_tokens": 2.0,
    }
    assert found["runs"][2]["answer"] is None
    assert found["runs"][0]["tables"]["choices"]["rows"] == 2


def test_show(kept, said):
    text = said("show", "cheap")
    for words in ("ttft_s: 1.0", "choices: 2 rows", "h200 TP4", "12 chips = 3 replicas x TP4", "numpy"):
        assert words in text
    assert "the first 1 of 2 rows" in said("show", "runs/cheap", "--rows", 1)
    assert "does not fit." in said("show", "cheap", "--table", "rejected")
    assert "interrupted" in said("show", "halted")
    found = json.loads(said("show", "cheap", "--dir", "runs", "--table", "front", "--json"))
    assert found["question"] == QUESTION
    assert [row["chips"] for row in found["results"]["front"]] == [12]
    assert found["run"]["made_by"]["version"]


def test_compare(kept, said):
    text = said("compare", "cheap", "dear")
    for words in (("model", '"small"', '"large"'), ("usd_per_million_tokens", "2.00", "2.50", "+25.0%")):
        assert any(all(word in line for word in words) for line in text.splitlines())
    found = json.loads(said("compare", "cheap", "dear", "--json"))
    assert found["question"] == [{"key": "model", "left": '"small"', "right": '"large"'}]
    assert found["made_by"] == []
    assert found["answer"]["usd_per_million_tokens"] == {"left": 2.0, "right": 2.5, "fraction": 0.25}
    assert found["tables"]["candidates"] == {"same": True}
    assert found["tables"]["choices"] == {"same": False}


def test_a_run_compared_with_itself_is_the_same(kept, said):
    found = json.loads(said("compare", "cheap", "cheap", "--json"))
    assert (found["question"], found["made_by"]) == ([], [])
    assert all(table["same"] for table in found["tables"].values())


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_export(kept, said, form):
    said("export", "cheap", "--to", form, "--table", "choices", "--table", "rejected", "--out", "there")
    assert sorted(path.name for path in Path("there").iterdir()) == [f"choices.{form}", f"rejected.{form}"]
    read = {"csv": pl.read_csv, "json": pl.read_json, "parquet": pl.read_parquet}[form]
    assert read(f"there/choices.{form}")["usd_per_million_tokens"].to_list() == [2.0, 3.0]


def test_export_of_everything(kept, said):
    said("export", "cheap", "--to", "parquet")
    assert len(list(Path("export/cheap").iterdir())) == 6
    for path in Path("export/cheap").iterdir():
        assert path.read_bytes() == (Path("runs/cheap") / path.name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "nowhere"], "no directory 'nowhere'"),
        (["list", "runs/cheap"], "is a run, not a directory of runs"),
        (["show", "chap"], "unknown run 'chap'. Nearest: cheap"),
        (["show", "runs/chap"], "unknown run 'chap'. Nearest: cheap"),
        (["show", "x", "--dir", "empty"], "no run 'x', and no runs in 'empty'"),
        (["show", "empty"], "'empty' is not a run: it holds no run.json"),
        (["show", "cheap", "--table", "choice"], "unknown table 'choice'. Nearest: choices"),
        (["show", "halted", "--table", "choices"], "is not complete"),
        (["compare", "cheap", "halted"], "is interrupted, with no results to compare"),
        (["export", "cheap", "--to", "xlsx"], "unknown form 'xlsx'"),
        (["export", "halted", "--to", "csv"], "is not complete"),
        (["export", "cheap", "--to", "csv", "--out", "file"], "cannot write 'file'"),
        (["list", "empty"], "no runs in 'empty'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_one_line(kept, refused, arguments, words):
    Path("empty").mkdir()
    Path("file").write_text("")
    assert words in refused(*arguments)


@pytest.mark.parametrize("name", ["run.json", "question.yaml", "results.json", "choices.parquet"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe\0", b"{'a'"])
def test_damage_is_one_line(kept, refused, capsys, name, content):
    (Path("runs/cheap") / name).write_bytes(content)
    for command in (["show", "cheap"], ["compare", "cheap", "dear"], ["export", "cheap", "--to", "csv"]):
        assert name in refused(*command)
    assert main(["runs", "list"]) == 0
    captured = capsys.readouterr()
    assert "damaged" in captured.out
    assert name in captured.err
