"""The closed-form answer: one deployment, one request shape, one concurrency.

``docs/model/estimate.md`` derives every formula. Infeasible is a result with a reason, never an
exception; bad input (a negative length, an unknown name) raises.
"""

from __future__ import annotations

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy import answer_apart, answer_colocated
from tokenroof.deploy.accounts import Spending
from tokenroof.deploy.answer import Question, infeasible
from tokenroof.deploy.core import Deployment, Estimate, Infeasible, Pool, Role
from tokenroof.deploy.generation import plan_of
from tokenroof.deploy.halves.answer import answer as answer_in_halves
from tokenroof.deploy.halves.legality import halves_problem
from tokenroof.deploy.halves.models import feed_forward_of, part_of
from tokenroof.deploy.handoff import handoff_problem
from tokenroof.deploy.intervals import with_intervals
from tokenroof.deploy.legality import context_problem, layout_problem
from tokenroof.errors import InputError
from tokenroof.workload.core import RequestShape


def estimate(
    deployment: Deployment,
    shape: RequestShape,
    *,
    catalog: Catalog,
    concurrency: int | None = None,
    batch: int | None = None,
    spending: Spending | None = None,
    label: str = "",
) -> Estimate:
    """Speed, memory, cost, energy and carbon of a deployment in steady state.

    Parameters
    ----------
    deployment : Deployment
        One pool with both roles, or one prefill and one decode pool, with a feed-forward pool or without.
    shape : RequestShape
        Lengths of every request.
    catalog : Catalog
        Economics and sources.
    concurrency : int, optional
        Requests in the whole deployment at any time (closed loop). Default: 64 per replica, fewer
        when the caches hold fewer; the assumptions say so.
    batch : int, optional
        The same, per decoding replica.
    spending : Spending, optional
        What money and carbon are counted with.
    label : str
        Name of the row in a comparison.

    Returns
    -------
    Estimate
        With ``infeasible`` set and no metrics when the layout is not legal, the model does not fit, or
        more sequences are asked for than the caches hold: nothing is clamped.

    Raises
    ------
    InputError
        A concurrency below 1, both concurrency and batch, or pools of other roles.
    """
    if concurrency is not None and batch is not None:
        raise InputError("give concurrency or batch, not both.")
    for name, value in (("concurrency", concurrency), ("batch", batch)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}.")
    question = Question(
        deployment=deployment,
        shape=shape,
        plan=plan_of(deployment.model, shape),
        catalog=catalog,
        spending=spending or Spending(),
        label=label or ", ".join(dict.fromkeys(pool.chip.name for pool in deployment.pools)),
    )
    problem = _illegal(deployment, shape)
    if problem is not None:
        return infeasible(question, problem, concurrency or batch or 0)
    return with_intervals(_answer(question, concurrency, batch), catalog)


def _answer(question: Question, concurrency: int | None, batch: int | None) -> Estimate:
    deployment = question.deployment
    pools = {pool.role: pool for pool in deployment.pools}
    if Role.BOTH in pools:
        return answer_colocated.answer(question, pools[Role.BOTH], concurrency, batch)
    feed_forward = feed_forward_of(deployment)
    if feed_forward is not None:
        return answer_in_halves(
            question, pools[Role.PREFILL], pools[Role.DECODE], feed_forward, concurrency, batch
        )
    return answer_apart.answer(question, pools[Role.PREFILL], pools[Role.DECODE], concurrency, batch)


def _illegal(deployment: Deployment, shape: RequestShape) -> Infeasible | None:
    roles = sorted(pool.role for pool in deployment.pools)
    apart = [Role.PREFILL, Role.DECODE]
    if roles not in ([Role.BOTH], sorted(apart), sorted([*apart, Role.FEED_FORWARD])):
        beside = " A feed-forward pool comes beside both." if Role.FEED_FORWARD in roles else ""
        raise InputError(
            "a deployment has one pool with both roles, or one prefill and one decode pool; "
            f"got {', '.join(roles)}.{beside}"
        )
    for pool in deployment.pools:
        if pool.replicas < 1:
            raise InputError(f"replicas must be at least 1, got {pool.replicas}.")
        problem = layout_problem(pool, part_of(deployment, pool), deployment.precision)
        if problem is not None:
            return problem
    problem = context_problem(deployment.model, shape) or halves_problem(deployment)
    if problem is None and len(deployment.pools) > 1:
        prefill, decode = _by_role(deployment.pools)
        problem = handoff_problem(prefill, decode)
    if problem is None and deployment.model.generation is not None and feed_forward_of(deployment):
        problem = Infeasible(
            reason=f"{deployment.model.name} denoises blocks, for which layers in halves are not modelled. "
            "Leave out the feed-forward pool."
        )
    return problem


def _by_role(pools: tuple[Pool, ...]) -> tuple[Pool, Pool]:
    by_role = {pool.role: pool for pool in pools}
    return by_role[Role.PREFILL], by_role[Role.DECODE]
