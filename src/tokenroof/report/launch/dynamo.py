"""``dynamo.yaml``: NVIDIA Dynamo's DynamoGraphDeployment."""

from __future__ import annotations

from typing import Any, Final

from tokenroof.deploy.core import Role
from tokenroof.report.launch.data import flag_list
from tokenroof.report.launch.engines import ENGINES
from tokenroof.report.launch.pods import chips, environment, node_selector, several_chips
from tokenroof.report.launch.task import Task
from tokenroof.report.launch.text import yaml_text

NAME = "dynamo.yaml"
_IMAGES: Final = {"vllm": "vllm-runtime", "sglang": "sglang-runtime", "trtllm": "tensorrtllm-runtime"}
_TYPES: Final = {Role.BOTH: "worker", Role.PREFILL: "prefill", Role.DECODE: "decode"}


def problem(tasks: tuple[Task, ...]) -> str:
    """Why there is no such manifest, or ""."""
    for task in tasks:
        if not task.platform.dynamo:
            chip = task.pool.chip
            return f"Dynamo's images are for NVIDIA, the plan has {chip.name} of {chip.vendor}."
        if task.pool.engine.name == "trtllm" and task.pool.parallel.cp > 1:
            return "Dynamo has no context parallelism for TensorRT-LLM. Use cp=1."
    return ""


def dynamo(tasks: tuple[Task, ...], name: str, head: str) -> str:
    """The manifest."""
    engine = tasks[0].pool.engine.name
    version = flag_list("dynamo-frontend").version
    image = f"nvcr.io/nvidia/ai-dynamo/{_IMAGES[engine]}:{version}"
    frontend = {
        "name": "frontend",
        "type": "frontend",
        "replicas": 1,
        "podTemplate": {"spec": {"containers": [{"name": "main", "image": image}]}},
    }
    document = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": name},
        "spec": {
            "backendFramework": engine,
            "components": [frontend, *(_component(task, image, several_chips(tasks)) for task in tasks)],
        },
    }
    return yaml_text(document, head=head)


def _component(task: Task, image: str, several: bool) -> dict[str, Any]:
    command = ENGINES[task.pool.engine.name].dynamo(task)
    component: dict[str, Any] = {
        "name": task.name,
        "type": _TYPES[task.pool.role],
        "replicas": task.pool.replicas,
    }
    if task.hosts > 1:
        component["multinode"] = {"nodeCount": task.hosts}
    spec: dict[str, Any] = {
        "containers": [
            {
                "name": "main",
                "image": image,
                "command": list(command.program),
                "args": list(command.arguments),
                "env": environment(command),
                "resources": {"limits": chips(task)},
            }
        ]
    }
    selector = node_selector(task, several_chips=several)
    component["podTemplate"] = {"spec": {**spec, "nodeSelector": selector} if selector else spec}
    return component
