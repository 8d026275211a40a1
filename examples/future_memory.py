"""Would flash beside the HBM help? Prefill and decode of a large model on H200 and on a sketch of it."""

import tokenroof as tr

answer = tr.estimate("llama-3.1-405b", ["h200", "h200-hbf"], isl=2000, osl=500, tp=8, weights="fp8", batch=16)

for estimate in answer:
    if estimate.infeasible is not None:
        print(f"{estimate.label}: {estimate.infeasible.reason}")
        continue
    print(f"{estimate.label}: holds {estimate.metrics['max_batch'].value:.0f} sequences")
    for phase in estimate.phases.values():
        parts = sorted(phase.by_limit_s.items(), key=lambda item: -item[1])[:3]
        text = ", ".join(f"{name} {seconds * 1e3:.1f} ms" for name, seconds in parts)
        print(f"  {phase.name}: {phase.time_s * 1e3:.1f} ms ({text})")

for line in answer[1].assumptions:
    if line.startswith("projection"):
        print(line)
