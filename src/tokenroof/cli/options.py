"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_LAYOUT, _LOAD, _FORMAT = "Layout", "Load", "Formats and engine"
_MONEY, _APART, _OUT = "Money and carbon", "Prefill apart", "Output"

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Catalog name, config.json, directory with one, or JSON.",
        metavar="NAME|PATH",
    ),
]
Chips = Annotated[
    list[str],
    typer.Option("--chip", "-c", help="Catalog name or chip file; repeat to compare.", metavar="NAME|FILE"),
]
Catalogs = Annotated[
    list[Path] | None,
    typer.Option(
        "--catalog",
        help="Directory of your own chips, models, prices; repeatable, the last one wins. "
        "Also: TOKENROOF_CATALOG.",
        metavar="DIR",
    ),
]

Tp = Annotated[
    int | None,
    typer.Option("--tp", help="Tensor parallel ways. Default: the fewest that do.", rich_help_panel=_LAYOUT),
]
Pp = Annotated[int | None, typer.Option("--pp", help="Pipeline stages.", rich_help_panel=_LAYOUT)]
Ep = Annotated[int | None, typer.Option("--ep", help="Expert parallel ways.", rich_help_panel=_LAYOUT)]
Dp = Annotated[
    int | None,
    typer.Option("--dp", help="Attention data parallel ways.", rich_help_panel=_LAYOUT),
]
Cp = Annotated[
    int | None, typer.Option("--cp", help="Context parallel ways of prefill.", rich_help_panel=_LAYOUT)
]
Replicas = Annotated[
    int | None, typer.Option("--replicas", help="Copies of the model.", rich_help_panel=_LAYOUT)
]

Isl = Annotated[int, typer.Option("--isl", help="Tokens of a prompt.", rich_help_panel=_LOAD)]
Osl = Annotated[int, typer.Option("--osl", help="Tokens of an answer.", rich_help_panel=_LOAD)]
Images = Annotated[
    int, typer.Option("--image-tokens", help="Of the prompt, those from images.", rich_help_panel=_LOAD)
]
Batch = Annotated[
    int | None, typer.Option("--batch", "-b", help="Sequences at once per replica.", rich_help_panel=_LOAD)
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        help="Sequences at once in the whole deployment. Default: 64 per replica, or what fits.",
        rich_help_panel=_LOAD,
    ),
]

Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="bf16, fp8, nvfp4, int4, ... Default: as the model's config.",
        rich_help_panel=_FORMAT,
    ),
]
Kv = Annotated[
    str | None, typer.Option("--kv", help="Format of the cache: bf16, fp8, ...", rich_help_panel=_FORMAT)
]
Engine = Annotated[
    str | None, typer.Option("--engine", help="vllm, sglang, trtllm or generic.", rich_help_panel=_FORMAT)
]
ExpertLoadFactor = Annotated[
    float | None,
    typer.Option(
        "--expert-load-factor",
        help="Routed tokens of the busiest expert rank over the mean, 1 or more.",
        rich_help_panel=_LOAD,
    ),
]

Price = Annotated[
    str | None,
    typer.Option(
        "--price",
        help="cloud, rent_3yr, own_neocloud, tco, ...; or USD per chip-hour.",
        rich_help_panel=_MONEY,
    ),
]
Capex = Annotated[
    float | None,
    typer.Option(
        "--capex-usd", help="USD per chip, server included, for --price tco.", rich_help_panel=_MONEY
    ),
]
Region = Annotated[
    str | None,
    typer.Option("--region", help="Origin of the electricity: us, eu, ...", rich_help_panel=_MONEY),
]
Pue = Annotated[str | None, typer.Option("--pue", help="Whose facility.", rich_help_panel=_MONEY)]
Utilisation = Annotated[
    float | None,
    typer.Option("--utilisation", help="Part of the paid hours that serve, 0 to 1.", rich_help_panel=_MONEY),
]

PrefillChip = Annotated[
    str | None,
    typer.Option("--prefill-chip", help="Prefill on this chip, decode on --chip.", rich_help_panel=_APART),
]
PrefillTp = Annotated[
    int | None, typer.Option("--prefill-tp", help="Its tensor parallel ways.", rich_help_panel=_APART)
]
PrefillReplicas = Annotated[
    int | None, typer.Option("--prefill-replicas", help="Its copies of the model.", rich_help_panel=_APART)
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.", rich_help_panel=_OUT)]
Csv = Annotated[
    Path | None, typer.Option("--csv", help="Write a .csv (or .parquet) table.", rich_help_panel=_OUT)
]
Html = Annotated[Path | None, typer.Option("--html", help="Write the report page.", rich_help_panel=_OUT)]
Chart = Annotated[
    Path | None,
    typer.Option("--chart", help="Write a .svg, .png, .pdf or .html chart.", rich_help_panel=_OUT),
]
ChartKind = Annotated[
    str,
    typer.Option(
        "--chart-kind",
        help="roofline, breakdown, memory or sweep; of runs latency, timeline or goodput.",
        rich_help_panel=_OUT,
    ),
]
