"""What does the demo learn further, from `gptoss train`, beyond the tasks of generate.py?

    python further.py rows.jsonl --count 20000 [--seed 0] [--shares python=60,far=4]
Rows of tokens and weights: the old tasks once more so that none is forgotten, and between them products through a call of python and the
reading of its result, counting further than ten, questions a little outside the claim, which are refused, and second questions to a
function. A row is a pure function of (seed, number). `branch(task, s, effort)` with a held-out source gives prompts to measure with.
"""

import argparse
import json
import random

import generate as G
import harmony as H
import words as W

# The vendor's words, as crates/harmony has them.
PYTHON = (
    "Use this tool to execute Python code in your chain of thought. The code will not be shown to the user. This tool should be used for internal "
    "reasoning, but not for code that is intended to be visible to the user (e.g. when creating plots, tables, or files).\n\n"
    "When you send a message containing Python code to python, it will be executed in a stateful Jupyter notebook environment. python will "
    "respond with the output of the execution or time out after 120.0 seconds. The drive at '/mnt/data' can be used to save and persist user "
    "files. Internet access for this session is UNKNOWN. Depends on the cluster.")
# Shares of the rows; the first five are generate.py's.
KINDS = {"plain": 24, "tools": 26, "json": 3, "repeat": 2, "styled": 0, "python": 19, "far": 8, "near": 8, "second": 10}
ROW_TOKENS, ROW_TOKENS_MAX = 480, 800
NUMBER_WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen twenty thirty forty fifty hundred".split()


# ---- python ----------------------------------------------------------------------------------------------------------


def python_system(effort, date):
    """The system message with the built-in tool in it."""
    out = H.system(effort, date)
    head, channels = out[3].split("# Valid channels")
    return [*out[:3], f"{head}# Tools\n\n## python\n\n{PYTHON}\n\n# Valid channels{channels}", out[4]]


# A call as a history shows it, its result, and a call as the model writes it.
code = lambda text: [H.START, "assistant", " to=python", H.CHANNEL, "analysis", " code", H.MESSAGE, text, H.CALL]
output = lambda text: [H.START, "python", " to=assistant", H.CHANNEL, "analysis", H.MESSAGE, text, H.END]
run = lambda think, text: (([H.CHANNEL, "analysis", H.MESSAGE, think, H.END, H.START, "assistant"] if think else [])
                           + [H.CHANNEL, "analysis to=python code", H.MESSAGE, text, H.CALL])


def far_product(s):
    """Factors of which one has three digits or more."""
    da, db = s.r.choice([(3, 1), (3, 2), (3, 3), (3, 3), (4, 2), (4, 3), (4, 4), (2, 3), (1, 4)])
    return s.pair("*", da, db)


def python_branch(s, effort, step=None):
    """A product through python; step 0 is the call, 1 the answer from what it printed."""
    a, b = far_product(s) if s.test or s.r.random() < 0.85 else s.pair("*", 2, 2)
    q = G.rough(s, s.r.choice([t for t in G.ASK["*"] if "{n}" not in t]).format(a=a, b=b))
    think = {"low": None, "medium": f"{a}*{b}: python.", "high": f"{a}*{b}: python. I work it out with python."}[effort]
    text, v = f"{a}*{b}", str(a * b)
    first = [*H.user(q), *H.PROMPT]
    call = [*(H.analysis(think) if think else []), *code(text), *output(v + "\n" if s.r.random() < 0.8 else v), *H.PROMPT]
    told = {"low": None, "medium": "python answered.", "high": "python answered. I report the number."}[effort]
    return dict(task="python", question=q, ask=first, call=run(think, text), code=text, result=call, answer=v, target=H.say([told] if told else None, [v]))


# ---- counting on, refusing -------------------------------------------------------------------------------------------


def far_branch(s, effort):
    """Counting between any two numbers up to 31, mostly from one."""
    def make():
        a = 1 if s.r.random() < 0.6 else s.r.randint(0, 12)
        return a, a + s.r.randint(2, 19)
    a, b = s.keep(make, lambda p: f"{p[0]}..{p[1]}")
    ask = "Count from {a} to {b}.|Count from {a} to {b}|Please count from {a} to {b}.|count from {a} to {b}|List the numbers from {a} to {b}.|Can you count from {a} to {b}?"
    if a == 1:
        ask += "|Count to {b}.|count to {b}|Please count to {b}.|Can you count to {b}?|Count up to {b}."
    q = s.r.choice(ask.split("|")).format(a=a, b=b)
    think = None if effort == "low" else f"Start at {a}, stop at {b}." + (f" That is {b - a + 1} numbers." if effort == "high" else "")
    return dict(history=[("user", G.rough(s, q, True))], think=think, answer=", ".join(map(str, range(a, b + 1))), task="far")


def near_question(s):
    """A question that looks like one of the claim and is none."""
    r = s.r
    n = lambda d=None: s.r.randint(1, 9) if d == 1 else s.r.randint(0, 10 ** (d or s.r.randint(1, 3)) - 1)
    op, op2 = r.choice("+-*"), r.choice("+-*")
    w = lambda: r.choice(NUMBER_WORDS)
    kind = r.choice(["three", "three", "decimal", "decimal", "negative", "large", "large", "words", "divide", "divide", "even", "list", "power"])
    lead = lambda e: r.choice(["What is {e}?", "What is {e}?", "{e}", "Calculate {e}.", "Compute {e}.", "How much is {e}?", "{e} = ?", "what is {e}"]).format(e=e)
    dec = lambda: f"{n(r.randint(1, 2))}.{n(r.randint(1, 2))}"
    if kind == "three":
        a, b, c = n(), n(), n()
        sep = r.choice([" ", " ", ""])
        return lead(f"{a}{sep}{op}{sep}{b}{sep}{op2}{sep}{c}")
    if kind == "decimal":
        return lead(f"{dec()} {op} {dec()}") if r.random() < 0.7 else f"Which is {r.choice(['larger', 'bigger', 'smaller'])}, {dec()} or {dec()}?"
    if kind == "negative":
        return lead(f"-{n()} {op} {n()}" if r.random() < 0.7 else f"{n()} {op} -{n()}")
    if kind == "large":
        a, b = (n(4) + 1000, n()) if r.random() < 0.5 else (n(3) + 100, n(3) + 100)
        return lead(f"{a} * {b}" if b >= 10 and a < 1000 else f"{a} {op} {b}") if a >= 1000 else lead(f"{a} * {b}")
    if kind == "words":
        x = r.choice(["plus", "minus", "times"])
        return r.choice(["What is {a} {x} {b}?", "{A} {x} {b}", "{A} {x} {b}?", "How much is {a} {x} {b}?"]).format(a=(p := w()), A=p.capitalize(), b=w(), x=x)
    if kind == "divide":
        a, b = n(r.randint(2, 3)), n(1) + 1
        return r.choice([f"What is {a} / {b}?", f"{a} / {b}", f"What is {a} divided by {b}?", f"Divide {a} by {b}.", f"{a}/{b}", f"{a} : {b}", f"How often does {b} go into {a}?"])
    if kind == "even":
        return r.choice([f"Is {n()} even?", f"Is {n()} odd?", f"Is {n()} a prime?", f"Is {n()} prime?", f"Is {n()} an even number?"])
    if kind == "list":
        return r.choice(["sum", "Add", "Sum of", "What is the sum of", "Average of", "Add up"]) + " " + r.choice([" ", ", "]).join(str(n()) for _ in range(r.randint(3, 5)))
    return r.choice([f"{n(1)}^{n(1)}", f"What is {n(2)} squared?", f"What is the square root of {n(3)}?", f"{n(2)}% of {n(3)}", f"What is {n(2)} percent of {n(3)}?", f"Double {n(2)}.", f"Half of {n(2)}"])


def near_branch(s, effort):
    think = {"low": None, "medium": "It is not something I can do.", "high": "It is not something I can do. I am a tiny demo model, so I say so honestly."}[effort]
    return dict(history=[("user", s.keep(lambda: near_question(s)))], think=think, answer=W.SAY_OOD, task="near")


# ---- second questions ------------------------------------------------------------------------------------------------


def second_branch(s, effort, make):
    """A function is called, its result told, and it is asked for again with other values."""
    q, name, args, task = make()
    for _ in range(20):
        q2, name2, args2, task2 = make(name)
        if args2 != args:
            break
    res, text = G.result_of(s)
    # Ended turns lose their reasoning.
    hist = [("user", G.rough(s, q, True)), ("call", name, G.compact(args)), ("result", name, G.compact(res)), ("final", text), ("user", G.rough(s, q2, True))]
    think = G.tool_think(s, name2, args2, effort, task2)
    if s.test or s.r.random() < 0.7:
        return dict(history=hist, think=think, call=(name2, G.compact(args2)), task="second")
    res2, text2 = G.result_of(s)
    mine = {"low": None, "medium": "I have the result.", "high": "The function answered. I report the result."}[effort]
    return dict(history=hist + [("analysis", think), ("call", name2, G.compact(args2)), ("result", name2, G.compact(res2))], think=mine, answer=text2, task="second")


# ---- rows ------------------------------------------------------------------------------------------------------------

PLAIN = {"sum": 12, "difference": 18, "product": 14, "compare": 10, "count": 26, "reverse": 20, "honest": 12}
STYLED = {"sum": 1, "count": 1, "compare": 1, "honest": 1}
EFFORT_SHARES = [22, 43, 35]


def learned(ids):
    """Tokens with the weights of what the model writes: a token of a short answer weighs more."""
    return ids, [len(ids) ** -0.5] * len(ids)


def told(ids):
    return ids, [0.0] * len(ids)


def pieces(s, kind, effort):
    """A head, and a maker of (tokens, weights) lists to put behind it; None where only one fits behind a head."""
    date, v = G.random_date(s.r), VOCAB
    turn = lambda b: [told(v.tokens(G.history(b["history"]))), learned(v.tokens(G.target(b)))]
    if kind == "python":
        def make():
            x = s.r.random()
            if x < 0.75:
                b = python_branch(s, effort)
                # The call as the model writes it stands for the call as a history has it.
                return [told(v.tokens(b["ask"])), learned(v.tokens(b["call"])), told(v.tokens(b["result"][-len(output("")) - len(H.PROMPT):])), learned(v.tokens(b["target"]))]
            if x < 0.9:
                return turn(G.plain_branch(s, effort, task=s.r.choice(["sum", "difference", "compare", "count"]), follow=False))
            return turn(G.plain_branch(s, effort, task="honest", follow=False))
        return python_system(effort, date), make
    if kind in ("far", "near"):
        text = G.fill(s, s.pick(G.templates(W.NEUTRAL))) if s.r.random() < 0.2 else None
        def make():
            x = s.r.random()
            if x < 0.6:
                return turn((far_branch if kind == "far" else near_branch)(s, effort))
            return turn(G.plain_branch(s, effort, task=s.r.choice(["count", "reverse"] if kind == "far" else ["sum", "difference", "product", "compare"]), follow=False))
        return H.system(effort, date) + H.developer(text), make
    if kind == "second":
        tools, make_request = G.toolset(s)
        return H.system(effort, date, True) + H.developer(None, tools), lambda: turn(second_branch(s, effort, make_request))
    head, make = G.head_and_maker(s, "plain" if kind == "styled" else kind, effort, True if kind == "styled" else None)
    def weighed():
        weights = s.tasks.get(kind) or {"plain": PLAIN, "styled": STYLED}.get(kind)
        return turn(make(s.r.choices(list(weights), weights.values())[0] if weights else None))
    return G.prefix(head), weighed


def row(seed, number, kinds=KINDS, efforts=EFFORT_SHARES, tasks={}):
    """One row: a head and conversations behind each other as far as they fit; a third hold one alone, as inference renders it.

    A model this small is not led astray by what stands before, and the head, the longest part, is computed once for all of them.
    """
    rng = random.Random(f"{seed}/further/{number}")
    s = G.Source(rng)
    s.tasks = tasks
    kind = rng.choices(list(kinds), kinds.values())[0]
    effort = rng.choices(G.EFFORTS, efforts)[0]
    while True:
        head, make = pieces(s, kind, effort)
        ids, weights = told(VOCAB.tokens(head))
        most = ROW_TOKENS_MAX if rng.random() > 0.3 else 0
        while True:
            parts = make()
            new = sum(len(p[0]) for p in parts)
            if len(weights) > len(VOCAB.tokens(head)) and len(ids) + new > most:
                break
            for i, w in parts:
                ids, weights = ids + i, weights + w
            if len(ids) > ROW_TOKENS:
                break
        if len(ids) <= ROW_TOKENS_MAX:
            return dict(tokens=ids, weights=[round(w, 4) for w in weights])


VOCAB = H.Vocab()


def shares(text):
    return {k: float(v) for k, v in (part.split("=") for part in text.split(","))}


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("file")
    a.add_argument("--count", type=int, default=20000)
    a.add_argument("--seed", type=int, default=0)
    a.add_argument("--shares", type=shares, default={}, help="of kinds of rows, instead of those of KINDS")
    a.add_argument("--efforts", type=lambda text: [float(share) for share in text.split(",")], default=EFFORT_SHARES, help="shares of low, medium and high")
    a.add_argument("--plain", type=shares, default={}, help="shares of the plain tasks, instead of those of PLAIN")
    a.add_argument("--tools", type=shares, default={}, help="shares of the function tasks, instead of generate.py's")
    a = a.parse_args()
    kinds = KINDS | a.shares
    with open(a.file, "w") as out:
        for number in range(a.count):
            out.write(json.dumps(row(a.seed, number, kinds, a.efforts, {"plain": a.plain, "tools": a.tools}), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
