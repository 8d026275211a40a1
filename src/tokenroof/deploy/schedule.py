"""Steady state of an engine at a fixed number of sequences, counted in steps.

Closed forms only, derived in ``docs/model/estimate.md``: how many prompts share a step, what part of
the steps carries prompt tokens, and how many steps a request stays. Every argument may be an array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenroof.graph.core import Int, Num

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedSchedule:
    """An engine whose steps carry decoding sequences and prompt chunks together (chunked prefill).

    Attributes
    ----------
    chunks : IntArray
        Steps that one prompt's prefill takes.
    prompts : FloatArray
        Mean prompts in a step that carries any, 1 or more.
    kinds : FloatArray
        Prompts in the two kinds of steps that carry any: the whole numbers (of the ranks' rounds) next to
        ``prompts``, the larger one cut to what fills the budget; shape (2, ...).
    kind_fraction : FloatArray
        How many of these steps are of either kind; ``sum(kinds * kind_fraction) = prompts``.
    kind_decoding : FloatArray
        Sequences that decode in either kind of step.
    requests_per_step : FloatArray
        Finished requests per step, ``mixed_fraction * prompts / chunks``.
    mixed_fraction : FloatArray
        Steps that carry prompt tokens, of all steps.
    decoder_mixed_fraction : FloatArray
        The same, of the steps during which a given sequence decodes (its own prefill not counted).
    waiting_steps : FloatArray
        Steps a prompt waits because prompts in front of it fill the token budget (0 unless prefill
        is the bottleneck).
    """

    chunks: IntArray
    prompts: FloatArray
    kinds: FloatArray
    kind_fraction: FloatArray
    kind_decoding: FloatArray
    requests_per_step: FloatArray
    mixed_fraction: FloatArray
    decoder_mixed_fraction: FloatArray
    waiting_steps: FloatArray


def mixed_schedule(
    *, sequences: Int, prompt_tokens: Int, decode_steps: Int, budget_tokens: Int, ranks: int = 1
) -> MixedSchedule:
    """Steady state under chunked prefill.

    Parameters
    ----------
    sequences : Int
        Sequences in the engine at any time, prefilling ones included.
    prompt_tokens : Int
        Prompt of each request. [tokens]
    decode_steps : Int
        Steps a request decodes after its prefill; may be 0.
    budget_tokens : Int
        Tokens of a step and data parallel rank, more than its share of ``sequences``. [tokens]
    ranks : int
        Data parallel ranks, each with a budget of its own.

    Returns
    -------
    MixedSchedule

    Notes
    -----
    A request stays ``chunks + decode_steps`` steps, so ``sequences / that`` finish per step (Little's
    law in steps). When the prompts of those would not fit the budget, every step is full and
    ``budget = requests_per_step * (prompt_tokens + decode_steps)``; the rest of the sequences wait.
    Work is conserved exactly: what arrives in prompt tokens per step is what the steps carry.
    """
    seqs, prompt, steps, budget = np.broadcast_arrays(
        *(
            np.asarray(value, dtype=np.float64)
            for value in (sequences, prompt_tokens, decode_steps, budget_tokens)
        )
    )
    budget = budget * ranks
    chunks = _chunks(prompt, budget - np.where(steps > 0, seqs - 1.0, 0.0), ranks)
    full_rate = budget / (prompt + steps)
    full = seqs / (steps + chunks) > full_rate
    chunks = np.where(full, _chunks(prompt, budget - full_rate * steps, ranks), chunks)
    rate = np.where(full, full_rate, seqs / (steps + chunks))
    prompts = np.maximum(rate * chunks, 1.0)
    chunk = prompt / chunks
    # p prompts and all other sequences fill a step: p * chunk + seqs - p = budget.
    filling = np.where(full, prompts, (budget - seqs) / np.maximum(chunk - 1.0, 1e-12))
    unit = np.where(prompts < ranks, 1.0, float(ranks))
    fewer = np.floor(prompts / unit) * unit
    more = np.maximum(np.minimum(np.minimum(fewer + unit, filling), seqs), prompts)
    share = np.where(more > fewer, (prompts - fewer) / np.where(more > fewer, more - fewer, 1.0), 0.0)
    kinds = np.stack([fewer, more])
    mixed = np.minimum(rate * chunks, 1.0)
    own = (mixed * (steps + chunks) - chunks) / np.maximum(steps, 1.0)
    return MixedSchedule(
        chunks=chunks.astype(np.int64),
        prompts=prompts,
        kinds=kinds,
        kind_fraction=np.stack([1.0 - share, share]),
        kind_decoding=np.where(full, rate * steps, np.maximum(seqs - kinds, 0.0) * (steps > 0)),
        requests_per_step=rate,
        mixed_fraction=mixed,
        decoder_mixed_fraction=np.where(full, 1.0, np.clip(own, 0.0, 1.0)),
        waiting_steps=np.where(full, np.maximum(seqs / rate - steps - chunks, 0.0), 0.0),
    )


def _chunks(prompt: FloatArray, room_tokens: FloatArray, ranks: int) -> FloatArray:
    """Steps that a prompt's prefill takes when a step has room for so many tokens, all ranks together."""
    out: FloatArray = np.ceil(prompt / np.maximum(room_tokens / ranks, 1.0))
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What requests see, and how fast they leave.

    Attributes
    ----------
    prefill_s : Num
        A prompt's own prefill among the others, waiting not included. [s]
    waiting_s : Num
        Wait for prompts in front (0 unless prefill is the bottleneck). [s]
    decode_step_s : Num
        Mean time between two steps that advance a decoding sequence. [s]
    requests_per_s : Num
        Of one engine. [1/s]
    """

    prefill_s: Num
    waiting_s: Num
    decode_step_s: Num
    requests_per_s: Num


def mixed_pace(
    plan: MixedSchedule, *, sequences: Int, decode_steps: Int, mixed_step_s: Num, pure_step_s: Num
) -> Pace:
    """Times of a :class:`MixedSchedule`.

    Parameters
    ----------
    plan : MixedSchedule
        In steps.
    sequences, decode_steps : Int
        As given to :func:`mixed_schedule`.
    mixed_step_s, pure_step_s : Num
        Mean time of a step that carries prompts, and of one that does not. [s]

    Returns
    -------
    Pace
        ``requests_per_s * (prefill_s + waiting_s + decode_steps * decode_step_s) = sequences``.
    """
    share = plan.decoder_mixed_fraction
    decode = share * mixed_step_s + (1.0 - share) * pure_step_s
    prefill = plan.chunks * mixed_step_s
    waiting = plan.waiting_steps * mixed_step_s
    return Pace(
        prefill_s=prefill,
        waiting_s=waiting,
        decode_step_s=decode,
        requests_per_s=np.asarray(sequences) / (prefill + waiting + decode_steps * decode),
    )


def separate_pace(*, sequences: Int, decode_steps: Int, prompts: Num, prefill_s: Num, step_s: Num) -> Pace:
    """An engine that runs prompts in steps of their own, before any decode step.

    Parameters
    ----------
    sequences : Int
        Sequences in the engine.
    decode_steps : Int
        Steps a request decodes; may be 0.
    prompts : Num
        Prompts prefilled together.
    prefill_s : Num
        Time of that prefill, all its chunks. [s]
    step_s : Num
        A decode step of all sequences. [s]

    Returns
    -------
    Pace
        While a sequence decodes, all others are prefilled once:
        ``stay = decode_steps * step + sequences * prefill / prompts``.
    """
    stay = decode_steps * step_s + sequences * prefill_s / prompts
    steps = np.maximum(decode_steps, 1)
    stall = stay - prefill_s - decode_steps * step_s
    # A difference of nearly equal sums: below 1e-9 of them it is rounding, and nothing waits.
    stall = np.where(stall > 1e-9 * stay, stall, 0.0)
    between = np.where(np.asarray(decode_steps) > 0, step_s + stall / steps, step_s)
    waiting = np.where(np.asarray(decode_steps) > 0, 0.0, stall)
    return Pace(
        prefill_s=prefill_s,
        waiting_s=waiting,
        decode_step_s=between,
        requests_per_s=sequences / stay,
    )


def prompts_together(
    *, sequences: Int, prompt_tokens: Int, decode_steps: Int, budget_tokens: Int, ranks: int = 1
) -> IntArray:
    """Prompts that a prefill-first engine finds waiting at once, as far as the budget takes them.

    Between two decode steps ``sequences / decode_steps`` requests finish and are replaced.
    """
    seqs = np.asarray(sequences, dtype=np.float64)
    arriving = seqs / np.maximum(np.asarray(decode_steps, dtype=np.float64), 1.0)
    fitting = np.maximum(np.floor(np.asarray(budget_tokens, dtype=np.float64) * ranks / prompt_tokens), 1.0)
    out: IntArray = np.clip(np.rint(arriving), 1.0, np.minimum(fitting, seqs)).astype(np.int64)
    return out
