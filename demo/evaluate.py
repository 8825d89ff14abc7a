"""How often is the exported demo model right, per task and effort, on prompts it has never seen?

    python evaluate.py model/ --json accuracy.json       every task of PLAN on the card's prompts
    python evaluate.py model/ --wellformed 1000          sampled turns at temperature 1
    python evaluate.py model/ --seed dev --tasks sum,call --count 100 --wrong 5    other prompts, for looking at errors
    python evaluate.py model/ --ask "What is 27 + 58?"
Everything is decoded from the MXFP4 export with a batched decoder (f32). Intervals are Wilson 95 %.
"""

import argparse
import json
import random
import time

import torch

import generate as G
import harmony as H
from export import load
from judge import BUDGET, PLAN, TASKS, read_turn, right, wilson
from model import rms

SEED = "card 2026-11-23 fifth"  # chosen before these prompts were first run; well-formed turns are of "... sixth"; --seed dev serves to look at errors


# ---- batched decoding ------------------------------------------------------------------------------------------------


@torch.no_grad()
def generate(model, vocab, prompts, temperature=0.0, budget=BUDGET, seed=0):
    """Continuations of a batch of token lists, each up to and including return, call or endoftext."""
    c, stops = model.c, {vocab.control[f"<|{x}|>"] for x in ("return", "call", "endoftext")}
    ws, rng = model.expert_weights(False), torch.Generator().manual_seed(seed)
    N, L = len(prompts), max(map(len, prompts))
    ids = torch.tensor([[0] * (L - len(p)) + p for p in prompts])
    start = torch.tensor([L - len(p) for p in prompts])
    col = torch.arange(L + budget)
    cache = [[torch.zeros(N, c["kv_heads"], L + budget, c["head_dim"]) for _ in "kv"] for _ in model.blocks]
    out, alive, rows = [[] for _ in prompts], torch.ones(N, dtype=torch.bool), torch.arange(N)
    x_ids, at = ids, 0
    while True:
        n = x_ids.shape[1]
        pos = (torch.arange(at, at + n)[None] - start[:, None]).clamp(min=0)
        cos, sin = model.cos[pos][:, :, None], model.sin[pos][:, :, None]
        gap = torch.arange(at, at + n)[:, None] - col[None, : at + n]
        ok = (gap >= 0)[None] & (col[None, None, : at + n] >= start[:, None, None])
        ok = ok | (gap == 0)[None]  # padding rows see themselves
        masks = [torch.zeros(ok.shape).masked_fill_(~(ok & (gap < w)[None]), -1e9) for w in (c["window"], 1 << 30)]
        x = torch.nn.functional.embedding(x_ids, model.embed)
        for i, m in enumerate(model.blocks):
            q, k, v = model.qkv(m, rms(x, m.n1, c["eps"]), cos, sin)
            ck, cv = cache[i]
            ck[:, :, at : at + n], cv[:, :, at : at + n] = k, v
            x = x + model.attend(m, q, ck[:, :, : at + n], cv[:, :, : at + n], masks[i % 2])
            x = x + model.moe(m, rms(x, m.n2, c["eps"]), ws[i])[0]
        logits = rms(x[:, -1], model.norm, c["eps"]) @ model.head.t()
        nxt = logits.argmax(-1) if temperature == 0 else torch.multinomial((logits / temperature).softmax(-1), 1, generator=rng)[:, 0]
        at += n
        for r, t in zip(rows.tolist(), nxt.tolist()):
            if alive[r]:
                out[r].append(t)
                alive[r] = t not in stops and len(out[r]) < budget
        keep = alive[rows]
        if not keep.any():
            return out
        if keep.sum() < 0.8 * len(rows):  # finished rows are dropped some at a time, for that copies the cache
            rows, start, nxt = rows[keep], start[keep], nxt[keep]
            cache = [[k[keep], v[keep]] for k, v in cache]
        x_ids = nxt[:, None]


def run(model, vocab, prompts, temperature=0.0, seed=0, batch=100):
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    out = [None] * len(prompts)
    for k in range(0, len(order), batch):
        part = order[k : k + batch]
        for i, o in zip(part, generate(model, vocab, [prompts[i] for i in part], temperature, seed=seed + k)):
            out[i] = o
    return out


# ---- command line ----------------------------------------------------------------------------------------------------


def main():
    a = argparse.ArgumentParser()
    a.add_argument("folder")
    a.add_argument("--seed", default=SEED)
    a.add_argument("--count", type=int)
    a.add_argument("--tasks", default=",".join(TASKS))
    a.add_argument("--efforts")
    a.add_argument("--wrong", type=int, default=0)
    a.add_argument("--json")
    a.add_argument("--wellformed", type=int)
    a.add_argument("--ask")
    a = a.parse_args()
    torch.set_num_threads(1)
    model, vocab = load(a.folder), H.Vocab()
    if a.ask:
        for date in (None, "2025-06-28", "2026-11-23"):
            for effort in G.EFFORTS:
                p = vocab.tokens(H.system(effort, date) + H.user(a.ask) + H.PROMPT)
                print(date, effort, vocab.decode(generate(model, vocab, [p])[0]))
        return
    if a.wellformed:
        items = [G.example(TASKS[k % len(TASKS)], G.EFFORTS[k // len(TASKS) % 3], random.Random(f"{a.seed}/wellformed/{k}")) for k in range(a.wellformed)]
        outs = run(model, vocab, [vocab.tokens(p) for p, _ in items], temperature=1.0, seed=1)
        bad = [(b, o) for (_, b), o in zip(items, outs) if read_turn(vocab, o) is None]
        ok = a.wellformed - len(bad)
        lo, hi = wilson(ok, a.wellformed)
        print(f"well-formed at temperature 1: {ok}/{a.wellformed} ({100 * lo:.1f} to {100 * hi:.1f} %)")
        for b, o in bad[: a.wrong]:
            print("  BAD", b["history"][-1], "->", vocab.decode(o)[-200:])
        if a.json:
            json.dump(dict(ok=ok, of=a.wellformed), open(a.json, "w"))
        return
    table = {}
    for task in a.tasks.split(","):
        efforts, count = PLAN[task]
        for effort in a.efforts.split(",") if a.efforts else efforts:
            t0 = time.time()
            items = [G.example(task, effort, random.Random(f"{a.seed}/{task}/{effort}/{k}")) for k in range(a.count or count)]
            outs = run(model, vocab, [vocab.tokens(p) for p, _ in items])
            turns = [read_turn(vocab, o) for o in outs]
            good = [right(b, t) for (_, b), t in zip(items, turns)]
            k, n = sum(good), len(good)
            lo, hi = wilson(k, n)
            length = sum(map(len, outs)) / n
            table[f"{task}/{effort}"] = dict(right=k, of=n, low=lo, high=hi, tokens=length)
            print(f"{task:10s} {effort:6s} {k}/{n} = {100 * k / n:.1f} % ({100 * lo:.1f} to {100 * hi:.1f}), {turns.count(None)} malformed, {length:.0f} tokens a turn, {time.time() - t0:.0f} s", flush=True)
            for i in [i for i in range(n) if not good[i]][: a.wrong]:
                want = items[i][1].get("call") or G.as_text(items[i][1]["answer"])
                print("   ", items[i][1]["history"][-1], "\n      want", items[i][1]["think"], want, "\n      got ", vocab.decode(outs[i]))
    if a.json:
        json.dump(table, open(a.json, "w"), indent=1)


if __name__ == "__main__":
    main()
