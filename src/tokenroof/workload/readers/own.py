"""The project's own request files: CSV or Parquet, simple enough to write by hand or from any log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.core import NOBODY, FloatArray, IntArray, Prefixes, RequestClass, Requests
from tokenroof.workload.readers.core import Rules, Trace
from tokenroof.workload.readers.own_head import PARQUET_KEY, FileHead, head_from_json, head_of_csv
from tokenroof.workload.readers.rows import Rows, settle
from tokenroof.workload.readers.source import Head, Source
from tokenroof.workload.readers.table import Columns, Table, header_of, read_table, table_of_frame
from tokenroof.workload.readers.tabled import tabled
from tokenroof.workload.readers.take import renumbered, take_prefixes

if TYPE_CHECKING:
    import polars as pl

NEEDED = ("arrival_s", "isl_tokens", "osl_tokens")
CLASS, PRIORITY, SESSION, FOLLOWS, PREFIX = "class", "priority", "session", "follows", "prefix_ids"


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """CSV or Parquet with the columns of ``Requests``; three are needed, the rest is left out at will.

    ``class`` is a name, ``priority`` 0 (first) to 7 one per class, ``session`` any text (blank: none).
    ``follows`` is the row (from 0) after which a request is sent, ``arrival_s`` then the delay after its
    end; ``prefix_ids`` are numbers of the leading blocks of the prompt, with blanks between. A file by
    ``write_requests`` begins with a line (Parquet: metadata) of classes, SLOs, block size and source.

    Attributes
    ----------
    block_tokens : int or None
        Tokens of a block, for a file with ``prefix_ids`` that does not say. [tokens]
    """

    block_tokens: int | None = None
    name: ClassVar[str] = "requests"
    header: ClassVar[str] = "arrival_s,isl_tokens,osl_tokens[,class,priority,session,follows,prefix_ids]"

    def __post_init__(self) -> None:
        if self.block_tokens is not None and self.block_tokens < 1:
            raise InputError(f"block_tokens must be at least 1, got {self.block_tokens}.")

    def recognises(self, head: Head) -> bool:
        """By its columns; any Parquet file."""
        return head.source.is_parquet or head.has(*NEEDED)

    def read(self, source: Source, rules: Rules) -> Trace:
        """The requests as written.

        Raises
        ------
        InputError
            As ``read_trace``; and for links, classes or prefixes that contradict themselves.
        """
        table, head = _parquet(source) if source.is_parquet else _csv(source)
        rows = Rows(
            line=table.line,
            time_s=table.number["arrival_s"],
            isl=table.number["isl_tokens"],
            osl=table.number["osl_tokens"],
            names=NEEDED,
            follows=_links(source, table),
            ordered=head.concurrency is None,
        )
        settled = settle(source, rows, rules)
        class_index, classes = _classes(source, table, head)
        prefixes = self._prefixes(source, table, head)
        requests = tabled(
            source,
            settled,
            "requests",
            session=_sessions(table)[settled.rows],
            class_index=class_index[settled.rows],
            classes=classes,
            prefixes=None if prefixes is None else take_prefixes(prefixes, settled.rows),
        )
        requests = replace(
            requests,
            concurrency=head.concurrency,
            label=head.label or requests.label,
            source=head.source or requests.source,
        )
        return Trace(table=requests, format=self.name, dropped=settled.dropped)

    def _prefixes(self, source: Source, table: Table, head: FileHead) -> Prefixes | None:
        if PREFIX not in table.text:
            return None
        block_tokens = head.block_tokens or self.block_tokens
        if block_tokens is None:
            raise source.wrong(f"{PREFIX} without a block size. Read it with Own(block_tokens=...).")
        start, ids = _identities(source, table)
        return Prefixes(block_tokens=block_tokens, start=start, ids=renumbered(ids))


def _csv(source: Source) -> tuple[Table, FileHead]:
    header = header_of(source)
    given = set(header.names)
    columns = Columns(
        numbers=NEEDED + tuple({PRIORITY} & given),
        gaps=tuple({FOLLOWS} & given),
        words=tuple({CLASS} & given),
        remarks=tuple(name for name in (SESSION, PREFIX) if name in given),
    )
    return read_table(source, columns), head_of_csv(source)


def _parquet(source: Source) -> tuple[Table, FileHead]:
    import io

    import polars as pl

    try:
        frame = pl.read_parquet(io.BytesIO(source.data))
        said = pl.read_parquet_metadata(io.BytesIO(source.data)).get(PARQUET_KEY)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise source.wrong(f"damaged Parquet file ({reason}). Was it cut off?") from None
    if frame.height == 0:
        raise source.wrong("columns and no requests.")
    head = FileHead() if said is None else head_from_json(source, said)
    if PREFIX in frame.columns and frame.schema[PREFIX] == pl.List:
        joined = pl.col(PREFIX).cast(pl.List(pl.String), strict=False).list.join(" ", ignore_nulls=False)
        frame = frame.with_columns(joined.alias(PREFIX))
    columns = Columns(
        numbers=NEEDED + tuple({PRIORITY} & set(frame.columns)),
        gaps=tuple({FOLLOWS} & set(frame.columns)),
        words=tuple({CLASS} & set(frame.columns)),
        remarks=tuple(name for name in (SESSION, PREFIX) if name in frame.columns),
    )
    return table_of_frame(source, frame, columns), head


def _links(source: Source, table: Table) -> IntArray | None:
    """Row that each follows."""
    if FOLLOWS not in table.number:
        return None
    given = table.number[FOLLOWS]
    free = np.isnan(given)
    earlier = (given == np.floor(given)) & (given >= 0.0) & (given < np.arange(given.size))
    wrong = ~free & ~earlier
    if wrong.any():
        row = int(np.argmax(wrong))
        what = f"{FOLLOWS} must be an earlier row, counted from 0, got {given[row]:g} in row {row}."
        raise source.wrong(what, line=int(table.line[row]))
    follows = np.where(free, NOBODY, np.nan_to_num(given)).astype(np.int64)
    _, first = np.unique(follows, return_index=True)
    again = ~free
    again[first] = False
    if again.any():
        row = int(np.argmax(again))
        what = f"row {follows[row]} is followed twice. A conversation is a chain."
        raise source.wrong(what, line=int(table.line[row]))
    return follows


def _sessions(table: Table) -> IntArray:
    """Conversation of each row: as numbered when the numbers are small enough, else by appearance."""
    count = table.line.size
    if SESSION not in table.text:
        return np.full(count, NOBODY, dtype=np.int64)
    code, names = table.codes(SESSION)
    texts = [name.strip() for name in names]
    said = [text for text in texts if text]
    if all(text.isascii() and text.isdigit() and len(text) < 18 and int(text) < count for text in said):
        numbers = [int(text) if text else NOBODY for text in texts]
    else:
        by_text = {text: number for number, text in enumerate(dict.fromkeys(said))}
        numbers = [by_text.get(text, NOBODY) for text in texts]
    return np.array(numbers, dtype=np.int64)[code]


def _classes(source: Source, table: Table, head: FileHead) -> tuple[IntArray, tuple[RequestClass, ...]]:
    """Class of each row, and the classes."""
    zero = np.zeros(table.line.size, dtype=np.int64)
    priority = table.number.get(PRIORITY)
    if head.classes and priority is not None:
        raise source.wrong(f"a column {PRIORITY!r} beside classes on the first line. Give one of the two.")
    if CLASS not in table.text:
        if len(head.classes) > 1:
            raise source.wrong(f"{len(head.classes)} classes on the first line and no column {CLASS!r}.")
        return (
            (zero, head.classes or (RequestClass(),))
            if priority is None
            else _by_priority(source, table, priority)
        )
    code, names = table.codes(CLASS)
    if head.classes:
        known = [kind.name for kind in head.classes]
        for number, name in enumerate(names):
            if name not in known:
                line = int(table.line[int(np.argmax(code == number))])
                raise source.wrong(f"unknown class {name!r}. Known: {', '.join(known)}.", line=line)
        return np.array([known.index(name) for name in names], dtype=np.int64)[code], head.classes
    first = np.unique(code, return_index=True)[1]
    of_class = zero if priority is None else _whole_priorities(source, table, priority)
    differs = of_class != of_class[first][code]
    if differs.any():
        row = int(np.argmax(differs))
        what = f"class {names[code[row]]!r} has priority {of_class[row]} here and another one before."
        raise source.wrong(what, line=int(table.line[row]))
    return code, tuple(
        RequestClass(name=name, priority=int(of_class[first[number]])) for number, name in enumerate(names)
    )


def _by_priority(
    source: Source, table: Table, priority: FloatArray
) -> tuple[IntArray, tuple[RequestClass, ...]]:
    values, index = np.unique(_whole_priorities(source, table, priority), return_inverse=True)
    kinds = tuple(RequestClass(name=f"priority {value}", priority=int(value)) for value in values)
    return index.astype(np.int64), kinds


def _whole_priorities(source: Source, table: Table, priority: FloatArray) -> IntArray:
    wrong = ~np.isin(priority, np.arange(8.0))
    if wrong.any():
        row = int(np.argmax(wrong))
        what = f"{PRIORITY} must be a whole number from 0 (first) to 7, got {priority[row]:g}."
        raise source.wrong(what, line=int(table.line[row]))
    return priority.astype(np.int64)


def _identities(source: Source, table: Table) -> tuple[IntArray, IntArray]:
    """Begin of each row's identities, and all of them."""
    words = [text.split() for text in table.text[PREFIX].to_list()]
    start = np.concatenate(([0], np.cumsum([len(row) for row in words]))).astype(np.int64)
    ids = np.empty(start[-1], dtype=np.int64)
    for row, texts in enumerate(words):
        if not all(text.isascii() and text.isdigit() and len(text) < 19 for text in texts):
            what = f"{PREFIX} must be whole numbers with blanks between, got {' '.join(texts)[:40]!r}."
            raise source.wrong(what, line=int(table.line[row]))
        ids[start[row] : start[row + 1]] = [int(text) for text in texts]
    return start, ids


def frame_of(requests: Requests) -> pl.DataFrame:
    """Columns as they are written: those that say nothing are left out."""
    import polars as pl

    columns: dict[str, pl.Series] = {name: pl.Series(getattr(requests, name)) for name in NEEDED}
    if len(requests.classes) > 1:
        names = np.array([kind.name for kind in requests.classes], dtype=object)
        columns[CLASS] = pl.Series(names[requests.class_index].tolist(), dtype=pl.String)
    for name, column in ((SESSION, requests.session), (FOLLOWS, requests.follows)):
        if (column != NOBODY).any():
            number = pl.Series(column)
            columns[name] = number.set(number == NOBODY, None)
    if requests.prefixes is not None:
        ids, start = requests.prefixes.ids, requests.prefixes.start
        rows = np.split(ids, start[1:-1])
        columns[PREFIX] = pl.Series(rows, dtype=pl.List(pl.Int64))
    return pl.DataFrame(columns)
