"""Whether PEFT loads two adapters to the same function: the largest difference of their logits on testdata/train, or on other
   weights of its shape.
   pip install torch==2.15.0 transformers==5.23.0 peft==0.21.2 safetensors   ->   python adapter_logits.py ADAPTER ADAPTER [WEIGHTS]"""
import pathlib, sys, torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import GptOssConfig, GptOssForCausalLM

torch.set_num_threads(1)
folder = pathlib.Path(__file__).parent.parent / "testdata/train"
weights = load_file(sys.argv[3] if len(sys.argv) > 3 else folder / "weights.safetensors")
ids = load_file(folder / "data.safetensors")["ids"]


def logits(adapter):
    config = GptOssConfig.from_json_file(folder / "config.json")
    config._attn_implementation = "eager"
    model = GptOssForCausalLM(config).float().eval()
    model.load_state_dict(weights)
    model = PeftModel.from_pretrained(model, adapter).eval() if adapter else model
    with torch.no_grad():
        return model(input_ids=ids[0], use_cache=False).logits


base, first, second = [logits(adapter) for adapter in (None, *sys.argv[1:3])]
print(f"adapters differ by {float((first - second).abs().max()):.1e}, the first from the base by {float((first - base).abs().max()):.1e}")
