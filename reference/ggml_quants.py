"""What llama.cpp's Python package makes of random blocks of its quantizations: for each the sum of all values,
each times its place, the first value and the last.  pip install gguf==0.19.0 numpy
"""
import numpy as np
from gguf import GGMLQuantizationType as T, GGML_QUANT_SIZES
from gguf.quants import dequantize

def block_bytes(quant, blocks):  # xorshift32; halves (f16 scales) get an exponent near 2^-6
    size = GGML_QUANT_SIZES[quant][1]
    halves = {"Q4_1": [0, 2], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
    x, out = 2463534242, []
    for _ in range(blocks * size):
        x ^= x << 13 & 0xFFFFFFFF; x ^= x >> 17; x ^= x << 5 & 0xFFFFFFFF
        out.append(x >> 24)
    out = np.array(out, dtype=np.uint8).reshape(blocks, size)
    for at in halves.get(quant.name, [0]):
        out[:, at + 1] = out[:, at + 1] & 0x83 | 0x20
    return out

for name in ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"]:
    values = dequantize(block_bytes(T[name], 16), T[name]).ravel().astype(np.float64)
    total = 0.0
    for i, v in enumerate(values): total += (i + 1) * float(v)
    print(name, repr(total), repr(float(values[0])), repr(float(values[-1])))
