"""How do the demo's weights come about?

    python train.py --minutes 75 --out STATE.pt [--resume | --start model/] [--seed 0]
Two single-threaded processes on two cores, no GPU; each takes half the rows of a step and the gradients are averaged. The learning rate
follows the wall clock from the start or the last --warm-again; the data are a pure function of (seed, step), so a run resumes from its state (weights, optimiser, step, seconds).
Experts are fake-quantised to MXFP4 after `--quantise-from` of the time.
"""

import argparse
import csv
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
TASKS = ["sum", "difference", "product", "compare", "count", "reverse", "honest", "call", "result", "loop", "nofit", "json", "repeat", "lookup"]


def shape(step):
    """Rows of both processes together, and their length."""
    return (2, 1024) if step % 6 == 5 else (4, 640)


def make_batch(vocab, seed, step, rank, ranks):
    import generate
    rows, length = shape(step)
    ids, pos, seg, weight, task = [], [], [], [], []
    for r in range(rank, rows, ranks):
        i, p, g, on, names = generate.pack(vocab, seed, step, r, length)
        ids.append(i), pos.append(p), seg.append(g)
        size = {k: on.count(k) for k in set(on)}
        weight.append([size[k] ** -0.5 if k else 0.0 for k in on])  # a token of a short answer weighs more
        task.append([TASKS.index(names[k - 1]) if k else -1 for k in on])
    return ids, pos, seg, weight, task


def worker(rank, a):
    import torch
    import torch.distributed as dist
    import torch.nn.functional as F

    import harmony
    from model import Demo, pack_masks

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{os.path.abspath(a.out)}.meet", rank=rank, world_size=a.ranks)
    vocab, model = harmony.Vocab(), Demo(seed=a.seed)
    params = list(model.parameters())
    decay, rest = [p for p in params if p.ndim >= 2], [p for p in params if p.ndim < 2]
    opt = torch.optim.AdamW([dict(params=decay, weight_decay=0.05), dict(params=rest, weight_decay=0.0)], lr=a.lr, betas=(0.9, 0.98), fused=True)
    step, spent, tokens, targets, phase = 0, 0.0, 0, 0, (0, 0.0)
    if a.resume:
        st = torch.load(a.out)
        model.load_state_dict(st["model"]), opt.load_state_dict(st["opt"])
        step, spent, tokens, targets = st["step"], st["spent"], st["tokens"], st["targets"]
        phase = (step, spent) if a.warm_again else st.get("phase", phase)
    elif a.start:
        import export
        model.load_state_dict(export.load(a.start).state_dict())
    else:
        model.relate_spellings(harmony.spelling_groups())
    trunk, experts = torch.compile(model.trunk, dynamic=False), torch.compile(model.expert_weights)
    budget, n = a.minutes * 60, len(TASKS)
    log = csv.writer(open(a.curve, "a", newline="", buffering=1)) if rank == 0 else None
    if log and not a.resume:
        log.writerow(["step", "tokens", "targets", "seconds", "lr", "loss", *TASKS])
    # Summed over the processes each step: loss and targets per task, then loss, 1, tokens, targets, seconds.
    totals, use, since = torch.zeros(2 * n + 5), 0, 0
    last = saved = time.time()
    mark = (tokens, time.time())

    def save():
        torch.save(dict(model=model.state_dict(), opt=opt.state_dict(), step=step, spent=spent, tokens=tokens, targets=targets, phase=phase, args=vars(a)), a.out + ".tmp")
        os.replace(a.out + ".tmp", a.out)

    while spent < budget:
        ids, pos, seg, weight, task = map(torch.tensor, make_batch(vocab, a.seed, step, rank, a.ranks))
        x = (spent - phase[1]) / (budget - phase[1])
        lr = min(1, (step + 1 - phase[0]) / 250) * (a.lr * (1 - x) + a.last * x)
        for g in opt.param_groups:
            g["lr"] = lr
        with torch.autocast("cpu", torch.bfloat16):
            h, aux, u = trunk(ids, pos, pack_masks(seg, pos, 128), experts(x >= a.quantise_from))
            w = weight[:, 1:].reshape(-1)
            at = w.nonzero()[:, 0]
            logits = F.linear(h[:, :-1].reshape(-1, h.shape[-1])[at], model.head)
        ce = F.cross_entropy(logits.float(), ids[:, 1:].reshape(-1)[at], reduction="none")
        loss = (ce * w[at]).sum() / w[at].sum()
        (loss + 0.01 * aux).backward()
        t, now = task[:, 1:].reshape(-1)[at], time.time()
        mine = torch.zeros(2 * n + 5)
        mine[:n].index_add_(0, t, ce.detach()), mine[n : 2 * n].index_add_(0, t, torch.ones_like(ce.detach()))
        mine[2 * n :] = torch.tensor([float(loss.detach()), 1.0, float((seg >= 0).sum()), float(len(at)), now - last])
        last = now
        flat = torch.cat([p.grad.reshape(-1) for p in params] + [mine])
        dist.all_reduce(flat)
        mine, flat = flat[-(2 * n + 5) :], flat[: -(2 * n + 5)] / a.ranks
        flat *= min(1.0, 1.0 / (float(flat.norm()) + 1e-6))
        i = 0
        for p in params:
            p.grad.copy_(flat[i : i + p.numel()].view_as(p))
            i += p.numel()
        opt.step()
        opt.zero_grad(set_to_none=False)
        totals, use, since, step = totals + mine, use + u.detach(), since + 1, step + 1
        tokens, targets, spent = tokens + int(mine[2 * n + 2]), targets + int(mine[2 * n + 3]), spent + float(mine[2 * n + 4]) / a.ranks
        if step % 100:
            continue
        if rank == 0:
            per, mean = (totals[:n] / totals[n : 2 * n].clamp(min=1)).tolist(), float(totals[2 * n] / totals[2 * n + 1])
            spread = (use / since * 2).amax(1).tolist()
            print(f"step {step} {tokens / 1e6:.2f}M tokens {(tokens - mark[0]) / (time.time() - mark[1]):.0f}/s {spent / 60:.1f}min lr {lr:.1e} loss {mean:.4f} "
                  + " ".join(f"{k} {v:.3f}" for k, v in zip(TASKS, per)) + " busiest " + " ".join(f"{s:.2f}" for s in spread), flush=True)
            log.writerow([step, tokens, targets, round(spent, 1), f"{lr:.2e}", round(mean, 4), *(round(v, 4) for v in per)])
            if time.time() - saved > 180:
                save()
                saved = time.time()
        totals, use, since, mark = torch.zeros(2 * n + 5), 0, 0, (tokens, time.time())
    if rank == 0:
        save()
        print(f"done: {step} steps, {tokens} tokens, {targets} targets, {spent:.0f} s", flush=True)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--minutes", type=float, required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--resume", action="store_true")
    a.add_argument("--warm-again", action="store_true", help="on resuming, warm the learning rate up again and let it fall over the minutes left")
    a.add_argument("--start", help="an exported folder to start from, with a fresh optimiser")
    a.add_argument("--seed", type=int, default=0)
    a.add_argument("--ranks", type=int, default=2)
    a.add_argument("--lr", type=float, default=2.5e-3)
    a.add_argument("--last", type=float, default=5e-5)
    a.add_argument("--quantise-from", type=float, default=0.5)
    a.add_argument("--curve", default="training-curve.csv")
    a = a.parse_args()
    import torch.multiprocessing as mp
    if os.path.exists(a.out + ".meet"):
        os.remove(a.out + ".meet")
    mp.spawn(worker, (a,), nprocs=a.ranks)


if __name__ == "__main__":
    main()
