"""Options of ``plan`` that no other command has, or takes in another way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

_LOAD, _LIMITS, _SPACE = "Load", "Targets and limits", "What is left open"
_RUN, _OUT = "Run", "Output"

PlanFile = Annotated[
    Path | None,
    typer.Argument(
        help="Plan file (.yaml, .toml): everything in one place; options are laid over it.", metavar="PLAN"
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="Catalog name, config.json, directory with one, or JSON; repeat: one plan each, of the same "
        "traffic.",
        metavar="NAME|PATH",
    ),
]
Chips = Annotated[
    list[str] | None,
    typer.Option(
        "--chips",
        "--chip",
        "-c",
        help="What may be bought: names or chip files, with commas or repeated; or all. Default: all that "
        "exist and have a price.",
        metavar="NAME,...",
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        "-r",
        help="Requests per second; with a trace: sent at this rate instead of at its times.",
        rich_help_panel=_LOAD,
    ),
]
NumRequests = Annotated[
    int | None,
    typer.Option(
        "--num-requests",
        "-n",
        help="How many are simulated. Default: those of two minutes, 2,000 to 20,000; the whole trace.",
        rich_help_panel=_LOAD,
    ),
]


def _target(latency: str, quantile: str) -> Any:
    return typer.Option(
        f"--{latency}-{quantile}",
        help=f'Largest {quantile} of {latency.upper()}: "1 s", "40ms", or seconds.',
        metavar="TIME",
        rich_help_panel=_LIMITS,
    )


TtftP99 = Annotated[str | None, _target("ttft", "p99")]
TtftP95 = Annotated[str | None, _target("ttft", "p95")]
TpotP99 = Annotated[str | None, _target("tpot", "p99")]
TpotP95 = Annotated[str | None, _target("tpot", "p95")]
ItlP99 = Annotated[str | None, _target("itl", "p99")]
E2eP99 = Annotated[str | None, _target("e2e", "p99")]
E2eP95 = Annotated[str | None, _target("e2e", "p95")]
Slo = Annotated[
    list[str] | None,
    typer.Option(
        "--slo",
        help="Any other target, as tpot_p90=30ms, e2e_mean=20s or chat.ttft_p99=1s; repeatable.",
        metavar="NAME=TIME",
        rich_help_panel=_LIMITS,
    ),
]
MaxChips = Annotated[int | None, typer.Option("--max-chips", help="Chips at most.", rich_help_panel=_LIMITS)]
MaxUsdPerHour = Annotated[
    float | None, typer.Option("--max-usd-per-hour", help="USD per hour at most.", rich_help_panel=_LIMITS)
]
MaxPower = Annotated[
    str | None,
    typer.Option(
        "--max-power", help='Power that the building provides at most: "40 kW".', rich_help_panel=_LIMITS
    ),
]
MaxRacks = Annotated[int | None, typer.Option("--max-racks", help="Racks at most.", rich_help_panel=_LIMITS)]
Objectives = Annotated[
    list[str] | None,
    typer.Option(
        "--objective",
        help="usd_per_million_tokens, chips, tokens_per_s_per_chip, power_w, gco2e_per_million_tokens, "
        "ttft_s or tpot_s; several, with commas or repeated, make a Pareto front; NAME=WEIGHT weighs them.",
        metavar="NAME[=WEIGHT],...",
        rich_help_panel=_LIMITS,
    ),
]
Headroom = Annotated[
    str | None,
    typer.Option(
        "--headroom",
        help='Targets are kept at a rate higher by this part: 0.2 or "20 %".',
        rich_help_panel=_LIMITS,
    ),
]
SpareReplicas = Annotated[
    int | None,
    typer.Option("--spare-replicas", help="More replicas of every pool; 1 is N+1.", rich_help_panel=_LIMITS),
]

Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="Formats to try, with commas; all: every one that a chip computes. Default: as the config.",
        metavar="NAME,...",
        rich_help_panel=_SPACE,
    ),
]
Kv = Annotated[
    str | None,
    typer.Option("--kv", help="Formats of the cache, likewise.", metavar="NAME,...", rich_help_panel=_SPACE),
]
Engines = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="vllm, sglang, trtllm or several with commas. Default: vllm.",
        metavar="NAME,...",
        rich_help_panel=_SPACE,
    ),
]
Colocated = Annotated[
    bool | None,
    typer.Option(
        "--colocated/--no-colocated", help="Prefill and decode on the same chips.", rich_help_panel=_SPACE
    ),
]
Disaggregated = Annotated[
    bool | None,
    typer.Option("--disaggregated/--no-disaggregated", help="Prefill apart.", rich_help_panel=_SPACE),
]
MixedChips = Annotated[
    bool | None,
    typer.Option("--mixed-chips/--no-mixed-chips", help="Apart on different chips.", rich_help_panel=_SPACE),
]
MostChips = Annotated[
    int | None,
    typer.Option("--most-chips-per-replica", help="Largest replica. Default: 64.", rich_help_panel=_SPACE),
]
MostSimulated = Annotated[
    int | None,
    typer.Option(
        "--most-simulated", help="Candidates simulated at most. Default: 48.", rich_help_panel=_SPACE
    ),
]

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Directory of the run: the question, every simulation as it ends, tables, the page, and what "
        "launches the best.",
        metavar="DIR",
        rich_help_panel=_OUT,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the run in --out, or begin it; without a question: as that one was asked.",
        rich_help_panel=_RUN,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Processes. Default: one per core.", min=1, rich_help_panel=_RUN),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress, no notes on what was written.", rich_help_panel=_RUN),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any key of the plan file, as space.max_num_seqs=[128,256] or prices.h100=2.1; repeatable.",
        metavar="KEY=VALUE",
        rich_help_panel=_RUN,
    ),
]
Answers = Annotated[
    str | None,
    typer.Option(
        "--answers",
        help="What is answered beside the choice: sensitivity, fewer, apart, ratio, offload, speculation, "
        "self-host, with commas; all (the default), none.",
        metavar="NAME,...",
        rich_help_panel=_OUT,
    ),
]
Api = Annotated[
    str | None,
    typer.Option(
        "--api",
        help="Price of an API to compare with, USD per million prompt, answer and cached prompt tokens.",
        metavar="INPUT,OUTPUT[,CACHED]",
        rich_help_panel=_OUT,
    ),
]
