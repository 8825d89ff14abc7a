"""One turn of llama.cpp on a GGUF file: a prompt, then decoding, as `gptoss bench` does it.

    python llama.py MODEL.gguf --prefill 512 --decode 48 --threads 2 [--depth 0] [--batch 1] [--no-repack]

Prints one JSON object: seconds to load, tokens per second, peak resident bytes. Needs llama-cpp-python, which builds
llama.cpp for this very processor. Prompts and decoded tokens are random ids, as ours are; one decode step goes before
the clock; a short prompt before everything touches all code once. A depth is computed, not filled: the library
has no way in for keys and values that nobody computed.
"""

import argparse
import json
import resource
import time

import llama_cpp as api
import numpy as np


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=48)
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1, help="sequences that decode together; all but the first start empty")
    parser.add_argument("--no-repack", action="store_true", help="leave the weights in the mapped file")
    return parser.parse_args()


class Peer:
    def __init__(self, options):
        self.silence = api.llama_log_callback(lambda level, text, data: None)
        api.llama_log_set(self.silence, None)
        api.llama_backend_init()
        model = api.llama_model_default_params()
        model.n_gpu_layers = 0
        if options.no_repack:
            model.use_extra_bufts = False
        start = time.perf_counter()
        self.model = api.llama_model_load_from_file(options.model.encode(), model)
        assert self.model, f"{options.model}: llama.cpp cannot load it"
        self.load_seconds = time.perf_counter() - start
        context = api.llama_context_default_params()
        context.n_ctx = max(4096, options.depth + options.prefill + options.decode + 16) * options.batch
        context.n_seq_max = options.batch
        context.n_batch, context.n_ubatch = 2048, 512
        context.n_threads = context.n_threads_batch = options.threads
        self.context = api.llama_init_from_model(self.model, context)
        self.vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))
        self.random = np.random.default_rng(0)

    def tokens(self, count):
        return [int(token) for token in self.random.integers(0, self.vocabulary, count)]

    def forward(self, tokens, position):
        """Appends tokens at `position` of the first sequence and waits for the logits of the last."""
        last = len(tokens) - 1
        self.run([(token, position + index, 0, index == last) for index, token in enumerate(tokens)])

    def step(self, positions):
        """Appends a token to every sequence and waits for the logits of each."""
        tokens = self.tokens(len(positions))
        self.run([(token, position, sequence, True) for sequence, (token, position) in enumerate(zip(tokens, positions))])

    def run(self, entries):
        batch = api.llama_batch_init(len(entries), 0, 1)
        batch.n_tokens = len(entries)
        for index, (token, position, sequence, has_logits) in enumerate(entries):
            batch.token[index] = token
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = sequence
            batch.logits[index] = has_logits
        code = api.llama_decode(self.context, batch)
        assert code == 0, f"llama_decode gave {code}"
        api.llama_synchronize(self.context)
        api.llama_batch_free(batch)

    def prompt(self, count, position):
        tokens = self.tokens(count)
        for index in range(0, count, 2048):
            self.forward(tokens[index : index + 2048], position + index)

    def forget(self):
        api.llama_memory_clear(api.llama_get_memory(self.context), True)


def main():
    options = arguments()
    start = time.perf_counter()
    peer = Peer(options)
    peer.prompt(8, 0)
    first_token_seconds = time.perf_counter() - start
    peer.forget()
    peer.prompt(options.depth, 0)
    result = {"prefill_tokens": options.prefill, "decode_tokens": options.decode, "depth_tokens": options.depth}
    result |= {"threads": options.threads, "batch": options.batch, "repack": not options.no_repack}
    result |= {"load_seconds": peer.load_seconds, "first_token_seconds": first_token_seconds}
    if options.prefill:
        start = time.perf_counter()
        peer.prompt(options.prefill, options.depth)
        result["prefill_tokens_per_second"] = options.prefill / (time.perf_counter() - start)
    first = [options.depth + options.prefill] + [0] * (options.batch - 1)
    peer.step(first)
    if options.decode:
        start = time.perf_counter()
        for step in range(options.decode):
            peer.step([position + 1 + step for position in first])
        result["decode_tokens_per_second"] = options.decode * options.batch / (time.perf_counter() - start)
    result["peak_resident_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()
