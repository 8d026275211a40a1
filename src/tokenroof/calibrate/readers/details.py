"""Statistics out of per-request lists, which some clients save beside or in place of a summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tokenroof.calibrate.readers.core import Latency, Lengths
from tokenroof.calibrate.readers.fields import Fields, UnusableRunError, number_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What per-request lists say of the requests that succeeded.

    Attributes
    ----------
    completed, failed : int
        Requests.
    isl, osl : Lengths
        Their lengths.
    ttft, tpot, itl, e2e : Latency
        Their latencies.
    stream_chunk : str
        Tokens per streamed chunk, "" when unknown. [tokens]
    """

    completed: int
    failed: int
    isl: Lengths
    osl: Lengths
    ttft: Latency = field(default_factory=Latency)
    tpot: Latency = field(default_factory=Latency)
    itl: Latency = field(default_factory=Latency)
    e2e: Latency = field(default_factory=Latency)
    stream_chunk: str = ""


def details_of(fields: Fields) -> Details | None:
    """Statistics of the lists ``input_lens``, ``output_lens``, ``ttfts`` and ``itls`` of a result.

    Both ``vllm bench serve --save-detailed`` and SGLang's ``--output-details`` write them; a request that
    failed has an output length of 0. The time from the first token to the last is the sum of the gaps.

    Raises
    ------
    UnusableRunError
        The lists are of different lengths, or hold something else than numbers.
    """
    inputs, outputs = fields.numbers("input_lens"), fields.numbers("output_lens")
    if not inputs or not outputs:
        return None
    ttfts, gaps = fields.numbers("ttfts"), fields.sums("itls")
    for name, listed in (("output_lens", outputs), ("ttfts", ttfts), ("itls", gaps)):
        if listed is not None and len(listed) != len(inputs):
            raise UnusableRunError(f"{name} has {len(listed)} entries and input_lens {len(inputs)}.")
    rows = [i for i, tokens in enumerate(outputs) if tokens > 0]
    made = Details(
        completed=len(rows),
        failed=len(outputs) - len(rows),
        isl=lengths_of([inputs[i] for i in rows]),
        osl=lengths_of([outputs[i] for i in rows]),
    )
    if not rows or ttfts is None or gaps is None:
        return made
    decode_s = [gaps[i][0] for i in rows]
    many = [k for k, i in enumerate(rows) if outputs[i] > 1]
    chunks = sum(gaps[rows[k]][1] for k in many)
    return Details(
        completed=made.completed,
        failed=made.failed,
        isl=made.isl,
        osl=made.osl,
        ttft=latency_of([ttfts[i] for i in rows]),
        tpot=latency_of([decode_s[k] / (outputs[rows[k]] - 1) for k in many]),
        itl=Latency(mean=sum(decode_s[k] for k in many) / chunks) if chunks else Latency(),
        e2e=latency_of([ttfts[i] + decode_s[k] for k, i in enumerate(rows)]),
        stream_chunk=number_text(round(sum(outputs[rows[k]] - 1 for k in many) / chunks, 3))
        if chunks
        else "",
    )


def latency_of(seconds: Sequence[float]) -> Latency:
    """Statistics of a latency over requests, percentiles interpolated as the clients do."""
    if not seconds:
        return Latency()
    median, p90, p99 = np.percentile(seconds, [50, 90, 99])
    return Latency(mean=float(np.mean(seconds)), median=float(median), p90=float(p90), p99=float(p99))


def lengths_of(tokens: Sequence[float]) -> Lengths:
    """Mean and extremes of lengths."""
    if not tokens:
        return Lengths()
    return Lengths(
        mean=float(np.mean(tokens)), least=min(tokens), most=max(tokens), deviation=float(np.std(tokens))
    )


def filled(latency: Latency, other: Latency) -> Latency:
    """A latency with what it lacks out of another."""
    return Latency(
        mean=other.mean if latency.mean is None else latency.mean,
        median=other.median if latency.median is None else latency.median,
        p90=other.p90 if latency.p90 is None else latency.p90,
        p99=other.p99 if latency.p99 is None else latency.p99,
    )
