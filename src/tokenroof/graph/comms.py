"""Messages between the chips of a replica."""

from __future__ import annotations

from tokenroof.graph.core import Collective, Int, Work
from tokenroof.graph.ints import WIDE_BYTES, present
from tokenroof.graph.step import Step


def collective(
    name: str, count: int, kind: str, message_bytes: Int, group: int, stride: int = 1
) -> list[Collective]:
    """One collective; nothing when a single chip takes part or nothing is sent."""
    if group <= 1 or count == 0 or not present(message_bytes):
        return []
    return [
        Collective(
            name=name,
            count=count,
            work=Work(),
            kind=kind,
            message_bytes=message_bytes,
            group=group,
            stride=stride,
        )
    ]


def tp_allreduce(
    step: Step, name: str, count: int, features: int, tokens: Int | None = None
) -> list[Collective]:
    """Sum of partial outputs over the tensor parallel ranks, in 16 bit."""
    rows = step.tokens if tokens is None else tokens
    return collective(name, count, "all_reduce", rows * (WIDE_BYTES * features), step.parallel.tp)


def tp_allgather(step: Step, name: str, count: int, rows: Int, features: int) -> list[Collective]:
    """Concatenation over the tensor parallel ranks of ``rows`` rows, in 16 bit."""
    return collective(name, count, "all_gather", rows * (WIDE_BYTES * features), step.parallel.tp)


def cp_allgather(step: Step, name: str, count: int, message_bytes: Int) -> list[Collective]:
    """Keys and values of the prompt chunks, gathered over the context parallel ranks."""
    return collective(name, count, "all_gather", message_bytes, step.parallel.cp, step.parallel.tp)


def cp_combine(step: Step, count: int, features: int, heads: int) -> list[Collective]:
    """Partial attention outputs of decoding sequences whose cache is split over the cp ranks.

    Each rank contributes an output of ``features`` 16-bit elements and one fp32 log-sum-exp per head.
    """
    per_token = WIDE_BYTES * features + 4 * heads
    message = step.decode_query_tokens * per_token
    return collective("comm.cp_combine", count, "all_reduce", message, step.parallel.cp, step.parallel.tp)


def pipeline_sends(step: Step) -> list[Collective]:
    """All streams of the hidden states to the next stage; every tensor parallel rank sends its own copy."""
    message = step.tokens * (WIDE_BYTES * step.model.residual_streams * step.model.hidden)
    if step.parallel.pp == 1:
        return []
    return collective(
        "comm.pp_send", step.parallel.pp - 1, "send_recv", message, 2, step.parallel.stage_chips
    )
