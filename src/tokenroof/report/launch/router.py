"""What stands before the servers: one address for clients, prefill before decode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tokenroof.deploy.core import Role
from tokenroof.report.launch.core import Command
from tokenroof.report.launch.data import flag_list
from tokenroof.report.launch.engines.core import Flags, flag
from tokenroof.report.launch.task import Task

TRTLLM_FILE: Final = "disaggregated.yaml"
IMAGE: Final = "python:3.12-slim"
"""Where a router that is a Python package runs."""


def router(tasks: Sequence[Task], servers: Sequence[tuple[Task, str, int]], port: int) -> Command | None:
    """The router of an engine, or None when there is one server, or no router of colocated ones.

    Parameters
    ----------
    tasks : sequence of Task
        Pools, all of one engine.
    servers : sequence of (Task, str, int)
        Every server: its pool, its URL, and where it hands over caches.
    port : int
        For clients.
    """
    engine, apart = tasks[0].pool.engine.name, tasks[0].apart
    if len(servers) == 1 or (engine == "trtllm" and not apart):
        return None
    if engine == "trtllm":
        return Command(
            tool="trtllm-disaggregated",
            program=("trtllm-serve", "disaggregated"),
            flags=flag("-c", f"./{TRTLLM_FILE}"),
        )
    flags: Flags = (*flag("--host", "0.0.0.0"), *flag("--port", port))
    if not apart:
        flags = (*flags, *flag("--worker-urls", *(url for _, url, _ in servers)))
    for task, url, cache_port in servers:
        prefills = task.pool.role is Role.PREFILL
        if prefills:
            flags = (*flags, *flag("--prefill", url, *((cache_port,) if engine == "sglang" else ())))
        elif apart:
            flags = (*flags, *flag("--decode", url))
    if engine == "sglang":
        flags = (*(flag("--pd-disaggregation") if apart else ()), *flags)
        program = ("python3", "-m", "sglang_router.launch_router")
        return Command(tool="sglang-router", program=program, flags=flags)
    if apart:
        flags = (*flag("--vllm-pd-disaggregation"), *flag("--kv-connector", tasks[0].transport), *flags)
    return Command(tool="vllm-router", program=("vllm-router",), flags=flags)


def package(command: Command) -> str:
    """What pip installs for a router; "" when it is part of the engine."""
    if command.tool.startswith("trtllm"):
        return ""
    return f"{command.tool}=={flag_list(command.tool).version}"


def trtllm_disaggregated(servers: Sequence[tuple[Task, str, int]], port: int) -> dict[str, Any]:
    """The file of ``trtllm-serve disaggregated``."""

    def side(role: Role) -> dict[str, Any]:
        urls = [url.removeprefix("http://") for task, url, _ in servers if task.pool.role is role]
        return {"num_instances": len(urls), "urls": urls}

    return {
        "hostname": "0.0.0.0",
        "port": port,
        "backend": "pytorch",
        "context_servers": side(Role.PREFILL),
        "generation_servers": side(Role.DECODE),
    }
