"""How fast is a training step, ours and that of torch with transformers and PEFT, in turn on the same cores?

    python bench/train/peer.py --ours target/release/examples/step_speed [--rounds 3] [--seconds 20] [--threads 2]
Both train the embedded demo's shape in f32 on four documents of 640 tokens, every token a target: once all of it, once pairs of
rank 8 at q, k, v, o and at every expert. A step is the loss, all gradients, the clip and AdamW; each turn is a process of its own,
and of its steps the median counts. The peer takes the fastest of its implementations of experts, which is tried first. Its model is
a new one of the same shape, since speed does not depend on the weights; that the numbers agree is what `crates/train/tests` show.
Needs: torch, transformers, peft (2.15, 5.23 and 0.21 were measured).
"""

import argparse
import re
import statistics
import subprocess
import sys
import time

DOCUMENTS, TOKENS = 4, 640
IMPLEMENTATIONS = ["eager", "batched_mm", "grouped_mm"]


def model(kind, experts):
    import torch
    from transformers import GptOssConfig, GptOssForCausalLM

    torch.manual_seed(0)
    config = GptOssConfig(
        num_hidden_layers=4, hidden_size=128, intermediate_size=128, num_local_experts=8, num_experts_per_tok=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, vocab_size=2029, sliding_window=128,
        max_position_embeddings=4096, pad_token_id=None, attn_implementation="eager", experts_implementation=experts,
        rope_parameters=dict(rope_type="yarn", rope_theta=150000.0, factor=4.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                             original_max_position_embeddings=1024),
        output_router_logits=False)
    net = GptOssForCausalLM(config).float().train()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "experts" in name and "bias" not in name:
                parameter.normal_(0, 128**-0.5)
    if kind == "full":
        return net
    from peft import LoraConfig, get_peft_model

    return get_peft_model(net, LoraConfig(
        r=8, lora_alpha=16, lora_dropout=0.0, task_type="CAUSAL_LM", target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]))


def worker(kind, experts, threads, seconds):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    net = model(kind, experts)
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, fused=True)
    ids = torch.arange(DOCUMENTS * TOKENS).mul(7919).remainder(2029).view(DOCUMENTS, TOKENS)
    times, start = [], time.perf_counter()
    while len(times) < 4 or time.perf_counter() - start < seconds:
        begun = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        logits = net(input_ids=ids, use_cache=False).logits
        loss = F.cross_entropy(logits.flatten(0, 1), ids.roll(-1, 1).flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        times.append(time.perf_counter() - begun)
    print(DOCUMENTS * TOKENS / statistics.median(times[1:]))


def theirs(kind, experts, threads, seconds):
    command = [sys.executable, __file__, "--worker", kind, experts, "--threads", str(threads), "--seconds", str(seconds)]
    run = subprocess.run(command, capture_output=True, text=True)
    return float(run.stdout.split()[-1]) if run.returncode == 0 else 0.0


def ours(program, kind, threads, seconds):
    command = [program, f"demo-{kind}", str(DOCUMENTS * TOKENS), str(threads), str(seconds)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(re.search(r"median: (\d+) tokens/s", out).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", nargs=2, metavar=("KIND", "EXPERTS"))
    args = parser.parse_args()
    if args.worker:
        return worker(*args.worker, args.threads, args.seconds)
    print("| what is trained | turns | ours | theirs | ratio | their experts |\n|---|---|---|---|---|---|")
    for kind in ("full", "lora"):
        tried = {experts: theirs(kind, experts, args.threads, 1) for experts in IMPLEMENTATIONS}
        experts = max(tried, key=tried.get)
        turns = [(ours(args.ours, kind, args.threads, args.seconds), theirs(kind, experts, args.threads, args.seconds))
                 for _ in range(args.rounds)]
        mine, other = (statistics.median(turn[side] for turn in turns) for side in (0, 1))
        ratios = [a / b for a, b in turns]
        print(f"| {kind} | {args.rounds} | {mine:.0f} | {other:.0f} | {statistics.median(ratios):.2f} "
              f"({min(ratios):.2f} to {max(ratios):.2f}) | {experts} |", flush=True)


if __name__ == "__main__":
    main()
