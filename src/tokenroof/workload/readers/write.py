"""Requests written to a file that ``read_trace`` reads back as they were."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

from tokenroof.errors import InputError
from tokenroof.workload.core import Requests
from tokenroof.workload.readers.own import PREFIX, frame_of
from tokenroof.workload.readers.own_head import COMMENT, PARQUET_KEY, head_as_json


def write_requests(requests: Requests, path: str | os.PathLike[str]) -> None:
    """Write requests as ``.csv``, ``.csv.gz`` or ``.parquet``; the file appears whole or not at all.

    Columns are named as in ``Requests`` (``class`` by name); those that say nothing are left out. Classes
    with their SLOs, block size, closed loop, label and source are on the first line (Parquet: metadata).

    Raises
    ------
    InputError
        Another ending, classes of the same name, or a place that cannot be written.
    """
    import polars as pl

    target = Path(path)
    frame, head = frame_of(requests), head_as_json(requests)
    content = io.BytesIO()
    if target.name.endswith((".csv", ".csv.gz")):
        content.write(COMMENT + head.encode("utf-8") + b"\n")
        if PREFIX in frame.columns:
            frame = frame.with_columns(pl.col(PREFIX).cast(pl.List(pl.String)).list.join(" "))
        frame.write_csv(content)
    elif target.suffix == ".parquet":
        frame.write_parquet(content, metadata={PARQUET_KEY: head})
    else:
        raise InputError(f"{target}: requests are written as .csv, .csv.gz or .parquet.")
    data = content.getvalue()
    if target.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    part = target.with_name(target.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{target}: cannot be written ({error.strerror}).") from None
