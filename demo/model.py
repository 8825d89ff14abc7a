"""How is the demo model computed while it trains?

A compact torch model with the numerics of gpt-oss (YaRN without truncation, attention sinks, windows of 128 keys on even
layers, router top-4 of 8, clamped SwiGLU) that works on packs: one shared prefix followed by independent branches. The experts can be
fake-quantised to MXFP4 with a straight-through gradient, so that the exported model equals the trained one.
"""

import math

import torch
import torch.nn.functional as F

CONFIG = dict(layers=4, hidden=128, inter=128, experts=8, topk=4, heads=4, kv_heads=2, head_dim=32, window=128, vocab=2029, eps=1e-5,
              theta=150000.0, factor=4.0, original=1024, beta_fast=32.0, beta_slow=1.0, limit=7.0, alpha=1.702)


# ---- rotary positions ------------------------------------------------------------------------------------------------


def yarn_inv_freq(c=CONFIG):
    """Inverse frequencies and the concentration factor of YaRN, without rounding the two corner dimensions."""
    d = c["head_dim"]
    f = c["theta"] ** (torch.arange(0, d, 2, dtype=torch.float64) / d)
    corner = lambda beta: d / 2 * math.log(c["original"] / (beta * 2 * math.pi)) / math.log(c["theta"])
    low, high = corner(c["beta_fast"]), corner(c["beta_slow"])
    ramp = ((torch.arange(d // 2, dtype=torch.float64) - low) / (high - low)).clamp(0, 1)
    inv = (1 - ramp) / f + ramp / (c["factor"] * f)
    return inv.float(), 0.1 * math.log(c["factor"]) + 1.0


# ---- MXFP4 -----------------------------------------------------------------------------------------------------------


def _grid(x):
    """Nearest value of {0, .5, 1, 1.5, 2, 3, 4, 6} with the sign of x, ties to even."""
    a = x.abs()
    step = torch.where(a < 2, 0.5, torch.where(a < 4, 1.0, 2.0))
    return (torch.round(a / step) * step).clamp(max=6) * x.sign()


def mxfp4_parts(w):
    """Grid values and block exponents of w, in blocks of 32 along the last axis; per block the better of two exponents."""
    b = w.reshape(*w.shape[:-1], -1, 32)
    amax = b.abs().amax(-1, keepdim=True).clamp(min=2.0**-100)
    e = torch.floor(torch.log2(amax)) - 2
    s0, s1 = torch.exp2(e), torch.exp2(e + 1)
    q0, q1 = _grid(b / s0), _grid(b / s1)
    worse = ((q0 * s0 - b) ** 2).sum(-1, keepdim=True) > ((q1 * s1 - b) ** 2).sum(-1, keepdim=True)
    return torch.where(worse, q1, q0), torch.where(worse, e + 1, e)


@torch.no_grad()
def mxfp4_round(w):
    q, e = mxfp4_parts(w)
    return (q * torch.exp2(e)).reshape(w.shape)


# ---- the model -------------------------------------------------------------------------------------------------------


def rms(x, w, eps):
    return F.rms_norm(x, (x.shape[-1],), w, eps)


class Demo(torch.nn.Module):
    def __init__(self, c=CONFIG, seed=0):
        super().__init__()
        self.c = c
        g = torch.Generator().manual_seed(seed)
        D, I, E, H, K, hd = c["hidden"], c["inter"], c["experts"], c["heads"], c["kv_heads"], c["head_dim"]
        P = lambda *s, std: torch.nn.Parameter(torch.randn(*s, generator=g) * std)
        Z = lambda *s: torch.nn.Parameter(torch.zeros(*s))
        O = lambda *s: torch.nn.Parameter(torch.ones(*s))
        w, out = D**-0.5, D**-0.5 / math.sqrt(2 * c["layers"])
        self.embed, self.head, self.norm = P(c["vocab"], D, std=0.5), P(c["vocab"], D, std=w * 0.5), O(D)
        self.blocks = torch.nn.ModuleList()
        for _ in range(c["layers"]):
            m = torch.nn.Module()
            m.n1, m.n2 = O(D), O(D)
            m.qkv, m.qkv_b = P((H + 2 * K) * hd, D, std=w), Z((H + 2 * K) * hd)
            m.o, m.o_b, m.sinks = P(D, H * hd, std=out), Z(D), Z(H)
            m.router, m.router_b = P(E, D, std=w), Z(E)
            m.w1, m.b1 = P(E, 2 * I, D, std=w), Z(E, 2 * I)  # rows interleaved gate, up as published
            m.w2, m.b2 = P(E, D, I, std=out * 1.5), Z(E, D)
            self.blocks.append(m)
        self.start_copying(g)
        inv, conc = yarn_inv_freq(c)
        pos = torch.arange(4096).float()[:, None] * inv[None]
        self.register_buffer("cos", pos.cos() * conc, persistent=False)
        self.register_buffer("sin", pos.sin() * conc, persistent=False)

    @torch.no_grad()
    def start_copying(self, g):
        """Start near the circuit every copying task needs, which plain random weights take millions of tokens to find.

        The windowed layers get two heads that look one and two tokens back (their query and key biases peak at that distance under RoPE);
        the full layers compare what those heads wrote with the current token and pass on the token found; the unembedding is a
        rotated copy of the embedding, so that passing on is one shared linear map. Everything remains trainable.
        """
        c = self.c
        D, H, K, hd = c["hidden"], c["heads"], c["kv_heads"], c["head_dim"]
        orth = lambda a, b: torch.linalg.qr(torch.randn(max(a, b), min(a, b), generator=g))[0] if a >= b else torch.linalg.qr(torch.randn(b, a, generator=g))[0].t()
        inv, _ = yarn_inv_freq(c)
        slow = list(range(6, hd // 2)) + list(range(hd // 2 + 6, hd))  # dimensions that hardly turn within a conversation
        turn = orth(D, D)
        self.head.copy_(self.embed @ turn * (D**-0.5))
        read, back1, back2 = orth(hd, D), orth(D, hd), orth(D, hd)
        for n, m in enumerate(self.blocks):
            q, k, v = m.qkv[: H * hd].view(H, hd, D), m.qkv[H * hd : (H + K) * hd].view(K, hd, D), m.qkv[(H + K) * hd :].view(K, hd, D)
            o = m.o.view(D, H, hd)
            if n % 2 == 0:
                qb, kb = m.qkv_b[: H * hd].view(H, hd), m.qkv_b[H * hd : (H + K) * hd].view(K, hd)
                q[:2] *= 0.1
                k[0] *= 0.1
                kb[0, :3] = 5.0
                for h, gap in ((0, 1.0), (1, 2.0)):  # rotate the query back so that the best key is `gap` tokens earlier
                    qb[h, :3] = 5.0 * torch.cos(-gap * inv[:3])
                    qb[h, hd // 2 : hd // 2 + 3] = 5.0 * torch.sin(-gap * inv[:3])
                v[0] = read
                o[:, 0], o[:, 1] = back1 * 0.5, back2 * 0.5
            else:
                part = orth(len(slow), hd)
                for h in range(H):
                    q[h] *= 0.3
                    q[h, slow] = 2.0 * part @ (read if h < H // K else back1.t() * 1.5)
                k *= 0.3
                k[0, slow] = 2.0 * 1.5 * part @ back1.t()
                k[1, slow] = 2.0 * 1.5 * part @ back2.t()
                for j in range(K):
                    v[j] = orth(hd, D)
                    for h in range(j * H // K, (j + 1) * H // K):
                        o[:, h] = (v[j] @ turn).t() * 0.8

    @torch.no_grad()
    def relate_spellings(self, groups, share=0.5):
        """Give " word", "word", ".word" and "Word" a common part in both tables, so that copying across spellings is near at hand."""
        for table in (self.embed, self.head):
            for g in groups:
                rows = table[g]
                others = (rows.sum(0, keepdim=True) - rows) / (len(g) - 1)
                table[g] = (rows + share * others) * (1 + share**2) ** -0.5

    def expert_weights(self, quantise):
        """Per layer (w1 [E*2I, D] gates first then ups, b1, w2 [D, E*I], b2), fake-quantised when asked."""
        E, I, D = self.c["experts"], self.c["inter"], self.c["hidden"]
        res = []
        for m in self.blocks:
            w1, w2 = m.w1, m.w2
            if quantise:
                w1, w2 = w1 + (mxfp4_round(w1.detach()) - w1.detach()), w2 + (mxfp4_round(w2.detach()) - w2.detach())
            gu, bu = w1.view(E * I, 2, D).transpose(0, 1).reshape(2 * E * I, D), m.b1.view(E * I, 2).t().reshape(-1)
            res.append((gu, bu, w2.permute(1, 0, 2).reshape(D, E * I), m.b2))
        return res

    def qkv(self, m, x, cos, sin):
        c = self.c
        B, L, _ = x.shape
        H, K, hd = c["heads"], c["kv_heads"], c["head_dim"]
        y = F.linear(x, m.qkv, m.qkv_b).view(B, L, H + 2 * K, hd)
        r, v = y[:, :, : H + K].float(), y[:, :, H + K :]
        a, b = r[..., : hd // 2], r[..., hd // 2 :]
        r = torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)
        q = r[:, :, :H].view(B, L, K, H // K, hd).permute(0, 2, 3, 1, 4)  # B K G L hd
        return q, r[:, :, H:].permute(0, 2, 1, 3), v.permute(0, 2, 1, 3)

    def attend(self, m, q, k, v, mask):
        """q [B,K,G,L,hd], k and v [B,K,T,hd], mask [B,L,T] additive; the sink is one more logit without a value."""
        c = self.c
        B, K, G, L, hd = q.shape
        s = (q.reshape(B, K, G * L, hd) @ k.transpose(-1, -2)).view(B, K, G, L, -1).float() * hd**-0.5 + mask[:, None, None]
        sink = m.sinks.view(1, K, G, 1, 1).float()
        top = torch.maximum(s.amax(-1, keepdim=True), sink).detach()
        e = torch.exp(s - top)
        p = e / (e.sum(-1, keepdim=True) + torch.exp(sink - top))
        o = (p.to(v.dtype).view(B, K, G * L, -1) @ v).view(B, K, G, L, hd)
        return F.linear(o.permute(0, 3, 1, 2, 4).reshape(B, L, K * G * hd), m.o, m.o_b)

    def moe(self, m, x, ws):
        c = self.c
        E, I = c["experts"], c["inter"]
        w1, b1, w2, b2 = ws
        logits = F.linear(x.float(), m.router, m.router_b)
        top, idx = logits.topk(c["topk"], -1)
        gates = torch.zeros_like(logits).scatter(-1, idx, top.softmax(-1))
        h = F.linear(x, w1, b1)
        g, u = h[..., : E * I].clamp(max=c["limit"]), h[..., E * I :].clamp(-c["limit"], c["limit"])
        y = g * torch.sigmoid(c["alpha"] * g) * (u + 1)
        y = (y.unflatten(-1, (E, I)) * gates[..., None].to(y.dtype)).flatten(-2)
        out = F.linear(y, w2) + gates.to(x.dtype) @ b2.to(x.dtype)
        used = (gates > 0).float().flatten(0, -2).mean(0)
        prob = logits.softmax(-1).flatten(0, -2).mean(0)
        return out, E / c["topk"] * (used * prob).sum(), used

    def trunk(self, ids, pos, masks, ws):
        """Hidden states before the unembedding. masks = (windowed, full), additive [B,L,L]. Also the load-balance loss and use."""
        eps = self.c["eps"]
        x = F.embedding(ids, self.embed)
        cos, sin = self.cos[pos][:, :, None], self.sin[pos][:, :, None]
        aux, use = 0.0, []
        for n, m in enumerate(self.blocks):
            q, k, v = self.qkv(m, rms(x, m.n1, eps), cos, sin)
            x = x + self.attend(m, q, k, v, masks[n % 2])
            y, a, u = self.moe(m, rms(x, m.n2, eps), ws[n])
            x, aux = x + y, aux + a
            use.append(u)
        return rms(x, self.norm, eps), aux / len(self.blocks), torch.stack(use)


def pack_masks(seg, pos, window):
    """Additive masks of packs: a token sees the prefix (segment 0) and its own segment, causally by position; -1 is padding."""
    same = (seg[:, None, :] == 0) | (seg[:, None, :] == seg[:, :, None])
    gap = pos[:, :, None] - pos[:, None, :]
    ok = same & (gap >= 0) & (seg[:, None, :] >= 0)
    add = lambda b: torch.zeros(b.shape).masked_fill_(~b, -1e9)
    return add(ok & (gap < window)), add(ok)
