"""The whole spec."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from tokenroof.api.spec.kinds import Whole
from tokenroof.api.spec.sections import (
    CacheSection,
    ClassSection,
    CostSection,
    EngineSection,
    FleetSection,
    ModelSection,
    OutputSection,
    PoolSection,
    Section,
    SloSection,
    SpeculationSection,
    named,
)
from tokenroof.api.spec.traffic import TrafficSection


class Spec(Section):
    """A serving under load: what is served on what, and what it is asked to do.

    Attributes
    ----------
    model : ModelSection
        A name alone will do.
    chip : tuple of PoolSection
        One pool that does both; several are compared, one run each.
    pools : tuple of PoolSection
        Instead of ``chip``: a prefill and a decode pool.
    engine, cache, speculation, traffic, slo, classes, fleet, cost, output : sections
        See each.
    seed : int
        The same seed gives the same run.
    """

    model: ModelSection
    chip: tuple[PoolSection, ...] = ()
    pools: tuple[PoolSection, ...] = ()
    engine: EngineSection = Field(default_factory=EngineSection)
    cache: CacheSection = Field(default_factory=CacheSection)
    speculation: SpeculationSection | None = None
    traffic: TrafficSection
    slo: SloSection = Field(default_factory=SloSection)
    classes: tuple[ClassSection, ...] = ()
    fleet: FleetSection = Field(default_factory=FleetSection)
    cost: CostSection = Field(default_factory=CostSection)
    output: OutputSection = Field(default_factory=OutputSection)
    seed: Whole = 0

    @field_validator("model", "engine", mode="before")
    @classmethod
    def _short(cls, given: object) -> object:
        return named(given)

    @field_validator("chip", mode="before")
    @classmethod
    def _chips(cls, given: object) -> object:
        several = given if isinstance(given, list | tuple) else (given,)
        return tuple(each if isinstance(each, dict | Section) else {"chip": each} for each in several)

    @model_validator(mode="after")
    def _chip_or_pools(self) -> Spec:
        if bool(self.chip) == bool(self.pools):
            raise ValueError("give chip, or pools of a prefill and a decode chip, one of the two")
        roles = sorted(pool.role for pool in self.pools)
        if self.pools and roles not in (["both"], ["decode", "prefill"]):
            raise ValueError(f"pools must be one prefill and one decode pool, or one of both, got {roles}")
        if any(pool.role != "both" for pool in self.chip):
            raise ValueError("chip has one pool that does both. Write pools to split prefill and decode")
        return self

    @property
    def layouts(self) -> tuple[tuple[PoolSection, ...], ...]:
        """Pools of each deployment that is run."""
        if self.pools:
            return (tuple(sorted(self.pools, key=lambda pool: pool.role != "prefill")),)
        return tuple((pool,) for pool in self.chip)

    def plain(self) -> dict[str, Any]:
        """What was said, as plain values for a file, defaults left out."""
        return self.model_dump(mode="python", exclude_unset=True)
