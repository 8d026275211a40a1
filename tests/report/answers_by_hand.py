"""Further answers to the plans of ``plans_by_hand``, written by hand."""

import itertools
import math

import plans_by_hand

from tokenroof.deploy.core import Role
from tokenroof.search.answers.core import (
    Best,
    BreakEvenCell,
    BreakEvenMap,
    DraftRow,
    DraftTable,
    OffloadRow,
    OffloadTable,
    RatioRow,
    RatioTable,
    TierAnswer,
)
from tokenroof.search.answers.core_result import (
    ApiPrice,
    Doubts,
    FewerRow,
    FewerTable,
    Flip,
    SelfHost,
    SelfHostRow,
    Sensitivity,
    Share,
)

BEST = plans_by_hand.plan().front[0].candidate
OTHER = plans_by_hand.plan().others[0].candidate

SENSITIVITY = Sensitivity(
    candidate=BEST,
    doubts=Doubts(),
    same_fraction=0.93,
    same_chips_fraction=0.95,
    alone={"price": 1.0, "traffic": 0.97},
    shares=(
        Share(candidate=BEST, fraction=0.93),
        Share(candidate=OTHER, fraction=0.06),
        Share(candidate=None, fraction=0.01),
    ),
    flips=(Flip(what="price of h200", factor=1.79, to=OTHER), Flip(what="traffic", factor=math.nan, to=None)),
    regret_fraction=0.02,
    impossible_fraction=0.01,
    notes=("rivals are the choices of the plan",),
)


def host_row(rate: float, own: float, api: float) -> SelfHostRow:
    return SelfHostRow(
        candidate=BEST,
        rate_per_s=rate,
        replicas=(5,),
        chips=40,
        usd_per_hour=own,
        api_usd_per_hour=api,
        usd_per_mtok=own / rate / 9.0,
        api_usd_per_mtok=api / rate / 9.0,
    )


SELF_HOST = SelfHost(
    price=ApiPrice(usd_per_mtok_input=0.1, usd_per_mtok_output=0.4, name="their API"),
    here=host_row(20.0, 120.0, 140.0),
    rows=(host_row(2.0, 24.0, 14.0), host_row(20.0, 120.0, 140.0), host_row(200.0, 1000.0, 1400.0)),
    break_even_fixed_per_s=17.1,
    break_even_per_s=12.5,
    break_even_factor=0.857,
)


def fewer_row(pool: str, count: int, ttft_s: float, missed: str) -> FewerRow:
    return FewerRow(
        pool=pool,
        replicas=(count,),
        chips=8 * count,
        usd_per_hour=24.0 * count,
        saved_fraction=1.0 - count / 5,
        checks=(plans_by_hand.check(plans_by_hand.TTFT, ttft_s),),
        missed=missed,
    )


FEWER = FewerTable(
    candidate=BEST,
    rows=(fewer_row("", 5, 0.71, ""), fewer_row("both", 4, 3.1, "ttft_p99_s is 3.1 s > 1 s")),
)


def cell(isl: int, rate: float, link: float) -> BreakEvenCell:
    apart = isl > 500
    return BreakEvenCell(
        isl_tokens=isl,
        rate_per_s=rate,
        handoff_bytes_per_s=link,
        handoff_s=0.02,
        together=Best(candidate=BEST, replicas=(5,), chips=40, value=0.4),
        apart=Best(candidate=OTHER, replicas=(3, 4), chips=44, value=0.3) if apart else None,
        winner="apart" if apart else "together",
        gain_fraction=0.25 if apart else math.inf,
        reason="interference of prefill with decode" if apart else "no fabric",
        why=f"{isl} tokens: because",
    )


APART = BreakEvenMap(
    chip="h200",
    objective="usd_per_million_tokens",
    osl_tokens=500,
    isl_tokens=(250, 4000),
    rates_per_s=(2.0, 20.0),
    handoff_bytes_per_s=(6.25e9, 5e10),
    own_bytes_per_s=5e10,
    cells=tuple(cell(*place) for place in itertools.product((250, 4000), (2.0, 20.0), (6.25e9, 5e10))),
)


def ratio_row(prefill: int, decode: int, value: float) -> RatioRow:
    return RatioRow(
        prefill_replicas=prefill,
        decode_replicas=decode,
        prefill_chips=4 * prefill,
        decode_chips=8 * decode,
        ratio=prefill / decode,
        chips_per_request_per_s=2.2,
        value=value,
        short="prefill" if prefill < 3 else "decode",
        idle_fraction=0.16,
    )


RATIO = RatioTable(
    candidate=plans_by_hand.candidate(
        plans_by_hand.pool_plan("h200", role=Role.PREFILL, tp=4),
        plans_by_hand.pool_plan("h200", role=Role.DECODE),
    ),
    objective="usd_per_million_tokens",
    prefill_per_s=9.5,
    decode_per_s=7.25,
    balanced=0.763,
    rows=(ratio_row(1, 2, 0.7), ratio_row(3, 4, 0.5213), ratio_row(4, 2, 0.9)),
    best=ratio_row(3, 4, 0.5213),
    flat_low=0.7,
    flat_high=0.82,
    tolerance_fraction=0.05,
)

OFFLOAD = OffloadTable(
    where="1 x h200 TP8",
    rows=tuple(
        OffloadRow(
            tier=tier,
            prefix_tokens=tokens,
            cache_bytes=160e3 * tokens,
            load_s=160e3 * tokens / speed + 1e-3,
            recompute_s=3e-6 * tokens,
            recompute_chip_s=2.4e-5 * tokens,
            break_even_bytes_per_s=math.inf if tokens < 500 else 5.4e10,
        )
        for tier, speed in (("host", 6.4e10), ("ssd", 1.4e10))
        for tokens in (256, 4096, 65_536)
    ),
    tiers=(
        TierAnswer(tier="host", bytes_per_s=6.4e10, latency_s=1e-3, holds_tokens=3_000_000, from_tokens=4096),
        TierAnswer(tier="ssd", bytes_per_s=1.4e10, latency_s=1e-3, holds_tokens=30_000_000, from_tokens=None),
    ),
    loads_at_once=1,
)


def draft_row(sequences: int, accepted: float, tokens: float) -> DraftRow:
    return DraftRow(
        draft_tokens=3,
        sequences=sequences,
        acceptance_fraction=accepted,
        plain_step_s=0.02,
        drafted_step_s=0.024,
        tokens_per_step=tokens,
        break_even_acceptance_fraction=0.17,
    )


DRAFTS = (draft_row(1, 0.5, 1.9), draft_row(1, 0.9, 3.4), draft_row(64, 0.5, 1.1), draft_row(64, 0.9, 2.0))
SPECULATION = DraftTable(where="1 x h200 TP8", drafting="NGram", rows=DRAFTS, best=DRAFTS, most_sequences=316)

ALL = (SENSITIVITY, SELF_HOST, FEWER, APART, RATIO, OFFLOAD, SPECULATION)
