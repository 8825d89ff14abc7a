"""Draw the recorded turns beside llama.cpp: prompt and decode tokens/s, one pair of bars a session.

    python bench/peers/chart.py docs/peers.svg bench/record/2026-11-23.csv ...

Bars are medians, the thin line over a bar is its slowest and its fastest turn. Every session of the record is drawn. Standard library
only; the picture is SVG with its numbers as text.
"""

import csv
import statistics
import sys

RUN, OURS, PEER = "in turn, prompt of 512", "gptoss q8", "llama.cpp"
PANELS = [
    ("prompt of 512 tokens, tokens/s", "prefill_tokens_per_second"),
    ("decoding one sequence, tokens/s", "decode_tokens_per_second"),
]
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP = 860, 330, 24, 76, 62, 40
BAR, INK, GRID = 34, "#3c4048", "#c9ccd2"
COLORS = {OURS: "#be3c14", PEER: "#8a93a0"}


def sessions(paths):
    """Commits in the order of the record, each with the figures of both contestants."""
    found = {}
    for path in paths:
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["run"] == RUN and row["contestant"] in COLORS:
                    key = (row["date"], row["commit"])
                    found.setdefault(key, {}).setdefault(row["contestant"], []).append(row)
    return {key: value for key, value in found.items() if len(value) == 2}


def text(x, y, words, anchor="middle", size=13, color=INK, weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}" fill="{color}">{words}</text>'
    )


def panel(left, width, title, field, found):
    values = {key: {who: [float(row[field]) for row in rows] for who, rows in both.items()} for key, both in found.items()}
    top = max(max(all_turns) for both in values.values() for all_turns in both.values())
    base, room = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP

    def place(value):
        return base - value / top * room

    lines = [text(left, TOP - 24, title, "start", 15, weight="bold")]
    step = width / len(found)
    for index, ((_, commit), both) in enumerate(values.items()):
        middle = left + step * (index + 0.5)
        medians = {who: statistics.median(turns) for who, turns in both.items()}
        for who, shift in ((OURS, -BAR), (PEER, 0)):
            x, y, turns = middle + shift, place(medians[who]), both[who]
            lines.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{BAR - 2}" height="{base - y:.1f}" fill="{COLORS[who]}"/>')
            center = x + BAR / 2 - 1
            lines.append(f'<path d="M{center:.1f} {place(min(turns)):.1f}V{place(max(turns)):.1f}" stroke="{INK}" stroke-width="1.5"/>')
            lines.append(text(center, place(max(turns)) - 5, f"{medians[who]:.1f}", size=12, color=INK))
        lines.append(text(middle, base + 18, f"{medians[OURS] / medians[PEER]:.2f} times", weight="bold"))
        lines.append(text(middle, base + 34, commit, size=11, color="#7a808a"))
    lines.append(f'<path d="M{left} {base}H{left + width:.1f}" stroke="{GRID}"/>')
    return lines


def main():
    out, *paths = sys.argv[1:]
    found = sessions(paths)
    width = (WIDTH - 2 * LEFT - GAP) / 2
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    x = LEFT
    for who, name in ((OURS, "gptoss"), (PEER, "llama.cpp")):
        lines.append(f'<rect x="{x}" y="14" width="13" height="13" fill="{COLORS[who]}"/>')
        lines.append(text(x + 19, 25, name, "start", 14))
        x += 100
    for index, (title, field) in enumerate(PANELS):
        lines += panel(LEFT + index * (width + GAP), width, title, field, found)
    note = "medians of turns on the same 2 cores and the same weights; lines: slowest and fastest turn; below: ratio and commit of each recorded session"
    lines.append(text(LEFT, HEIGHT - 8, note, "start", 11, "#7a808a"))
    with open(out, "w", encoding="utf-8") as file:
        file.write("\n".join([*lines, "</svg>", ""]))


if __name__ == "__main__":
    main()
