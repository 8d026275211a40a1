"""A load that lasts a second does not make a plan that no load that goes on could be served by."""

import tokenroof as tr

ASKED = {"slo": {"ttft_p99": "1 s"}, "isl": 1000, "osl": 300, "num_requests": 500, "disaggregated": False}


def test_a_short_burst_is_planned_no_smaller_than_physics_allows() -> None:
    found = tr.plan("llama-3.1-8b", "h100", rate=440, most_simulated=2, workers=1, **ASKED)
    assert found.best is not None
    (bound,) = found.bounds
    assert bound.chips > 1
    assert found.best.chips >= bound.chips


def test_headroom_counts_in_the_bound() -> None:
    bare, roomy = (
        tr.plan("llama-3.1-8b", "h100", rate=200, headroom=room, most_simulated=1, workers=1, **ASKED)
        for room in (0.0, 1.0)
    )
    assert roomy.bounds[0].compute_chips == 2.0 * bare.bounds[0].compute_chips
