"""ShareGPT: conversations as text, without times and without token counts.

Form of the file "ShareGPT_V3_unfiltered_cleaned_split.json" that serving benchmarks use.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.core import NOBODY, Prefixes
from tokenroof.workload.readers.core import Dropped, Rules, Trace
from tokenroof.workload.readers.rows import Rows, settle
from tokenroof.workload.readers.source import Head, Source
from tokenroof.workload.readers.tabled import tabled
from tokenroof.workload.readers.take import first_of_chain

_USER = {"human", "user"}
_MODEL = {"gpt", "assistant", "chatgpt", "bing", "bard", "model"}
_CONTEXT = {"system"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PerCharacter:
    """Tokens of a text in proportion to its characters, rounded up.

    Attributes
    ----------
    tokens_per_character : float
        0.25 is the rule of thumb for English with the tokenisers of GPT-3.5 and GPT-4; code and other
        scripts take more.
    """

    tokens_per_character: float = 0.25

    def __post_init__(self) -> None:
        if not 0.0 < self.tokens_per_character <= 8.0:
            raise InputError(f"tokens_per_character must lie in 0..8, got {self.tokens_per_character!r}.")

    def __call__(self, text: str) -> int:
        """About so many tokens."""
        return int(np.ceil(len(text) * self.tokens_per_character))


@dataclass(frozen=True, slots=True, kw_only=True)
class PerWord:
    """Tokens of a text in proportion to its words (cut at blanks), rounded up.

    Attributes
    ----------
    tokens_per_word : float
        4/3 is the rule of thumb for English.
    """

    tokens_per_word: float = 4.0 / 3.0

    def __post_init__(self) -> None:
        if not 0.0 < self.tokens_per_word <= 64.0:
            raise InputError(f"tokens_per_word must lie in 0..64, got {self.tokens_per_word!r}.")

    def __call__(self, text: str) -> int:
        """About so many tokens."""
        return int(np.ceil(len(text.split()) * self.tokens_per_word))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareGpt:
    """JSON list of ``{"id", "conversations": [{"from": "human" | "gpt", "value": text}, ...]}``.

    Token counts are approximate unless ``count_tokens`` is a tokeniser's. A turn is what the user (and a
    system message) says up to an answer; its prompt is everything before that answer. It follows the
    turn before it after ``think_s``; what comes before the first prompt belongs to that prompt. Turns
    without an answer, or with an empty prompt or answer, end the conversation and are counted as left out,
    and so are conversations without any turn.

    Attributes
    ----------
    count_tokens : callable of str to int
        Tokens of a text.
    max_turns : int or None
        At most so many turns of each conversation; 1 for first turns alone (what benchmark clients send).
    think_s : float
        From an answer to the user's next prompt. [s]
    block_tokens : int
        Block in which shared history is counted. [tokens]
    """

    count_tokens: Callable[[str], int] = field(default_factory=PerCharacter)
    max_turns: int | None = None
    think_s: float = 0.0
    block_tokens: int = 16
    name: ClassVar[str] = "sharegpt"
    header: ClassVar[str] = '[{"id": .., "conversations": [{"from": "human", "value": text}, ...]}, ...]'

    def __post_init__(self) -> None:
        if self.max_turns is not None and self.max_turns < 1:
            raise InputError(f"max_turns must be at least 1, got {self.max_turns}.")
        if not (np.isfinite(self.think_s) and self.think_s >= 0.0):
            raise InputError(f"think_s must be at least 0, got {self.think_s!r}.")
        if self.block_tokens < 1:
            raise InputError(f"block_tokens must be at least 1, got {self.block_tokens}.")

    def recognises(self, head: Head) -> bool:
        """By its keys."""
        return head.line.startswith("[") and "conversations" in head.keys

    def read(self, source: Source, rules: Rules) -> Trace:
        """Conversations in the order of the file; something has to say when they begin.

        Raises
        ------
        InputError
            As ``read_trace``.
        """
        turns: list[tuple[int, int]] = []
        follows: list[int] = []
        short = cut = 0
        for number, conversation in enumerate(_conversations(source), start=1):
            mine, lost = self._turns(source, number, conversation)
            short += not mine
            cut += lost if mine else 0
            follows += [len(turns) + turn - 1 if turn else NOBODY for turn in range(len(mine))]
            turns += mine
        if not turns:
            raise source.wrong(f"none of {short:,} conversations has a prompt with an answer.")
        isl, osl = np.array(turns, dtype=np.float64).T
        linked = np.array(follows, dtype=np.int64)
        rows = Rows(
            line=np.ones(isl.size, dtype=np.int64),
            time_s=np.where(linked == NOBODY, 0.0, self.think_s),
            isl=isl,
            osl=osl,
            names=("time", "prompt", "answer"),
            follows=linked,
        )
        settled = settle(source, rows, rules)
        session = np.cumsum(linked == NOBODY) - 1
        several = bool((linked != NOBODY).any())
        prefixes = _history(self.block_tokens, settled.isl_tokens + settled.osl_tokens, settled.follows)
        dropped = (Dropped(count=short, why="conversation without a prompt and an answer"),) * bool(short)
        dropped += (Dropped(count=cut, why="turn without an answer or after an empty one"),) * bool(cut)
        return Trace(
            table=tabled(
                source,
                settled,
                "ShareGPT conversations",
                session=session,
                prefixes=prefixes if several else None,
            ),
            format=self.name,
            timed=False,
            dropped=dropped + settled.dropped,
            notes=(
                f"Token counts are approximate: {self.count_tokens!r}.",
                "The file has no sending times.",
                *((f"A turn follows the answer before it after {self.think_s:g} s.",) if several else ()),
            ),
        )

    def _turns(
        self, source: Source, number: int, conversation: list[Any]
    ) -> tuple[list[tuple[int, int]], int]:
        """Prompt (with all before it) and answer of each turn [tokens], and how many turns are left out."""
        turns: list[tuple[int, int]] = []
        context = fresh = 0
        answers = _answers(source, number, conversation)
        for place, (prompt, answer) in enumerate(answers):
            if self.max_turns is not None and len(turns) == self.max_turns:
                break
            fresh = sum(self.count_tokens(text) for text in prompt)
            length = sum(self.count_tokens(text) for text in answer)
            if fresh < 1 or length < 1:
                return turns, len(answers) - place
            turns.append((context + fresh, length))
            context += fresh + length
        return turns, 0


def _conversations(source: Source) -> list[list[Any]]:
    text = source.text()
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        cut_off = error.pos >= len(text.rstrip()) - 1 or "Unterminated" in error.msg
        hint = " Was the file cut off?" if cut_off else ""
        raise source.wrong(f"no JSON ({error.msg}).{hint}", line=error.lineno) from None
    except (RecursionError, ValueError) as error:
        raise source.wrong(f"no JSON ({type(error).__name__}).") from None
    if not isinstance(entries, list):
        raise source.wrong("expected a list of conversations.")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not isinstance(entry.get("conversations"), list):
            raise source.wrong(f"entry {number}: expected an object with a list 'conversations'.")
    return [entry["conversations"] for entry in entries]


def _answers(source: Source, number: int, messages: list[Any]) -> list[tuple[list[str], list[str]]]:
    """Messages before each answer and those of the answer; what nobody answered comes with none."""
    pairs: list[tuple[list[str], list[str]]] = []
    prompt: list[str] = []
    asked = False
    for message in messages:
        given = isinstance(message, dict)
        who, text = (message.get("from"), message.get("value")) if given else (None, None)
        if not isinstance(text, str) or not isinstance(who, str):
            raise source.wrong(f"entry {number}: each message needs 'from' and 'value' as text.")
        if who not in _USER | _MODEL | _CONTEXT:
            known = ", ".join(sorted(_USER | _MODEL | _CONTEXT))
            raise source.wrong(f"entry {number}: unknown speaker {who!r}. Known: {known}.")
        if who in _MODEL and asked:
            pairs.append((prompt, [text]))
            prompt, asked = [], False
        elif who in _MODEL and pairs:
            pairs[-1][1].append(text)
        else:
            prompt.append(text)
            asked = asked or who in _USER
    return [*pairs, (prompt, [])] if asked else pairs


def _history(block_tokens: int, context_tokens: Any, follows: Any) -> Prefixes:
    """Identities of each conversation's own blocks: every turn begins with all that was said before it."""
    root = first_of_chain(follows)
    blocks = -(-context_tokens // block_tokens)
    most = np.zeros(blocks.size, dtype=np.int64)
    np.maximum.at(most, root, blocks)
    base = (np.cumsum(most) - most)[root]
    start = np.concatenate(([0], np.cumsum(blocks)))
    ids = np.arange(start[-1]) - np.repeat(start[:-1] - base, blocks)
    return Prefixes(block_tokens=block_tokens, start=start, ids=ids)
