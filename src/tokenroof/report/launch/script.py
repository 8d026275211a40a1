"""``launch.sh``: the commands, host by host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tokenroof.report.launch.core import Command
from tokenroof.report.launch.place import CLIENT_PORT, Process, address, host_count
from tokenroof.report.launch.router import TRTLLM_FILE, package
from tokenroof.report.launch.text import shell_command, yaml_text

NAME = "launch.sh"


def script(processes: Sequence[Process], router: Command | None, routed: Mapping[str, Any], head: str) -> str:
    """A POSIX shell script that starts what belongs to one host and waits for it.

    Parameters
    ----------
    processes : sequence of Process
        What is started.
    router : Command or None
        On the first host.
    routed : mapping
        The router's file, which the script writes with the addresses of the hosts; empty: none.
    head : str
        Comment.
    """
    hosts = host_count(tuple(processes))
    lines = ["#!/bin/sh", *(f"# {line}" for line in head.splitlines()), "set -eu", ""]
    if hosts > 1:
        lines += [f"# Addresses: {' '.join(f'HOST_{host}=...' for host in range(hosts))}"]
        lines += [f'export HOST_{host}="${{HOST_{host}:?address of host {host}}}"' for host in range(hosts)]
        lines += ['case "${1:?number of this host, from 0}" in']
    else:
        lines += ['export HOST_0="${HOST_0:-127.0.0.1}"']
    for host in range(hosts):
        lines += [f"{host})"] if hosts > 1 else []
        for process in processes:
            if process.host == host:
                lines += ["", f"# {process.name}: {len(process.chips)} x {process.task.pool.chip.name}"]
                lines += [shell_command(_seen(process)) + " &"]
        if host == 0 and router is not None:
            lines += ["", f"# clients: http://{address(0)}:{CLIENT_PORT}"]
            lines += [f"pip install {package(router)}"] if package(router) else []
            lines += [f"cat > {TRTLLM_FILE} <<END", yaml_text(routed) + "END"] if routed else []
            lines += [shell_command(router) + " &"]
        lines += [";;"] if hosts > 1 else []
    lines += ["esac"] if hosts > 1 else []
    return "\n".join([*lines, "", "wait", ""])


def _seen(process: Process) -> Command:
    """The command, on its chips alone."""
    chips = ",".join(str(chip) for chip in process.chips)
    return replace(process.command, env={process.task.platform.visible: chips, **process.command.env})
