"""Writes SmolLM2-135M-Instruct (Apache-2.0), as a GGUF file, anew as a gpt-oss checkpoint in the Hugging Face layout.

    python model.py FILE.gguf FOLDER [--mxfp4] [--experts 4]

It stays the same function of its tokens. SiLU is a clamped SwiGLU of alpha 1.702 with gate rows divided by 1.702, down columns
multiplied by it, an up bias of -1 and a limit that is never reached. A dense MLP of F columns is E experts of F/E, all of them chosen
with equal weight (a router of zeros) and their down columns times E. A sink of -30000 weighs nothing, a stretch of factor 1 is plain
RoPE, and every layer sees everything. It knows no harmony: nine of its seventeen special ids carry harmony's control tokens.
"""

import argparse
import json
import os

import numpy as np
from gguf import GGUFReader, dequantize

ALPHA = 1.702
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
E2M1_EDGES = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0], np.float32)
CONTROL = ["<|endoftext|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>", "<|call|>", "<|startoftext|>"]
# The rule by which the o200k vocabulary splits a text.
UPPER, LOWER, ENDING = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
SPLIT = "|".join(
    [
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENDING}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENDING}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)


def bf16(x):
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def mxfp4(weights):
    """Codes and scales of `[..., n]`: of two exponents the one with the smaller squared error, by block."""
    blocks = weights.reshape(*weights.shape[:-1], -1, 32)
    largest = np.maximum(np.abs(blocks).max(-1, keepdims=True), 1e-30)
    best = None
    for shift in (-2, -1):
        exponent = np.floor(np.log2(largest)) + shift
        scale = np.exp2(exponent)
        scaled = blocks / scale
        code = np.searchsorted(E2M1_EDGES, np.abs(scaled)).astype(np.uint8) | ((scaled < 0).astype(np.uint8) << 3)
        error = ((E2M1[code] * scale - blocks) ** 2).sum(-1, keepdims=True)
        if best is None:
            best = code, exponent, error
        else:
            better = error < best[2]
            best = tuple(np.where(better, new, old) for new, old in zip((code, exponent, error), best))
    code, exponent, _ = best
    return (code[..., 0::2] | (code[..., 1::2] << 4)).astype(np.uint8), (exponent[..., 0] + 127).astype(np.uint8)


class Source:
    def __init__(self, path):
        reader = GGUFReader(path)
        self.meta = {key: field.contents() for key, field in reader.fields.items()}
        self.tensors = {}
        for tensor in reader.tensors:
            values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            self.tensors[tensor.name] = values.reshape([int(size) for size in reversed(tensor.shape)])
        sizes = "block_count embedding_length feed_forward_length attention.head_count attention.head_count_kv rope.dimension_count"
        self.layers, self.hidden, self.inner, self.heads, self.kv_heads, self.head_dim = (self.meta["llama." + key] for key in sizes.split())

    def halves(self, weights, heads):
        """ggml turns neighbours, gpt-oss the halves of a head."""
        return weights.reshape(heads, self.head_dim // 2, 2, -1).swapaxes(1, 2).reshape(weights.shape)


def byte_letters():
    """The letter that stands for each byte in a byte-level vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in letters]
    return letters | {byte: chr(256 + index) for index, byte in enumerate(others)}


def experts(source, layer, num_experts):
    """Gate and up rows in turn `[E, 2F, C]`, their bias, down `[E, C, F]`."""
    tensor = lambda name: source.tensors[f"blk.{layer}.{name}.weight"]
    inner = source.inner // num_experts
    gate_up = np.empty((num_experts, 2 * inner, source.hidden), np.float32)
    gate_up[:, 0::2] = (tensor("ffn_gate") / ALPHA).reshape(num_experts, inner, source.hidden)
    gate_up[:, 1::2] = tensor("ffn_up").reshape(num_experts, inner, source.hidden)
    bias = np.zeros((num_experts, 2 * inner), np.float32)
    bias[:, 1::2] = -1
    down = (tensor("ffn_down") * (ALPHA * num_experts)).reshape(source.hidden, num_experts, inner).transpose(1, 0, 2)
    return gate_up, bias, np.ascontiguousarray(down)


def tensors(source, embedding, num_experts, quantised):
    """`(name, dtype, array)` of each."""
    dense = lambda name, values: (name, "BF16", bf16(values))
    yield dense("model.embed_tokens.weight", embedding)
    yield dense("lm_head.weight", source.tensors.get("output.weight", embedding))
    yield dense("model.norm.weight", source.tensors["output_norm.weight"])
    for layer in range(source.layers):
        tensor = lambda name: source.tensors[f"blk.{layer}.{name}.weight"]
        prefix = f"model.layers.{layer}."
        yield dense(prefix + "input_layernorm.weight", tensor("attn_norm"))
        yield dense(prefix + "post_attention_layernorm.weight", tensor("ffn_norm"))
        projections = {
            "q": source.halves(tensor("attn_q"), source.heads),
            "k": source.halves(tensor("attn_k"), source.kv_heads),
            "v": tensor("attn_v"),
            "o": tensor("attn_output"),
        }
        for name, weights in projections.items():
            yield dense(prefix + f"self_attn.{name}_proj.weight", weights)
            yield dense(prefix + f"self_attn.{name}_proj.bias", np.zeros(len(weights)))
        yield dense(prefix + "self_attn.sinks", np.full(source.heads, -30000.0))
        yield dense(prefix + "mlp.router.weight", np.zeros((num_experts, source.hidden)))
        yield dense(prefix + "mlp.router.bias", np.zeros(num_experts))
        gate_up, bias, down = experts(source, layer, num_experts)
        prefix += "mlp.experts."
        yield dense(prefix + "gate_up_proj_bias", bias)
        yield dense(prefix + "down_proj_bias", np.zeros((num_experts, source.hidden)))
        for name, weights in (("gate_up_proj", gate_up), ("down_proj", down)):
            if quantised:
                blocks, scales = mxfp4(weights)
                yield prefix + name + "_blocks", "U8", blocks
                yield prefix + name + "_scales", "U8", scales
            else:
                yield dense(prefix + name, weights.transpose(0, 2, 1))


def write_safetensors(path, entries):
    entries = list(entries)
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, values in entries:
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, _, values in entries:
            file.write(np.ascontiguousarray(values).tobytes())


def config(source, vocab_size, num_experts, quantised):
    context = source.meta["llama.context_length"]
    numbers = {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "attention_bias": True,
        "eos_token_id": CONTROL.index("<|return|>"),
        "pad_token_id": 0,
        "num_experts_per_tok": num_experts,
        "num_local_experts": num_experts,
        "head_dim": source.head_dim,
        "hidden_act": "silu",
        "hidden_size": source.hidden,
        "intermediate_size": source.inner // num_experts,
        "layer_types": ["full_attention"] * source.layers,
        "max_position_embeddings": context,
        "num_attention_heads": source.heads,
        "num_hidden_layers": source.layers,
        "num_key_value_heads": source.kv_heads,
        "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 1.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "original_max_position_embeddings": context,
            "truncate": False,
        },
        "rope_theta": source.meta["llama.rope.freq_base"],
        "sliding_window": 128,
        "swiglu_limit": 1e6,
        "tie_word_embeddings": False,
        "vocab_size": vocab_size,
    }
    if quantised:
        numbers["quantization_config"] = {"quant_method": "mxfp4"}
    return numbers


def tokenizer(tokens, special, merges):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    names = {id: CONTROL[id] if id < len(CONTROL) else f"<|reserved_{id}|>" for id in special}
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0",
        "added_tokens": [{"id": id, "content": name} | flags for id, name in names.items()],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "ignore_merges": False,
            "vocab": {token: id for id, token in enumerate(tokens) if id not in names},
            "merges": merges,
        },
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf")
    parser.add_argument("folder")
    parser.add_argument("--mxfp4", action="store_true")
    parser.add_argument("--experts", type=int, default=4)
    args = parser.parse_args()
    source = Source(args.gguf)
    inner = source.inner // args.experts
    assert inner * args.experts == source.inner and inner % 32 == 0, "experts must divide the MLP into whole blocks"
    tokens = list(source.meta["tokenizer.ggml.tokens"])
    special = [id for id, kind in enumerate(source.meta["tokenizer.ggml.token_type"]) if kind == 3]
    # Bytes that it never learned: each gets the row of a token that is never said.
    known = set(tokens)
    letters = byte_letters()
    unlearned = [letters[byte] for byte in range(256) if letters[byte] not in known]
    tokens += unlearned
    embedding = source.tensors["token_embd.weight"]
    embedding = np.concatenate([embedding, np.repeat(embedding[special[-1:]], len(unlearned), 0)])
    os.makedirs(args.folder, exist_ok=True)
    place = lambda name: os.path.join(args.folder, name)
    write_safetensors(place("model.safetensors"), tensors(source, embedding, args.experts, args.mxfp4))
    for name, value in (
        ("tokenizer.json", tokenizer(tokens, special, source.meta["tokenizer.ggml.merges"])),
        ("config.json", config(source, len(tokens), args.experts, args.mxfp4)),
    ):
        with open(place(name), "w") as file:
            json.dump(value, file)


main()
