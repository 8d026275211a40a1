"""A trace file as bytes: every way in which it cannot be opened or unpacked is one line that says so."""

from __future__ import annotations

import csv
import gzip
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenroof.errors import InputError

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_BOM = b"\xef\xbb\xbf"
_HEAD_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that has been opened and unpacked, or a folder.

    Attributes
    ----------
    path : Path
        Where it lies.
    data : bytes
        What is in it, unpacked and without a byte-order mark; nothing for a folder.
    files : tuple of str or None
        Names of the files of a folder, sorted; None for a file.
    """

    path: Path
    data: bytes
    files: tuple[str, ...] | None = None

    @property
    def folder(self) -> bool:
        """Whether it is a directory."""
        return self.files is not None

    @property
    def is_parquet(self) -> bool:
        """Whether the content is a Parquet file."""
        return self.data.startswith(_PARQUET)

    @property
    def stem(self) -> str:
        """Name without ``.gz`` and the ending, for labels."""
        name = self.path.name.removesuffix(".gz")
        return name if self.folder else name.rpartition(".")[0] or name

    def wrong(self, what: str, *, line: int | None = None) -> InputError:
        """Error about this file, and about one line of it when that is known."""
        unit = "row" if self.is_parquet else "line"
        place = f"{self.path}: " if line is None else f"{self.path}: {unit} {line}: "
        return InputError(place + what)

    def line_at(self, offset: int) -> int:
        """Line (from 1) on which a byte lies."""
        return self.data.count(b"\n", 0, offset) + 1

    def text(self) -> str:
        """Content as text.

        Raises
        ------
        InputError
            It is not UTF-8, or holds zero bytes; with the line.
        """
        zero = self.data.find(b"\0")
        if zero >= 0:
            raise self.wrong("a zero byte: this is no text file.", line=self.line_at(zero))
        try:
            return self.data.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = self.data[error.start]
            what = f"byte 0x{byte:02x} is not UTF-8. Save the file as UTF-8."
            raise self.wrong(what, line=self.line_at(error.start)) from None

    def check_text(self) -> None:
        """Raise what ``text`` raises, without keeping a second copy of a plain file."""
        if not self.data.isascii() or b"\0" in self.data:
            self.text()


def open_source(path: Path, *, hint: str = "", need: str = "A trace has at least one request.") -> Source:
    """Read a file, unpacked when it is gzip (whatever its name), or list a folder.

    Parameters
    ----------
    path : Path
        Where it lies.
    hint : str
        What to say besides when there is no such file.
    need : str
        What to say besides when there is nothing in it.

    Raises
    ------
    InputError
        Missing, unreadable, empty, or damaged gzip.
    """
    if "\0" in str(path):
        raise InputError(f"a path cannot hold a zero byte, got {str(path)!r}.")
    try:
        if path.is_dir():
            return Source(path=path, data=b"", files=tuple(sorted(os.listdir(path))))
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"no such file: {path}.{hint}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    if data.startswith(_GZIP):
        data = _unpacked(path, data)
    data = data.removeprefix(_BOM)
    if not data or data.isspace():
        raise InputError(f"{path}: the file is empty. {need}")
    return Source(path=path, data=data)


def _unpacked(path: Path, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except EOFError:
        raise InputError(f"{path}: the gzip file ends too early. Fetch it again.") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}). Fetch it again.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What formats are recognised by.

    Attributes
    ----------
    source : Source
        The file.
    line : str
        Its first line that is neither blank nor a comment (``#``).
    cells : tuple of str
        That line cut at commas.
    keys : frozenset of str
        Keys of the JSON object on that line; of the first object of a JSON list; none for other files.
    """

    source: Source
    line: str
    cells: tuple[str, ...]
    keys: frozenset[str]

    def has(self, *columns: str) -> bool:
        """Whether the first line is a CSV header with these columns."""
        return set(columns) <= set(self.cells)


def head_of(source: Source) -> Head:
    """The beginning of a file, as text as far as it is text."""
    start = source.data[:_HEAD_BYTES].decode("utf-8", errors="replace")
    lines = (line.strip() for line in start.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    cells: tuple[str, ...] = ()
    if first and "\0" not in first:
        cells = tuple(cell.strip() for cell in next(csv.reader([first]), []))
    return Head(source=source, line=first, cells=cells, keys=_keys(first, start.lstrip()))


def _keys(first: str, start: str) -> frozenset[str]:
    """Keys of the first JSON object, when the file begins with one."""
    if not start.startswith(("{", "[")):
        return frozenset()
    text = start[1:].lstrip() if start.startswith("[") else first
    try:
        value: Any = json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):  # longer than the head, or no JSON: the words tell
        words = ("id", "conversations", "conversation", "input_tokens", "output_tokens")
        return frozenset(word for word in words if f'"{word}"' in start)
    return frozenset(value) if isinstance(value, dict) else frozenset()
