"""What one engine step of generation processes, for each way of generating.

Autoregressive models decode one token per sequence and step. Block-diffusion models (LLaDA, Dream)
denoise a block: every step passes all its tokens through the model, without a causal mask, and
``steps_per_block`` steps finish ``block_tokens`` tokens. With a cached prefix the pass reads the keys
and values of what came before, as a decode with many query tokens; without, it recomputes them.
"""

from __future__ import annotations

from tokenroof.catalog.model import ModelSpec
from tokenroof.graph.core import Batch, Int, causal_pairs, decode_batch


def generation_batch(model: ModelSpec, seqs: Int, context_tokens: Int) -> Batch:
    """The batch of one generation step of ``seqs`` sequences.

    Parameters
    ----------
    model : ModelSpec
        What generates.
    seqs : Int
        Sequences of the whole replica.
    context_tokens : Int
        Finished tokens of each (prompt and earlier output; the block in work not included).

    Returns
    -------
    Batch
        Multiply its step time by ``1 / tokens_per_step`` to get the time of one token.
    """
    diffusion = model.generation
    if diffusion is None:
        return decode_batch(seqs, context_tokens)
    block = diffusion.block_tokens
    if diffusion.cached_prefix:
        return decode_batch(seqs, context_tokens, tokens=block)
    new = context_tokens + block
    return Batch(
        prefill_seqs=seqs,
        prefill_tokens=seqs * new,
        prefill_pairs=seqs * causal_pairs(new),
        prefill_logits=seqs * block,
    )


def tokens_per_step(model: ModelSpec) -> float:
    """Tokens that one generation step adds to each sequence, on average."""
    diffusion = model.generation
    return 1.0 if diffusion is None else diffusion.block_tokens / diffusion.steps_per_block
