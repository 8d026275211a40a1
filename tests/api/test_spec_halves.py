"""A decode pool with its feed-forwards elsewhere, as a spec says it."""

import pytest

import tokenroof as tr
from tokenroof.errors import InputError

TRAFFIC = {"rate": 2, "num_requests": 20, "isl": 300, "osl": 30}
FIRST = {"role": "prefill", "chip": "h100"}
OTHER = {"chip": "b200", "tp": 1, "micro_batches": 2}


def spec(**decode):
    return {
        "model": "llama-3.1-8b",
        "pools": [FIRST, {"role": "decode", "chip": "h100", **decode}],
        "traffic": TRAFFIC,
    }


def test_a_feed_forward_pool_comes_last_and_counts():
    answer = tr.simulate(spec=spec(feed_forward=OTHER, replicas=2))
    deployment = answer[0].deployment
    assert [str(pool.role) for pool in deployment.pools] == ["prefill", "decode", "feed_forward"]
    assert [pool.replicas for pool in deployment.pools] == [1, 2, 2]
    assert deployment.pools[2].micro_batches == 2
    assert answer.metric("chips") == 5
    assert answer.metric("completed_requests") == 20
    assert set(answer[0].phases) == {"prefill", "decode", "feed_forward"}
    assert "feed_forward" in answer.json()
    shown = str(answer)
    assert "time at work on its half of the layers: feed_forward" in shown
    assert "time limited by waiting: decode" in shown


def test_every_way_of_showing_it_works(tmp_path):
    answer = tr.simulate(spec=spec(feed_forward=OTHER), segments=True)
    answer.save(tmp_path / "page.html")
    answer.save(tmp_path / "run.json")
    answer.save(tmp_path / "run.csv")
    for kind in ("timeline", "roofline", "breakdown", "memory"):
        answer.save(tmp_path / f"{kind}.svg", kind=kind)
    answer.save_perfetto(tmp_path / "trace.json")
    assert all(path.stat().st_size > 500 for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 8


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        (
            {"feed_forward": {"chip": "b200"}},
            "feed_forward: say how many chips: dp and ep for experts, tp for",
        ),
        ({"feed_forward": {**OTHER, "micro_batches": 0}}, "micro_batches"),
        ({"feed_forward": {**OTHER, "micro_batch": 2}}, "micro_batch: unknown. Nearest: micro_batches"),
        ({"feed_forward": OTHER, "role": "both"}, "feed_forward belongs to a pool with role decode"),
    ],
)
def test_what_is_wrong_is_said(decode, message):
    with pytest.raises(InputError, match=message):
        tr.simulate(spec=spec(**decode))


def test_a_feed_forward_pool_does_not_fail_on_its_own():
    said = spec(feed_forward=OTHER) | {"fleet": {"failures": {"at": "1 s", "pool": 2}}}
    with pytest.raises(InputError, match="there are 2 pools"):
        tr.simulate(spec=said)


def test_the_highest_rate_is_found_too():
    said = spec(feed_forward=OTHER) | {"slo": {"tpot": "30 ms", "ttft": "2 s"}}
    answer = tr.capacity(spec=said, num_requests=60)
    assert answer.rate() > 0.0
