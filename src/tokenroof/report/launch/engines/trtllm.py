"""``trtllm-serve`` with its YAML file of LLM API options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from tokenroof.deploy.core import Role
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
"""Format of the cache by the name TensorRT-LLM gives it; "auto" is the 16 bits of the model."""


class Trtllm:
    """TensorRT-LLM, PyTorch backend; attention is tensor or data parallel, never both."""

    one_host: ClassVar[str] = (
        "TensorRT-LLM starts the processes of several hosts by MPI (trtllm-llmapi-launch under Slurm), which "
        "this file cannot. Use dynamo.yaml, whose operator does, or a sharding over one host"
    )

    def problem(self, task: Task) -> str:
        """Why TensorRT-LLM cannot do this, or ""."""
        parallel = task.pool.parallel
        if parallel.dp > 1 and parallel.tp > 1:
            return (
                "TensorRT-LLM runs attention tensor parallel or data parallel, the plan has "
                f"tp={parallel.tp} dp={parallel.dp}. Use tp=1 or dp=1."
            )
        if task.precision.kv not in KV_DTYPES:
            return f"TensorRT-LLM has no cache in {task.precision.kv}. Choose one of: {', '.join(KV_DTYPES)}."
        return experts_problem(task)

    def command(self, task: Task, net: Net) -> Command:
        """``trtllm-serve``."""
        engine, parallel = task.pool.engine, task.pool.parallel
        flags: Flags = (
            *flag("--host", "0.0.0.0"),
            *flag("--port", net.port),
            *flag("--backend", "pytorch"),
            *flag("--tp_size", parallel.tp * parallel.dp),
            *more_than_one("--pp_size", parallel.pp),
            *more_than_one("--cp_size", parallel.cp),
            *more_than_one("--ep_size", parallel.ep),
            *flag("--max_batch_size", engine.max_num_seqs),
            *flag("--max_num_tokens", engine.max_num_batched_tokens),
            *optional("--max_seq_len", task.max_context_tokens),
            *flag("--kv_cache_free_gpu_memory_fraction", engine.memory_fraction),
            *flag("--extra_llm_api_options", f"./{task.name}.trtllm.yaml"),
        )
        return Command(
            tool="trtllm",
            program=("trtllm-serve",),
            positional=(task.checkpoint,),
            flags=replaced(flags, task),
        )

    def dynamo(self, task: Task) -> Command:
        """``python3 -m dynamo.trtllm``."""
        engine, parallel = task.pool.engine, task.pool.parallel
        flags: Flags = (
            *flag("--model", task.checkpoint),
            *flag("--served-model-name", task.served_name),
            *flag("--tensor-parallel-size", parallel.tp * parallel.dp),
            *more_than_one("--pipeline-parallel-size", parallel.pp),
            *more_than_one("--expert-parallel-size", parallel.ep),
            *(flag("--enable-attention-dp") if parallel.dp > 1 else ()),
            *flag("--max-batch-size", engine.max_num_seqs),
            *flag("--max-num-tokens", engine.max_num_batched_tokens),
            *optional("--max-seq-len", task.max_context_tokens),
            *flag("--free-gpu-memory-fraction", engine.memory_fraction),
            *(flag("--disaggregation-mode", mode(task)) if task.apart else ()),
            *flag("--override-engine-args", json.dumps(self.config(task))),
        )
        return Command(tool="dynamo-trtllm", program=("python3", "-m", "dynamo.trtllm"), flags=flags)

    def config(self, task: Task) -> Mapping[str, Any]:
        """Options of the LLM API that have no flag."""
        engine, parallel, settings = task.pool.engine, task.pool.parallel, task.settings
        cache: dict[str, Any] = {"dtype": KV_DTYPES[task.precision.kv]}
        if settings.prefix_caching is not None:
            cache["enable_block_reuse"] = settings.prefix_caching
        share_bytes = offload_share(task, parallel.chips)
        if share_bytes is not None:
            cache["host_cache_size"] = int(share_bytes)
        config: dict[str, Any] = {
            "kv_cache_config": cache,
            "enable_chunked_prefill": engine.chunked_prefill,
            "enable_attention_dp": parallel.dp > 1,
        }
        if task.apart:
            config["cache_transceiver_config"] = {"backend": "NIXL"}
            if task.max_context_tokens is not None:
                config["cache_transceiver_config"]["max_tokens_in_buffer"] = task.max_context_tokens
        if task.pool.role is Role.PREFILL:
            # not supported on servers that only prefill
            config["disable_overlap_scheduler"] = True
        if settings.speculation is not None:
            config["speculative_config"] = _speculation(settings.speculation)
        return config


def _speculation(speculation: Speculation) -> dict[str, Any]:
    count = speculation.draft_tokens
    match speculation:
        case Mtp():
            return {"decoding_type": "MTP", "num_nextn_predict_layers": count}
        case Eagle():
            return {
                "decoding_type": "Eagle3",
                "max_draft_len": count,
                "speculative_model": speculation.model,
            }
        case DraftModel():
            return {
                "decoding_type": "DraftTarget",
                "max_draft_len": count,
                "speculative_model": speculation.model,
            }
        case Ngram():
            return {"decoding_type": "NGram", "max_draft_len": count}
