"""One way in: results of any known client, recognised by what the file holds."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from tokenroof.calibrate.readers.aiperf import Aiperf
from tokenroof.calibrate.readers.core import COLUMNS, ResultFormat, ResultRow
from tokenroof.calibrate.readers.documents import documents
from tokenroof.calibrate.readers.fields import Fields, UnusableRunError
from tokenroof.calibrate.readers.guidellm import Guidellm
from tokenroof.calibrate.readers.inference_perf import InferencePerf
from tokenroof.calibrate.readers.inferencex import InferenceX
from tokenroof.calibrate.readers.rows import row_of
from tokenroof.calibrate.readers.sglang import Sglang
from tokenroof.calibrate.readers.table import is_table, read_table
from tokenroof.calibrate.readers.vllm import Vllm
from tokenroof.errors import InputError
from tokenroof.workload.readers.source import Source, open_source

FORMATS: tuple[ResultFormat, ...] = (Guidellm(), InferencePerf(), Aiperf(), InferenceX(), Sglang(), Vllm())
"""Every known client, the one with the most particular keys first."""


def read_results(path: str | os.PathLike[str], *, given: Mapping[str, str] = {}) -> tuple[ResultRow, ...]:
    """Measured runs out of a result file.

    Parameters
    ----------
    path : path
        CSV with the columns of ``COLUMNS``, or JSON or JSON lines as ``vllm bench serve``, SGLang's
        ``bench_serving``, GuideLLM, AIPerf, genai-perf, inference-perf or InferenceX write it; packed with
        gzip or not. Recognised by content.
    given : mapping of str to str
        Columns that the file does not say, or not as wanted (``{"hardware": "h100", "tp": "2"}``); they
        replace what it says.

    Returns
    -------
    tuple of ResultRow
        One per run, at least one. A run that cannot be used has a ``problem`` when the file holds others.

    Raises
    ------
    InputError
        No such file, an unknown format, a damaged file, an unknown column in ``given``, no run that can be
        used, or no number of accelerators; in one line, with file and line where there is one.
    """
    for name in given:
        if name not in COLUMNS:
            near = difflib.get_close_matches(name.lower(), COLUMNS, n=3, cutoff=0.4)
            hint = f" Nearest: {', '.join(near)}." if near else ""
            raise InputError(f"unknown column {name!r}.{hint} {len(COLUMNS)} are known, as hardware and tp.")
    wanted = {name: text.strip() for name, text in given.items()}
    source = open_source(Path(path), need="A result has at least one run.")
    if source.folder:
        raise source.wrong("this is a folder. Give a file in it.")
    text = source.text()
    if text.lstrip().startswith(("{", "[")):
        return _from_json(source, text, wanted)
    if is_table(text):
        return read_table(source, text, wanted)
    first = next(iter(text.split()), "")
    raise _unknown(source, f"it begins with {first[:60]!r}", None)


def _from_json(source: Source, text: str, given: Mapping[str, str]) -> tuple[ResultRow, ...]:
    read: list[tuple[ResultFormat, Fields]] = []
    for one in documents(source, text):
        kind = next((kind for kind in FORMATS if kind.recognises(one)), None)
        if kind is None:
            keys = ", ".join(str(key) for key in list(one.value)[:6])
            raise _unknown(source, f"keys {' '.join(keys.split())[:80]!r}", one.line)
        read += [(kind, part) for part in kind.parts(one)]
    rows = [_row(kind, part, given, source) for kind, part in read]
    if all(row.problem for row in rows):
        raise source.wrong(rows[0].problem, line=rows[0].line)
    return tuple(rows)


def _row(kind: ResultFormat, part: Fields, given: Mapping[str, str], source: Source) -> ResultRow:
    try:
        return row_of(kind.run(part), given, source)
    except UnusableRunError as why:
        values = {"id": f"{source.stem}-{part.line}", "source": kind.name, **given}
        return ResultRow(line=part.line, values=values, problem=str(why))


def _unknown(source: Source, begin: str, line: int | None) -> InputError:
    known = "; ".join(f"{kind.name}: {kind.says}" for kind in FORMATS)
    return source.wrong(
        f"no known result format ({begin}). Known: CSV with hardware, model, ...; {known}.", line=line
    )
