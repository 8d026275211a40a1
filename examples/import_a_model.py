"""Any model with a Hugging Face config.json: read it, count it, run it."""

from pathlib import Path

import tokenroof as tr

model = tr.import_model(Path(__file__).parent / "small_model")
print(f"{model.name}: {model.num_layers} layers, {len(model.warnings)} warnings")

answer = tr.estimate(model, ["l4", "h100"], isl=1000, osl=200, batch=4)
for estimate in answer:
    print(f"{estimate.label}: {estimate.metrics['tpot_s'].value * 1e3:.2f} ms per output token")
