"""A chip of your own is a short file: what does faster memory buy in each phase?"""

from pathlib import Path

import tokenroof as tr

mine = Path(__file__).parent / "fast_memory.yaml"
answer = tr.estimate("llama-3.1-8b", ["h200", str(mine)], isl=2000, osl=500, batch=32)

today, tomorrow = answer
for name in ("prefill", "decode"):
    before, after = today.phases[name].time_s, tomorrow.phases[name].time_s
    print(f"{name}: {before * 1e3:.2f} ms -> {after * 1e3:.2f} ms, {before / after:.2f} times as fast")
