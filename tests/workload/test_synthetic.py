"""Open and closed loops: mixes by share, columns as clients send them, shared prompts as identities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.errors import InputError
from tokenroof.workload.arrivals import AllAtOnce, Constant, Poisson
from tokenroof.workload.core import NOBODY, Prefixes, RequestClass, Requests, Slo, Workload
from tokenroof.workload.delays import ExponentialDelay, FixedDelay
from tokenroof.workload.identities import SharedPrompt
from tokenroof.workload.lengths import Fixed, Lognormal, Uniform, UniformRange
from tokenroof.workload.pairs import Independent
from tokenroof.workload.synthetic import ClosedLoop, OpenLoop, Traffic

URGENT = RequestClass(name="urgent", priority=0, slo=Slo(ttft_s=0.5))
BULK = RequestClass(name="bulk", priority=5)
SHORT = Traffic(
    lengths=Independent(isl=Uniform(low_tokens=10, high_tokens=20), osl=Fixed(tokens=5)),
    share=3.0,
    request_class=URGENT,
)
LONG = Traffic(
    lengths=Independent(isl=Uniform(low_tokens=1000, high_tokens=2000), osl=Fixed(tokens=50)),
    share=1.0,
    request_class=BULK,
)
RANGE = Independent(
    isl=UniformRange(nominal_tokens=1024, range_ratio=0.8),
    osl=UniformRange(nominal_tokens=512, range_ratio=0.8),
)


def open_loop(*mix: Traffic, count: int = 2000, **options: object) -> OpenLoop:
    return OpenLoop(arrivals=Poisson(rate_per_s=5.0), mix=mix, num_requests=count, **options)


def same_bytes(one: Requests, other: Requests) -> bool:
    columns = [
        field.name for field in fields(Requests) if field.name.endswith(("_s", "_tokens", "s", "n", "x"))
    ]
    arrays = [name for name in columns if isinstance(getattr(one, name), np.ndarray)]
    assert len(arrays) == 6
    prefixes = [part for part in (one.prefixes, other.prefixes) if part is not None]
    return (
        all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in arrays)
        and one.classes == other.classes
        and len(prefixes) in (0, 2)
        and all(part.ids.tobytes() == prefixes[0].ids.tobytes() for part in prefixes)
    )


def ids_of(prefixes: Prefixes | None, row: int) -> list[int]:
    assert prefixes is not None
    return prefixes.ids[prefixes.start[row] : prefixes.start[row + 1]].tolist()


@pytest.mark.parametrize(
    "workload",
    [
        open_loop(SHORT, LONG),
        OpenLoop(arrivals=Poisson(rate_per_s=5.0), mix=(SHORT, LONG), duration_s=100.0),
        open_loop(Traffic(lengths=RANGE, shared=SharedPrompt(tokens=300, groups=9)), own_identities=True),
        ClosedLoop(concurrency=8, mix=(SHORT, LONG), num_requests=100, think=ExponentialDelay(mean_s=2.0)),
    ],
)
def test_a_seed_gives_the_same_bytes_and_another_one_others(workload: Workload) -> None:
    assert same_bytes(workload.requests(7), workload.requests(7))
    assert not same_bytes(workload.requests(7), workload.requests(8))


def test_classes_come_by_share_with_lengths_of_their_own() -> None:
    requests = open_loop(SHORT, LONG, count=40_000).requests(1)
    assert requests.classes == (URGENT, BULK)
    urgent = requests.class_index == 0
    assert abs(urgent.mean() - 0.75) <= 4.5 * np.sqrt(0.75 * 0.25 / 40_000)
    assert requests.isl_tokens[urgent].max() <= 20
    assert requests.isl_tokens[~urgent].min() >= 1000
    assert set(requests.osl_tokens[urgent]) == {5}
    assert set(requests.osl_tokens[~urgent]) == {50}


def test_kinds_of_one_class_are_one_class() -> None:
    requests = open_loop(Traffic(lengths=RANGE), Traffic(lengths=SHORT.lengths)).requests(1)
    assert requests.classes == (RequestClass(),)
    assert set(requests.class_index) == {0}
    assert requests.isl_tokens.min() <= 20 < 819 <= requests.isl_tokens.max()


def test_other_arrivals_leave_the_lengths_alone() -> None:
    even = OpenLoop(arrivals=Constant(rate_per_s=9.0), mix=(SHORT, LONG), num_requests=2000).requests(3)
    poisson = open_loop(SHORT, LONG).requests(3)
    assert even.isl_tokens.tolist() == poisson.isl_tokens.tolist()
    assert even.arrival_s.tolist() != poisson.arrival_s.tolist()


def test_an_open_loop_by_duration_is_the_beginning_of_a_longer_one() -> None:
    short = OpenLoop(arrivals=Poisson(rate_per_s=5.0), mix=(SHORT,), duration_s=200.0).requests(4)
    longer = open_loop(SHORT).requests(4)
    assert short.arrival_s[-1] < 200.0 <= longer.arrival_s[len(short)]
    assert short.arrival_s.tolist() == longer.arrival_s[: len(short)].tolist()
    assert short.concurrency is None


@given(st.integers(1, 300), st.integers(0, 2**31), st.floats(0.0, 1.0))
def test_lengths_of_a_benchmark_client_lie_in_their_range(count: int, seed: int, ratio: float) -> None:
    lengths = Independent(
        isl=UniformRange(nominal_tokens=1024, range_ratio=ratio),
        osl=UniformRange(nominal_tokens=128, range_ratio=ratio),
    )
    requests = open_loop(Traffic(lengths=lengths), count=count).requests(seed)
    assert len(requests) == count
    assert np.all(np.diff(requests.arrival_s) >= 0.0)
    for column, nominal in ((requests.isl_tokens, 1024), (requests.osl_tokens, 128)):
        assert column.min() >= max(1, int(ratio * nominal))
        assert column.max() <= nominal
    assert set(requests.follows) == set(requests.session) == {NOBODY}
    assert requests.prefixes is None


def test_a_closed_loop_is_a_benchmark_client() -> None:
    """All prompts wait at t = 0 behind the places: no delays, a finite number, in order."""
    requests = ClosedLoop(concurrency=64, mix=(Traffic(lengths=RANGE),), num_requests=640).requests(1)
    assert requests.concurrency == 64
    assert len(requests) == 640
    assert not requests.arrival_s.any()
    assert requests.isl_tokens.mean() == pytest.approx(0.9 * 1024, rel=0.02)
    assert requests.label == "closed loop of 64"


def test_thinking_comes_after_the_first_request_of_each_place() -> None:
    loop = ClosedLoop(
        concurrency=4, mix=(SHORT,), num_requests=9, think=FixedDelay(delay_s=3.0), ramp_up_s=2.0
    )
    assert loop.requests(1).arrival_s.tolist() == [0.0, 0.5, 1.0, 1.5, 3.0, 3.0, 3.0, 3.0, 3.0]


def test_more_places_than_requests_send_all_at_once() -> None:
    loop = ClosedLoop(concurrency=100, mix=(SHORT,), num_requests=3, think=FixedDelay(delay_s=3.0))
    assert loop.requests(1).arrival_s.tolist() == [0.0, 0.0, 0.0]


def test_a_shared_prompt_comes_on_top_and_shares_whole_blocks() -> None:
    traffic = Traffic(lengths=RANGE, shared=SharedPrompt(tokens=1000))
    requests = open_loop(traffic, block_tokens=64).requests(1)
    bare = open_loop(Traffic(lengths=RANGE)).requests(1)
    assert (requests.isl_tokens - bare.isl_tokens).tolist() == [1000] * 2000
    assert ids_of(requests.prefixes, 0) == ids_of(requests.prefixes, 1999) == list(range(15))
    assert traffic.mean_isl_tokens == pytest.approx(1000 + 921.5)


def test_a_prompt_below_one_block_shares_nothing() -> None:
    assert open_loop(Traffic(lengths=RANGE, shared=SharedPrompt(tokens=63))).requests(1).prefixes is None


def test_groups_share_among_themselves_alone_and_by_their_law() -> None:
    shared = SharedPrompt(tokens=128, groups=4, zipf_exponent=1.0)
    requests = open_loop(Traffic(lengths=RANGE, shared=shared), count=40_000).requests(1)
    assert requests.prefixes is not None
    ids = requests.prefixes.ids.reshape(40_000, 2)
    assert np.unique(ids, axis=0).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    for group, weight in enumerate((12, 6, 4, 3)):
        share = weight / 25
        assert abs(np.mean(ids[:, 0] == 2 * group) - share) <= 4.5 * np.sqrt(share * (1 - share) / 40_000)


def test_equal_prompts_of_two_kinds_are_the_same_and_named_ones_are_not() -> None:
    def distinct(other: SharedPrompt) -> int:
        mix = (
            Traffic(lengths=RANGE, shared=SharedPrompt(tokens=640)),
            Traffic(lengths=SHORT.lengths, shared=other),
            LONG,
        )
        prefixes = open_loop(*mix).requests(1).prefixes
        assert prefixes is not None
        assert set(np.diff(prefixes.start)) == {0, 10}
        return int(prefixes.ids.max()) + 1

    assert distinct(SharedPrompt(tokens=640)) == 10
    assert distinct(SharedPrompt(tokens=640, name="another")) == 20


@given(
    count=st.integers(1, 60),
    tokens=st.integers(1, 200),
    groups=st.integers(1, 50),
    block=st.integers(1, 70),
    own=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_identities_have_no_gaps_and_fit_their_requests(
    count: int, tokens: int, groups: int, block: int, own: bool, seed: int
) -> None:
    lengths = Independent(isl=Lognormal(median_tokens=50, sigma=1.0, max_tokens=500), osl=Fixed(tokens=9))
    mix = (Traffic(lengths=lengths, shared=SharedPrompt(tokens=tokens, groups=groups)), SHORT)
    requests = open_loop(*mix, count=count, block_tokens=block, own_identities=own).requests(seed)
    context = requests.isl_tokens + requests.osl_tokens - 1
    if requests.prefixes is None:
        with_prompt = requests.class_index == requests.classes.index(RequestClass())
        assert not np.any(context >= block) if own else tokens < block or not with_prompt.any()
        return
    ids = [ids_of(requests.prefixes, row) for row in range(count)]
    assert sorted({one for row in ids for one in row}) == list(range(int(requests.prefixes.ids.max()) + 1))
    for row, mine in enumerate(ids):
        assert len(set(mine)) == len(mine)
        assert len(mine) <= context[row] // block
        if own:
            assert len(mine) == context[row] // block
    # two requests share the whole prompt of their group or nothing
    for mine in ids[1:]:
        common = sum(a == b for a, b in zip(ids[0], mine, strict=False))
        assert common in (0, tokens // block)
        assert len(set(ids[0]) & set(mine)) == common


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: open_loop(), "OpenLoop: mix has nothing in it"),
        (lambda: open_loop(SHORT, count=0), "OpenLoop: num_requests must be at least 1, got 0"),
        (lambda: open_loop(SHORT, count=2**40), "OpenLoop: num_requests must be at most 268435456"),
        (lambda: open_loop(SHORT, block_tokens=0), "block_tokens must be at least 1, got 0"),
        (
            lambda: open_loop(SHORT, duration_s=5.0),
            "give one of num_requests and duration_s, got num_requests 2000",
        ),
        (lambda: OpenLoop(arrivals=AllAtOnce(), mix=(SHORT,)), "give one of num_requests and duration_s"),
        (
            lambda: OpenLoop(arrivals=AllAtOnce(), mix=(SHORT,), duration_s=1.0).requests(1),
            "AllAtOnce has no finite rate",
        ),
        (
            lambda: OpenLoop(arrivals=Poisson(rate_per_s=1e-9), mix=(SHORT,), duration_s=1.0).requests(1),
            "nothing is sent within duration_s 1 at 1e-09/s",
        ),
        (lambda: open_loop(SHORT).requests(-1), "seed: it must be at least 0, got -1"),
        (
            lambda: open_loop(
                Traffic(lengths=RANGE, shared=SharedPrompt(tokens=10**6)), block_tokens=1
            ).requests(1),
            "block_tokens 1 makes 2e.09 prefix identities; at most .* Give fewer requests, or block_tokens 8",
        ),
        (lambda: Traffic(lengths=RANGE, share=0.0), "Traffic: share must be above 0, got 0.0"),
        (lambda: SharedPrompt(tokens=0), "SharedPrompt: tokens must be at least 1, got 0"),
        (lambda: SharedPrompt(tokens=1, groups=0), "SharedPrompt: groups must be at least 1, got 0"),
        (lambda: SharedPrompt(tokens=1, zipf_exponent=-1.0), "zipf_exponent must be at least 0, got -1.0"),
        (
            lambda: ClosedLoop(concurrency=0, mix=(SHORT,), num_requests=5),
            "concurrency must be at least 1, got 0",
        ),
        (lambda: ClosedLoop(concurrency=1, mix=(SHORT,), num_requests=0), "num_requests must be at least 1"),
        (lambda: ClosedLoop(concurrency=1, mix=(), num_requests=1), "ClosedLoop: mix has nothing in it"),
        (
            lambda: ClosedLoop(concurrency=1, mix=(SHORT,), num_requests=1, ramp_up_s=-1.0),
            "ramp_up_s must be at least 0, got -1.0",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
