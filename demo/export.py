"""How does a training state become a published-format checkpoint folder?

    python export.py STATE.pt model/ [--check] [--sharpen 2]
Writes config.json, generation_config.json, model.safetensors (experts in MXFP4, the rest bf16), tokenizer.json and tokenizer_config.json.
`--sharpen` multiplies the unembedding by a power of two: temperature 1 then samples as 1/2 would, the most likely token stays.
`--check` loads the folder with transformers and compares logits and token ids with ours. `load(folder)` reads it back for the evaluation.
"""

import json
import os
import sys

import torch
from safetensors.torch import load_file, save_file

import harmony as H
from model import CONFIG, Demo, mxfp4_parts, pack_masks

LUT = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


# ---- MXFP4 bytes -----------------------------------------------------------------------------------------------------


def pack_mxfp4(w):
    """Blocks [E, rows, K/32, 16] (low nibble first) and scales [E, rows, K/32] of w [E, rows, K]."""
    q, e = mxfp4_parts(w.float())
    code = (q.abs()[..., None] == LUT[:8]).int().argmax(-1) + 8 * (q < 0).int()
    return (code[..., 0::2] | code[..., 1::2] << 4).to(torch.uint8), (e.squeeze(-1) + 127).to(torch.uint8)


def unpack_mxfp4(blocks, scales):
    b = blocks.int()
    v = torch.stack([LUT[b & 15], LUT[b >> 4]], -1).flatten(-2)
    return (v * torch.exp2(scales.float() - 127)[..., None]).flatten(-2)


# ---- files -----------------------------------------------------------------------------------------------------------


def tensors(state):
    c, out = CONFIG, {}
    b16 = lambda t: t.detach().to(torch.bfloat16).contiguous()
    out["model.embed_tokens.weight"], out["lm_head.weight"], out["model.norm.weight"] = map(b16, (state["embed"], state["head"], state["norm"]))
    nq, nk = c["heads"] * c["head_dim"], c["kv_heads"] * c["head_dim"]
    for n in range(c["layers"]):
        g = lambda k: state[f"blocks.{n}.{k}"]
        p = f"model.layers.{n}."
        out[p + "input_layernorm.weight"], out[p + "post_attention_layernorm.weight"] = b16(g("n1")), b16(g("n2"))
        for name, part in zip("qkv", range(3)):
            rows = slice([0, nq, nq + nk][part], [nq, nq + nk, nq + 2 * nk][part])
            out[p + f"self_attn.{name}_proj.weight"], out[p + f"self_attn.{name}_proj.bias"] = b16(g("qkv")[rows]), b16(g("qkv_b")[rows])
        out[p + "self_attn.o_proj.weight"], out[p + "self_attn.o_proj.bias"], out[p + "self_attn.sinks"] = b16(g("o")), b16(g("o_b")), b16(g("sinks"))
        out[p + "mlp.router.weight"], out[p + "mlp.router.bias"] = b16(g("router")), b16(g("router_b"))
        for name, w, b in (("gate_up_proj", "w1", "b1"), ("down_proj", "w2", "b2")):
            out[p + f"mlp.experts.{name}_blocks"], out[p + f"mlp.experts.{name}_scales"] = pack_mxfp4(g(w))
            out[p + f"mlp.experts.{name}_bias"] = b16(g(b))
    return out


def load(folder):
    """The exported folder as our own model, f32 holding the exported values."""
    f = {k: v if v.dtype == torch.uint8 else v.float() for k, v in load_file(os.path.join(folder, "model.safetensors")).items()}
    s = {"embed": f["model.embed_tokens.weight"], "head": f["lm_head.weight"], "norm": f["model.norm.weight"]}
    for n in range(CONFIG["layers"]):
        p, d = f"model.layers.{n}.", f"blocks.{n}."
        s[d + "n1"], s[d + "n2"] = f[p + "input_layernorm.weight"], f[p + "post_attention_layernorm.weight"]
        s[d + "qkv"] = torch.cat([f[p + f"self_attn.{x}_proj.weight"] for x in "qkv"])
        s[d + "qkv_b"] = torch.cat([f[p + f"self_attn.{x}_proj.bias"] for x in "qkv"])
        s[d + "o"], s[d + "o_b"], s[d + "sinks"] = f[p + "self_attn.o_proj.weight"], f[p + "self_attn.o_proj.bias"], f[p + "self_attn.sinks"]
        s[d + "router"], s[d + "router_b"] = f[p + "mlp.router.weight"], f[p + "mlp.router.bias"]
        for name, w, b in (("gate_up_proj", "w1", "b1"), ("down_proj", "w2", "b2")):
            s[d + w] = unpack_mxfp4(f[p + f"mlp.experts.{name}_blocks"], f[p + f"mlp.experts.{name}_scales"])
            s[d + b] = f[p + f"mlp.experts.{name}_bias"]
    m = Demo()
    m.load_state_dict(s)
    return m.eval()


def config(v):
    c = CONFIG
    return dict(
        architectures=["GptOssForCausalLM"], attention_bias=True, attention_dropout=0.0, eos_token_id=v["<|return|>"], experts_per_token=c["topk"],
        head_dim=c["head_dim"], hidden_act="silu", hidden_size=c["hidden"], initial_context_length=c["original"], initializer_range=0.02,
        intermediate_size=c["inter"], layer_types=["sliding_attention", "full_attention"] * (c["layers"] // 2), max_position_embeddings=4096,
        model_type="gpt_oss", num_attention_heads=c["heads"], num_experts_per_tok=c["topk"], num_hidden_layers=c["layers"], num_key_value_heads=c["kv_heads"],
        num_local_experts=c["experts"], output_router_logits=False, pad_token_id=v["<|endoftext|>"],
        quantization_config=dict(modules_to_not_convert=["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"], quant_method="mxfp4"),
        rms_norm_eps=c["eps"], rope_scaling=dict(beta_fast=c["beta_fast"], beta_slow=c["beta_slow"], factor=c["factor"], original_max_position_embeddings=c["original"],
                                                 rope_type="yarn", truncate=False),
        rope_theta=150000, router_aux_loss_coef=0.9, sliding_window=c["window"], swiglu_limit=c["limit"], tie_word_embeddings=False, use_cache=True, vocab_size=c["vocab"])


def byte_letters():
    """The printable letter of each byte in a byte-level vocabulary."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    out = {b: chr(b) for b in keep}
    for i, b in enumerate(x for x in range(256) if x not in out):
        out[b] = chr(256 + i)
    return out


def tokenizer(v):
    letters = byte_letters()
    name = lambda t: "".join(letters[b] for b in t)
    merges = []
    for token, rank in v.ranks.items():
        if len(token) == 1:
            continue
        parts = [bytes([b]) for b in token]
        while True:  # the pair of lowest rank below this token's own
            best = min(((v.ranks.get(a + b, rank), i) for i, (a, b) in enumerate(zip(parts, parts[1:]))), default=(rank, 0))
            if best[0] >= rank:
                break
            i = best[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        assert len(parts) == 2, token
        merges.append([name(parts[0]), name(parts[1])])
    return dict(
        version="1.0", truncation=None, padding=None,
        added_tokens=[dict(id=i, content=s, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True) for s, i in v.control.items()],
        normalizer=None,
        pre_tokenizer=dict(type="Sequence", pretokenizers=[dict(type="Split", pattern=dict(Regex=H.SPLIT), behavior="Isolated", invert=False),
                                                           dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)]),
        post_processor=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=False, use_regex=True),
        decoder=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
        model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None, fuse_unk=False, byte_fallback=False,
                   ignore_merges=False, vocab={name(t): i for t, i in v.ranks.items()}, merges=merges))


def write(state, folder):
    os.makedirs(folder, exist_ok=True)
    v = H.Vocab()
    dump = lambda name, x, indent=None: open(os.path.join(folder, name), "w").write(json.dumps(x, indent=indent, ensure_ascii=False) + "\n")
    dump("config.json", config(v.control), 1)
    dump("generation_config.json", dict(bos_token_id=v.control["<|startoftext|>"], do_sample=False, pad_token_id=v.control["<|endoftext|>"],
                                        eos_token_id=[v.control[f"<|{x}|>"] for x in ("return", "endoftext", "call")]), 1)
    dump("tokenizer.json", tokenizer(v))
    dump("tokenizer_config.json", dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<|startoftext|>", eos_token="<|return|>", pad_token="<|endoftext|>",
                                       clean_up_tokenization_spaces=False, model_max_length=4096), 1)
    save_file(tensors(state), os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    print("bytes", {f: os.path.getsize(os.path.join(folder, f)) for f in sorted(os.listdir(folder))})


# ---- check with transformers -----------------------------------------------------------------------------------------


def check(folder):
    import random

    import generate
    from transformers import AutoTokenizer, GptOssForCausalLM, Mxfp4Config
    theirs = GptOssForCausalLM.from_pretrained(folder, quantization_config=Mxfp4Config(dequantize=True), dtype=torch.float32, attn_implementation="eager").eval()
    ours, v, tok = load(folder), H.Vocab(), AutoTokenizer.from_pretrained(folder)
    worst, same = 0.0, 0
    for k in range(12):
        pieces, b = generate.example(["sum", "call", "product", "loop"][k % 4], generate.EFFORTS[k % 3], random.Random(k))
        ids = torch.tensor([v.tokens(pieces + generate.target(b))])
        pos, seg = torch.arange(ids.shape[1])[None], torch.zeros_like(ids)
        with torch.no_grad():
            h, _, _ = ours.trunk(ids, pos, pack_masks(seg, pos, 128), ours.expert_weights(False))
            d = (h @ ours.head.t() - theirs(ids).logits).abs().max().item()
        worst = max(worst, d)
        for p in pieces:
            if isinstance(p, str):
                assert tok.encode(p, add_special_tokens=False) == v.encode(p), p
                same += 1
    junk = random.Random(1)
    for _ in range(2000):
        t = "".join(junk.choice(" \n\tabcXYZ0123456789éß你🙂.,'{}\"_-/s't") for _ in range(junk.randint(1, 60)))
        assert tok.encode(t, add_special_tokens=False) == v.encode(t), t
        same += 1
    assert [tok.convert_tokens_to_ids(s) for s in H.CONTROL] == list(range(2020, 2029))
    print(f"largest logit difference to transformers {worst:.2e}; {same} texts tokenised equal")


if __name__ == "__main__":
    if sys.argv[1] != "none":
        state = torch.load(sys.argv[1])["model"]
        if "--sharpen" in sys.argv:
            state["head"] = state["head"] * float(sys.argv[sys.argv.index("--sharpen") + 1])
        write(state, sys.argv[2])
    if "--check" in sys.argv:
        check(sys.argv[2])
