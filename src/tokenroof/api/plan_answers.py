"""What people ask beside the choice: how sure it is, apart or not, drafts, offload, an API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.simulated.drafting.eagle import Eagle
from tokenroof.deploy.simulated.drafting.model import DraftModel
from tokenroof.deploy.simulated.drafting.mtp import Mtp
from tokenroof.deploy.simulated.drafting.ngram import NGram
from tokenroof.deploy.simulated.offload import Host, Ssd
from tokenroof.errors import InputError
from tokenroof.report.plan_answers import Answer
from tokenroof.search.answers.core_result import ApiPrice
from tokenroof.search.asked import Question
from tokenroof.search.core import PlanResult, Store

if TYPE_CHECKING:
    from tokenroof.search.answers.speculate import Drafts

ANSWERS = ("sensitivity", "fewer", "apart", "ratio", "offload", "speculation", "self-host")
"""Names of what can be asked, in the order in which it is shown."""

_TIER_BYTES = 1e12
"""Of a tier that is only asked how fast it is: its size does not matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Answers beside a choice, and why others have none.

    Attributes
    ----------
    answers : tuple
        In the order of :data:`ANSWERS`.
    missing : tuple of (str, str)
        Names, and why there is no answer.
    """

    answers: tuple[Answer, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()


def answers_of(
    names: Sequence[str],
    result: PlanResult,
    catalog: Catalog,
    *,
    api: ApiPrice | None = None,
    store: Store | None = None,
    workers: int | None = None,
) -> Beside:
    """Answers beside the choice of a plan; none where there is no choice.

    Parameters
    ----------
    names : sequence of str
        Of :data:`ANSWERS`.
    result : PlanResult
        The plan.
    catalog : Catalog
        Of the plan.
    api : ApiPrice, optional
        What self-hosting is compared with.
    store : Store, optional
        Finished simulations of the plan.
    workers : int, optional
        Processes.
    """
    if result.best is None:
        return Beside()
    made = _makers(result, catalog, api, store, workers)
    answers, missing = [], []
    every = set(names) == set(ANSWERS)  # nobody asked for the one that there is none of
    for name in (each for each in ANSWERS if each in names):
        found = made[name]
        if isinstance(found, str):
            if not every:
                missing.append((name, found))
            continue
        try:
            answers.append(found())
        except InputError as error:  # what cannot be asked of this plan: the choice stands without it
            missing.append((name, str(error)))
    return Beside(answers=tuple(answers), missing=tuple(missing))


def _makers(
    result: PlanResult, catalog: Catalog, api: ApiPrice | None, store: Store | None, workers: int | None
) -> dict[str, Callable[[], Answer] | str]:
    """How to come by every answer, or why there is none."""
    from tokenroof.search.answers.disaggregate import disaggregate
    from tokenroof.search.answers.fewer import fewer
    from tokenroof.search.answers.offload import offload
    from tokenroof.search.answers.ratio import ratio
    from tokenroof.search.answers.self_host import self_host
    from tokenroof.search.answers.sensitivity import sensitivity
    from tokenroof.search.answers.speculate import speculate

    best, question = result.best, result.question
    assert best is not None, "asked of a plan with a choice alone"
    candidate, space = best.candidate, question.space
    apart = len(candidate.pools) > 1
    open_ways = space.colocated and space.disaggregated
    tiers = next(filter(None, space.offload), (Host(size_bytes=_TIER_BYTES), Ssd(size_bytes=_TIER_BYTES)))
    return {
        "sensitivity": partial(sensitivity, result, catalog=catalog),
        "fewer": partial(fewer, result, catalog=catalog, store=store, workers=workers),
        "apart": partial(disaggregate, question, catalog=catalog, chip=candidate.pools[-1].chip)
        if open_ways
        else "only one of together and apart is left open.",
        "ratio": partial(ratio, question, candidate if apart else None, catalog=catalog)
        if space.disaggregated
        else "prefill and decode apart is not left open.",
        "offload": partial(offload, question, candidate, tiers, catalog=catalog),
        "speculation": partial(speculate, question, candidate, _drafts(question)),
        "self-host": partial(self_host, result, api, catalog=catalog)
        if api is not None
        else "no price of an API is given. Give api: {input: ..., output: ...}.",
    }


def _drafts(question: Question) -> Drafts:
    """How to draft: as is asked; else with the model's own layers for it, else with an EAGLE-3 head."""
    asked = next(filter(None, question.space.drafting), None)
    match asked:
        case DraftModel():
            return partial(DraftModel, model=asked.model, precision=asked.precision)
        case Mtp() | NGram() | Eagle():
            return type(asked)
        case _:
            return Mtp if question.model.mtp else Eagle
