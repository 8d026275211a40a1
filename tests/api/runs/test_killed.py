"""A process that is killed loses nothing it reported; two at once are refused; half a line is dropped."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import small_runs
from small_runs import QUESTION, content, key, run, simulation
from tokenroof.api.runs.lock import held_by
from tokenroof.api.runs.reading import State, read_run
from tokenroof.api.runs.store import RunStore
from tokenroof.api.runs.stream import Stream, encode, read_lines
from tokenroof.errors import InputError

SCRIPT = Path(small_runs.__file__)
COUNT = 60


def begin(path):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path), str(COUNT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    )


def kill(process):
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    return rest.split()


def test_killed_in_the_middle_again_and_again_then_resumed_the_bytes_are_the_same(tmp_path):
    undisturbed = content(run(tmp_path / "undisturbed", COUNT))
    path, draw, reported = tmp_path / "killed", random.Random(0), set()
    for stop in (1, 30):
        with begin(path) as process:
            for _ in range(stop):
                reported.add(process.stdout.readline().strip())
            if draw.random() < 0.5:
                reported.add(process.stdout.readline().strip())
            reported.update(kill(process))
        assert process.returncode == -signal.SIGKILL
        found = read_run(path)
        assert found.state is State.INTERRUPTED
        assert reported <= {line["key"] for line in read_lines(path / "records.jsonl").values}
        assert not (path / "results.json").exists()
    with begin(path) as process:
        assert process.wait(timeout=60) == 0
    assert content(path) == undisturbed
    events = [line["event"] for line in read_lines(path / "times.jsonl").values]
    assert events == ["began", *["went on"] * 2, "finished"]


@pytest.mark.parametrize(
    "name", ["question.yaml", "run.json", "choices.parquet", "front.parquet", "results.json"]
)
def test_killed_before_each_file_is_there_then_resumed_the_bytes_are_the_same(tmp_path, name, monkeypatch):
    undisturbed = content(run(tmp_path / "undisturbed"))

    class Killed(BaseException):
        pass

    def killed(self, target, replace=Path.replace):
        if target.name == name:
            raise Killed
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            run(tmp_path / "killed")
    assert not (tmp_path / "killed" / name).exists()
    assert (tmp_path / "killed" / f".{name}.tmp").exists()
    run(tmp_path / "killed", resume=True)
    assert content(tmp_path / "killed") == undisturbed


def test_two_processes_at_once_are_refused_by_name_of_the_first(tmp_path):
    with begin(tmp_path / "a") as first:
        assert first.stdout.readline()
        first.send_signal(signal.SIGSTOP)  # it holds on, whatever the machine does meanwhile
        try:
            holder = held_by(tmp_path / "a")
            assert holder.pid == first.pid
            assert read_run(tmp_path / "a").state is State.RUNNING
            with begin(tmp_path / "a") as second:
                _, said = second.communicate(timeout=60)
            assert second.returncode == 1
            assert f"is taken: process {first.pid} on {holder.host} runs in it since {holder.since}" in said
            run(tmp_path / "b", 2)  # another directory is free
        finally:
            kill(first)
    assert held_by(tmp_path / "a") is None


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    with begin(tmp_path / "a") as process:
        assert process.stdout.readline()
        kill(process)
    assert json.loads((tmp_path / "a" / "holder.json").read_text())["pid"] == process.pid
    with RunStore(tmp_path / "a", QUESTION, resume=True) as store:
        assert store.took_over.pid == process.pid
        assert held_by(tmp_path / "a").pid == os.getpid()
        with pytest.raises(InputError, match=f"is taken: process {os.getpid()} "):
            RunStore(tmp_path / "a", QUESTION, resume=True)
    assert not (tmp_path / "a" / "holder.json").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_worker_that_outlives_the_process_does_not_hold_the_lock(tmp_path):
    script = f"""
import os, sys, time
sys.path.insert(0, {str(SCRIPT.parent)!r})
import small_runs, pathlib
from tokenroof.api.runs.store import RunStore
with RunStore(pathlib.Path({str(tmp_path / "a")!r}), small_runs.QUESTION):
    worker = os.fork()
    if worker:
        print(worker, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        worker = int(process.stdout.readline())
        try:
            process.kill()
            process.wait(timeout=60)
            os.kill(worker, 0)  # it lives
            run(tmp_path / "a", resume=True)
        finally:
            os.kill(worker, signal.SIGKILL)


def test_a_refused_question_lets_go_of_the_directory(tmp_path):
    run(tmp_path / "a")
    with pytest.raises(InputError):
        RunStore(tmp_path / "a", {"another": 1}, resume=True)
    assert held_by(tmp_path / "a") is None


def test_a_line_cut_anywhere_is_dropped_and_written_again(tmp_path):
    path = tmp_path / "records.jsonl"
    lines = [encode({"key": key(number), "record": simulation(number)}) for number in range(3)]
    whole = b"".join(lines)
    for cut in range(len(lines[0]) + len(lines[1]), len(whole)):
        path.write_bytes(whole[:cut])
        stream = Stream(path)
        assert len(stream.found.values) == 2
        assert stream.found.tail_bytes == cut - len(lines[0]) - len(lines[1])
        stream.append(lines[2])
        stream.close()
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "tail", [b"\0" * 40, b"\0" * 40 + b"\n", b"00000000 {}\n", b"\n", b"{}\n", b"\xff\n"]
)
def test_what_is_no_line_at_the_end_is_dropped(tmp_path, tail):
    path = tmp_path / "records.jsonl"
    path.write_bytes(encode([1]) + tail)
    found = read_lines(path)
    assert found.values == ([1],)
    assert found.tail_bytes == len(tail)


def test_damage_before_good_lines_is_refused(tmp_path):
    path = run(tmp_path / "a") / "records.jsonl"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert read_run(tmp_path / "a").state is State.DAMAGED
    with pytest.raises(InputError, match=r"records.jsonl: line 1\d is damaged.*whole ones come after it"):
        run(tmp_path / "a", resume=True)
    lines = path.read_bytes().split(b"\n")
    good = [line for line in lines if line and _is_whole(line)]
    assert len(good) == 19
    path.write_bytes(b"\n".join(good) + b"\n")  # as the message says: that one is computed again
    run(tmp_path / "a", resume=True)
    assert read_run(tmp_path / "a").records == 20


def _is_whole(line):
    from tokenroof.api.runs.stream import decode

    try:
        decode(line)
    except ValueError:
        return False
    return True
