"""Serving engines as people write them, and their options as a row says them."""

from __future__ import annotations

from collections.abc import Mapping

from tokenroof.calibrate.validation.core import Row, UnmappedError
from tokenroof.calibrate.validation.fields import whole
from tokenroof.calibrate.validation.recipes import Started, started_with
from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.core import Engine
from tokenroof.deploy.simulated.engines.choose import engine_options
from tokenroof.deploy.simulated.engines.options import EngineSettings

_NAMES: tuple[tuple[str, str], ...] = (
    ("sglang", "sglang"),
    ("trt", "trtllm"),
    ("tensorrt", "trtllm"),
    ("vllm", "vllm"),
    ("atom", "vllm"),
    ("llm-d", "vllm"),
    ("mango", "vllm"),
    ("pytorch", "vllm"),
    ("cuda", "trtllm"),
    ("deepseek", "sglang"),
    ("jax", "generic"),
)
"""First word found in a framework's name, to an engine of the catalog.

ATOM is AMD's engine with vLLM's scheduler rules; llm-d and MangoBoost serve with vLLM; MLPerf's "PyTorch"
entries of Intel are vLLM; its "CUDA" entries are TensorRT-LLM.
"""

_WRAPPERS = ("dynamo-", "dynamo ")


def engine_of(said: str, catalog: Catalog) -> Engine:
    """The engine that a framework's name means.

    Raises
    ------
    UnmappedError
        None is known.
    """
    low = said.lower()
    for wrapper in _WRAPPERS:
        low = low.removeprefix(wrapper)
    for word, name in _NAMES:
        if word in low:
            return catalog.engine(name)
    known = ", ".join(dict.fromkeys(word for word, _ in _NAMES))
    raise UnmappedError(f"framework {said[:60]!r} is not known. Known: {known}.")


def settings_of(row: Row, engine: Engine, *, concurrency: int | None, limited: bool) -> EngineSettings:
    """The options of an engine: those of the row's columns, then of its recipe, then the catalog's.

    Parameters
    ----------
    row : Row
        Columns ``max_num_seqs`` ("=conc" is the client's concurrency), ``max_batched_tokens``,
        ``prefix_caching``; for the recipe see :func:`~tokenroof.calibrate.validation.recipes.started_with`.
    engine : Engine
        Whose option names are used.
    concurrency : int or None
        Of the client.
    limited : bool
        Whether the limits are those of this pool; a row with separate pools does not say whose they are.

    Raises
    ------
    UnmappedError
        A limit is no whole number above 0.
    """
    said = _said(row, engine, concurrency, limited)
    started = _started(row, said, concurrency, limited)
    return engine_options(engine, {**{name: each.value for name, each in started.items()}, **said})


def recipe_notes(row: Row, engine: Engine, *, concurrency: int | None, limited: bool) -> tuple[str, ...]:
    """Which options :func:`settings_of` takes from recipes, and where these are from."""
    said = _said(row, engine, concurrency, limited)
    started = _started(row, said, concurrency, limited)
    sources = dict.fromkeys(each.source for each in started.values())
    return tuple(
        "server started with "
        + ", ".join(f"{name}={each.value}" for name, each in started.items() if each.source == source)
        + f" ({source})"
        for source in sources
    )


def _started(
    row: Row, said: Mapping[str, object], concurrency: int | None, limited: bool
) -> dict[str, Started]:
    """Options of the recipe that no column says."""
    if not limited:
        return {}
    return {name: each for name, each in started_with(row, concurrency).items() if name not in said}


def _said(row: Row, engine: Engine, concurrency: int | None, limited: bool) -> dict[str, object]:
    """Options that the columns say."""
    seqs = _max_num_seqs(row, concurrency) if limited else None
    tokens = whole(row, "max_batched_tokens") if limited else None
    options = _OPTIONS[engine.name](seqs, tokens, _caching(row))
    return {name: value for name, value in options.items() if value is not None}


def _max_num_seqs(row: Row, concurrency: int | None) -> int | None:
    if row.text("max_num_seqs").lower() == "=conc":
        if concurrency is None:
            raise UnmappedError("max_num_seqs is '=conc', but the load has no concurrency.")
        return concurrency
    return whole(row, "max_num_seqs")


def _caching(row: Row) -> bool:
    """Whether prompts share blocks; only a row that says so repeats prompts."""
    said = row.text("prefix_caching").lower()
    return said.startswith(("on", "true", "yes", "unknown"))


def _vllm(seqs: int | None, tokens: int | None, caching: bool) -> Mapping[str, object]:
    return {"max_num_seqs": seqs, "max_num_batched_tokens": tokens, "enable_prefix_caching": caching}


def _sglang(seqs: int | None, tokens: int | None, caching: bool) -> Mapping[str, object]:
    # A chunk larger than the default cap of a prompt batch is given together with a cap that admits it.
    given: dict[str, object] = {"max_running_requests": seqs, "disable_radix_cache": not caching}
    if tokens is not None:
        given |= {"chunked_prefill_size": tokens, "max_prefill_tokens": max(tokens, 16384)}
    return given


def _trtllm(seqs: int | None, tokens: int | None, caching: bool) -> Mapping[str, object]:
    # What benchmarks turn on together with attention data parallelism, which alone it concerns: InferenceX's
    # gptoss_fp4_b200_trt.sh and dsr1_fp4_b200_trt.sh, Dynamo's recipes/gpt-oss-120b.
    given = {"max_batch_size": seqs, "max_num_tokens": tokens, "enable_block_reuse": caching}
    return given | {"attention_dp_enable_balance": True}


def _generic(seqs: int | None, tokens: int | None, caching: bool) -> Mapping[str, object]:
    return {"max_num_seqs": seqs, "max_num_batched_tokens": tokens}


_OPTIONS = {"vllm": _vllm, "sglang": _sglang, "trtllm": _trtllm, "generic": _generic}
