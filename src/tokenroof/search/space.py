"""The space: what can be cut, kept and batched how, chip by chip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from tokenroof.catalog.core import Chip, Engine
from tokenroof.catalog.dtypes import dtype
from tokenroof.catalog.model import ModelSpec, Moe, Precision
from tokenroof.deploy.core import Deployment, Infeasible, Pool, Role
from tokenroof.deploy.legality import domain_size, layout_problem, reach
from tokenroof.deploy.simulated.drafting.core import Drafting
from tokenroof.deploy.simulated.engines.options import changed
from tokenroof.graph.core import Parallel
from tokenroof.graph.sharding import sharding_problem
from tokenroof.search.asked import Question, Space

BATCH_LIMITS = (16, 32, 64, 128, 256, 512, 1024)
"""Sequences of a step that are tried, beside the engine's own limit."""

TOKEN_BUDGETS = (2048, 4096, 8192, 16_384)
"""Tokens of a step (chunk sizes) that are tried, beside the engine's own."""

MOST_STAGES = 8
"""Most pipeline stages that are tried when no layouts are given."""

NVFP4 = "nvfp4"
"""4-bit floats with a float8 scale for 16 of them, which one vendor's arithmetic takes; others' 4-bit floats
have a power of two for 32 (OCP microscaling)."""

_NVFP4_VENDOR = "NVIDIA"
_SCALED_CACHES = frozenset({"mxfp8", "nvfp4", "mxfp4"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What has one step model: everything but the limits of a step, the role and the replicas."""

    chip: Chip
    engine: Engine
    parallel: Parallel
    precision: Precision
    drafting: Drafting | None

    def pool(self, role: Role = Role.BOTH) -> Pool:
        """One replica under the engine's own limits."""
        return Pool(chip=self.chip, engine=self.engine, parallel=self.parallel, role=role)

    def deployment(
        self, model: ModelSpec, role: Role = Role.BOTH, expert_load_factor: float = 1.0
    ) -> Deployment:
        """One replica, as a deployment."""
        return Deployment(
            model=model,
            precision=self.precision,
            pools=(self.pool(role),),
            expert_load_factor=expert_load_factor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """A subject that cannot be: which rule, and how."""

    stage: str
    subject: Subject
    reason: str
    problem: Infeasible


def subjects(question: Question) -> tuple[tuple[Subject, ...], tuple[Turned, ...]]:
    """Every subject that is legal, and those that are not.

    Memory is not looked at: it hangs on the limits of a step.
    """
    legal: list[Subject] = []
    turned: list[Turned] = []
    model, space = question.model, question.space
    for subject in _all(question):
        problem = _problem(subject, model)
        if problem is None:
            legal.append(subject)
        else:
            turned.append(Turned(stage="layout", subject=subject, reason=problem[0], problem=problem[1]))
    assert space.engines, "checked by the plan"
    return tuple(legal), tuple(turned)


def _all(question: Question) -> Iterator[Subject]:
    model, space = question.model, question.space
    for chip in question.chips:
        ways = space.parallels or layouts(model, chip, space)
        for engine in space.engines:
            for precision in space.precisions or (model.precision,):
                for parallel in ways:
                    for drafting in space.drafting:
                        yield Subject(
                            chip=chip,
                            engine=engine,
                            parallel=parallel,
                            precision=precision,
                            drafting=drafting,
                        )


def layouts(model: ModelSpec, chip: Chip, space: Space) -> tuple[Parallel, ...]:
    """Powers of two: TP inside the scale-up domain, attention DP with EP for routed experts, PP beyond."""
    most = min(reach(chip), space.most_chips_per_replica)
    flat = [size for size in _powers(most) if size <= domain_size(chip)]
    stages = [count for count in _powers(MOST_STAGES) if count <= min(most, model.num_layers)]
    found = [Parallel(tp=tp, pp=pp) for tp in flat for pp in stages if tp * pp <= most]
    if any(isinstance(group.ffn, Moe) for group in model.layers):
        experts = [
            Parallel(tp=tp, ep=tp, pp=pp) for tp in flat for pp in stages if tp > 1 and tp * pp <= most
        ]
        experts += [
            Parallel(tp=tp, dp=dp, ep=tp * dp)
            for tp in flat
            for dp in _powers(most)
            if dp > 1 and tp * dp <= most and tp <= 8
        ]
        found += experts
    return tuple(dict.fromkeys(found))


def _powers(most: int) -> list[int]:
    return [1 << power for power in range(most.bit_length()) if 1 << power <= most]


def _problem(subject: Subject, model: ModelSpec) -> tuple[str, Infeasible] | None:
    """The rule that a subject breaks, in a few words and in full; None when it is legal."""
    lacking = format_problem(subject.chip, subject.precision, model)
    if lacking is not None:
        return "format", lacking
    clash = _sharding(model, subject.parallel, subject.precision)
    if clash is not None:
        return "layout", Infeasible(reason=f"not legal: {clash}")
    problem = layout_problem(subject.pool(), model, subject.precision)
    return None if problem is None else ("fabric", problem)


@lru_cache(maxsize=8192)
def _sharding(model: ModelSpec, parallel: Parallel, precision: Precision) -> str | None:
    """Asked once for all chips: looking for the nearest legal layout takes long."""
    return sharding_problem(model, parallel, precision)


def format_problem(chip: Chip, precision: Precision, model: ModelSpec) -> Infeasible | None:
    """Why a chip is not tried with these formats, or None.

    A checkpoint's own formats run everywhere (unpacked where the chip lacks their arithmetic). Others are
    tried where the chip has a peak for them, and a scaled cache where it has one in 4-bit floats.
    """
    peaks = chip.peak_flop_per_s
    own = model.precision
    given = {precision.weights, precision.experts} - {own.weights, own.experts} | {precision.kv}
    if NVFP4 in given and chip.vendor != _NVFP4_VENDOR:
        reason = f"{NVFP4} is arithmetic of {_NVFP4_VENDOR}, not of {chip.vendor} ({chip.name}). Use fp8."
        return Infeasible(reason=reason)
    if precision.kv in _SCALED_CACHES and "fp4" not in peaks:
        reason = f"a {precision.kv} cache needs a 4-bit float peak, {chip.name} states none. Use fp8 or bf16."
        return Infeasible(reason=reason)
    for wanted, mine in ((precision.weights, own.weights), (precision.experts, own.experts)):
        needed = dtype(wanted).compute
        if wanted != mine and needed not in peaks:
            reason = (
                f"{wanted} weights need a peak in {needed}, {chip.name} states none "
                f"(it has {', '.join(sorted(peaks))}). Use the checkpoint's own format."
            )
            return Infeasible(reason=reason)
    return None


def batch_limits(space: Space, engine: Engine) -> tuple[int, ...]:
    """Sequences of a step that are tried, ascending."""
    return space.max_num_seqs or tuple(sorted({*BATCH_LIMITS, engine.max_num_seqs}))


def token_budgets(space: Space, engine: Engine) -> tuple[int, ...]:
    """Tokens of a step that are tried, ascending."""
    return space.max_num_batched_tokens or tuple(sorted({*TOKEN_BUDGETS, engine.max_num_batched_tokens}))


class Engines:
    """Engines with other limits of a step: the same limits give the same object.

    Step tables and machines are kept by the identity of chip and engine.
    """

    def __init__(self, engines: Iterable[Engine]) -> None:
        self._by_name = {engine.name: engine for engine in engines}
        self._made: dict[tuple[str, int, int], Engine] = {}

    def own(self, name: str) -> Engine:
        """With the limits that it comes with."""
        return self._by_name[name]

    def limited(self, name: str, max_num_seqs: int, max_num_batched_tokens: int) -> Engine:
        """With these limits."""
        engine, key = self._by_name[name], (name, max_num_seqs, max_num_batched_tokens)
        if key not in self._made:
            same = (engine.max_num_seqs, engine.max_num_batched_tokens) == key[1:]
            self._made[key] = (
                engine
                if same
                else changed(engine, max_num_seqs=max_num_seqs, max_num_batched_tokens=max_num_batched_tokens)
            )
        return self._made[key]
