"""Traces are valid JSON in the Trace Event Format, and show what was in the run."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_runs import pool, run_of, three
from tokenroof.errors import InputError
from tokenroof.report.perfetto import write_trace
from tokenroof.serve.core import Stage
from tokenroof.serve.results import SEGMENT, Run, State

APART = (pool(Stage.PREFILL), pool(Stage.DECODE))
SEGMENTS = np.array(
    [(0, 0, 0.0, 1.0, 0, 1, 10, 3), (1, 4, 1.0, 5.0, 1, 0, 0, 4), (0, 1, 2.0, 4.0, 2, 1, 20, 7)],
    dtype=SEGMENT,
)


def apart(**run: Any) -> Run:
    return three(
        pools=APART,
        setup={"record_segments": 3},
        log={"transfer_s": [0.25, 0.5, math.nan]},
        run={"segments": SEGMENTS, **run},
    )


def events(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    document = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    found: list[dict[str, Any]] = document["traceEvents"]
    return found


def test_pools_are_processes_and_replicas_threads(tmp_path: Path) -> None:
    write_trace(apart(), tmp_path / "t.json")
    named = {
        (e["pid"], e["tid"], e["name"]): e["args"].get("name")
        for e in events(tmp_path / "t.json")
        if e["ph"] == "M"
    }
    assert named[(2, 0, "process_name")] == "pool 0: prefill"
    assert named[(3, 0, "process_name")] == "pool 1: decode"
    assert named[(2, 1, "thread_name")] == "replica 0"
    assert named[(3, 2, "thread_name")] == "replica 1"
    assert named[(1, 0, "process_name")] == "requests"


def test_stretches_of_work_are_slices_in_microseconds(tmp_path: Path) -> None:
    written = write_trace(apart(), tmp_path / "t.json")
    assert (written.segments, written.requests) == (3, 3)
    slices = [e for e in events(tmp_path / "t.json") if e["ph"] == "X"]
    assert [(e["name"], e["pid"], e["tid"], e["ts"], e["dur"]) for e in slices] == [
        ("prefill", 2, 1, 0.0, 1e6),
        ("decode", 3, 2, 1e6, 4e6),
        ("prefill + decode", 2, 1, 2e6, 2e6),
    ]
    assert slices[2]["args"] == {
        "steps": 1, "batch": 3, "decode sequences": 2, "prompts": 1, "prompt tokens": 20, "KV blocks": 7,
    }  # fmt: skip
    assert slices[1]["args"]["steps"] == 4


def test_requests_are_nested_slices_of_their_phases(tmp_path: Path) -> None:
    write_trace(apart(), tmp_path / "t.json")
    of_one = [e for e in events(tmp_path / "t.json") if e.get("id") == 1]
    assert [(e["ph"], e["name"], e["ts"] / 1e6) for e in of_one] == [
        ("b", "request 1", 1.0),
        ("b", "queue", 1.0),
        ("e", "queue", 2.0),
        ("b", "prefill", 2.0),
        ("e", "prefill", 3.5),
        ("b", "transfer", 3.5),
        ("e", "transfer", 4.0),
        ("b", "decode", 4.0),
        ("e", "decode", 9.0),
        ("e", "request 1", 9.0),
    ]
    assert of_one[0]["args"]["prompt tokens"] == 20
    assert all(e["cat"] == "request" for e in of_one)


def test_only_so_many_requests_are_shown_the_first_that_were_sent(tmp_path: Path) -> None:
    asked = {"follows": np.array([-1, 0, -1]), "arrival_s": np.array([0.0, 3.0, 6.0])}
    times = ([0.0, 7.0, 6.0], [0.0, 7.0, 6.0], [1.0, 8.0, 7.0], [2.0, 9.0, 8.0])
    run = run_of(*times, [1] * 3, [2] * 3, requests=asked)
    assert write_trace(run, tmp_path / "t.json", requests=2).requests == 2
    assert {e["id"] for e in events(tmp_path / "t.json") if "id" in e} == {0, 2}
    assert write_trace(run, tmp_path / "t.json", requests=0).requests == 0


def test_requests_without_an_end_are_shown_as_far_as_they_came(tmp_path: Path) -> None:
    nan = math.nan
    run = three(
        end_s=9.0,
        run={"complete": False},
        log={
            "state": [State.DECODING, State.REJECTED, State.NOT_SENT],
            "reason": [0, 1, 0],
            "arrival_s": [0.0, 1.0, nan],
            "start_s": [0.5, nan, nan],
            "first_s": [nan, nan, nan],
            "finish_s": [nan, nan, nan],
            "out_tokens": [0, 0, 0],
        },
    )
    assert write_trace(run, tmp_path / "t.json").requests == 2
    found = events(tmp_path / "t.json")
    assert [(e["name"], e["ts"] / 1e6) for e in found if e.get("id") == 0 and e["ph"] == "e"] == [
        ("queue", 0.5),
        ("prefill", 9.0),
        ("request 0", 9.0),
    ]
    refused = [e for e in found if e.get("id") == 1]
    assert [(e["ph"], e["ts"] / 1e6) for e in refused] == [("b", 1.0), ("e", 1.0)]
    assert refused[0]["args"]["reason"] == "larger than the cache of a replica"


def test_begins_and_ends_of_requests_pair_up(tmp_path: Path) -> None:
    write_trace(apart(), tmp_path / "t.json")
    open_: dict[int, list[tuple[str, float]]] = {}
    for event in events(tmp_path / "t.json"):
        if event["ph"] == "b":
            open_.setdefault(event["id"], []).append((event["name"], event["ts"]))
        if event["ph"] == "e":
            name, since = open_[event["id"]].pop()
            assert name == event["name"]
            assert event["ts"] >= since
    assert set(map(len, open_.values())) == {0}


def test_counters_are_the_timeline(tmp_path: Path) -> None:
    run = apart()
    run.timeline[1, 0] = [1.0, 2.0, 3.0, 4.0]
    write_trace(run, tmp_path / "t.json")
    batch = [
        e for e in events(tmp_path / "t.json") if e["ph"] == "C" and e["name"] == "batch" and e["pid"] == 3
    ]
    assert [(e["ts"] / 1e6, e["args"]["sequences"]) for e in batch] == [
        (0.0, 1.0), (2.5, 2.0), (5.0, 3.0), (7.5, 4.0), (10.0, 0),
    ]  # fmt: skip
    assert {e["name"] for e in events(tmp_path / "t.json") if e["ph"] == "C"} == {
        "batch",
        "waiting",
        "KV blocks",
    }


def test_every_event_has_what_its_kind_needs(tmp_path: Path) -> None:
    write_trace(apart(), tmp_path / "t.json")
    for event in events(tmp_path / "t.json"):
        assert {"ph", "name", "pid", "tid"} <= set(event)
        if event["ph"] != "M":
            assert event["ts"] >= 0.0
        if event["ph"] == "X":
            assert event["dur"] >= 0.0


def test_a_name_ending_in_gz_is_compressed_and_the_same_twice(tmp_path: Path) -> None:
    write_trace(apart(), tmp_path / "t.json")
    for name in ("a.json.gz", "b.json.gz"):
        write_trace(apart(), tmp_path / name)
    assert events(tmp_path / "a.json.gz") == events(tmp_path / "t.json")
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_a_trace_says_where_its_recording_was_cut_off(tmp_path: Path) -> None:
    run = apart()
    run.replicas["segments"][:] = [5.0, 4.0]
    written = write_trace(run, tmp_path / "t.json")
    assert written.cut_at_s == 5.0
    assert written.note.startswith("only the first 3 stretches of work were recorded")
    with (tmp_path / "t.json").open() as file:
        assert json.load(file)["otherData"]["note"] == written.note
    (mark,) = (e for e in events(tmp_path / "t.json") if e["ph"] == "i")
    assert (mark["ts"], mark["s"]) == (5e6, "g")
    run.replicas["segments"][:] = [2.0, 1.0]
    assert write_trace(run, tmp_path / "t.json").note == ""
    unrecorded = write_trace(apart(segments=SEGMENTS[:0], replicas=run.replicas), tmp_path / "t.json")
    assert (unrecorded.cut_at_s, "no stretches of work" in unrecorded.note) == (0.0, True)


def test_bad_requests_for_a_trace_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 0"):
        write_trace(apart(), tmp_path / "t.json", requests=-1)
    with pytest.raises(InputError, match="is a directory"):
        write_trace(apart(), tmp_path)
