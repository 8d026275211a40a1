"""Whether a deployment may keep the halves of its layers apart."""

from __future__ import annotations

from tokenroof.deploy.core import Deployment, Infeasible, Role
from tokenroof.deploy.halves.models import feed_forward_of
from tokenroof.deploy.halves.wires import wires_problem


def halves_problem(deployment: Deployment) -> Infeasible | None:
    """Why the decode pool and the feed-forward pool do not go together, or None.

    Memory and sharding are checked pool by pool, each for its half of the model
    (:func:`tokenroof.deploy.halves.models.part_of`).
    """
    feed_forward = feed_forward_of(deployment)
    if feed_forward is None:
        return None
    attention = next(pool for pool in deployment.pools if pool.role is Role.DECODE)
    model = deployment.model
    if not any(group.ffn is not None for group in model.layers):
        return Infeasible(reason=f"not legal: {model.name} has no feed-forwards to keep apart. Use one pool.")
    for pool in (attention, feed_forward):
        for name in ("pp", "cp"):
            if getattr(pool.parallel, name) > 1:
                reason = (
                    f"not legal: {name}={getattr(pool.parallel, name)} of the {pool.role} pool, whose layers "
                    f"are in halves. Use {name}=1 and more data parallel or expert parallel ways."
                )
                return Infeasible(reason=reason, need=1, have=getattr(pool.parallel, name))
    if attention.parallel.ep > 1:
        reason = (
            f"not legal: ep={attention.parallel.ep} of the decode pool, whose experts are elsewhere. "
            "Give ep to the feed-forward pool."
        )
        return Infeasible(reason=reason, need=1, have=attention.parallel.ep)
    if attention.replicas != feed_forward.replicas:
        reason = (
            f"not legal: {attention.replicas} replicas of attention with {feed_forward.replicas} of "
            "feed-forwards. Use as many; give a replica more data parallel ranks to change the ratio."
        )
        return Infeasible(reason=reason, need=attention.replicas, have=feed_forward.replicas, unit="replicas")
    return wires_problem(attention, feed_forward)
