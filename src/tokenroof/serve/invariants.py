"""What must hold of every run, by name; each is one function that says what does not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from tokenroof.perf.flat import flat_layout, flat_times
from tokenroof.serve.core import Fleet, Stage
from tokenroof.serve.results import REASONS, TIMELINE, RequestLog, Run, State
from tokenroof.workload.core import NOBODY

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_ROUNDING = 1e-9
"""Sums of many floats agree to this part; times and counts that are copied agree exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """An invariant that does not hold.

    Attributes
    ----------
    name : str
        Of the function in this module.
    message : str
        One line: what, where, the numbers.
    """

    name: str
    message: str


def requests_are_conserved(run: Run) -> Iterator[str]:
    """Requests in = completed + rejected + failed + in flight + not sent, each as it was asked for."""
    log, asked = run.log, run.requests
    for column in fields(RequestLog):
        if getattr(log, column.name).shape != (len(asked),):
            yield f"{column.name} has {getattr(log, column.name).size} rows of {len(asked)} requests"
            return
    for name in ("isl_tokens", "osl_tokens", "class_index", "session"):
        yield from _where(getattr(log, name) != getattr(asked, name), f"{name} is not what was asked")
    yield from _where((log.state < 0) | (log.state >= len(State)), "no such state")
    over = log.state >= State.COMPLETED
    if run.complete:
        yield from _where(~over, "left in flight or unsent by a run that is complete")
    refused = over & (log.state != State.COMPLETED)
    yield from _where(refused != (log.reason != 0), "a reason without a refusal, or a refusal without one")
    yield from _where((log.reason < 0) | (log.reason >= len(REASONS)), "no such reason")


def every_token_is_produced_once(run: Run) -> Iterator[str]:
    """Completed: as many tokens as asked for. All requests': what the replicas have produced."""
    log = run.log
    done = log.state == State.COMPLETED
    yield from _where(done & (log.out_tokens != log.osl_tokens), "completed with other tokens than asked for")
    yield from _where(
        (log.out_tokens < 0) | (log.out_tokens > log.osl_tokens), "fewer tokens than 0 or more than asked"
    )
    yield from _where(
        ~done & (log.out_tokens == log.osl_tokens), "all its tokens are out and it is not completed"
    )
    yield from _where(
        (log.out_tokens > 0) == np.isnan(log.first_s), "tokens without a first one, or the reverse"
    )
    made = float(run.replicas["decode_tokens"].sum() + run.replicas["prefill_ends"].sum())
    out = int(log.out_tokens.sum())
    handed_over = any(pool.stage == Stage.DECODE for pool in run.setup.pools)
    lost = handed_over and bool((log.retries > 0).any() or (log.state == State.FAILED).any())
    if run.complete and not lost and out != made:
        yield f"{out} tokens came out, the replicas produced {made:.0f}"
    if run.complete and out > made:
        yield f"{out} tokens came out, the replicas produced only {made:.0f}"
    gaps, pairs = float(run.itl_counts.sum()), int(np.maximum(log.out_tokens - 1, 0).sum())
    drafted = any(pool.speculation is not None for pool in run.setup.pools)
    if gaps > pairs or (gaps != pairs and not drafted):
        yield f"{gaps:.0f} gaps between tokens were counted, {pairs} are between the tokens that came out"


def no_replica_holds_more_than_it_has(run: Run) -> Iterator[str]:
    """Blocks held at the peak, on average and in every recorded step: at most those of the replica."""
    pools = run.replicas["pool"].astype(np.int64)
    have = np.array([pool.num_blocks for pool in run.setup.pools], dtype=np.float64)
    peak = run.replicas["peak_blocks"]
    yield from _where(peak > have[pools], "held more blocks than it has", "replica", peak)
    used: FloatArray = run.timeline[:, TIMELINE.index("used_blocks")]
    up: FloatArray = run.timeline[:, TIMELINE.index("up_replicas")]
    count = np.bincount(pools, minlength=have.size)[:, None]
    slack = 1.0 + _ROUNDING
    over: BoolArray = np.any((used > have[:, None] * count * slack) | (up > count * slack), axis=1)
    yield from _where(over, "the timeline has more blocks or replicas than there are", "pool")
    if run.segments.size:
        over = run.segments["used_blocks"] > have[pools[run.segments["replica"]]]
        yield from _where(over, "held more blocks than its replica has", "segment")


def no_event_is_in_the_past(run: Run) -> Iterator[str]:
    """Sent, begun, first token, last token, end of the run: in this order; what is over has its times."""
    log = run.log
    if run.past_events:
        yield f"{run.past_events} events lay in the past"
    times = (log.arrival_s, log.start_s, log.first_s, log.finish_s)
    names = ("sent", "begun", "first token", "last token")
    yield from _where(log.arrival_s < 0.0, "sent before the start", values=log.arrival_s)
    for k in range(3):
        yield from _where(times[k + 1] < times[k], f"{names[k + 1]} before {names[k]}", values=times[k + 1])
        yield from _where(np.isnan(times[k]) & ~np.isnan(times[k + 1]), f"{names[k + 1]} but not {names[k]}")
    yield from _where(
        log.finish_s > run.end_s, f"last token after the end at {run.end_s!r} s", values=log.finish_s
    )
    yield from _where(log.transfer_s < 0.0, "moved in negative time", values=log.transfer_s)
    done = log.state == State.COMPLETED
    yield from _where(done == np.isnan(log.finish_s), "completed without a last token, or the reverse")
    unsent = log.state == State.NOT_SENT
    yield from _where(unsent != np.isnan(log.arrival_s), "sent without a time, or the reverse")
    rows = run.segments
    yield from _where(
        ~(rows["start_s"] <= rows["end_s"]) | (rows["end_s"] > run.end_s), "not in time", "segment"
    )
    order = np.lexsort((rows["start_s"], rows["replica"]))
    ends, starts, who = rows["end_s"][order], rows["start_s"][order], rows["replica"][order]
    both = (who[1:] == who[:-1]) & (starts[1:] < ends[:-1])
    yield from _where(both, "begins before the one in front of it on its replica has ended", "segment")


def tokens_are_causal(run: Run) -> Iterator[str]:
    """No first token without a step, none before the prompt has begun, no second at the time of the first."""
    log = run.log
    yield from _where(log.first_s <= log.start_s, "first token when its prompt was begun", values=log.first_s)
    again = (log.out_tokens > 1) & (log.finish_s <= log.first_s)
    yield from _where(again, "last token at the time of the first", values=log.finish_s)
    yield from _where((log.replica < 0) & ~np.isnan(log.first_s), "a token that no replica prefilled")
    if run.segments.size:
        yield from _steps_suffice(run)


def _steps_suffice(run: Run) -> Iterator[str]:
    """Of recorded work: every token after the first takes a decode step that begins when it is there.

    Requests that lost their blocks or their replica get tokens from prefills too, and are left out.
    """
    log, rows = run.log, run.segments
    cut = bool(run.replicas["segments"].sum() > rows.size)
    until_s = float(rows["end_s"].max()) if cut else np.inf
    asked = (log.state == State.COMPLETED) & (log.preemptions == 0) & (log.retries == 0)
    asked &= (log.out_tokens > 1) & (log.finish_s < until_s)
    for replica in range(run.replicas["pool"].size):
        speculation = run.setup.pools[int(run.replicas["pool"][replica])].speculation
        most = 1 if speculation is None else speculation.draft_tokens + 1
        mine = np.flatnonzero(asked & (log.decode_replica == replica))
        work = rows[rows["replica"] == replica]
        work = work[np.argsort(work["start_s"], kind="stable")]
        if not mine.size or not work.size:
            continue
        # steps done as a function of time: level between stretches, a line through each
        at_s = np.stack((work["start_s"], work["end_s"]), axis=1).ravel()
        done = np.repeat(np.cumsum(work["steps"]), 2)
        done[::2] -= work["steps"]
        steps = np.interp(log.finish_s[mine], at_s, done) - np.interp(log.first_s[mine], at_s, done)
        few = steps * most < log.out_tokens[mine] - 1 - 1e-3
        yield from _where(few, "more tokens than its replica did steps for", rows=mine, values=steps)


def senders_wait_for_answers(run: Run) -> Iterator[str]:
    """Open loop: sent as asked. Followers: after their predecessor and the delay. Closed loop: see below.

    At most ``concurrency`` conversations (chains of followers) are in progress, from the first sent to
    the last token of the last.
    """
    log, asked = run.log, run.requests
    heads = asked.follows == NOBODY
    sent = ~np.isnan(log.arrival_s)
    if asked.concurrency is None:
        wrong = heads & sent & (log.arrival_s != asked.arrival_s)
        yield from _where(wrong, "not sent when asked", values=log.arrival_s)
    rows = np.flatnonzero(~heads & sent)
    before = asked.follows[rows]
    over_s, delay_s = log.finish_s[before], asked.arrival_s[rows]
    known = ~np.isnan(over_s)
    early = np.where(known, over_s, log.arrival_s[before]) + delay_s - log.arrival_s[rows]
    wrong = (early > _ROUNDING * run.end_s) | (known & (early < -_ROUNDING * run.end_s))
    yield from _where(~(log.state[before] >= State.COMPLETED), "follows one that is not over", rows=rows)
    yield from _where(wrong, "not sent a delay after the one it follows", rows=rows)
    if asked.concurrency is not None:
        yield from _at_most_in_progress(run, heads, asked.concurrency)


def _at_most_in_progress(run: Run, heads: BoolArray, concurrency: int) -> Iterator[str]:
    log, asked = run.log, run.requests
    root = np.where(heads, np.arange(len(log)), asked.follows)
    while not np.array_equal(root, above := root[root]):
        root = above
    last = np.ones(len(log), dtype=np.bool_)
    last[asked.follows[~heads]] = False
    begin_s = log.arrival_s[root[last]]
    over_s = np.where(np.isnan(log.finish_s), log.arrival_s, log.finish_s)[last]
    over_s = np.where(log.state[last] < State.COMPLETED, np.inf, over_s)
    begin_s, over_s = np.sort(begin_s[~np.isnan(begin_s)]), np.sort(over_s)
    here = np.arange(1, begin_s.size + 1) - np.searchsorted(over_s, begin_s, side="right")
    if here.size and here.max() > concurrency:
        at = int(np.argmax(here > concurrency))
        yield f"{here[at]} in progress at {float(begin_s[at])!r} s, at most {concurrency} may be"


def blocks_are_given_back(run: Run) -> Iterator[str]:
    """Blocks freed = blocks taken when all is over; before, never more freed than taken."""
    taken, freed = run.replicas["taken_blocks"], run.replicas["freed_blocks"]
    wrong = taken != freed if run.complete else freed > taken
    yield from _where(wrong, "freed other blocks than it took", "replica", freed - taken)


def work_is_accounted(run: Run) -> Iterator[str]:
    """Prompt tokens: computed or found in a cache; those computed again are counted again.

    Of a completed request exactly once if it kept its blocks. One that lost them may find its prompt in a
    prefix cache that another request has filled since; without one it computes at least all of it.
    """
    log = run.log
    done = log.state == State.COMPLETED
    kept = (log.preemptions == 0) & (log.retries == 0)
    had = log.prefilled_tokens + log.cached_tokens
    caching = any(pool.prefix_caching for pool in run.setup.pools)
    yield from _where(
        done & kept & (had != log.isl_tokens), "prompt tokens not computed just once", values=had
    )
    yield from _where(kept & (had > log.isl_tokens), "more prompt tokens than it has", values=had)
    if not caching:
        yield from _where(done & (had < log.isl_tokens), "prompt tokens never computed", values=had)
        yield from _where(log.cached_tokens != 0, "found tokens without a cache", values=log.cached_tokens)
    outside = (log.cached_tokens < 0) | (log.cached_tokens >= log.isl_tokens) & (log.cached_tokens > 0)
    yield from _where(outside, "more cached than all but one token", values=log.cached_tokens)
    yield from _where(done & (log.prefilled_tokens < 1), "completed without a computed token")
    yield from _where(log.preemptions < 0, "negative preemptions")
    most = run.setup.fleet.max_retries + 1
    yield from _where((log.retries < 0) | (log.retries > most), f"not 0..{most} retries", values=log.retries)
    computed, logged = float(run.replicas["prefill_tokens"].sum()), int(log.prefilled_tokens.sum())
    if computed != logged:
        yield f"requests had {logged} prompt tokens computed, the replicas computed {computed:.0f}"


def replicas_work_while_they_are_up(run: Run) -> Iterator[str]:
    """Time in steps is at most time up, and that at most the run; the timeline says the same.

    Who starts up or stands by is paid for (``up_s``) and does not serve (the timeline).
    """
    busy, up = run.replicas["busy_s"], run.replicas["up_s"]
    slack = 1.0 + _ROUNDING
    yield from _where(busy > up * slack, "works longer than it is up", "replica", busy)
    yield from _where(up > run.end_s * slack, "is up longer than the run", "replica", up)
    edges = np.minimum(run.timeline_bin_s * np.arange(run.timeline.shape[2] + 1), run.end_s)
    pools = run.replicas["pool"].astype(np.int64)
    for name, row, width in (
        ("busy_s", "busy_replicas", np.diff(edges)),
        ("up_s", "up_replicas", np.diff(edges)),
        ("prefill_tokens", "prefill_tokens", np.ones(edges.size - 1)),
    ):
        line = run.timeline[:, TIMELINE.index(row)] @ width
        by_pool = np.bincount(pools, weights=run.replicas[name], minlength=line.size)
        apart = np.abs(line - by_pool) > 1e-6 * np.maximum(by_pool, 1e-6)
        if name == "up_s" and run.setup.fleet != Fleet():
            apart &= line > by_pool
        yield from _where(apart, f"timeline and replicas differ in {name}", "pool", line - by_pool)


def visits_account_for_busy_time(
    run: Run, step_s: Sequence[FloatArray | None], extra_s: Sequence[float]
) -> Iterator[str]:
    """Uses of the time table times its entries, and what is not in it, are the time in steps of each pool.

    Parameters
    ----------
    run : Run
        With its visits.
    step_s : sequence of FloatArray or None
        By pool: the flat time table that ``Run.visits`` counts the uses of; None: any. [s]
    extra_s : sequence of float
        By pool: time in steps that is in no table (overheads, drafts, slowdowns). [s]
    """
    busy = np.bincount(
        run.replicas["pool"].astype(np.int64), weights=run.replicas["busy_s"], minlength=len(step_s)
    )
    for pool, (visits, table_s, more_s) in enumerate(zip(run.visits, step_s, extra_s, strict=True)):
        if table_s is None:
            continue
        told = float(visits @ table_s) + more_s
        if abs(told - busy[pool]) > 1e-6 * max(busy[pool], 1e-6):
            yield f"pool {pool}: visits account for {told!r} s of {float(busy[pool])!r} s in steps"


def busy_time_is_what_steps_take(run: Run) -> Iterator[str]:
    """The same with the tables of the run: of pools without stages and failures, when all is over."""
    if not run.complete or run.setup.fleet.incidents:
        return
    step_s: list[FloatArray | None] = [None] * len(run.visits)
    extra_s = [0.0] * len(run.visits)
    for number, (pool, visits) in enumerate(zip(run.setup.pools, run.visits, strict=True)):
        if visits.size and pool.table.subject.parallel.pp == 1:
            layout = flat_layout(pool.table, max(1, int(pool.scheduler.settings()["max_seqs"])))
            step_s[number] = flat_times(pool.table, layout)
            mine = run.replicas["pool"] == number
            extra_s[number] = float(run.replicas["rounds"][mine].sum()) * pool.table.overhead_s
            decoded = float(run.replicas["steps"][mine].sum())
            extra_s[number] += pool.speculation.draft_step_s * decoded if pool.speculation else 0.0
    yield from visits_account_for_busy_time(run, step_s, extra_s)


INVARIANTS: tuple[Callable[[Run], Iterator[str]], ...] = (
    requests_are_conserved,
    every_token_is_produced_once,
    no_replica_holds_more_than_it_has,
    no_event_is_in_the_past,
    tokens_are_causal,
    senders_wait_for_answers,
    blocks_are_given_back,
    work_is_accounted,
    replicas_work_while_they_are_up,
    busy_time_is_what_steps_take,
)
"""What :func:`check` runs."""


def check(run: Run) -> tuple[Violation, ...]:
    """Everything that does not hold of a run; nothing, unless there is a bug of ours.

    Parameters
    ----------
    run : Run
        Complete or interrupted.

    Returns
    -------
    tuple of Violation
        In the order of ``INVARIANTS``. A log of a wrong shape is the only one then.
    """
    found: list[Violation] = []
    for invariant in INVARIANTS:
        found += [Violation(name=invariant.__name__, message=message) for message in invariant(run)]
        if found and any(
            getattr(run.log, column.name).size != len(run.requests) for column in fields(RequestLog)
        ):
            break
    return tuple(found)


def digest(run: Run) -> str:
    """SHA-256 over all columns of what came of a run: the same setup, requests and seed give the same.

    Returns
    -------
    str
        64 hexadecimal digits. Numbers enter with their kind and all their bytes, whatever their width in
        memory; what was asked (setup, requests) does not.
    """
    whole = hashlib.sha256()

    def add(name: str, values: npt.NDArray[np.generic]) -> None:
        wide = values if values.dtype.names else values.astype("<f8" if values.dtype.kind == "f" else "<i8")
        whole.update(f"{name}{values.shape}".encode())
        whole.update(np.ascontiguousarray(wide).tobytes())

    for column in fields(RequestLog):
        add(column.name, getattr(run.log, column.name))
    add("timeline", run.timeline)
    add("itl_counts", run.itl_counts)
    for pool, visits in enumerate(run.visits):
        add(f"visits{pool}", visits)
    for kind in (run.replicas, run.tiers):
        for name in sorted(kind):
            add(name, kind[name])
    add("segments", run.segments)
    add("rest", np.array([run.end_s, run.timeline_bin_s, float(run.complete), float(run.events)]))
    return whole.hexdigest()


def _where(
    wrong: npt.NDArray[np.bool_],
    what: str,
    kind: str = "request",
    values: npt.NDArray[np.generic] | None = None,
    *,
    rows: npt.NDArray[np.int64] | None = None,
) -> Iterator[str]:
    """One line on the rows that are wrong, if any: how many, the first of them, its value."""
    found = np.flatnonzero(wrong)
    if found.size:
        first = int(found[0])
        value = f" ({values[first]})" if values is not None else ""
        number = first if rows is None else int(rows[first])
        yield f"{kind} {number}{value}: {what}; {found.size} in all"
