"""Vision towers of multimodal configs, counted exactly for the families listed in ``TOWERS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tokenroof.catalog.hf.fields import MAX_LAYERS, Fields, short
from tokenroof.catalog.model import VisionTower


def tower(f: Fields, outer_type: str, hidden: int) -> VisionTower | None:
    """The tower of a ``vision_config``.

    Parameters
    ----------
    f : Fields
        The ``vision_config``.
    outer_type : str
        ``model_type`` of the whole model.
    hidden : int
        Width of the decoder.

    Returns
    -------
    VisionTower or None
        None, with a warning, when the family is unknown and the sizes are not given.
    """
    build = TOWERS.get(outer_type.removesuffix("_text"))
    if build is not None:
        found = build(f, hidden)
    elif f.has("hidden_size") and (f.has("num_hidden_layers") or f.has("depth")):
        f.warn(f"vision tower of {short(outer_type)} is counted as a plain transformer (approximation)")
        found = _plain(f, hidden)
    else:
        f.warn(f"vision tower of {short(outer_type)} is not known and not counted")
        return None
    if found.num_layers > MAX_LAYERS:
        raise f.error("depth", f"got {found.num_layers}", f"At most {MAX_LAYERS} layers are accepted.")
    return found


def _head_dim(f: Fields, width: int, num: int) -> int:
    if width % num:
        raise f.error("num_heads", f"got {num}", f"It must divide the width {width}. Correct config.json.")
    return width // num


def _patch(f: Fields, default: int) -> int:
    """Input numbers of one patch: channels x frames x side x side."""
    side = f.size_or("patch_size", default)
    channels = f.size_or("in_channels", f.size_or("in_chans", f.size_or("num_channels", 3)))
    return channels * f.size_or("temporal_patch_size", 1) * side * side


def _qwen2(f: Fields, hidden: int) -> VisionTower:
    """Qwen2-VL: layer norms, ungated MLP; its ``hidden_size`` is the output width."""
    width, num = f.size("embed_dim"), f.size("num_heads")
    merge = f.size_or("spatial_merge_size", 2) ** 2
    wide, out = width * merge, f.size_or("hidden_size", hidden)
    f.ignore("spatial_patch_size")
    return VisionTower(
        num_layers=f.size("depth"),
        hidden=width,
        intermediate=width * f.size_or("mlp_ratio", 4),
        num_heads=num,
        head_dim=_head_dim(f, width, num),
        gated=False,
        attention_bias=True,
        mlp_bias=True,
        norm_parameters=4 * width,
        patch_parameters=_patch(f, 14) * width,
        projector_parameters=2 * width + wide * wide + wide + wide * out + out,
        patches_per_token=merge,
    )


def _qwen25(f: Fields, hidden: int) -> VisionTower:
    """Qwen2.5-VL: RMS norms, gated MLP with biases, windowed attention in most blocks."""
    width, num = f.size("hidden_size"), f.size("num_heads")
    f.ignore("spatial_patch_size", "tokens_per_second")
    if f.has("window_size") and f.items("fullatt_block_indexes") is not None:
        f.ignore("window_size")
        f.warn("windowed attention of the vision tower is modelled as full attention (an upper bound)")
    merge = f.size_or("spatial_merge_size", 2) ** 2
    wide, out = width * merge, f.size_or("out_hidden_size", hidden)
    return VisionTower(
        num_layers=f.size("depth"),
        hidden=width,
        intermediate=f.size("intermediate_size"),
        num_heads=num,
        head_dim=_head_dim(f, width, num),
        gated=True,
        attention_bias=True,
        mlp_bias=True,
        norm_parameters=2 * width,
        patch_parameters=_patch(f, 14) * width,
        projector_parameters=width + wide * wide + wide + wide * out + out,
        patches_per_token=merge,
    )


def _qwen3(f: Fields, hidden: int) -> VisionTower:
    """Qwen3-VL and Qwen3.5: layer norms, learnt positions, extra mergers for deep features."""
    width, num = f.size("hidden_size"), f.size("num_heads")
    merge = f.size_or("spatial_merge_size", 2) ** 2
    wide, out = width * merge, f.size_or("out_hidden_size", hidden)
    mlp = wide * wide + wide + wide * out + out
    deep = len(f.items("deepstack_visual_indexes") or ())
    return VisionTower(
        num_layers=f.size("depth"),
        hidden=width,
        intermediate=f.size("intermediate_size"),
        num_heads=num,
        head_dim=_head_dim(f, width, num),
        gated=False,
        attention_bias=True,
        mlp_bias=True,
        norm_parameters=4 * width,
        patch_parameters=_patch(f, 16) * width + width + f.count_or("num_position_embeddings", 0) * width,
        projector_parameters=2 * width + mlp + deep * (2 * wide + mlp),
        patches_per_token=merge,
    )


def _kimi(f: Fields, hidden: int) -> VisionTower:
    """MoonViT of Kimi-K2.5 (layer norms, biases) and K3 (RMS norms, wider heads, no biases)."""
    width, num = f.size("vt_hidden_size"), f.size("vt_num_attention_heads")
    f.ignore("init_pos_emb_time", "merge_type", "mm_projector_type", "pos_emb_type", "projector_hidden_act")
    f.ignore("activation_func", "mlp_type", "norm_type", "pos_emb_interpolation_mode", "video_attn_type")
    f.ignore("mm_hidden_size", "projector_ln_eps", "text_hidden_size")
    rms = f.text("norm_type", "layernorm") == "rmsnorm"
    linear_bias = f.flag("linear_bias", True)
    merge_sides = f.whole_list("merge_kernel_size", 1) or [2, 2]
    merge = 1
    for side in merge_sides:
        merge *= side
    if f.text("mm_projector_type", "patchmerger") != "patchmerger":
        f.warn("vision projector is counted as that of Kimi-K2.5 (approximation)")
    norm = width if rms else 2 * width
    wide, out = width * merge, f.size_or("text_hidden_size", hidden)
    bias = 1 if f.flag("patch_embed_proj_bias", True) else 0
    positions = f.size_or("init_pos_emb_height", 64) * f.size_or("init_pos_emb_width", 64)
    return VisionTower(
        num_layers=f.size("vt_num_hidden_layers"),
        hidden=width,
        intermediate=f.size("vt_intermediate_size"),
        num_heads=num,
        head_dim=_head_dim(f, f.size_or("qkv_hidden_size", width), num),
        gated=False,
        attention_bias=f.flag("attn_bias", True),
        mlp_bias=linear_bias,
        norm_parameters=2 * norm,
        patch_parameters=_patch(f, 14) * width + bias * width + positions * width,
        projector_parameters=norm + norm + wide * wide + wide + wide * out + out,
        patches_per_token=merge,
    )


def _llama4(f: Fields, hidden: int) -> VisionTower:
    """Llama-4: class token, pixel shuffle, two-layer adapter, projection to the decoder."""
    width, num = f.size("hidden_size"), f.size("num_attention_heads")
    f.ignore("image_size", "pixel_shuffle_ratio", "vision_feature_select_strategy", "projector_output_dim")
    f.ignore("multi_modal_projector_bias")
    side = f.size_or("image_size", 336) // f.size_or("patch_size", 14)
    middle = f.size_or("projector_input_dim", 4096)
    out = f.size_or("vision_output_dim", middle)
    inner = f.size("intermediate_size")
    return VisionTower(
        num_layers=f.size("num_hidden_layers"),
        hidden=width,
        intermediate=inner,
        num_heads=num,
        head_dim=_head_dim(f, width, num),
        gated=False,
        attention_bias=True,
        mlp_bias=True,
        norm_parameters=4 * width,
        patch_parameters=_patch(f, 14) * width + width + (side * side + 1) * width,
        projector_parameters=4 * width + 4 * width * middle + middle * out + out * hidden,
        patches_per_token=4,
    )


def _gemma3(f: Fields, hidden: int) -> VisionTower:
    """Gemma 3: SigLIP of 896 x 896 pixels, 4 x 4 patches averaged into a token."""
    width, num = f.size_or("hidden_size", 1152), f.size_or("num_attention_heads", 16)
    f.ignore("vision_use_head", "image_size")
    side = f.size_or("image_size", 896) // f.size_or("patch_size", 14)
    return VisionTower(
        num_layers=f.size_or("num_hidden_layers", 27),
        hidden=width,
        intermediate=f.size_or("intermediate_size", 4304),
        num_heads=num,
        head_dim=_head_dim(f, width, num),
        gated=False,
        attention_bias=True,
        mlp_bias=True,
        norm_parameters=4 * width,
        patch_parameters=_patch(f, 14) * width + width + side * side * width,
        projector_parameters=2 * width + width + width * hidden,
        patches_per_token=16,
    )


def _gemma4(f: Fields, hidden: int) -> VisionTower:
    """Gemma 4: gated MLP, query and key norms, a table of positions for each axis."""
    width, num = f.size("hidden_size"), f.size("num_attention_heads")
    dim = f.size_or("head_dim", _head_dim(f, width, num))
    f.ignore("global_head_dim", "num_key_value_heads", "max_position_embeddings", "use_clipped_linears")
    f.ignore("standardize", "hidden_activation", "default_output_length")
    return VisionTower(
        num_layers=f.size("num_hidden_layers"),
        hidden=width,
        intermediate=f.size("intermediate_size"),
        num_heads=num,
        head_dim=dim,
        gated=True,
        attention_bias=f.flag("attention_bias", False),
        mlp_bias=False,
        norm_parameters=4 * width + 2 * dim,
        patch_parameters=_patch(f, 16) * width + 2 * f.size_or("position_embedding_size", 10240) * width,
        projector_parameters=2 * width + width * hidden,
        patches_per_token=f.size_or("pooling_kernel_size", 3) ** 2,
    )


def _plain(f: Fields, hidden: int) -> VisionTower:
    width = f.size("hidden_size")
    num = f.size_or("num_attention_heads", f.size_or("num_heads", 16))
    return VisionTower(
        num_layers=f.size_or("num_hidden_layers", f.size_or("depth", 1)),
        hidden=width,
        intermediate=f.size_or("intermediate_size", 4 * width),
        num_heads=num,
        head_dim=_head_dim(f, width, num),
        gated=False,
        attention_bias=True,
        mlp_bias=True,
        norm_parameters=4 * width,
        patch_parameters=_patch(f, 14) * width + width,
        projector_parameters=width * hidden + hidden,
        patches_per_token=f.size_or("spatial_merge_size", 1) ** 2,
    )


TOWERS: Mapping[str, Callable[[Fields, int], VisionTower]] = {
    "qwen2_vl": _qwen2,
    "qwen2_5_vl": _qwen25,
    "qwen3_vl": _qwen3,
    "qwen3_vl_moe": _qwen3,
    "qwen3_5": _qwen3,
    "qwen3_5_moe": _qwen3,
    "kimi_k25": _kimi,
    "kimi_k3": _kimi,
    "llama4": _llama4,
    "gemma3": _gemma3,
    "gemma4": _gemma4,
}
