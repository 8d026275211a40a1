"""What the operator times of an answer rest on, in one phrase."""

import pytest

import tokenroof as tr


@pytest.mark.parametrize(
    ("model", "chip", "ways", "evidence", "grounded"),
    [
        ("llama-3.3-70b", "h100", {"tp": 4}, "measured", True),
        ("llama-3.3-70b", "h100", {"tp": 4, "engine": "sglang"}, "measured", True),
        ("deepseek-v3", "h200", {"tp": 8}, "same chip, other framework", True),
        ("llama-3.3-70b", "gb200-nvl72", {"tp": 4, "weights": "nvfp4"}, "measured", True),
        ("llama-3.3-70b", "h200-hbf", {"tp": 2}, "sketch", False),
        ("llama-3.3-70b", "decode-pnm", {"tp": 2}, "sketch", False),
        ("llama-3.3-70b", "h100", {"tp": 1}, "", False),  # does not fit
    ],
)
def test_the_weakest_operator_in_use_decides(model, chip, ways, evidence, grounded):
    answer = tr.estimate(model, chip, isl=100, osl=10, concurrency=4, **ways)[0]
    assert (answer.evidence, answer.grounded) == (evidence, grounded)


def test_a_chip_nobody_measured_names_whose_figures_it_borrows():
    answer = tr.estimate("llama-3.3-70b", "gaudi3", tp=8, isl=100, osl=10, concurrency=4)[0]
    assert answer.evidence.startswith("borrowed from ")
    assert not answer.grounded


def test_of_two_pools_the_weaker_decides():
    options = {"prefill_chip": "h100", "isl": 100, "osl": 10, "concurrency": 4}
    sketch = tr.estimate("llama-3.3-70b", "h200-hbf", **options)[0]
    assert sketch.evidence == "sketch"


def test_json_tells_the_footing():
    import json

    answer = tr.estimate("llama-3.1-8b", "h100", isl=100, osl=10, concurrency=4)
    assert json.loads(answer.json())["estimates"][0]["evidence"] == "measured"
