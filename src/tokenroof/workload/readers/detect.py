"""One way in: a trace of any known format, recognised by what the file holds."""

from __future__ import annotations

import difflib
import os
from dataclasses import replace
from pathlib import Path

from tokenroof.errors import UnknownNameError
from tokenroof.workload.readers.azure import Azure
from tokenroof.workload.readers.builtin import BUILTIN
from tokenroof.workload.readers.burstgpt import BurstGpt
from tokenroof.workload.readers.core import ReadWorkload, Rules, Trace, TraceFormat
from tokenroof.workload.readers.llmservingsim import LlmServingSim
from tokenroof.workload.readers.measured import Measured
from tokenroof.workload.readers.mooncake import Mooncake
from tokenroof.workload.readers.own import Own
from tokenroof.workload.readers.servegen import ServeGen
from tokenroof.workload.readers.sharegpt import ShareGpt
from tokenroof.workload.readers.source import Source, head_of, open_source
from tokenroof.workload.readers.vidur import Vidur

FORMATS: dict[str, TraceFormat] = {
    one.name: one
    for one in (
        Own(),
        Azure(),
        Mooncake(),
        BurstGpt(),
        ServeGen(),
        ShareGpt(),
        Vidur(),
        Measured(),
        LlmServingSim(),
    )
}
"""Every known format with the usual options of its reader, by name."""


def read_trace(
    path: str | os.PathLike[str],
    *,
    format: TraceFormat | str | None = None,
    sort: bool = False,
    skip_empty: bool = False,
) -> ReadWorkload:
    """Read a trace.

    Parameters
    ----------
    path : str or path
        A file (plain or gzip), a folder of ServeGen clients, or a name of ``builtin_traces()``.
    format : TraceFormat or str, optional
        Format with its options (``Mooncake(block_tokens=16)``) or its name; recognised by content when
        not given. ``.format`` of what is returned says which it was.
    sort : bool
        Put requests in order of time; otherwise a file out of order is an error.
    skip_empty : bool
        Leave out requests whose prompt or answer has 0 tokens, and count them in ``.dropped``; otherwise
        they are an error. (BurstGPT's failed requests are left out and counted in any case.)

    Returns
    -------
    ReadWorkload
        A ``Trace``, or for ServeGen the process ``ServeGenClients``; both give ``requests(seed)``.

    Raises
    ------
    InputError
        No such file, an unknown format, a malformed line; in one line with file and line number.
    """
    given = os.fspath(path)
    known = BUILTIN.get(given) if isinstance(given, str) else None
    file = known.path if known else Path(os.fsdecode(given))
    near = difflib.get_close_matches(file.name, BUILTIN, n=1, cutoff=0.4)
    nearest = f" Nearest: {near[0]}." if near else ""
    source = open_source(file, hint=f"{nearest} Traces of the package: {', '.join(BUILTIN)}.")
    reader = _reader(source, format)
    if source.folder and not isinstance(reader, ServeGen):
        raise source.wrong("this is a folder. Give a file in it.")
    trace = reader.read(source, Rules(sort=sort, skip_empty=skip_empty))
    if known and isinstance(trace, Trace):
        return replace(trace, table=replace(trace.table, label=given, source=known.source))
    return trace


def _reader(source: Source, format: TraceFormat | str | None) -> TraceFormat:
    if isinstance(format, str):
        if format not in FORMATS:
            raise UnknownNameError("trace format", format, FORMATS)
        return FORMATS[format]
    if format is not None:
        return format
    head = head_of(source)
    for one in FORMATS.values():
        if one.recognises(head):
            return one
    if not source.folder:
        source.check_text()
    begin = "a folder without chunk-<i>-trace.csv" if source.folder else f"first line {head.line[:60]!r}"
    listed = "; ".join(f"{one.name}: {one.header}" for one in FORMATS.values())
    raise source.wrong(f"no known trace format ({begin}). Known are {listed}.")
