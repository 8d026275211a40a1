"""Measured runs of real servers, request by request, and the same requests simulated."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Deployment, Estimate, Pool
from tokenroof.deploy.simulated.engines.choose import engine_options
from tokenroof.deploy.simulated.pools import PoolOptions
from tokenroof.deploy.simulated.question import Serving
from tokenroof.deploy.simulated.simulate import simulate
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import NOBODY, Prefixes, Requests

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

METRICS = ("ttft_s", "tpot_s", "e2e_s")
BLOCK_TOKENS = 16
"""Of vLLM on these chips. [tokens]"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Latencies:
    """What requests saw; columns of shape (num_requests,). [s]

    Attributes
    ----------
    ttft_s, tpot_s, e2e_s : FloatArray
        To the first token; (e2e - ttft) / (output tokens - 1); to the last token.
    """

    ttft_s: FloatArray
    tpot_s: FloatArray
    e2e_s: FloatArray

    def of(self, metric: str, rows: BoolArray | slice = slice(None)) -> FloatArray:
        """One of ``METRICS``, of some of the requests. [s]"""
        found: FloatArray = getattr(self, metric)[rows]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """An open-loop experiment on a real server.

    Attributes
    ----------
    name : str
        Model and kind of load.
    chip, model, tp : str, str, int
        What served, by the names of the catalog.
    engine, version : str
        Serving engine.
    max_num_seqs, max_num_batched_tokens : int
        Its limits.
    kv_blocks : int or None
        Blocks of its cache as it logged them; None: not recorded.
    repeats_every : int or None
        After so many requests the same prompts come again; None: not known to repeat.
    rates_per_s, stage_starts_s : tuple of float
        Stages of the load. [1/s], [s]
    clock : str
        Who took the times: "client" (HTTP, tokenising and streaming included) or "engine".
    quality, licence, source_url : str
        As in calibration/measured_serving/README.md.
    arrival_s, isl_tokens, osl_tokens : FloatArray, IntArray, IntArray
        The requests, shape (num_requests,).
    measured : Latencies
        What they saw.
    """

    name: str
    chip: str
    model: str
    tp: int
    engine: str
    version: str
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_blocks: int | None
    repeats_every: int | None
    rates_per_s: tuple[float, ...]
    stage_starts_s: tuple[float, ...]
    clock: str
    quality: str
    licence: str
    source_url: str
    arrival_s: FloatArray = field(repr=False)
    isl_tokens: IntArray = field(repr=False)
    osl_tokens: IntArray = field(repr=False)
    measured: Latencies = field(repr=False)

    @property
    def stage(self) -> IntArray:
        """Stage of the load in which each request was sent, shape (num_requests,)."""
        return np.searchsorted(self.stage_starts_s, self.arrival_s, side="right").astype(np.int64) - 1

    def requests(self, *, repeating: bool) -> Requests:
        """The requests as they were sent.

        Parameters
        ----------
        repeating : bool
            Prompts come again after ``repeats_every`` requests; False: all are different.

        Raises
        ------
        InputError
            Nothing is known of repeated prompts.
        """
        count = self.arrival_s.size
        nobody = np.full(count, NOBODY, dtype=np.int64)
        return Requests(
            arrival_s=self.arrival_s,
            isl_tokens=self.isl_tokens,
            osl_tokens=self.osl_tokens,
            follows=nobody,
            session=nobody,
            class_index=np.zeros(count, dtype=np.int64),
            prefixes=self._prefixes() if repeating else None,
            label=self.name,
            source=self.source_url,
        )

    def _prefixes(self) -> Prefixes:
        if self.repeats_every is None:
            raise InputError(f"{self.name}: nothing is known of repeated prompts. Ask with repeating=False.")
        blocks = self.isl_tokens // BLOCK_TOKENS
        start = np.concatenate(([0], np.cumsum(blocks)))
        within = np.arange(start[-1]) - np.repeat(start[:-1], blocks)
        prompt = np.arange(blocks.size) % self.repeats_every
        block = np.repeat(prompt, blocks) * int(blocks.max()) + within
        _, ids = np.unique(block, return_inverse=True)
        return Prefixes(block_tokens=BLOCK_TOKENS, start=start.astype(np.int64), ids=ids.astype(np.int64))


def read_runs(directory: Path) -> tuple[MeasuredRun, ...]:
    """The measured runs of ``calibration/measured_serving``, in the order of runs.csv."""
    rows = pl.read_parquet(directory / "traces.parquet")
    parts = {
        str(key[0]): part for key, part in rows.partition_by("run", as_dict=True, maintain_order=True).items()
    }
    with (directory / "runs.csv").open(encoding="utf-8", newline="") as lines:
        return tuple(_run(said, parts[said["name"]]) for said in csv.DictReader(lines))


def _run(said: dict[str, str], rows: pl.DataFrame) -> MeasuredRun:
    seconds = {name: rows[f"{name}_us"].to_numpy() * 1e-6 for name in ("arrival", "ttft", "e2e")}
    osl = rows["osl_tokens"].to_numpy().astype(np.int64)
    return MeasuredRun(
        name=said["name"],
        chip=said["chip"],
        model=said["model"],
        tp=int(said["tp"]),
        engine=said["framework"],
        version=said["framework_version"],
        max_num_seqs=int(said["max_num_seqs"]),
        max_num_batched_tokens=int(said["max_num_batched_tokens"]),
        kv_blocks=int(said["kv_blocks"]) if said["kv_blocks"] else None,
        repeats_every=int(said["prompts_repeat_every"]) if said["prompts_repeat_every"] else None,
        rates_per_s=tuple(map(float, said["rates_per_s"].split())),
        stage_starts_s=tuple(map(float, said["stage_starts_s"].split())),
        clock=said["clock"],
        quality=said["quality"],
        licence=said["licence"],
        source_url=said["source_url"],
        arrival_s=seconds["arrival"],
        isl_tokens=rows["isl_tokens"].to_numpy().astype(np.int64),
        osl_tokens=osl,
        measured=latencies(seconds["ttft"], seconds["e2e"], osl),
    )


def latencies(ttft_s: FloatArray, e2e_s: FloatArray, osl_tokens: IntArray) -> Latencies:
    """With the time per token, which every request of these runs has (two tokens or more). [s]"""
    return Latencies(ttft_s=ttft_s, tpot_s=(e2e_s - ttft_s) / (osl_tokens - 1), e2e_s=e2e_s)


def predict(run: MeasuredRun, catalog: Catalog, *, repeating: bool) -> Estimate:
    """The requests of a measured run, simulated with the shipped numbers.

    Parameters
    ----------
    run : MeasuredRun
        What was sent to what.
    catalog : Catalog
        Where chip, model and engine are looked up.
    repeating : bool
        As :meth:`MeasuredRun.requests`; vLLM's prefix cache is on either way.

    Returns
    -------
    Estimate
        With the run in it.
    """
    engine, model = catalog.engine(run.engine), catalog.model(run.model)
    settings = engine_options(
        engine,
        {
            "max_num_seqs": run.max_num_seqs,
            "max_num_batched_tokens": run.max_num_batched_tokens,
            "num_gpu_blocks_override": run.kv_blocks,
        },
    )
    pool = Pool(chip=catalog.chip(run.chip), engine=engine, parallel=Parallel(tp=run.tp))
    deployment = Deployment(model=model, precision=model.precision, pools=(pool,))
    return simulate(
        deployment,
        run.requests(repeating=repeating),
        catalog=catalog,
        serving=Serving(pools=(PoolOptions(settings=settings),)),
        label=run.name,
    )


def predicted(estimate: Estimate) -> Latencies:
    """What the requests of a simulated run saw.

    Raises
    ------
    InputError
        The estimate has no run, or a request of it was not completed.
    """
    if estimate.run is None:
        reason = estimate.infeasible.reason if estimate.infeasible else "it is in closed form."
        raise InputError(f"{estimate.label}: there is no run: {reason}")
    log = estimate.run.log
    if np.isnan(log.finish_s).any():
        raise InputError(f"{estimate.label}: {int(np.isnan(log.finish_s).sum())} requests did not complete.")
    return latencies(log.first_s - log.arrival_s, log.finish_s - log.arrival_s, log.osl_tokens)
