"""The planned traffic as a file, and the commands that send it."""

from __future__ import annotations

import json
from typing import Final

from tokenroof.deploy.core import Role
from tokenroof.report.launch.core import Command
from tokenroof.report.launch.engines.core import Flags, flag
from tokenroof.report.launch.place import CLIENT_PORT
from tokenroof.report.launch.task import Task
from tokenroof.report.launch.text import shell_command
from tokenroof.workload.core import NOBODY, Requests, Slo

REQUESTS, VLLM, GUIDELLM = "requests.jsonl", "load-test-vllm.sh", "load-test-guidellm.sh"
_RESULTS: Final = {VLLM: "result-vllm.json", GUIDELLM: "result-guidellm.json"}
_BLOCK_TOKENS: Final = 512
"""Tokens of a block of the trace where nothing is shared; what Mooncake's traces have."""
_MS_PER_S: Final = 1000.0
_URL: Final = f"http://localhost:{CLIENT_PORT}"


def load_problem(requests: Requests) -> str:
    """Why no client can send these requests as planned, or ""."""
    if (requests.follows != NOBODY).any():
        return (
            "these are conversations, whose turns wait for answers; neither client sends those. "
            "Plan with the single requests of them, or test with a client of your own."
        )
    return ""


def block_tokens(requests: Requests) -> int:
    """Tokens that one identity of the trace stands for."""
    return _BLOCK_TOKENS if requests.prefixes is None else requests.prefixes.block_tokens


def trace(requests: Requests) -> str:
    """Requests as a Mooncake trace: what is shared keeps its identities, the rest gets new ones."""
    size, prefixes = block_tokens(requests), requests.prefixes
    fresh = 0 if prefixes is None or not prefixes.ids.size else int(prefixes.ids.max()) + 1
    lines = []
    for i in range(len(requests)):
        isl = int(requests.isl_tokens[i])
        blocks = -(-isl // size)
        shared: list[int] = []
        if prefixes is not None:
            shared = prefixes.ids[prefixes.start[i] : prefixes.start[i + 1]][:blocks].tolist()
        own = range(fresh, fresh + blocks - len(shared))
        fresh = own.stop
        row = {
            "timestamp": round(float(requests.arrival_s[i]) * _MS_PER_S, 3),
            "input_length": isl,
            "output_length": int(requests.osl_tokens[i]),
            "hash_ids": [*shared, *own],
        }
        lines.append(json.dumps(row) + "\n")
    return "".join(lines)


def vllm_bench(tasks: tuple[Task, ...], requests: Requests) -> Command:
    """``vllm bench serve``, whose result says itself what was served."""
    timing: Flags = ()
    if requests.concurrency is not None:
        timing = (*flag("--no-self-timed"), *flag("--max-concurrency", requests.concurrency))
    return Command(
        tool="vllm-bench",
        program=("vllm", "bench", "serve"),
        flags=(
            *flag("--backend", "vllm"),
            *flag("--base-url", _URL),
            *flag("--model", tasks[0].served_name),
            *flag("--tokenizer", tasks[0].checkpoint),
            *flag("--dataset-name", "timed_trace"),
            *flag("--dataset-path", REQUESTS),
            *flag("--timed-trace-chunk-hash-size", block_tokens(requests)),
            *flag("--timed-trace-sec-multiplier", 1.0 / _MS_PER_S),
            *flag("--num-prompts", len(requests)),
            *timing,
            *flag("--ignore-eos"),
            *_goodput(requests),
            *flag("--percentile-metrics", "ttft,tpot,itl,e2el"),
            *flag("--metric-percentiles", "50,90,95,99"),
            *flag("--save-result"),
            *flag("--save-detailed"),
            *flag("--result-filename", _RESULTS[VLLM]),
            *flag("--metadata", *(f"{name}={value}" for name, value in columns(tasks).items())),
        ),
    )


def guidellm_run(tasks: tuple[Task, ...], requests: Requests) -> Command:
    """``guidellm run``."""
    profile = "kind=replay,schedule_turn=timestamp"
    if requests.concurrency is not None:
        profile = f"kind=concurrent,streams={requests.concurrency}"
    data = (
        f"kind=mooncake,source.kind=json_file,source.path={REQUESTS},"
        f"hash_id_block_size={block_tokens(requests)},time_scale={1.0 / _MS_PER_S}"
    )
    backend = f"kind=openai_http,target={_URL},model={tasks[0].served_name},request_format=/v1/completions"
    return Command(
        tool="guidellm",
        program=("guidellm", "run"),
        flags=(
            *flag("--backend", backend),
            *flag("--profile", profile),
            *flag("--data", data),
            *flag("--tokenizer", f"kind=huggingface_auto,model={tasks[0].checkpoint}"),
            *flag("--constraint", f"kind=max_requests,count={len(requests)}"),
            *flag("--output", f"kind=json,path={_RESULTS[GUIDELLM]}"),
        ),
    )


def columns(tasks: tuple[Task, ...]) -> dict[str, str]:
    """What ``tokenroof validate`` has to know of the servers, by its columns."""
    first, precision = tasks[0], tasks[0].precision
    found = {
        "hardware": first.pool.chip.name,
        "num_gpus": str(sum(task.pool.parallel.chips * task.pool.replicas for task in tasks)),
        "framework": first.pool.engine.name,
        "weight_precision": precision.weights,
        "kv_precision": precision.kv,
    }
    if not first.apart:
        parallel = first.pool.parallel
        found |= {"tp": str(parallel.stage_chips), "pp": str(parallel.pp), "ep": str(parallel.ep)}
        found |= {"dp_attention": str(parallel.dp > 1).lower()}
        found |= {"max_num_seqs": str(first.pool.engine.max_num_seqs)}
        return found | {"max_batched_tokens": str(first.pool.engine.max_num_batched_tokens)}
    found["disagg"] = "true"
    for role, name in ((Role.PREFILL, "prefill"), (Role.DECODE, "decode")):
        pools = [task.pool for task in tasks if task.pool.role is role]
        parallel = pools[0].parallel
        workers = sum(pool.replicas for pool in pools)
        found |= {
            f"{name}_gpus": str(sum(pool.parallel.chips * pool.replicas for pool in pools)),
            f"{name}_workers": str(workers),
            f"{name}_tp": str(parallel.stage_chips),
            f"{name}_ep": str(parallel.ep),
            f"{name}_dp_attention": str(parallel.dp > 1).lower(),
        }
    return found


def load_note(name: str, tasks: tuple[Task, ...], model: str) -> str:
    """How ``tokenroof validate`` reads the result."""
    chips = {task.pool.chip.name for task in tasks}
    said = {"model": model} if name == VLLM else {"model": model, **columns(tasks)}
    given = " ".join(f"--set {column}={value}" for column, value in said.items())
    line = f"then: tokenroof validate --data {_RESULTS[name]} {given}"
    if len(chips) > 1:
        line += f" (a row names one chip; {' and '.join(sorted(chips))} serve here: not comparable yet)"
    return line


def load_script(command: Command, head: str) -> str:
    """A shell script of one command."""
    comment = "".join(f"# {line}\n" for line in head.splitlines())
    return f"#!/bin/sh\n{comment}set -eu\n{shell_command(command)}\n"


def _goodput(requests: Requests) -> Flags:
    """The limits of the only class of requests, in milliseconds."""
    slo = requests.classes[0].slo if len(requests.classes) == 1 else Slo()
    limits = (("ttft", slo.ttft_s), ("tpot", slo.tpot_s), ("e2el", slo.e2e_s))
    words = [f"{name}:{limit_s * _MS_PER_S:g}" for name, limit_s in limits if limit_s is not None]
    return flag("--goodput", *words) if words else ()
