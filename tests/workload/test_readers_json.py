"""Traces in JSON: Mooncake, LLMServingSim, ShareGPT."""

import json
from pathlib import Path

import numpy as np
import pytest

from tokenroof.errors import InputError
from tokenroof.workload.arrivals import Constant
from tokenroof.workload.core import NOBODY, Requests
from tokenroof.workload.readers import (
    Dropped,
    LlmServingSim,
    Mooncake,
    PerCharacter,
    PerWord,
    ShareGpt,
    Trace,
    read_trace,
)


def lines_of(folder: Path, name: str, rows: list[object], **options: object) -> Trace:
    path = folder / name
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    trace = read_trace(path, **options)  # type: ignore[arg-type]
    assert isinstance(trace, Trace)
    return trace


def prompt_blocks(requests: Requests, row: int) -> list[int]:
    assert requests.prefixes is not None
    start, ids = requests.prefixes.start, requests.prefixes.ids
    return ids[start[row] : start[row + 1]].tolist()  # type: ignore[no-any-return]


MOONCAKE = [
    {"timestamp": 0, "input_length": 1000, "output_length": 50, "hash_ids": [46, 47]},
    {"timestamp": 27482, "input_length": 1025, "output_length": 52, "hash_ids": [46, 900, 7]},
]


def test_mooncake_times_are_milliseconds_and_hashes_are_prefixes(tmp_path: Path) -> None:
    trace = lines_of(tmp_path, "moon.jsonl", list(MOONCAKE))
    requests = trace.requests(0)
    assert trace.format == "mooncake"
    assert requests.arrival_s.tolist() == [0.0, 27.482]
    assert requests.isl_tokens.tolist() == [1000, 1025]
    assert requests.prefixes is not None
    assert requests.prefixes.block_tokens == 512
    assert [prompt_blocks(requests, row) for row in (0, 1)] == [[1, 2], [1, 3, 0]]


def test_mooncake_hashes_must_fill_the_prompt(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1: 2 hash_ids for a prompt of 1000 tokens; .* make it 63\."):
        lines_of(tmp_path, "moon.jsonl", list(MOONCAKE), format=Mooncake(block_tokens=16))
    small = [{"timestamp": 0, "input_length": 17, "output_length": 1, "hash_ids": [5, 6]}]
    trace = lines_of(tmp_path, "small.jsonl", list(small), format=Mooncake(block_tokens=16))
    assert prompt_blocks(trace.requests(0), 0) == [0, 1]


def test_mooncake_without_hashes_shares_nothing(tmp_path: Path) -> None:
    bare = [{key: row[key] for key in row if key != "hash_ids"} for row in MOONCAKE]
    trace = lines_of(tmp_path, "bare.jsonl", list(bare))
    assert trace.requests(0).prefixes is None
    assert trace.notes == ("No hash_ids: no prompt is known to share anything.",)
    with pytest.raises(InputError, match="line 2: some objects have hash_ids and some have none"):
        lines_of(tmp_path, "some.jsonl", [MOONCAKE[0], bare[1]])


def test_mooncake_sorted_keeps_each_prompt_its_hashes(tmp_path: Path) -> None:
    requests = lines_of(tmp_path, "m.jsonl", MOONCAKE[::-1], sort=True).requests(0)
    assert requests.isl_tokens.tolist() == [1000, 1025]
    assert [len(prompt_blocks(requests, row)) for row in (0, 1)] == [2, 3]


SESSION = {
    "session_id": "s",
    "arrival_time_ns": 2_000_000_000,
    "sub_requests": [
        {"input_toks": 4, "output_toks": 2, "tool_duration_ns": 500_000_000, "input_tok_ids": [1, 2, 3, 4]},
        {"input_toks": 7, "output_toks": 1, "input_tok_ids": [1, 2, 3, 4, 5, 6, 7]},
    ],
}
SINGLE = {
    "input_toks": 5,
    "output_toks": 3,
    "arrival_time_ns": 3_000_000_000,
    "input_tok_ids": [1, 2, 9, 9, 9],
}


def test_llmservingsim_sessions_are_chains_with_tools(tmp_path: Path) -> None:
    trace = lines_of(tmp_path, "w.jsonl", [SESSION, SINGLE], format=LlmServingSim(block_tokens=2))
    requests = trace.requests(0)
    assert trace.format == "llmservingsim"
    assert requests.arrival_s.tolist() == [2.0, 0.5, 3.0]
    assert requests.follows.tolist() == [NOBODY, 0, NOBODY]
    assert requests.session.tolist() == [0, 0, NOBODY]
    assert [prompt_blocks(requests, row) for row in range(3)] == [[0, 1], [0, 1, 2, 3], [0, 4, 5]]


def test_llmservingsim_sorts_whole_sessions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2: arrival_time_ns or tool_duration_ns is 1 s earlier"):
        lines_of(tmp_path, "w.jsonl", [SINGLE, SESSION])
    requests = lines_of(tmp_path, "w.jsonl", [SINGLE, SESSION], sort=True).requests(0)
    assert requests.isl_tokens.tolist() == [4, 7, 5]
    assert requests.follows.tolist() == [NOBODY, 0, NOBODY]


def test_an_empty_step_takes_its_session_along(tmp_path: Path) -> None:
    steps = [{"input_toks": 4, "output_toks": 2}, {"input_toks": 7, "output_toks": 0}]
    rows = [{"session_id": "s", "arrival_time_ns": 0, "sub_requests": steps}]
    rows.append({"input_toks": 5, "output_toks": 3, "arrival_time_ns": 1})  # type: ignore[dict-item]
    trace = lines_of(tmp_path, "w.jsonl", list(rows), skip_empty=True)
    assert trace.dropped == (Dropped(count=2, why="prompt or answer of 0 tokens"),)
    assert trace.requests(0).isl_tokens.tolist() == [5]


def test_workflows_with_branches_are_refused(tmp_path: Path) -> None:
    rows = [SINGLE, {"workflow_id": "w", "arrival_time_ns": 5, "nodes": [], "edges": []}]
    with pytest.raises(InputError, match="line 2: a workflow with branches"):
        lines_of(tmp_path, "w.jsonl", list(rows))


def said(*messages: tuple[str, str]) -> dict[str, object]:
    return {"id": "x", "conversations": [{"from": who, "value": text} for who, text in messages]}


CHATS = [
    said(("human", "a" * 400), ("gpt", "b" * 80), ("human", "c" * 41), ("gpt", "d" * 200)),
    said(("human", "never answered")),
    said(("gpt", "e" * 40), ("human", "f" * 40), ("gpt", "g" * 4), ("human", "h"), ("gpt", "")),
]


def share(folder: Path, chats: list[dict[str, object]], **options: object) -> Trace:
    path = folder / "share.json"
    path.write_text(json.dumps(chats), encoding="utf-8")
    trace = read_trace(path, **options)  # type: ignore[arg-type]
    assert isinstance(trace, Trace)
    return trace


def test_sharegpt_turns_carry_what_was_said_before(tmp_path: Path) -> None:
    trace = share(tmp_path, CHATS)
    table = trace.table
    assert trace.format == "sharegpt"
    assert table.isl_tokens.tolist() == [100, 100 + 20 + 11, 20]
    assert table.osl_tokens.tolist() == [20, 50, 1]
    assert table.follows.tolist() == [NOBODY, 0, NOBODY]
    assert table.session.tolist() == [0, 0, 1]
    assert [(d.count, d.why) for d in trace.dropped] == [
        (1, "conversation without a prompt and an answer"),
        (1, "turn without an answer or after an empty one"),
    ]
    assert trace.notes[0] == "Token counts are approximate: PerCharacter(tokens_per_character=0.25)."


def test_sharegpt_turns_share_their_history_and_nothing_else(tmp_path: Path) -> None:
    table = share(tmp_path, CHATS).table
    first, second, other = (prompt_blocks(table, row) for row in range(3))
    assert len(first) == -(-120 // 16)
    assert len(second) == -(-181 // 16)
    assert second[: len(first)] == first
    assert not set(second) & set(other)
    assert sorted(set(first + second + other)) == list(range(max(other) + 1))


def test_sharegpt_first_turns_alone(tmp_path: Path) -> None:
    trace = share(tmp_path, CHATS, format=ShareGpt(max_turns=1))
    assert trace.table.isl_tokens.tolist() == [100, 20]
    assert trace.table.prefixes is None
    assert (trace.table.follows == NOBODY).all()


def test_sharegpt_needs_somebody_to_send(tmp_path: Path) -> None:
    trace = share(tmp_path, CHATS, format=ShareGpt(think_s=8.0))
    with pytest.raises(InputError, match="no sending times"):
        trace.requests(0)
    sent = trace.sent_by(Constant(rate_per_s=0.5)).requests(0)
    np.testing.assert_array_equal(
        sent.arrival_s[[0, 2]], Constant(rate_per_s=0.5).times(np.random.default_rng(), 2)
    )
    assert sent.arrival_s[1] == 8.0
    closed = trace.in_closed_loop(2).requests(0)
    assert (closed.concurrency, closed.arrival_s.tolist()) == (2, [0.0, 8.0, 0.0])


def test_sharegpt_counts_tokens_as_it_is_told(tmp_path: Path) -> None:
    chats = [said(("human", "one two three"), ("gpt", "four"))]
    assert share(tmp_path, chats, format=ShareGpt(count_tokens=PerWord())).table.isl_tokens.tolist() == [4]
    assert share(tmp_path, chats, format=ShareGpt(count_tokens=len)).table.isl_tokens.tolist() == [13]
    more = ShareGpt(count_tokens=PerCharacter(tokens_per_character=0.5))
    assert share(tmp_path, chats, format=more).table.osl_tokens.tolist() == [2]


@pytest.mark.parametrize(
    ("chats", "message"),
    [
        ([said(("alien", "x"))], "entry 1: unknown speaker 'alien'"),
        ([{"id": "x", "conversations": [{"from": "human"}]}], "each message needs 'from' and 'value'"),
        ([said(("human", "x"))], "none of 1 conversations has a prompt with an answer"),
        ([said(("human", "x"), ("gpt", "y")), {"id": "y"}], "entry 2: expected an object with a list"),
    ],
)
def test_sharegpt_refuses(tmp_path: Path, chats: list[dict[str, object]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        share(tmp_path, chats)


def test_sharegpt_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "share.json"
    path.write_text(json.dumps(CHATS, indent=1)[:-60], encoding="utf-8")
    with pytest.raises(InputError, match=r"share\.json: line \d+: no JSON .*Was the file cut off\?"):
        read_trace(path)
