"""Llama-3.3-70B on three chips: the same question, one line each."""

import tokenroof as tr

answer = tr.estimate("llama-3.3-70b", ["h100", "h200", "b200"], isl=2000, osl=500, concurrency=16)

for estimate in answer:
    metrics = estimate.metrics
    decode = estimate.phases["decode"]
    print(
        f"{estimate.label:5} {metrics['chips'].value:.0f} chips, "
        f"first token {metrics['ttft_s'].value * 1e3:.0f} ms, "
        f"then {metrics['tpot_s'].value * 1e3:.1f} ms per token, "
        f"{metrics['output_tokens_per_s_per_chip'].value:.0f} tokens/s per chip, "
        f"decode limited by {decode.limit}"
    )

print(answer.to_frame().select("label", "tp", "usd_per_mtok_output").to_dicts()[0]["label"], "comes first")
