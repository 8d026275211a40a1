"""The time of steps, from the flat arrays of step tables, in compiled code.

The same interpolation as ``StepTable.evaluate``; chunks of unlike lengths take the attention of as many
equal ones as have the same tokens, cached tokens and query-key pairs. Every use of an entry of the table
is counted in ``World.visit``, so that energy and the rest of a run are one dot product afterwards.
"""

from __future__ import annotations

import math

from tokenroof.serve.arrays import World
from tokenroof.serve.jit import jit

# Lanes in the order of ``World.lane``.
FEATURES = (
    "tokens",
    "whole_tokens",
    "logits",
    "decode_seqs",
    "prefill_tokens",
    "prefill_keys",
    "image_tokens",
)

CONTEXT_SHIFT = 6
MOST_GUESSES = 1 << 12
"""The knot below every 64th context is looked up, up to a context of 262,144."""


@jit
def _knot(w: World, at: int, count: int, value: float) -> int:
    """Index of the knot below ``value``; the last but one beyond the end, the first below the start."""
    low, high = 0, count - 1
    while high - low > 1:
        middle = (low + high) >> 1
        if w.knots[at + middle] <= value:
            low = middle
        else:
            high = middle
    return low


@jit
def _near_knot(w: World, at: int, count: int, value: float) -> int:
    """The same, for values that lie near the start."""
    knot = 0
    while knot < count - 2 and w.knots[at + knot + 1] <= value:
        knot += 1
    return knot


@jit
def _context_knot(w: World, p: int, context: float) -> int:
    """The same, for contexts of decode attention."""
    pool = w.pool[p]
    at, count = pool["contexts_at"], pool["contexts"]
    block = int(context) >> CONTEXT_SHIFT
    if block >= pool["guesses"]:
        return _knot(w, at, count, context)
    knot = w.knots[pool["guess_at"] + block]
    while knot < count - 2 and w.knots[at + knot + 1] <= context:
        knot += 1
    return knot


@jit
def _part(count: int, ways: int) -> int:
    """The largest of ``ways`` nearly equal parts; division is slow."""
    return count if ways == 1 else -(-count // ways)


@jit
def _lane_s(w: World, p: int, lane: int, count: int, weight: float) -> float:
    """Time of one lane at ``count``; its entries are visited ``weight`` times."""
    where = w.lane[p, lane]
    at = where[0]
    if at < 0 or count <= 0:
        return 0.0
    if count < where[1]:
        w.visit[at + count] += weight
        return float(w.table[at + count])
    knot = _knot(w, where[3], where[4], float(count))
    left, right = w.knots[where[3] + knot], w.knots[where[3] + knot + 1]
    share = (count - left) / (right - left)
    at = where[2] + knot
    w.visit[at] += weight * (1.0 - share)
    w.visit[at + 1] += weight * share
    return float(w.table[at] + share * (w.table[at + 1] - w.table[at]))


@jit
def lanes_s(
    w: World,
    p: int,
    decode_seqs: int,
    chunks: int,
    tokens: float,
    past: float,
    ends: int,
    padded_seqs: int,
    weight: float,
) -> float:
    """Everything but attention, of a step of one micro-batch.

    ``tokens`` and ``past`` are sums over ``chunks`` prompts, of which ``ends`` end; projections see
    ``padded_seqs`` decoding sequences.
    """
    pool = w.pool[p]
    dp, cp, query = pool["dp"], pool["cp"], pool["query_tokens"]
    rank_seqs = _part(decode_seqs, dp)
    rank_chunks = _part(chunks, dp)
    share = 1.0 if dp == 1 else (rank_chunks / chunks if chunks else 0.0)
    rank_new = math.ceil(tokens * share - 1e-9)
    rank_query = _part(rank_new, cp)
    rank_ends = math.ceil(ends * share - 1e-9)
    padded = _part(padded_seqs, dp)
    total = _lane_s(w, p, 0, padded * query + rank_query, weight)
    total += _lane_s(w, p, 1, padded_seqs * query + int(tokens), weight)
    total += _lane_s(w, p, 2, rank_seqs * query + rank_ends, weight)
    total += _lane_s(w, p, 3, rank_seqs, weight)
    total += _lane_s(w, p, 4, rank_query, weight)
    total += _lane_s(w, p, 5, rank_new + int(past * share) if rank_new else 0, weight)
    return total


@jit
def prefill_attention_s(
    w: World, p: int, chunks: int, tokens: float, past: float, pairs: float, weight: float
) -> float:
    """Attention of ``chunks`` prompts with sums of new and past tokens and of query-key pairs.

    Prompts of unlike lengths are taken for as many equal ones as have the same three sums.
    """
    pool = w.pool[p]
    if chunks <= 0 or tokens <= 0.0:
        return 0.0
    count = float(_part(chunks, pool["dp"]))
    share = count / chunks
    tokens, past, pairs = tokens * share, past * share, pairs * share
    alike = tokens * (past + 0.5 * tokens) / (pairs - 0.5 * tokens)
    if abs(alike - count) > 1e-6 * count:
        count = min(max(alike, 1.0), tokens)
    new, old = tokens / count, past / count
    unlike = pairs / (count * new * (old + 0.5 * (new + 1.0)))
    at_c, at_n, at_p = pool["chunk_knots_at"], pool["new_knots_at"], pool["past_knots_at"]
    height, width = pool["new_knots"], pool["past_knots"]
    level = _near_knot(w, at_c, pool["chunk_knots"], count)
    line = _knot(w, at_n, height, new)
    column = _near_knot(w, at_p, width, old)
    up = (count - w.knots[at_c + level]) / (w.knots[at_c + level + 1] - w.knots[at_c + level])
    down = (new - w.knots[at_n + line]) / (w.knots[at_n + line + 1] - w.knots[at_n + line])
    right = (old - w.knots[at_p + column]) / (w.knots[at_p + column + 1] - w.knots[at_p + column])
    total = 0.0
    for deeper in range(2):
        share_c = up if deeper else 1.0 - up
        if share_c == 0.0:
            continue
        for lower in range(2):
            share_n = share_c * (down if lower else 1.0 - down)
            if share_n == 0.0:
                continue
            at = pool["prefill_at"] + ((level + deeper) * height + line + lower) * width + column
            total += share_n * ((1.0 - right) * w.table[at] + right * w.table[at + 1])
            w.visit[at] += weight * unlike * share_n * (1.0 - right)
            w.visit[at + 1] += weight * unlike * share_n * right
    return max(total, 0.0) * unlike


@jit
def attention_s(w: World, p: int, seqs: int, context: float, weight: float) -> float:
    """Decode attention of ``seqs`` sequences of one rank with a mean of ``context`` cached tokens."""
    if seqs <= 0:
        return 0.0
    pool = w.pool[p]
    at_k, columns = pool["contexts_at"], pool["contexts"]
    knot = _context_knot(w, p, context)
    left = w.knots[at_k + knot]
    share = (context - left) / (w.knots[at_k + knot + 1] - left)
    at = pool["decode_at"] + seqs * columns + knot
    w.visit[at] += weight * (1.0 - share)
    w.visit[at + 1] += weight * share
    return float(w.table[at] + share * (w.table[at + 1] - w.table[at]))


@jit
def slots(w: World, p: int, seqs: int) -> int:
    """Micro-batches that ``seqs`` sequences are spread over: one per stage while there are enough."""
    return max(1, min(w.pool[p]["pp"], seqs))


@jit
def mixed_step_s(
    w: World,
    p: int,
    seqs: int,
    context: float,
    chunks: int,
    tokens: float,
    past: float,
    pairs: float,
    ends: int,
) -> tuple[float, float]:
    """A step with prompts in it: how long until the next can begin, and until its prompts are through.

    ``context`` is the sum over ``seqs`` decoding sequences; the rest are sums over ``chunks`` prompts. With
    pipeline stages, sequences and prompts are spread over micro-batches. Each stage works on one after
    the other, so a round takes the mean of their times over as many as there are stages, and no less
    than a sequence needs to come round; a prompt is through when its micro-batch has passed all stages.
    """
    stages = w.pool[p]["pp"]
    host_s = w.pool[p]["overhead_s"] + (w.pool[p]["draft_s"] if seqs else 0.0)
    if stages == 1:
        total = host_s + lanes_s(w, p, seqs, chunks, tokens, past, ends, seqs, 1.0)
        mean = context / seqs if seqs else 0.0
        total += attention_s(w, p, _part(seqs, w.pool[p]["dp"]), mean, 1.0)
        total += prefill_attention_s(w, p, chunks, tokens, past, pairs, 1.0)
        return total, total
    own = slots(w, p, chunks)
    decoding = slots(w, p, seqs) if seqs else 0
    some, part = -(-seqs // max(1, decoding)), -(-chunks // own)
    mean, share = (context / seqs if seqs else 0.0), part / chunks
    rank, weight = _part(some, w.pool[p]["dp"]), float(own)
    new = math.ceil(tokens * share - 1e-9)
    with_s = host_s + attention_s(w, p, rank, mean, weight)
    with_s += lanes_s(w, p, some, part, new, past * share, min(part, -(-ends * part // chunks)), some, weight)
    with_s += prefill_attention_s(w, p, part, tokens * share, past * share, pairs * share, weight)
    if seqs == 0:
        return weight * with_s / stages, with_s
    others = float(max(0, decoding - own))
    without_s = host_s + attention_s(w, p, rank, mean, others)
    without_s += lanes_s(w, p, some, 0, 0.0, 0.0, 0, some, others)
    return max(without_s, (weight * with_s + others * without_s) / stages), with_s


@jit
def decode_steps(
    w: World,
    p: int,
    seqs: int,
    context: float,
    growth: float,
    steps: int,
    room_s: float,
) -> tuple[int, float]:
    """How many decode steps pass until ``room_s`` has passed, at most ``steps``, and how long they take.

    Parameters
    ----------
    w : World
        Tables.
    p, seqs : int
        Pool; sequences that decode.
    context, growth : float
        Mean cached tokens in the first step, and by how many they grow per step. [tokens]
    steps : int
        Most steps.
    room_s : float
        The step during which this time is reached is the last; infinite: take all. [s]

    Returns
    -------
    tuple of int and float
        Steps, and their time: between two knots of the context the time of a step is a straight line, so
        the sum is closed. [s]
    """
    pool = w.pool[p]
    at_k, columns = pool["contexts_at"], pool["contexts"]
    base = w.base[p, seqs]
    at_t = pool["decode_at"] + w.row[p, seqs] * columns
    done, total, here = 0, 0.0, context
    knot = _context_knot(w, p, here)
    while done < steps:
        left, end = w.knots[at_k + knot], w.knots[at_k + knot + 1]
        rise = (w.table[at_t + knot + 1] - w.table[at_t + knot]) / (end - left)
        first = base + w.table[at_t + knot] + rise * (here - left)
        slope = rise * growth
        count = steps - done
        if knot < columns - 2 and growth > 0.0:
            count = min(count, max(1, math.ceil((end - here) / growth)))
        taken = count * first + slope * (0.5 * count * (count - 1))
        if total + taken >= room_s:
            found = _steps_until(first, slope, count, room_s - total)
            return done + found, total + found * first + slope * (0.5 * found * (found - 1))
        total += taken
        done += count
        here += growth * count
        while knot < columns - 2 and w.knots[at_k + knot + 1] <= here:
            knot += 1
    return done, total


@jit
def _steps_until(first: float, slope: float, count: int, room_s: float) -> int:
    """Fewest steps, 1 to ``count``, that take ``room_s`` when each takes ``slope`` longer than the last."""
    guess = room_s / first
    for _ in range(3):  # Newton's steps on the parabola; it is nearly a line
        value = guess * first + slope * (0.5 * guess * (guess - 1.0))
        guess -= (value - room_s) / (first + slope * (guess - 0.5))
    found = min(max(1, math.ceil(guess)), count)
    while found < count and found * first + slope * (0.5 * found * (found - 1)) < room_s:
        found += 1
    while found > 1:
        less = found - 1
        if less * first + slope * (0.5 * less * (less - 1)) < room_s:
            break
        found = less
    return found


@jit
def visit_decode(w: World, p: int, seqs: int, context: float, growth: float, steps: int) -> None:
    """Count ``steps`` decode steps of :func:`decode_steps` as done."""
    pool = w.pool[p]
    w.decode_visits[p, seqs] += steps
    at_k, columns = pool["contexts_at"], pool["contexts"]
    at_t = pool["decode_at"] + w.row[p, seqs] * columns
    ways = float(slots(w, p, seqs))
    done, here = 0, context
    knot = _context_knot(w, p, here)
    while done < steps:
        left, end = w.knots[at_k + knot], w.knots[at_k + knot + 1]
        count = steps - done
        if knot < columns - 2 and growth > 0.0:
            count = min(count, max(1, math.ceil((end - here) / growth)))
        shares = (count * (here - left) + growth * (0.5 * count * (count - 1))) / (end - left)
        w.visit[at_t + knot] += ways * (count - shares)
        w.visit[at_t + knot + 1] += ways * shares
        done += count
        here += growth * count
        while knot < columns - 2 and w.knots[at_k + knot + 1] <= here:
            knot += 1


@jit
def prompt_s(w: World, p: int, tokens: float, past: float) -> float:
    """What computing ``tokens`` more tokens of one prompt adds to steps that run anyway, roughly.

    What a cache tier is weighed against: the time of the chunk alone, without the host's share.
    """
    pairs = tokens * past + tokens * (tokens + 1.0) / 2.0
    chunk = min(tokens, float(w.pool[p]["budget"]))
    one = lanes_s(w, p, 0, 1, chunk, past, 1, 0, 0.0) * (tokens / chunk)
    return one + prefill_attention_s(w, p, 1, tokens, past, pairs, 0.0)
