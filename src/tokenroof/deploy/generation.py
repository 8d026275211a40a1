"""How many steps an answer takes, and what each of them processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.model import ModelSpec
from tokenroof.graph.core import Batch, Int, Num
from tokenroof.graph.generation import generation_batch
from tokenroof.workload.core import RequestShape

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of one request.

    Attributes
    ----------
    steps : int
        Generation steps after the prefill.
    first_steps : int
        Of these, those that pass before the first token appears: 0 when prefill yields it, one block's
        denoising steps for block diffusion.
    query_tokens : int
        Query tokens per sequence and step that attend to a cache (1, or a block).
    context_tokens : int
        Mean cached tokens over the steps.
    grows : bool
        The context grows by one token a step (autoregressive).
    prompt_tokens : int
        Tokens that prefill runs; 0 when every step runs the whole sequence again.
    """

    steps: int
    first_steps: int
    query_tokens: int
    context_tokens: int
    grows: bool
    prompt_tokens: int


def plan_of(model: ModelSpec, shape: RequestShape) -> Plan:
    """The steps that ``model`` needs for a request of these lengths."""
    diffusion = model.generation
    if diffusion is None:
        steps = shape.osl_tokens - 1
        return Plan(
            steps=steps,
            first_steps=0,
            query_tokens=1,
            context_tokens=shape.isl_tokens + max(steps - 1, 0) // 2,
            grows=True,
            prompt_tokens=shape.isl_tokens,
        )
    block = diffusion.block_tokens
    blocks = -(-shape.osl_tokens // block)
    return Plan(
        steps=blocks * diffusion.steps_per_block,
        first_steps=diffusion.steps_per_block,
        query_tokens=block if diffusion.cached_prefix else 1,
        context_tokens=shape.isl_tokens + (blocks - 1) * block // 2,
        grows=False,
        prompt_tokens=shape.isl_tokens if diffusion.cached_prefix else 0,
    )


def decoding(model: ModelSpec, seqs: Int, context_tokens: Int) -> Batch:
    """One generation step of ``seqs`` sequences."""
    return generation_batch(model, seqs, context_tokens)


def chunk_sizes(prompt_tokens: int, room_tokens: int) -> IntArray:
    """Tokens of each chunk of a prompt when ``room_tokens`` fit a step: full ones, then the rest."""
    full, rest = divmod(prompt_tokens, max(1, room_tokens))
    return np.array([room_tokens] * full + ([rest] if rest else []), dtype=np.int64)


def even_chunks(prompt_tokens: int, count: int) -> IntArray:
    """Tokens of each of ``count`` nearly equal chunks of a prompt."""
    ends = np.arange(count + 1, dtype=np.int64) * prompt_tokens // count
    return np.diff(ends)


def chunk_batch(
    shape: RequestShape,
    sizes: IntArray,
    *,
    prompts: Num,
    pieces: Int | None = None,
    decoding_seqs: Int = 0,
    context_tokens: int = 0,
    query_tokens: int = 1,
) -> Batch:
    """Steps that carry the chunks of ``prompts`` equal prompts, one step per chunk, as arrays.

    Parameters
    ----------
    shape : RequestShape
        Of the prompts.
    sizes : IntArray
        Tokens of each chunk of one prompt, shape (num_chunks,).
    prompts : Num
        Prompts that advance together; a fraction of a prompt is a fraction of its tokens. Arrays must
        broadcast against ``sizes``.
    pieces : Int, optional
        Chunks that these are cut into; as many as prompts when not given.
    decoding_seqs : Int
        Sequences that decode in the same steps.
    context_tokens : int
        Their mean cached tokens.
    query_tokens : int
        Query tokens per decoding sequence.

    Returns
    -------
    Batch
        Fields of shape (..., num_chunks).
    """
    past = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64)
    ends = (past + sizes == sizes.sum()).astype(np.int64)
    images = np.diff(shape.image_tokens * np.concatenate(([0], np.cumsum(sizes))) // max(1, int(sizes.sum())))
    ones = np.ones_like(np.asarray(prompts) * sizes, dtype=np.int64)

    def times(each: IntArray) -> IntArray:
        return np.rint(prompts * each).astype(np.int64)

    return Batch(
        decode_seqs=decoding_seqs * ones,
        decode_context_tokens=decoding_seqs * context_tokens * ones,
        decode_tokens=query_tokens,
        prefill_seqs=(times(np.ones_like(sizes)) if pieces is None else pieces * ones),
        prefill_tokens=times(sizes),
        prefill_past_tokens=times(past),
        prefill_pairs=times(sizes * past + sizes * (sizes + 1) // 2),
        prefill_logits=times(ends),
        image_tokens=times(images),
    )
