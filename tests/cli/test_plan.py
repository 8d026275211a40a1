"""``tokenroof plan``: options, the answer, files, exit codes, one line for what cannot be."""

import json

import pytest
import yaml
from plans import PLAN, content, plan_file

from tokenroof.api.runs.reading import State, read_run, read_table
from tokenroof.cli import main
from tokenroof.cli.app import command

FLAGS = ("--model", "llama-3.1-8b", "--chips", "h100,h200", "--rate", "40", "--osl", "100", "-n", "300")
TARGETS = ("--ttft-p99", "1s", "--tpot-p95", "30ms")


@pytest.fixture
def refused(capsys):
    def run(*arguments):
        assert main(["plan", *map(str, arguments)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("tokenroof: ")
        assert captured.err.count("\n") == 1
        return captured.err.removeprefix("tokenroof: ")

    return run


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run that is complete."""
    directory = tmp_path_factory.mktemp("plans")
    assert main(["plan", str(plan_file(directory)), "--out", str(directory / "run"), "--workers", "1"]) == 0
    return directory / "run"


def sections(*arguments):
    """What options mean, as a plan file."""
    from tokenroof.cli.planning import asked

    context = command().commands["plan"].make_context("plan", list(arguments))
    return asked(context.params)


# --- options -------------------------------------------------------------------------------------


def test_flags_are_a_plan_file():
    assert sections(*FLAGS, *TARGETS) == {
        "model": {"name": "llama-3.1-8b"},
        "chips": ["h100", "h200"],
        "traffic": {"rate": 40.0, "osl": 100, "num_requests": 300},
        "slo": {"ttft_p99": "1s", "tpot_p95": "30ms"},
    }


def test_the_rest_of_the_flags():
    found = sections(
        *("--chip", "h100", "--chip", "mine.yaml", "--trace", "t.csv", "--duration", "2 min"),
        *("--slo", "chat.ttft_p50=0.2", "--slo", "e2e_mean=20s", "--max-power", "40kW", "--max-chips", "8"),
        *(
            "--objective",
            "chips,ttft_s",
            "--headroom",
            "20%",
            "--spare-replicas",
            "1",
            "--weights",
            "bf16,fp8",
        ),
        *(
            "--engine",
            "vllm,sglang",
            "--no-disaggregated",
            "--price",
            "2.5",
            "--host-gb",
            "100",
            "--seed",
            "3",
        ),
        *("--answers", "fewer,ratio", "--api", "0.5,1.5,0.1"),
        *("--speculate", "ngram:draft_tokens=3,acceptance=0.4", "--set", "space.max_num_seqs=[64, 128]"),
    )
    assert found == {
        "model": {"weights": ["bf16", "fp8"]},
        "chips": ["h100", "mine.yaml"],
        "traffic": {"trace": "t.csv", "duration": "2 min"},
        "slo": {"chat.ttft_p50": 0.2, "e2e_mean": "20s"},
        "limits": {"power": "40kW", "chips": 8},
        "objective": ["chips", "ttft_s"],
        "headroom": "20%",
        "spare_replicas": 1,
        "engine": ["vllm", "sglang"],
        "space": {"disaggregated": False, "max_num_seqs": [64, 128]},
        "cost": {"price": 2.5},
        "seed": 3,
        "answers": ["fewer", "ratio"],
        "api": {"input": 0.5, "output": 1.5, "cached": 0.1},
        "speculation": {"method": "ngram", "draft_tokens": 3, "acceptance": 0.4},
        "offload": [{"tier": "host", "capacity": 100e9}],
    }
    assert sections("--objective", "chips=1,ttft_s=2")["objective"] == {"chips": 1.0, "ttft_s": 2.0}
    assert sections("--objective", "chips")["objective"] == "chips"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing is asked"),
        (("--model", "llama-3.1-8b"), "traffic: no load. Give rate, concurrency or trace."),
        (("--rate", "3"), "model: missing"),
        ((*FLAGS, "--chips", "h1000"), "unknown chip 'h1000'. Nearest: h100"),
        (("--rate", "3", "--chips", ","), "no name in ','"),
        ((*FLAGS, "--ttft-p99", "fast"), "slo.ttft_p99: expected s, got 'fast'"),
        ((*FLAGS, "--slo", "ttft_p99"), "--slo takes COLUMN=VALUE"),
        ((*FLAGS, "--objective", "chips=1,ttft_s"), "some objectives have a weight"),
        ((*FLAGS, "--objective", "chips=x"), "--objective chips: the weight must be a number, got 'x'"),
        ((*FLAGS, "--objective", "money"), "unknown objective 'money'"),
        ((*FLAGS, "--answers", "fever"), "answers: unknown answer 'fever'. Nearest: fewer"),
        ((*FLAGS, "--api", "3"), "--api takes INPUT,OUTPUT in USD per million tokens, got '3'"),
        ((*FLAGS, "--api", "a,b"), "api.input: expected USD/Mtok, got 'a'"),
        ((*FLAGS, "--price", "gold"), "unknown price 'gold'"),
        ((*FLAGS, "--workers", "0"), "Invalid value for '--workers'"),
        ((*FLAGS, "--html", "page.txt"), "page.txt"),
        ((*FLAGS, "--resume"), "--resume goes on with a run that was kept. Give its directory with --out."),
        (("none.yaml",), "none.yaml: cannot be read"),
        (("plan.txt",), "unknown kind of spec 'plan.txt'"),
        ((*FLAGS, "--set", "space.layuts=3"), "space.layuts: unknown. Nearest: layouts"),
        ((*FLAGS, "--set", "space"), "--set takes NAME=VALUE"),
        ((*FLAGS, "--trace", "none.csv"), "no such file: none.csv"),
        ((*FLAGS, "--rats", "3"), "No such option: --rats"),
        ((*FLAGS, "--speculate", "magic:draft_tokens=2,acceptance=1"), "speculation.method: unknown 'magic'"),
    ],
)
def test_what_is_wrong_is_one_line(refused, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refused(*arguments)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_asked_leaves_no_directory(refused, tmp_path):
    refused(plan_file(tmp_path, slo={"chat.ttft_p99": 1}), "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_several_models_are_a_plan_each(tmp_path, capsys):
    assert sections("--model", "a", "--model", "b", "--weights", "fp8")["model"] == [
        {"name": "a", "weights": ["fp8"]},
        {"name": "b", "weights": ["fp8"]},
    ]
    path = plan_file(tmp_path, model=["llama-3.1-8b", "llama-3.2-1b"], chips=["h100"], answers="none")
    assert main(["plan", str(path), "--out", str(tmp_path / "runs"), "--workers", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "tokenroof-plans/1"
    assert [each["question"]["model"] for each in found["plans"]] == ["llama-3.1-8b", "llama-3.2-1b"]
    for name in ("llama-3.1-8b", "llama-3.2-1b"):
        run = tmp_path / "runs" / name
        assert read_run(run).state is State.COMPLETE
        assert yaml.safe_load((run / "question.yaml").read_text())["model"] == name


def test_several_models_have_no_one_page_and_differ(refused, tmp_path):
    path = plan_file(tmp_path, model=["llama-3.1-8b", "llama-3.2-1b"])
    assert "--html writes one page, there are 2 models" in refused(path, "--html", tmp_path / "page.html")
    path = plan_file(tmp_path, model=["llama-3.1-8b", "Llama-3.1-8B"])
    assert "give each of several models once" in refused(path)


# --- the answer ----------------------------------------------------------------------------------


def test_the_run_directory_has_the_question_the_answer_and_what_launches_it(kept):
    run = read_run(kept)
    assert (run.state, run.kind, run.label) == (State.COMPLETE, "plan", "llama-3.1-8b on 2 chips")
    assert yaml.safe_load((kept / "question.yaml").read_text()) == PLAN
    best = read_table(kept, "choices").row(0, named=True)
    assert best["on_front"]
    assert all(check["met"] for check in best["checks"])
    assert read_table(kept, "answer")["feasible"].to_list() == [True]
    page = (kept / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert not [mark for mark in ("<script", "<link", " src=", 'href="http') if mark in page]
    written = {path.name for path in (kept / "deploy").iterdir()}
    assert {"README.md", "launch.sh", "kubernetes.yaml", "requests.jsonl", "load-test-vllm.sh"} <= written
    assert (kept / "deploy" / "launch.sh").stat().st_mode & 0o111
    assert len((kept / "deploy" / "requests.jsonl").read_text().splitlines()) == 300
    assert f"# {best['chips']} chip" in (kept / "deploy" / "README.md").read_text()


def test_the_answer_is_first_and_json_says_the_same(kept, capsys):
    question = kept / "question.yaml"
    best = read_table(kept, "choices").row(0, named=True)
    assert main(["plan", str(question), "--workers", "1"]) == 0
    captured = capsys.readouterr()
    first = captured.out.splitlines()[0]
    assert first.startswith(f"{best['chips']} chip")
    assert best["pools"][0]["chip"] in first
    assert captured.err == ""
    assert main(["plan", str(question), "--workers", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["feasible"] is True
    assert found["front"][0]["chips"] == best["chips"]
    assert {"sensitivity", "fewer", "offload", "speculation"} <= set(found["answers"])


def test_answers_beside_the_choice_are_those_that_are_asked_for(kept, capsys):
    asked = ("plan", str(kept / "question.yaml"), "--workers", "1", "--json", "--seed", "1")
    assert main([*asked, "--answers", "self-host,fewer,apart", "--api", "0.2,0.4"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)["answers"]
    assert sorted(found) == ["fewer", "self-host"]
    assert found["self-host"]["price"]["usd_per_mtok_output"] == 0.4
    assert captured.err == "no answer on apart: only one of together and apart is left open.\n"
    assert main([*asked, "--answers", "none"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["answers"] == {}
    assert captured.err == ""


def test_a_complete_run_resumes_to_itself_from_its_own_question(kept, capsys):
    before = content(kept)
    assert main(["plan", "--resume", "--out", str(kept), "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert content(kept) == before


def test_what_goes_on_must_be_there(tmp_path, refused):
    none = tmp_path / "none"
    assert f"'{none}' holds no run to go on with." in refused("--resume", "--out", none)
    assert not none.exists()


def test_a_directory_is_not_taken_for_another_question(kept, refused):
    assert "holds a complete run" in refused(kept / "question.yaml", "--out", kept)
    other = refused(kept / "question.yaml", "--out", kept, "--resume", "--seed", "3")
    assert "holds the run of another question: seed was nothing, is 3" in other


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"slo": {"ttft_p99": "1 ms"}}, "Nearest ask"),
        ({"limits": {"chips": 1}, "traffic": {**PLAN["traffic"], "rate": 500}}, "at most 1 are allowed"),
        ({"model": "deepseek-v3", "space": {**PLAN["space"], "layouts": [{"tp": 1}]}}, "memory"),
        ({"chips": []}, "no chip is given"),
        ({"space": {"colocated": False, "disaggregated": False}}, "neither colocated nor disaggregated"),
    ],
)
def test_what_is_impossible_says_why_and_leaves_with_three(changed, said, tmp_path, capsys):
    path = plan_file(tmp_path, **changed)
    assert main(["plan", str(path), "--out", str(tmp_path / "run"), "--workers", "1"]) == 3
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("Infeasible: ")
    assert said in shown
    assert read_table(tmp_path / "run", "answer")["feasible"].to_list() == [False]
    assert (tmp_path / "run" / "report.html").is_file()
    assert not (tmp_path / "run" / "deploy").exists()
    assert main(["plan", str(path), "--workers", "1", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["feasible"] is False
