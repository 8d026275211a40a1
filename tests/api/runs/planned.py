"""A small plan that is kept, as a process of its own: what ``tokenroof plan`` does with a run."""

import sys
from pathlib import Path

from tokenroof.api.runs.simulations import Simulations
from tokenroof.api.runs.store import RunStore
from tokenroof.api.runs.tables import plan_tables
from tokenroof.catalog.catalog import load
from tokenroof.graph.core import Parallel
from tokenroof.search.asked import Question, Space, Target
from tokenroof.search.plan import plan
from tokenroof.workload.arrivals import Poisson
from tokenroof.workload.lengths import Fixed
from tokenroof.workload.pairs import Independent
from tokenroof.workload.synthetic import OpenLoop, Traffic

ASKED = {
    "model": "llama-3.1-8b",
    "chips": ["h100", "h200"],
    "rate": 20.0,
    "ttft_p99_s": 1.0,
    "tpot_p95_s": 0.03,
}


def question(catalog):
    mix = (Traffic(lengths=Independent(isl=Fixed(tokens=1000), osl=Fixed(tokens=100))),)
    return Question(
        model=catalog.model(ASKED["model"]),
        workload=OpenLoop(arrivals=Poisson(rate_per_s=ASKED["rate"]), mix=mix, num_requests=300),
        chips=tuple(catalog.chip(name) for name in ASKED["chips"]),
        space=Space(
            engines=(catalog.engine("vllm"),),
            parallels=(Parallel(tp=1), Parallel(tp=2)),
            max_num_seqs=(256,),
            max_num_batched_tokens=(8192,),
            disaggregated=False,
        ),
        targets=(
            Target(latency="ttft", limit_s=ASKED["ttft_p99_s"]),
            Target(latency="tpot", limit_s=ASKED["tpot_p95_s"], quantile=0.95),
        ),
    )


class Told(Simulations):
    """Says aloud what it has kept."""

    def put(self, key, record):
        super().put(key, record)
        print(key, flush=True)  # noqa: T201 - the test reads it


def main(path, workers):
    catalog = load()
    with RunStore(path, ASKED, label="small", resume=True) as run:
        store = Told(run)
        result = plan(question(catalog), catalog=catalog, store=store, workers=workers)
        run.finish(plan_tables(result, store.used))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
