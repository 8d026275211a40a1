"""A run that computes nothing: a square per simulation, so that what is kept can be told by heart."""

import sys
from pathlib import Path

import polars as pl

from tokenroof.api.runs.store import RunStore

QUESTION = {"model": "small", "slo": {"ttft_s": 1.0, "tpot_s": 0.04}, "chips": ["h100", "h200"]}
DATA_FILES = ("question.yaml", "run.json", "choices.parquet", "front.parquet", "results.json")
"""All but times, records in the order in which they came, and the lock."""


def simulation(number):
    return {"square": number**2 / 7, "name": f"n°{number}", "parts": [number, {"deep": None}]}


def key(number):
    return f"candidate-{number:04d}"


def tables(store, count):
    records = [store.get(key(number)) for number in range(count)]
    squares = pl.DataFrame({"label": [r["name"] for r in records], "square": [r["square"] for r in records]})
    return {"choices": squares.sort("square", descending=True), "front": squares.head(1)}


def run(path, count=20, *, resume=False, watch=lambda number: None, **other):
    """The whole of a run, or the rest of it."""
    with RunStore(Path(path), QUESTION, label="squares", resume=resume, **other) as store:
        for number in range(count):
            if store.get(key(number)) is None:
                store.put(key(number), simulation(number))
            watch(number)
        store.finish(tables(store, count))
    return Path(path)


def content(path, names=DATA_FILES):
    return {name: (path / name).read_bytes() for name in names}


def told(number):
    print(key(number), flush=True)  # noqa: T201 - what the process reports, the test reads


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), resume=True, watch=told)
