"""State-space hybrids: Jamba, Nemotron-H (and Nemotron-3), Falcon-H1."""

from __future__ import annotations

from tokenroof.catalog.hf.fields import MAX_LAYERS, Fields, short
from tokenroof.catalog.hf.parts import (
    Layer,
    Parts,
    attention,
    dense_mlp,
    group,
    heads,
    is_gated,
    moe,
    num_layers,
)
from tokenroof.catalog.model import DenseMlp, FeedForward, Mamba

_PATTERN = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}


def build_jamba(f: Fields) -> Parts:
    """Jamba: one attention layer in eight, Mamba-1 elsewhere, experts in every second layer."""
    f.require("hidden", "layers", "heads", "intermediate", "experts", "topk", "vocab")
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    f.ignore("mamba_inner_layernorms")
    mamba = Mamba(
        version=1,
        num_heads=1,
        head_dim=hidden * f.size_or("mamba_expand", 2),
        state_dim=f.size_or("mamba_d_state", 16),
        num_groups=1,
        conv_kernel=f.size_or("mamba_d_conv", 4),
        dt_rank=f.size_or("mamba_dt_rank", -(-hidden // 16)),
        conv_bias=f.flag("mamba_conv_bias", True),
        proj_bias=f.flag("mamba_proj_bias", False),
    )
    experts = f.size("experts")
    dense = dense_mlp(f)
    sparse: FeedForward = moe(f, intermediate=f.size("intermediate")) if experts > 1 else dense
    attends = (f.size_or("attn_layer_period", 8), f.count_or("attn_layer_offset", 4))
    mixes = (f.size_or("expert_layer_period", 2), f.count_or("expert_layer_offset", 1))
    found = [
        Layer(
            mixers=(attention(h) if i % attends[0] == attends[1] else mamba,),
            ffn=sparse if i % mixes[0] == mixes[1] else dense,
            norm_parameters=2 * hidden,
        )
        for i in range(layers)
    ]
    return Parts(layers=group(found), extra_parameters=hidden)


def _mamba2(f: Fields, heads_word: str, dim_word: str, *, state: str, groups: str, conv: str) -> Mamba:
    num, num_groups = f.size(heads_word), f.size_or(groups, 1)
    f.divides(groups, num_groups, heads_word, num)
    return Mamba(
        version=2,
        num_heads=num,
        head_dim=f.size(dim_word),
        state_dim=f.size(state),
        num_groups=num_groups,
        conv_kernel=f.size_or(conv, 4),
        conv_bias=f.flag("mamba_conv_bias", f.flag("use_conv_bias", True)),
        proj_bias=f.flag("mamba_proj_bias", False),
        gated_norm=f.flag("mamba_rms_norm", heads_word == "mamba_num_heads"),
    )


def _nemotron_kinds(f: Fields, list_word: str, pattern_word: str) -> list[str] | None:
    """Kind of each layer, from the list or from the pattern of letters."""
    listed = f.items(list_word)
    if listed is not None:
        f.ignore(pattern_word)
        known = tuple(_PATTERN.values())
        for kind in listed:
            if kind not in known:
                raise f.error(
                    list_word, f"got {short(kind)}", f"Each entry is one of {', '.join(sorted(known))}."
                )
        return [str(kind) for kind in listed]
    pattern = f.text(pattern_word, "")
    if not pattern:
        return None
    strange = sorted(set(pattern) - set(_PATTERN))
    if strange:
        raise f.error(pattern_word, f"got {strange[0]!r}", f"Letters are {', '.join(_PATTERN)}.")
    return [_PATTERN[letter] for letter in pattern]


def build_nemotron_h(f: Fields) -> Parts:
    """Nemotron-H: each layer is one block, Mamba-2, attention, ungated MLP or (latent) experts."""
    f.require("hidden", "heads", "vocab", "mamba_num_heads", "mamba_head_dim", "ssm_state_size")
    kinds = _nemotron_kinds(f, "layers_block_type", "hybrid_override_pattern")
    if kinds is None:
        raise f.missing(("hybrid_override_pattern",))
    if len(kinds) > MAX_LAYERS:
        raise f.error("hybrid_override_pattern", f"got {len(kinds)} layers", f"At most {MAX_LAYERS}.")
    if f.has("layers") and num_layers(f) != len(kinds):
        raise f.error("layers", f"got {num_layers(f)}", f"The layer pattern has {len(kinds)} letters.")
    hidden = f.size("hidden")
    f.ignore("expand", "intermediate_size", "use_bias", "conv_kernel")
    mtp_kinds = _nemotron_kinds(f, "mtp_layers_block_type", "mtp_hybrid_override_pattern") or []
    layers = {kind: _nemotron_layer(f, kind, hidden) for kind in {*kinds, *mtp_kinds}}
    modules = f.count_or("mtp_layers", 0)
    if modules > MAX_LAYERS:
        raise f.error("mtp_layers", f"got {modules}", f"At most {MAX_LAYERS} are accepted.")
    mtp = group([layers[kind] for kind in mtp_kinds] * modules)
    return Parts(
        layers=group(layers[kind] for kind in kinds),
        extra_parameters=hidden,
        mtp=mtp,
        mtp_extra_parameters=modules * (2 * hidden * hidden + 3 * hidden) if mtp else 0,
    )


def _nemotron_layer(f: Fields, kind: str, hidden: int) -> Layer:
    if kind == "mamba":
        mamba = _mamba2(
            f,
            "mamba_num_heads",
            "mamba_head_dim",
            state="ssm_state_size",
            groups="n_groups",
            conv="conv_kernel",
        )
        return Layer(mixers=(mamba,), ffn=None, norm_parameters=hidden, norms=1)
    if kind == "attention":
        biased = f.flag("attention_bias", False)
        mixer = attention(heads(f), qkv_bias=biased, o_bias=biased)
        return Layer(mixers=(mixer,), ffn=None, norm_parameters=hidden, norms=1)
    gated = is_gated(f, family_gates_gelu=False)
    bias = f.flag("mlp_bias", False)
    if kind == "mlp":
        ffn: FeedForward = DenseMlp(intermediate=f.size("intermediate"), gated=gated, bias=bias)
    else:
        shared = f.count_or("shared_experts", 0) * f.count_or("shared_intermediate", 0)
        latent = f.count_or("moe_latent_size", 0)
        ffn = moe(f, gated=gated, bias=bias, shared_intermediate=shared, latent_dim=latent, router_bias=True)
    return Layer(mixers=(), ffn=ffn, norm_parameters=hidden, norms=1)


def build_falcon_h1(f: Fields) -> Parts:
    """Falcon-H1: attention and Mamba-2 side by side in every layer, then a gated MLP."""
    f.require(
        "hidden", "layers", "heads", "intermediate", "vocab", "mamba_n_heads", "mamba_d_head", "mamba_d_state"
    )
    layers, h, hidden = num_layers(f), heads(f), f.size("hidden")
    f.ignore("mamba_expand", "mamba_use_mlp", "mamba_norm_before_gate", "time_step_rank")
    mamba = _mamba2(
        f,
        "mamba_n_heads",
        "mamba_d_head",
        state="mamba_d_state",
        groups="mamba_n_groups",
        conv="mamba_d_conv",
    )
    inner = mamba.num_heads * mamba.head_dim
    if f.size_or("mamba_d_ssm", inner) != inner:
        rule = f"It must be mamba_n_heads * mamba_d_head = {inner}. Correct config.json."
        raise f.error("mamba_d_ssm", f"got {f.size('mamba_d_ssm')}", rule)
    biased = f.flag("attention_bias", False)
    mlp = DenseMlp(intermediate=f.size("intermediate"), bias=f.flag("mlp_bias", False))
    layer = Layer(
        mixers=(attention(h, qkv_bias=biased, o_bias=biased), mamba), ffn=mlp, norm_parameters=2 * hidden
    )
    return Parts(layers=group([layer] * layers), extra_parameters=hidden)
