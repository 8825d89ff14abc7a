"""Goldens: ten steps of full training and of LoRA on a tiny gpt-oss, f32, eager, one thread.
   pip install torch==2.15.0 transformers==5.23.0 peft==0.21.2 safetensors   ->   HF_HUB_OFFLINE=1 python make_train.py OUT"""
import copy, json, sys, torch, torch.nn.functional as F
from safetensors.torch import save_file
from transformers import GptOssConfig, GptOssForCausalLM
from peft import LoraConfig, get_peft_model
torch.manual_seed(0); torch.set_num_threads(1); torch.use_deterministic_algorithms(True)
out, T, STEPS = sys.argv[1], 48, 10
cfg = GptOssConfig(num_hidden_layers=2, hidden_size=64, intermediate_size=96, num_local_experts=4, num_experts_per_tok=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=16, vocab_size=128, sliding_window=8, max_position_embeddings=128,
    rope_parameters=dict(rope_type="yarn", rope_theta=150000.0, factor=4.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                         original_max_position_embeddings=32),
    pad_token_id=None, attn_implementation="eager", experts_implementation="eager", output_router_logits=False)
m = GptOssForCausalLM(cfg).float().train()
def mx(w):                    # [E, in, out] -> MXFP4-exact values in blocks of 32 along `in` (floor rule, nearest, ties to even)
    b = w.transpose(1, 2).reshape(w.shape[0], w.shape[2], -1, 32)
    s = torch.exp2(torch.floor(torch.log2(b.abs().amax(-1, keepdim=True))) - 2)
    a = (b / s).abs(); step = torch.where(a < 2, .5, torch.where(a < 4, 1., 2.))
    return (torch.round(a / step) * step).clamp(max=6).mul(b.sign()).mul(s).reshape(w.shape[0], w.shape[2], -1).transpose(1, 2).contiguous()
with torch.no_grad():
    for n, p in m.named_parameters():
        if n.endswith("sinks"): p.normal_(0, 1)
        elif n.endswith("norm.weight"): p.normal_(1, .1)
        elif "bias" in n: p.normal_(0, .3)
        elif "gate_up_proj" in n: p.copy_(mx(torch.randn_like(p) * .7))      # large: both clamps are met
        elif "down_proj" in n: p.copy_(mx(torch.randn_like(p) * .1))
        else: p.normal_(0, p.shape[-1] ** -.5)
ids = torch.randint(1, 128, (STEPS, 2, T)); w = (torch.rand(STEPS, 2, T) < .6).float(); w[:, :, 0] = 0   # weight of predicting token t
def loss_of(model, i):
    lg = model(input_ids=ids[i], use_cache=False).logits[:, :-1].reshape(-1, 128)
    ce = F.cross_entropy(lg.float(), ids[i][:, 1:].reshape(-1), reduction="none"); ww = w[i][:, 1:].reshape(-1)
    return (ce * ww).sum() / ww.sum()
def run(model, tag, lr, wd):
    P = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    flat = lambda n: "bias" in n or "norm" in n or "sinks" in n                  # no weight decay
    opt = torch.optim.AdamW([dict(params=[p for n, p in P if not flat(n)], weight_decay=wd), dict(params=[p for n, p in P if flat(n)], weight_decay=0.)],
                            lr=lr, betas=(.9, .999), eps=1e-8, foreach=False, fused=False)
    save_file({n: p.detach().clone() for n, p in P}, f"{out}/{tag}-before.safetensors"); log = []
    for i in range(STEPS):
        opt.zero_grad(set_to_none=True); loss = loss_of(model, i); loss.backward()
        if i == 0: save_file({n: p.grad.clone() for n, p in P}, f"{out}/{tag}-grad0.safetensors")
        g = torch.nn.utils.clip_grad_norm_([p for _, p in P], 1.0); log.append([loss.item(), g.item()]); opt.step()
    save_file({n: p.detach().clone() for n, p in P}, f"{out}/{tag}-after.safetensors")
    json.dump(dict(lr=lr, wd=wd, clip=1.0, betas=[.9, .999], eps=1e-8, steps=log), open(f"{out}/{tag}.json", "w"), indent=1); print(tag, log)
save_file(dict(ids=ids, weight=w), f"{out}/data.safetensors"); json.dump(cfg.to_dict(), open(f"{out}/config.json", "w"), indent=1, default=str)
save_file({k: v.contiguous() for k, v in m.state_dict().items()}, f"{out}/weights.safetensors")
run(copy.deepcopy(m), "full", 1e-3, .1)
p = get_peft_model(copy.deepcopy(m), LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, init_lora_weights=False, task_type="CAUSAL_LM",
      target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]))
with torch.no_grad():
    for n, q in p.named_parameters():
        if "lora_" in n: q.normal_(0, .05)                                       # B is not zero: every gradient is tested at step 0
p.save_pretrained(f"{out}/adapter-before"); run(p, "lora", 1e-3, 0.); p.save_pretrained(f"{out}/adapter-after")
p.eval(); a = p(input_ids=ids[0]).logits; merged = p.merge_and_unload(); b = merged(input_ids=ids[0]).logits
save_file({k: v.contiguous() for k, v in merged.state_dict().items()}, f"{out}/merged.safetensors"); print("merge", float((a - b).abs().max()))
m.eval(); x = ids[0, :1]; pos = torch.cat([torch.arange(20), torch.arange(T - 20)])[None]     # packed = two texts alone
seg = torch.cat([torch.zeros(20), torch.ones(T - 20)]); gap = torch.arange(T)[:, None] - torch.arange(T)[None]; same = seg[:, None] == seg[None]
mask = lambda ok: torch.zeros(T, T).masked_fill(~ok, torch.finfo(torch.float32).min)[None, None]
masks = dict(full_attention=mask(same & (gap >= 0)), sliding_attention=mask(same & (gap >= 0) & (gap < cfg.sliding_window)))
y = m(input_ids=x, position_ids=pos, attention_mask=masks, use_cache=False).logits
print("packing", float((y[:, :20] - m(input_ids=x[:, :20]).logits).abs().max()), float((y[:, 20:] - m(input_ids=x[:, 20:]).logits).abs().max()))
