#!/usr/bin/env python3
"""Recorded verdicts of IFEval's own checker beside `gptoss eval score ifeval`.

    ifeval.py GPTOSS FOLDER

The folder holds Google's files as josejg/instruction_following_eval and Podtech-AI/IFEval have them, the last three
in gzip: ifeval_input.jsonl, ifeval_gpt4_responses.jsonl.gz, ifeval_gpt4_strict.jsonl.gz, ifeval_gpt4_loose.jsonl.gz.
"""

import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

# Of 832 for each reading. The checker draws a letter at random for two keys whose letter is none.
VERDICTS_MIN = 829


def rows(path):
    text = gzip.open(path, "rt").read() if path.suffix == ".gz" else path.read_text()
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def main(gptoss, folder):
    folder = pathlib.Path(folder)
    keys = {row["prompt"]: row["key"] for row in rows(folder / "ifeval_input.jsonl")}
    answers = rows(folder / "ifeval_gpt4_responses.jsonl.gz")
    with tempfile.TemporaryDirectory() as scratch:
        responses = pathlib.Path(scratch) / "responses.jsonl"
        lines = [{"id": str(keys[row["prompt"]]), "response": row["response"]} for row in answers]
        responses.write_text("".join(json.dumps(line) + "\n" for line in lines))
        data = folder / "ifeval_input.jsonl"
        command = [gptoss, "eval", "score", "ifeval", "--data", data, "--responses", responses, "--json"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if ran.returncode != 0:
        sys.exit(f"{command}: {ran.stderr}")
    report = json.loads(ran.stdout)
    judged = {row["id"]: row for row in report["items"]}
    failed = False
    for reading in ["strict", "loose"]:
        num_equal, num_all = 0, 0
        for answer, row in zip(answers, rows(folder / f"ifeval_gpt4_{reading}.jsonl.gz")):
            key = str(keys[answer["prompt"]])
            parts = [part["passed"] for part in judged[key]["parts"]]
            ours = parts if reading == "strict" else judged[key]["more"]["loose"]
            theirs = row["follow_instruction_list"]
            assert len(ours) == len(theirs), key
            num_all += len(theirs)
            num_equal += sum(a == b for a, b in zip(ours, theirs))
            for kind, a, b in zip(row["instruction_id_list"], ours, theirs):
                if a != b:
                    print(f"  {key} {kind}: {a}, the checker says {b}")
        print(f"{reading}: {num_equal} of {num_all} verdicts")
        failed |= num_equal < VERDICTS_MIN
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
