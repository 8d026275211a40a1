"""A real plan that is killed in the middle and resumed has the files of one that was not, byte for byte."""

import subprocess
import sys
from pathlib import Path

from small_runs import content
from tokenroof.api.runs.reading import State, read_run, read_table

SCRIPT = Path(__file__).with_name("planned.py")


def begin(path, workers=1):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path), str(workers)], stdout=subprocess.PIPE, text=True
    )


def finished(path, workers=1):
    with begin(path, workers) as process:
        reported, _ = process.communicate(timeout=500)
    assert process.returncode == 0
    return reported.split()


def test_a_plan_that_was_killed_goes_on_to_the_same_files(tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    every = finished(undisturbed)
    stop = len(every) // 2
    assert stop >= 2
    with begin(killed) as process:
        reported = [process.stdout.readline().strip() for _ in range(stop)]
        process.kill()
        reported += process.stdout.read().split()
    assert read_run(killed).state is State.INTERRUPTED
    rest = finished(killed, workers=2)
    assert set(rest).isdisjoint(reported)  # nothing is simulated twice
    names = [path.name for path in undisturbed.iterdir() if path.name not in ("records.jsonl", "times.jsonl")]
    assert {"choices.parquet", "front.parquet", "candidates.parquet", "rejected.parquet"} <= set(names)
    assert content(killed, names) == content(undisturbed, names)
    assert read_table(killed, "choices").height >= 1
    assert read_table(killed, "candidates").height == len(every)
