"""Small kernels of attention over a compressed cache: norms, rotations, pooling, cache writes.

Beside its matrices and its attention kernel a layer launches

* the norm of the query latent, the norm and rotation of the queries, and the rotation back of the output;
* norm, rotation and cache write of the raw key-value vector, in one;
* per compressor (one for the cache, one more for the index keys of a selecting layer) two: new values and
  gates into the state of their group, which is read again to be summed; then norm, rotation and the write of
  the finished entries;
* with an indexer, rotation, Hadamard transform and quantisation of the index queries, in one.

Sources: SGLang ``models/deepseek_v4.py`` (``q_norm``, ``fused_q_norm_rope``,
``set_swa_key_buffer_radix_fused_norm_rope``, ``fused_rope_inplace`` with ``inverse``) and
``layers/attention/dsv4`` (``compress_forward``, ``compress_fused_norm_rope_inplace``, the fused store,
which is counted with the kernel before it, and ``fused_q_indexer_rope_hadamard_quant``); one list of them
is flashinfer-ai/flashinfer#3346. Engines run the compressors beside the query projections in small
batches; that they hide there is not assumed.
"""

from __future__ import annotations

from tokenroof.catalog.counting import index_bytes_per_token
from tokenroof.catalog.model import CompressedAttention
from tokenroof.graph.core import Elementwise, Int
from tokenroof.graph.ints import ceil_div, ceil_int, tensor_bytes
from tokenroof.graph.step import Step, elementwise

_FP32_ELEMENTS = 2
"""16-bit elements in an fp32 number: compressors multiply into fp32."""


def before_attention(layer: CompressedAttention, count: int, step: Step) -> list[Elementwise]:
    """Norms, rotations, pooling and cache writes of ``count`` layers, in order of execution."""
    heads = ceil_int(layer.num_heads, step.parallel.tp)
    ops = [
        *elementwise("attn.q_norm", count, step.tokens, 2 * layer.q_lora_rank),
        *elementwise("attn.q_rope", count, step.tokens, 2 * heads * layer.head_dim),
        *elementwise(
            "attn.rope_cache",
            count,
            step.tokens,
            layer.kv_dim,
            weights_bytes=step.small_bytes(layer),
            kv_bytes=tensor_bytes(step.precision.kv, step.tokens * layer.kv_dim),
        ),
    ]
    if layer.ratio:
        entries = ceil_div(step.tokens * layer.kv_dim, layer.ratio)
        ops += _pool("attn", layer, layer.kv_dim, count, step, tensor_bytes(step.precision.kv, entries))
    if layer.indexer is not None:
        index = layer.indexer
        ops += _pool("index", layer, index.head_dim, count, step, step.tokens * index_bytes_per_token(layer))
        width = index.num_heads * index.head_dim
        ops += elementwise("index.quantise", count, step.tokens, width + width // 2)
    return ops


def after_attention(layer: CompressedAttention, count: int, step: Step) -> list[Elementwise]:
    """The output's rotated part rotated back; nothing when a config states none."""
    heads = ceil_int(layer.num_heads, step.parallel.tp)
    if not layer.rope_dim:
        return []
    return elementwise("attn.unrotate", count, step.tokens, 2 * heads * layer.rope_dim)


def _pool(
    prefix: str, layer: CompressedAttention, dim: int, count: int, step: Step, written_bytes: Int
) -> list[Elementwise]:
    """A compressor: values and gates of ``dim`` (twice as many if groups overlap) to entries of ``dim``."""
    projected = 2 * dim * (2 if layer.overlap else 1)
    state = 2 * tensor_bytes(step.precision.state, step.tokens * projected)  # written now, read once filled
    finished = ceil_div(step.tokens, layer.ratio)
    return [
        *elementwise(f"{prefix}.pool", count, step.tokens, _FP32_ELEMENTS * projected, state_bytes=state),
        *elementwise(f"{prefix}.pool_cache", count, finished, 2 * dim, kv_bytes=written_bytes),
    ]
