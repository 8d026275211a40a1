"""``llm-inference-service.yaml``: KServe's LLMInferenceService, which runs vLLM behind llm-d's scheduler."""

from __future__ import annotations

from typing import Any

from tokenroof.deploy.core import Role
from tokenroof.report.launch.core import Command
from tokenroof.report.launch.engines import ENGINES
from tokenroof.report.launch.engines.core import Net
from tokenroof.report.launch.pods import POD_ADDRESS, PORT, chips, environment, node_selector, several_chips
from tokenroof.report.launch.task import Task
from tokenroof.report.launch.text import shell_words, yaml_text

NAME = "llm-inference-service.yaml"
_OWN = frozenset(
    ("--host", "--port", "--served-model-name", "--nnodes", "--node-rank", "--master-addr", "--master-port")
)
"""Flags that KServe sets itself."""
_SHARDING = frozenset(("--tensor-parallel-size", "--data-parallel-size", "--enable-expert-parallel"))
"""Flags that it sets from ``parallelism`` where a replica spans hosts."""


def problem(tasks: tuple[Task, ...]) -> str:
    """Why there is no such manifest, or ""."""
    engine = tasks[0].pool.engine.name
    if engine != "vllm":
        return f"KServe's LLMInferenceService and llm-d run vLLM, the plan has {engine}. Use kubernetes.yaml."
    roles = [task.pool.role for task in tasks]
    if len(set(roles)) != len(roles):
        return f"it has one pool of each kind, the plan has {len(roles)} pools. Use kubernetes.yaml."
    for task in tasks:
        parallel = task.pool.parallel
        if task.hosts > 1 and (parallel.dp % task.hosts or parallel.pp > 1 or parallel.cp > 1):
            return (
                f"it spreads a replica over hosts by data parallelism, the plan has tp={parallel.tp} "
                f"pp={parallel.pp} dp={parallel.dp} over {task.hosts} hosts. Use kubernetes.yaml."
            )
    return ""


def llm_inference_service(tasks: tuple[Task, ...], name: str, head: str) -> str:
    """The manifest."""
    several = several_chips(tasks)
    by_role = {task.pool.role: task for task in tasks}
    main = by_role.get(Role.BOTH) or by_role[Role.DECODE]
    spec: dict[str, Any] = {
        "model": {"uri": f"hf://{main.checkpoint}", "name": main.served_name},
        **_workload(main, several=several),
        "router": {"scheduler": {}, "route": {}, "gateway": {}},
    }
    if Role.PREFILL in by_role:
        spec["prefill"] = _workload(by_role[Role.PREFILL], several=several)
    document = {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": {"name": name},
        "spec": spec,
    }
    return yaml_text(document, head=head)


def _workload(task: Task, *, several: bool) -> dict[str, Any]:
    parallel = task.pool.parallel
    workload: dict[str, Any] = {"replicas": task.pool.replicas}
    if task.hosts > 1:
        workload["parallelism"] = {
            "tensor": parallel.tp,
            "data": parallel.dp,
            "dataLocal": parallel.dp // task.hosts,
            "expert": parallel.ep > 1,
        }
        workload["worker"] = _pod(task, several=several)
    workload["template"] = _pod(task, several=several)
    return workload


def _pod(task: Task, *, several: bool) -> dict[str, Any]:
    net = Net(port=PORT, address=POD_ADDRESS, leader="", rank="", peer_port=0, cache_port=20000, leads=True)
    command = ENGINES["vllm"].command(task, net)
    env = [
        *environment(command),
        {"name": "VLLM_ADDITIONAL_ARGS", "value": shell_words(additional(task, command))},
    ]
    found: dict[str, Any] = {
        "containers": [
            {
                "name": "main",
                "image": task.image,
                "env": env,
                "resources": {"limits": chips(task), "requests": chips(task)},
            }
        ]
    }
    selector = node_selector(task, several_chips=several)
    return {"nodeSelector": selector, **found} if selector else found


def additional(task: Task, command: Command) -> tuple[str, ...]:
    """Flags that KServe does not set itself."""
    left = _OWN | (_SHARDING if task.hosts > 1 else frozenset())
    return tuple(word for flag, values in command.flags if flag not in left for word in (flag, *values))
