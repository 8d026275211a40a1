"""Each invariant holds of a good run and is broken once, on purpose."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from serve_runs import changed, pool, run_of, three
from tokenroof.serve.core import Fleet, Speculation, Stage
from tokenroof.serve.invariants import INVARIANTS, check, digest, visits_account_for_busy_time
from tokenroof.serve.results import SEGMENT, TIMELINE, Run, State

NAN = math.nan


def broken(run: Run) -> set[str]:
    return {violation.name for violation in check(run)}


def with_replicas(run: Run, **columns: float) -> Run:
    replaced = {name: run.replicas[name] + value for name, value in columns.items()}
    return dataclasses.replace(run, replicas={**run.replicas, **replaced})


def with_timeline(run: Run, row: str, factor: float) -> Run:
    timeline = run.timeline.copy()
    timeline[:, TIMELINE.index(row)] *= factor
    return dataclasses.replace(run, timeline=timeline)


def segments(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(list(rows), dtype=SEGMENT)


def chain(**fields: Any) -> Run:
    """Two conversations of two turns, a delay of 1 s between."""
    return run_of(
        [0.0, 2.0, 5.0, 7.0],
        [0.0, 2.0, 5.0, 7.0],
        [1.0, 3.0, 6.0, 8.0],
        [4.0, 6.0, 7.0, 9.0],
        [10] * 4,
        [5] * 4,
        requests={"follows": np.array([-1, -1, 0, 1]), "arrival_s": np.array([0.0, 2.0, 1.0, 1.0])},
        **fields,
    )


def test_good_runs_break_nothing() -> None:
    apart = (pool(Stage.PREFILL), pool(Stage.DECODE))
    assert check(three()) == ()
    assert check(three(pools=apart, log={"transfer_s": [0.5, 0.5, NAN]})) == ()
    assert check(chain()) == ()


def test_an_interrupted_run_breaks_nothing() -> None:
    run = three(
        end_s=6.0,
        log={
            "state": [State.COMPLETED, State.DECODING, State.NOT_SENT],
            "arrival_s": [0.0, 1.0, NAN],
            "start_s": [0.0, 2.0, NAN],
            "first_s": [1.0, 4.0, NAN],
            "finish_s": [5.0, NAN, NAN],
            "out_tokens": [5, 2, 0],
            "prefilled_tokens": [10, 20, 0],
        },
        run={"complete": False},
    )
    assert check(run) == ()
    # its replica still holds blocks, and counts tokens only of sequences that have left
    assert check(with_replicas(run, freed_blocks=-5.0, decode_tokens=-1.0)) == ()


def test_refused_and_lost_requests_break_nothing() -> None:
    run = three(
        log={
            "state": [State.COMPLETED, State.REJECTED, State.FAILED],
            "reason": [0, 1, 3],
            "start_s": [0.0, NAN, 4.0],
            "first_s": [1.0, NAN, NAN],
            "finish_s": [5.0, NAN, NAN],
            "out_tokens": [5, 0, 0],
            "prefilled_tokens": [10, 0, 7],
            "retries": [0, 0, 4],
        },
        end_s=10.0,
    )
    assert check(run) == ()


LOGS: list[tuple[str, dict[str, list[Any]]]] = [
    ("requests_are_conserved", {"isl_tokens": [10, 20, 31], "prefilled_tokens": [10, 20, 31]}),
    ("requests_are_conserved", {"reason": [0, 2, 0]}),
    ("requests_are_conserved", {"state": [6, 6, 7], "finish_s": [5.0, 9.0, NAN], "out_tokens": [5, 3, 0]}),
    ("requests_are_conserved", {"state": [6, 6, 3], "finish_s": [5.0, 9.0, NAN], "out_tokens": [5, 3, 0]}),
    ("requests_are_conserved", {"state": [6, 6, 9]}),
    ("every_token_is_produced_once", {"out_tokens": [5, 2, 1]}),
    ("every_token_is_produced_once", {"out_tokens": [5, 4, 1]}),
    ("every_token_is_produced_once", {"out_tokens": [5, 3, 0]}),
    ("every_token_is_produced_once", {"state": [6, 8, 6], "reason": [0, 3, 0], "finish_s": [5.0, NAN, 10.0]}),
    ("no_event_is_in_the_past", {"start_s": [0.0, 0.5, 4.0]}),
    ("no_event_is_in_the_past", {"first_s": [1.0, 1.5, 10.0]}),
    ("no_event_is_in_the_past", {"finish_s": [5.0, 11.0, 10.0]}),
    ("no_event_is_in_the_past", {"finish_s": [5.0, 3.0, 10.0]}),
    ("no_event_is_in_the_past", {"finish_s": [5.0, NAN, 10.0]}),
    ("no_event_is_in_the_past", {"start_s": [0.0, NAN, 4.0]}),
    ("no_event_is_in_the_past", {"arrival_s": [0.0, NAN, 2.0]}),
    ("no_event_is_in_the_past", {"transfer_s": [0.0, -1.0, 2.0]}),
    ("tokens_are_causal", {"first_s": [0.0, 4.0, 10.0]}),
    ("tokens_are_causal", {"first_s": [5.0, 4.0, 10.0]}),
    ("tokens_are_causal", {"replica": [0, -1, 0]}),
    ("senders_wait_for_answers", {"arrival_s": [0.0, 1.5, 2.0]}),
    ("work_is_accounted", {"prefilled_tokens": [10, 19, 30]}),
    ("work_is_accounted", {"prefilled_tokens": [10, 21, 30]}),
    ("work_is_accounted", {"prefilled_tokens": [10, 19, 30], "preemptions": [0, 1, 0]}),
    ("work_is_accounted", {"prefilled_tokens": [10, 15, 30], "cached_tokens": [0, 5, 0]}),
    ("work_is_accounted", {"preemptions": [0, -1, 0]}),
    ("work_is_accounted", {"retries": [0, 5, 0]}),
]


@pytest.mark.parametrize(("name", "log"), LOGS)
def test_a_wrong_log_breaks_its_invariant(name: str, log: dict[str, list[Any]]) -> None:
    assert name in broken(three(log=log, end_s=10.0))


def test_replicas_must_have_produced_what_came_out() -> None:
    assert broken(with_replicas(three(), decode_tokens=1.0)) == {"every_token_is_produced_once"}
    assert broken(with_replicas(three(), prefill_ends=-1.0)) == {"every_token_is_produced_once"}
    assert broken(with_replicas(three(), prefill_tokens=1.0)) == {
        "work_is_accounted",
        "replicas_work_while_they_are_up",
    }


def test_gaps_are_one_fewer_than_tokens_unless_drafts_come_together() -> None:
    run = three()
    fewer = run.itl_counts.copy()
    fewer[0, 900] -= 2.0
    assert broken(changed(run, itl_counts=fewer)) == {"every_token_is_produced_once"}
    drafted = (pool(speculation=Speculation(draft_tokens=3, acceptance_fraction=0.5)),)
    assert broken(three(pools=drafted, run={"itl_counts": fewer})) == set()


def test_blocks_are_held_within_what_there_is_and_given_back() -> None:
    assert broken(with_replicas(three(), peak_blocks=91.0)) == {"no_replica_holds_more_than_it_has"}
    run = three()
    run.timeline[0, TIMELINE.index("used_blocks")] = 101.0
    assert broken(run) == {"no_replica_holds_more_than_it_has"}
    assert broken(with_replicas(three(), freed_blocks=-1.0)) == {"blocks_are_given_back"}
    assert broken(with_replicas(three(run={"complete": False}), freed_blocks=1.0)) >= {
        "blocks_are_given_back"
    }


def test_segments_are_in_time_and_in_their_blocks() -> None:
    good = segments((0, 6, 0.0, 5.0, 2, 0, 0, 100), (0, 2, 5.0, 9.0, 2, 1, 50, 5))
    assert check(three(run={"segments": good})) == ()
    held = segments((0, 6, 0.0, 5.0, 2, 0, 0, 101), (0, 2, 5.0, 9.0, 2, 1, 50, 5))
    assert broken(three(run={"segments": held})) == {"no_replica_holds_more_than_it_has"}
    for wrong in (
        segments((0, 1, 1.0, 0.5, 1, 0, 0, 1)),
        segments((0, 1, 9.0, 10.5, 1, 0, 0, 1)),
        segments((0, 1, 0.0, 1.0, 1, 0, 0, 1), (0, 1, 0.9, 2.0, 1, 0, 0, 1)),
    ):
        assert "no_event_is_in_the_past" in broken(three(run={"segments": wrong}))


def test_a_token_takes_a_step() -> None:
    # the first request gets 4 tokens from 1 to 5 s, the second 2 from 4 to 9 s
    enough = segments((0, 4, 1.0, 5.0, 1, 0, 0, 1), (0, 2, 5.0, 9.0, 1, 0, 0, 1))
    assert check(three(run={"segments": enough})) == ()
    fewer = segments((0, 3, 1.0, 5.0, 1, 0, 0, 1), (0, 2, 5.0, 9.0, 1, 0, 0, 1))
    (violation,) = check(three(run={"segments": fewer}))
    assert violation.message == "request 0 (3.0): more tokens than its replica did steps for; 1 in all"
    # steps that had begun before it was there are not its own
    begun = segments((0, 6, 0.0, 5.0, 1, 0, 0, 1), (0, 2, 5.0, 9.0, 1, 0, 0, 1))
    assert check(three(run={"segments": begun})) == ()
    early = segments((0, 4, 0.0, 5.0, 1, 0, 0, 1), (0, 2, 5.0, 9.0, 1, 0, 0, 1))
    assert broken(three(run={"segments": early})) == {"tokens_are_causal"}
    drafted = (pool(speculation=Speculation(draft_tokens=3, acceptance_fraction=0.5)),)
    assert check(three(pools=drafted, run={"segments": early})) == ()
    # what was not recorded is not asked about
    cut = with_replicas(three(run={"segments": fewer[:1]}), segments=2.0)
    assert check(cut) == ()


def test_events_in_the_past_are_told() -> None:
    assert broken(changed(three(), past_events=2)) == {"no_event_is_in_the_past"}


def test_replicas_work_only_while_up_and_the_timeline_agrees() -> None:
    assert broken(with_replicas(three(), busy_s=6.0)) == {"replicas_work_while_they_are_up"}
    assert broken(with_replicas(three(), up_s=1.0)) == {"replicas_work_while_they_are_up"}
    for row in ("busy_replicas", "prefill_tokens"):
        assert broken(with_timeline(three(), row, 0.9)) == {"replicas_work_while_they_are_up"}
    assert "no_replica_holds_more_than_it_has" in broken(with_timeline(three(), "up_replicas", 1.1))


def test_a_follower_is_sent_a_delay_after_its_predecessor() -> None:
    for at in (4.5, 5.5):
        early = [0.0, 2.0, at, 7.0]
        run = changed(chain(), log={"arrival_s": early, "start_s": [0.0, 2.0, max(at, 5.0), 7.0]})
        assert broken(run) == {"senders_wait_for_answers"}


def test_in_a_closed_loop_no_more_are_in_progress_than_there_are_clients() -> None:
    # conversations last from 0 to 7 s and from 2 to 9 s
    for clients, names in ((2, set()), (1, {"senders_wait_for_answers"})):
        run = chain()
        asked = dataclasses.replace(run.requests, concurrency=clients)
        assert broken(dataclasses.replace(run, requests=asked)) == names
    back_to_back = run_of([0.0, 2.0], [0.0, 2.0], [1.0, 3.0], [2.0, 4.0], [10] * 2, [5] * 2)
    asked = dataclasses.replace(back_to_back.requests, concurrency=1)
    assert broken(dataclasses.replace(back_to_back, requests=asked)) == set()


def test_recomputation_and_caches_are_accounted() -> None:
    again = {"prefilled_tokens": [10, 35, 30], "preemptions": [0, 1, 0]}
    assert check(three(log=again)) == ()
    caching = (pool(prefix_caching=True),)
    assert (
        check(three(pools=caching, log={"prefilled_tokens": [10, 4, 1], "cached_tokens": [0, 16, 29]})) == ()
    )
    # another request has filled the cache before this one came back
    found = {"prefilled_tokens": [10, 4, 30], "preemptions": [0, 1, 0]}
    assert check(three(pools=caching, log=found)) == ()
    whole = {"prefilled_tokens": [10, 0, 30], "cached_tokens": [0, 20, 0]}
    assert broken(three(pools=caching, log=whole)) == {"work_is_accounted"}
    assert check(three(log={"retries": [0, 2, 0]}, setup={"fleet": Fleet(max_retries=1)})) == ()


def test_a_log_of_another_length_is_told_alone() -> None:
    found = check(changed(three(), log={"out_tokens": [5, 3]}))
    assert [violation.name for violation in found] == ["requests_are_conserved"]
    assert found[0].message == "out_tokens has 2 rows of 3 requests"


def test_messages_say_how_many_and_which() -> None:
    (violation,) = check(three(log={"start_s": [0.0, 0.5, 1.0]}))
    assert violation.message == "request 1 (0.5): begun before sent; 2 in all"


def test_visits_account_for_busy_time() -> None:
    run = three(run={"visits": (np.array([2.0, 3.0]),)})
    table = np.array([0.5, 1.0])
    assert list(visits_account_for_busy_time(run, (table,), (1.0,))) == []
    (message,) = visits_account_for_busy_time(run, (table,), (0.0,))
    assert message == "pool 0: visits account for 4.0 s of 5.0 s in steps"


def test_every_invariant_says_what_it_means() -> None:
    assert all(invariant.__doc__ for invariant in INVARIANTS)
    assert len({invariant.__name__ for invariant in INVARIANTS}) == len(INVARIANTS)


def test_the_digest_is_of_the_content() -> None:
    assert digest(three()) == digest(three())
    run = three()
    narrow = {"state": run.log.state.astype(np.int32), "out_tokens": run.log.out_tokens[::1].astype(np.int32)}
    assert digest(changed(run, log=narrow)) == digest(run)
    assert len(digest(run)) == 64
    others = [
        changed(run, log={"finish_s": [5.0, np.nextafter(9.0, 10.0), 10.0]}),
        changed(run, log={"retries": [0, 0, 1]}),
        changed(run, events=2),
        changed(run, end_s=10.5),
        with_replicas(run, busy_s=1e-12),
        with_timeline(run, "prefill_tokens", 1.0 + 1e-15),
        changed(run, visits=(np.ones(1),)),
        changed(run, segments=segments((0, 1, 0.0, 1.0, 1, 0, 0, 1))),
    ]
    assert len({digest(one) for one in [run, *others]}) == 1 + len(others)
