"""``tokenroof simulate`` and ``tokenroof capacity``: what they print, write and refuse."""

import json
import os
import signal
import subprocess
import sys
import time

import polars as pl
import pytest

from tokenroof.cli import main

SMALL = ["--model", "llama-3.1-8b", "--chip", "h100", "--isl", "300", "--osl", "30", "-n", "80"]
RUN = [sys.executable, "-c", "import sys; from tokenroof.cli import main; sys.exit(main())"]
LONG = [
    *("simulate", "--model", "llama-3.1-8b", "--chip", "h100", "--rate", "20"),
    *("--isl", "512", "--osl", "32", "-n", "3000000"),
]


def run(capsys, *arguments):
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_the_table_has_latencies_and_limits(capsys):
    code, out, err = run(capsys, "simulate", *SMALL, "--rate", "5", "--slo-ttft", "1", "--slo-tpot", "30 ms")
    assert (code, err) == (0, "")
    assert "limits: first token within 1 s, 30 ms per token" in out
    assert "good per second (goodput)" in out


def test_json_has_stable_keys(capsys):
    code, out, _ = run(capsys, "simulate", *SMALL, "--rate", "5", "--slo-ttft", "1", "--json")
    (found,) = json.loads(out)["estimates"]
    assert code == 0
    assert set(found["run"]) == {
        "label", "source", "requests", "concurrency", "complete", "end_s", "events", "seed", "classes",
    }  # fmt: skip
    assert found["run"]["classes"] == [
        {"name": "all", "priority": 0, "slo": {"ttft_s": 1.0, "tpot_s": None, "e2e_s": None}}
    ]
    wanted = {
        f"{name}{at}_s" for name in ("ttft", "tpot", "e2e", "itl", "queue") for at in ("", "_p50", "_p99")
    }
    wanted |= {"goodput_requests_per_s", "good_fraction", "run_s", "kv_peak_fraction", "usd_per_mtok_output"}
    assert wanted <= set(found["metrics"])


def test_a_spec_and_options_over_it(capsys, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        'model = "llama-3.1-8b"\nchip = "h100"\n[traffic]\nrate = 5\nnum_requests = 60\nosl = 20\n',
        encoding="utf-8",
    )
    options = [
        "--concurrency",
        "3",
        "--engine-option",
        "max_num_seqs=2",
        "--set",
        "fleet.max_retries=1",
        "--seed",
        "4",
    ]
    code, out, _ = run(capsys, "simulate", str(path), *options, "--json")
    (found,) = json.loads(out)["estimates"]
    assert code == 0
    assert (found["run"]["concurrency"], found["run"]["requests"], found["run"]["seed"]) == (3, 60, 4)


def test_everything_that_can_be_written(capsys, tmp_path):
    names = {"--log": "log.parquet", "--perfetto": "trace.json.gz", "--html": "page.html", "--csv": "row.csv"}
    options = [part for option, name in names.items() for part in (option, str(tmp_path / name))]
    chart = ["--chart", str(tmp_path / "run.svg"), "--chart-kind", "timeline", "--out", str(tmp_path / "out")]
    code, _, err = run(capsys, "simulate", *SMALL, "--rate", "5", "--check", *options, *chart)
    assert code == 0
    assert err.count("wrote ") == 5
    assert pl.read_parquet(tmp_path / "log.parquet").height == 80
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"spec.json", "log", "metrics.json"}


def test_capacity_prints_the_rate_and_what_was_tried(capsys, tmp_path):
    chart = tmp_path / "goodput.png"
    options = ["--slo-tpot", "0.02", "--tolerance", "0.2", "--chart", str(chart)]
    code, out, _ = run(capsys, "capacity", *SMALL, *options)
    assert code == 0
    assert "h100: rates that were tried" in out
    assert chart.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["simulate", *SMALL], "traffic: no load. Give rate, concurrency or trace"),
        (
            ["simulate", *SMALL, "--rate", "5", "--replicas", "0"],
            "replicas: must be a whole number of at least 1",
        ),
        (["simulate", *SMALL, "--rate", "0"], "traffic.rate: must be above 0"),
        (["simulate", *SMALL, "--rate", "-3"], "traffic.rate: must be above 0"),
        (
            ["simulate", *SMALL, "--concurrency", "0"],
            "traffic.concurrency: must be a whole number of at least 1",
        ),
        (
            ["simulate", *SMALL, "--rate", "5", "--isl", "0"],
            "traffic.isl: must be a whole number of at least 1",
        ),
        (
            ["simulate", *SMALL, "--rate", "5", "--isl", "-7"],
            "traffic.isl: must be a whole number of at least 1",
        ),
        (
            ["simulate", *SMALL, "--trace", "azure-2023-conv", "--trace-format", "x"],
            "unknown trace format 'x'",
        ),
        (["simulate", *SMALL, "--trace", "/nowhere.csv"], "nowhere.csv"),
        (["simulate", *SMALL, "--rate", "5", "--slo-ttft", "0"], "slo.ttft: must be above 0"),
        (["simulate", *SMALL, "--rate", "5", "--slo-ttft", "soon"], "slo.ttft: expected s, got 'soon'"),
        (["simulate", *SMALL, "--rate", "5", "--engine-option", "max_num_seqs"], "takes NAME=VALUE"),
        (
            ["simulate", *SMALL, "--rate", "5", "--set", "traffic.rat=3"],
            "traffic.rat: unknown. Nearest: rate",
        ),
        (
            ["simulate", *SMALL, "--rate", "5", "--speculate", "mtp:draft_tokens=1"],
            "speculation.acceptance: missing",
        ),
        (["simulate", *SMALL, "--rate", "5", "--chart-kind", "pie"], "unknown chart 'pie'"),
        (["simulate", *SMALL, "--rate", "5", "--log", "x.txt"], "unknown extension of 'x.txt'"),
        (["simulate", *SMALL, "--rate", "5", "--log", "x.csv", "--csv", "x.csv"], "both write 'x.csv'"),
        (["simulate", *SMALL, "--rate", "5", "--rate", "6", "--log", "x.csv"], "--log writes one run"),
        (["simulate", "/nowhere.yaml"], "cannot be read"),
        (["simulate", "--rate", "5"], "give a model and a chip"),
        (["capacity", *SMALL], "no limit is asked for"),
        (["capacity", *SMALL, "--slo-tpot", "1", "--attainment", "2"], "an attainment must be above 0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(capsys, arguments, said):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.startswith("tokenroof: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "empty"),
        ("arrival_s,isl_tokens,osl_tokens\n", "no "),
        ("arrival_s,isl_tokens,osl_tokens\n1,10,10\n0,10,10\n", "sort"),
        ("arrival_s,isl_tokens,osl_tokens\n0,-1,10\n", "-1"),
        ("arrival_s,isl_tokens,osl_tokens\n0,10\n", "2"),
        ("arrival_s,isl_tokens,osl_tokens\n0,ten,10\n", "ten"),
    ],
)
def test_a_bad_trace_is_one_line(capsys, tmp_path, lines, said):
    path = tmp_path / "trace.csv"
    path.write_text(lines, encoding="utf-8")
    code, out, err = run(capsys, "simulate", "-m", "llama-3.1-8b", "-c", "h100", "--trace", str(path))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_limits_nobody_meets_and_models_that_do_not_fit_are_said(capsys):
    code, out, _ = run(capsys, "simulate", *SMALL, "--rate", "5", "--slo-ttft", "10 us")
    assert code == 0
    assert out.startswith("no request met the limits")
    code, out, _ = run(capsys, "simulate", "-m", "llama-3.1-70b", "-c", "h100", "--tp", "1", "--rate", "1")
    assert code == 2
    assert "does not fit" in out
    code, out, _ = run(capsys, "capacity", *SMALL, "--slo-tpot", "1 us")
    assert code == 2
    assert "no rate meets the limits" in out


def started(directory, *options):
    """A long run, once its first part is written."""
    process = subprocess.Popen(
        [*RUN, *LONG, "--out", str(directory), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 240
    while not any((directory / "log").glob("part-*.parquet")) if (directory / "log").is_dir() else True:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)
    return process


def test_an_interrupted_run_shows_what_was_done(tmp_path):
    with started(tmp_path / "out") as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert err == "tokenroof: interrupted.\n"
    assert out.startswith("partial: interrupted after ")
    assert "time to first token" in out
    (found,) = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["estimates"]
    assert found["run"]["complete"] is False


def test_a_killed_run_leaves_whole_parts(tmp_path):
    from tokenroof.serve.log import read_log

    with started(tmp_path / "out") as process:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    log = read_log(tmp_path / "out" / "log")
    assert log.height >= 10_000
    assert set(log["state"]) == {"completed"}
    assert log["finish_s"].null_count() == 0
    assert json.loads((tmp_path / "out" / "spec.json").read_text(encoding="utf-8"))["traffic"]["rate"]
    assert not (tmp_path / "out" / "metrics.json").exists()
