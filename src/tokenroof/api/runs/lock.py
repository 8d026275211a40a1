"""One process at a time in a directory.

The lock is the kernel's (``flock`` through filelock, which has the same on Windows and lets go in forked
children): it ends with the process however that dies, so there is no stale lock that somebody has to judge
and remove. Who holds it stands in a file beside it; that file decides nothing, it is only for the message.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from tokenroof.api.runs.files import HOLDER, LOCK, write_whole
from tokenroof.errors import InputError

_PATIENCE_S = 0.5
"""For as long a look at the lock by ``runs list`` (:func:`held_by`) is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that runs in a directory.

    Attributes
    ----------
    pid : int
        Its number on its host; 0 where nobody wrote it down.
    host : str
        Name of the machine.
    since : str
        When it came, ISO 8601, UTC.
    """

    pid: int
    host: str
    since: str


def now() -> str:
    """The time of day as text: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Lock:
    """Held from the moment it is made until :meth:`release`, or the end of the process.

    Parameters
    ----------
    directory : Path
        Exists.

    Attributes
    ----------
    holder : Holder
        This process.
    before : Holder or None
        One that held the lock and died without letting go.

    Raises
    ------
    InputError
        Another process holds it; the message says which.
    OSError
        The directory cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self._holder_file = directory / HOLDER
        self._lock = FileLock(directory / LOCK, thread_local=False)
        try:
            self._lock.acquire(timeout=_PATIENCE_S)
        except Timeout:
            raise InputError(_refusal(directory, _read(self._holder_file))) from None
        self.before = _read(self._holder_file)
        self.holder = Holder(pid=os.getpid(), host=socket.gethostname(), since=now())
        try:
            write_whole(self._holder_file, json.dumps(asdict(self.holder)).encode() + b"\n")
        except OSError:
            self._lock.release()
            raise

    def release(self) -> None:
        """Let the next one in."""
        if self._lock.is_locked:
            self._holder_file.unlink(missing_ok=True)
            self._lock.release()


def held_by(directory: Path) -> Holder | None:
    """Who runs in a directory now; None when nobody does, or this process may not look."""
    if not (directory / LOCK).is_file():
        return None
    lock = FileLock(directory / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _read(directory / HOLDER) or Holder(pid=0, host="", since="")
    except OSError:
        return None
    lock.release()
    return None


def _read(path: Path) -> Holder | None:
    try:
        found = json.loads(path.read_bytes())
        return Holder(pid=int(found["pid"]), host=str(found["host"]), since=str(found["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refusal(directory: Path, holder: Holder | None) -> str:
    who = (
        f"process {holder.pid} on {holder.host} runs in it since {holder.since}"
        if holder is not None
        else "another process runs in it"
    )
    return f"{str(directory)!r} is taken: {who}. Wait until it has ended, stop it, or give another directory."
