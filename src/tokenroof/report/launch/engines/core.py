"""What every engine has to know of a task, and how one process of a replica finds the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from tokenroof.deploy.core import Role
from tokenroof.report.launch.core import Command
from tokenroof.report.launch.task import Task

Flags = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """Addresses of one process; texts, since a cluster or a shell fills them in.

    Attributes
    ----------
    port : int
        Where clients are served.
    address : str
        Of this process, as others reach it.
    leader : str
        Address of the first process of the replica.
    rank : str
        Number of this process in its replica, from 0.
    peer_port : int
        Where the processes of a replica meet.
    cache_port : int
        Where caches are asked for.
    leads : bool
        Whether this is the first process of the replica, which alone talks to clients.
    """

    port: int
    address: str
    leader: str
    rank: str
    peer_port: int
    cache_port: int
    leads: bool


class EngineFlags(Protocol):
    """An engine's way of saying a task on its command line."""

    one_host: ClassVar[str]
    """Why a replica over several hosts cannot be launched without an operator; "" when it can."""

    def problem(self, task: Task) -> str:
        """Why the engine cannot do this, or ""."""
        ...

    def command(self, task: Task, net: Net) -> Command:
        """One process of a replica."""
        ...

    def dynamo(self, task: Task) -> Command:
        """The same under NVIDIA Dynamo, whose operator adds the addresses."""
        ...

    def config(self, task: Task) -> Mapping[str, Any]:
        """Content of the file that goes with the command; empty: none."""
        ...


def flag(name: str, value: object = None, *more: object) -> Flags:
    """One flag with its values; a switch without."""
    return ((name, () if value is None else tuple(str(each) for each in (value, *more))),)


def optional(name: str, value: object) -> Flags:
    """A flag that is left out when there is no value."""
    return () if value is None else flag(name, value)


def more_than_one(name: str, count: int) -> Flags:
    """A flag of a number of ways, left out when it is 1."""
    return flag(name, count) if count > 1 else ()


def user_flags(task: Task) -> Flags:
    """What the user adds."""
    return tuple((name, (value,) if value else ()) for name, value in task.settings.flags.items())


def replaced(flags: Flags, task: Task) -> Flags:
    """The flags, with those of the user in their place or at the end."""
    own = dict(user_flags(task))
    kept = tuple((name, own.pop(name, values)) for name, values in flags)
    return (*kept, *own.items())


def experts_problem(task: Task) -> str:
    """Why the experts cannot be spread so, whatever the engine, or ""."""
    parallel = task.pool.parallel
    if parallel.ep > 1 and not task.moe:
        return f"{task.served_name} has no experts to spread {parallel.ep} ways. Use ep=1."
    return ""


def mode(task: Task) -> str:
    """What the pool does, as engines name it: prefill or decode."""
    return "prefill" if task.pool.role is Role.PREFILL else "decode"


def offload_share(task: Task, ways: int) -> float | None:
    """Host memory for evicted cache of one of so many equal parts of a replica. [bytes]"""
    whole_bytes = task.settings.offload_bytes
    return None if whole_bytes is None else whole_bytes / ways
