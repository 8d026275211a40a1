"""Conversations: histories that grow, links, identities that a later turn finds again, limits of context."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.errors import InputError
from tokenroof.workload.arrivals import Constant, Poisson
from tokenroof.workload.core import NOBODY, RequestClass, Requests
from tokenroof.workload.delays import ExponentialDelay, FixedDelay
from tokenroof.workload.identities import SharedPrompt
from tokenroof.workload.lengths import Fixed, Lognormal, Uniform
from tokenroof.workload.sessions import ClosedSessions, Conversation, OpenSessions

CHAT = Conversation(
    turns=Uniform(low_tokens=1, high_tokens=6),
    new_tokens=Lognormal(median_tokens=60, sigma=1.0, max_tokens=2000),
    osl=Lognormal(median_tokens=90, sigma=0.8, max_tokens=1000),
    think=ExponentialDelay(mean_s=20.0),
    shared=SharedPrompt(tokens=200, groups=3),
    request_class=RequestClass(name="chat"),
)
AGENT = Conversation(
    turns=Fixed(tokens=8),
    new_tokens=Uniform(low_tokens=50, high_tokens=500),
    osl=Uniform(low_tokens=20, high_tokens=80),
    think=FixedDelay(delay_s=1.5),
    first_tokens=Fixed(tokens=3000),
    max_context_tokens=5000,
    request_class=RequestClass(name="agent", priority=2),
)


def opened(*mix: Conversation, count: int = 300, block_tokens: int = 16) -> OpenSessions:
    return OpenSessions(
        arrivals=Poisson(rate_per_s=2.0), mix=mix, num_sessions=count, block_tokens=block_tokens
    )


def turns_of(requests: Requests) -> list[np.ndarray]:
    """Rows of each session, in order."""
    return [np.flatnonzero(requests.session == one) for one in range(int(requests.session.max()) + 1)]


def test_one_session_by_hand() -> None:
    """Prompts 100 + 40 tokens, then each time the answer of 10 and 40 new ones; thinking in between."""
    conversation = Conversation(
        turns=Fixed(tokens=3),
        new_tokens=Fixed(tokens=40),
        osl=Fixed(tokens=10),
        think=FixedDelay(delay_s=4.0),
        shared=SharedPrompt(tokens=100),
    )
    requests = OpenSessions(
        arrivals=Constant(rate_per_s=0.5), mix=(conversation,), num_sessions=2, block_tokens=32
    ).requests(0)
    assert requests.isl_tokens.tolist() == [140, 190, 240] * 2
    assert requests.osl_tokens.tolist() == [10] * 6
    assert requests.follows.tolist() == [NOBODY, 0, 1, NOBODY, 3, 4]
    assert requests.session.tolist() == [0, 0, 0, 1, 1, 1]
    assert requests.arrival_s.tolist() == [0.0, 4.0, 4.0, 2.0, 4.0, 4.0]
    assert requests.prefixes is not None
    # 149, 199 and 249 tokens computed: 4, 6 and 7 whole blocks, 3 of them the system prompt's
    assert requests.prefixes.start.tolist() == [0, 4, 10, 17, 21, 27, 34]
    first = [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 6]
    assert requests.prefixes.ids.tolist() == first + [one if one < 3 else one + 4 for one in first]


conversations = st.builds(
    Conversation,
    turns=st.integers(1, 5).map(lambda high: Uniform(low_tokens=1, high_tokens=high)),
    new_tokens=st.integers(1, 300).map(lambda high: Uniform(low_tokens=1, high_tokens=high)),
    osl=st.integers(1, 300).map(lambda high: Uniform(low_tokens=1, high_tokens=high)),
    think=st.floats(0.0, 9.0).map(lambda delay: FixedDelay(delay_s=delay)),
    first_tokens=st.none() | st.integers(1, 400).map(lambda tokens: Fixed(tokens=tokens)),
    shared=st.none() | st.builds(SharedPrompt, tokens=st.integers(1, 150), groups=st.integers(1, 4)),
    max_context_tokens=st.none() | st.integers(1000, 2000),
    share=st.floats(0.1, 5.0),
)


@given(
    mix=st.lists(conversations, min_size=1, max_size=3),
    count=st.integers(1, 25),
    block=st.integers(1, 90),
    seed=st.integers(0, 2**31),
    closed=st.booleans(),
)
def test_laws_of_a_chain(mix: list[Conversation], count: int, block: int, seed: int, closed: bool) -> None:
    if closed:
        requests = ClosedSessions(
            concurrency=3, mix=tuple(mix), num_sessions=count, block_tokens=block
        ).requests(seed)
    else:
        requests = opened(*mix, count=count, block_tokens=block).requests(seed)
    context = requests.isl_tokens + requests.osl_tokens
    prefixes = requests.prefixes
    blocks = [
        [] if prefixes is None else prefixes.ids[prefixes.start[row] : prefixes.start[row + 1]].tolist()
        for row in range(len(requests))
    ]
    owner: dict[int, tuple[int, ...]] = {}
    for rows in turns_of(requests):
        assert requests.follows[rows].tolist() == [NOBODY, *rows[:-1]]
        assert len(set(requests.class_index[rows])) == 1
        for before, after in pairwise(rows):
            assert requests.isl_tokens[after] > context[before]
            assert blocks[after][: len(blocks[before])] == blocks[before]
        for row in rows:
            assert len(blocks[row]) == (context[row] - 1) // block
        # an identity always has the same ones before it, whoever has it
        for place, one in enumerate(blocks[rows[-1]]):
            assert owner.setdefault(one, tuple(blocks[rows[-1]][:place])) == tuple(blocks[rows[-1]][:place])
    assert sorted(owner) == list(range(len(owner)))


def test_what_sessions_share_is_their_groups_prompt_alone() -> None:
    requests = opened(CHAT).requests(5)
    assert requests.prefixes is not None
    last = [
        requests.prefixes.ids[requests.prefixes.start[rows[-1]] : requests.prefixes.start[rows[-1] + 1]]
        for rows in turns_of(requests)
    ]
    groups = {tuple(ids[:12]) for ids in last}
    assert groups == {tuple(range(12)), tuple(range(12, 24)), tuple(range(24, 36))}
    own = np.concatenate([ids[12:] for ids in last])
    assert np.unique(own).size == own.size
    assert own.min() == 36


def test_turns_and_lengths_have_their_means() -> None:
    requests = opened(CHAT, count=20_000).requests(1)
    turns = np.bincount(requests.session)
    assert abs(turns.mean() - 3.5) <= 4.5 * turns.std() / np.sqrt(turns.size)
    assert abs(requests.osl_tokens.mean() - CHAT.osl.mean_tokens) <= (
        4.5 * requests.osl_tokens.std() / np.sqrt(len(requests)) + 0.1
    )
    first = requests.follows == NOBODY
    new = requests.isl_tokens.copy()
    new[first] -= 200
    new[~first] -= (requests.isl_tokens + requests.osl_tokens)[requests.follows[~first]]
    assert abs(new.mean() - CHAT.new_tokens.mean_tokens) <= 4.5 * new.std() / np.sqrt(len(new)) + 0.1
    delays = requests.arrival_s[~first]
    assert abs(delays.mean() - 20.0) <= 4.5 * delays.std() / np.sqrt(delays.size)
    assert np.all(np.diff(requests.arrival_s[first]) >= 0.0)


def test_an_agent_stops_before_its_context_is_full() -> None:
    requests = opened(AGENT).requests(2)
    context = requests.isl_tokens + requests.osl_tokens
    assert context.max() <= 5000
    assert requests.isl_tokens[requests.follows == NOBODY].tolist() == [3000] * 300
    free = Conversation(
        turns=AGENT.turns,
        new_tokens=AGENT.new_tokens,
        osl=AGENT.osl,
        first_tokens=AGENT.first_tokens,
        think=AGENT.think,
    )
    unlimited = opened(free).requests(2)
    assert np.bincount(unlimited.session).tolist() == [8] * 300
    fits = unlimited.isl_tokens + unlimited.osl_tokens <= 5000
    assert context.tolist() == (unlimited.isl_tokens + unlimited.osl_tokens)[fits].tolist()


def test_a_session_that_fits_nowhere_is_left_out() -> None:
    sometimes = Conversation(
        turns=Fixed(tokens=2),
        new_tokens=Uniform(low_tokens=1, high_tokens=2000),
        osl=Fixed(tokens=10),
        max_context_tokens=1000,
    )
    requests = opened(sometimes).requests(1)
    sessions = int(requests.session.max()) + 1
    assert 100 < sessions < 200
    assert np.unique(requests.session).tolist() == list(range(sessions))
    assert np.all(np.diff(requests.arrival_s[requests.follows == NOBODY]) >= 0.0)


def test_kinds_of_sessions_come_by_share() -> None:
    mix = (CHAT, AGENT)
    requests = opened(*mix, count=20_000, block_tokens=64).requests(1)
    assert [one.name for one in requests.classes] == ["chat", "agent"]
    agents = requests.class_index[requests.follows == NOBODY].mean()
    assert abs(agents - 0.5) <= 4.5 * 0.5 / np.sqrt(20_000)


def test_closed_sessions_pause_between_sessions_and_think_between_turns() -> None:
    users = ClosedSessions(
        concurrency=2, mix=(AGENT,), num_sessions=5, pause=FixedDelay(delay_s=60.0), ramp_up_s=10.0
    )
    requests = users.requests(1)
    first = requests.follows == NOBODY
    assert requests.concurrency == 2
    assert requests.arrival_s[first].tolist() == [0.0, 5.0, 60.0, 60.0, 60.0]
    assert set(requests.arrival_s[~first]) == {1.5}


def test_sessions_begin_within_a_duration() -> None:
    sessions = OpenSessions(arrivals=Poisson(rate_per_s=2.0), mix=(CHAT,), duration_s=100.0)
    begins = sessions.requests(3)
    assert begins.arrival_s[begins.follows == NOBODY].max() < 100.0
    assert begins.label == "sessions, Poisson arrivals at 2/s"


@pytest.mark.parametrize(
    "workload", [opened(CHAT, AGENT), ClosedSessions(concurrency=4, mix=(CHAT, AGENT), num_sessions=50)]
)
def test_a_seed_gives_the_same_bytes_and_another_one_others(workload: OpenSessions | ClosedSessions) -> None:
    one, again, other = workload.requests(7), workload.requests(7), workload.requests(8)
    for name in ("arrival_s", "isl_tokens", "osl_tokens", "follows", "session", "class_index"):
        assert getattr(one, name).tobytes() == getattr(again, name).tobytes()
    assert one.prefixes is not None
    assert again.prefixes is not None
    assert one.prefixes.ids.tobytes() == again.prefixes.ids.tobytes()
    assert one.isl_tokens.tobytes() != other.isl_tokens.tobytes()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: opened(), "OpenSessions: mix has nothing in it"),
        (lambda: opened(CHAT, count=0), "OpenSessions: num_sessions must be at least 1, got 0"),
        (lambda: opened(CHAT, block_tokens=-4), "OpenSessions: block_tokens must be at least 1, got -4"),
        (
            lambda: OpenSessions(arrivals=Poisson(rate_per_s=2.0), mix=(CHAT,)),
            "give one of num_sessions and duration_s, got num_sessions None and duration_s None",
        ),
        (
            lambda: ClosedSessions(concurrency=0, mix=(CHAT,), num_sessions=3),
            "ClosedSessions: concurrency must be at least 1, got 0",
        ),
        (
            lambda: Conversation(turns=CHAT.turns, new_tokens=CHAT.osl, osl=CHAT.osl, max_context_tokens=0),
            "Conversation: max_context_tokens must be at least 2, got 0",
        ),
        (
            lambda: Conversation(turns=CHAT.turns, new_tokens=CHAT.osl, osl=CHAT.osl, share=-1.0),
            "Conversation: share must be above 0, got -1.0",
        ),
        (
            lambda: opened(
                Conversation(
                    turns=Fixed(tokens=2),
                    new_tokens=Fixed(tokens=900),
                    osl=Fixed(tokens=200),
                    max_context_tokens=1000,
                )
            ).requests(1),
            "longer than max_context_tokens 1000, the shortest has 1100 tokens",
        ),
        (
            lambda: opened(
                Conversation(turns=Fixed(tokens=10**6), new_tokens=CHAT.osl, osl=CHAT.osl)
            ).requests(1),
            "300 sessions have 300000000 turns; at most 268,435,456",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
