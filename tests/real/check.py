"""Reads what `gptoss score --divergence --json` printed, an object a line, and holds the mean divergence of all tokens against a bound."""

import json
import sys

bound = float(sys.argv[1])
texts = [json.loads(line) for line in sys.stdin]
assert len(texts) == 3, f"three texts were scored, not {len(texts)}"
rows = 0
total = {"mean_kl": 0.0, "same_top_token": 0.0}
for text in texts:
    apart = text["against_exact"]
    print({name: round(value, 6) for name, value in apart.items()}, f"{apart['tokens']} tokens")
    rows += apart["tokens"]
    for name in total:
        total[name] += apart[name] * apart["tokens"]
mean = total["mean_kl"] / rows
print(f"{rows} tokens: mean KL of fast to exact {mean:.2e} nats, the likeliest token is the same for {100 * total['same_top_token'] / rows:.2f} %")
if not mean <= bound:
    sys.exit(f"real: the mean KL must be at most {bound:g}")
