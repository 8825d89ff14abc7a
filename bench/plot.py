"""Draw speed against depth and against the number of sequences, from what `gptoss bench --json` printed.

    gptoss bench --model M --prefill 0 --depth 0,2048,8192,32768 --json > depth.json
    python plot.py --x depth --title "..." --out depth.svg "bf16 KV=depth.json" "int8 KV=other.json"
    python plot.py --x batch --title "..." --out batch.svg "q8=batch.json"

Every series gets its ceiling (bandwidth over bytes of a token) as a thin line of the same colour. Standard library only; the
picture is SVG with its numbers as text.
"""

import argparse
import json

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 480, 70, 210, 60, 60
INK, GRID = "#3c4048", "#e4e6ea"
COLOURS = ["#be3c14", "#1f6f8b", "#6a8d2f", "#7a4b9d"]
FIELD = {"depth": "depth_tokens", "batch": "batch"}
LABEL = {"depth": "positions in the cache before decoding", "batch": "sequences that decode together"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", nargs="+", metavar="NAME=FILE.json")
    parser.add_argument("--x", choices=FIELD, required=True)
    parser.add_argument("--title", required=True)
    parser.add_argument("--out", required=True)
    return parser.parse_args()


def load(series, x):
    """Name, measured points with their spread, and ceiling points, sorted by x."""
    name, _, path = series.partition("=")
    with open(path, encoding="utf-8") as file:
        cases = [case for case in json.load(file) if case["decode_tokens_per_second"]]
    cases.sort(key=lambda case: case[FIELD[x]])
    at = [case[FIELD[x]] + (case["prefill_tokens"] if x == "depth" else 0) for case in cases]
    fields = ["decode_tokens_per_second", "decode_slowest", "decode_fastest", "decode_ceiling_tokens_per_second"]
    return name, at, [[case[field] for case in cases] for field in fields]


def nice_step(limit, parts):
    """A step of 1, 2 or 5 times a power of ten that cuts `limit` into about `parts`."""
    raw = limit / parts
    power = 10 ** len(str(int(raw))) / 10 if raw >= 1 else 0.1
    return next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= raw)


class Picture:
    def __init__(self, title, x_label, x_values, y_max):
        self.x_values = x_values
        self.y_step = nice_step(y_max, 6)
        self.y_max = self.y_step * (int(y_max / self.y_step) + 1)
        self.lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        ]
        self.text(LEFT, 30, title, size=18)
        self.axes(x_label)

    def x(self, value):
        # Values stand at equal distances: they grow by factors, and zero is among them.
        place = self.x_values.index(value) / max(1, len(self.x_values) - 1)
        return LEFT + place * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        return HEIGHT - BOTTOM - value / self.y_max * (HEIGHT - TOP - BOTTOM)

    def text(self, x, y, text, anchor="start", size=13, colour=INK):
        text = text.replace("&", "&amp;").replace("<", "&lt;")
        self.lines.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{text}</text>')

    def axes(self, x_label):
        value = 0
        while value <= self.y_max + 1e-9:
            y = self.y(value)
            self.lines.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
            self.text(LEFT - 8, y + 4, f"{value:g}", "end")
            value += self.y_step
        for value in self.x_values:
            self.text(self.x(value), HEIGHT - BOTTOM + 20, f"{value:,}", "middle")
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, x_label, "middle")
        self.text(LEFT - 50, TOP - 14, "tokens/s")

    def line(self, at, values, colour, dashed=False):
        points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(at, values))
        style = 'stroke-width="1" stroke-dasharray="5 4"' if dashed else 'stroke-width="2.5"'
        self.lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" {style}/>')

    def dot(self, x, value, low, high, colour):
        x = self.x(x)
        self.lines.append(f'<path d="M{x:.1f} {self.y(low):.1f}V{self.y(high):.1f}" stroke="{colour}"/>')
        self.lines.append(f'<circle cx="{x:.1f}" cy="{self.y(value):.1f}" r="4" fill="{colour}"/>')
        self.text(x + 7, self.y(value) - 8, f"{value:.1f}", colour=colour)

    def finish(self, path):
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join([*self.lines, "</svg>", ""]))


def main():
    options = arguments()
    series = [load(argument, options.x) for argument in options.series]
    x_values = sorted({value for _, at, _ in series for value in at})
    y_max = max(max(values[3] + values[2]) for _, _, values in series)
    picture = Picture(options.title, LABEL[options.x], x_values, y_max)
    for index, (name, at, (speeds, slowest, fastest, ceilings)) in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        picture.line(at, ceilings, colour, dashed=True)
        picture.line(at, speeds, colour)
        for point in zip(at, speeds, slowest, fastest):
            picture.dot(*point, colour)
        y = TOP + 20 + index * 44
        picture.text(WIDTH - RIGHT + 44, y, name, colour=colour, size=14)
        picture.text(WIDTH - RIGHT + 44, y + 17, "dashed: bandwidth / bytes", colour=colour, size=12)
    picture.finish(options.out)


if __name__ == "__main__":
    main()
