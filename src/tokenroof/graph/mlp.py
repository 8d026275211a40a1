"""Operators of dense feed-forwards."""

from __future__ import annotations

from tokenroof.catalog.model import DenseMlp
from tokenroof.graph.comms import tp_allreduce
from tokenroof.graph.core import Op
from tokenroof.graph.sharding import Matrix
from tokenroof.graph.step import Step, elementwise, gemm


def dense_ops(
    prefix: str, found: tuple[Matrix, ...], count: int, step: Step, *, small_bytes: int
) -> list[Op]:
    """Up (and gate), activation, down: ``found`` holds those two matrices, the wide one first."""
    up, down = found
    return [
        *gemm(f"{prefix}.{up.name}", count, step.tokens, up),
        *elementwise(f"{prefix}.act", count, step.tokens, up.n + down.k, weights_bytes=small_bytes),
        *gemm(f"{prefix}.{down.name}", count, step.tokens, down),
    ]


def mlp_ops(layer: DenseMlp, count: int, step: Step) -> list[Op]:
    """A dense feed-forward and its all-reduce, of ``count`` identical layers."""
    return [
        *dense_ops("mlp", step.matrices(layer), count, step, small_bytes=step.small_bytes(layer)),
        *tp_allreduce(step, "comm.ffn_allreduce", count, step.model.hidden),
    ]
