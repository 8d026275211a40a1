"""From a pool of a deployment to what the event kernel serves on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.core import OperandKind
from tokenroof.catalog.model import LinearAttention, Mamba, ModelSpec, Precision
from tokenroof.deploy.capacity import tier_of
from tokenroof.deploy.core import Deployment, Infeasible, Pool, Role
from tokenroof.deploy.halves.models import part_of
from tokenroof.deploy.handoff import handoff_fabric, start_s
from tokenroof.deploy.provenance import machine_of
from tokenroof.deploy.simulated.drafting.core import Drafting, draft_lane, with_lane
from tokenroof.deploy.simulated.engines.choose import engine_options, engine_with
from tokenroof.deploy.simulated.engines.options import EngineSettings
from tokenroof.deploy.simulated.memory import CacheSize, DraftMemory, cache_size, rank_chips
from tokenroof.deploy.simulated.offload import Offload
from tokenroof.deploy.simulated.startup import start_up_s
from tokenroof.errors import InputError
from tokenroof.graph.memory import fixed_bytes_per_sequence_per_chip, kv_bytes_per_token_per_chip
from tokenroof.perf.lowprec import formats_on
from tokenroof.perf.table import StepTable, compile_table
from tokenroof.serve.core import Link, PoolSetup, Speculation, Stage

STAGES = {Role.BOTH: Stage.BOTH, Role.PREFILL: Stage.PREFILL, Role.DECODE: Stage.DECODE}


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """How a pool is served, beside its chip, engine and sharding.

    Attributes
    ----------
    settings : EngineSettings or None
        Options of its engine; None takes the catalog's values.
    drafting : Drafting or None
        What speculates.
    offload : tuple of Offload
        Where evicted cache goes, nearest first.
    overlap_fraction : float
        Part of a hand-off that is sent layer by layer while the prompt is still computed, 0 to 1.
    start_up_s : float or None
        From the decision to serve until the first step of a new replica; None: see ``startup``. [s]
    prefix_caching : bool or None
        Whether prompts share blocks; None: as the engine's options say.
    """

    settings: EngineSettings | None = None
    drafting: Drafting | None = None
    offload: tuple[Offload, ...] = ()
    overlap_fraction: float = 0.0
    start_up_s: float | None = None
    prefix_caching: bool | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.overlap_fraction <= 1.0:
            raise InputError(f"overlap_fraction must lie in 0..1, got {self.overlap_fraction!r}.")
        if self.start_up_s is not None and not self.start_up_s >= 0.0:
            raise InputError(f"start_up_s must be at least 0, got {self.start_up_s!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """What of the requests decides how memory is cut.

    Attributes
    ----------
    mean_isl_tokens, mean_osl_tokens : float
        Mean prompt and answer. [tokens]
    longest_tokens : int
        Prompt and answer of the longest request. [tokens]
    """

    mean_isl_tokens: float
    mean_osl_tokens: float
    longest_tokens: int

    @property
    def context_tokens(self) -> int:
        """Mean cached tokens of a sequence that decodes. [tokens]"""
        return round(self.mean_isl_tokens + self.mean_osl_tokens / 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A pool as it is served.

    Attributes
    ----------
    pool : Pool
        With its engine as the options have made it.
    options : PoolOptions
        As given.
    size : CacheSize
        Its cache.
    table : StepTable
        Times of its steps, drafting not included.
    setup : PoolSetup
        For the event kernel.
    context_tokens : int
        Cached tokens at which drafting is timed. [tokens]
    """

    pool: Pool
    options: PoolOptions
    size: CacheSize
    table: StepTable
    setup: PoolSetup
    context_tokens: int


def serve_pool(
    pool: Pool, deployment: Deployment, options: PoolOptions, lengths: Lengths, catalog: Catalog
) -> Served | Infeasible:
    """A pool as the event kernel sees it.

    Parameters
    ----------
    pool : Pool
        Of the deployment; legality is checked by the caller.
    deployment : Deployment
        What is served.
    options : PoolOptions
        How.
    lengths : Lengths
        Of the requests.
    catalog : Catalog
        Where the figures of offload tiers come from.

    Returns
    -------
    Served or Infeasible
        The latter when nothing is left for the cache.

    Raises
    ------
    InputError
        Something was asked that the chip, the model or the engine cannot do.
    """
    settings = options.settings or engine_options(pool.engine, {})
    engine = engine_with(pool.engine, settings)
    pool = replace(pool, engine=engine)
    model, precision = part_of(deployment, pool), deployment.precision
    drafting = options.drafting if pool.role is not Role.PREFILL else None
    draft = drafting.memory(pool, deployment) if drafting is not None else DraftMemory()
    size = cache_size(pool, model, precision, settings, longest_tokens=lengths.longest_tokens, draft=draft)
    if isinstance(size, Infeasible):
        return size
    query = 1 + (drafting.draft_tokens if drafting is not None else 0)
    table = step_table(pool, deployment, query)
    lane = (
        None
        if drafting is None
        else draft_lane(pool, deployment, drafting, engine.max_num_batched_tokens, lengths.context_tokens)
    )
    given_s = options.start_up_s
    chip_bytes = tier_of(pool.chip, OperandKind.KV).marketed_capacity_bytes.value
    setup = PoolSetup(
        table=with_lane(table, lane),
        scheduler=settings.scheduler(engine),
        stage=STAGES[pool.role],
        replicas=pool.replicas,
        num_blocks=size.num_blocks,
        block_tokens=size.block_tokens,
        blocks_per_sequence=size.blocks_per_sequence,
        block_bytes=size.block_bytes,
        prefix_caching=_shares_prefixes(options, settings, model),
        tiers=tuple(place.tier(pool, catalog, size.block_bytes) for place in options.offload),
        link=None if pool.role is Role.BOTH else handoff_link(pool, model, precision, options, lengths),
        speculation=None if drafting is None else _speculation(drafting),
        graph_sizes=settings.graph_sizes(
            engine, query_tokens=query, chip_bytes=chip_bytes, tp=pool.parallel.tp
        ),
        start_up_s=start_up_s(pool, model, precision) if given_s is None else given_s,
    )
    return Served(
        pool=pool, options=options, size=size, table=table, setup=setup, context_tokens=lengths.context_tokens
    )


def step_table(pool: Pool, deployment: Deployment, query_tokens: int) -> StepTable:
    """The compiled step model of a pool that decodes so many tokens per sequence and step."""
    machine = machine_of(pool)
    return compile_table(
        part_of(deployment, pool),
        formats_on(deployment.precision, machine.peak_flop_per_s),
        pool.parallel,
        machine,
        dense_tokens=pool.engine.max_num_batched_tokens,
        decode_tokens=query_tokens,
        hot_factor=deployment.expert_load_factor,
    )


def handoff_link(
    pool: Pool, model: ModelSpec, precision: Precision, options: PoolOptions, lengths: Lengths
) -> Link:
    """What a replica sends or receives caches by: the chips of a rank each move their own shard.

    The same bytes and times as :func:`tokenroof.deploy.handoff.handoff_s`; what a sequence holds whatever
    its length is taken at the mean prompt.
    """
    fabric = handoff_fabric(pool.chip)
    assert fabric is not None, "checked by handoff_problem"
    chips, prompt = rank_chips(pool), round(lengths.mean_isl_tokens)
    return Link(
        bytes_per_s=fabric.bandwidth_bytes_per_s.value * chips,
        latency_s=start_s(pool),
        bytes_per_token=float(kv_bytes_per_token_per_chip(model, precision, pool.parallel) * chips),
        bytes_per_sequence=float(
            fixed_bytes_per_sequence_per_chip(model, precision, pool.parallel, prompt) * chips
        ),
        overlap_fraction=options.overlap_fraction,
    )


def _speculation(drafting: Drafting) -> Speculation:
    """Drafting itself is a lane of the table."""
    return Speculation(draft_tokens=drafting.draft_tokens, acceptance_fraction=drafting.acceptance_fraction)


def _shares_prefixes(options: PoolOptions, settings: EngineSettings, model: ModelSpec) -> bool:
    """Engines share prefixes unless told not to, but not the state of recurrent layers."""
    asked = settings.prefix_caching if options.prefix_caching is None else options.prefix_caching
    if asked is not None:
        return asked
    return not any(
        isinstance(mixer, Mamba | LinearAttention) for group in model.layers for mixer in group.mixers
    )
