"""The writing side of a run: one process, one directory, nothing lost and nothing half."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import yaml

from tokenroof.api.runs.differences import flat_differences
from tokenroof.api.runs.files import (
    IDENTITY,
    QUESTION,
    RECORDS,
    RESULTS,
    SCHEMA,
    TIMES,
    table_file,
    unwritable,
    write_whole,
)
from tokenroof.api.runs.identity import Identity, differences, identity
from tokenroof.api.runs.lock import Holder, Lock, now
from tokenroof.api.runs.reading import read_identity, read_question
from tokenroof.api.runs.stream import Stream, decode, encode
from tokenroof.errors import InputError

if TYPE_CHECKING:
    import polars as pl

Record = Mapping[str, Any]

_ROWS_PER_GROUP = 131_072
"""Of a Parquet file: fixed, so that the bytes depend on the rows alone."""
_SHOWN = 3


class RunStore:
    """A run that is being made; a context manager that lets go of the directory at the end.

    Parameters
    ----------
    path : Path
        Directory; made if it is not there.
    question : mapping
        What is asked, as plain values: text, numbers, lists, mappings.
    kind : str
        The command: "plan", "sweep".
    label : str
        The question in a few words, for lists.
    files : iterable of Path
        The user's own files that decide the results.
    resume : bool
        Go on with the run that the directory holds, or begin one where there is none: the same command line
        goes on after a kill at any instant, one before the first file was written included.

    Raises
    ------
    InputError
        The directory holds a run and ``resume`` is not given; another process runs in it; what it holds was
        asked or made otherwise (the message says what differs); it is damaged, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        question: Mapping[str, Any],
        *,
        kind: str = "plan",
        label: str = "",
        files: Iterable[Path] = (),
        resume: bool = False,
    ) -> None:
        self.path = path
        self.finished = False
        self._records: dict[str, Any] = {}
        self._streams: list[Stream] = []
        plain = json.loads(json.dumps(question))
        mine = identity(plain, files)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(path)
        except OSError as error:
            raise unwritable(path, error) from None
        try:
            self._open(plain, mine, kind, label, resume)
        except OSError as error:
            self._let_go()
            raise unwritable(path, error) from None
        except BaseException:
            self._let_go()
            raise

    def _open(self, question: Mapping[str, Any], mine: Identity, kind: str, label: str, resume: bool) -> None:
        if (self.path / IDENTITY).is_file():
            _check_same(self.path, question, mine, kind, resume)
        else:  # nothing was simulated before this file was there
            text = yaml.safe_dump(question, sort_keys=False, allow_unicode=True, width=110)
            write_whole(self.path / QUESTION, text.encode())
            told = {"schema": SCHEMA, "kind": kind, "label": label, **asdict(mine)}
            write_whole(self.path / IDENTITY, _json(told))
        self._stream = self._opened(RECORDS)
        self._times = self._opened(TIMES)
        for each in self._stream.found.values:
            self._records[each["key"]] = each["record"]
        self._note("went on" if self._times.found.values else "began")

    def _opened(self, name: str) -> Stream:
        stream = Stream(self.path / name)
        self._streams.append(stream)
        return stream

    @property
    def took_over(self) -> Holder | None:
        """The process before, where it died in the middle."""
        return self._lock.before

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: str) -> Any | None:
        """What was put under a key, by this process or one before it; None when nothing was."""
        return self._records.get(key)

    def put(self, key: str, record: Record) -> None:
        """Keep what a simulation gave; when this returns it is on the disk.

        Parameters
        ----------
        key : str
            Says everything that the record depends on beside the question and the code.
        record : mapping
            Plain values. :meth:`get` gives lists for tuples, before a kill as after it.

        Raises
        ------
        InputError
            The disk is full, or the like.
        RuntimeError
            Something else is under that key: the simulation is not deterministic.
        """
        line = encode({"key": key, "record": record})
        value = decode(line[:-1])["record"]
        if key in self._records:
            if encode(self._records[key]) != encode(value):
                raise RuntimeError(f"two different records of {key!r}: a simulation is not deterministic")
            return
        try:
            self._stream.append(line)
        except OSError as error:
            raise unwritable(self.path / RECORDS, error) from None
        self._records[key] = value

    def finish(self, tables: Mapping[str, pl.DataFrame]) -> None:
        """Write the results; with the last file of them the run is complete.

        Parameters
        ----------
        tables : mapping
            Data frames by name ("candidates", "rejected", "front", "choices"), rows in an order that does
            not depend on which simulation ended first. The same frames give the same bytes.

        Raises
        ------
        InputError
            They cannot be written; what was there before, the records above all, still is.
        """
        results = {}
        try:
            for name, frame in tables.items():
                content = parquet(frame)
                write_whole(self.path / table_file(name), content)
                results[name] = {
                    "rows": frame.height,
                    "columns": list(frame.columns),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
            # Names of rows and numbers alone: a run that was interrupted ends with the same file.
            write_whole(self.path / RESULTS, _json({"schema": SCHEMA, "tables": results}))
        except OSError as error:
            raise unwritable(self.path, error) from None
        self.finished = True
        self._note("finished")

    def close(self) -> None:
        """Let go of the directory; twice is once."""
        self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.finished and self._streams:
            self._note("stopped")
        self.close()

    def _note(self, event: str) -> None:
        holder = self._lock.holder
        try:
            self._times.append(encode({"event": event, "at": now(), "pid": holder.pid, "host": holder.host}))
        except OSError as error:
            raise unwritable(self.path / TIMES, error) from None

    def _let_go(self) -> None:
        for stream in self._streams:
            stream.close()
        self._streams.clear()
        self._lock.release()


def parquet(frame: pl.DataFrame) -> bytes:
    """A data frame as Parquet, the same bytes for the same rows whatever pieces it was put together from."""
    out = io.BytesIO()
    frame.rechunk().write_parquet(out, compression="zstd", row_group_size=_ROWS_PER_GROUP, statistics=True)
    return out.getvalue()


def _check_same(path: Path, question: Mapping[str, Any], mine: Identity, kind: str, resume: bool) -> None:
    """Refuse to go on with what was not begun like this."""
    if not resume:
        done = "a complete run" if (path / RESULTS).is_file() else "a run that is not complete"
        raise InputError(f"{str(path)!r} holds {done}. Go on with it by --resume, or give another directory.")
    held, then = read_identity(path)
    if held["kind"] != kind:
        raise InputError(f"{str(path)!r} holds a {held['kind']}, not a {kind}. Give another directory.")
    if then.question != mine.question:
        changed = flat_differences(read_question(path), question)
        shown = "; ".join(f"{key} was {before}, is {after}" for key, before, after in changed[:_SHOWN])
        more = f"; and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise InputError(
            f"{str(path)!r} holds the run of another question: {shown}{more}. "
            "Ask as before, or give another directory."
        )
    found = differences(then, mine)
    if found:
        raise InputError(
            f"{str(path)!r} was begun otherwise, its records cannot be mixed with new ones: "
            f"{'; '.join(found)}. Begin again in another directory."
        )


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
