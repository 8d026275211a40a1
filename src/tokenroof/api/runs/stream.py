"""Records appended to a file one by one; after a kill at any instant all whole ones are there.

A line is a checksum and JSON: ``2c9f03d1 {"key": ...}``. A process that dies while it writes leaves at most
a beginning of the last line, which is recognised and dropped. A bad line with good ones after it is something
else - a file that was edited, a failing disk - and is refused.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenroof.api.runs.files import sync_directory
from tokenroof.errors import InputError

_HEAD = 9
"""Characters before the JSON: eight of the checksum and a blank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """What stands in a stream.

    Attributes
    ----------
    values : tuple
        Every whole line, as plain values.
    whole_bytes : int
        Where the last whole line ends.
    tail_bytes : int
        After it: a line that was not finished.
    """

    values: tuple[Any, ...]
    whole_bytes: int
    tail_bytes: int


def encode(value: Any) -> bytes:
    """A line.

    Raises
    ------
    TypeError
        The value is no JSON, or would come back as another: a key that is no text.
    """
    _check_keys(value)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode(line: bytes) -> Any:
    """The value of a line without its end.

    Raises
    ------
    ValueError
        It is not whole.
    """
    text = line[_HEAD:]
    if len(line) <= _HEAD or line[:_HEAD] != b"%08x " % zlib.crc32(text):
        raise ValueError("checksum")
    return json.loads(text)


def read_lines(path: Path) -> Lines:
    """Every whole line of a stream, nothing of a file that is not there.

    Raises
    ------
    InputError
        A line before the last is damaged, or the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Lines(values=(), whole_bytes=0, tail_bytes=0)
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}. Look at its permissions.") from None
    values: list[Any] = []
    start = bad = 0
    while (end := content.find(b"\n", start)) >= 0:
        try:
            values.append(decode(content[start:end]))
        except ValueError:
            bad = len(values) + 1
            break
        start = end + 1
    if bad and _good_line_after(content[start:]):
        raise InputError(
            f"{path}: line {bad} is damaged, and whole ones come after it: this is not what an interruption "
            "leaves. Take the line out to have it computed again, or begin in another directory."
        )
    return Lines(values=tuple(values), whole_bytes=start, tail_bytes=len(content) - start)


def _good_line_after(rest: bytes) -> bool:
    for line in rest.split(b"\n")[1:]:
        try:
            decode(line)
        except ValueError:
            continue
        return True
    return False


def _check_keys(value: Any) -> None:
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str):
                raise TypeError(f"keys of a record are text, got {key!r}")
            _check_keys(each)
    elif isinstance(value, list | tuple):
        for each in value:
            _check_keys(each)


class Stream:
    """A file that lines are appended to. One process at a time: the caller holds the lock.

    Parameters
    ----------
    path : Path
        Made if it is not there; a line that was not finished is cut off.

    Attributes
    ----------
    found : Lines
        What stood in it.

    Raises
    ------
    InputError
        As :func:`read_lines`.
    OSError
        It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.found = read_lines(path)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
        self._end = self.found.whole_bytes
        if self.found.tail_bytes:
            os.ftruncate(self._file, self._end)
        sync_directory(path.parent)

    def append(self, line: bytes) -> None:
        """Write what :func:`encode` made; when this returns, not even a power cut loses it.

        Raises
        ------
        OSError
            The disk is full, or the like; the file is as it was before.
        """
        try:
            left = line
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(line)

    def close(self) -> None:
        """Nothing can be appended any more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
