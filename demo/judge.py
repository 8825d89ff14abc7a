"""When is a turn of the demo's well-formed, and when is it right?

What is measured (PLAN), the strict reading of a turn, and its comparison with the expected one; no torch in it, so that evaluate.py and
measure.py judge alike.
"""

import json
import math

import generate as G

# Efforts of a task, and prompts for each of them.
PLAN = {**{t: (G.EFFORTS, 500) for t in ("sum", "difference", "product", "call")}, **{t: (G.EFFORTS, 170) for t in ("compare", "count", "reverse", "honest")},
        **{t: (("medium",), 500) for t in ("real", "result", "loop", "nofit", "json")}, "styled": (("low",), 500)}
TASKS = list(PLAN)
BUDGET = 400  # tokens of a turn


def read_turn(vocab, ids):
    """(analysis texts, kind, name, text) of a sampled turn, or None where any token is out of place."""
    name = {i: s[2:-2] for s, i in vocab.control.items()}
    parts, text = [], []
    for t in ids:
        if t in name:
            if text:
                parts.append(vocab.bpe.decode_bytes(text))
            parts.append((name[t],))
            text = []
        else:
            text.append(t)
    if text:
        return None
    think = []
    while True:
        if parts[:3] == [("channel",), b"analysis", ("message",)] and len(parts) > 7 and isinstance(parts[3], bytes) and parts[4:7] == [("end",), ("start",), b"assistant"]:
            think.append(parts[3].decode(errors="replace"))
            parts = parts[7:]
            continue
        break
    try:
        if len(parts) == 5 and parts[:3] == [("channel",), b"final", ("message",)] and parts[4] == ("return",):
            return think, "final", None, parts[3].decode()
        if len(parts) == 7 and parts[0] == ("channel",) and parts[2:5] == [("constrain",), b"json", ("message",)] and parts[6] == ("call",):
            head = parts[1].decode()
            if head.startswith("commentary to=functions.") and head.endswith(" ") and head[24:-1].isidentifier():
                json.loads(parts[5])
                return think, "call", head[24:-1], parts[5].decode()
    except (ValueError, AttributeError):
        pass
    return None


def right(b, turn):
    if turn is None:
        return False
    _, kind, name, text = turn
    if "call" in b:
        return kind == "call" and name == b["call"][0] and json.loads(text) == json.loads(b["call"][1])
    if kind != "final":
        return False
    want = G.as_text(b["answer"])
    if b["task"] == "json":
        try:
            return json.loads(text) == json.loads(want)
        except ValueError:
            return False
    return text == want


def wilson(k, n, z=1.96):
    p, d = k / n, 1 + z * z / n
    mid, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (mid - half) / d, (mid + half) / d
