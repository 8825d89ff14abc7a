"""llama.cpp's own server on a GGUF file, as the package xllamacpp has it: prints its address, and ends when its input does.

    llama_server.py FILE.gguf SEQUENCES CONTEXT
"""

import sys

import xllamacpp


def main(model, sequences, context):
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_parallel = int(sequences)
    params.n_ctx = int(sequences) * int(context)
    params.kv_unified = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_gpu_layers = 0
    params.port = 0
    params.ui = False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


main(*sys.argv[1:])
