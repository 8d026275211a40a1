"""A plan file: the question of ``tokenroof plan`` as it is written, the input of record.

The sections that a spec of ``simulate`` has too (traffic, classes, speculation, cost) are the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator, field_validator, model_validator

from tokenroof.api.inputs import MOST_WAYS
from tokenroof.api.plan_answers import ANSWERS
from tokenroof.api.spec.kinds import AtLeastOne, Count, Delay, Named, Whole, number
from tokenroof.api.spec.reading import checked, merged, read_spec
from tokenroof.api.spec.sections import (
    ClassSection,
    CostSection,
    Section,
    SpeculationSection,
    TierSection,
    named,
)
from tokenroof.api.spec.traffic import TrafficSection
from tokenroof.errors import InputError, UnknownNameError

ALL = "all"
"""Instead of names: every chip of the catalog that exists and has a price."""


def _several(given: object) -> object:
    """One value stands for a list of one."""
    return given if isinstance(given, list | tuple) else (given,)


def _mapping(given: object) -> object:
    """A mapping, whose content the question checks."""
    if not isinstance(given, Mapping):
        raise ValueError(f"must be names with values, got {given!r}")
    return {str(name): value for name, value in given.items()}


def _objective(given: object) -> object:
    """A name, several, or weights by name."""
    if isinstance(given, Mapping):
        return {str(name): number(weight, "1", least=0.0, above=True) for name, weight in given.items()}
    several = given if isinstance(given, list | tuple) else (given,)
    if not several or not all(isinstance(each, str) for each in several):
        raise ValueError(f"must be a name, a list of names, or names with weights, got {given!r}")
    return given if isinstance(given, str) else tuple(several)


Asked = Annotated[dict[str, Any], PlainValidator(_mapping)]
Wanted = Annotated[str | tuple[str, ...] | dict[str, float], PlainValidator(_objective)]


def _usd_per_hour(given: object) -> float:
    return number(given, "USD/h", least=0.0, above=True)


def _usd_per_mtok(given: object) -> float:
    return number(given, "USD/Mtok", least=0.0, above=False)


def _answers(given: object) -> tuple[str, ...]:
    """Names of answers; "all" and "none" stand for those."""
    if given in (ALL, "none"):
        return ANSWERS if given == ALL else ()
    several = given if isinstance(given, list | tuple) else (given,)
    for each in several:
        if each not in ANSWERS:
            raise UnknownNameError("answer", str(each), (*ANSWERS, ALL, "none"))
    return tuple(str(each) for each in several)


UsdPerHour = Annotated[float, PlainValidator(_usd_per_hour)]
UsdPerMtok = Annotated[float, PlainValidator(_usd_per_mtok)]
Answers = Annotated[tuple[str, ...], PlainValidator(_answers)]


class PlanModel(Section):
    """What is served; formats to try.

    Attributes
    ----------
    name : str, Path or mapping
        As ``tr.plan`` takes it.
    weights, kv : tuple of str or None
        Formats to try, "all" for every one that a chip computes; None: as the model's config.
    expert_load_factor : float
        Routed tokens of the busiest expert rank over the mean.
    """

    name: Named
    weights: tuple[str, ...] | None = None
    kv: tuple[str, ...] | None = None
    expert_load_factor: AtLeastOne = 1.0

    @field_validator("weights", "kv", mode="before")
    @classmethod
    def _lists(cls, given: object) -> object:
        return None if given is None else _several(given)


class LayoutSection(Section):
    """Ways of parallelism of a replica."""

    tp: Count = 1
    pp: Count = 1
    dp: Count = 1
    ep: Count = 1
    cp: Count = 1

    @model_validator(mode="after")
    def _bounded(self) -> LayoutSection:
        for name in ("tp", "pp", "dp", "ep", "cp"):
            if getattr(self, name) > MOST_WAYS:
                raise ValueError(f"{name} must be at most {MOST_WAYS:,}, got {getattr(self, name):,}")
        return self


class SpaceSection(Section):
    """What is left open; see ``search.asked.Space``.

    Attributes
    ----------
    colocated, disaggregated, mixed_chips, mixed_vendors : bool
        Prefill and decode together, apart, apart on different chips, and on chips of different vendors.
    layouts : tuple of LayoutSection
        Layouts to try; none: every legal one.
    max_num_seqs, max_num_batched_tokens : tuple of int
        Limits of a step to try; none: powers of two around the engine's.
    prefix_caching : tuple of bool or None
        Ways to try; none: as the engine does.
    most_chips_per_replica : int
        Largest replica.
    most_simulated : int
        Candidates that are simulated at most.
    """

    colocated: bool = True
    disaggregated: bool = True
    mixed_chips: bool = True
    mixed_vendors: bool = False
    layouts: tuple[LayoutSection, ...] = ()
    max_num_seqs: tuple[Count, ...] = ()
    max_num_batched_tokens: tuple[Count, ...] = ()
    prefix_caching: tuple[bool | None, ...] = (None,)
    most_chips_per_replica: Count = 64
    most_simulated: Count = 48

    @field_validator("layouts", "max_num_seqs", "max_num_batched_tokens", "prefix_caching", mode="before")
    @classmethod
    def _lists(cls, given: object) -> object:
        return _several(given)


class ApiSection(Section):
    """What an API asks for a million tokens, to compare with; ``cached`` is for repeated prompts."""

    input: UsdPerMtok
    output: UsdPerMtok
    cached: UsdPerMtok | None = None
    name: str = "API"


class PlanFile(Section):
    """The whole question.

    Attributes
    ----------
    model : PlanModel
        A name alone will do.
    chips : tuple
        Names and chip files; "all" for every chip that exists and has a price.
    traffic : TrafficSection
        What is sent: a rate with lengths, or a trace.
    classes : tuple of ClassSection
        Kinds of requests; their ``slo`` is what goodput counts (``limits.good_fraction``).
    slo : mapping
        Targets: ``ttft_p99: 1 s``, ``chat.tpot_p95: 40 ms``, ``e2e_mean: 20 s``.
    limits : mapping
        Most ``chips``, ``usd_per_hour``, ``power``, ``racks`` (of ``rack_power``); ``good_fraction``.
    objective : str, list or mapping
        One, several (a Pareto front), or weights by name.
    headroom : float
        The targets are kept at a rate higher by this part.
    spare_replicas : int
        More replicas of every pool; 1 is N+1.
    engine : tuple
        Engines to try.
    space : SpaceSection
        What is left open.
    speculation : SpeculationSection or None
        Tried beside nothing.
    offload : tuple of TierSection
        Where evicted cache goes; tried beside nowhere.
    cost : CostSection
        Which price, region, facility.
    prices : mapping of str to float
        The user's own, by chip, instead of ``cost.price``. [USD/h]
    catalog : tuple of str
        Directories of the user's own chips, models and figures.
    answers : tuple of str
        What is answered beside the choice, of ``plan_answers.ANSWERS``; "all", "none".
    api : ApiSection or None
        Of the answer "self-host".
    seed : int
        Of everything that is drawn.
    confirm_seeds : int
        Further seeds with which a choice must keep its targets.
    """

    model: PlanModel
    chips: tuple[Named, ...] = (ALL,)
    traffic: TrafficSection
    classes: tuple[ClassSection, ...] = ()
    slo: Asked = Field(default_factory=dict)
    limits: Asked = Field(default_factory=dict)
    objective: Wanted = "usd_per_million_tokens"
    headroom: Delay = 0.0  # any number of at least 0, or "20 %"
    spare_replicas: Whole = 0
    engine: tuple[Named, ...] = ("vllm",)
    space: SpaceSection = Field(default_factory=SpaceSection)
    speculation: SpeculationSection | None = None
    offload: tuple[TierSection, ...] = ()
    cost: CostSection = Field(default_factory=CostSection)
    prices: dict[str, UsdPerHour] = Field(default_factory=dict)
    catalog: tuple[str, ...] = ()
    answers: Answers = ANSWERS
    api: ApiSection | None = None
    seed: Whole = 0
    confirm_seeds: Whole = 2

    @field_validator("model", mode="before")
    @classmethod
    def _short(cls, given: object) -> object:
        return named(given)

    @field_validator("chips", "engine", "catalog", mode="before")
    @classmethod
    def _lists(cls, given: object) -> object:
        return _several(given)

    @field_validator("headroom", mode="before")
    @classmethod
    def _part(cls, given: object) -> object:
        return number(given, "1", least=0.0, above=False)

    @model_validator(mode="after")
    def _one_price(self) -> PlanFile:
        if self.prices and {"price", "capex_usd"} & self.cost.model_fields_set:
            raise ValueError("give prices of your own, or cost.price, one of the two")
        return self


def read_plan(path: Path | None, over: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in a plan file with the given keys laid over it, not checked yet.

    Raises
    ------
    InputError
        A file that cannot be read; nothing is given.
    """
    given = merged({} if path is None else read_spec(path), over)
    if not given:
        raise InputError("nothing is asked. Give a plan file, or --model and --rate or --trace.")
    return given


def plan_of(given: Mapping[str, Any], *, where: str = "") -> PlanFile:
    """A checked plan file.

    Parameters
    ----------
    given : mapping
        Sections by name.
    where : str
        File that it stands in, for errors.

    Raises
    ------
    InputError
        The first thing wrong, with its place and what is near.
    """
    return checked(PlanFile, given, where=where)
