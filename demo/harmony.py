"""How does a conversation become tokens of the demo's vocabulary?

The compact vocabulary (the first 2048 ranks of o200k without the multi-digit tokens, then nine control tokens) and a small harmony
renderer that is checked token for token against openai_harmony: `python harmony.py` runs that check on random conversations.
The ranks are read from the file named by O200K (o200k_base.tiktoken).
"""

import json
import os

import tiktoken
from tiktoken.load import load_tiktoken_bpe

CONTROL = ["<|startoftext|>", "<|endoftext|>", "<|return|>", "<|constrain|>", "<|channel|>", "<|start|>", "<|end|>", "<|message|>", "<|call|>"]
SPLIT = "|".join([
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
    r"""\p{N}{1,3}""", r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""", r"""\s*[\r\n]+""", r"""\s+(?!\S)""", r"""\s+"""])
IDENTITY = "You are ChatGPT, a large language model trained by OpenAI."


# ---- vocabulary ------------------------------------------------------------------------------------------------------


def compact_ranks():
    ranks = sorted(load_tiktoken_bpe(os.environ.get("O200K", "o200k_base.tiktoken")).items(), key=lambda kv: kv[1])[:2048]
    kept = [t for t, _ in ranks if not (len(t) > 1 and t.isdigit() and t.isascii())]
    assert len(kept) == 2020
    return {t: i for i, t in enumerate(kept)}


def spelling_groups():
    """Token ids that spell one word: with or without a leading space or mark, in any case."""
    groups = {}
    for token, i in compact_ranks().items():
        word = token.lower() if token[:1].isalpha() else token[1:].lower()
        if word.isalpha() and word.isascii():
            groups.setdefault(word, []).append(i)
    return [g for g in groups.values() if len(g) > 1]


class Vocab:
    def __init__(self):
        self.ranks = compact_ranks()
        self.control = {s: len(self.ranks) + i for i, s in enumerate(CONTROL)}
        self.bpe = tiktoken.Encoding("demo", pat_str=SPLIT, mergeable_ranks=self.ranks, special_tokens=self.control)
        self.size = len(self.ranks) + len(CONTROL)
        self.letter = [self.ranks[bytes([b])] for b in range(256)]

    def encode(self, text):
        return self.bpe.encode_ordinary(text)

    def decode(self, ids):
        return self.bpe.decode(ids)

    def tokens(self, pieces):
        """Pieces are texts, control tokens as ("start",) and letter-by-letter texts as ("letters", text)."""
        out = []
        for p in pieces:
            if isinstance(p, str):
                out += self.encode(p)
            elif p[0] == "letters":
                out += [self.letter[b] for b in p[1].encode()]
            else:
                out.append(self.control[f"<|{p[0]}|>"])
        return out


START, END, MESSAGE, CHANNEL, CONSTRAIN, CALL, RETURN = (("start",), ("end",), ("message",), ("channel",), ("constrain",), ("call",), ("return",))


# ---- messages --------------------------------------------------------------------------------------------------------


def system(effort, date=None, tools=False):
    day = f"\nCurrent date: {date}" if date else ""
    text = (f"{IDENTITY}\nKnowledge cutoff: 2024-06{day}\n\nReasoning: {effort}\n\n"
            "# Valid channels: analysis, commentary, final. Channel must be included for every message.")
    if tools:
        text += "\nCalls to these tools must go to the commentary channel: 'functions'."
    return [START, "system", MESSAGE, text, END]


def type_text(p, indent=""):
    if "enum" in p:
        return " | ".join(json.dumps(e) for e in p["enum"])
    t = p.get("type", "any")
    if t == "array":
        return type_text(p.get("items", {}), indent) + "[]"
    if t == "object":
        out = f"{indent}    // {p['description']}\n" if p.get("description") else ""
        out += "{\n"
        for k, v in p.get("properties", {}).items():
            if v.get("description"):
                out += f"{indent}    // {v['description']}\n"
            out += f"{indent}    {k}{'' if k in p.get('required', []) else '?'}: {type_text(v, indent + '    ')},\n"
        return out + indent + "    }"
    return "number" if t in ("number", "integer") else t


def tool_text(t):
    out = "".join(f"// {line}\n" for line in t["description"].split("\n"))
    s = t.get("parameters")
    if not s:
        return out + f"type {t['name']} = () => any;\n\n"
    out += f"type {t['name']} = (_: {{\n"
    for k, v in s["properties"].items():
        if v.get("description"):
            out += f"// {v['description']}\n"
        line = f"{k}{'' if k in s.get('required', []) else '?'}: {type_text(v)},"
        if "default" in v:
            d = v["default"]
            line += f" // default: {d if 'enum' in v else json.dumps(d)}"
        out += line + "\n"
    return out + "}) => any;\n\n"


def developer(instructions=None, tools=None, formats=None):
    parts = []
    if instructions:
        parts += ["# Instructions", instructions]
    if tools:
        parts += ["# Tools", "## functions", "namespace functions {\n\n" + "".join(map(tool_text, tools)) + "} // namespace functions"]
    if formats:
        parts += ["# Response Formats"] + [f"## {n}\n\n" + (f"// {d}\n" if d else "") + json.dumps(s, separators=(",", ":")) for n, d, s in formats]
    return [START, "developer", MESSAGE, "\n\n".join(parts), END] if parts else []


user = lambda text: [START, "user", MESSAGE, text, END]
analysis = lambda text: [START, "assistant", CHANNEL, "analysis", MESSAGE, text, END]
final = lambda text: [START, "assistant", CHANNEL, "final", MESSAGE, text, END]
call = lambda name, args: [START, "assistant", f" to=functions.{name}", CHANNEL, "commentary", " ", CONSTRAIN, "json", MESSAGE, args, CALL]
result = lambda name, text: [START, f"functions.{name}", " to=assistant", CHANNEL, "commentary", MESSAGE, text, END]
PROMPT = [START, "assistant"]

# What the model itself writes after PROMPT.
say = lambda think, text: ([CHANNEL, "analysis", MESSAGE, *think, END, START, "assistant"] if think else []) + [CHANNEL, "final", MESSAGE, *text, RETURN]
ask = lambda think, name, args: (([CHANNEL, "analysis", MESSAGE, *think, END, START, "assistant"] if think else [])
                                 + [CHANNEL, f"commentary to=functions.{name} ", CONSTRAIN, "json", MESSAGE, args, CALL])


# ---- check against the vendor ----------------------------------------------------------------------------------------


def check(count=400):
    """Renders generated prompts with openai_harmony too and compares every token, in the full vocabulary."""
    import random

    import generate
    from openai_harmony import (Author, Conversation, DeveloperContent, HarmonyEncodingName, Message, ReasoningEffort, Role, SystemContent,
                                ToolDescription, load_harmony_encoding)
    enc = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)
    full = tiktoken.Encoding("o200k", pat_str=SPLIT, mergeable_ranks=load_tiktoken_bpe(os.environ["O200K"]), special_tokens={})
    special = {s: enc.encode(f"<|{s}|>", allowed_special="all")[0] for s in ("start", "end", "message", "channel", "constrain", "call", "return")}
    done = 0
    for k in range(10 * count):
        rng = random.Random(k)
        head, branches = generate.pack_pieces(rng, vendor=True)
        if head is None:
            continue
        effort, date, instructions, tools = head
        sc = SystemContent.new().with_reasoning_effort(ReasoningEffort(effort.capitalize()))
        if date:
            sc = sc.with_conversation_start_date(date)
        first = [Message.from_role_and_content(Role.SYSTEM, sc)]
        if instructions or tools:
            dc = DeveloperContent.new()
            dc = dc.with_instructions(instructions) if instructions else dc
            dc = dc.with_function_tools([ToolDescription.new(t["name"], t["description"], parameters=t.get("parameters")) for t in tools]) if tools else dc
            first.append(Message.from_role_and_content(Role.DEVELOPER, dc))
        for history in branches:
            msgs, mine = list(first), system(effort, date, bool(tools)) + developer(instructions, tools)
            for kind, *a in history:
                mine += {"user": user, "analysis": analysis, "final": final, "call": call, "result": result}[kind](*a)
                if kind == "user":
                    msgs.append(Message.from_role_and_content(Role.USER, a[0]))
                elif kind in ("analysis", "final"):
                    msgs.append(Message.from_role_and_content(Role.ASSISTANT, a[0]).with_channel(kind))
                elif kind == "call":
                    msgs.append(Message.from_role_and_content(Role.ASSISTANT, a[1]).with_channel("commentary").with_recipient("functions." + a[0])
                                .with_content_type("<|constrain|>json"))
                else:
                    msgs.append(Message.from_author_and_content(Author.new(Role.TOOL, "functions." + a[0]), a[1]).with_recipient("assistant")
                                .with_channel("commentary"))
            theirs = enc.render_conversation_for_completion(Conversation.from_messages(msgs), Role.ASSISTANT)
            ours = []
            for p in mine + PROMPT:
                ours += full.encode_ordinary(p) if isinstance(p, str) else [special[p[0]]]
            assert ours == theirs, (enc.decode(ours), enc.decode(theirs))
            done += 1
        if done >= count:
            break
    print(f"{done} prompts rendered equal to openai_harmony, token for token")


if __name__ == "__main__":
    check()
