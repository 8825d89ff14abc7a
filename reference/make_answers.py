"""Invented answers and what reference scorers extract from them.

Usage: python make_answers.py OUT.jsonl COUNT SEED, with `gpt_oss/evals/abcd_grader.py` of the `gpt-oss` package 0.0.9 (Python 3.12) on the
path. A line holds a text, the letter of `extract_abcd` (null where it is none of a choice), MMLU-Pro's letter by its three
patterns and by the first alone, and what Python's `int` makes of a short text.
"""

import json
import random
import re
import sys

from gpt_oss.evals.abcd_grader import extract_abcd

PIECES = [
    "Answer", "answer", "ANSWERS", "Option", "choice", "the answer is", "The answer is (", "Final answer:", ":", ": ", " – ", "-", "**", "*", "__", "_",
    "(", ")", "[", "]", "\n", "\n\n", " ", "  ", "\t", ".", ",", "²", "₀", "é", "\\boxed{", "\\text{", "\\textbf{", "}", "{", "$",
    "A", "B", "C", "D", "E", "J", "K", "a", "b", "d", "because", "Because", "Dog", "it", "is", "I", "A.", "(B)", "[C]", "**D**", "**A) red**",
]
NUMBERS = ["0", "00", "7", "025", "1_0", "_1", "1__0", "-", "+", " ", "\n", "1.0", "9" * 30, "x", ""]


def abcd(text):
    letter = extract_abcd(text)
    return letter if letter in ("A", "B", "C", "D") else None


def mmlu_pro_first(text):
    found = re.search(r"answer is \(?([A-J])\)?", text)
    return found and found.group(1)


def mmlu_pro(text):
    if letter := mmlu_pro_first(text):
        return letter
    if found := re.search(r".*[aA]nswer:\s*([A-J])", text):
        return found.group(1)
    found = re.search(r"\b[A-J]\b(?!.*\b[A-J]\b)", text, re.DOTALL)
    return found and found.group(0)


def integer(text):
    try:
        return str(int(text))
    except ValueError:
        return None


def main():
    rng = random.Random(int(sys.argv[3]))
    with open(sys.argv[1], "w", encoding="utf8") as out:
        for _ in range(int(sys.argv[2])):
            text = "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 12)))
            number = "".join(rng.choice(NUMBERS) for _ in range(rng.randint(1, 3)))
            row = {"text": text, "abcd": abcd(text), "mmlu_pro": mmlu_pro(text), "mmlu_pro_first": mmlu_pro_first(text), "number": number, "integer": integer(number)}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
