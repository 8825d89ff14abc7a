#!/usr/bin/env python3
"""BFCL's own checker beside `gptoss eval score bfcl`.

    bfcl.py GPTOSS          its data, from the package: ground truth turned into calls, and calls mutated
    bfcl.py --invented      writes crates/eval/testdata/bfcl.json: invented calls with the checker's verdicts

Needs the package of requirements.txt, installed with --no-deps: its clients of models are not wanted.
"""

import collections
import copy
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import types

# The checker asks this module for one thing of a model: whether its names of functions have no dots.
config = types.ModuleType("bfcl_eval.constants.model_config")
config.MODEL_CONFIG_MAPPING = {"model": types.SimpleNamespace(underscore_to_dot=False)}
sys.modules[config.__name__] = config

import bfcl_eval  # noqa: E402
from bfcl_eval.constants.enums import Language  # noqa: E402
from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(bfcl_eval.__file__).parent / "data"
CATEGORIES = [
    "simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple",
    "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple",
]
# Rows that the checker refuses whatever is called: a required argument that the truth does not have, an allowed
# list that is empty, and literals whose declared type has no such value.
UNSATISFIABLE = {
    "simple_java_36", "simple_java_64", "simple_java_65", "live_simple_106-63-0", "live_simple_112-68-0",
    "live_multiple_862-181-3", "live_multiple_964-207-0",
}
MUTATIONS_PER_ROW = 2
# The least share of mutated calls that are to be wrong, and right: a mutation that is none proves nothing.
SHARE_MIN = 0.1


def language(category):
    if "javascript" in category:
        return Language.JAVASCRIPT
    return Language.JAVA if "java" in category else Language.PYTHON


def verdict(category, functions, wanted, calls):
    """The checker's; None where it breaks."""
    try:
        checked = ast_checker(
            copy.deepcopy(functions), copy.deepcopy(calls), copy.deepcopy(wanted), language(category), category, "model"
        )
        return checked["valid"]
    except Exception:
        return None


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


# Ground truth turned into calls.

def first(allowed):
    """The first allowed value that is not the sign of an optional argument."""
    return next((value for value in allowed if value != ""), "")


def plain(value):
    """An allowed value as a call has it: dictionaries hold lists of what is allowed."""
    if isinstance(value, dict):
        return {
            name: plain(first(allowed)) if isinstance(allowed, list) else plain(allowed)
            for name, allowed in value.items()
            if not (isinstance(allowed, list) and first(allowed) == "" and "" in allowed)
        }
    if isinstance(value, list):
        return [plain(item) if isinstance(item, dict) else item for item in value]
    return value


def java(value, declared):
    kind, inner = declared["type"], declared.get("items", {}).get("type")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        puts = "".join(f'put("{name}", {quoted(item)}); ' for name, item in value.items())
        return f"new HashMap<String, Object>() {{{{ {puts}}}}}"
    if isinstance(value, list):
        if kind == "ArrayList":
            items = [f'"{item}"' if inner in ("String", "char") else java(item, {"type": inner}) for item in value]
            return f"new ArrayList<Object>(Arrays.asList({', '.join(items)}))" if items else "new ArrayList<Object>()"
        return f"new Object[]{{{', '.join(java(item, {'type': inner}) for item in value)}}}"
    return f"{value}{ {'long': 'L', 'float': 'f'}.get(kind, '') if not isinstance(value, str) else ''}"


def quoted(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(quoted(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {quoted(item)}" for name, item in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) else str(value)


def javascript(value, declared):
    if isinstance(value, (list, dict)):
        return quoted(value)
    return java(value, {"type": "any"}) + ("n" if declared["type"] == "Bigint" and isinstance(value, int) else "")


def calls_of(category, functions, wanted):
    calls = []
    for answer in wanted:
        ((name, allowed),) = answer.items()
        declared = next((f for f in functions if f["name"] == name), functions[0])["parameters"]
        arguments = {}
        for argument, values in allowed.items():
            if "" in values and argument not in declared["required"]:
                continue
            value = plain(first(values))
            kind = declared["properties"].get(argument, {"type": "any"})
            literal = {Language.JAVA: java, Language.JAVASCRIPT: javascript}.get(language(category))
            arguments[argument] = literal(value, kind) if literal else value
        calls.append({name: arguments})
    return calls


# Mutations.

def mutate(rng, calls):
    calls = copy.deepcopy(calls)
    at = rng.randrange(len(calls))
    ((name, arguments),) = calls[at].items()
    ways = ["rename", "drop call", "double call", "shuffle", "add"] + ["value"] * 8 + ["drop"] * 2
    way = rng.choice(ways)
    if way == "rename":
        calls[at] = {name + "_": arguments}
    elif way == "drop call":
        del calls[at]
    elif way == "double call":
        calls.append(copy.deepcopy(calls[at]))
    elif way == "shuffle":
        rng.shuffle(calls)
    elif way == "add":
        arguments["invented"] = 1
    elif arguments:
        argument = rng.choice(list(arguments))
        if way == "drop":
            del arguments[argument]
        else:
            arguments[argument] = other(rng, arguments[argument])
    return calls


def other(rng, value):
    """Another value, or the same one written in another way."""
    if isinstance(value, bool):
        return rng.choice([not value, str(value), int(value)])
    if isinstance(value, (int, float)):
        return rng.choice([value + 1, -value, str(value), float(value), int(value), [value]])
    if isinstance(value, str):
        return rng.choice([
            value.upper(), value + " ", value.replace(" ", ""), value + ".", value.replace("'", '"'), value + "x",
            value[1:], [value], 1, None, value.replace("-", "/"), value.replace("_", "*"), {"a": value},
        ])
    if isinstance(value, list):
        changed = copy.deepcopy(value)
        way = rng.randrange(6)
        if way == 0 or not changed:
            return changed + ["x"]
        if way == 1:
            return changed[1:]
        if way == 2:
            return list(reversed(changed))
        if way == 3:
            return str(value)
        at = rng.randrange(len(changed))
        changed[at] = other(rng, changed[at])
        return changed
    if isinstance(value, dict) and value:
        changed = copy.deepcopy(value)
        name = rng.choice(list(changed))
        way = rng.randrange(4)
        if way == 0:
            del changed[name]
        elif way == 1:
            changed["invented"] = 1
        elif way == 2:
            changed = dict(reversed(list(changed.items())))
        else:
            changed[name] = other(rng, changed[name])
        return changed
    return "x"


# Ours.

def judged(gptoss, category, answers):
    """The outcomes that `eval score` counts answers in; several answers of one row are repeats."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        responses = folder / "responses.jsonl"
        responses.write_text("".join(json.dumps(row) + "\n" for row in answers))
        command = [gptoss, "eval", "score", "bfcl", "--responses", responses, "--json"]
        for path in [DATA / f"BFCL_v4_{category}.json", DATA / "possible_answer" / f"BFCL_v4_{category}.json"]:
            command += ["--data", path] if path.exists() else []
        ran = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if ran.returncode != 0:
            sys.exit(f"{command}: {ran.stderr}")
        outcomes = {(item["id"], item["repeat"]): item["outcome"] for item in json.loads(ran.stdout)["items"]}
        seen = collections.Counter()
        found = []
        for answer in answers:
            found.append(outcomes[answer["id"], seen[answer["id"]]])
            seen[answer["id"]] += 1
        return found


def compare(gptoss):
    rng = random.Random(17)
    num_wrong = num_mutated = num_right = num_broken = 0
    for category in CATEGORIES:
        answers = {row["id"]: row["ground_truth"] for row in rows(DATA / "possible_answer" / f"BFCL_v4_{category}.json")}
        data = [row for row in rows(DATA / f"BFCL_v4_{category}.json") if row["id"] in answers]
        whole = [{**row, "ground_truth": answers[row["id"]]} for row in data]
        cases = []
        for row in whole:
            truth = calls_of(category, row["function"], row["ground_truth"])
            cases.append((row, truth, row["id"] not in UNSATISFIABLE))
            for _ in range(MUTATIONS_PER_ROW):
                calls = mutate(rng, truth)
                expect = verdict(category, row["function"], row["ground_truth"], calls)
                if expect is None:
                    num_broken += 1
                    continue
                cases.append((row, calls, expect))
                num_mutated += 1
                num_right += expect
        refused = [row["id"] for row, calls, expect in cases if verdict(category, row["function"], row["ground_truth"], calls) != expect]
        if refused:
            sys.exit(f"{category}: the checker refuses its ground truth as turned into calls: {refused}")
        responses = [{"id": row["id"], "response": "", "calls": calls} for row, calls, _ in cases]
        outcomes = judged(gptoss, category, responses)
        assert len(outcomes) == len(cases), f"{category}: {len(outcomes)} of {len(cases)} answers are judged"
        wrong = [
            f"  {row['id']}: {outcome}, the checker says {expect}: {json.dumps(calls)}"
            for (row, calls, expect), outcome in zip(cases, outcomes)
            if (outcome == "correct") != expect
        ]
        num_wrong += len(wrong)
        print(f"{category}: {len(cases) - len(wrong)} of {len(cases)} verdicts, {len(data)} rows of ground truth")
        print("\n".join(wrong[:5]), end="\n" if wrong else "")
    print(f"{num_mutated} mutated calls, {num_right} of them right; {num_broken} more break the checker")
    share = num_right / num_mutated
    assert SHARE_MIN < share < 1 - SHARE_MIN, f"{share:.0%} of the mutated calls are right"
    for category, is_right in [("irrelevance", True), ("live_irrelevance", True), ("live_relevance", False)]:
        data = rows(DATA / f"BFCL_v4_{category}.json")
        responses = [{"id": row["id"], "response": "None fits.", "calls": []} for row in data]
        outcomes = judged(gptoss, category, responses)
        wrong = sum((outcome == "correct") != is_right for outcome in outcomes)
        num_wrong += wrong
        print(f"{category}: {len(outcomes) - wrong} of {len(outcomes)} answers without a call")
    sys.exit(f"{num_wrong} verdicts differ" if num_wrong else 0)


# Invented calls.

def function(name, required, /, **properties):
    return {"name": name, "parameters": {"type": "dict", "properties": properties, "required": required}}


def invented():
    text, whole = {"type": "string"}, {"type": "integer"}
    brew = function(
        "kitchen.brew", ["leaf"], leaf=text, minutes=whole, heat={"type": "float"}, iced={"type": "boolean"},
        guests={"type": "array", "items": text}, sizes={"type": "tuple", "items": {"type": "float"}},
        extras={"type": "dict"}, rounds={"type": "array", "items": {"type": "dict"}}, note={"type": "any"},
    )
    bake = function("bake", ["cake"], cake=text, eggs=whole)
    want = {"kitchen.brew": {
        "leaf": ["Earl Grey", "earl-grey tea"], "minutes": [4, ""], "heat": [90.5, 90, ""], "iced": [False, ""],
        "guests": [["Ann Lee", "Bo"], ""], "sizes": [[1, 2.5], ""], "extras": [{"milk": ["oat", ""], "sugar": [1]}, ""],
        "rounds": [[{"n": [1]}, {"n": [2, ""]}], ""], "note": ["", "it's"],
    }}
    args = [
        {"leaf": "Earl Grey"}, {"leaf": "earl_grey."}, {"leaf": "EARL GREY TEA"}, {"leaf": "Assam"}, {}, {"leaf": 1},
        {"leaf": ["Earl Grey"]}, {"leaf": "Earl Grey", "minutes": 4}, {"leaf": "Earl Grey", "minutes": 4.0},
        {"leaf": "Earl Grey", "minutes": "4"}, {"leaf": "Earl Grey", "minutes": 5},
        {"leaf": "Earl Grey", "heat": 90.5}, {"leaf": "Earl Grey", "heat": 90}, {"leaf": "Earl Grey", "heat": 91},
        {"leaf": "Earl Grey", "iced": False}, {"leaf": "Earl Grey", "iced": 0}, {"leaf": "Earl Grey", "iced": True},
        {"leaf": "Earl Grey", "guests": ["annlee", "BO"]}, {"leaf": "Earl Grey", "guests": ["Bo", "Ann Lee"]},
        {"leaf": "Earl Grey", "guests": []}, {"leaf": "Earl Grey", "guests": [1]},
        {"leaf": "Earl Grey", "guests": "Ann Lee"}, {"leaf": "Earl Grey", "sizes": [1, 2.5]},
        {"leaf": "Earl Grey", "sizes": [1.0, 2.5]}, {"leaf": "Earl Grey", "sizes": [2.5, 1.0]},
        {"leaf": "Earl Grey", "extras": {"sugar": 1}}, {"leaf": "Earl Grey", "extras": {"sugar": 1, "milk": "Oat"}},
        {"leaf": "Earl Grey", "extras": {"milk": "oat"}}, {"leaf": "Earl Grey", "extras": {"sugar": 2}},
        {"leaf": "Earl Grey", "extras": {"sugar": 1, "salt": 1}}, {"leaf": "Earl Grey", "extras": {}},
        {"leaf": "Earl Grey", "rounds": [{"n": 1}, {"n": 2}]}, {"leaf": "Earl Grey", "rounds": [{"n": 1}, {}]},
        {"leaf": "Earl Grey", "rounds": [{"n": 2}, {"n": 1}]}, {"leaf": "Earl Grey", "rounds": [{"n": 1}]},
        {"leaf": "Earl Grey", "rounds": []}, {"leaf": "Earl Grey", "note": 'IT"S'}, {"leaf": "Earl Grey", "cups": 2},
    ]
    simple = [[{"kitchen.brew": arguments}] for arguments in args]
    simple += [[{"brew": args[0]}], [{"kitchen.brew": args[0]}] * 2, []]
    yield "simple_python", [brew], [want], simple
    bakes = [{"bake": {"cake": ["plum"], "eggs": [2]}}, {"bake": {"cake": ["pear"], "eggs": [3, ""]}}]
    plum, pear = {"bake": {"cake": "plum", "eggs": 2}}, {"bake": {"cake": "pear"}}
    yield "parallel", [bake], bakes, [[plum, pear], [pear, plum], [plum, plum], [plum], [plum, pear, pear], []]
    yield "multiple", [brew, bake], [bakes[0]], [[plum], [pear], [{"bake": {"cake": "plum"}}], [{"kitchen.brew": args[0]}]]
    both = [bakes[1], want]
    yield "parallel_multiple", [brew, bake], both, [[{"kitchen.brew": args[0]}, pear], [pear, pear], [pear, plum]]
    # A name in the place of a value: the allowed ones are texts.
    variable = [{"bake": {"cake": ["plum"], "eggs": ["numEggs"]}}]
    counts = ["numEggs", "numeggs", "other", 2]
    yield "simple_python", [bake], variable, [[{"bake": {"cake": "plum", "eggs": eggs}}] for eggs in counts]
    java_function = function(
        "Oven.set", ["degrees"], degrees={"type": "long"}, fan={"type": "boolean"}, name={"type": "String"},
        trays={"type": "ArrayList", "items": {"type": "String"}}, times={"type": "Array", "items": {"type": "integer"}},
        options={"type": "HashMap"}, door={"type": "any"},
    )
    java_want = {"Oven.set": {
        "degrees": [180], "fan": [True, ""], "name": ["big oven", ""], "trays": [["a", "b"], ""], "times": [[1, 2], ""],
        "options": [{"grill": [True], "level": [2]}, ""], "door": ["leftDoor", ""],
    }}
    literals = [
        {"degrees": "180L"}, {"degrees": "180"}, {"degrees": 180}, {"degrees": "180L", "fan": "true"},
        {"degrees": "180L", "fan": "True"}, {"degrees": "180L", "name": "Big-Oven"},
        {"degrees": "180L", "trays": 'new ArrayList<String>(Arrays.asList("a", "b"))'},
        {"degrees": "180L", "trays": 'new ArrayList<String>() {{ add("a"); add("b"); }}'},
        {"degrees": "180L", "trays": "new ArrayList<>()"}, {"degrees": "180L", "trays": "trays"},
        {"degrees": "180L", "times": "new int[]{1, 2}"}, {"degrees": "180L", "times": "new int[]{2, 1}"},
        {"degrees": "180L", "times": "new int[]{1, x}"},
        {"degrees": "180L", "options": 'new HashMap<String, Object>() {{ put("grill", true); put("level", 2); }}'},
        {"degrees": "180L", "options": 'new HashMap<String, Object>() {{ put("grill", true); }}'},
        {"degrees": "180L", "options": "new HashMap<>()"}, {"degrees": "180L", "door": "leftDoor"},
        {"degrees": "180L", "door": "rightDoor"},
    ]
    yield "simple_java", [java_function], [java_want], [[{"Oven.set": literal}] for literal in literals]
    script = function(
        "light", ["on"], on={"type": "Boolean"}, id={"type": "Bigint"}, name={"type": "String"},
        colors={"type": "array", "items": {"type": "String"}}, at={"type": "array", "items": {"type": "float"}},
        grid={"type": "array", "items": {"type": "array"}}, then={"type": "dict"},
    )
    script_want = {"light": {
        "on": [True], "id": [12, ""], "name": ["desk", ""], "colors": [["red", "blue"], ""], "at": [[0.5, 2.0], ""],
        "grid": [[[1, 2], [3]], ""], "then": [{"wait": [3], "say": ["done", ""]}, ""],
    }}
    literals = [
        {"on": "true"}, {"on": "false"}, {"on": True}, {"on": "true", "id": "12n"}, {"on": "true", "id": "12"},
        {"on": "true", "name": "'desk'"}, {"on": "true", "name": "desk"}, {"on": "true", "colors": "['red', \"blue\"]"},
        {"on": "true", "colors": "new Array('red', 'blue')"}, {"on": "true", "colors": "['red']"},
        {"on": "true", "at": "[0.5, 2.0]"}, {"on": "true", "at": "[0.5, 2]"}, {"on": "true", "at": "[0.5, x]"},
        {"on": "true", "grid": "[[1, 2], [3]]"}, {"on": "true", "then": "{wait: 3}"},
        {"on": "true", "then": "{'wait': 3, 'say': 'done'}"}, {"on": "true", "then": "{say: 'done'}"},
        {"on": "true", "then": "{}"}, {"on": "true", "then": "later"},
    ]
    yield "simple_javascript", [script], [script_want], [[{"light": literal}] for literal in literals]


def write_invented():
    cases = []
    for category, functions, wanted, answers in invented():
        verdicts = [(json.dumps(calls), verdict(category, functions, wanted, calls)) for calls in answers]
        broken = [answer for answer, valid in verdicts if valid is None]
        assert not broken, f"{category}: the checker breaks on {broken}"
        cases.append({"category": category, "functions": functions, "wanted": wanted, "answers": verdicts})
    path = ROOT / "crates/eval/testdata/bfcl.json"
    path.write_text("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n")
    print(f"{path}: {sum(len(case['answers']) for case in cases)} answers")


if sys.argv[1:] == ["--invented"]:
    write_invented()
elif len(sys.argv) == 2:
    compare(sys.argv[1])
else:
    sys.exit(__doc__)
