"""Which process of which replica runs on which host with which chips, for files that name hosts."""

from __future__ import annotations

from dataclasses import dataclass

from tokenroof.report.launch.core import Command
from tokenroof.report.launch.engines import ENGINES
from tokenroof.report.launch.engines.core import Net
from tokenroof.report.launch.task import Task

CLIENT_PORT = 8000
"""Where clients are served: the router, or the only server."""

_FIRST_PORT, _FIRST_PEER_PORT, _FIRST_CACHE_PORT = 8001, 29500, 20000
_PORTS_PER_PROCESS = 32
"""Every data parallel rank takes one from the first on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of a replica on one host.

    Attributes
    ----------
    name : str
        "prefill-1", "serve-0-host-1".
    task : Task
        What it serves.
    host : int
        Number of the host, from 0.
    chips : tuple of int
        Chips of that host, by number.
    port, cache_port : int
        Where it is asked, when it leads, and where it hands over caches.
    leads : bool
        Whether it is the first of its replica.
    command : Command
        How it is started.
    """

    name: str
    task: Task
    host: int
    chips: tuple[int, ...]
    port: int
    cache_port: int
    leads: bool
    command: Command

    @property
    def url(self) -> str:
        """Address for the router."""
        return f"http://{address(self.host)}:{self.port}"


def address(host: int) -> str:
    """The variable that holds the address of a host."""
    return f"${{HOST_{host}}}"


def processes_of(tasks: tuple[Task, ...]) -> tuple[Process, ...]:
    """Every process, replica by replica; a host has chips of one pool's kind alone."""
    free: list[tuple[str, int, int]] = []  # chip, next free chip, size; one per host
    found: list[Process] = []
    alone = len(tasks) == 1 and tasks[0].pool.replicas == 1
    for task in tasks:
        for replica in range(task.pool.replicas):
            hosts = [_room(free, task) for _ in range(task.hosts)]
            number = len({each.name.split("-host-")[0] for each in found})
            port = CLIENT_PORT if alone else _FIRST_PORT + number
            for rank, (host, first) in enumerate(hosts):
                net = Net(
                    port=port,
                    address=address(host),
                    leader=address(hosts[0][0]),
                    rank=str(rank),
                    peer_port=_FIRST_PEER_PORT + _PORTS_PER_PROCESS * number,
                    cache_port=_FIRST_CACHE_PORT + _PORTS_PER_PROCESS * number,
                    leads=rank == 0,
                )
                suffix = f"-host-{rank}" if task.hosts > 1 else ""
                found.append(
                    Process(
                        name=f"{task.name}-replica-{replica}{suffix}",
                        task=task,
                        host=host,
                        chips=tuple(range(first, first + task.host_chips)),
                        port=port,
                        cache_port=net.cache_port,
                        leads=rank == 0,
                        command=ENGINES[task.pool.engine.name].command(task, net),
                    )
                )
    return tuple(found)


def _room(free: list[tuple[str, int, int]], task: Task) -> tuple[int, int]:
    """First host with enough free chips, and its first free one."""
    chip = task.pool.chip.name
    for host, (kind, used, size) in enumerate(free):
        if kind == chip and used + task.host_chips <= size:
            free[host] = (kind, used + task.host_chips, size)
            return host, used
    free.append((chip, task.host_chips, task.host_size))
    return len(free) - 1, 0


def host_count(processes: tuple[Process, ...]) -> int:
    """Hosts in use."""
    return 1 + max(process.host for process in processes)
