"""How do the demo's weights come about?

    python train.py --minutes 84 --out STATE.pt [--resume] [--seed 0]
One process, two cores, no GPU. The learning rate follows the wall clock; the data are a pure function of (seed, step), so a run resumes exactly
from its state (weights, optimiser, step, seconds). Experts are fake-quantised to MXFP4 after `--quantise-from` of the time.
"""

import argparse
import csv
import math
import os
import time
from concurrent.futures import ProcessPoolExecutor

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("KMP_BLOCKTIME", "0")

TASKS = ["sum", "difference", "product", "compare", "count", "reverse", "honest", "call", "result", "loop", "nofit", "json"]


def shape(step):
    return (4, 1024) if step % 6 == 5 else (6, 640)


def make_batch(seed, step):
    import generate
    import harmony
    global VOCAB
    if "VOCAB" not in globals():
        VOCAB = harmony.Vocab()
    rows, length = shape(step)
    ids, pos, seg, weight, task = [], [], [], [], []
    for r in range(rows):
        i, p, g, on, names = generate.pack(VOCAB, seed, step, r, length)
        ids.append(i), pos.append(p), seg.append(g)
        size = {k: on.count(k) for k in set(on)}
        weight.append([size[k] ** -0.5 if k else 0.0 for k in on])
        task.append([TASKS.index(names[k - 1]) if k else -1 for k in on])
    return ids, pos, seg, weight, task


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--minutes", type=float, required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--resume", action="store_true")
    a.add_argument("--seed", type=int, default=0)
    a.add_argument("--lr", type=float, default=2e-3)
    a.add_argument("--last", type=float, default=5e-5)
    a.add_argument("--quantise-from", type=float, default=0.5)
    a.add_argument("--curve", default="training-curve.csv")
    a = a.parse_args()

    import torch
    import torch.nn.functional as F
    from model import Demo, pack_masks

    torch.set_num_threads(2)
    model = Demo(seed=a.seed)
    decay = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    opt = torch.optim.AdamW([dict(params=decay, weight_decay=0.05), dict(params=rest, weight_decay=0.0)], lr=a.lr, betas=(0.9, 0.98), fused=True)
    step, spent, tokens, targets = 0, 0.0, 0, 0
    if a.resume:
        st = torch.load(a.out)
        model.load_state_dict(st["model"]), opt.load_state_dict(st["opt"])
        step, spent, tokens, targets = st["step"], st["spent"], st["tokens"], st["targets"]
    trunk = torch.compile(model.trunk, dynamic=False)
    budget = a.minutes * 60
    pool = ProcessPoolExecutor(1)
    queue = [pool.submit(make_batch, a.seed, step + k) for k in range(4)]
    log = csv.writer(open(a.curve, "a", newline=""))
    if not a.resume:
        log.writerow(["step", "tokens", "targets", "seconds", "lr", "loss", *TASKS])
    sums, counts, total, seen, use = torch.zeros(len(TASKS)), torch.zeros(len(TASKS)), 0.0, 0, 0
    last, saved, mark = time.time(), time.time(), (tokens, time.time())

    def save():
        torch.save(dict(model=model.state_dict(), opt=opt.state_dict(), step=step, spent=spent, tokens=tokens, targets=targets, args=vars(a)), a.out + ".tmp")
        os.replace(a.out + ".tmp", a.out)

    while spent < budget:
        ids, pos, seg, weight, task = map(torch.tensor, queue.pop(0).result())
        queue.append(pool.submit(make_batch, a.seed, step + 4))
        x = spent / budget
        lr = a.lr * min(1, (step + 1) / 200) * (1 - x) + a.last * x if x < 1 else a.last
        for g in opt.param_groups:
            g["lr"] = lr
        with torch.autocast("cpu", torch.bfloat16):
            h, aux, u = trunk(ids, pos, pack_masks(seg, pos, 128), model.expert_weights(x >= a.quantise_from))
            w = weight[:, 1:].reshape(-1)
            at = w.nonzero()[:, 0]
            picked = h[:, :-1].reshape(-1, h.shape[-1])[at]
            logits = F.linear(picked, model.head)
        ce = F.cross_entropy(logits.float(), ids[:, 1:].reshape(-1)[at], reduction="none")
        loss = (ce * w[at]).sum() / w[at].sum()
        (loss + 0.01 * aux).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        step += 1
        tokens += int((seg >= 0).sum())
        targets += len(at)
        t = task[:, 1:].reshape(-1)[at]
        sums.index_add_(0, t, ce.detach()), counts.index_add_(0, t, torch.ones_like(ce.detach()))
        total, seen, use = total + float(loss.detach()), seen + 1, use + u.detach()
        now = time.time()
        spent, last = spent + now - last, now
        if step % 50 == 0:
            per = (sums / counts.clamp(min=1)).tolist()
            rate = (tokens - mark[0]) / (now - mark[1])
            spread = (use / seen * 2).amax(1).tolist()
            print(f"step {step} {tokens / 1e6:.2f}M tokens {rate:.0f}/s {spent / 60:.1f}min lr {lr:.1e} loss {total / seen:.4f} "
                  + " ".join(f"{n} {v:.3f}" for n, v in zip(TASKS, per)) + " busiest " + " ".join(f"{s:.2f}" for s in spread), flush=True)
            log.writerow([step, tokens, targets, round(spent, 1), f"{lr:.2e}", round(total / seen, 4), *(round(v, 4) for v in per)])
            sums.zero_(), counts.zero_()
            total, seen, use, mark = 0.0, 0, 0, (tokens, now)
            if now - saved > 240:
                save()
                saved = time.time()
    save()
    print(f"done: {step} steps, {tokens} tokens, {targets} targets, {spent:.0f} s", flush=True)


if __name__ == "__main__":
    main()
