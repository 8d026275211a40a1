"""Operators of the vision tower, which runs on the image tokens of prompt chunks."""

from __future__ import annotations

from tokenroof.catalog.model import VisionTower
from tokenroof.graph.comms import collective
from tokenroof.graph.core import AttentionPrefill, Int, Op, Work
from tokenroof.graph.ints import WIDE_BYTES, ceil_div, ceil_int, low, present
from tokenroof.graph.sharding import Matrix
from tokenroof.graph.step import Step, elementwise, gemm

IMAGE_PATCHES = 4096
"""Patches of one image: 64 x 64, about 900 x 900 pixels at the usual 14 pixels. Assumption."""


def vision_ways(tower: VisionTower, tp: int) -> int:
    """Ranks that split the tower: all of them when they divide its heads, else each runs it whole."""
    return tp if tower.num_heads % tp == 0 else 1


def _matrix(name: str, n: int, k: int, bias: bool) -> Matrix:
    return Matrix(
        name=name,
        n=n,
        k=k,
        in_features=k,
        weight_dtype="bf16",
        act_dtype="bf16",
        reduced=False,
        bias_elements=n if bias else 0,
    )


def layer_matrices(tower: VisionTower, ways: int) -> tuple[Matrix, ...]:
    """``qkv``, ``o``, ``up`` (gate included) and ``down`` of one block on one rank."""
    width = tower.num_heads // ways * tower.head_dim
    inner = ceil_int(tower.intermediate, ways)
    gates = 2 if tower.gated else 1
    return (
        _matrix("qkv", 3 * width, tower.hidden, tower.attention_bias),
        _matrix("o", tower.hidden, width, tower.attention_bias),
        _matrix("up", gates * inner, tower.hidden, tower.mlp_bias),
        _matrix("down", tower.hidden, inner, tower.mlp_bias),
    )


def vision_ops(step: Step) -> list[Op]:
    """Patch embedding, blocks and projector.

    Images count as ``IMAGE_PATCHES`` patches each (fewer when there are not as many), every patch of an
    image attending to every other: an upper bound for towers with windows.
    """
    tower = step.model.vision
    tokens = ceil_div(step.batch.image_tokens, step.parallel.cp)
    if tower is None or not present(tokens):
        return []
    ways = vision_ways(tower, step.parallel.tp)
    layers, hidden = tower.num_layers, tower.hidden
    patches = tokens * tower.patches_per_token
    qkv, o, up, down = layer_matrices(tower, ways)
    reduce_bytes = patches * (WIDE_BYTES * hidden)
    biases = sum(m.bias_elements for m in (qkv, o, up, down))
    embed = _matrix("patch_embed", hidden, max(1, tower.patch_parameters // hidden), False)
    project_n = max(1, tower.projector_parameters // step.model.hidden)
    project = _matrix("project", step.model.hidden, project_n, False)
    return [
        *gemm("vision.patch_embed", 1, patches, embed),
        *elementwise(
            "vision.norm",
            2 * layers,
            patches,
            4 * hidden,
            weights_bytes=WIDE_BYTES * (tower.norm_parameters + biases) // 2,
        ),
        *gemm("vision.qkv", layers, patches, qkv),
        _attention(tower, step, patches, ways),
        *gemm("vision.o", layers, patches, o),
        *collective("comm.vision_allreduce", 2 * layers, "all_reduce", reduce_bytes, ways),
        *gemm("vision.up", layers, patches, up),
        *elementwise("vision.act", layers, patches, up.n + down.k),
        *gemm("vision.down", layers, patches, down),
        *gemm("vision.project", 1, tokens, project),
    ]


def _attention(tower: VisionTower, step: Step, patches: Int, ways: int) -> AttentionPrefill:
    whole = low(step.batch.image_tokens * tower.patches_per_token, IMAGE_PATCHES)
    pairs = patches * whole
    heads = tower.num_heads // ways
    width = heads * tower.head_dim
    work = Work(
        flop=4 * width * pairs,
        activation_bytes=WIDE_BYTES * 4 * width * patches,
    )
    return AttentionPrefill(
        name="vision.attention",
        count=tower.num_layers,
        work=work,
        seqs=ceil_div(patches, IMAGE_PATCHES),
        new_tokens=patches,
        past_tokens=patches * 0,
        pairs=pairs,
        q_heads=heads,
        kv_heads=heads,
        head_dim=tower.head_dim,
        v_head_dim=tower.head_dim,
        q_dtype="bf16",
        kv_dtype="bf16",
        causal=False,
    )
