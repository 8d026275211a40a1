"""The nouns of answers about a finished plan: against an API, with fewer chips, under what is not sure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tokenroof.errors import InputError
from tokenroof.search.core import Candidate, Check

SELF, API = "self-hosted", "API"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiPrice:
    """What somebody else asks for tokens.

    Attributes
    ----------
    usd_per_mtok_input, usd_per_mtok_output : float
        Of prompts and answers. [USD/Mtok]
    usd_per_mtok_cached : float or None
        Of the part of a prompt that was sent before; None: the price of prompts. [USD/Mtok]
    name : str
        For tables.

    Raises
    ------
    InputError
        A price below 0, or no price at all.
    """

    usd_per_mtok_input: float
    usd_per_mtok_output: float
    usd_per_mtok_cached: float | None = None
    name: str = API

    def __post_init__(self) -> None:
        for name in ("usd_per_mtok_input", "usd_per_mtok_output", "usd_per_mtok_cached"):
            value = getattr(self, name)
            if value is not None and not (value >= 0.0 and math.isfinite(value)):
                raise InputError(f"{name} must be at least 0 and finite, got {value!r}.")
        if not self.usd_per_mtok_input + self.usd_per_mtok_output > 0.0:
            raise InputError("both prices of the API are 0. Give what a million tokens costs there.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfHostRow:
    """The cheapest deployment of the plan, grown or shrunk to a load, against the API.

    Attributes
    ----------
    candidate : Candidate
        Of the choices of the plan the cheapest at this load.
    rate_per_s : float
        Requests. [1/s]
    replicas : tuple of int
        By pool, spares included.
    chips : int
        Of the deployment.
    usd_per_hour, api_usd_per_hour : float
        Of the deployment for every hour that serves at this rate, and of the API for it. [USD/h]
    usd_per_mtok, api_usd_per_mtok : float
        Over prompt and answer tokens. [USD/Mtok]
    """

    candidate: Candidate
    rate_per_s: float
    replicas: tuple[int, ...]
    chips: int
    usd_per_hour: float
    api_usd_per_hour: float
    usd_per_mtok: float
    api_usd_per_mtok: float

    @property
    def cheaper(self) -> str:
        """:data:`SELF` or :data:`API`; the API when they cost the same."""
        return SELF if self.usd_per_hour < self.api_usd_per_hour else API


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfHost:
    """Self-hosting against an API price.

    Attributes
    ----------
    price : ApiPrice
        Of the API.
    here : SelfHostRow
        At the asked load.
    rows : tuple of SelfHostRow
        At other loads, ascending.
    break_even_fixed_per_s : float
        Rate at which the deployment of the asked load costs as much as the API. Above the asked rate it
        would have to serve more than it was planned for. [1/s]
    break_even_per_s : float or None
        Least rate from which on, up to the highest of the rows, the deployment that such a rate needs costs
        less than the API; 0 when it always does, None when it does not at the highest. [1/s]
    break_even_factor : float
        Factor on all prices of the API at which both cost the same at the asked load.
    notes : tuple of str
        What was assumed.
    """

    price: ApiPrice
    here: SelfHostRow
    rows: tuple[SelfHostRow, ...]
    break_even_fixed_per_s: float
    break_even_per_s: float | None
    break_even_factor: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FewerRow:
    """So many replicas, simulated.

    Attributes
    ----------
    pool : str
        From which replicas were taken: "both", "prefill" or "decode"; "" for the choice itself.
    replicas : tuple of int
        By pool, spares not included.
    chips : int
        With spares.
    usd_per_hour : float or None
        [USD/h]
    saved_fraction : float
        Of the chips of the choice.
    checks : tuple of Check
        Targets; the worst value over the seeds of the question.
    missed : str
        What is missed, in one line; "" for nothing.
    """

    pool: str
    replicas: tuple[int, ...]
    chips: int
    usd_per_hour: float | None
    saved_fraction: float
    checks: tuple[Check, ...]
    missed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FewerTable:
    """What fewer chips would cost in latency.

    Attributes
    ----------
    candidate : Candidate
        Of the choice.
    rows : tuple of FewerRow
        The choice first, then fewer and fewer of each pool.
    notes : tuple of str
        What was assumed.
    """

    candidate: Candidate
    rows: tuple[FewerRow, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """What is drawn.

    Attributes
    ----------
    price_fraction : float
        Prices of every kind of chip lie evenly within so much of the stated ones, each kind by itself.
    growth_low, growth_high : float
        Traffic over the asked one lies evenly between; 1 and 1 is as asked.
    prediction : bool
        Whether speeds lie within the intervals of the prediction.
    draws : int
        How many.
    seed : int
        Of all of them.
    """

    price_fraction: float = 0.2
    growth_low: float = 0.8
    growth_high: float = 1.5
    prediction: bool = True
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.price_fraction < 1.0:
            raise InputError(f"price_fraction must lie in 0..1, got {self.price_fraction!r}. 0.2 is 20 %.")
        if not 0.0 < self.growth_low <= self.growth_high < math.inf:
            raise InputError(
                f"growth must be above 0 and in order, got {self.growth_low!r} and {self.growth_high!r}. "
                "1.5 is half as much again."
            )
        if self.draws < 1:
            raise InputError(f"draws must be at least 1, got {self.draws}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How often a candidate is the best; None: no candidate can serve in such a draw."""

    candidate: Candidate | None
    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """Where one thing alone changes the choice.

    Attributes
    ----------
    what : str
        "price of h100", "traffic", "speed of h100, vllm".
    factor : float
        On what is assumed, at which another is best; nan when none is within the range that was looked at.
    to : Candidate or None
        The other; None: nothing serves there.
    """

    what: str
    factor: float
    to: Candidate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """How sure a choice is.

    Attributes
    ----------
    candidate : Candidate
        The choice.
    doubts : Doubts
        What was drawn.
    same_fraction : float
        Part of the draws in which the choice is the same.
    same_chips_fraction : float
        Part of them in which the best is on the same kinds of chips, in the same roles.
    alone : mapping of str to float
        The same when only one thing is drawn: "price", "traffic", "prediction".
    shares : tuple of Share
        Of all draws, most frequent first.
    flips : tuple of Flip
        Break-evens of each price, of traffic up and down, and of the speed of the choice, one by one.
    regret_fraction : float
        Mean of what the choice costs more than the best of a draw, where it is possible.
    impossible_fraction : float
        Part of the draws in which the choice cannot keep the targets with any number of replicas.
    notes : tuple of str
        What was assumed.
    """

    candidate: Candidate
    doubts: Doubts
    same_fraction: float
    same_chips_fraction: float
    alone: Mapping[str, float]
    shares: tuple[Share, ...]
    flips: tuple[Flip, ...]
    regret_fraction: float
    impossible_fraction: float
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """In one line: "the choice is the same in 93 % of 1000 draws"."""
        return f"the choice is the same in {self.same_fraction:.0%} of {self.doubts.draws} draws"
