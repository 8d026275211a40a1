"""The log of a run as a table, as files, and as parts that are whole whatever happens to the process."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tokenroof.errors import InputError
from tokenroof.serve.metrics import good_requests
from tokenroof.serve.results import REASONS, TIMELINE, RequestLog, Run, State
from tokenroof.workload.core import Requests

if TYPE_CHECKING:
    import polars as pl

IntArray = npt.NDArray[np.int64]

_TIMES = ("arrival_s", "start_s", "first_s", "finish_s", "transfer_s")
_DERIVED = ("queue_s", "ttft_s", "tpot_s", "e2e_s")
_COUNTS = (
    "isl_tokens", "osl_tokens", "out_tokens", "cached_tokens", "prefilled_tokens", "preemptions", "retries",
)  # fmt: skip
_LINKS = ("session", "follows", "replica", "decode_replica")
COLUMNS = ("request", "class", "state", "reason", *_TIMES, *_DERIVED, "good", *_COUNTS, *_LINKS)
"""Of the log as a table: times in seconds, null where something did not happen."""

_PART = "part-{:05d}.parquet"
_PARTS = "part-*.parquet"


def log_frame(requests: Requests, log: RequestLog, rows: IntArray | None = None) -> pl.DataFrame:
    """The log as a data frame.

    Parameters
    ----------
    requests, log : Requests, RequestLog
        What was asked and what happened.
    rows : IntArray, optional
        Which requests; all unless given.

    Returns
    -------
    polars.DataFrame
        ``COLUMNS``, one row per request. ``state`` and ``class`` are names, ``reason`` is the text why a
        request was rejected or failed. ``queue_s`` = start - arrival, ``ttft_s`` = first - arrival,
        ``tpot_s`` = (finish - first) / (output tokens - 1), ``e2e_s`` = finish - arrival. ``good``: was
        completed and met every limit of its class; null while it is in flight.
    """
    import polars as pl

    if rows is None:
        rows = np.arange(len(log))
    else:
        log = RequestLog(**{field.name: getattr(log, field.name)[rows] for field in fields(RequestLog)})
    completed = log.state == State.COMPLETED
    reasons = [None, *REASONS[1:]]
    columns: dict[str, pl.Series] = {
        "request": pl.Series(rows, dtype=pl.Int64),
        "class": _names([kind.name for kind in requests.classes], log.class_index),
        "state": _names([state.name.lower() for state in State], log.state),
        "reason": _names(reasons, log.reason),
        **{name: pl.Series(np.ascontiguousarray(getattr(log, name))) for name in _TIMES},
        "queue_s": pl.Series(log.start_s - log.arrival_s),
        "ttft_s": pl.Series(log.first_s - log.arrival_s),
        "e2e_s": pl.Series(log.finish_s - log.arrival_s),
        "good": pl.Series(good_requests(log, requests.classes, completed)),
        **{name: pl.Series(np.ascontiguousarray(getattr(log, name)), dtype=pl.Int64) for name in _COUNTS},
        "follows": pl.Series(requests.follows[rows], dtype=pl.Int64),
    }
    for name in ("session", "replica", "decode_replica"):
        columns[name] = pl.Series(np.ascontiguousarray(getattr(log, name)), dtype=pl.Int64)
    several = np.where(log.out_tokens > 1, log.out_tokens - 1, np.nan)
    columns["tpot_s"] = pl.Series((log.finish_s - log.first_s) / several)
    over = pl.Series(log.state >= State.COMPLETED)
    return (
        pl.DataFrame(columns)
        .with_columns(
            pl.col(*_TIMES, *_DERIVED).fill_nan(None),
            pl.when(over).then(pl.col("good")).alias("good"),
            *(pl.when(pl.col(name) >= 0).then(pl.col(name)).alias(name) for name in _LINKS),
        )
        .select(COLUMNS)
    )


def _names(names: list[str | None] | list[str], index: npt.NDArray[np.integer]) -> pl.Series:
    import polars as pl

    return pl.Series(names, dtype=pl.String).gather(np.ascontiguousarray(index).astype(np.int64))


def timeline_frame(run: Run) -> pl.DataFrame:
    """The timeline as a data frame, one row per pool and bin.

    Returns
    -------
    polars.DataFrame
        ``pool``, ``stage``, ``from_s``, ``to_s`` and the rows of ``results.TIMELINE``;
        ``used_fraction`` of the blocks of the replicas that are up; rates of tokens over the bin.
    """
    import polars as pl

    edges = np.minimum(run.timeline_bin_s * np.arange(run.timeline.shape[2] + 1), run.end_s)
    pools = []
    for number, (setup, lines) in enumerate(zip(run.setup.pools, run.timeline, strict=True)):
        row = dict(zip(TIMELINE, lines, strict=True))
        width, blocks = np.diff(edges), row["up_replicas"] * setup.num_blocks
        with np.errstate(divide="ignore", invalid="ignore"):
            derived = {
                "used_fraction": row["used_blocks"] / blocks,
                "prefill_tokens_per_s": row["prefill_tokens"] / width,
                "decode_tokens_per_s": row["decode_tokens"] / width,
            }
        place = {"pool": number, "stage": setup.stage.name.lower(), "from_s": edges[:-1], "to_s": edges[1:]}
        pools.append(pl.DataFrame({**place, **row, **derived}))
    return pl.concat(pools).with_columns(
        pl.when(pl.col(*derived).is_finite()).then(pl.col(*derived)).name.keep()
    )


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write a table as Parquet or CSV, by the suffix; at ``path`` there is a whole file or none.

    Raises
    ------
    InputError
        Another suffix.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise InputError(f"{path.name}: tables are written as .parquet or .csv. Choose one of them.")
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        if path.suffix == ".parquet":
            frame.write_parquet(file)
        else:
            frame.write_csv(file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class LogParts:
    """A directory that the log of a long run is written to while it goes on.

    Each part is written under another name and moved to ``part-00000.parquet``, ... when it is whole:
    whatever happens to the process, :func:`read_log` reads every request of every part.

    Parameters
    ----------
    directory : Path
        Made if it is not there.
    requests : Requests
        What is served.
    least_rows : int
        A part is written when so many more requests are over.

    Raises
    ------
    InputError
        The directory holds parts already, or is a file.
    """

    def __init__(self, directory: Path, requests: Requests, *, least_rows: int = 50_000) -> None:
        if directory.exists() and not directory.is_dir():
            raise InputError(f"{directory}: is a file. Give a directory for the parts of the log.")
        if directory.is_dir() and any(directory.glob(_PARTS)):
            raise InputError(
                f"{directory}: holds the parts of another run. Give an empty directory, or remove them."
            )
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._requests = requests
        self._least_rows = least_rows
        self._written = np.zeros(len(requests), dtype=np.bool_)
        self._parts = 0
        self._seen = 0

    def append(self, log: RequestLog, done: IntArray) -> int:
        """Write the requests that are over and not yet written, if they are enough for a part.

        Parameters
        ----------
        log : RequestLog
            As it is now.
        done : IntArray
            Rows of all requests that are over, in the order in which they ended.

        Returns
        -------
        int
            Requests written.
        """
        if done.size - self._seen < self._least_rows:
            return 0
        rows = done[self._seen :].astype(np.int64)
        self._seen = done.size
        return self._write(log, rows)

    def close(self, log: RequestLog) -> int:
        """Write all requests that are not written yet, those of an interrupted run in flight included."""
        return self._write(log, np.flatnonzero(~self._written))

    def _write(self, log: RequestLog, rows: IntArray) -> int:
        if rows.size:
            write_frame(
                log_frame(self._requests, log, np.sort(rows)),
                self._directory / _PART.format(self._parts),
            )
            self._parts += 1
            self._written[rows] = True
        return int(rows.size)


def read_log(path: Path) -> pl.DataFrame:
    """Read a log: one file, or a directory of parts.

    Parameters
    ----------
    path : Path
        ``.parquet``, ``.csv``, or a directory that ``LogParts`` wrote; what it did not finish is ignored.

    Returns
    -------
    polars.DataFrame
        As :func:`log_frame` made it, in the order of requests.

    Raises
    ------
    InputError
        Nothing there, no parts, another suffix, damaged, or no log of requests.
    """
    import polars as pl

    if not path.exists():
        raise InputError(f"{path}: no such file or directory. Give a log, or a directory of its parts.")
    files = sorted(path.glob(_PARTS)) if path.is_dir() else [path]
    if not files:
        raise InputError(
            f"{path}: holds no part of a log ({_PARTS}). None was finished, or it lies elsewhere."
        )
    frames = []
    for file in files:
        if file.suffix not in (".parquet", ".csv"):
            raise InputError(f"{file}: a log is a .parquet or .csv file, or a directory of parts.")
        frames.append(_read(file))
    return pl.concat(frames).sort("request")


def _read(file: Path) -> pl.DataFrame:
    import polars as pl

    try:
        if file.suffix == ".parquet":
            frame = pl.read_parquet(file)
        else:
            frame = pl.read_csv(file, schema_overrides=_schema())
    except (pl.exceptions.ComputeError, pl.exceptions.NoDataError) as error:
        first_line = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{file}: cannot be read as a log of requests: {first_line}.") from error
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise InputError(f"{file}: is no log of requests; it lacks {', '.join(missing[:3])}.")
    return frame.select(COLUMNS)


def _schema() -> dict[str, type[pl.DataType]]:
    import polars as pl

    kinds: dict[str, type[pl.DataType]] = dict.fromkeys(COLUMNS, pl.Int64)
    kinds.update(dict.fromkeys(("class", "state", "reason"), pl.String))
    kinds.update(dict.fromkeys((*_TIMES, *_DERIVED), pl.Float64))
    kinds["good"] = pl.Boolean
    return kinds
