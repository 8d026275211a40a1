"""Texts of the columns that are sentences: how requests were sent, how lengths are spread, what drafted."""

from __future__ import annotations

from tokenroof.calibrate.readers.core import Lengths
from tokenroof.calibrate.readers.fields import number_text

OFFLINE = "offline:max (all requests at t=0)"

_FIXED_FRACTION = 0.02
"""Lengths that vary by less than this (deviation over mean) count as fixed: text of n random tokens is cut
again into tokens by the server, which moves its length by a few. Assumption."""

_UNIFORM_FRACTION = 0.1
"""How far the deviation may be from that of uniform whole numbers, and two ranges from each other, to count
as uniform with one ratio. Assumption."""


def closed(concurrency: int) -> str:
    """A closed loop of so many requests in flight."""
    return f"closed:conc={concurrency}"


def opened(rate_per_s: float, *, shape: str = "", count: int | None = None, cap: int | None = None) -> str:
    """An open loop.

    Parameters
    ----------
    rate_per_s : float
        Requests sent per second. [1/s]
    shape : str
        Arrival process; "" when it is not known.
    count : int, optional
        Requests sent in all, which says for how long.
    cap : int, optional
        Most requests in flight.
    """
    words = [f"open:rps={number_text(rate_per_s)}", shape]
    words.append(f"{count / rate_per_s:.4g}s" if count else "")
    said = " ".join(word for word in words if word)
    return f"{said}, at most {cap} in flight" if cap else said


def spread_of(isl: Lengths, osl: Lengths) -> str:
    """Distribution of lengths as far as mean, extremes and deviation tell it.

    Returns
    -------
    str
        "fixed", "uniform int [0.8*L, 1.2*L] ..." with L the mean, or the observed ranges; "" when the
        extremes are not known.
    """
    if not isl.mean or not osl.mean:
        return ""
    ranges = [_range(lengths) for lengths in (isl, osl)]
    if not all(ranges):
        return ""
    if _fixed(isl) and _fixed(osl):
        return "fixed"
    halves = [_half_width(lengths) for lengths in (isl, osl)]
    if all(halves) and abs(halves[0] / halves[1] - 1) <= _UNIFORM_FRACTION:
        half = round((halves[0] + halves[1]) / 2, 2)
        low, high = number_text(round(1 - half, 2)), number_text(round(1 + half, 2))
        return f"uniform int [{low}*L, {high}*L] independently for ISL and OSL, as observed"
    return f"observed: ISL {ranges[0]}, OSL {ranges[1]}"


def _range(lengths: Lengths) -> str:
    if lengths.least is None or lengths.most is None:
        return ""
    return f"{number_text(lengths.least)}..{number_text(lengths.most)}"


def _fixed(lengths: Lengths) -> bool:
    if lengths.least == lengths.most:
        return True
    return bool(lengths.mean and lengths.deviation is not None) and (
        (lengths.deviation or 0.0) <= _FIXED_FRACTION * (lengths.mean or 0.0)
    )


def _half_width(lengths: Lengths) -> float:
    """Half of the range over the mean when lengths look uniform, else 0."""
    least, most, mean, deviation = lengths.least, lengths.most, lengths.mean, lengths.deviation
    if least is None or most is None or not mean or not deviation:
        return 0.0
    flat = deviation / (((most - least + 1) ** 2 - 1) / 12) ** 0.5 if most > least else 0.0
    middle = (least + most) / 2 / mean
    close = abs(flat - 1) <= _UNIFORM_FRACTION and abs(middle - 1) <= _UNIFORM_FRACTION / 2
    return (most - least) / 2 / mean if close else 0.0


def speculation(method: str, *, draft_tokens: float | None, accepted_length: float | None) -> dict[str, str]:
    """Columns of speculative decoding.

    Parameters
    ----------
    method : str
        What drafts ("eagle3", "mtp"), or "speculative" when nobody says.
    draft_tokens : float or None
        Tokens drafted per step.
    accepted_length : float or None
        Tokens per verification step, the one that is always accepted included.

    Returns
    -------
    dict of str to str
        ``spec_decoding`` ("eagle3 k=3 acceptance=0.62", acceptance of a token given that all before it were)
        and ``spec_acceptance_length``.
    """
    length = accepted_length if accepted_length and accepted_length >= 1 else None
    words = [method]
    if draft_tokens:
        words.append(f"k={number_text(round(draft_tokens, 2))}")
    if draft_tokens and length:
        words.append(f"acceptance={acceptance_fraction(length, round(draft_tokens)):.3g}")
    return {"spec_decoding": " ".join(words), "spec_acceptance_length": number_text(length)}


def acceptance_fraction(accepted_length: float, draft_tokens: int) -> float:
    """Probability a that a draft token is right given that all before it were.

    Solves ``accepted_length = 1 + a + a^2 + ... + a^k`` for k draft tokens, by halving.
    """
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if 1 + sum(middle**i for i in range(1, min(draft_tokens, 64) + 1)) < accepted_length:
            low = middle
        else:
            high = middle
    return (low + high) / 2
