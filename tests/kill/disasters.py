#!/usr/bin/env python3
"""What happens to a server's machine: each is told clearly, and takes nothing with it that was stored.

    python3 tests/kill/disasters.py PROGRAM [WORD...]

PROGRAM is a built `gptoss`. With words, only the disasters whose names hold one. A disaster that this machine cannot
play (a file system of its own wants root or namespaces, another clock a C compiler) is skipped with the reason. Needs
Linux and Python 3.10. Prints a line for each; ends with 1 if one did harm, with 77 if all were skipped.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import run as kills
from run import Failure, call, content, upload

# Bytes of the disk that runs full.
DISK = "12m"
# Copies of a database that are damaged in one place each.
DAMAGES = 24
DAY = 24 * 3600
# Lines of the batch whose input is damaged: more than one part of a file.
DAMAGED_LINES = 20_000
# The exit status of a run that could check nothing, as .ci/run has it.
SKIPPED = 77


class Skipped(Exception):
    """This machine cannot play it."""


class Server(kills.Server):
    """One that is killed at the end of its disaster, however that ends."""

    started = []

    def __init__(self, *arguments, **more):
        self.started.append(self)
        super().__init__(*arguments, **more)

    @classmethod
    def kill_all(cls):
        for server in cls.started:
            # One that could not even be run has none.
            if hasattr(server, "process"):
                server.kill()
        cls.started.clear()


def check(is_so, words):
    if not is_so:
        raise AssertionError(words)


def stop(server):
    server.process.send_signal(signal.SIGTERM)
    status = server.process.wait(kills.PATIENCE)
    check(status == 0, f"the server ended with {status}: {server.said()}")
    server.process.stdout.close()


def refused(words, *arguments, **more):
    """Starts a server that must refuse, with all these words."""
    try:
        Server(*arguments, **more).kill()
    except Failure as failure:
        missing = [word for word in words if str(word) not in str(failure)]
        check(not missing, f"{missing} is not said in: {failure}")
        return str(failure)
    raise AssertionError("the server started")


def items(port, conversation):
    return call(port, "GET", f"/v1/conversations/{conversation}/items")


class Kept:
    """What was stored, as it was told; it has to stay so."""

    def __init__(self):
        self.responses, self.files, self.items = {}, {}, {}

    def add(self, port, number, text=None):
        status, told = call(port, "POST", "/v1/responses", kills.question(number))
        check(status == 200 and told["store"], f"a response was not stored: {told}")
        self.responses[told["id"]] = told
        text = text or f"File {number}.\n" * 2000
        status, file = upload(port, text)
        check(status == 200, f"a file was refused: {file}")
        self.files[file["id"]] = text
        status, conversation = call(port, "POST", "/v1/conversations", {"items": [{"role": "user", "content": f"Item {number}."}]})
        check(status == 200, f"a conversation was refused: {conversation}")
        self.items[conversation["id"]] = items(port, conversation["id"])[1]
        return file["id"], told["id"]

    def differences(self, port):
        """What is not as it was told, and what the server says instead."""
        for id, told in self.responses.items():
            status, found = call(port, "GET", f"/v1/responses/{id}")
            if (status, found) != (200, told):
                yield id, status, found
        for id, text in self.files.items():
            status, found = content(port, id)
            if (status, found) != (200, text):
                yield id, status, found
        for id, told in self.items.items():
            status, found = items(port, id)
            if (status, found) != (200, told):
                yield id, status, found

    def check(self, port, when):
        found = next(self.differences(port), None)
        check(found is None, f"{when}: {found}")


def batch_of(port, lines):
    """A batch of so many lines that has begun."""
    kills.BATCH_LINES = lines
    told = list(kills.batch(port, 0))
    check(told, "a batch was refused")
    return told[0].id


def own_disk(folder):
    """What stands before a command that gets a file system of its own in `folder`, gone with the command."""
    spaces = [["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]]
    script = f'mount -t tmpfs -o size="$0" tmpfs "{folder}" && exec "$@"'
    for space in spaces:
        before = [*space, "sh", "-c", script]
        if shutil.which("unshare") and subprocess.run([*before, DISK, "true"], capture_output=True).returncode == 0:
            return before
    raise Skipped("no file system can be mounted: neither root nor user namespaces")


def check_full_disk(program, folder):
    folder.mkdir()
    before = own_disk(folder)
    refused([folder, "make room on its disk", "choose another --state-dir"], program, folder, before=[*before, "8k"])
    server = Server(program, folder, flags=(), before=[*before, DISK])
    inside = pathlib.Path(f"/proc/{server.process.pid}/root{folder}")
    try:
        kept, port = Kept(), server.port
        kept.add(port, 1)
        batch = batch_of(port, 400)
        filler = inside / "filler"
        fill(filler)
        # Some fit into what the database has already.
        text = "x" * 20_000
        for _ in range(1000):
            status, told = upload(port, text)
            if status != 200:
                break
            kept.files[told["id"]] = text
            fill(filler)
        check(status == 507 and told["error"]["code"] == "disk_full", f"an upload: {status} {told}")
        check("make room" in told["error"]["message"], told)
        # Who still writes when it is refused sees why, and not a broken pipe.
        status, told = upload(port, "x" * (32 << 20))
        check(status == 507 and told["error"]["code"] == "disk_full", f"a large upload: {status} {told}")
        refusals = 0
        for number in range(200):
            fill(filler)
            status, told = call(port, "POST", "/v1/responses", kills.question(number))
            check(status == 200, f"an answer was lost: {status} {told}")
            if told["store"]:
                kept.responses[told["id"]] = told
            else:
                check("disk" in " ".join(told["warnings"]), told["warnings"])
                refusals += 1
                if refusals == 3:
                    break
        check(refusals, "the disk did not run full")
        for _ in range(200):
            fill(filler)
            status, told = call(port, "POST", "/v1/responses", {**kills.question(1), "background": True})
            if status != 200:
                break
        check((status, told["error"]["code"]) == (507, "disk_full"), f"in the background: {status} {told}")
        kept.check(port, "while the disk is full")
        filler.unlink()
        kept.add(port, 2)
        problem = kills.batch_problem(port, batch)
        check(problem is None, f"the batch: {problem}")
        kept.check(port, "when there is room again")
        check(str(folder) in server.said() and "disk of the server's state folder is full" in server.said(), "the log does not name it")
    finally:
        server.kill()
    return f"{len(kept.responses)} responses stayed, {refusals} said that they were not stored, the batch went on"


def fill(path):
    """Leaves no room on the disk of a file."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


def check_unwritable_folder(program, folder):
    # Whoever is root may write everywhere, unless that right is taken away.
    before = ()
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            raise Skipped("root may write everywhere, and there is no setpriv")
        before = ("setpriv", "--bounding-set=-dac_override")
    folder.mkdir(mode=0o500)
    words = ["denied", "give this user the right to read and write there", "choose another --state-dir", folder]
    refused(words, program, folder, before=before)
    refused(words, program, folder / "below", before=before)
    folder.chmod(0o700)
    server = Server(program, folder)
    kept = Kept()
    kept.add(server.port, 1)
    stop(server)
    database = folder / "gptoss.sqlite3"
    database.chmod(0o400)
    refused(["give this user the right to read and write there", database], program, folder, before=before)
    database.chmod(0o600)
    server = Server(program, folder)
    kept.check(server.port, "when the right is given back")
    server.kill()
    return "refused by name, and whole when the right is given back"


def check_damaged_database(program, folder):
    server = Server(program, folder)
    kept = Kept()
    for number in range(12):
        kept.add(server.port, number)
    stop(server)
    database = folder / "gptoss.sqlite3"
    whole = database.read_bytes()
    words = [database, "damaged", "restore it from a copy", "choose another --state-dir"]
    page = len(whole) // 2 // 4096 * 4096
    for bytes in (whole[:page], whole[:page + 1000], b"\x5a" * 100 + whole[100:], whole[:4096] + b"\x5a" * 4096 + whole[8192:]):
        database.write_bytes(bytes)
        refused(words, program, folder)
    database.write_bytes(b"")
    refused([database, "empty", "restore it from a copy"], program, folder)
    # One byte, or one page, anywhere: refused at the start, or what it hit is refused, and never another answer.
    places, counts = random.Random(1), {"refused": 0, "told": 0, "whole": 0}
    for number in range(DAMAGES):
        at = places.randrange(len(whole))
        damage = bytes_of_page(whole, at) if number % 2 else whole[:at] + b"\xa5" + whole[at + 1:]
        database.write_bytes(damage)
        for companion in folder.glob("gptoss.sqlite3-*"):
            companion.unlink()
        try:
            server = Server(program, folder)
        except Failure as failure:
            check("damaged" in str(failure), failure)
            counts["refused"] += 1
            continue
        different = list(kept.differences(server.port))
        server.kill()
        counts["told" if different else "whole"] += 1
        silent = [found for found in different if found[1] == 200]
        check(not silent, f"damage {number} at byte {at}: {silent[:1]}")
    database.write_bytes(whole)
    server = Server(program, folder)
    kept.check(server.port, "with the copy")
    server.kill()
    return f"five ways refused; of {DAMAGES} places {counts['refused']} refused, {counts['told']} told, {counts['whole']} did no harm"


def bytes_of_page(whole, at):
    at = at // 4096 * 4096
    return whole[:at] + random.Random(at).randbytes(4096) + whole[at + 4096:]


def check_damaged_upload(program, folder):
    server = Server(program, folder)
    kept = Kept()
    asked = [{"custom_id": f"line-{number}", "method": "POST", "url": "/v1/responses", "body": {**kills.question(number), "store": False}}
             for number in range(DAMAGED_LINES)]
    text = "".join(json.dumps(line) + "\n" for line in asked)
    file, _ = kept.add(server.port, 1, text)
    other, _ = kept.add(server.port, 2)
    # An upload that breaks off is not there.
    before = call(server.port, "GET", "/v1/files")[1]["data"]
    link = kills.connection(server.port)
    link.putrequest("POST", "/v1/files")
    link.putheader("content-type", "multipart/form-data; boundary=xx")
    link.putheader("content-length", str(10 << 20))
    link.endheaders(b'--xx\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\n' + b"x" * (3 << 20))
    link.close()
    time.sleep(1)
    check(call(server.port, "GET", "/v1/files")[1]["data"] == before, "half an upload is listed")
    stop(server)
    database = folder / "gptoss.sqlite3"
    bytes = database.read_bytes()
    # A line that lies on one page, and is as good a request afterwards: nothing but its checksum can tell.
    names = (f'"line-{number}"'.encode() for number in range(DAMAGED_LINES // 2, DAMAGED_LINES))
    name = next((name for name in names if bytes.count(name) == 1), None)
    check(name, "no line stands in the database")
    database.write_bytes(bytes.replace(name, name.replace(b"line", b"lime")))
    server = Server(program, folder, flags=())
    status, told = content(server.port, file)
    check(status == 500 and "stored_data_damaged" in told and file in told, f"{status} {told[:200]}")
    check(content(server.port, other)[0] == 200, "another file is whole")
    asked = {"input_file_id": file, "endpoint": "/v1/responses", "completion_window": "24h"}
    status, batch = call(server.port, "POST", "/v1/batches", asked)
    check(status == 200, batch)
    deadline = time.monotonic() + kills.PATIENCE
    while (found := call(server.port, "GET", f"/v1/batches/{batch['id']}")[1])["status"] not in kills.BATCH_ENDS:
        check(time.monotonic() < deadline and found["status"] != "completed", f"the batch did not fail: {found}")
        time.sleep(kills.LOOK_PAUSE)
    check(found["errors"]["data"][0]["code"] == "stored_data_damaged", found)
    check(str(folder) in server.said() and file in server.said(), "the log does not name it")
    server.kill()
    return "told by its id, to the client and in the log; half an upload is none"


def check_damaged_batch(program, folder):
    server = Server(program, folder, flags=())
    batches = []
    for number, lines in enumerate((3, 3, 2000)):
        text = "".join(json.dumps({"custom_id": f"q{index}", "method": "POST", "url": "/v1/responses",
                                   "body": {**kills.question(index), "store": False}}) + "\n" for index in range(lines))
        status, file = upload(server.port, text)
        check(status == 200, file)
        asked = {"input_file_id": file["id"], "endpoint": "/v1/responses", "completion_window": "24h", "metadata": {"mark": f"mark-{number}-whole"}}
        status, told = call(server.port, "POST", "/v1/batches", asked)
        check(status == 200, told)
        batches.append(told["id"])
    ended, other, running = batches
    found = lambda id: call(server.port, "GET", f"/v1/batches/{id}")
    deadline = time.monotonic() + kills.PATIENCE
    while not all(found(id)[1]["status"] == "completed" for id in (ended, other)):
        check(time.monotonic() < deadline, "the batches do not end")
        time.sleep(kills.LOOK_PAUSE)
    stop(server)
    database = folder / "gptoss.sqlite3"
    bytes = database.read_bytes()
    # As good an object afterwards: nothing but its checksum can tell.
    for mark in (b"mark-0-whole", b"mark-2-whole"):
        check(mark in bytes, "the batch does not stand in the database")
        bytes = bytes.replace(mark, mark.replace(b"whole", b"while"))
    database.write_bytes(bytes)
    server = Server(program, folder, flags=())
    for id in (ended, running):
        status, told = found(id)
        check(status == 500 and told["error"]["code"] == "stored_data_damaged" and id in told["error"]["message"], f"{status} {told}")
    check(found(other)[1].get("status") == "completed", "another batch is whole")
    status, told = call(server.port, "GET", "/v1/batches")
    check(status == 500 and told["error"]["code"] == "stored_data_damaged", f"the list: {status} {told}")
    check(f"{running} does not go on: The batch '{running}' is damaged" in server.said(), "the log does not name the batch that does not go on")
    server.kill()
    return "told by its id, and the one that ran does not go on; another is whole"


def check_two_servers(program, folder):
    server = Server(program, folder)
    kept = Kept()
    kept.add(server.port, 1)
    refused(["another server uses this folder", f"process {server.process.pid} since", folder, "stop it"], program, folder)
    kept.add(server.port, 2)
    server.kill()
    # Who was killed holds nothing.
    server = Server(program, folder)
    kept.check(server.port, "after the other was refused")
    server.kill()
    return "the second is told who has the folder"


def check_clock(program, folder):
    library, ahead = folder.with_name("clock.so"), folder.with_name("ahead")
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    source = pathlib.Path(__file__).with_name("clock.c")
    if not compiler or subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], capture_output=True).returncode:
        raise Skipped("there is no C compiler for the clock")
    environment = {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(ahead)}

    def jump(seconds):
        # Renamed into place: half a number is another one.
        new = ahead.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(ahead)

    jump(0)
    kept = Kept()
    server = Server(program, folder, environment=environment)
    kept.add(server.port, 1)
    batch = batch_of(server.port, 300)
    times = []
    for number, seconds in enumerate((DAY + 60, -DAY, 0, 2 * DAY, 0)):
        jump(seconds)
        _, response = kept.add(server.port, 10 + number)
        times.append(kept.responses[response]["created_at"])
        kept.check(server.port, f"with the clock {seconds} s ahead")
        if seconds == 0:
            server.kill()
            server = Server(program, folder, environment=environment)
            kept.check(server.port, "after the next start")
    jump(DAY + 60)
    kept.check(server.port, "a day later")
    problem = kills.batch_problem(server.port, batch)
    check(problem is None, f"the batch: {problem}")
    check(times[0] - times[1] > 2 * DAY, f"the clock did not jump: {times}")
    stop(server)
    jump(-DAY)
    server = Server(program, folder, environment=environment)
    kept.check(server.port, "started a day behind")
    server.kill()
    return f"{len(kept.responses)} responses and files stayed through five jumps, and the batch of a day ended whole"


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    harmed, skipped, played = 0, 0, 0
    for name, disaster in list(globals().items()):
        if not name.startswith("check_") or (sys.argv[2:] and not any(word in name for word in sys.argv[2:])):
            continue
        begun = time.monotonic()
        note = f"HARM    {name[6:]}: it was broken off"
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
            try:
                note = disaster(program, pathlib.Path(temporary) / "state")
                note = f"ok      {name[6:]}  {time.monotonic() - begun:.0f} s  {note}"
                played += 1
            except Skipped as reason:
                skipped += 1
                note = f"skipped {name[6:]}: {reason}"
            except Exception as error:
                # What no check foresaw, as an answer without the member that is asked for, is harm too.
                harmed += 1
                note = f"HARM    {name[6:]}: {error if isinstance(error, (AssertionError, Failure)) else repr(error)}"
            finally:
                Server.kill_all()
                print(note, flush=True)
    return 1 if harmed else SKIPPED if skipped and not played else 0


if __name__ == "__main__":
    sys.exit(main())
