"""``compose.yaml``: Docker Compose, one profile per host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenroof.report.launch.core import Command
from tokenroof.report.launch.engines import ENGINES
from tokenroof.report.launch.place import Process, host_count
from tokenroof.report.launch.router import IMAGE, TRTLLM_FILE, package
from tokenroof.report.launch.text import shell_words, yaml_text

NAME = "compose.yaml"
_CACHE = "${HF_HOME:-~/.cache/huggingface}:/root/.cache/huggingface"


def compose(
    processes: Sequence[Process], router: Command | None, routed: Mapping[str, Any], head: str
) -> str:
    """A Compose file; every service uses the network of its host.

    Parameters
    ----------
    processes : sequence of Process
        One service each.
    router : Command or None
        On the first host.
    routed : mapping
        The router's file; empty: none.
    head : str
        Comment.
    """
    several = host_count(tuple(processes)) > 1
    services = {process.name: _service(process, several) for process in processes}
    configs = {
        f"{task.name}.trtllm.yaml": ENGINES[task.pool.engine.name].config(task)
        for task in {process.task.name: process.task for process in processes}.values()
    } | {TRTLLM_FILE: routed}
    if router is not None:
        services["router"] = _router(router, processes[0].task.image, several)
    content = {
        name: {"content": _addressed(yaml_text(value), several)} for name, value in configs.items() if value
    }
    document: dict[str, Any] = {"services": services}
    if content:
        document["configs"] = content
    return yaml_text(document, head=head)


def _service(process: Process, several: bool) -> dict[str, Any]:
    task, command = process.task, process.command
    env = {"HF_TOKEN": "${HF_TOKEN:-}", **command.env}
    service: dict[str, Any] = {"image": task.image, "network_mode": "host", "ipc": "host"}
    if several:
        service["profiles"] = [f"host-{process.host}"]
    service["entrypoint"] = list(command.program)
    service["command"] = list(command.arguments)
    numbers = [str(chip) for chip in process.chips]
    if task.pool.chip.vendor == "NVIDIA":
        device = {"driver": "nvidia", "device_ids": numbers, "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    else:
        env[task.platform.visible] = ",".join(numbers)
        service |= task.platform.compose
    service["environment"] = env
    service["volumes"] = [_CACHE]
    if ENGINES[task.pool.engine.name].config(task):
        service["working_dir"] = "/launch"
        service["configs"] = [_mounted(f"{task.name}.trtllm.yaml")]
    return {key: _addressed(value, several) for key, value in service.items()}


def _router(router: Command, image: str, several: bool) -> dict[str, Any]:
    service: dict[str, Any] = {"network_mode": "host"}
    if several:
        service["profiles"] = ["host-0"]
    if not package(router):
        service |= {"image": image, "entrypoint": list(router.program), "command": list(router.arguments)}
        service |= {"working_dir": "/launch", "configs": [_mounted(TRTLLM_FILE)]}
    else:
        started = shell_words((*router.program, *router.arguments))
        line = f"pip install {package(router)} && exec {started}"
        service |= {"image": IMAGE, "entrypoint": ["/bin/sh", "-c"], "command": [line]}
    return {key: _addressed(value, several) for key, value in service.items()}


def _mounted(name: str) -> dict[str, str]:
    return {"source": name, "target": f"/launch/{name}"}


def _addressed(value: Any, several: bool) -> Any:
    """Variables of hosts with what Compose does when they are not set."""
    if isinstance(value, str):
        missing = ":?address of a host" if several else ":-127.0.0.1"
        parts = value.split("${HOST_")
        return parts[0] + "".join("${HOST_" + part.replace("}", missing + "}", 1) for part in parts[1:])
    if isinstance(value, list):
        return [_addressed(each, several) for each in value]
    if isinstance(value, dict):
        return {key: _addressed(each, several) for key, each in value.items()}
    return value
