"""ServeGen: rates, burstiness and lengths of real clients, from which requests are drawn.

Published with Xiang et al., "ServeGen", NSDI 2026 (arXiv 2505.09999), at github.com/alibaba/ServeGen
(Apache-2.0). This reads the files; ``servegen_draw`` draws from them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.readers.core import Dropped, Rules
from tokenroof.workload.readers.servegen_draw import GAMMA, POISSON, WEIBULL, ServeGenClients, Window
from tokenroof.workload.readers.servegen_tables import TableSet, read_tables
from tokenroof.workload.readers.source import Head, Source, open_source
from tokenroof.workload.readers.table import Columns, read_table

_TRACE = re.compile(r"(.*chunk-(\d+))-trace\.csv(?:\.gz)?")
_TABLES = re.compile(r"(.*chunk-(\d+))-dataset\.json(?:\.gz)?")
_NAMES = ("timestamp", "rate", "cv", "pat_name", "pat_arg1", "pat_arg2")
_GAPS = {"": POISSON, "Gamma": GAMMA, "Weibull": WEIBULL}
_LAST_WINDOW_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeGen:
    """Folder of ``chunk-<i>-trace.csv`` and ``chunk-<i>-dataset.json``, or one of these files for one client.

    Gives no recorded requests but a process (``ServeGenClients``): every ``requests(seed)`` draws anew.

    Attributes
    ----------
    clients : tuple of int
        Only these; all of the folder when empty.
    start_s, duration_s : float, float or None
        Part of the recording; to its end when ``duration_s`` is None. The published ones last two weeks. [s]
    rate_per_s : float or None
        Mean rate to which all rates are scaled; as recorded when None. [1/s]
    coupled_lengths : bool
        Draw prompt and answer of a request from one random number, as ServeGen's own generator does: the
        longest prompts then have the longest answers. The files give no joint distribution; without this
        the two are independent.
    """

    clients: tuple[int, ...] = ()
    start_s: float = 0.0
    duration_s: float | None = None
    rate_per_s: float | None = None
    coupled_lengths: bool = False
    name: ClassVar[str] = "servegen"
    header: ClassVar[str] = (
        "folder of chunk-<i>-trace.csv (start_s,rate,cv,Gamma|Weibull|,shape,scale), chunk-<i>-dataset.json"
    )

    def __post_init__(self) -> None:
        for field, value in (("duration_s", self.duration_s), ("rate_per_s", self.rate_per_s)):
            if value is not None and not (np.isfinite(value) and value > 0.0):
                raise InputError(f"{field} must be above 0, got {value!r}.")
        if not (np.isfinite(self.start_s) and self.start_s >= 0.0):
            raise InputError(f"start_s must be at least 0, got {self.start_s!r}.")

    def recognises(self, head: Head) -> bool:
        """By the names of the files, or by what they hold."""
        if head.source.files is not None:
            return any(map(_TRACE.fullmatch, head.source.files))
        named = _TRACE.fullmatch(head.source.path.name) or _TABLES.fullmatch(head.source.path.name)
        windows = len(head.cells) == len(_NAMES) and head.cells[3] in _GAPS and _is_number(head.cells[0])
        return windows or (named is not None and not head.has("arrival_s"))

    def read(self, source: Source, rules: Rules) -> ServeGenClients:
        """The process.

        Raises
        ------
        InputError
            A file of a client is missing or malformed, or no request falls into the part asked for.
        """
        windows: list[Window] = []
        tables: list[TableSet] = []
        notes = ["Requests are drawn from rates and lengths per client and window, not replayed."]
        without, last_s = 0.0, 0.0
        for number, path in self._chosen(source):
            of_client = read_tables(_opened(path, "-dataset.json"))
            first = len(tables)
            tables += [table for _, table in of_client.tables]
            notes += [f"client {number}: {note}" for note in of_client.notes]
            begins = np.array([start_s for start_s, _ in of_client.tables])
            for start_s, stop_s, rate_per_s, gaps, shape in _windows(_opened(path, "-trace.csv")):
                begin, end = self._cut(start_s, stop_s)
                last_s = max(last_s, end - self.start_s)
                if rate_per_s == 0.0 or end <= begin:
                    continue
                place = int(np.searchsorted(begins, start_s, side="right")) - 1
                if place < 0:
                    without += rate_per_s * (end - begin)
                    continue
                windows.append(
                    Window(
                        start_s=begin - self.start_s,
                        stop_s=end - self.start_s,
                        rate_per_s=rate_per_s,
                        gaps=gaps,
                        shape=shape,
                        table=first + place,
                    )
                )
        if not windows:
            raise source.wrong(f"no request from {self.start_s:g} s on. Give another start_s or duration_s.")
        why = "expected in windows without a table of lengths"
        return ServeGenClients(
            windows=tuple(windows),
            tables=tuple(tables),
            duration_s=last_s,
            asked_rate_per_s=self.rate_per_s,
            coupled_lengths=self.coupled_lengths,
            label=source.stem,
            source=f"{source.path.name} (ServeGen clients)",
            dropped=(Dropped(count=round(without), why=why),) if without else (),
            notes=tuple(notes),
        )

    def _cut(self, start_s: float, stop_s: float) -> tuple[float, float]:
        end = np.inf if self.duration_s is None else self.start_s + self.duration_s
        return max(start_s, self.start_s), min(stop_s, end)

    def _chosen(self, source: Source) -> list[tuple[int, Path]]:
        """Number of each client, and its files without their endings."""
        if source.files is None:
            match = _TRACE.fullmatch(source.path.name) or _TABLES.fullmatch(source.path.name)
            if match is None:
                raise source.wrong("a client is two files, chunk-<i>-trace.csv and chunk-<i>-dataset.json.")
            return [(int(match.group(2)), source.path.with_name(match.group(1)))]
        matches = filter(None, map(_TRACE.fullmatch, source.files))
        found = sorted((int(match.group(2)), source.path / match.group(1)) for match in matches)
        if not found:
            raise source.wrong("the folder has no chunk-<i>-trace.csv.")
        numbers = {number for number, _ in found}
        for number in self.clients:
            if number not in numbers:
                raise source.wrong(f"no client {number}. It has: {', '.join(map(str, sorted(numbers)))}.")
        return [one for one in found if one[0] in (self.clients or numbers)]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(?:\.\d+)?", text) is not None


def _opened(path: Path, ending: str) -> Source:
    plain, packed = (path.with_name(path.name + ending + gz) for gz in ("", ".gz"))
    return open_source(packed if packed.exists() and not plain.exists() else plain)


def _windows(source: Source) -> list[tuple[float, float, float, int, float]]:
    """Begin and end [s], rate [1/s], kind of gaps and their shape, of each window of a client."""
    columns = Columns(numbers=("timestamp", "rate", "cv", "pat_arg1", "pat_arg2"), remarks=("pat_name",))
    table = read_table(source, columns, names=_NAMES)
    start_s, rate, shape = table.number["timestamp"], table.number["rate"], table.number["pat_arg1"]
    name = [text.strip() for text in table.text["pat_name"].to_list()]
    for row in range(start_s.size):
        line = int(table.line[row])
        if name[row] not in _GAPS:
            raise source.wrong(
                f"unknown kind of gaps {name[row]!r}. Known: Gamma, Weibull or nothing.", line=line
            )
        if not (np.isfinite(start_s[row]) and np.isfinite(rate[row]) and rate[row] >= 0.0):
            raise source.wrong(f"rate must be at least 0 at a finite time, got {rate[row]:g}.", line=line)
        if row and start_s[row] <= start_s[row - 1]:
            raise source.wrong("windows must ascend in time.", line=line)
        if name[row] and rate[row] > 0.0 and not 0.01 <= shape[row] <= 1e4:
            raise source.wrong(f"the shape of gaps must lie in 0.01..1e4, got {shape[row]:g}.", line=line)
    width = np.diff(start_s)
    stop_s = start_s + np.append(width, width[-1] if width.size else _LAST_WINDOW_S)
    kind = [_GAPS[text] for text in name]
    return list(zip(start_s.tolist(), stop_s.tolist(), rate.tolist(), kind, shape.tolist(), strict=True))
