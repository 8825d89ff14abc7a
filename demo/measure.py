"""How often is a demo right where gptoss itself writes its turns, and does another one do better on the same prompts?

    gptoss serve --model model/ --port 8099 --no-loop-breaker
    python measure.py --address http://127.0.0.1:8099 --json after.json            the card's tasks, then those of further.py
    python measure.py --address http://127.0.0.1:8099 --sampled 2000 --json x.json  turns at temperature 1: well-formed, and whether they end
    python measure.py --compare before.json after.json
    gptoss serve --model model/ --port 8099 --tools python
    python measure.py --address http://127.0.0.1:8099 --loop 200                    products that the server computes in its cell
Prompts are tokens that /v1/completions continues with nothing to hold them. `--seed` decides them: two models are asked the same. Intervals are
Wilson 95 %; of a difference between two models that of paired proportions. `python` counts what the loop of call, product and answer ends in.
"""

import argparse
import concurrent.futures
import json
import math
import random
import re
import time
import urllib.request

import further as F
import generate as G
import harmony as H
from judge import BUDGET, PLAN, TASKS, read_turn, right, wilson

SEED = "further 2026-11-30"
SECONDS_MAX = 600
MEDIUM_HIGH = ("medium", "high")
MORE = {"python": (MEDIUM_HIGH, 200), "far": (MEDIUM_HIGH, 200), "near": (MEDIUM_HIGH, 200), "second": (MEDIUM_HIGH, 200)}
CODE = re.compile(r"(<\|channel\|>analysis<\|message\|>[^<]*<\|end\|><\|start\|>assistant)?<\|channel\|>(?:analysis|commentary) to=python code<\|message\|>([^<]*)<\|call\|>")
PRODUCT = re.compile(r"\s*\d+ ?\* ?\d+\s*")


class Writer:
    """Turns of a served model, as token ids."""

    def __init__(self, address, model):
        self.address, self.model, self.vocab = address, model, F.VOCAB

    def post(self, path, body):
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:
            return json.load(answer)

    def turn(self, prompt, temperature=0.0, seed=0):
        body = dict(model=self.model, prompt=prompt, max_tokens=BUDGET, temperature=temperature, seed=seed, logprobs=0)
        choice = self.post("/v1/completions", body)["choices"][0]
        v = self.vocab
        ids = [v.control[t] if t in v.control else v.ranks.get(t.encode(), v.ranks[b"?"]) for t in choice["logprobs"]["tokens"]]
        if choice["finish_reason"] == "stop" and not (ids and ids[-1] in (v.control["<|return|>"], v.control["<|call|>"])):
            # The server does not tell which token ended the turn; its last header says which it must have been.
            head = v.decode(ids).rsplit("<|channel|>", 1)[-1].split("<|message|>")[0]
            ids.append(v.control["<|call|>" if " to=" in head else "<|return|>"])
        return ids


def example(task, effort, rng):
    """A held-out prompt (tokens) and what is expected."""
    if task in PLAN:
        pieces, b = G.example(task, effort, rng)
        return F.VOCAB.tokens(pieces), b
    s = G.Source(rng, test=True)
    if task == "python":
        b = F.python_branch(s, effort)
        b["head"] = F.VOCAB.tokens(F.python_system(effort, G.random_date(s.r)) + b["ask"])
        return b["head"], b
    if task == "second":
        tools, make = G.toolset(s)
        b, head = F.second_branch(s, effort, make), H.system(effort, G.random_date(s.r), True) + H.developer(None, tools)
    else:
        b, head = (F.far_branch if task == "far" else F.near_branch)(s, effort), H.system(effort, G.random_date(s.r))
    return F.VOCAB.tokens(head + G.history(b["history"])), b


def judged(writer, task, prompt, b):
    """(right, tokens of the turn, its text)."""
    ids = writer.turn(prompt)
    text = writer.vocab.decode(ids)
    if task != "python":
        return right(b, read_turn(writer.vocab, ids)), len(ids), text
    called = CODE.fullmatch(text)
    if not called or not PRODUCT.fullmatch(called[2]):
        return False, len(ids), text
    a, c = (int(x) for x in called[2].split("*"))
    v = writer.vocab
    think = called[1] and called[1].split("<|message|>")[1].split("<|end|>")[0]
    back = v.tokens([*(H.analysis(think) if think else []), *F.code(called[2]), *F.output(f"{a * c}\n"), *H.PROMPT])
    # The first of these tokens stand in the prompt.
    ids = writer.turn(prompt + back[2:])
    turn = read_turn(v, ids)
    return turn is not None and turn[1] == "final" and turn[3].strip() == b["answer"], len(ids), text + " ... " + v.decode(ids)


def card(writer, a):
    plan, table = {**PLAN, **MORE}, {}
    for task in a.tasks.split(","):
        efforts, count = plan[task]
        for effort in a.efforts.split(",") if a.efforts else efforts:
            began = time.time()
            items = [example(task, effort, random.Random(f"{a.seed}/{task}/{effort}/{k}")) for k in range(a.count or count)]
            with concurrent.futures.ThreadPoolExecutor(a.clients) as clients:
                out = list(clients.map(lambda item: judged(writer, task, *item), items))
            good = [int(ok) for ok, _, _ in out]
            k, n = sum(good), len(good)
            low, high = wilson(k, n)
            table[f"{task}/{effort}"] = dict(right=k, of=n, low=low, high=high, tokens=sum(t for _, t, _ in out) / n, each=good)
            print(f"{task:10s} {effort:6s} {k}/{n} = {100 * k / n:.1f} % ({100 * low:.1f} to {100 * high:.1f}), {time.time() - began:.0f} s", flush=True)
            for (_, b), (_, _, text) in [(i, o) for i, o in zip(items, out) if not o[0]][: a.wrong]:
                want = b.get("call") if task != "python" else b["answer"]
                print("   ", b["history"][-1] if "history" in b else b["question"], "\n      want", b.get("think"), want or G.as_text(b["answer"]), "\n      got ", text)
    return table


def sampled(writer, a):
    """Turns at temperature 1 over the card's tasks and efforts: well-formed, and ended within the budget."""
    items = [G.example(TASKS[k % len(TASKS)], G.EFFORTS[k // len(TASKS) % 3], random.Random(f"{a.seed}/sampled/{k}")) for k in range(a.sampled)]
    with concurrent.futures.ThreadPoolExecutor(a.clients) as clients:
        turns = list(clients.map(lambda k: writer.turn(F.VOCAB.tokens(items[k][0]), 1.0, k), range(len(items))))
    formed, ended = sum(read_turn(F.VOCAB, t) is not None for t in turns), sum(len(t) < BUDGET for t in turns)
    for name, k in (("well-formed", formed), ("ended", ended)):
        print(f"{name} at temperature 1: {k}/{len(turns)} ({100 * wilson(k, len(turns))[0]:.1f} to {100 * wilson(k, len(turns))[1]:.1f} %)")
    return dict(wellformed=formed, ended=ended, of=len(turns))


def loop(writer, a):
    """Products through /v1/responses and its code_interpreter: python was called, and the answer is the product."""
    def asked(k):
        s = G.Source(random.Random(f"{a.seed}/loop/{k}"), test=True)
        b = F.python_branch(s, MEDIUM_HIGH[k % 2])
        tools = [{"type": "code_interpreter", "container": {"type": "auto"}}]
        body = dict(model=a.model, input=b["question"], tools=tools, reasoning=dict(effort=MEDIUM_HIGH[k % 2]), temperature=0, store=False)
        output = writer.post("/v1/responses", body)["output"]
        text = "".join(part["text"] for item in output if item["type"] == "message" for part in item["content"] if part["type"] == "output_text")
        return any(item["type"] == "code_interpreter_call" for item in output) and text.strip() == b["answer"], b, text
    with concurrent.futures.ThreadPoolExecutor(a.clients) as clients:
        out = list(clients.map(asked, range(a.loop)))
    k = sum(ok for ok, _, _ in out)
    print(f"products through python: {k}/{len(out)} ({100 * wilson(k, len(out))[0]:.1f} to {100 * wilson(k, len(out))[1]:.1f} %)")
    for _, b, text in [o for o in out if not o[0]][: a.wrong]:
        print("   ", b["question"], "want", b["answer"], "got", text)
    return dict(right=k, of=len(out))


def compare(before, after):
    """Row by row: shares, and the difference with its interval; a row is worse when that lies below zero."""
    first, second = (json.load(open(path)) for path in (before, after))
    print("| Row | before | after | difference |\n|---|---|---|---|")
    for row in (r for r in first if r in second):
        x, y = first[row]["each"], second[row]["each"]
        n = len(x)
        assert n == len(y), row
        gained, lost = sum(b > a for a, b in zip(x, y)), sum(b < a for a, b in zip(x, y))
        d, half = (gained - lost) / n, 1.96 * math.sqrt(max(gained + lost - (gained - lost) ** 2 / n, 1)) / n
        verdict = ", worse" if d + half < 0 else ", better" if d - half > 0 else ""
        print(f"| {row} | {100 * sum(x) / n:.1f} | {100 * sum(y) / n:.1f} | {100 * d:+.1f} ({100 * (d - half):+.1f} to {100 * (d + half):+.1f}{verdict}) |")


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("--address", default="http://127.0.0.1:8099")
    a.add_argument("--model", default="demo")
    a.add_argument("--seed", default=SEED)
    a.add_argument("--count", type=int)
    a.add_argument("--tasks", default=",".join([*TASKS, *MORE]))
    a.add_argument("--efforts")
    a.add_argument("--clients", type=int, default=8)
    a.add_argument("--wrong", type=int, default=0)
    a.add_argument("--sampled", type=int)
    a.add_argument("--loop", type=int)
    a.add_argument("--json")
    a.add_argument("--compare", nargs=2)
    a = a.parse_args()
    if a.compare:
        return compare(*a.compare)
    writer = Writer(a.address, a.model)
    out = sampled(writer, a) if a.sampled else loop(writer, a) if a.loop else card(writer, a)
    if a.json:
        json.dump(out, open(a.json, "w"))


if __name__ == "__main__":
    main()
