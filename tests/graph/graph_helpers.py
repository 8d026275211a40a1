"""Short ways to ask for operators in these tests."""

from functools import cache

from tokenroof.catalog.catalog import load
from tokenroof.catalog.model import ModelSpec, Precision
from tokenroof.graph.build import step_ops
from tokenroof.graph.core import Batch, Collective, Gemm, MoeExperts, Op, Parallel

WIDE = Precision()


@cache
def model(name: str) -> ModelSpec:
    return load().model(name)


def ops(name: str, batch: Batch, precision: Precision | None = None, **parallel: int) -> list[Op]:
    spec = model(name)
    return step_ops(spec, precision or spec.precision, Parallel(**parallel), batch)


def named(found: list[Op], name: str) -> Op:
    (only,) = [op for op in found if op.name == name]
    return only


def every(found: list[Op], name: str) -> list[Op]:
    return [op for op in found if op.name == name]


def matrix_flop(found: list[Op]) -> int:
    """Of matrices alone: attention over the context not included."""
    return sum(op.count * op.work.flop for op in found if isinstance(op, Gemm | MoeExperts))


def matrix_bytes(found: list[Op]) -> int:
    return sum(op.count * op.work.weights_bytes for op in found if isinstance(op, Gemm | MoeExperts))


def messages(found: list[Op]) -> dict[str, tuple[str, int, int, int]]:
    """``{name: (kind, bytes, group, stride)}`` of every collective."""
    return {
        op.name: (op.kind, op.message_bytes, op.group, op.stride)
        for op in found
        if isinstance(op, Collective)
    }
