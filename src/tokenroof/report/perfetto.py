"""A run as a trace that ui.perfetto.dev and chrome://tracing show: what every replica did when.

Trace Event Format, JSON object form; times in microseconds of simulated time. Source: "Trace Event
Format" (Google, 2016): ``X`` slices, ``b``/``e`` asynchronous slices, ``C`` counters, ``M`` names.
"""

from __future__ import annotations

import gzip
import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from tokenroof.errors import InputError
from tokenroof.serve.core import Stage
from tokenroof.serve.results import REASONS, TIMELINE, Run, State

_REQUESTS_PID = 1
_AT_ONCE = 10_000
_STAGES = {Stage.BOTH: "prefill and decode", Stage.PREFILL: "prefill", Stage.DECODE: "decode"}
_COUNTERS = (
    ("batch", "running_seqs", "sequences"),
    ("waiting", "waiting_seqs", "requests"),
    ("KV blocks", "used_blocks", "blocks"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What is in a trace.

    Attributes
    ----------
    segments, requests : int
        Stretches of work and requests in it.
    cut_at_s : float or None
        From here on the replicas' work is missing, because no more stretches were recorded; None: all is
        there. [s]
    """

    segments: int
    requests: int
    cut_at_s: float | None

    @property
    def note(self) -> str:
        """One line: what is missing; "" when nothing is."""
        if self.cut_at_s is None:
            return ""
        if not self.segments:
            return "the work of the replicas is missing: no stretches of work were recorded in this run."
        return (
            f"only the first {self.segments} stretches of work were recorded: the work of the replicas ends "
            f"at {self.cut_at_s:.6g} s. Record more for a longer trace."
        )


def write_trace(run: Run, path: Path, *, requests: int = 1000) -> Written:
    """Write a Chrome/Perfetto trace; nothing of it is held in memory as a whole.

    Parameters
    ----------
    run : Run
        With segments (``Setup.record_segments``), else the replicas' rows are empty.
    path : Path
        ``.json``, or ``.json.gz`` (any name ending in .gz) for a compressed one.
    requests : int
        Requests to show, the first ones that were sent; each with its phases.

    Returns
    -------
    Written
        What is in it, and whether the replicas' work was cut off.

    Raises
    ------
    InputError
        A negative number of requests, or a path that is a directory.

    Notes
    -----
    One process per pool with one thread per replica, one process with the requests. A slice of a replica
    is a stretch of equal work: many decode steps, or one step with prompts. Counters are means over the
    bins of the run's timeline.
    """
    if requests < 0:
        raise InputError(f"the number of requests in a trace must be at least 0, got {requests}.")
    if path.is_dir():
        raise InputError(f"{path}: is a directory. Give a file ending in .json or .json.gz.")
    shown = _first_sent(run, requests)
    recorded = run.segments.size
    cut = run.replicas["segments"].sum() > recorded
    written = Written(
        segments=recorded,
        requests=len(shown),
        cut_at_s=float(run.segments["end_s"].max(initial=0.0)) if cut else None,
    )
    temporary = path.with_name(f".{path.name}.tmp")
    with _open(temporary, compressed=path.suffix == ".gz") as file:
        file.write('{"displayTimeUnit":"ms","otherData":')
        file.write(json.dumps({"made by": "tokenroof", "note": written.note, "label": run.requests.label}))
        file.write(',"traceEvents":[\n')
        # the only event without a comma in front of it
        file.write(_name("process_name", _REQUESTS_PID, 0, "requests"))
        for line in _events(run, shown, written):
            file.write(",\n")
            file.write(line)
        file.write("\n]}\n")
    temporary.replace(path)
    return written


@contextmanager
def _open(path: Path, *, compressed: bool) -> Iterator[IO[str]]:
    """A text file; the same bytes for the same text, compressed or not."""
    if not compressed:
        with path.open("w", encoding="ascii", newline="\n") as plain:
            yield plain
        return
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="ascii", newline="\n", write_through=False) as text,
    ):
        yield text


def _events(run: Run, shown: list[int], written: Written) -> Iterator[str]:
    yield from _names(run)
    yield from _segments(run)
    if written.cut_at_s is not None:
        yield _event("i", "recording ends here", written.cut_at_s, _REQUESTS_PID, 0, s="g")
    for row in shown:
        yield from _request(run, row)
    yield from _counters(run)


def _names(run: Run) -> Iterator[str]:
    yield _name("process_sort_index", _REQUESTS_PID, 0, len(run.setup.pools) + 1)
    pools = run.replicas["pool"].astype(int)
    for number, pool in enumerate(run.setup.pools):
        yield _name("process_name", _pid(number), 0, f"pool {number}: {_STAGES[pool.stage]}")
        yield _name("process_sort_index", _pid(number), 0, number)
        for replica in np.flatnonzero(pools == number).tolist():
            yield _name("thread_name", _pid(number), replica + 1, f"replica {replica}")
            yield _name("thread_sort_index", _pid(number), replica + 1, replica)


def _segments(run: Run) -> Iterator[str]:
    """Stretches of work: names say what, arguments how much."""
    pools = run.replicas["pool"].astype(int).tolist()
    for first in range(0, run.segments.size, _AT_ONCE):
        for row in run.segments[first : first + _AT_ONCE].tolist():
            replica, steps, start_s, end_s, decodes, prompts, prompt_tokens, blocks = row
            name = "decode" if not prompts else "prefill + decode" if decodes else "prefill"
            yield (
                f'{{"ph":"X","name":"{name}","cat":"steps","ts":{start_s * 1e6:.3f},'
                f'"dur":{(end_s - start_s) * 1e6:.3f},"pid":{_pid(pools[replica])},"tid":{replica + 1},'
                f'"args":{{"steps":{max(steps, 1)},"batch":{decodes + prompts},"decode sequences":{decodes},'
                f'"prompts":{prompts},"prompt tokens":{prompt_tokens},"KV blocks":{blocks}}}}}'
            )


def _first_sent(run: Run, count: int) -> list[int]:
    order = np.argsort(run.log.arrival_s, kind="stable")[:count]
    return [int(row) for row in order if not math.isnan(run.log.arrival_s[row])]


def _request(run: Run, row: int) -> Iterator[str]:
    """One request as a slice with its phases in it; nested slices share its number."""
    log = run.log
    state, sent_s = State(int(log.state[row])), float(log.arrival_s[row])
    finish_s = float(log.finish_s[row])
    if math.isnan(finish_s):
        # of what was refused or lost the log has no end; in flight it lasts until the end of the run
        known = [t for t in (sent_s, float(log.start_s[row]), float(log.first_s[row])) if not math.isnan(t)]
        finish_s = run.end_s if state < State.COMPLETED else known[-1]
    kind = run.requests.classes[int(log.class_index[row])].name
    name = f"request {row}"
    args = {
        "class": kind,
        "state": state.name.lower(),
        "reason": REASONS[int(log.reason[row])],
        "prompt tokens": int(log.isl_tokens[row]),
        "output tokens": int(log.out_tokens[row]),
        "cached tokens": int(log.cached_tokens[row]),
        "preemptions": int(log.preemptions[row]),
        "retries": int(log.retries[row]),
        "prefill replica": int(log.replica[row]),
        "decode replica": int(log.decode_replica[row]),
    }
    yield _event("b", name, sent_s, _REQUESTS_PID, 0, cat="request", id=row, args=args)
    for phase, begin_s, end_s in _phases(run, row, finish_s):
        yield _event("b", phase, begin_s, _REQUESTS_PID, 0, cat="request", id=row)
        yield _event("e", phase, end_s, _REQUESTS_PID, 0, cat="request", id=row)
    yield _event("e", name, finish_s, _REQUESTS_PID, 0, cat="request", id=row)


def _phases(run: Run, row: int, finish_s: float) -> Iterator[tuple[str, float, float]]:
    """Queue, prefill, transfer, decode: those that took time, one after the other.

    With prefill and decode apart, the first token is out when the cache has arrived: the transfer is the
    last part before it.
    """
    log = run.log
    start_s, first_s = float(log.start_s[row]), float(log.first_s[row])
    moved_s = float(log.transfer_s[row])
    marks: list[tuple[str, float]] = [("queue", finish_s if math.isnan(start_s) else start_s)]
    if not math.isnan(start_s):
        until_s = finish_s if math.isnan(first_s) else first_s
        if not math.isnan(moved_s) and not math.isnan(first_s):
            marks += [("prefill", max(start_s, first_s - moved_s)), ("transfer", first_s)]
        else:
            marks.append(("prefill", until_s))
        if not math.isnan(first_s):
            marks.append(("decode", finish_s))
    begin_s = float(log.arrival_s[row])
    for phase, end_s in marks:
        if end_s > begin_s:
            yield phase, begin_s, end_s
            begin_s = end_s


def _counters(run: Run) -> Iterator[str]:
    """Means over the bins of the timeline, at the begin of each."""
    for number in range(len(run.setup.pools)):
        for title, row, unit in _COUNTERS:
            values = run.timeline[number, TIMELINE.index(row)].tolist()
            for at, value in enumerate(values):
                yield _event(
                    "C", title, at * run.timeline_bin_s, _pid(number), 0, args={unit: round(value, 3)}
                )
            yield _event("C", title, run.end_s, _pid(number), 0, args={unit: 0})


def _pid(pool: int) -> int:
    return _REQUESTS_PID + 1 + pool


def _name(what: str, pid: int, tid: int, value: str | int) -> str:
    key = "sort_index" if what.endswith("sort_index") else "name"
    return json.dumps({"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {key: value}})


def _event(ph: str, name: str, at_s: float, pid: int, tid: int, **more: object) -> str:
    event = {"ph": ph, "name": name, "ts": round(at_s * 1e6, 3), "pid": pid, "tid": tid, **more}
    return json.dumps(event, separators=(",", ":"), allow_nan=False)
