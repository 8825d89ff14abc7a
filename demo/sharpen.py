"""How is a demo's unembedding made sharper or flatter, without loss?

    python sharpen.py model/ OUT/ 0.5
Multiplies it by a power of two, which in bf16 changes exponents alone. `gptoss train` starts from a half, where the model's probabilities
are those it was trained with, and the result is doubled again: temperature 1 then samples as 1/2 would, the most likely token stays.
"""

import array
import json
import math
import pathlib
import shutil
import sys


def main():
    source, out, factor = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), float(sys.argv[3])
    power = int(math.log2(factor))
    assert 2.0**power == factor, "a power of two"
    data = bytearray((source / "model.safetensors").read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:start])["lm_head.weight"]
    assert entry["dtype"] == "BF16"
    first, end = (start + at for at in entry["data_offsets"])
    words = array.array("H", bytes(data[first:end]))
    for i, word in enumerate(words):
        exponent = word >> 7 & 255
        if exponent:
            assert 0 < exponent + power < 255, "a number leaves bf16's range"
            words[i] = word + (power << 7)
    data[first:end] = words.tobytes()
    out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, out / name)
    (out / "model.safetensors").write_bytes(data)


if __name__ == "__main__":
    main()
