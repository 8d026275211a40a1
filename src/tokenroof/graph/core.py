"""The nouns of work: a sharding, a batch, and operators that know no chip.

Every operator states its shape as it is on **one chip of the busiest rank**, how many times it
runs in a step (``count``), and its :class:`Work`: arithmetic and traffic as exact integers.
Shapes may be numpy integer arrays; everything then broadcasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tokenroof.catalog.core import OperandKind
from tokenroof.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Int: TypeAlias = "int | npt.NDArray[np.int64]"
Num: TypeAlias = "float | npt.NDArray[Any]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """How one model copy (replica) is spread over ``chips`` = tp * dp * pp * cp chips.

    Attributes
    ----------
    tp : int
        Tensor parallel ways of attention and dense layers.
    pp : int
        Pipeline stages.
    dp : int
        Attention data parallel ways inside the replica (experts are shared across them).
    ep : int
        Expert parallel ways over the tp * dp * cp chips of a stage; what is left of those chips
        splits each expert's intermediate width.
    cp : int
        Context (sequence) parallel ways of prefill attention.
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: int = 1
    cp: int = 1

    def __post_init__(self) -> None:
        for field in ("tp", "pp", "dp", "ep", "cp"):
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{field} must be a whole number of at least 1, got {value!r}.")

    @property
    def stage_chips(self) -> int:
        """Chips of one pipeline stage."""
        return self.tp * self.dp * self.cp

    @property
    def chips(self) -> int:
        """Chips of one replica."""
        return self.stage_chips * self.pp

    @property
    def expert_tp(self) -> int:
        """Ways each expert's intermediate width is split."""
        return max(1, self.stage_chips // self.ep)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one engine step processes, for the whole replica (all dp ranks together).

    Any field may be an integer array; arrays broadcast against each other. The windowed sums that
    sliding-window layers need are derived with mean lengths, see ``graph.spans``.

    Attributes
    ----------
    decode_seqs : Int
        Sequences that produce one more token each (times ``decode_tokens``).
    decode_context_tokens : Int
        Sum over those sequences of the tokens already in the cache.
    decode_tokens : int
        Query tokens per decoding sequence (1; k+1 when k draft tokens are verified).
    prefill_seqs : Int
        Prompt chunks in this step.
    prefill_tokens : Int
        Sum of new tokens of those chunks.
    prefill_past_tokens : Int
        Sum over chunks of the tokens already in the cache.
    prefill_pairs : Int
        Sum over chunks of causal query-key pairs: new * past + new * (new + 1) / 2.
    prefill_logits : Int
        Chunks that end a prompt and so need logits.
    image_tokens : Int
        Of ``prefill_tokens``, those that come from the vision tower.
    """

    decode_seqs: Int = 0
    decode_context_tokens: Int = 0
    decode_tokens: int = 1
    prefill_seqs: Int = 0
    prefill_tokens: Int = 0
    prefill_past_tokens: Int = 0
    prefill_pairs: Int = 0
    prefill_logits: Int = 0
    image_tokens: Int = 0

    @property
    def tokens(self) -> Int:
        """Tokens that every projection sees."""
        return self.decode_seqs * self.decode_tokens + self.prefill_tokens

    @property
    def logits(self) -> Int:
        """Rows of the output head."""
        return self.decode_seqs * self.decode_tokens + self.prefill_logits


def causal_pairs(new_tokens: Int, past_tokens: Int = 0) -> Int:
    """Query-key pairs of one chunk when a query sees what precedes it and itself.

    Parameters
    ----------
    new_tokens, past_tokens : Int
        Query tokens of the chunk, and tokens before it.
    """
    return new_tokens * past_tokens + new_tokens * (new_tokens + 1) // 2


def decode_batch(seqs: Int, context_tokens: Int, *, tokens: int = 1) -> Batch:
    """A pure decode step: ``seqs`` sequences of ``context_tokens`` cached tokens each."""
    return Batch(decode_seqs=seqs, decode_context_tokens=seqs * context_tokens, decode_tokens=tokens)


def prefill_batch(seqs: Int, new_tokens: Int, *, past_tokens: Int = 0) -> Batch:
    """A pure prefill step: ``seqs`` chunks of ``new_tokens`` over ``past_tokens`` each."""
    return Batch(
        prefill_seqs=seqs,
        prefill_tokens=seqs * new_tokens,
        prefill_past_tokens=seqs * past_tokens,
        prefill_pairs=seqs * causal_pairs(new_tokens, past_tokens),
        prefill_logits=seqs,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an operator does once on one chip, knowing no hardware.

    Attributes
    ----------
    flop : Int
        Arithmetic; one multiply-add is two. [flop]
    weights_bytes, kv_bytes, state_bytes, activation_bytes : Int
        Traffic by operand kind, reads and writes together. [bytes]
    """

    flop: Int = 0
    weights_bytes: Int = 0
    kv_bytes: Int = 0
    state_bytes: Int = 0
    activation_bytes: Int = 0

    def by_kind(self) -> tuple[tuple[OperandKind, Int], ...]:
        """Traffic by operand kind. [bytes]"""
        return (
            (OperandKind.WEIGHTS, self.weights_bytes),
            (OperandKind.KV, self.kv_bytes),
            (OperandKind.STATE, self.state_bytes),
            (OperandKind.ACTIVATIONS, self.activation_bytes),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """Common part of every operator. Concrete operators are final and follow below.

    Attributes
    ----------
    name : str
        Dotted role: "attn.qkv", "attn.decode", "moe.experts", "head.logits", "comm.attn_allreduce".
    count : int
        Times it runs in one step: all layers that are alike, of all pipeline stages.
    work : Work
        What one run does on one chip.
    """

    name: str
    count: int
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm(Op):
    """C[m, n] = A[m, k] W[n, k]^T with weights in ``weight_dtype`` and inputs in ``act_dtype``."""

    m: Int
    n: int
    k: int
    weight_dtype: str
    act_dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionDecode(Op):
    """One query token per sequence over its cache: bytes.

    ``context_tokens`` is the sum over sequences of visible (windowed) keys, the query's own included
    and each read once whatever ``query_tokens``; ``kv_heads`` after
    sharding; ``query_tokens`` per sequence is 1 unless drafts are verified.
    """

    seqs: Int
    context_tokens: Int
    q_heads: int
    kv_heads: int
    head_dim: int
    v_head_dim: int
    kv_dtype: str
    query_tokens: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPrefill(Op):
    """Chunks of prompt over themselves and their past: pairs.

    ``pairs`` is the sum of visible query-key pairs, ``new_tokens`` and ``past_tokens`` are sums
    over ``seqs`` chunks (past limited by the window). ``causal`` is False for vision towers and
    block diffusion.
    """

    seqs: Int
    new_tokens: Int
    past_tokens: Int
    pairs: Int
    q_heads: int
    kv_heads: int
    head_dim: int
    v_head_dim: int
    q_dtype: str
    kv_dtype: str
    causal: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MlaDecode(Op):
    """Absorbed latent attention: all heads read one latent vector per cached token."""

    seqs: Int
    context_tokens: Int
    heads: int
    kv_dtype: str
    query_tokens: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MlaPrefill(Op):
    """Expanded latent attention: per-head keys of ``qk_dim`` and values of ``v_dim``."""

    seqs: Int
    new_tokens: Int
    past_tokens: Int
    pairs: Int
    heads: int
    qk_dim: int
    v_dim: int
    kv_dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexScore(Op):
    """Sparse-attention indexer: scores all visible keys and selects the best ones."""

    seqs: Int
    pairs: Int
    new_tokens: Int
    heads: int
    head_dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentMix(Op):
    """State-space or linear attention: scan of ``tokens`` over a fixed state per sequence.

    ``kind`` is "mamba1", "mamba2", "gated_delta_net", "kimi_delta" or "lightning".
    """

    kind: str
    seqs: Int
    tokens: Int
    heads: int
    key_dim: int
    value_dim: int
    decode: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MoeExperts(Op):
    """The routed experts of one layer on one rank: gate-up and down grouped GEMMs.

    ``tokens`` are the tokens routed over the whole expert group, of which this rank owns
    ``local_experts`` of ``num_experts``; ``intermediate`` is after expert tensor parallelism.
    ``hot_factor`` >= 1 is the load of the busiest rank over the mean; ``routing_skew`` as in ``Moe``.
    """

    tokens: Int
    hidden: int
    intermediate: int
    num_experts: int
    local_experts: int
    topk: int
    gated: bool
    weight_dtype: str
    act_dtype: str
    hot_factor: float = 1.0
    routing_skew: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Elementwise(Op):
    """Norms, activations, rotary embedding, gathers, sampling: bytes only.

    ``rows`` is what the pass goes over: tokens, or sequences in sampling.
    """

    rows: Int


@dataclass(frozen=True, slots=True, kw_only=True)
class Collective(Op):
    """A message among ``group`` chips.

    Attributes
    ----------
    kind : str
        "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv".
    message_bytes : Int
        nccl-tests convention: all_reduce = buffer, all_gather and reduce_scatter = whole buffer,
        all_to_all = send buffer of one rank, send_recv = message. [bytes]
    group : int
        Chips that take part.
    stride : int
        1 when the group is made of neighbours, else the distance between its members (decides
        whether it crosses the scale-up domain).
    """

    kind: str
    message_bytes: Int
    group: int
    stride: int = 1
