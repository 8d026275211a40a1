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
    prompts : IntArray
        Prompts in a step that carries any.
    decoding : IntArray
        Sequences that decode in such a step.
    requests_per_step : FloatArray
        Finished requests per step.
    mixed_fraction : FloatArray
        Steps that carry prompt tokens, of all steps.
    decoder_mixed_fraction : FloatArray
        The same, of the steps during which a given sequence decodes (its own prefill not counted).
    waiting_steps : FloatArray
        Steps a prompt waits because prompts in front of it fill the token budget (0 unless prefill
        is the bottleneck).
    """

    chunks: IntArray
    prompts: IntArray
    decoding: IntArray
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
    """
    seqs, prompt = np.asarray(sequences, dtype=np.float64), np.asarray(prompt_tokens, dtype=np.float64)
    steps, budget = (
        np.asarray(decode_steps, dtype=np.float64),
        np.asarray(budget_tokens, dtype=np.float64) * ranks,
    )
    decoding = seqs * steps / (steps + 1.0)
    chunks = np.ones_like(decoding + prompt + budget)
    for _ in range(2):
        room = np.maximum((budget - decoding) / ranks, 1.0)
        chunks = np.ceil(prompt / room)
        decoding = seqs * steps / (steps + chunks)
    rate = seqs / (steps + chunks)
    full = rate * (prompt + steps) > budget
    rate = np.where(full, budget / (prompt + steps), rate)
    together = np.where(full, (budget - rate * steps) * chunks / prompt, rate * chunks)
    prompts = np.minimum(np.maximum(np.rint(together), 1.0), seqs)
    mixed = np.where(full, 1.0, np.minimum(rate * chunks / prompts, 1.0))
    stay = seqs / rate
    waiting = np.where(full, np.maximum(stay - steps - chunks, 0.0), 0.0)
    shared = (mixed * (stay - waiting) - chunks) / np.maximum(steps, 1.0)
    shared = np.minimum(np.maximum(shared, 0.0), 1.0)
    return MixedSchedule(
        chunks=chunks.astype(np.int64),
        prompts=prompts.astype(np.int64),
        decoding=np.where(full, np.rint(rate * steps), seqs - prompts).astype(np.int64),
        requests_per_step=rate,
        mixed_fraction=mixed,
        decoder_mixed_fraction=np.where(full, 1.0, shared),
        waiting_steps=waiting,
    )


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
    stall = np.maximum(stay - prefill_s - decode_steps * step_s, 0.0)
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
