"""Workloads of LLMServingSim (github.com/casys-kaist/LLMServingSim): requests and chains with tools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.core import NOBODY, FloatArray, IntArray, Prefixes
from tokenroof.workload.readers.core import Rules, Trace
from tokenroof.workload.readers.jsonl import Objects, read_objects
from tokenroof.workload.readers.rows import Rows, settle
from tokenroof.workload.readers.source import Head, Source
from tokenroof.workload.readers.tabled import tabled
from tokenroof.workload.readers.take import take_prefixes


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmServingSim:
    """JSON lines; a request each, or an agent's session of ``sub_requests``.

    A sub-request is sent ``tool_duration_ns`` of the one before it after that one has ended. Where every
    request has ``input_tok_ids``, prompts that begin with the same tokens share them.

    Attributes
    ----------
    block_tokens : int
        Block in which shared tokens are counted. [tokens]
    """

    block_tokens: int = 16
    name: ClassVar[str] = "llmservingsim"
    header: ClassVar[str] = (
        '{"input_toks": n, "output_toks": n, "arrival_time_ns": ns, "input_tok_ids": [..]} or '
        '{"session_id": .., "arrival_time_ns": ns, "sub_requests": [..]}'
    )

    def __post_init__(self) -> None:
        if self.block_tokens < 1:
            raise InputError(f"block_tokens must be at least 1, got {self.block_tokens}.")

    def recognises(self, head: Head) -> bool:
        """By its keys."""
        return "arrival_time_ns" in head.keys and bool(head.keys & {"input_toks", "sub_requests"})

    def read(self, source: Source, rules: Rules) -> Trace:
        """Requests, chained in sessions.

        Raises
        ------
        InputError
            As ``read_trace``; and for a workflow with branches (``nodes``), which is not read.
        """
        objects = read_objects(source)
        for line, row in zip(objects.line, objects.row, strict=True):
            if "nodes" in row:
                what = "a workflow with branches (nodes). Only single requests and chains are read."
                raise source.wrong(what, line=line)
        steps, follows, session = _steps(source, objects)
        rows = Rows(
            line=np.array(steps.line),
            time_s=np.where(follows == NOBODY, _spread(objects, steps), _waits(steps)) / 1e9,
            isl=steps.numbers("input_toks"),
            osl=steps.numbers("output_toks"),
            names=("arrival_time_ns or tool_duration_ns", "input_toks", "output_toks"),
            follows=follows,
        )
        settled = settle(source, rows, rules)
        prefixes = self._prefixes(source, steps, rows) if steps.has("input_tok_ids") else None
        return Trace(
            table=tabled(
                source,
                settled,
                "LLMServingSim workload",
                session=session[settled.rows],
                prefixes=take_prefixes(prefixes, settled.rows) if prefixes else None,
            ),
            format=self.name,
            dropped=settled.dropped,
            notes=() if prefixes else ("No input_tok_ids: nothing is known to be shared.",),
        )

    def _prefixes(self, source: Source, steps: Objects, rows: Rows) -> Prefixes:
        start, tokens = steps.whole_numbers("input_tok_ids")
        wrong = np.diff(start) != rows.isl
        if wrong.any():
            row = int(np.argmax(wrong))
            what = f"{start[row + 1] - start[row]} input_tok_ids for {rows.isl[row]:g} input_toks."
            raise source.wrong(what, line=int(rows.line[row]))
        answer_start, answers = start * 0, tokens[:0]
        if steps.has("output_tok_ids"):
            answer_start, answers = steps.whole_numbers("output_tok_ids")
        known: dict[tuple[int, bytes], int] = {}
        ids: list[list[int]] = []
        for row in range(rows.line.size):
            prompt = tokens[start[row] : start[row + 1]]
            ids.append(
                self._named(
                    known, np.concatenate((prompt, answers[answer_start[row] : answer_start[row + 1]]))
                )
            )
        begin = np.concatenate(([0], np.cumsum([len(one) for one in ids]))).astype(np.int64)
        flat = np.array([number for one in ids for number in one], dtype=np.int64)
        return Prefixes(block_tokens=self.block_tokens, start=begin, ids=flat)

    def _named(self, known: dict[tuple[int, bytes], int], tokens: IntArray) -> list[int]:
        """Numbers of the blocks of a text, equal when all tokens up to and with the block are."""
        before, numbers = -1, []
        for start in range(0, tokens.size, self.block_tokens):
            key = (before, tokens[start : start + self.block_tokens].tobytes())
            before = known.setdefault(key, len(known))
            numbers.append(before)
        return numbers


def _steps(source: Source, objects: Objects) -> tuple[Objects, IntArray, IntArray]:
    """Single requests and sub-requests as rows, the row each follows, and its session."""
    lines: list[int] = []
    rows: list[dict[str, Any]] = []
    follows: list[int] = []
    session: list[int] = []
    num_sessions = 0
    for line, row in zip(objects.line, objects.row, strict=True):
        steps = row.get("sub_requests", [row])
        if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
            raise source.wrong("sub_requests must be a list of at least one object.", line=line)
        follows += [NOBODY, *range(len(rows), len(rows) + len(steps) - 1)]
        session += [num_sessions if "sub_requests" in row else NOBODY] * len(steps)
        num_sessions += "sub_requests" in row
        lines += [line] * len(steps)
        rows += steps
    found = Objects(source=source, line=lines, row=rows)
    return found, np.array(follows, dtype=np.int64), np.array(session, dtype=np.int64)


def _spread(objects: Objects, steps: Objects) -> FloatArray:
    """Arrival of the line that each step is on. [ns]"""
    arrival_ns = objects.numbers("arrival_time_ns")
    return arrival_ns[np.searchsorted(np.array(objects.line), np.array(steps.line))]


def _waits(steps: Objects) -> FloatArray:
    """Time that the tool of the step before takes; 0 where the file does not say. [ns]"""
    given = Objects(
        source=steps.source, line=steps.line, row=[{"tool_duration_ns": 0} | step for step in steps.row]
    )
    return np.concatenate(([0.0], given.numbers("tool_duration_ns")[:-1]))
