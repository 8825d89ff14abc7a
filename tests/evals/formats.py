"""Opens the files of `gptoss eval` with the readers of inspect and of lm-eval: formats.py GPTOSS FOLDER"""

import json
import pathlib
import shutil
import subprocess
import sys

import inspect_ai.log
import jsonschema
import lm_eval.utils

RUN_SECONDS_MAX = 300
SPEC = """\
name = "sums"
kind = "exact"
prompt = "What is {a} + {b}?"
answer = "sum"
group = "size"
"""
SUMS = [(27, 58), (3, 4), (12, 9), (44, 31), (871, 5), (8, 8)]


def run(gptoss, folder):
    """Asks the demo; the report."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "sums.toml").write_text(SPEC)
    rows = [{"a": a, "b": b, "sum": str(a + b), "size": "small" if a + b < 50 else "large"} for a, b in SUMS]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["sums.toml", "--data", "sums.jsonl", "--out", "out", "--repeats", "2", "--effort", "low,high", "--json"]
    done = subprocess.run(
        [gptoss, "eval", *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=RUN_SECONDS_MAX
    )
    return json.loads(done.stdout)


def check_inspect(out, report):
    """Each log is read by inspect's own classes and fits its schema."""
    schema = json.loads(subprocess.check_output([sys.executable, "-m", "inspect_ai", "log", "schema"], timeout=RUN_SECONDS_MAX))
    efforts = {leg["effort"]: leg for leg in report["efforts"]}
    logs = [inspect_ai.log.read_eval_log(str(path)) for path in sorted(out.glob("*.eval"))]
    assert len(logs) == len(efforts), logs
    for log in logs:
        leg = efforts[log.eval.model_generate_config.reasoning_effort]
        metrics = log.results.scores[0].metrics
        assert log.status == "success" and metrics["accuracy"].value == leg["score"], (log.status, metrics, leg["score"])
        assert len(log.samples) == leg["n"] == 2 * len(SUMS)
        correct = sum(sample.scores["sums"].value == "C" for sample in log.samples)
        assert correct == leg["correct"], (correct, leg["correct"])
        sample = log.samples[0]
        assert sample.epoch == 1 and "27 + 58" in sample.input[0].text and sample.target == "85"
        assert sample.output.completion == sample.messages[-1].text and sample.output.usage.output_tokens > 0
        written = log.stats.model_usage[log.eval.model].output_tokens
        assert written == leg["tokens"]["completion"], written
    for path in sorted(out.glob("*.eval")):
        dumped = subprocess.check_output([sys.executable, "-m", "inspect_ai", "log", "dump", path], timeout=RUN_SECONDS_MAX)
        jsonschema.validate(json.loads(dumped), schema)
        summaries = inspect_ai.log.read_eval_log_sample_summaries(str(path))
        assert len(summaries) == 2 * len(SUMS) and summaries[0].completed
        one = inspect_ai.log.read_eval_log_sample(str(path), id="1", epoch=2)
        assert one.target == "7", one.target
        assert inspect_ai.log.read_eval_log(str(path), header_only=True).eval.dataset.name == "sums.toml, sums.jsonl"
    return f"{len(logs)} logs"


def check_lm_eval(out, report):
    """Files are found by lm-eval's names, and its table shows the report's scores."""
    for leg in report["efforts"]:
        files = [str(path) for path in (out / "lm-eval" / leg["effort"]).iterdir()]
        results = lm_eval.utils.get_latest_filename(lm_eval.utils.get_results_filenames(files))
        loaded = json.loads(pathlib.Path(results).read_text())
        table = lm_eval.utils.make_table(loaded)
        # A whole number is written without digits behind the point.
        assert f"{leg['score']:.4f}".rstrip("0").rstrip(".") in table and "sums" in table, table
        samples = lm_eval.utils.get_sample_results_filenames(files)
        name = pathlib.Path(samples[0]).name
        assert lm_eval.utils.get_file_task_name(name) == "sums", name
        lines = [json.loads(line) for line in pathlib.Path(samples[0]).read_text().splitlines()]
        assert sum(line["acc"] for line in lines) == leg["correct"], lines
        assert loaded["n-samples"]["sums"]["effective"] == len(lines)
    return f"{len(report['efforts'])} results"


def main(gptoss, folder):
    out = folder / "out"
    report = run(gptoss, folder)
    for check in (check_inspect, check_lm_eval):
        print(f"ok  {check.__name__.removeprefix('check_')}  {check(out, report)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
