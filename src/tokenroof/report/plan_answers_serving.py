"""Answers about ways of serving: apart or together, the ratio of pools, evicted cache, drafts."""

from __future__ import annotations

import math

from rich.table import Table
from rich.text import Text

from tokenroof.report.human import digits, human, share
from tokenroof.report.plan_labels import OBJECTIVE_LABELS, counted, objective_text
from tokenroof.report.plan_part import Part
from tokenroof.report.plan_serving_charts import apart_chart, drafts_chart, offload_chart, ratio_chart
from tokenroof.report.tables import grid
from tokenroof.search.answers.core import (
    BreakEvenCell,
    BreakEvenMap,
    DraftTable,
    OffloadTable,
    RatioTable,
)

_DASH = "-"


# --- apart or together ---------------------------------------------------------------------------


def apart_part(found: BreakEvenMap) -> Part:
    """Prefill and decode together or apart, over prompt, rate and hand-off bandwidth."""
    counts = dict.fromkeys(("together", "apart", "neither"), 0)
    for cell in found.cells:
        counts[cell.winner] = counts.get(cell.winner, 0) + 1
    said = ", ".join(f"{winner} in {count}" for winner, count in counts.items() if count)
    own = found.own_bytes_per_s
    hands = (
        "no fabric of its own to hand caches over" if own is None else f"{human(own, 'bytes/s')} of its own"
    )
    shown = [link for link in found.handoff_bytes_per_s if link == _nearest(found)]
    return Part(
        name="apart",
        title="Prefill and decode together or apart",
        sentences=[
            f"on {found.chip}, answers of {found.osl_tokens:,} tokens: of "
            f"{counted(len(found.cells), 'place')} of the map the best is {said}",
            f"{found.chip} has {hands}; compared: {OBJECTIVE_LABELS[found.objective]}",
        ],
        notes=found.notes,
        tables=[_apart_map(found, link) for link in shown],
        folded=[("every place of the map, with its reason", _apart_rows(found))],
        chart=apart_chart(found),
        caption="What is best by prompt and rate, a panel per hand-off bandwidth of a chip. Numbers: by how "
        "much, over the loser.",
    )


def _nearest(found: BreakEvenMap) -> float:
    """The bandwidth of the map that is nearest to the chip's own; without one the largest."""
    links, own = found.handoff_bytes_per_s, found.own_bytes_per_s
    return max(links) if own is None else min(links, key=lambda link: abs(math.log(link / own)))


def _apart_map(found: BreakEvenMap, link: float) -> Table:
    """A line per prompt, a column per rate, for one bandwidth."""
    table = grid(f"By prompt and rate, hand-off at {human(link, 'bytes/s')}")
    table.add_column(Text("prompt [tokens]"), justify="right")
    for rate in found.rates_per_s:
        table.add_column(f"{digits(rate)} requests/s")
    for isl in found.isl_tokens:
        row = [cell for cell in found.cells if cell.isl_tokens == isl and cell.handoff_bytes_per_s == link]
        table.add_row(f"{isl:,}", *(Text(f"{won(cell)}\n{cell.reason}") for cell in row))
    return table


def won(cell: BreakEvenCell) -> str:
    """Who wins and by how much: "apart, 12 %"."""
    if math.isnan(cell.gain_fraction):
        return cell.winner
    if math.isinf(cell.gain_fraction):
        return f"{cell.winner}, the other cannot"
    return f"{cell.winner}, {share(cell.gain_fraction)}"


def _apart_rows(found: BreakEvenMap) -> Table:
    table = grid("")
    for column in ("prompt [tokens]", "requests/s", "hand-off at", "takes"):
        table.add_column(Text(column), justify="right")
    for column in ("best", "why"):
        table.add_column(column)
    for cell in found.cells:
        link = human(cell.handoff_bytes_per_s, "bytes/s")
        takes = human(cell.handoff_s, "s") if math.isfinite(cell.handoff_s) else _DASH
        table.add_row(f"{cell.isl_tokens:,}", digits(cell.rate_per_s), link, takes, won(cell), Text(cell.why))
    return table


# --- the ratio of pools --------------------------------------------------------------------------


def ratio_part(found: RatioTable) -> Part:
    """Chips of each pool against the ratio of prefill to decode."""
    best = found.best
    table = grid("By ratio of prefill to decode")
    for column in ("prefill : decode", "ratio", "prefill chips", "decode chips", "chips"):
        table.add_column(column, justify="right")
    table.add_column(OBJECTIVE_LABELS[found.objective], justify="right")
    table.add_column("short of")
    table.add_column("the other idles", justify="right")
    for row in found.rows:
        value = objective_text(found.objective, row.value)
        table.add_row(
            f"{row.prefill_replicas} : {row.decode_replicas}",
            digits(row.ratio),
            f"{row.prefill_chips:,}",
            f"{row.decode_chips:,}",
            f"{row.chips:,}",
            Text(value, style="bold green" if row == best else ""),
            row.short,
            share(row.idle_fraction),
        )
    return Part(
        name="ratio",
        title="Prefill to decode",
        sentences=[
            f"best: {best.prefill_replicas} prefill to {best.decode_replicas} decode replicas, "
            f"{objective_text(found.objective, best.value)}; neither pool idles at "
            f"{digits(found.balanced)} prefill per decode replica",
            f"one prefill replica serves {human(found.prefill_per_s, 'requests/s')}, one decode replica "
            f"{human(found.decode_per_s, 'requests/s')}",
            f"within {share(found.tolerance_fraction)} of the best between {digits(found.flat_low)} and "
            f"{digits(found.flat_high)} prefill per decode replica",
        ],
        notes=found.notes,
        tables=[table],
        chart=ratio_chart(found),
        caption="Prefill replicas per decode replica, each with as many of both as the load needs.",
    )


# --- evicted cache -------------------------------------------------------------------------------


def offload_part(found: OffloadTable) -> Part:
    """When loading an evicted prefix beats computing it again."""
    table = grid("Evicted prefixes: load or compute again")
    table.add_column("kept in")
    for column in ("bandwidth", "latency", "room [tokens]", "loading pays from [tokens]"):
        table.add_column(Text(column), justify="right")
    for tier in found.tiers:
        table.add_row(
            tier.tier,
            human(tier.bytes_per_s, "bytes/s"),
            human(tier.latency_s, "s"),
            f"{tier.holds_tokens:,}",
            _DASH if tier.from_tokens is None else f"{tier.from_tokens:,}",
        )
    rows = grid("")
    rows.add_column("kept in")
    for column in ("prefix [tokens]", "cache", "load", "compute again", "saved", "break-even bandwidth"):
        rows.add_column(Text(column), justify="right")
    for row in found.rows:
        even = row.break_even_bytes_per_s
        rows.add_row(
            row.tier,
            f"{row.prefix_tokens:,}",
            human(row.cache_bytes, "bytes"),
            human(row.load_s, "s"),
            human(row.recompute_s, "s"),
            Text(human(row.saved_s, "s"), style="bold green" if row.pays else ""),
            human(even, "bytes/s") if math.isfinite(even) else "none is enough",
        )
    sentences = [
        f"{tier.tier}: loading never pays at the longest prefix looked at"
        if tier.from_tokens is None
        else f"{tier.tier}: loading pays for prefixes of {tier.from_tokens:,} tokens and more"
        for tier in found.tiers
    ]
    loads = f"{counted(found.loads_at_once, 'load')} at once"
    return Part(
        name="offload",
        title="Evicted cache: load or compute again",
        sentences=[*sentences, f"{found.where}; {loads}"],
        notes=found.notes,
        tables=[table],
        folded=[("every prefix", rows)],
        chart=offload_chart(found),
        caption="Time until an evicted prefix is in place, loaded from each tier or computed again.",
    )


# --- drafts --------------------------------------------------------------------------------------


def drafts_part(found: DraftTable) -> Part:
    """When speculation pays, by batch and acceptance."""
    acceptances = sorted({row.acceptance_fraction for row in found.best})
    table = grid("Drafts that are fastest, and how much faster")
    table.add_column("sequences", justify="right")
    for part in acceptances:
        table.add_column(f"{share(part)} accepted", justify="right")
    for sequences in sorted({row.sequences for row in found.best}):
        cells = {row.acceptance_fraction: row for row in found.best if row.sequences == sequences}
        table.add_row(
            f"{sequences:,}",
            *(
                Text(
                    f"{counted(cells[part].draft_tokens, 'draft')}\n{digits(cells[part].speedup)} x",
                    style="bold green" if cells[part].pays else "dim",
                )
                if part in cells
                else Text(_DASH)
                for part in acceptances
            ),
        )
    pay = [row for row in found.best if row.pays]
    return Part(
        name="speculation",
        title="When speculation pays",
        sentences=[
            f"{found.drafting} on {found.where}: drafts pay in {len(pay):,} of {len(found.best):,} places of "
            "batch and acceptance",
            f"the cache of a replica holds {found.most_sequences:,} sequences without drafts",
        ],
        notes=found.notes,
        tables=[table],
        chart=drafts_chart(found),
        caption="Tokens per second with the number of drafts that is fastest, over those without drafts.",
    )
