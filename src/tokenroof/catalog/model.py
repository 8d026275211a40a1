"""The nouns of a language model: what each layer holds and does, independent of any chip.

A model is a tuple of layer groups; a group is ``count`` identical layers, each with zero or more
token mixers (attention, state-space, linear attention) and zero or one feed-forward.
A new kind of layer is a new final class here, its operators in ``tokenroof.graph``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexer:
    """Indexer of sparse attention (DeepSeek-V3.2, MiniMax-M3): scores past keys, keeps the best.

    Attributes
    ----------
    num_heads, head_dim : int
        Scoring heads and their dimension; one shared key of ``head_dim`` is cached per token.
    topk_tokens : int
        Tokens a query attends to after the selection.
    block_tokens : int
        Selection works on blocks of this many tokens (MiniMax-M3: 128); 1 = single tokens.
    owned : bool
        False when the layer reuses the selection of an earlier layer (GLM-5.2): no weights, no
        scoring and no index cache of its own, but the same sparse attention.
    """

    num_heads: int
    head_dim: int
    topk_tokens: int
    block_tokens: int = 1
    owned: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Softmax attention with grouped key-value heads.

    Attributes
    ----------
    num_heads, num_kv_heads, head_dim, v_head_dim : int
        Query heads, key-value heads, dimensions of a key and of a value.
    window_tokens : int or None
        Sliding window (or chunk) that limits what a query sees; None = everything.
    qkv_bias, o_bias : bool
        Projections carry a bias.
    qk_norm_parameters : int
        Parameters of the query and key norms of one layer.
    sink_parameters : int
        Learned attention sinks (gpt-oss: one per query head).
    gated_output : bool
        The query projection also yields an output gate of the same width (Qwen3-Next).
    kv_shared : bool
        Reuses another layer's keys and values: no K/V projection, no cache of its own.
    k_equals_v : bool
        Values are made from the key projection (Gemma-4): one matrix; both are still cached, since
        only keys are rotated.
    indexer : Indexer or None
        Sparse selection in front of the attention.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    v_head_dim: int
    window_tokens: int | None = None
    qkv_bias: bool = False
    o_bias: bool = False
    qk_norm_parameters: int = 0
    sink_parameters: int = 0
    gated_output: bool = False
    kv_shared: bool = False
    k_equals_v: bool = False
    indexer: Indexer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MlaAttention:
    """Multi-head latent attention (DeepSeek-V2/V3): absorbed in decode, expanded in prefill.

    ``q_lora_rank`` is None when queries are projected directly. The cache holds
    ``kv_lora_rank + qk_rope_head_dim`` elements per token, whatever the head count.
    ``gated_output`` adds a projection from the model width to ``num_heads * v_head_dim`` (Kimi-K3).
    """

    num_heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    window_tokens: int | None = None
    indexer: Indexer | None = None
    gated_output: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedAttention:
    """Attention over a compressed cache (DeepSeek-V4): one entry per ``ratio`` tokens plus a window.

    One shared key-value vector of ``kv_dim`` elements per entry; queries attend to the last
    ``window_tokens`` raw tokens and to compressed entries (all of them, or ``indexer.topk_tokens``
    entries). ``ratio`` 0 = no compressed entries, the window alone. ``overlap`` compressors see two
    neighbouring groups of ``ratio`` tokens and project to twice the width. The last ``rope_dim`` elements
    of a head are rotated, and rotated back in the output.
    """

    num_heads: int
    head_dim: int
    q_lora_rank: int
    o_lora_rank: int
    o_groups: int
    kv_dim: int
    ratio: int
    window_tokens: int
    rope_dim: int = 0
    overlap: bool = False
    indexer: Indexer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba:
    """Selective state-space mixer. ``version`` 1 (Jamba) or 2 (Nemotron-H, Falcon-H1).

    Version 2: ``num_heads`` heads of ``head_dim``, ``num_groups`` groups of B and C of ``state_dim``.
    Version 1: ``num_heads * head_dim`` is the inner width and ``dt_rank`` the rank of the step size.
    ``gated_norm`` is a norm over the inner width (version 2) or over the step size, B and C (version 1).
    """

    version: int
    num_heads: int
    head_dim: int
    state_dim: int
    num_groups: int
    conv_kernel: int
    dt_rank: int = 0
    conv_bias: bool = True
    proj_bias: bool = False
    gated_norm: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearAttention:
    """Linear attention with a matrix state per value head.

    ``kind`` is "gated_delta_net" (Qwen3-Next, Qwen3.5), "kimi_delta" (Kimi Linear) or
    "lightning" (MiniMax-M1). State: ``num_v_heads * k_head_dim * v_head_dim`` elements per sequence.
    ``gate_rank`` is the rank of the output gate of "kimi_delta"; 0 = a full projection.
    """

    kind: str
    num_k_heads: int
    num_v_heads: int
    k_head_dim: int
    v_head_dim: int
    conv_kernel: int
    gate_rank: int = 0


Mixer = Attention | MlaAttention | CompressedAttention | Mamba | LinearAttention


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseMlp:
    """Feed-forward of ``intermediate`` neurons; ``gated`` has three matrices, otherwise two."""

    intermediate: int
    gated: bool = True
    bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Moe:
    """Mixture of experts: ``topk`` of ``num_experts`` routed experts, plus shared ones.

    ``shared_intermediate`` is the total width of all shared experts (0 = none).
    ``latent_dim`` is the width experts work in when they project down first (0 = model width);
    ``latent_norm`` normalises their sum before it is projected up again (Kimi-K3).
    ``router_bias`` covers a bias of the router and a correction bias of its scores alike.
    ``parallel_dense_intermediate`` is a dense MLP that runs beside the experts (Gemma-4; 0 = none).
    ``routing_skew``: the popularity of the i-th expert of a layer falls as i to minus it (0: even).
    """

    num_experts: int
    topk: int
    intermediate: int
    gated: bool = True
    bias: bool = False
    shared_intermediate: int = 0
    shared_gate: bool = False
    router_bias: bool = False
    latent_dim: int = 0
    latent_norm: bool = False
    parallel_dense_intermediate: int = 0
    routing_skew: float = 0.0


FeedForward = DenseMlp | Moe


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGroup:
    """``count`` identical layers.

    Attributes
    ----------
    count : int
        Layers.
    mixers : tuple of Mixer
        Token mixers of one layer, side by side.
    ffn : FeedForward or None
        Feed-forward of one layer.
    norm_parameters : int
        Parameters of the norms of one layer.
    norms : int
        Norms over the model width that run in one layer: one before the mixers and one before the
        feed-forward unless the family says otherwise.
    mixing_parameters : int
        Parameters of one layer that belong to no mixer, feed-forward or norm: hyper-connections,
        attention residuals, layer and router scales.
    streams : int
        Copies of the residual stream: 1 unless hyper-connections read all of them before, and write all of
        them after, each sublayer (one norm, one sublayer).
    """

    count: int
    mixers: tuple[Mixer, ...]
    ffn: FeedForward | None
    norm_parameters: int
    norms: int = 2
    mixing_parameters: int = 0
    streams: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionTower:
    """A vision transformer whose output tokens enter the decoder; runs at prefill only.

    ``patches_per_token`` image patches are merged into one decoder token. ``patch_parameters`` and
    ``projector_parameters`` are those of the patch embedding (positions included) and of what maps
    the tower's output to the decoder (mergers, final norm).
    """

    num_layers: int
    hidden: int
    intermediate: int
    num_heads: int
    head_dim: int
    gated: bool
    attention_bias: bool
    mlp_bias: bool
    norm_parameters: int
    patch_parameters: int
    projector_parameters: int
    patches_per_token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDiffusion:
    """Generation by denoising blocks (LLaDA, Dream) instead of one token after another.

    Each block of ``block_tokens`` takes ``steps_per_block`` full passes; ``cached_prefix`` says
    whether the passes reuse the keys and values of finished blocks. Claim: assumption unless the
    config states it.
    """

    block_tokens: int
    steps_per_block: int
    cached_prefix: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Formats by role; names of ``tokenroof.catalog.dtypes``.

    ``weights`` covers attention and dense projections, ``experts`` routed experts,
    ``embedding`` the token table and the output head, ``activations`` what GEMMs read and
    ``expert_activations`` what routed experts read ("" = as ``activations``). These are properties of
    the checkpoint; whether a chip multiplies so or unpacks the weights to 16 bits is the chip's
    business (``perf.lowprec``).
    """

    weights: str = "bf16"
    experts: str = "bf16"
    embedding: str = "bf16"
    activations: str = "bf16"
    kv: str = "bf16"
    state: str = "fp32"
    expert_activations: str = ""

    @property
    def expert_inputs(self) -> str:
        """Format that routed experts read, when their weights are not multiplied in 16 bits."""
        return self.expert_activations or self.activations


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A language model, complete enough to count every parameter, flop and byte.

    Attributes
    ----------
    name, hf_id, architecture : str
        Identifier, Hugging Face name, class name of the config.
    hidden, vocab : int
        Model width and vocabulary.
    tied_embeddings : bool
        Output head shares the token table.
    layers : tuple of LayerGroup
        In order; ``layer_order`` is not kept since cost does not depend on it.
    mtp : tuple of LayerGroup
        Multi-token-prediction modules (not run unless speculation is on).
    mtp_extra_parameters : int
        Projections and norms of those modules outside their layers.
    vision : VisionTower or None
        Image encoder.
    extra_parameters : int
        Final norm, position tables and the like.
    max_context_tokens : int
        Largest context the config allows.
    precision : Precision
        Default formats (from ``quantization_config``).
    generation : BlockDiffusion or None
        None = autoregressive.
    stated_parameters, stated_active_parameters : float or None
        What the model card says, in units of one parameter.
    source : str
        Where the config was read.
    warnings : tuple of str
        Unknown fields that could change the cost, and approximations made.
    """

    name: str
    hf_id: str
    architecture: str
    hidden: int
    vocab: int
    tied_embeddings: bool
    layers: tuple[LayerGroup, ...]
    max_context_tokens: int
    precision: Precision
    source: str
    mtp: tuple[LayerGroup, ...] = ()
    mtp_extra_parameters: int = 0
    vision: VisionTower | None = None
    extra_parameters: int = 0
    generation: BlockDiffusion | None = None
    stated_parameters: float | None = None
    stated_active_parameters: float | None = None
    warnings: tuple[str, ...] = field(default_factory=tuple)

    @property
    def num_layers(self) -> int:
        """Decoder layers, modules for multi-token prediction not counted."""
        return sum(group.count for group in self.layers)

    @property
    def residual_streams(self) -> int:
        """Copies of the hidden state that go from layer to layer."""
        return max((group.streams for group in self.layers), default=1)


def with_routing_skew(model: ModelSpec, skew: float) -> ModelSpec:
    """A model in which the popularity of the i-th expert of a layer falls as i to minus ``skew``."""

    def routed(groups: tuple[LayerGroup, ...]) -> tuple[LayerGroup, ...]:
        return tuple(
            replace(group, ffn=replace(group.ffn, routing_skew=skew)) if isinstance(group.ffn, Moe) else group
            for group in groups
        )

    return replace(model, layers=routed(model.layers), mtp=routed(model.mtp))
