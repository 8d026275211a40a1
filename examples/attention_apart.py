"""Attention on H200 and experts on B200, or the whole of DeepSeek-V3 on both? The same 32 chips decode."""

import tokenroof as tr

SEQUENCES = 64  # per chip


def decode(pool, sequences):
    """A closed loop of so many sequences on a decode pool; prefill is plenty."""
    spec = {
        "model": "deepseek-v3",
        "pools": [{"role": "prefill", "chip": "b200", "tp": 8, "replicas": 32}, {"role": "decode", **pool}],
        "traffic": {"concurrency": sequences, "num_requests": 2 * sequences, "isl": 1000, "osl": 500},
    }
    return tr.simulate(spec=spec)


def show(name, answers):
    """One line: output tokens of all of them over 32 chips, the slowest pace."""
    per_s = sum(answer.metric("output_tokens_per_s") for answer in answers)
    step_s = max(answer.metric("tpot_s") for answer in answers)
    print(f"{name:44s} {per_s / 32:6.0f} tokens/s per chip, one every {step_s * 1e3:5.1f} ms")


show(
    "whole layers, 16 ranks of each chip",
    [decode({"chip": chip, "dp": 16, "ep": 16}, 16 * SEQUENCES) for chip in ("h200", "b200")],
)
for parts in (1, 2, 3):
    experts = {"chip": "b200", "dp": 16, "ep": 16, "micro_batches": parts}
    answer = decode({"chip": "h200", "dp": 16, "feed_forward": experts}, 32 * SEQUENCES)
    show(f"attention on h200, experts on b200, in {parts}", [answer])
    for role in ("decode", "feed_forward"):
        print(f"  {role}: at work {answer.metric(f'working_fraction:{role}'):.0%} of the time")
