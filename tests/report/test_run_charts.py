"""Charts of simulated runs: what they hold and how much of it."""

import numpy as np
import pytest
import runs_by_hand
from runs_by_hand import Stage

from tokenroof.errors import InputError
from tokenroof.report import charts
from tokenroof.report.charts import latency, timeline
from tokenroof.report.charts.goodput import goodput_rows
from tokenroof.report.labels import limits_line, workload_line


@pytest.mark.parametrize("kind", charts.SIMULATED_KINDS)
def test_every_kind_draws_one_and_several(kind):
    for estimates in (runs_by_hand.swept()[:1], runs_by_hand.swept((1.0, 5.0))):
        assert charts.svg(charts.chart(estimates, kind)).startswith("<svg")


@pytest.mark.parametrize("kind", charts.SIMULATED_KINDS)
def test_closed_form_has_no_run_to_draw(kind):
    with pytest.raises(InputError, match=r"nothing to draw.*simulate"):
        charts.chart([runs_by_hand.by_hand.estimate()], kind)


def test_a_curve_of_many_requests_keeps_its_ends_and_few_points():
    run = runs_by_hand.run(count=20_000)
    (curve,) = latency.curves_of("h100", run, "ttft_s", alone=True)
    rows = latency.points(curve)
    waits = run.log.first_s - run.log.arrival_s
    assert len(rows) <= latency.MOST_POINTS
    assert rows[0]["s"] == waits.min()
    assert (rows[-1]["s"], rows[-1]["share"]) == (waits.max(), 1.0)


def test_a_request_of_one_token_has_no_time_per_token():
    run = runs_by_hand.run(count=2000)
    (curve,) = latency.curves_of("h100", run, "tpot_s", alone=True)
    assert curve.seconds.size == np.count_nonzero(run.log.out_tokens > 1) < 2000


def test_classes_of_a_lone_run_have_a_curve_and_a_limit_each():
    run = runs_by_hand.run(classes=runs_by_hand.TWO_CLASSES)
    curves = latency.curves_of("h100", run, "ttft_s", alone=True)
    assert [(curve.name, curve.limit_s) for curve in curves] == [("chat", 1.0), ("batch", 20.0)]
    assert sum(curve.seconds.size for curve in curves) == len(run.log)
    (together,) = latency.curves_of("h100", run, "ttft_s", alone=False)
    assert (together.name, together.limit_s) == ("h100", None)


def test_an_interrupted_run_draws_what_was_done():
    estimates = [runs_by_hand.simulated(complete=False)]
    for kind in ("latency", "timeline"):
        assert charts.svg(charts.chart(estimates, kind)).startswith("<svg")


def test_a_timeline_is_thinned_by_means():
    estimate = runs_by_hand.simulated(bins=5001)
    rows = [row for row in timeline.timeline_rows(estimate) if row["quantity"] == "running"]
    assert len(rows) <= timeline.MOST_POINTS
    last = rows[-1]["at"]
    assert last == pytest.approx(640.0, rel=0.01)
    mean = np.mean([row["value"] for row in rows])
    assert mean == pytest.approx(estimate.run.timeline[0, 0].mean(), rel=0.01)


def test_prefill_and_decode_pools_have_lines_of_their_own():
    estimate = runs_by_hand.simulated(stages=(Stage.PREFILL, Stage.DECODE))
    found = {row["series"] for row in timeline.timeline_rows(estimate)}
    assert found >= {"prefill running", "decode running", "prefill cache", "prompt tokens", "output tokens"}


def test_a_cache_without_replicas_is_no_number():
    run = runs_by_hand.run(bins=200)
    run.timeline[0, 6, :50] = 0.0
    rows = timeline.timeline_rows(runs_by_hand.simulated(made=run))
    cache = [row["value"] for row in rows if row["quantity"] == "cache"]
    assert np.isnan(cache[:50]).all()
    assert np.isfinite(cache[50:]).all()
    assert charts.svg(charts.chart([runs_by_hand.simulated(made=run)], "timeline")).startswith("<svg")


def test_the_best_rate_of_each_deployment_is_marked():
    rows = goodput_rows(runs_by_hand.swept() + runs_by_hand.swept((1.0, 2.0), "b200"))
    assert [(row["deployment"], row["rate"]) for row in rows if row["best"]] == [
        ("4 x h100, tp4", 6.0),
        ("4 x b200, tp4", 2.0),
    ]


def test_a_run_says_its_load_and_its_limits():
    estimate = runs_by_hand.simulated()
    assert workload_line(estimate) == "mean 2,000 tokens in, 500 out, 5 requests/s, 3,000 requests"
    assert limits_line(estimate) == "first token within 1 s, 40 ms per token"
    both = runs_by_hand.simulated(classes=runs_by_hand.TWO_CLASSES)
    assert limits_line(both).endswith("; batch first token within 20 s, end to end within 90 s")
