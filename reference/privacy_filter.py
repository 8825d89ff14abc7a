"""Write a synthetic checkpoint of the shape of openai/privacy-filter, and what it makes of random tokens in float64.

    python privacy_filter.py OUT shape=published [layout=original] [tokens=400] [seed=3] [gain=0.5]    # 2.8 GB
    python privacy_filter.py OUT shape=tiny

`gain` is a factor on the matrices of the layers: with 0.5 they are near initializer_range 0.02 (0.03), with 1 rounding shows.
OUT gets config.json, model.safetensors, viterbi_calibration.json and reference.safetensors (input_ids, logits, classes).
Written from the model's definition in transformers (models/openai_privacy_filter) and opf (opf/_model, opf/_core/decoding.py),
with plain sums in float64 and none of this repository's code. Needs numpy.
"""
import json, math, os, struct, sys
import numpy as np

KINDS = ["account_number", "private_address", "private_date", "private_email", "private_person", "private_phone", "private_url", "secret"]
LABELS = ["O"] + [f"{tag}-{kind}" for kind in KINDS for tag in "BIES"]
SHAPES = dict(
    published=dict(V=200064, C=640, F=640, L=8, H=14, K=2, D=64, E=128, A=4, band=128, original=4096),
    tiny=dict(V=280, C=32, F=24, L=3, H=6, K=2, D=8, E=8, A=3, band=5, original=64),
)
THETA, FACTOR, FAST, SLOW, EPS, LIMIT, ALPHA = 150000.0, 32.0, 32.0, 1.0, 1e-5, 7.0, 1.702
BIASES = dict(background_stay=0.25, background_to_start=-0.5, inside_to_continue=0.3, inside_to_end=-0.1, end_to_background=0.2, end_to_start=-0.4)


def bf16(a):
    u = a.astype(np.float32).view(np.uint32)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


def tensors(s):
    """Name, shape, standard deviation, mean and type of each tensor, as Hugging Face names them."""
    C, F, E, q, kv = s["C"], s["F"], s["E"], s["H"] * s["D"], s["K"] * s["D"]
    yield "model.embed_tokens.weight", (s["V"], C), 1.0, 0.0, "BF16"
    for l in range(s["L"]):
        p = f"model.layers.{l}."
        yield p + "input_layernorm.weight", (C,), 0.1, 1.0, "F32"
        for name, n, k in [("q", q, C), ("k", kv, C), ("v", kv, C), ("o", C, q)]:
            yield f"{p}self_attn.{name}_proj.weight", (n, k), 1.5 / math.sqrt(k), 0.0, "BF16"
            yield f"{p}self_attn.{name}_proj.bias", (n,), 0.1, 0.0, "BF16"
        yield p + "self_attn.sinks", (s["H"],), 1.0, 0.0, "F32"
        yield p + "post_attention_layernorm.weight", (C,), 0.1, 1.0, "F32"
        yield p + "mlp.router.weight", (E, C), 1.0 / math.sqrt(C), 0.0, "BF16"
        yield p + "mlp.router.bias", (E,), 0.1, 0.0, "BF16"
        yield p + "mlp.experts.gate_up_proj", (E, C, 2 * F), 1.5 / math.sqrt(C), 0.0, "BF16"
        yield p + "mlp.experts.gate_up_proj_bias", (E, 2 * F), 0.1, 0.0, "BF16"
        yield p + "mlp.experts.down_proj", (E, F, C), 0.5 / math.sqrt(F), 0.0, "BF16"
        yield p + "mlp.experts.down_proj_bias", (E, C), 0.1, 0.0, "BF16"
    yield "model.norm.weight", (C,), 0.1, 1.0, "F32"
    yield "score.weight", (len(LABELS), C), 2.0 / math.sqrt(C), 0.0, "BF16"
    yield "score.bias", (len(LABELS),), 0.1, 0.0, "BF16"


ORIGINAL = {
    "input_layernorm.weight": "attn.norm.scale", "self_attn.o_proj.weight": "attn.out.weight", "self_attn.o_proj.bias": "attn.out.bias",
    "self_attn.sinks": "attn.sinks", "post_attention_layernorm.weight": "mlp.norm.scale", "mlp.router.weight": "mlp.gate.weight",
    "mlp.router.bias": "mlp.gate.bias", "mlp.experts.gate_up_proj": "mlp.swiglu.weight", "mlp.experts.gate_up_proj_bias": "mlp.swiglu.bias",
    "mlp.experts.down_proj": "mlp.out.weight", "mlp.experts.down_proj_bias": "mlp.out.bias",
}
ORIGINAL_ENDS = {"model.embed_tokens.weight": "embedding.weight", "model.norm.weight": "norm.scale", "score.weight": "unembedding.weight"}


def original_name(name):
    if name.startswith("model.layers."):
        _, _, layer, rest = name.split(".", 3)
        if rest[10:11] in "qkv" and rest.startswith("self_attn.") and "_proj" in rest:
            return f"block.{layer}.attn.qkv.{rest.rsplit('.', 1)[1]}"
        return f"block.{layer}.{ORIGINAL[rest]}"
    return ORIGINAL_ENDS.get(name)


def write(path, entries):
    """entries: (name, type, shape, function that gives the array)"""
    header, offset = {}, 0
    for name, kind, shape, _ in entries:
        size = int(np.prod(shape)) * dict(BF16=2, F32=4, I64=8)[kind]
        header[name] = dict(dtype=kind, shape=list(shape), data_offsets=[offset, offset + size])
        offset += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for _, _, _, make in entries:
            f.write(np.ascontiguousarray(make()).tobytes())


def write_model(out, s, seed, layout, gain):
    """Each tensor has a generator of its own, so that both layouts hold the same numbers."""
    def stored(index, shape, deviation, mean, kind):
        values = np.random.default_rng([seed, index]).standard_normal(shape, dtype=np.float32) * np.float32(deviation) + np.float32(mean)
        return bf16(values) if kind == "BF16" else values
    entries, places = [], {}
    for index, (name, shape, deviation, mean, kind) in enumerate(tensors(s)):
        deviation *= gain if name.startswith("model.layers.") and len(shape) > 1 and "bias" not in name else 1.0
        make = lambda i=index, t=(shape, deviation, mean, kind): stored(i, *t)
        if layout == "original":
            if name == "score.bias":
                continue
            if name.endswith("self_attn.sinks"):
                make = lambda make=make: (make().astype(np.float64) / math.log(2.0)).astype(np.float32)
            name = original_name(name)
            if name in places:
                _, kind, (rows, *rest), first = entries[places[name]]
                joined = lambda first=first, make=make: np.concatenate([first(), make()])
                entries[places[name]] = (name, kind, (rows + shape[0], *rest), joined)
                continue
            places[name] = len(entries)
        entries.append((name, kind, shape, make))
    write(f"{out}/model.safetensors", entries)


def write_config(out, s, layout):
    shape = dict(vocab_size=s["V"], hidden_size=s["C"], intermediate_size=s["F"], num_hidden_layers=s["L"], head_dim=s["D"],
                 num_attention_heads=s["H"], num_key_value_heads=s["K"], initial_context_length=s["original"], rope_theta=THETA)
    if layout == "original":
        config = dict(model_type="privacy_filter", encoding="o200k_base", num_experts=s["E"], experts_per_token=s["A"], num_labels=len(LABELS),
                      sliding_window=2 * s["band"] + 1, bidirectional_context=True, bidirectional_left_context=s["band"],
                      bidirectional_right_context=s["band"], rope_scaling_factor=FACTOR, rope_ntk_alpha=SLOW, rope_ntk_beta=FAST,
                      param_dtype="bfloat16", ner_class_names=LABELS, **shape)
    else:
        rope = dict(rope_type="yarn", rope_theta=THETA, factor=FACTOR, beta_fast=FAST, beta_slow=SLOW, truncate=False,
                    original_max_position_embeddings=s["original"])
        config = dict(architectures=["OpenAIPrivacyFilterForTokenClassification"], model_type="openai_privacy_filter", attention_bias=True,
                      num_local_experts=s["E"], num_experts_per_tok=s["A"], sliding_window=s["band"], rms_norm_eps=EPS, rope_parameters=rope,
                      id2label={str(i): label for i, label in enumerate(LABELS)}, label2id={label: i for i, label in enumerate(LABELS)}, **shape)
    json.dump(config, open(f"{out}/config.json", "w"), indent=1)
    biases = {f"transition_bias_{name}": value for name, value in BIASES.items()}
    json.dump(dict(operating_points=dict(default=dict(biases=biases))), open(f"{out}/viterbi_calibration.json", "w"), indent=1)


class Model:
    """The tensors of the folder, mapped, in float64 when asked for."""
    def __init__(self, path):
        with open(path, "rb") as f:
            size = struct.unpack("<Q", f.read(8))[0]
            self.header, self.start = json.loads(f.read(size)), 8 + size
        self.bytes = np.memmap(path, dtype=np.uint8, mode="r")

    def get(self, name, index=None):
        entry = self.header[name]
        raw = self.bytes[self.start + entry["data_offsets"][0]:self.start + entry["data_offsets"][1]]
        raw = raw.view(np.uint16 if entry["dtype"] == "BF16" else np.float32).reshape(entry["shape"])
        raw = raw if index is None else raw[index]
        return ((raw.astype(np.uint32) << 16).view(np.float32) if entry["dtype"] == "BF16" else raw).astype(np.float64)

    def linear(self, name, x):
        return x @ self.get(name + ".weight").T + self.get(name + ".bias")


def rotations(s, num_tokens):
    half = s["D"] // 2
    frequency = THETA ** (np.arange(half) / half)
    pair_of = lambda rotations: half * math.log(s["original"] / (rotations * 2 * math.pi)) / math.log(THETA)
    low, high = max(pair_of(FAST), 0.0), min(pair_of(SLOW), s["D"] - 1.0)
    ramp = np.clip((np.arange(half) - low) / (high - low), 0.0, 1.0)
    inverse = ramp / (FACTOR * frequency) + (1 - ramp) / frequency
    angles = np.arange(num_tokens)[:, None] * inverse[None, :]
    concentration = 0.1 * math.log(FACTOR) + 1.0
    return np.cos(angles) * concentration, np.sin(angles) * concentration


def rotated(x, cos, sin):
    """x [T, heads, D]; neighbors are pairs."""
    a, b = x[..., 0::2], x[..., 1::2]
    cos, sin = cos[:, None, :], sin[:, None, :]
    return np.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)


def norm(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * weight


def forward(model, s, ids):
    T, H, K, D = len(ids), s["H"], s["K"], s["D"]
    x = model.get("model.embed_tokens.weight", ids)
    cos, sin = rotations(s, T)
    distance = np.arange(T)[None, :] - np.arange(T)[:, None]
    hidden_from = np.abs(distance) > s["band"]
    gap = math.inf
    for l in range(s["L"]):
        p = f"model.layers.{l}."
        n = norm(x, model.get(p + "input_layernorm.weight"))
        q, k, v = (model.linear(f"{p}self_attn.{name}_proj", n) for name in "qkv")
        q, k, v = q.reshape(T, H, D), k.reshape(T, K, D), v.reshape(T, K, D)
        q, k = rotated(q, cos, sin) * D ** -0.25, rotated(k, cos, sin) * D ** -0.25
        sinks, out = model.get(p + "self_attn.sinks"), np.zeros((T, H, D))
        for h in range(H):
            scores = q[:, h] @ k[:, h // (H // K)].T
            scores[hidden_from] = -np.inf
            scores = np.concatenate([scores, np.full((T, 1), sinks[h])], axis=1)
            weights = np.exp(scores - scores.max(1, keepdims=True))
            weights /= weights.sum(1, keepdims=True)
            out[:, h] = weights[:, :-1] @ v[:, h // (H // K)]
        x = x + model.linear(p + "self_attn.o_proj", out.reshape(T, H * D))
        n = norm(x, model.get(p + "post_attention_layernorm.weight"))
        logits = model.linear(p + "mlp.router", n)
        order = np.argsort(-logits, axis=1, kind="stable")
        chosen = np.take_along_axis(logits, order[:, :s["A"] + 1], 1)
        gap = min(gap, (chosen[:, s["A"] - 1] - chosen[:, s["A"]]).min())
        top = np.exp(chosen[:, :s["A"]] - chosen[:, :1])
        top /= top.sum(1, keepdims=True)
        update = np.zeros_like(x)
        for e in range(s["E"]):
            rows, nth = np.nonzero(order[:, :s["A"]] == e)
            if len(rows) == 0:
                continue
            gate_up = n[rows] @ model.get(p + "mlp.experts.gate_up_proj", e) + model.get(p + "mlp.experts.gate_up_proj_bias", e)
            gate, up = gate_up[:, :s["F"]], gate_up[:, s["F"]:]
            gate, up = np.minimum(gate, LIMIT), np.clip(up, -LIMIT, LIMIT)
            activated = gate / (1 + np.exp(-ALPHA * gate)) * (up + 1)
            y = activated @ model.get(p + "mlp.experts.down_proj", e) + model.get(p + "mlp.experts.down_proj_bias", e)
            update[rows] += y * top[rows, nth][:, None]
        x = x + update
    print(f"smallest gap between the last expert that is chosen and the first that is not: {gap:.1e}", file=sys.stderr)
    return norm(x, model.get("model.norm.weight")) @ model.get("score.weight").T, model.get("score.bias")


def viterbi(log_probs):
    def bias(a, b):
        same, ta, tb = LABELS[a][2:] == LABELS[b][2:], LABELS[a][0], LABELS[b][0]
        if ta in "BI":
            return None if not same or tb not in "IE" else BIASES["inside_to_continue" if tb == "I" else "inside_to_end"]
        if tb in "IE":
            return None
        before = "background" if ta == "O" else "end"
        return BIASES[before + ("_to_start" if tb != "O" else "_stay" if ta == "O" else "_to_background")]
    n = len(LABELS)
    steps = np.array([[-np.inf if bias(a, b) is None else bias(a, b) for b in range(n)] for a in range(n)])
    worth = log_probs[0] + np.array([0.0 if label[0] in "OBS" else -np.inf for label in LABELS])
    ways = []
    for row in log_probs[1:]:
        through = worth[:, None] + steps
        ways.append(through.argmax(0))
        worth = through.max(0) + row
    worth = worth + np.array([0.0 if label[0] in "OES" else -np.inf for label in LABELS])
    path = [int(worth.argmax())]
    for way in reversed(ways):
        path.append(int(way[path[-1]]))
    return np.array(path[::-1], dtype=np.int64)


def main(out, shape="tiny", layout="hf", tokens="300", seed="3", gain="1"):
    s, seed, num_tokens, gain = SHAPES[shape], int(seed), int(tokens), float(gain)
    os.makedirs(out, exist_ok=True)
    write_config(out, s, layout)
    # What is computed is that of this layout; the head of `original` has no bias.
    write_model(out, s, seed, "hf", gain)
    model = Model(f"{out}/model.safetensors")
    ids = np.random.default_rng([seed, 1 << 20]).integers(0, min(s["V"], 199998), num_tokens)
    logits, bias = forward(model, s, ids)
    if layout == "original":
        del model
        write_model(out, s, seed, "original", gain)
    else:
        logits = logits + bias
    probs = logits - logits.max(1, keepdims=True)
    classes = viterbi(probs - np.log(np.exp(probs).sum(1, keepdims=True)))
    write(f"{out}/reference.safetensors", [("input_ids", "I64", ids.shape, lambda: ids.astype(np.int64)),
          ("logits", "F32", logits.shape, lambda: logits.astype(np.float32)), ("classes", "I64", classes.shape, lambda: classes)])


if __name__ == "__main__":
    main(sys.argv[1], **dict(argument.split("=") for argument in sys.argv[2:]))
