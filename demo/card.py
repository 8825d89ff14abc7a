"""How do the evaluation and the training curve become the card's table and picture?

    python card.py training-curve.csv training-curve.svg ACCURACY.json...
Prints the table in Markdown and draws the loss per task over the tokens seen.
"""

import csv
import json
import math
import sys

TITLES = dict(sum="Sums, up to 3 digits", difference="Differences, up to 3 digits", product="Products, 2 x 2 digits", compare="Comparing two numbers",
              count="Counting letters, items, upwards", reverse="Reversing words, numbers, lists", honest="Honest about what it is",
              call="Function and arguments, unseen functions", real="Function and arguments, everyday functions", result="Answer from a result",
              loop="Two or three calls in turn", nofit="No function fits", json="JSON to a schema", styled="Instructions that change the answer",
              python="Products beyond its reach, through python", far="Counting between any numbers up to 31", near="A little outside the claim: refused",
              second="Second question to a function")


def table(paths):
    t = {k: v for p in paths for k, v in json.load(open(p)).items()}
    cell = lambda x: f"{100 * x['right'] / x['of']:.1f} ({100 * x['low']:.1f}–{100 * x['high']:.1f})" if x else ""
    print("| Task | low | medium | high |\n|---|---|---|---|")
    for k, title in TITLES.items():
        if any(f"{k}/{e}" in t for e in ("low", "medium", "high")):
            print(f"| {title} | " + " | ".join(cell(t.get(f"{k}/{e}")) for e in ("low", "medium", "high")) + " |")
    print("\nMean tokens a turn: " + "; ".join(f"{e} {sum(v['tokens'] for k, v in t.items() if k.endswith(e)) / sum(k.endswith(e) for k in t):.0f}"
                                               for e in ("low", "medium", "high")))


def curve(source, target):
    rows = list(csv.DictReader(open(source)))
    names = [k for k in rows[0] if k in TITLES or k in ("repeat", "lookup")]
    colours = "#1b6ca8 #c0392b #1e8449 #b9770e #6c3483 #117a65 #7f8c8d #d35400 #2e4053 #a93226 #5d6d7e #0b5345 #884ea0 #ca6f1e".split()
    top = max(float(r["tokens"]) for r in rows)
    X = lambda v: 60 + 600 * float(v) / top
    Y = lambda v: 30 + 300 * (math.log10(8) - math.log10(max(float(v), 1e-4))) / (math.log10(8) + 4)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 380" font-family="sans-serif" font-size="12">',
           '<rect width="800" height="380" fill="white"/><text x="60" y="18">Training loss per target token, by task</text>']
    for e in range(0, -5, -1):
        out.append(f'<path d="M60 {Y(10**e):.0f}H660" stroke="#ddd"/><text x="52" y="{Y(10**e) + 4:.0f}" text-anchor="end">{10.0**e:g}</text>')
    for m in range(0, int(top / 1e6) + 1, 5):
        out.append(f'<text x="{X(m * 1e6):.0f}" y="350" text-anchor="middle">{m}M</text>')
    out.append('<text x="360" y="370" text-anchor="middle">tokens</text>')
    for n, (k, c) in enumerate(zip(names, colours)):
        points = " ".join(f"{X(r['tokens']):.1f},{Y(r[k]):.1f}" for r in rows[:: max(1, len(rows) // 150)] if float(r[k] or 0) > 0)
        out.append(f'<polyline points="{points}" fill="none" stroke="{c}"/><text x="670" y="{40 + 18 * n}" fill="{c}">{k}</text>')
    open(target, "w").write("\n".join(out) + "\n</svg>\n")


if __name__ == "__main__":
    table(sys.argv[3:])
    curve(sys.argv[1], sys.argv[2])
