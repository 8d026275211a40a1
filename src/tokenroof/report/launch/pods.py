"""Pods of an engine, as every kind of Kubernetes object holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenroof.report.launch.core import Command
from tokenroof.report.launch.engines import ENGINES
from tokenroof.report.launch.task import Task

PORT = 8000
_POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
_TOKEN = {
    "name": "HF_TOKEN",
    "valueFrom": {"secretKeyRef": {"name": "hf-token", "key": "HF_TOKEN", "optional": True}},
}
_START_UP_TRIES = 360
"""Once in 10 s: an hour for loading, which a model of a terabyte may need."""

POD_ADDRESS = "$(POD_IP)"


def chips(task: Task) -> dict[str, str]:
    """The chips of one pod, as resources."""
    return {task.platform.resource: str(task.host_chips)}


def environment(command: Command) -> list[dict[str, Any]]:
    """Token, address of the pod where it is needed, and what the command sets."""
    uses = any(POD_ADDRESS in value for value in command.env.values())
    set_ = [{"name": name, "value": value} for name, value in command.env.items()]
    return [_TOKEN, *([_POD_IP] if uses else []), *set_]


def container(task: Task, command: Command, *, leads: bool) -> dict[str, Any]:
    """The engine's container."""
    found: dict[str, Any] = {
        "name": "engine",
        "image": task.image,
        "command": list(command.program),
        "args": list(command.arguments),
        "env": environment(command),
        "resources": {"limits": chips(task), "requests": chips(task)},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
    }
    if leads:
        check = {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 10}
        found["ports"] = [{"containerPort": PORT}]
        found["startupProbe"] = {**check, "failureThreshold": _START_UP_TRIES}
        found["readinessProbe"] = check
    if ENGINES[task.pool.engine.name].config(task):
        found["workingDir"] = "/launch"
        found["volumeMounts"].append({"name": "config", "mountPath": "/launch"})
    return found


def pod(
    task: Task, command: Command, *, leads: bool, labels: Mapping[str, str], config: str, several_chips: bool
) -> dict[str, Any]:
    """Template of a pod.

    Parameters
    ----------
    task, command : Task, Command
        What runs in it.
    leads : bool
        Whether clients or a router talk to it.
    labels : mapping of str to str
        Of the pod.
    config : str
        Name of the config map with the engine's file.
    several_chips : bool
        Whether the deployment has more than one kind of chips, so that pods have to find theirs.
    """
    volumes: list[dict[str, Any]] = [{"name": "shm", "emptyDir": {"medium": "Memory"}}]
    if ENGINES[task.pool.engine.name].config(task):
        volumes.append({"name": "config", "configMap": {"name": config}})
    spec: dict[str, Any] = {"containers": [container(task, command, leads=leads)], "volumes": volumes}
    selector = node_selector(task, several_chips=several_chips)
    if selector:
        spec["nodeSelector"] = selector
    return {"metadata": {"labels": dict(labels)}, "spec": spec}


def node_selector(task: Task, *, several_chips: bool) -> dict[str, str]:
    """Labels of the nodes that have the pool's chips."""
    if task.settings.node_selector:
        return dict(task.settings.node_selector)
    return {"tokenroof/chip": task.pool.chip.name} if several_chips else {}


def several_chips(tasks: tuple[Task, ...]) -> bool:
    """Whether pools have different chips."""
    return len({task.pool.chip.name for task in tasks}) > 1


def label_note(tasks: tuple[Task, ...]) -> str:
    """What to do so that pods find their chips; "" when there is nothing to do."""
    if not several_chips(tasks) or all(task.settings.node_selector for task in tasks):
        return ""
    labels = ", ".join(sorted({f"tokenroof/chip={task.pool.chip.name}" for task in tasks}))
    return f"label the nodes by their chips first (kubectl label node NODE ...): {labels}"
