"""Which options an engine has, and the engine and batching rule that come of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from tokenroof.catalog.core import Engine
from tokenroof.deploy.simulated.engines.generic import GenericOptions
from tokenroof.deploy.simulated.engines.options import EngineSettings, read_options
from tokenroof.deploy.simulated.engines.sglang import SglangOptions
from tokenroof.deploy.simulated.engines.static import StaticOptions
from tokenroof.deploy.simulated.engines.trtllm import TrtllmOptions
from tokenroof.deploy.simulated.engines.vllm import VllmOptions
from tokenroof.errors import CatalogError, UnknownNameError

_BY_RULE: Mapping[str, type[EngineSettings]] = {
    "utilization": VllmOptions,
    "static_fraction": SglangOptions,
    "free_fraction": TrtllmOptions,
    "all": GenericOptions,
}

SCHEDULERS: Mapping[str, type[EngineSettings]] = {
    "vllm": VllmOptions,
    "sglang": SglangOptions,
    "trtllm": TrtllmOptions,
    "generic": GenericOptions,
    "static": StaticOptions,
}
"""Options by the name of the batching rule."""


def engine_options(
    engine: Engine, options: Mapping[str, object], *, scheduler: str | None = None
) -> EngineSettings:
    """The options of an engine, checked.

    Parameters
    ----------
    engine : Engine
        Of the catalog; its memory rule says which engine's options it has.
    options : mapping of str to object
        Under the engine's own names.
    scheduler : str, optional
        Another batching rule on the same kernels, a name of :data:`SCHEDULERS`: "static" is the baseline.

    Raises
    ------
    CatalogError
        The engine has an unknown memory rule.
    InputError
        An unknown batching rule or option (with the nearest), or a value of another type or out of range.
    """
    if scheduler is not None and scheduler not in SCHEDULERS:
        raise UnknownNameError("scheduler", scheduler, SCHEDULERS)
    if scheduler is None and engine.budget_rule not in _BY_RULE:
        raise CatalogError(f"engine {engine.name}: unknown budget_rule {engine.budget_rule!r}.")
    kind = SCHEDULERS[scheduler] if scheduler is not None else _BY_RULE[engine.budget_rule]
    return read_options(kind, scheduler or engine.name, options)


class _Asked:
    """A cache key: the identity of an engine (engines hold mappings and do not hash), and the options."""

    __slots__ = ("engine", "settings")

    def __init__(self, engine: Engine, settings: EngineSettings) -> None:
        self.engine, self.settings = engine, settings

    def __hash__(self) -> int:
        return hash((id(self.engine), self.settings))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and other.engine is self.engine and other.settings == self.settings


def engine_with(engine: Engine, settings: EngineSettings) -> Engine:
    """The catalog's engine with a user's options; asked again with the same, the same object.

    Step tables are kept by the identity of chip and engine.
    """
    return _engine_with(_Asked(engine, settings))


@lru_cache(maxsize=256)
def _engine_with(asked: _Asked) -> Engine:
    return asked.settings.engine(asked.engine)
