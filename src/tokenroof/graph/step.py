"""What every operator builder is told: a model, its formats and sharding, and the busiest rank's batch."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.catalog.model import FeedForward, Mixer, ModelSpec, Precision
from tokenroof.graph.core import Batch, Elementwise, Gemm, Int, Parallel, Work
from tokenroof.graph.ints import WIDE_BYTES, ceil_div, present, tensor_bytes, where_present
from tokenroof.graph.sharding import Matrix, matrices, rank_batch, small_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One engine step of one replica, seen from its busiest chip.

    Attributes
    ----------
    model, precision, parallel : ModelSpec, Precision, Parallel
        What runs, in which formats, spread how.
    whole : Batch
        The step of the whole replica.
    batch : Batch
        The share of the busiest data parallel rank, before context parallelism.
    tokens : Int
        Tokens that projections on this chip see: all decode tokens of the rank, and its
        context parallel share of the prompt tokens.
    hot_factor : float
        Load of the busiest expert rank over the mean.
    """

    model: ModelSpec
    precision: Precision
    parallel: Parallel
    whole: Batch
    batch: Batch
    tokens: Int
    hot_factor: float

    @property
    def causal(self) -> bool:
        """Whether a query sees only what precedes it (block diffusion sees its whole block)."""
        return self.model.generation is None

    @property
    def decode_query_tokens(self) -> Int:
        """Query tokens of the decoding sequences."""
        return self.batch.decode_seqs * self.batch.decode_tokens

    @property
    def prefill_query_tokens(self) -> Int:
        """Prompt tokens on this context parallel rank."""
        return ceil_div(self.batch.prefill_tokens, self.parallel.cp)

    def matrices(self, layer: Mixer | FeedForward) -> tuple[Matrix, ...]:
        """GEMMs of a layer on this chip."""
        return matrices(layer, self.model.hidden, self.parallel.tp, self.precision)

    def small_bytes(self, layer: Mixer | FeedForward) -> int:
        """Bytes of the layer's biases and vectors on this chip. [bytes]"""
        return small_bytes(layer, self.model.hidden, self.parallel.tp, self.precision)


def make_step(
    model: ModelSpec, precision: Precision, parallel: Parallel, batch: Batch, *, hot_factor: float
) -> Step:
    """The step as its busiest chip sees it."""
    rank = rank_batch(batch, parallel)
    tokens = rank.decode_seqs * rank.decode_tokens + ceil_div(rank.prefill_tokens, parallel.cp)
    return Step(
        model=model,
        precision=precision,
        parallel=parallel,
        whole=batch,
        batch=rank,
        tokens=tokens,
        hot_factor=hot_factor,
    )


def gemm(name: str, count: int, m: Int, matrix: Matrix) -> list[Gemm]:
    """One matrix multiply of ``m`` rows; no operator without rows."""
    if not present(m) or matrix.n == 0:
        return []
    work = Work(
        flop=2 * m * matrix.n * matrix.k,
        weights_bytes=where_present(m, matrix.weights_bytes),
        activation_bytes=tensor_bytes(matrix.act_dtype, m * matrix.in_features) + WIDE_BYTES * m * matrix.n,
    )
    return [
        Gemm(
            name=name,
            count=count,
            work=work,
            m=m,
            n=matrix.n,
            k=matrix.k,
            weight_dtype=matrix.weight_dtype,
            act_dtype=matrix.act_dtype,
        )
    ]


def elementwise(
    name: str,
    count: int,
    rows: Int,
    elements: int,
    *,
    weights_bytes: int = 0,
    kv_bytes: Int = 0,
    state_bytes: Int = 0,
) -> list[Elementwise]:
    """A pass over ``rows`` rows that reads and writes ``elements`` 16-bit elements of each, together."""
    if not present(rows):
        return []
    work = Work(
        weights_bytes=where_present(rows, weights_bytes),
        kv_bytes=kv_bytes,
        state_bytes=state_bytes,
        activation_bytes=rows * (WIDE_BYTES * elements),
    )
    return [Elementwise(name=name, count=count, work=work, rows=rows)]
