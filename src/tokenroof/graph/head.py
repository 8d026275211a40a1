"""Operators before and after the layers: token table, norms, output head, sampling."""

from __future__ import annotations

from tokenroof.graph.comms import tp_allgather, tp_allreduce
from tokenroof.graph.core import Op
from tokenroof.graph.ints import WIDE_BYTES, ceil_int, exact_bytes
from tokenroof.graph.sharding import Matrix, gemm_input_dtype
from tokenroof.graph.step import Step, elementwise, gemm

_SAMPLING_ELEMENTS = 5
"""16-bit elements moved per logit: read once, then written and read as fp32 by the softmax."""


def embedding_ops(step: Step) -> list[Op]:
    """Gather of one row of the token table per token; ranks hold a slice of the vocabulary.

    The rows read count as activations: the table as a whole is not streamed.
    """
    hidden = step.model.hidden
    row_bytes = exact_bytes(step.precision.embedding, hidden)
    return [
        *elementwise("head.embed", 1, step.tokens, hidden + row_bytes // WIDE_BYTES),
        *tp_allreduce(step, "comm.embed_allreduce", 1, hidden),
    ]


def norms_per_step(step: Step) -> int:
    """Norms over the model width in one step: those of every layer, and the last one.

    Those that follow a hyper-connection are part of its kernel (``graph.hyper``).
    """
    return 1 + sum(group.count * group.norms for group in step.model.layers if group.streams == 1)


def norm_ops(step: Step) -> list[Op]:
    """Residual addition fused with the norm: reads and writes the hidden state and the residual."""
    hidden = step.model.hidden
    return [
        *elementwise(
            "layer.norm", norms_per_step(step), step.tokens, 4 * hidden, weights_bytes=WIDE_BYTES * hidden
        )
    ]


def head_matrix(step: Step) -> Matrix:
    """The output head on one rank: a slice of the vocabulary."""
    weight_dtype = step.precision.embedding
    return Matrix(
        name="logits",
        n=ceil_int(step.model.vocab, step.parallel.tp),
        k=step.model.hidden,
        in_features=step.model.hidden,
        weight_dtype=weight_dtype,
        act_dtype=gemm_input_dtype(weight_dtype, step.precision.activations),
        reduced=False,
        bias_elements=0,
    )


def head_ops(step: Step) -> list[Op]:
    """Output head over the rows that need logits, their gathering, and sampling on every rank."""
    rows, vocab = step.batch.logits, step.model.vocab
    return [
        *gemm("head.logits", 1, rows, head_matrix(step)),
        *tp_allgather(step, "comm.logits_allgather", 1, rows, vocab),
        *elementwise("head.sample", 1, rows, _SAMPLING_ELEMENTS * vocab),
    ]
