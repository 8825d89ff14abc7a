"""Plain text that a model writes itself, as rows to be learned among others, so that a tune does not cost the language.

    gptoss serve --model BASE --port 8099
    python3 bench/tuning/rehearsal.py rows/rehearsal.jsonl --address http://127.0.0.1:8099 --model BASE [--rows 240] [--tokens 200]
    cat rows/train.jsonl rows/rehearsal.jsonl > rows/mixed.jsonl

Each row is an opening, made by rule, and what the base continues it with at temperature 1: of such text the base is the best model
there is, so learning it holds the tuned model to the base where it is not asked to be another. Rows that /v1/completions ends with a
control token keep what came before it.
"""

import argparse
import concurrent.futures
import json
import pathlib
import random
import sys

from evaluate import post

# As many as the server takes at a time.
REQUESTS_MAX = 8
# A row of fewer characters says nothing.
CHARACTERS_MIN = 80

SUBJECTS = """agreements animals bicycles books bread bridges cameras children climate clocks clouds coffee colors computers contracts
copyright deserts doctors dreams education elections electricity energy farms fashion fire fish forests friendship games gardens glass
gold health history hospitals houses ice insurance islands jobs journeys kitchens knowledge lakes languages law letters libraries
licenses light machines maps markets mathematics medicine memory metals money mountains museums music names newspapers numbers oceans
ownership paintings paper parents permission planets plants poems ports programs property railways rain rights rivers roads robots
rules schools science ships silence sleep snow software soil songs space sports stars stories storms students sugar taxes teachers
television theaters time tools towns trade travel trees universities villages water weather whales winter women words work
writing""".split()
OPENINGS = [
    "The history of {} begins", "Most people think of {} as", "When we speak of {}, we", "There are three things to know about {}.",
    "A short introduction to {}.\n\n", "In the nineteenth century, {} were", "Last summer I learned something about {}.", "# {}\n\n",
    "The terms that govern {} are", "\"I never cared for {},\" she said,", "This chapter is about {} and", "Scientists who study {} have found",
    "Dear Sir or Madam,\n\nI write to you about {}", "Once upon a time, in a land where {} were rare,", "You may use {} freely, provided that",
    "The most common mistake with {} is", "What would the world be without {}?", "Advice on {} for beginners:\n\n1.",
]  # fmt: skip


def openings(seed):
    draw = random.Random(seed)
    while True:
        subject = draw.choice(SUBJECTS)
        opening = draw.choice(OPENINGS)
        yield opening.format(subject.capitalize() if opening.startswith("#") else subject)


def continued(address, model, opening, tokens, seed):
    body = {"model": model, "prompt": opening, "max_tokens": tokens, "temperature": 1, "seed": seed}
    return opening + post(address, "/v1/completions", body)["choices"][0]["text"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--address", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--tokens", type=int, default=200, help="the longest continuation")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    drawn = openings(asked.seed)
    rows, characters = 0, 0
    # Written as they come, in order: what is there stays when the server goes.
    with concurrent.futures.ThreadPoolExecutor(REQUESTS_MAX) as pool, open(asked.out, "w") as file:
        jobs = [pool.submit(continued, asked.address, asked.model, next(drawn), asked.tokens, asked.seed + n) for n in range(asked.rows)]
        for number, job in enumerate(jobs, 1):
            text = job.result()
            if len(text) >= CHARACTERS_MIN:
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                rows, characters = rows + 1, characters + len(text)
            print(f"\r{number} of {asked.rows}", end="", file=sys.stderr, flush=True)
    print(f"\n{rows} rows, {characters} characters; {asked.rows - rows} were too short")


if __name__ == "__main__":
    main()
