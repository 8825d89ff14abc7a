"""Which conversations does the demo model learn from, and which are held out?

Everything is made by rule from a seed. `pack(vocab, seed, step, row)` is one training row: a shared prefix (system and developer message)
followed by independent branches; it is a pure function of its arguments. `example(task, effort, rng)` is one held-out prompt with its answer.
Held out: every arithmetic pair, function name, number, made-up word and form of free text whose checksum is 0 modulo 10.
`python generate.py` prints a few examples.
"""

import json
import random
import re
import zlib

import harmony as H
import words as W

EFFORTS = ("low", "medium", "high")
PLACES = ("ones", "tens", "hundreds", "thousands")


PIECES = sorted(t.decode() for t in H.compact_ranks() if 2 <= len(t) <= 6 and t.isalpha() and t.islower() and t.isascii())


def held(text):
    return zlib.crc32(text.encode()) % 10 == 0 or text in ("27+58", "get_weather")


class Source:
    """Random choices of one split: training never draws what is held out, evaluation draws nothing else."""

    def __init__(self, rng, test=False):
        self.r, self.test = rng, test

    def keep(self, make, key=str):
        while True:
            x = make()
            if held(key(x)) == self.test:
                return x

    def pick(self, items):
        """One of a list, held-out members only in evaluation (any member where a split would be empty)."""
        part = [x for x in items if held(x) == self.test]
        return self.r.choice(part or items)

    def syllables(self, a=1, b=2):
        def make():
            s = ""
            for _ in range(self.r.randint(a, b)):
                s += self.r.choice(["b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "cl", "dr", "fl", "gr", "pl", "st", "tr", "sh", "th", ""])
                s += self.r.choice("aeiou") + self.r.choice(["", "", "n", "r", "l", "s", "x", "m", "t", "k"])
            return s
        def join():  # pieces of the vocabulary put together: more varied than syllables
            return "".join(self.r.choice(PIECES) for _ in range(self.r.randint(1, b)))
        return self.keep(make if self.r.random() < 0.9 else join)

    def noun(self):
        return self.r.choice(W.NOUNS) if self.r.random() < 0.95 else self.syllables()

    def word(self):
        return self.syllables() if self.r.random() < 0.08 else self.r.choice(W.NOUNS + W.CHOICES)

    def proper(self):
        return self.person() if self.r.random() < 0.5 else self.place()

    def person(self):
        return self.r.choice(W.NAMES) if self.r.random() < 0.9 else self.syllables().capitalize()

    def place(self):
        return self.r.choice(W.PLACES) if self.r.random() < 0.9 else self.syllables().capitalize()

    def spelled(self):
        return self.keep(lambda: self.syllables() if self.r.random() < 0.4 else self.r.choice(W.NOUNS + W.CHOICES))

    def number(self, digits=None):
        def make():
            d = digits or self.r.randint(1, 4)
            return self.r.randint(10 ** (d - 1) if d > 1 else 0, 10**d - 1)
        return self.keep(make)

    def pair(self, op, a_digits, b_digits):
        def make():
            f = lambda d: self.r.randint(10 ** (d - 1) if d > 1 else 0, 10**d - 1)
            a, b = f(a_digits), f(b_digits)
            if op != "*" and self.r.random() < 0.06:  # close numbers, the hard comparisons
                b = max(0, min(999, a + self.r.randint(-12, 12)))
            return a, b
        return self.keep(make, lambda p: f"{p[0]}{op}{p[1]}")


# ---- arithmetic ------------------------------------------------------------------------------------------------------


def digit(n, k):
    return n // 10**k % 10


def columns_add(a, b):
    """Text of a column-by-column sum."""
    c, out = 0, []
    for k in range(max(len(str(a)), len(str(b)))):
        s = digit(a, k) + digit(b, k) + c
        out.append(f"{PLACES[k]} {digit(a, k)}+{digit(b, k)}+{c}={s}")
        c = s // 10
    return f"{', '.join(out)}, so {a + b}"


def columns_sub(a, b):
    """Text of a column-by-column difference; a borrow left at the end means that it is negative, and the other way round follows."""
    c, out = 0, []
    for k in range(max(len(str(a)), len(str(b)))):
        s = digit(a, k) - digit(b, k) - c
        out.append(f"{PLACES[k]} {digit(a, k)}-{digit(b, k)}-{c}={s}" + (f" borrow {s + 10}" if s < 0 else ""))
        c = int(s < 0)
    return ", ".join(out) + (f", borrow left, negative. {b}-{a}: {columns_sub(b, a)}, negative {a - b}" if c else f", so {a - b}")


def columns_compare(a, b):
    """From the left until a column differs; the sign comes after both digits have been written."""
    out = []
    for k in reversed(range(max(len(str(a)), len(str(b))))):
        x, y = digit(a, k), digit(b, k)
        out.append(f"{PLACES[k]} {x},{y} {'=<>'[(x < y) + 2 * (x > y)]}")
        if x != y:
            break
    return ", ".join(out)


def partial(a, d):
    """Text of a times one digit."""
    c, out = 0, []
    for k in range(len(str(a))):
        p = digit(a, k) * d
        out.append(f"{digit(a, k)}*{d}={p}" + (f"+{c}={p + c}" if k else ""))
        c = (p + c) // 10
    return f"{a}*{d}: {', '.join(out)}, so {a * d}"


def digit_root(n):
    return n and (n - 1) % 9 + 1


def work(op, a, b, effort):
    """The reasoning and the value of a op b."""
    if op == "+":
        v, easy = a + b, a < 10 and b < 10
        if effort == "low":
            cs, c = [], 0
            for k in range(max(len(str(a)), len(str(b)))):
                s = digit(a, k) + digit(b, k) + c
                cs.append(str(s))
                c = s // 10
            return (None if easy else f"{a}+{b}: {', '.join(cs)}."), v
        text = f"{a}+{b}: {columns_add(a, b)}."
        return text + (f" Check: {v}-{b}: {columns_sub(v, b)}, right." if effort == "high" else ""), v
    if op == "-":
        v = a - b
        hi, lo = max(a, b), min(a, b)
        if effort == "low":
            if a < 10 and b < 10:
                return None, v
            def mod(x, y):
                cs, c = [], 0
                for k in range(len(str(hi))):
                    s = digit(x, k) - digit(y, k) - c
                    cs.append(str(s % 10))
                    c = int(s < 0)
                return ", ".join(cs)
            return f"{a}-{b}: {mod(a, b)}{', negative, ' + mod(b, a) if v < 0 else ''}.", v
        text = f"{a}-{b}: {columns_sub(a, b)}."
        return text + (f" Check: {hi - lo}+{lo}: {columns_add(hi - lo, lo)}, right." if effort == "high" else ""), v
    if len(str(b)) > len(str(a)):
        a, b = b, a
    v, p, q = a * b, a * (b % 10), a * (b // 10) * 10
    if effort == "low":
        return (None if b < 10 and a < 10 else f"{a}*{b}: {p}+{q}." if b > 9 else f"{a}*{b}: {a // 10 * 10 * b}+{a % 10 * b}."), v
    if b < 10:
        text = f"{a}*{b}: {a}*{b}={v}." if a < 10 else f"{a}*{b}: {partial(a, b)}."
    else:
        text = f"{a}*{b}: {partial(a, b % 10)}. {partial(a, b // 10)}, then {q}. {p}+{q}: {columns_add(p, q)}."
    return text + (f" Check by digits: {a} gives {digit_root(a)}, {b} gives {digit_root(b)}, {digit_root(a)}*{digit_root(b)}="
                   f"{digit_root(a) * digit_root(b)} gives {digit_root(v)}, {v} gives {digit_root(v)}, right." if effort == "high" else ""), v


ASK = {"+": """What is {a} + {b}?|What is {a} + {b}?|What's {a} + {b}?|{a} + {b}|{a}+{b}|{a} + {b} = ?|{a}+{b}=|Add {a} and {b}.|Please add {b} to {a}.|Compute {a} + {b}.|Calculate {a}+{b}.|What is {a} plus {b}?
{a} plus {b}|How much is {a} + {b}?|Please calculate {a} + {b}.|What is the sum of {a} and {b}?|Sum of {a} and {b}|Can you add {a} and {b}?|What do you get when you add {a} and {b}?|Work out {a} + {b}.
I have {a} {n}s and get {b} more. How many do I have?|There are {a} {n}s and {b} {m}s. How many are there in all?|Tell me {a} + {b}|{N} has {a} {n}s and {M} has {b}. How many together?|what is {a}+{b}|hi, what is {a} + {b}?""",
       "-": """What is {a} - {b}?|What is {a} - {b}?|What's {a} - {b}?|{a} - {b}|{a}-{b}|{a} - {b} = ?|{a}-{b}=|Subtract {b} from {a}.|Compute {a} - {b}.|Calculate {a}-{b}.|What is {a} minus {b}?|{a} minus {b}
How much is {a} - {b}?|Please calculate {a} - {b}.|What is the difference {a} - {b}?|Take {b} away from {a}.|Work out {a} - {b}.|Tell me {a} - {b}|what is {a}-{b}|{a} take away {b}
What is {a} less {b}?|Please subtract {b} from {a}.|hello, what is {a} - {b}?""",
       "*": """What is {a} * {b}?|What is {a} * {b}?|What's {a} * {b}?|{a} * {b}|{a}*{b}|{a} * {b} = ?|{a}*{b}=|Multiply {a} by {b}.|Multiply {a} and {b}.|Compute {a} * {b}.|Calculate {a}*{b}.|What is {a} times {b}?|{a} times {b}
How much is {a} * {b}?|Please calculate {a} * {b}.|What is the product of {a} and {b}?|Work out {a} x {b}.|{a} x {b}|What is {a} x {b}?|{a} × {b}|Tell me {a} * {b}|what is {a}*{b}|compute {a} times {b}
There are {a} boxes with {b} {n}s each. How many {n}s are there?|Please multiply {a} by {b}."""}
ASK = {k: [t for line in v.split("\n") for t in line.split("|")] for k, v in ASK.items()}


def typo(rng, text):
    """One swapped, dropped or doubled letter in a plain word."""
    spots = [m.start() + 1 for m in re.finditer(r"[a-z]{4,}", text)]
    if not spots:
        return text
    i = rng.choice(spots)
    return rng.choice([text[:i] + text[i + 1] + text[i] + text[i + 2 :], text[:i] + text[i + 1 :], text[:i] + text[i] + text[i:]])


def rough(s, text, keep_case=False):
    """Sometimes lower case, without the last mark, or with a small slip."""
    x = s.r.random()
    if x < 0.08:
        text = text.rstrip("?.!")
    elif x < 0.16 and not keep_case:
        text = text.lower().rstrip("?.!")
    elif x < 0.19 and not keep_case:
        text = typo(s.r, text)
    return text


def arithmetic(s, op, effort, full=False):
    if op == "*":
        da, db = (2, 2) if full or s.r.random() < 0.75 else (s.r.randint(1, 2), s.r.randint(1, 2))
    else:
        da, db = s.r.choice([1, 2, 2, 3, 3, 3]), s.r.choice([1, 2, 2, 3, 3, 3])
    a, b = s.pair(op, da, db)
    t = s.r.choice(ASK[op])
    if op == "-" and a < b and s.r.random() < 0.4:
        if not held(f"{b}-{a}") != s.test:
            a, b = b, a
    if "{n}" in t or "{N}" in t:
        t = t.replace("{n}", s.noun()).replace("{m}", s.noun()).replace("{N}", s.proper()).replace("{M}", s.proper())
    think, v = work(op, a, b, effort)
    return dict(user=rough(s, t.format(a=a, b=b)), think=think, answer=str(v), sentence=f"The answer is {v}.", equation=f"{a} {op} {b} = {v}")


# ---- counting, reversing, comparing ----------------------------------------------------------------------------------


def count_task(s, effort):
    kind = s.r.choice(["letters", "letters", "letter", "items", "items", "upto"])
    if kind == "letters":
        w = s.spelled()
        q = s.r.choice(["How many letters are in {w}?", "How many letters does the word {w} have?", "Count the letters in {w}.", "How long is the word {w}?", "Number of letters in \"{w}\"?"])
        steps, v = ", ".join(f"{i + 1} {c}" for i, c in enumerate(w)), len(w)
    elif kind == "letter":
        w = s.spelled()
        c = s.r.choice(w) if s.r.random() < 0.8 else s.r.choice("abcdefghijklmnopqrstuvwxyz")
        q = s.r.choice(["How many times does the letter {c} appear in {w}?", "How many {c} are in {w}?", "Count the letter {c} in \"{w}\".", "How many {c}'s are in the word {w}?"]).replace("{c}", c)
        n, out = 0, []
        for x in w:
            n += x == c
            out.append(f"{x} {n}")
        steps, v = f"letter {c}: " + ", ".join(out), n
    elif kind == "items":
        items = [s.word() for _ in range(s.r.randint(2, 7))]
        w = ", ".join(items)
        q = s.r.choice(["How many items are in this list: {w}?", "Count the words: {w}", "How many words are there: {w}?", "Count these: {w}.", "How many things: {w}"])
        steps, v = ", ".join(f"{i + 1} {x}" for i, x in enumerate(items)), len(items)
    else:
        a = s.r.randint(0, 90)
        b = a + s.r.randint(2, 9)
        w = f"{a} to {b}"
        seq = ", ".join(map(str, range(a, b + 1)))
        q = s.r.choice(["Count from {w}.", "Please count from {w}.", "List the numbers from {w}.", "count {w}"])
        think = None if effort == "low" else f"Start at {a}, stop at {b}." + (f" That is {b - a + 1} numbers." if effort == "high" else "")
        return dict(user=rough(s, q.format(w=w), True), think=think, answer=seq)
    think = {"low": None, "medium": f"{steps}.", "high": f"{steps}. Check: {steps}, right."}[effort]
    return dict(user=rough(s, q.format(w=w), True), think=think, answer=str(v), sentence=f"The answer is {v}.")


def reverse_task(s, effort):
    kind = s.r.choice(["word", "word", "word", "number", "list"])
    if kind == "word":
        w = s.spelled()
        q = s.r.choice(["Reverse the word {w}.", "Reverse {w}", "Spell {w} backwards.", "Write {w} backwards.", "What is {w} reversed?", "Please reverse the word \"{w}\".", "Turn {w} around."])
        a, b, ans = " ".join(w), " ".join(w[::-1]), [("letters", w[::-1])]
    elif kind == "number":
        w = str(s.number(s.r.randint(2, 5)))
        q = s.r.choice(["Reverse the number {w}.", "Reverse the digits of {w}.", "What is {w} backwards?", "Reverse {w}"])
        a, b, ans = " ".join(w), " ".join(w[::-1]), w[::-1]
    else:
        items = [s.word() for _ in range(s.r.randint(2, 5))]
        w = ", ".join(items)
        q = s.r.choice(["Reverse the list: {w}", "Reverse the order: {w}.", "Put these in reverse order: {w}", "Reverse this list: {w}."])
        a, b = ", ".join(f"{i + 1} {x}" for i, x in enumerate(items)), ", ".join(f"{i + 1} {x}" for i, x in reversed(list(enumerate(items))))
        ans = ", ".join(items[::-1])
    think = {"low": None, "medium": f"{a}. Reversed: {b}.", "high": f"{a}. Reversed: {b}. Check: {a}, right."}[effort]
    return dict(user=rough(s, q.format(w=w), True), think=think, answer=ans)


def compare_task(s, effort):
    a, b = s.pair("?", s.r.randint(1, 3), s.r.randint(1, 3))
    if s.r.random() < 0.6:
        d = 10 ** (len(str(a)) - 1)
        near = [max(0, a + s.r.randint(-9, 9)) if s.r.random() < 0.5 else s.r.randint(d if d > 1 else 0, 10 * d - 1) for _ in range(30)]
        b = next((x for x in near if held(f"{a}?{x}") == s.test), b)
    big = s.r.random() < 0.5
    kind = s.r.choice(["which", "which", "yes"])
    if a == b:
        kind = "yes"
    words = s.r.choice([("larger", "smaller"), ("bigger", "smaller"), ("greater", "less"), ("more", "less")])
    x = words[0] if big else words[1]
    if kind == "which":
        q = s.r.choice(["Which is {x}, {a} or {b}?", "Which number is {x}: {a} or {b}?", "What is {x}, {a} or {b}?", "{a} or {b}, which is {x}?", "Compare {a} and {b}: which is {x}?", "Tell me which is {x}: {a} or {b}."])
        ans = str(max(a, b) if big else min(a, b))
    else:
        q = s.r.choice(["Is {a} {x} than {b}?", "Is {a} {x} than {b}?", "Is it true that {a} is {x} than {b}?", "Tell me if {a} is {x} than {b}."])
        ans = "Yes" if (a > b if big else a < b) else "No"
    asked = ("larger" if big else "smaller") + f" {max(a, b) if big else min(a, b)}"
    verdict = "equal" if a == b else f"larger {max(a, b)}, smaller {min(a, b)}"
    end = f"so {verdict}" + (f", asked {asked}." if kind == "which" else f", asked {asked.split()[0]} {a}, {ans.lower()}.")
    text = f"{a} and {b}: {columns_compare(a, b)}, {end}"
    think = {"low": f"{verdict.capitalize()}.", "medium": text, "high": f"{text} Check: {b} and {a}: {columns_compare(b, a)}, right."}[effort]
    return dict(user=rough(s, q.format(a=a, b=b, x=x)), think=think, answer=ans, sentence=f"The answer is {ans}.")


# ---- honesty ---------------------------------------------------------------------------------------------------------


def fill(s, t):
    def one(m):
        k = m.group(1)
        return {"X": s.proper, "N": s.proper, "W": lambda: s.syllables().capitalize(), "n": s.noun, "w": s.word, "v": lambda: s.r.choice(W.VERBS), "c": lambda: s.r.choice(W.CHOICES),
                "y": lambda: str(s.r.randint(1000, 2030)), "d": lambda: str(s.r.randint(10, 999)), "e": lambda: str(s.r.randint(2, 20)),
                "D": lambda: str(s.r.randint(1000, 99999))}[k]()
    return re.sub(r"\{(\w)\}", one, t)


def templates(text):
    return [t for line in text.strip().split("\n") for t in line.split("|") if t]


HONEST = [(0.58, W.OUT_OF_DOMAIN, W.SAY_OOD, "It is not something I can do."), (0.11, W.GREETINGS, W.SAY_GREETING, "A greeting."), (0.12, W.IDENTITY, W.SAY_IDENTITY, "A question about me."),
          (0.09, W.ABILITY, W.SAY_ABILITY, "A question about what I can do."), (0.06, W.THANKS, W.SAY_THANKS, "The user thanks me."), (0.04, W.BYE, W.SAY_BYE, "The user leaves.")]


def honest_task(s, effort):
    _, lists, answer, think = s.r.choices(HONEST, [h[0] for h in HONEST])[0]
    t = s.pick(templates(lists))
    high = " I am a tiny demo model, so I say so honestly." if answer is W.SAY_OOD else " I answer briefly."
    return dict(user=rough(s, fill(s, t)), think={"low": None, "medium": think, "high": think + high}[effort], answer=answer)


# ---- functions -------------------------------------------------------------------------------------------------------


def value(s, kind):
    """A value (as JSON would hold it) and how a request says it."""
    r = s.r
    if kind == "integer":
        v = s.number(r.choice([1, 2, 2, 3, 3, 4]))
        return v, str(v)
    if kind == "number":
        v = round(s.number(r.choice([1, 2, 3])) + r.randint(1, 9) / 10, 1) if r.random() < 0.5 else s.number(r.choice([1, 2, 3]))
        return v, str(v)
    if kind == "date":
        v = f"20{r.randint(24, 32)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}"
        return v, v
    if kind == "time":
        v = f"{r.randint(0, 23):02}:{r.choice([0, 15, 30, 45, r.randint(0, 59)]):02}"
        return v, v
    if kind == "email":
        v = f"{s.word()}@{s.word()}.{r.choice(['com', 'org', 'net'])}"
        return v, v
    if kind == "code":
        v = "".join(r.choice("ABCDEFGHKLMNPRSTUVWXZ") for _ in range(r.randint(1, 3))) + (r.choice(["", "-"])) + str(s.number(r.randint(1, 4)))
        return v, v
    if kind == "proper":
        v = s.person() if r.random() < 0.8 else f"{s.person()} {s.person()}"
        return v, v
    if kind == "place":
        v = s.place()
        return v, v
    v = s.word() if r.random() < 0.8 else f"{s.word()} {s.word()}"
    return v, v


def parameter(s, taken):
    """A schema property: (name, schema, kind of value)."""
    while True:
        kind, names = s.r.choice(W.PARAM_KINDS)
        name = s.r.choice(names) if s.r.random() < 0.97 else s.syllables()
        if name not in taken:
            break
    if s.r.random() < 0.08:  # any value behind any name
        kind = s.r.choice([k for k, _ in W.PARAM_KINDS])
    p = {"type": kind if kind in ("integer", "number", "boolean") else "string"}
    if kind == "enum":
        p["enum"] = s.r.sample(W.CHOICES, s.r.randint(2, 4))
    return name, p, kind


def function(s, taken):
    """A made-up function: its schema for the developer message, and what a request calls it."""
    verb, noun = s.r.choice(W.VERBS), s.noun()
    x = s.r.random()
    y = s.r.random()
    while True:  # the form first, so that both splits have the same share of each
        n = f"{verb}_{noun}" if y < 0.85 else f"{noun}_{verb}" if y < 0.91 else verb + noun.capitalize() if y < 0.98 else s.syllables() + "_" + s.syllables()
        if held(n) == s.test:
            break
        verb, noun = s.r.choice(W.VERBS), s.noun()
    if n in taken:
        return function(s, taken)
    topic = noun if s.r.random() < 0.95 else f"{s.noun()} {noun}"
    if x < 0.05:
        topic = topic + " " + s.r.choice(["list", "data", "report", "plan", "status", "order"])
    cap = verb.capitalize()
    desc = s.r.choice([f"{cap} a {topic}", f"{cap} a {topic}.", f"{cap} the {topic}.", f"{cap} {topic}", f"Use this to {verb} a {topic}.", f"{cap}s a {topic} for the user.", f"{cap} one {topic}."])
    props, kinds, required = {}, {}, []
    for _ in range(s.r.choice([0, 1, 1, 1, 2, 2, 2, 3, 3])):
        p, schema, kind = parameter(s, props)
        say = p.replace("_", " ")
        if s.r.random() < 0.5:
            schema["description"] = s.r.choice([f"The {say} of the {noun}", f"The {say}", f"{say.capitalize()} of the {noun}.", f"{say.capitalize()}"])
        props[p], kinds[p] = schema, kind
        if s.r.random() < 0.65:
            required.append(p)
    tool = {"name": n, "description": desc}
    if props:
        tool["parameters"] = {"type": "object", "properties": props, "required": required}
    return dict(tool=tool, verb=verb, topic=topic, kinds=kinds)


def said(s, p, schema, kind):
    """A phrase that gives parameter p, its JSON value."""
    say = p.replace("_", " ")
    if kind == "boolean":
        v = s.r.random() < 0.5
        return s.r.choice([f"{say} {'true' if v else 'false'}", f"{say} {'on' if v else 'off'}", f"{say}: {'yes' if v else 'no'}"]), v
    if kind == "enum":
        v = s.r.choice(schema["enum"])
        t = v
    else:
        v, t = value(s, kind)
    if isinstance(v, str) and s.r.random() < 0.25:
        t = f'"{t}"'
    return s.r.choice([f"{say} {t}", f"{say} {t}", f"{say} {t}", f"{say}: {t}", f"{say} = {t}", f"the {say} is {t}", f"{say} is {t}"]), v


def bare(s, kind, schema):
    v, t = value(s, kind)
    return t, v


def request(s, f):
    """A request for function f: text, arguments (a dict in the order said)."""
    schema = f["tool"].get("parameters", {"properties": {}, "required": []})
    props = [p for p in schema["properties"] if p in schema["required"] or s.r.random() < 0.5]
    if s.r.random() < 0.1:
        s.r.shuffle(props)
    verb, topic = f["verb"], f["topic"]
    thing = s.r.choice([f"a {topic}", f"the {topic}", f"the {topic}", f"my {topic}", f"{topic}"])
    args = {}
    alone = len(schema["properties"]) == 1 or schema["required"] == props  # else a value without its name could belong to another parameter
    if len(props) == 1 and alone and f["kinds"][props[0]] in ("proper", "place", "code", "integer", "text", "date") and s.r.random() < (0.45 if s.test else 0.85):
        t, args[props[0]] = bare(s, f["kinds"][props[0]], schema["properties"][props[0]])
        tail = s.r.choice([f" for {t}", f" in {t}", f": {t}", f" {t}" if t[0].isdigit() or t[0].isupper() else f" for {t}"])
    else:
        parts = []
        for p in props:
            t, args[p] = said(s, p, schema["properties"][p], f["kinds"][p])
            parts.append(t)
        join = s.r.choice([", ", ", ", " and "]) if len(parts) < 3 else ", "
        body = join.join(parts) if s.r.random() < 0.6 or len(parts) < 2 else ", ".join(parts[:-1]) + " and " + parts[-1]
        tail = (s.r.choice([" with ", " with ", ", ", ": ", " using "]) + body) if parts else ""
    t = s.r.choice(["{V} {x}{t}.", "{V} {x}{t}", "Please {v} {x}{t}.", "I want to {v} {x}{t}.", "Can you {v} {x}{t}?", "{v} {x}{t}", "I need you to {v} {x}{t}.", "Could you please {v} {x}{t}?"])
    return t.format(V=verb.capitalize(), v=verb, x=thing, t=tail), args


def P(t, desc=None, **k):
    return {"type": t, **({"description": desc} if desc else {}), **k}


def real_function(s):
    """Functions of the kind people use, with their own requests: (tool, make) where make gives a request and its arguments."""
    r, pr = s.r, s.proper
    unit = P("string", None, enum=["celsius", "fahrenheit"])
    mk = lambda name, desc, props, req: {"name": name, "description": desc, "parameters": {"type": "object", "properties": props, "required": req}}
    text = lambda: " ".join(s.word() for _ in range(r.randint(1, 4)))
    place = lambda: s.place() if r.random() < 0.85 else r.choice(["New York", "San Francisco", "Los Angeles", f"{s.place()} {s.place()}"])
    def weather():
        c, u = place(), r.choice(["celsius", "fahrenheit"])
        if r.random() < 0.5:
            return r.choice([f"What is the weather in {c}?", f"What is the weather like in {c}?", f"I want to know the weather in {c}.", f"Please get the weather in {c}.", f"Weather for {c}?", f"What's the weather like in {c}?", f"weather in {c}", f"How is the weather in {c} today?", f"Tell me the weather for {c}.", f"Is it raining in {c}?"]), {p0: c}
        return r.choice([f"What is the weather in {c} in {u}?", f"Give me the weather in {c}, in {u}.", f"How warm is it in {c} in {u}?"]), {p0: c, "unit": u}
    def convert():
        a, (x, y) = value(s, "number")[0], r.sample(W.CURRENCIES, 2)
        return r.choice([f"Convert {a} {x} to {y}.", f"How much is {a} {x} in {y}?", f"convert {a} {x} into {y}"]), {"amount": a, k[0]: x, k[1]: y}
    def search():
        q = text()
        return r.choice([f"Search for {q}.", f"Search the web for {q}", f"Look up {q}.", f"Find information about {q}.", f"Search for \"{q}\"."]), {"query": q}
    def email():
        to, sub, body = value(s, "email")[0], text(), text()
        return r.choice([f"Send an email to {to} with subject {sub} and body {body}.", f"Email {to}, subject \"{sub}\", body \"{body}\".", f"Send {to} an email. Subject: {sub}. Body: {body}."]), {"to": to, "subject": sub, "body": body}
    def event():
        t, d, h = text(), value(s, "date")[0], value(s, "time")[0]
        if r.random() < 0.5:
            who = [pr() for _ in range(r.randint(1, 3))]
            return f"Create an event {t} on {d} at {h} with {', '.join(who)}.", {"title": t, "date": d, "time": h, "attendees": who}
        return r.choice([f"Create an event called {t} on {d} at {h}.", f"Schedule {t} on {d} at {h}."]), {"title": t, "date": d, "time": h}
    def calc():
        e = r.choice(["{} + {}", "{} * {}", "{} - {}", "{} + {} * {}", "({} + {}) * {}", "{} / {}", "{} * {} * {}", "{} - {} / {}"]).format(*[s.number(r.randint(1, 4)) for _ in range(3)])
        return r.choice([f"What is {e}?", f"Calculate {e}.", f"Compute {e}", f"How much is {e}?", f"Use the calculator: {e}", f"Evaluate {e}.", f"Calculate {e} with the calculator."]), {"expression": e}
    def stock():
        sy = "".join(r.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(r.randint(2, 4)))
        return r.choice([f"What is the stock price of {sy}?", f"Get the price of {sy} stock.", f"How is {sy} stock doing?"]), {sym: sy}
    def remind():
        t, h = text(), value(s, "time")[0]
        return r.choice([f"Remind me to {t} at {h}.", f"Set a reminder: {t} at {h}."]), {"text": t, "time": h}
    def timer():
        n = s.number(r.randint(1, 2))
        return r.choice([f"Set a timer for {n} minutes.", f"Start a {n} minute timer.", f"timer {n} minutes"]), {"minutes": n}
    def light():
        rm, on = s.word(), r.random() < 0.5
        return r.choice([f"Turn {'on' if on else 'off'} the light in the {rm}.", f"Turn the {rm} light {'on' if on else 'off'}."]), {"room": rm, "on": on}
    def user():
        n, a, c, z = pr(), s.number(2), pr(), str(s.number(5))
        return f"Create a user {n}, age {a}, living in {c}, zip {z}.", {"name": n, "age": a, "address": {"city": c, "zip": z}}
    def table():
        n, rest, h = s.number(1), pr(), value(s, "time")[0]
        return r.choice([f"Book a table for {n} at {rest} at {h}.", f"Reserve a table at {rest} for {n} people at {h}."]), ({"restaurant": rest, "people": n, "time": h})
    def clock():
        c = place()
        return r.choice([f"What time is it in {c}?", f"Tell me the time in {c}.", f"time in {c}", f"What is the local time in {c}?"]), {p0: c}
    def translate():
        t, la = text(), r.choice(W.LANGUAGES)
        return r.choice([f"Translate \"{t}\" to {la}.", f"Translate {t} into {la}", f"How do you say {t} in {la}?"]), {"text": t, "language": la}
    p0 = r.choice(["location", "city", "location"])
    k = r.choice([("from_currency", "to_currency"), ("from", "to"), ("source", "target")])
    sym = r.choice(["symbol", "ticker"])
    menu = [
        (mk(r.choice(["get_weather", "get_current_weather", "weather", "fetch_weather"]) if s.test or r.random() < 0.5 else "get_weather", r.choice(["Get the weather for a location", "Gets the current weather in the provided location.", "Get the weather of a city."]), {p0: P("string", r.choice([None, "The city and state, e.g. San Francisco, CA", "City name"])), "unit": unit}, [p0]), weather),
        (mk("convert_currency", "Convert an amount from one currency to another.", {"amount": P("number"), k[0]: P("string"), k[1]: P("string")}, ["amount", *k]), convert),
        (mk(r.choice(["search", "web_search", "search_web"]), r.choice(["Search the web.", "Search for information"]), {"query": P("string", r.choice([None, "The search query"]))}, ["query"]), search),
        (mk("send_email", "Send an email.", {"to": P("string", "Address of the recipient"), "subject": P("string"), "body": P("string")}, ["to", "subject", "body"]), email),
        (mk("create_event", "Create a calendar event.", {"title": P("string"), "date": P("string", "Date as YYYY-MM-DD"), "time": P("string"), "attendees": P("array", None, items={"type": "string"})}, ["title", "date", "time"]), event),
        (mk(r.choice(["calculate", "calculator"]), "Evaluate an expression.", {"expression": P("string")}, ["expression"]), calc),
        (mk(r.choice(["get_stock_price", "stock_price"]), "Get the price of a stock.", {sym: P("string", r.choice([None, "The ticker symbol"]))}, [sym]), stock),
        (mk("set_reminder", "Set a reminder.", {"text": P("string"), "time": P("string")}, ["text", "time"]), remind),
        (mk(r.choice(["get_time", "get_current_time"]), "Get the local time.", {p0: P("string")}, [p0]), clock),
        (mk("translate", "Translate a text.", {"text": P("string"), "language": P("string", r.choice([None, "The language to translate to"]))}, ["text", "language"]), translate),
        (mk("set_timer", "Set a timer.", {"minutes": P("integer")}, ["minutes"]), timer),
        (mk("set_light", "Turn a light on or off.", {"room": P("string"), "on": P("boolean")}, ["room", "on"]), light),
        (mk("create_user", "Create a user.", {"name": P("string"), "age": P("integer"), "address": P("object", None, properties={"city": P("string"), "zip": P("string")}, required=["city"])}, ["name", "address"]), user),
        (mk("book_table", "Book a table in a restaurant.", {"restaurant": P("string"), "people": P("integer"), "time": P("string")}, ["restaurant", "people", "time"]), table)]
    return menu


compact = lambda v: json.dumps(v, separators=(",", ":"), ensure_ascii=False)


def tool_think(s, name, args, effort, task):
    """One short line that restates the request and names the function; at high effort the fields to fill in too."""
    return f"{task}: {name}." + ("" if effort != "high" else f" Fields: {', '.join(args)}." if args else " No fields.")


def task_of(tool):
    """The gist of an everyday function, from its description."""
    return tool["description"].rstrip(".").lower()


def toolset(s):
    """Tools of one developer message and a maker of requests: make() gives (request, tool name, arguments)."""
    n = s.r.choice([1, 1, 2, 2, 2, 3, 3, 4, 4, 5])
    makers, tools, tasks = {}, [], {}
    if not s.test and s.r.random() < 0.3:
        if s.r.random() < 0.5:  # everyday functions only
            n = min(n, 4)
            k = n
        else:
            k = min(n, s.r.randint(1, 3))
        for tool, make in s.r.sample(real_function(s), k):
            tools.append(tool)
            makers[tool["name"]] = make
            tasks[tool["name"]] = task_of(tool)
    while len(tools) < n:
        f = function(s, makers)
        tools.append(f["tool"])
        makers[f["tool"]["name"]] = lambda f=f: request(s, f)
        tasks[f["tool"]["name"]] = f"{f['verb']} {f['topic']}"
    s.r.shuffle(tools)
    def make(name=None):
        name = name or s.r.choice(tools)["name"]
        q, args = makers[name]()
        return q, name, args, tasks[name]
    return tools, make


def result_of(s):
    """A function's result: (dict, sentence that reports it)."""
    if s.r.random() < 0.1:
        why = s.r.choice(["not found", "timeout", "no access", "bad request", s.word()])
        return {"error": why}, f"The function failed: {why}."
    out = {}
    for _ in range(s.r.choice([1, 1, 2, 2, 3])):
        k, _, kind = parameter(s, out)
        out[k] = s.r.random() < 0.5 if kind == "boolean" else value(s, kind)[0]
    say = lambda v: v if isinstance(v, str) else compact(v)
    parts = [f"{k} is {say(v)}" for k, v in out.items()]
    return out, "The " + (", the ".join(parts[:-1]) + " and the " + parts[-1] if len(parts) > 1 else parts[0]) + "."


def call_branch(s, effort, make):
    q, name, args, task = make()
    return dict(history=[("user", rough(s, q, True))], think=tool_think(s, name, args, effort, task), call=(name, compact(args)), task="call")


def result_branch(s, effort, make):
    q, name, args, task = make()
    res, text = result_of(s)
    think = tool_think(s, name, args, effort, task)
    hist = [("user", rough(s, q, True)), ("analysis", think)] + [("call", name, compact(args)), ("result", name, compact(res))]
    mine = {"low": None, "medium": "I have the result.", "high": "The function answered. I report the result."}[effort]
    return dict(history=hist, think=mine, answer=text, task="result")


def loop_branch(s, effort, make, long=False):
    """Several requests in one message, done one call at a time; the target is a random step."""
    n = s.r.randint(4, 8) if long else s.r.choice([2, 2, 3])
    todo = [make() for _ in range(n)]
    if s.r.random() < 0.5:
        q0, name, args, task = todo[0]
        strings = [k for k, v in args.items() if isinstance(v, str)]
        if strings and len(args) == 1:  # one function for a list of values
            k = strings[0]
            vals = [args[k]] + [s.proper() for _ in range(n - 1)]
            q = q0.replace(args[k], ", ".join(vals[:-1]) + " and " + vals[-1], 1)
            todo = [(q, name, {k: v}, task) for v in vals]
        else:
            q = None
    else:
        q = None
    if q is None:
        q = " Then ".join([todo[0][0].rstrip(".?") + "."] + [(t[0][0].lower() + t[0][1:]).rstrip(".?") + "." for t in todo[1:]])
    stop = s.r.randint(0, n)
    hist, said_all = [("user", q)], []
    for i in range(stop):
        _, name, args, task = todo[i]
        hist.append(("analysis", f"Step {i + 1} of {n}. {tool_think(s, name, args, effort, task)}"))
        k, _, kind = parameter(s, {})
        res = {k: s.r.random() < 0.5 if kind == "boolean" else value(s, kind)[0]}
        said_all.append(f"{i + 1}: " + ", ".join(f"{k} {v if isinstance(v, str) else compact(v)}" for k, v in res.items()))
        hist += [("call", name, compact(args)), ("result", name, compact(res))]
    if stop < n:
        _, name, args, task = todo[stop]
        return dict(history=hist, think=f"Step {stop + 1} of {n}. {tool_think(s, name, args, effort, task)}", call=(name, compact(args)), task="loop")
    return dict(history=hist, think={"low": None, "medium": "All steps are done.", "high": "All steps are done. I report the results."}[effort],
                answer=". ".join(said_all) + ".", task="loop")


def unfit_branch(s, effort, tools):
    names = " ".join(t["name"] + " " + t["description"] for t in tools).lower()
    while True:
        f = function(s, {})
        if f["topic"].split()[0] not in names:
            break
    q, _ = request(s, f)
    return dict(history=[("user", q)], think={"low": None, "medium": "No function fits.", "high": "No function fits this request, so I say so."}[effort],
                answer=W.SAY_NO_FUNCTION, task="nofit")


# ---- answers to a schema ---------------------------------------------------------------------------------------------


def json_format(s):
    props, kinds = {}, {}
    for _ in range(s.r.randint(1, 4)):
        p, schema, kind = parameter(s, props)
        props[p], kinds[p] = schema, kind
    noun = s.noun()
    schema = {"type": "object", "properties": props, "required": list(props), **({"additionalProperties": False} if s.r.random() < 0.5 else {})}
    def make(effort):
        args, parts = {}, []
        for p in props:
            t, args[p] = said(s, p, props[p], kinds[p])
            parts.append(t)
        lead = s.r.choice([f"A {noun} with ", f"The {noun}: ", f"{noun}: ", f"Extract the {noun}: ", f"Here is a {noun}: ", "", "Read this: ", "My data: "])
        think = {"low": None, "medium": "Answer with JSON.", "high": f"Answer with JSON. Fields: {', '.join(props)}."}[effort]
        return dict(history=[("user", rough(s, lead + ", ".join(parts) + ".", True))], think=think, answer=compact(args), task="json")
    return (noun, s.r.choice([None, f"A {noun}", f"The {noun} to answer with"]), schema), make


# ---- instructions that change the answer -----------------------------------------------------------------------------


def style_of(s):
    """(instruction text, change of an answer) of a developer message."""
    r, w = s.r, s.proper().split()[0] if s.r.random() < 0.5 else s.word().capitalize()
    first = lambda ex, p: [p] + ex
    kinds = [
        (["Answer only with the number.", "Reply with the number only.", "Only give the number."], lambda ex, a: a),
        (["Answer in a full sentence.", "Answer in full sentences.", "Always answer with a full sentence."], lambda ex, a: [ex["sentence"]] if "sentence" in ex else a),
        (["Show the calculation in the answer.", "Repeat the calculation in the answer.", "Answer with the whole equation."], lambda ex, a: [ex["equation"]] if "equation" in ex else a),
        ([f"Begin every answer with the word {w}.", f"Start each answer with {w}.", f"Always begin with {w}.", f"Your answers begin with the word {w}."], lambda ex, a: [w + " "] + a),
        ([f"End every answer with the word {w}.", f"Always end with {w}.", f"Finish each answer with {w}."], lambda ex, a: a + [" " + w]),
        (["Answer in capital letters.", "Answer in capitals.", "Write every answer in upper case.", "Use capital letters only."], lambda ex, a: [x.upper() if isinstance(x, str) else (x[0], x[1].upper()) for x in a])]
    k = r.randrange(len(kinds))
    text = r.choice(kinds[k][0])
    if r.random() < 0.2:
        text = r.choice([f"{fill(s, s.pick(templates(W.NEUTRAL)))} {text}", f"{text} {fill(s, s.pick(templates(W.NEUTRAL)))}"])
    return text, kinds[k][1]


same = lambda ex, a: a


def repeat_branch(s):
    """Copying practice, most of it early in the training."""
    items = [s.r.choice([s.word, s.word, s.proper, lambda: value(s, s.r.choice(["integer", "code", "email", "time", "date"]))[1]])() for _ in range(s.r.randint(2, 14))]
    text = s.r.choice([" ", " ", ", ", "_"]).join(items)
    quote = s.r.random()
    q = s.r.choice(["Repeat: {t}", "Say {t}", "Repeat after me: {t}", "Copy this: {t}", "repeat {t}", "Write {t}"]).format(t=f'"{text}"' if quote < 0.2 else text)
    return dict(history=[("user", q)], think=None, answer=text, task="repeat")


# ---- branches, packs, examples ---------------------------------------------------------------------------------------

PLAIN = {"sum": 12, "difference": 26, "product": 16, "compare": 10, "count": 16, "reverse": 16, "honest": 8}


def plain(s, task, effort, full=False):
    ops = {"sum": "+", "difference": "-", "product": "*"}
    if task in ops:
        return arithmetic(s, ops[task], effort, full)
    return {"compare": compare_task, "count": count_task, "reverse": reverse_task, "honest": honest_task}[task](s, effort)


def as_text(a):
    return "".join(x if isinstance(x, str) else x[1] for x in a)


def plain_branch(s, effort, style=same, task=None, full=False, follow=True):
    task = task or s.r.choices(list(PLAIN), PLAIN.values())[0]
    hist = []
    if follow and s.r.random() < 0.15:
        for k in range(s.r.choice([1, 1, 2])):
            t = s.r.choices(list(PLAIN), [1, 1, 1, 1, 1, 1, 2])[0]
            ex = plain(s, t, effort)
            a = ex["answer"] if isinstance(ex["answer"], list) else [ex["answer"]]
            hist += [("user", ex["user"])] + ([("analysis", ex["think"])] if k and ex["think"] else []) + [("final", as_text(style(ex, a)))]
    if follow and not hist and task in ("sum", "difference") and s.r.random() < 0.05:  # a question about the last answer
        ex = arithmetic(s, s.r.choice("+-"), effort)
        v = int(ex["answer"])
        op = {"sum": "+", "difference": "-"}[task]
        b = s.r.randint(1, 99)
        if 0 <= v <= 999 and held(f"{v}{op}{b}") == s.test:
            hist = [("user", ex["user"]), ("final", as_text(style(ex, [ex["answer"]])))]
            q = s.r.choice(["Now add {b}.", "Add {b} to that.", "plus {b}?", "And plus {b}?"] if op == "+" else ["Now subtract {b}.", "Take away {b} from that.", "minus {b}?", "And minus {b}?"]).format(b=b)
            think, w = work(op, v, b, effort)
            ex = dict(user=q, think=think, answer=str(w), sentence=f"The answer is {w}.", equation=f"{v} {op} {b} = {w}")
            return dict(history=hist + [("user", q)], think=think, answer=style(ex, [ex["answer"]]), task=task)
    ex = plain(s, task, effort, full or s.test)  # the card counts only products of two 2-digit numbers
    a = ex["answer"] if isinstance(ex["answer"], list) else [ex["answer"]]
    return dict(history=hist + [("user", ex["user"])], think=ex["think"], answer=style(ex, a), task=task)


def random_date(rng):
    return f"{rng.randint(2024, 2032)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}" if rng.random() < 0.5 else None


def head_and_maker(s, kind, effort, styled=None):
    """One prefix, and a maker of branches for it: (effort, date, instructions, tools, formats), make(task=None).

    `styled` forces (True) or forbids (False) instructions that change the answer; otherwise a third of the plain packs have them.
    """
    date = random_date(s.r)
    neutral = fill(s, s.pick(templates(W.NEUTRAL)))
    if kind == "plain":
        x = 1 if styled else s.r.random() * (1 if styled is None else 0.68)
        text, style = (None, same) if x < 0.55 else (neutral, same) if x < 0.68 else style_of(s)
        return (effort, date, text, None, None), lambda task=None: plain_branch(s, effort, style, task)
    if kind == "repeat":
        return (effort, date, neutral if s.r.random() < 0.2 else None, None, None), lambda task=None: repeat_branch(s) if task == "repeat" or not task and s.r.random() < 0.25 else lookup_branch(s, effort)
    if kind == "json":
        fmt, make = json_format(s)
        text = neutral if s.r.random() < 0.5 else s.r.choice(["Answer with JSON.", "Extract the data as JSON.", "Fill in the form.", None])
        return (effort, date, text, None, [fmt]), lambda task=None: make(effort)
    tools, make = toolset(s)
    text = neutral if s.r.random() < 0.35 else None
    def branch(task=None):
        x = s.r.random()
        task = task or ("call" if x < 0.76 else "result" if x < 0.87 else "loop" if x < 0.94 else "nofit" if x < 0.97 else "other")
        if task == "call": return call_branch(s, effort, make)
        if task == "result": return result_branch(s, effort, make)
        if task == "loop": return loop_branch(s, effort, make)
        if task == "longloop": return loop_branch(s, effort, make, True)
        if task == "nofit": return unfit_branch(s, effort, tools)
        names = " ".join(t["name"] for t in tools)
        while True:  # something that no function at hand does
            b = plain_branch(s, effort, task=s.r.choice(["honest", "honest", "sum", "difference", "count"]) if "calc" not in names else "honest", follow=False)
            said = b["history"][0][1].lower()
            if not any(k in names and re.search(v, said) for k, v in W.NEAR):
                return b
    return (effort, date, text, tools, None), branch


def target(b):
    t = [b["think"]] if b["think"] else None
    if "call" in b:
        return H.ask(t, *b["call"])
    return H.say(t, b["answer"] if isinstance(b["answer"], list) else [b["answer"]])


def prefix(head):
    effort, date, text, tools, formats = head
    return H.system(effort, date, bool(tools)) + H.developer(text, tools, formats)


def history(h):
    out = []
    for kind, *a in h:
        out += {"user": H.user, "analysis": H.analysis, "final": H.final, "call": H.call, "result": H.result}[kind](*a)
    return out + H.PROMPT


def lookup_branch(s, effort):
    """Answering from facts in the question: a name leads to its value."""
    facts = {}
    for _ in range(s.r.randint(1, 6)):
        p, schema, kind = parameter(s, facts)
        if kind in ("boolean", "enum"):
            kind = "text"
        facts[p] = value(s, kind)[1]
    link = s.r.choice([" is ", " = ", ": ", " "])
    text = s.r.choice([", ", ", ", "; ", ". "]).join(f"{k.replace('_', ' ')}{link}{v}" for k, v in facts.items())
    want = s.r.sample(list(facts), s.r.randint(1, min(3, len(facts))))
    names = " and ".join(k.replace("_", " ") for k in want)
    q = s.r.choice(["{t}. What is the {n}?", "{t}. Tell me the {n}.", "Given {t}, what is the {n}?", "{t}. Which {n}?", "Find the {n} in: {t}"]).format(t=text, n=names)
    ans = ", ".join(facts[k] for k in want)
    think = {"low": None, "medium": "The answer is in the question.", "high": "The answer is in the question: " + ", ".join(f"{k.replace('_', ' ')} = {facts[k]}" for k in want) + "."}[effort]
    return dict(history=[("user", q)], think=think, answer=ans, task="lookup")


def pick_kind(rng, step=100000):
    """The kind of pack and its effort; copying practice fades over the first steps."""
    repeat = max(5, 40 - step / 60)
    kind = rng.choices(["plain", "tools", "json", "repeat"], [40, 80, 4, repeat])[0]
    return kind, rng.choices(EFFORTS, [25, 40, 35])[0]


def pack_pieces(rng, vendor=False):
    """For the check of the renderer: a head and a few prompts."""
    s = Source(rng)
    kind, effort = pick_kind(rng)
    if kind == "json":
        return None, None
    head, make = head_and_maker(s, kind, effort)
    return head[:4], [make()["history"] for _ in range(3)]


def pack(vocab, seed, step, row, length):
    """One training row: (ids, positions, segments, target mask, tasks of branches)."""
    rng = random.Random(f"{seed}/{step}/{row}")
    s = Source(rng)
    while True:
        kind, effort = pick_kind(rng, step)
        head, make = head_and_maker(s, kind, effort)
        ids = vocab.tokens(prefix(head))
        if len(ids) < 0.7 * length:
            break
    n = len(ids)
    pos, seg, on, tasks, fails, k = list(range(n)), [0] * n, [0] * n, [], 0, 0
    while fails < 4:
        task = "longloop" if length > 600 and kind == "tools" and rng.random() < 0.35 else None
        b = make(task)
        p, t = vocab.tokens(history(b["history"])), vocab.tokens(target(b))
        if len(ids) + len(p) + len(t) > length:
            fails += 1
            continue
        k += 1
        ids += p + t
        m = len(p) + len(t)
        pos += range(n, n + m)
        seg += [k] * m
        on += [0] * len(p) + [k] * len(t)
        tasks.append(b["task"])
    pad = length - len(ids)
    return ids + [vocab.control["<|endoftext|>"]] * pad, pos + [0] * pad, seg + [-1] * pad, on + [0] * pad, tasks


TASK_KIND = {"call": "tools", "result": "tools", "loop": "tools", "longloop": "tools", "nofit": "tools", "other": "tools", "json": "json", "lookup": "repeat", "repeat": "repeat"}


def example(task, effort, rng):
    """One held-out prompt: (pieces of the prompt, branch).

    "real": functions of everyday kinds, seen names, unseen values. "styled": instructions that change the answer; the other plain tasks
    have none or neutral ones.
    """
    s = Source(rng, test=True)
    if task == "real":
        menu = s.r.sample(real_function(s), s.r.randint(1, 5))
        tool, make = menu[0]
        tools = [m[0] for m in menu]
        s.r.shuffle(tools)
        b = call_branch(s, effort, lambda: (lambda q: (q[0], tool["name"], q[1], task_of(tool)))(make()))
        head = (effort, random_date(s.r), None, tools, None)
        return prefix(head) + history(b["history"]), b
    head, make = head_and_maker(s, TASK_KIND.get(task, "plain"), effort, task == "styled")
    b = make(s.r.choice(["sum", "count", "compare", "honest"]) if task == "styled" else task)
    return prefix(head) + history(b["history"]), b


if __name__ == "__main__":
    v = H.Vocab()
    for i in range(6):
        ids, pos, seg, on, tasks = pack(v, 0, i, 0, 512)
        print(tasks, sum(1 for x in seg if x >= 0), sum(map(bool, on)))
        print(v.decode([t for t, g in zip(ids, seg) if g >= 0]).replace("<|start|>user", "\n  <|start|>user"), "\n")
