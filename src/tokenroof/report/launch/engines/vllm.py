"""``vllm serve``."""

from __future__ import annotations

import json
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

KV_DTYPES: Final = {"bf16": "auto", "fp16": "auto", "fp8": "fp8", "nvfp4": "nvfp4"}
"""Format of the cache by the name vLLM gives it; "auto" is the 16 bits of the model."""

_GIB: Final = 1 << 30


class Vllm:
    """vLLM; its caches move by the NIXL connector."""

    one_host: ClassVar[str] = ""

    def problem(self, task: Task) -> str:
        """Why vLLM cannot do this, or ""."""
        parallel = task.pool.parallel
        if parallel.ep not in (1, parallel.stage_chips):
            return (
                f"vLLM spreads experts over all {parallel.stage_chips} chips of a stage or over none, "
                f"the plan has ep={parallel.ep}. Use ep=1 or ep={parallel.stage_chips}."
            )
        if task.precision.kv not in KV_DTYPES:
            return f"vLLM has no cache in {task.precision.kv}. Choose one of: {', '.join(KV_DTYPES)}."
        if task.apart and parallel.pp > 1:
            return f"vLLM hands over caches of no pipeline stages, the plan has pp={parallel.pp}. Use pp=1."
        return experts_problem(task)

    def command(self, task: Task, net: Net) -> Command:
        """``vllm serve`` on one host of a replica."""
        spread: Flags = ()
        if task.hosts > 1:
            spread = (
                *flag("--nnodes", task.hosts),
                *flag("--node-rank", net.rank),
                *flag("--master-addr", net.leader),
                *flag("--master-port", net.peer_port),
                *(() if net.leads else flag("--headless")),
            )
        env = {"VLLM_HOST_IP": net.address} if task.hosts > 1 else {}
        if task.apart:
            env |= {
                "VLLM_NIXL_SIDE_CHANNEL_HOST": net.address,
                "VLLM_NIXL_SIDE_CHANNEL_PORT": str(net.cache_port),
            }
        return Command(
            tool="vllm",
            program=("vllm", "serve"),
            positional=(task.checkpoint,),
            flags=(
                *flag("--host", "0.0.0.0"),
                *flag("--port", net.port),
                *self._shape(task),
                *spread,
            ),
            env=env,
        )

    def dynamo(self, task: Task) -> Command:
        """``python3 -m dynamo.vllm``."""
        return Command(
            tool="dynamo-vllm",
            program=("python3", "-m", "dynamo.vllm"),
            flags=(
                *flag("--model", task.checkpoint),
                *self._shape(task),
                *(flag("--disaggregation-mode", mode(task)) if task.apart else ()),
            ),
        )

    def config(self, task: Task) -> Mapping[str, Any]:
        """None."""
        return {}

    def _shape(self, task: Task) -> Flags:
        engine, parallel, settings = task.pool.engine, task.pool.parallel, task.settings
        caching = {True: "--enable-prefix-caching", False: "--no-enable-prefix-caching"}
        flags: Flags = (
            *flag("--served-model-name", task.served_name),
            *flag("--tensor-parallel-size", parallel.tp),
            *more_than_one("--pipeline-parallel-size", parallel.pp),
            *more_than_one("--data-parallel-size", parallel.dp),
            *more_than_one("--prefill-context-parallel-size", parallel.cp),
            *(flag("--enable-expert-parallel") if parallel.ep > 1 else ()),
            *flag("--max-num-seqs", engine.max_num_seqs),
            *flag("--max-num-batched-tokens", engine.max_num_batched_tokens),
            *(() if engine.chunked_prefill else flag("--no-enable-chunked-prefill")),
            *optional("--max-model-len", task.max_context_tokens),
            *flag("--gpu-memory-utilization", engine.memory_fraction),
            *flag("--kv-cache-dtype", KV_DTYPES[task.precision.kv]),
            *(flag("--quantization", task.quantize) if task.quantize else ()),
            *(() if settings.prefix_caching is None else flag(caching[settings.prefix_caching])),
            *_speculation(settings.speculation),
            *_caches(task),
        )
        return replaced(flags, task)


def _speculation(speculation: Speculation | None) -> Flags:
    if speculation is None:
        return ()
    config: dict[str, object] = {"num_speculative_tokens": speculation.draft_tokens}
    match speculation:
        case Mtp():
            config |= {"method": "mtp"}
        case Eagle():
            config |= {"method": "eagle3", "model": speculation.model}
        case DraftModel():
            config |= {"method": "draft_model", "model": speculation.model}
        case Ngram():
            config |= {"method": "ngram"}
    return flag("--speculative-config", json.dumps(config, sort_keys=True))


def _caches(task: Task) -> Flags:
    """Where caches go: to the other pool, to the host, or both."""
    # the connector sees by the request whether it gives or takes
    hand_off = {"kv_connector": "NixlConnector", "kv_role": "kv_both"}
    offload_bytes = offload_share(task, task.pool.parallel.dp)
    if not task.apart:
        size_gib = None if offload_bytes is None else f"{offload_bytes / _GIB:.3f}"
        return optional("--kv-offloading-size", size_gib)
    if offload_bytes is None:
        return flag("--kv-transfer-config", json.dumps(hand_off))
    # --kv-offloading-size would replace the connector that hands caches over
    keep = {
        "kv_connector": "OffloadingConnector",
        "kv_role": "kv_both",
        "kv_connector_extra_config": {"cpu_bytes_to_use": int(offload_bytes)},
    }
    both = {
        "kv_connector": "MultiConnector",
        "kv_role": "kv_both",
        "kv_connector_extra_config": {"connectors": [hand_off, keep]},
    }
    return flag("--kv-transfer-config", json.dumps(both))
