"""schemathesis over /openapi.json: whatever is sent, no server error, and every error in the documented form."""

import os
import pathlib
import re
import subprocess
import sys

import servers


def check_no_server_errors():
    examples = os.environ.get("FUZZ_EXAMPLES", "40")
    with servers.scripted([servers.answer("Yes.")]) as base:
        command = [
            str(pathlib.Path(sys.executable).parent / "schemathesis"), "run", base + "/openapi.json",
            "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
            "--max-examples", examples, "--phases", "examples,coverage,fuzzing", "--seed", "1", "--no-color",
            "--request-timeout", "30",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            print(done.stdout[-6000:], done.stderr[-2000:])
            raise AssertionError("schemathesis found something")
        counts = re.findall(r"(\d+) generated", done.stdout)
        return f"{counts[-1] if counts else '?'} requests"
