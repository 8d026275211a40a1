"""``tokenroof plan`` as a process: killed, interrupted, twice in one directory."""

import signal
import subprocess
import time

from plans import RUN, content, plan_file

from tokenroof.api.runs.reading import State, read_run

PATIENCE_S = 300


def begin(*arguments):
    return subprocess.Popen(
        [*RUN, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(*arguments):
    with begin(*arguments) as process:
        said = process.communicate(timeout=PATIENCE_S)
    return process.returncode, *said


def until_recorded(process, run, count):
    """Wait until so many simulations are on the disk."""
    records, end = run / "records.jsonl", time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        if records.is_file() and records.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f"ended with {process.poll()} before {count} simulations")


def test_killed_and_resumed_is_the_same_as_undisturbed(tmp_path):
    plan = plan_file(tmp_path)
    code, shown, _ = finish(plan, "--out", tmp_path / "undisturbed", "--workers", "1")
    assert code == 0
    run = tmp_path / "killed"
    with begin(plan, "--out", run, "--workers", "1") as process:
        until_recorded(process, run, 2)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)
    assert read_run(run).state is State.INTERRUPTED
    assert not (run / "results.json").exists()
    code, again, _ = finish(plan, "--out", run, "--resume", "--workers", "2")
    assert (code, again) == (0, shown)
    assert content(run) == content(tmp_path / "undisturbed")


def test_two_at_once_and_an_interruption(tmp_path):
    plan, run = plan_file(tmp_path, answers="none"), tmp_path / "run"
    with begin(plan, "--out", run, "--workers", "2") as process:
        until_recorded(process, run, 1)
        process.send_signal(signal.SIGSTOP)
        try:
            code, shown, said = finish(plan, "--out", run, "--resume")
        finally:
            process.send_signal(signal.SIGCONT)
        assert (code, shown) == (2, "")
        assert f"is taken: process {process.pid}" in said
        assert said.count("\n") == 1
        process.send_signal(signal.SIGINT)
        shown, said = process.communicate(timeout=PATIENCE_S)
    if process.returncode == 0:  # the last simulation was over before the signal came
        return
    assert (process.returncode, shown) == (130, "")
    assert said.splitlines() == [
        "what was simulated is kept: the same command with --resume goes on",
        "tokenroof: interrupted.",
    ]
    assert finish("--out", run, "--resume")[0] == 0
