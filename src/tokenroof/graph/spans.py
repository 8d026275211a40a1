"""How many keys the queries of a batch see, with and without a window.

A :class:`~tokenroof.graph.core.Batch` holds sums, not lengths. What a window leaves is computed as
if every sequence of the batch had the mean length: exact for uniform batches, and an upper bound
otherwise (``min`` is concave), reached most closely when all or no contexts exceed the window.
"""

from __future__ import annotations

from tokenroof.graph.core import Batch, Int, causal_pairs
from tokenroof.graph.ints import ceil_div, floor_div, high, low


def windowed_pairs(pairs: Int, new: Int, past: Int, seqs: Int, window: int | None) -> Int:
    """Causal query-key pairs when a query sees at most ``window`` keys, its own included.

    Parameters
    ----------
    pairs : Int
        Pairs without a window, summed over the sequences.
    new, past : Int
        Sums of query tokens and of the tokens before them.
    seqs : Int
        Sequences.
    window : int or None
        Keys a query sees at most; None = all.

    Notes
    -----
    Of ``n`` queries after ``p`` tokens the last ``m = n - max(0, min(n, w - p))`` are cut. While the
    window exceeds the past they lose ``1, 2, ..., m`` keys; beyond, every query sees ``w`` keys. The
    same in sums over equal sequences.
    """
    if window is None:
        return pairs
    full = low(new, high(seqs * window - past, 0))
    cut = new - full
    lost = floor_div(cut * (cut + seqs), 2 * high(seqs, 1))
    return high(low(pairs - lost, new * window), low(new, pairs))


def decode_pairs(batch: Batch, window: int | None = None, *, causal: bool = True) -> Int:
    """Pairs of the decoding sequences.

    Each of ``decode_tokens`` queries sees the cache and the queries of its sequence up to itself, or
    all of them when not ``causal``.
    """
    seqs, tokens = batch.decode_seqs, batch.decode_tokens
    inside = causal_pairs(tokens) if causal else tokens * tokens
    pairs = tokens * batch.decode_context_tokens + seqs * inside
    return windowed_pairs(pairs, seqs * tokens, batch.decode_context_tokens, seqs, window)


def decode_keys(batch: Batch, window: int | None = None) -> Int:
    """Keys read for the decoding sequences, each once: the union over the queries of a sequence."""
    seqs, tokens = batch.decode_seqs, batch.decode_tokens
    new: Int = seqs * tokens
    keys = batch.decode_context_tokens + new
    return keys if window is None else low(keys, seqs * (window - 1) + new)


def prefill_pairs(batch: Batch, window: int | None = None, *, causal: bool = True) -> Int:
    """Pairs of the prompt chunks; not ``causal`` adds the keys after each query in its own chunk."""
    new, seqs = batch.prefill_tokens, batch.prefill_seqs
    pairs = batch.prefill_pairs
    if not causal:
        pairs = pairs + high(ceil_div(new * new, high(seqs, 1)) - new, 0) // 2
    return windowed_pairs(pairs, new, batch.prefill_past_tokens, seqs, window)


def prefill_past(batch: Batch, window: int | None = None) -> Int:
    """Cached keys the chunks read: those before the first query that its window still covers."""
    past = batch.prefill_past_tokens
    return past if window is None else low(past, batch.prefill_seqs * (window - 1))
