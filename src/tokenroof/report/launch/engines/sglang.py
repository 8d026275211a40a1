"""``python -m sglang.launch_server``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from tokenroof.report.launch.core import Command, DraftModel, Eagle, Mtp, Ngram, Speculation
from tokenroof.report.launch.engines.core import (
    Flags,
    Net,
    experts_problem,
    flag,
    mode,
    more_than_one,
    offload_share,
    optional,
    replaced,
)
from tokenroof.report.launch.task import Task

KV_DTYPES: Final = {"bf16": "auto", "fp16": "auto", "fp8": "fp8_e4m3", "nvfp4": "nvfp4", "mxfp8": "mxfp8"}
"""Format of the cache by the name SGLang gives it; "auto" is the 16 bits of the model."""

_GB: Final = 1e9


class Sglang:
    """SGLang; its tensor parallel size counts all chips of a stage, whatever attention does with them."""

    one_host: ClassVar[str] = ""

    def problem(self, task: Task) -> str:
        """Why SGLang cannot do this, or ""."""
        if task.precision.kv not in KV_DTYPES:
            return f"SGLang has no cache in {task.precision.kv}. Choose one of: {', '.join(KV_DTYPES)}."
        return experts_problem(task)

    def command(self, task: Task, net: Net) -> Command:
        """``sglang.launch_server`` on one host of a replica."""
        spread: Flags = ()
        if task.hosts > 1:
            spread = (
                *flag("--nnodes", task.hosts),
                *flag("--node-rank", net.rank),
                *flag("--dist-init-addr", f"{net.leader}:{net.peer_port}"),
            )
        return Command(
            tool="sglang",
            program=("python3", "-m", "sglang.launch_server"),
            flags=(
                *flag("--model-path", task.checkpoint),
                *flag("--host", "0.0.0.0"),
                *flag("--port", net.port),
                *self._shape(task, net.cache_port),
                *spread,
            ),
        )

    def dynamo(self, task: Task) -> Command:
        """``python3 -m dynamo.sglang``."""
        return Command(
            tool="dynamo-sglang",
            program=("python3", "-m", "dynamo.sglang"),
            flags=(
                *flag("--model-path", task.checkpoint),
                *(flag("--host", "0.0.0.0") if task.apart else ()),
                *self._shape(task, 30001),
            ),
        )

    def config(self, task: Task) -> Mapping[str, Any]:
        """None."""
        return {}

    def _shape(self, task: Task, cache_port: int) -> Flags:
        engine, parallel, settings = task.pool.engine, task.pool.parallel, task.settings
        apart: Flags = ()
        if task.apart:
            apart = (
                *flag("--disaggregation-mode", mode(task)),
                *flag("--disaggregation-transfer-backend", task.transport),
                *flag("--disaggregation-bootstrap-port", cache_port),
            )
        chunk = engine.max_num_batched_tokens * parallel.dp if engine.chunked_prefill else -1
        flags: Flags = (
            *flag("--served-model-name", task.served_name),
            *flag("--tp-size", parallel.stage_chips),
            *more_than_one("--pp-size", parallel.pp),
            *more_than_one("--attn-dp-size", parallel.dp),
            *more_than_one("--attn-cp-size", parallel.cp),
            *more_than_one("--ep-size", parallel.ep),
            # both limits are of all data parallel ranks of attention together
            *flag("--max-running-requests", engine.max_num_seqs * parallel.dp),
            *flag("--chunked-prefill-size", chunk),
            *optional("--context-length", task.max_context_tokens),
            *flag("--mem-fraction-static", engine.memory_fraction),
            *flag("--kv-cache-dtype", KV_DTYPES[task.precision.kv]),
            *(flag("--quantization", task.quantize) if task.quantize else ()),
            *(flag("--disable-radix-cache") if settings.prefix_caching is False else ()),
            *_offload(task),
            *_speculation(settings.speculation),
            *apart,
        )
        return replaced(flags, task)


def _offload(task: Task) -> Flags:
    """Host memory is given per chip, in whole gigabytes."""
    share_bytes = offload_share(task, task.pool.parallel.chips)
    if share_bytes is None:
        return ()
    return (*flag("--enable-hierarchical-cache"), *flag("--hicache-size", max(1, round(share_bytes / _GB))))


def _speculation(speculation: Speculation | None) -> Flags:
    if speculation is None:
        return ()
    # verified together: the drafts and the token that is certain
    verified = flag("--speculative-num-draft-tokens", speculation.draft_tokens + 1)
    if isinstance(speculation, Ngram):
        return (*flag("--speculative-algorithm", "NGRAM"), *verified)
    names = {Mtp: "NEXTN", Eagle: "EAGLE3", DraftModel: "STANDALONE"}
    model = None if isinstance(speculation, Mtp) else speculation.model
    return (
        *flag("--speculative-algorithm", names[type(speculation)]),
        *optional("--speculative-draft-model-path", model),
        *flag("--speculative-num-steps", speculation.draft_tokens),
        *flag("--speculative-eagle-topk", 1),
        *verified,
    )
