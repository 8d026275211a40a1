"""Options of ``simulate`` and ``capacity`` that ``estimate`` does not have, or takes in another way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_LOAD, _LIMITS, _CACHE = "Load", "Limits", "Cache and speculation"
_FLEET, _RUN, _OUT, _FORMAT = "Fleet", "Run", "Output", "Formats and engine"
_DRAWN = 'Tokens, or "lognormal:mean=1000,sigma=0.8", "uniform:low=1,high=9", "range:tokens=1000,ratio=0.8".'

SpecFile = Annotated[
    Path | None,
    typer.Argument(
        help="Spec (.yaml, .toml): everything in one file; options are laid over it.", metavar="SPEC"
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="Catalog name, config.json, directory with one, or JSON.", metavar="NAME|PATH"
    ),
]
Chips = Annotated[
    list[str] | None,
    typer.Option(
        "--chip", "-c", help="Catalog name or chip file; repeat: one run each.", metavar="NAME|FILE"
    ),
]

Isl = Annotated[
    str | None, typer.Option("--isl", help=f"Prompts. {_DRAWN} Default: 1000.", rich_help_panel=_LOAD)
]
Osl = Annotated[
    str | None, typer.Option("--osl", help="Answers, written as --isl. Default: 200.", rich_help_panel=_LOAD)
]
Rates = Annotated[
    list[float] | None,
    typer.Option(
        "--rate", "-r", help="Requests per second, open loop; repeat: one run each.", rich_help_panel=_LOAD
    ),
]
Burstiness = Annotated[
    float | None,
    typer.Option(
        "--burstiness",
        help="1 is Poisson, below 1 burstier, above 1 more even, inf constant gaps.",
        rich_help_panel=_LOAD,
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        help="Closed loop: so many in progress, the next is sent when one has ended.",
        rich_help_panel=_LOAD,
    ),
]
Think = Annotated[
    str | None,
    typer.Option("--think", help='Closed loop: time before the next is sent: "2 s".', rich_help_panel=_LOAD),
]
NumRequests = Annotated[
    int | None,
    typer.Option(
        "--num-requests",
        "-n",
        help="How many; of a trace, the first ones. Default: 1000, or the whole trace.",
        rich_help_panel=_LOAD,
    ),
]
Duration = Annotated[
    str | None,
    typer.Option("--duration", help='Instead: send for so long: "10 min".', rich_help_panel=_LOAD),
]
Trace = Annotated[
    str | None,
    typer.Option(
        "--trace",
        help="Trace file (Azure, Mooncake, BurstGPT, ServeGen, ShareGPT, Vidur, ...) or azure-2023-conv.",
        metavar="FILE|NAME",
        rich_help_panel=_LOAD,
    ),
]
TraceFormat = Annotated[
    str | None,
    typer.Option("--trace-format", help="Its format. Default: by content.", rich_help_panel=_LOAD),
]

SloTtft = Annotated[
    str | None,
    typer.Option(
        "--slo-ttft", help='Longest time to first token: "500 ms", or seconds.', rich_help_panel=_LIMITS
    ),
]
SloTpot = Annotated[
    str | None,
    typer.Option("--slo-tpot", help='Longest time per output token: "40 ms".', rich_help_panel=_LIMITS),
]
SloE2e = Annotated[
    str | None,
    typer.Option("--slo-e2e", help='Longest time end to end: "10 s".', rich_help_panel=_LIMITS),
]

EngineOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-option",
        help="Option of the engine by its own name, as max_num_seqs=256; repeatable.",
        metavar="NAME=VALUE",
        rich_help_panel=_FORMAT,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        help="Another batching rule on the same kernels; static batches without joining.",
        rich_help_panel=_FORMAT,
    ),
]
PrefixCaching = Annotated[
    bool | None,
    typer.Option(
        "--prefix-caching/--no-prefix-caching",
        help="Keep prompts' cache for others. Default: as the engine.",
        rich_help_panel=_CACHE,
    ),
]
HostGb = Annotated[
    float | None,
    typer.Option("--host-gb", help="Host memory of a replica for evicted cache.", rich_help_panel=_CACHE),
]
SsdGb = Annotated[float | None, typer.Option("--ssd-gb", help="SSD, likewise.", rich_help_panel=_CACHE)]
RemoteGb = Annotated[
    float | None,
    typer.Option("--remote-gb", help="A store over the network, for all replicas.", rich_help_panel=_CACHE),
]
Speculate = Annotated[
    str | None,
    typer.Option(
        "--speculate",
        help='As "mtp:draft_tokens=1,acceptance=0.8"; draft, eagle, mtp, ngram or known.',
        metavar="METHOD:NAME=VALUE,...",
        rich_help_panel=_CACHE,
    ),
]
Router = Annotated[
    str | None,
    typer.Option(
        "--router",
        help="round-robin, least-loaded, power-of-two, prefix-affinity or session-affinity.",
        rich_help_panel=_FLEET,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any key of the spec, as fleet.takeover=3 or traffic.shared.tokens=2000; repeatable.",
        metavar="KEY=VALUE",
        rich_help_panel=_RUN,
    ),
]
Seed = Annotated[
    int | None, typer.Option("--seed", help="The same seed, the same run. Default: 0.", rich_help_panel=_RUN)
]
WarmUp = Annotated[
    str | None,
    typer.Option(
        "--warm-up", help='Requests sent before this time do not count: "60 s".', rich_help_panel=_RUN
    ),
]
Check = Annotated[
    bool, typer.Option("--check", help="Verify every invariant of the run.", rich_help_panel=_RUN)
]

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Directory, written while the run goes on: parts of the log, at the end the metrics.",
        rich_help_panel=_OUT,
    ),
]
Log = Annotated[
    Path | None, typer.Option("--log", help="Write every request: .parquet or .csv.", rich_help_panel=_OUT)
]
Perfetto = Annotated[
    Path | None,
    typer.Option(
        "--perfetto", help="Write a trace for ui.perfetto.dev: .json or .json.gz.", rich_help_panel=_OUT
    ),
]
Attainment = Annotated[
    float,
    typer.Option(
        "--attainment", help="Part of the requests that has to meet all limits.", rich_help_panel=_LIMITS
    ),
]
Percentile = Annotated[
    str | None,
    typer.Option(
        "--percentile",
        help="Instead: every limit holds for this percentile: p99, p95, p90, p50, mean.",
        rich_help_panel=_LIMITS,
    ),
]
Tolerance = Annotated[
    float,
    typer.Option("--tolerance", help="How near the highest rate is found.", rich_help_panel=_RUN),
]
