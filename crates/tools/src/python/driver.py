# The Python side of a conversation: runs what it is sent, in one namespace. Requests and replies go over the socket that is its
# standard input: a length of four bytes and JSON, and after the JSON the bytes of its files. What code prints goes to the
# pipes of standard output and standard error, each of which gets the request's marker when the code has ended.
import ast, io, json, linecache, os, struct, sys, traceback, types

FOLDER, FILES_MAX, SCAN_MAX, FILES_BYTES_MAX = "/mnt/data", 32, 2000, 16 << 20
process = os.getpid()
if sys.platform == "wasi":
    # A guest has three streams, each of which goes one way: the reply follows the marker in standard output.
    channel, replies, pipes = 0, 1, [2, 1]
    sys.stdin = io.StringIO()
else:
    channel, null = os.dup(0), os.open(os.devnull, os.O_RDWR)
    replies, pipes = channel, [os.dup(1), os.dup(2)]
    os.dup2(null, 0)
    os.close(null)
sys.stdout.reconfigure(errors="backslashreplace")
sys.path.insert(0, FOLDER)
sys.argv = [""]
main = sys.modules["__main__"] = types.ModuleType("__main__")
main.__builtins__ = __builtins__
seen, loop, number, figures = {}, None, 0, 0


def read(size):
    data = bytearray()
    while len(data) < size:
        part = os.read(channel, min(size - len(data), 1 << 20))
        if not part:
            os._exit(0)
        data += part
    return bytes(data)


def write(to, data):
    view = memoryview(data)
    while view:
        view = view[os.write(to, view) :]


def evaluate(tree, name):
    # An await outside of a function is run to its end, as in a notebook.
    global loop
    code = compile(tree, name, "eval" if isinstance(tree, ast.Expression) else "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = eval(code, main.__dict__)
    if code.co_flags & 0x80:
        import asyncio

        loop = loop or asyncio.new_event_loop()
        value = loop.run_until_complete(value)
    return value


def run(code):
    global number
    number += 1
    name = "<call %d>" % number
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    try:
        tree = ast.parse(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        if tree.body:
            evaluate(tree, name)
        if last is not None:
            value = evaluate(ast.Expression(last.value), name)
            if value is not None and not code.rstrip().endswith(";"):
                main._ = value
                print(repr(value))
        show_figures()
        return True
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals is globals():
            trace = trace.tb_next
        sys.stderr.write("".join(traceback.format_exception(type(error), error, trace)))
        return False


def show_figures():
    # Figures that are open at the end of a call are shown by a notebook: here they become files.
    global figures
    plots = sys.modules.get("matplotlib.pyplot")
    for each in plots.get_fignums() if plots else []:
        figure, figures = plots.figure(each), figures + 1
        print(figure)
        figure.savefig("%s/figure-%d.png" % (FOLDER, figures))
        plots.close(figure)


def note(path):
    state = os.lstat(path)
    return state.st_mtime_ns, state.st_size, state.st_ino


def take(files, removed):
    # Files that are to lie here before the code runs: they are not the code's, unless it changes them.
    for name in removed:
        try:
            os.remove(os.path.join(FOLDER, name))
        except OSError:
            pass
    for name, size in files:
        path = os.path.join(FOLDER, name)
        try:
            if os.path.lexists(path):
                os.remove(path)
            file, problem = open(path, "xb"), None
        except OSError as error:
            file, problem = None, error
        while size:
            part = read(min(size, 1 << 20))
            size -= len(part)
            try:
                if file:
                    file.write(part)
            except OSError as error:
                file, problem = None, error
        try:
            if file:
                file.close()
                seen[name] = note(path)
        except OSError as error:
            problem = error
        if problem:
            sys.stderr.write("[WARN] %s could not be put into %s: %s\n" % (name, FOLDER, problem))


def changed():
    names, found = [], {}
    for folder, folders, files in os.walk(FOLDER):
        folders.sort()
        for file in sorted(files):
            path = os.path.join(folder, file)
            state = os.lstat(path)
            if state.st_mode & 0o170000 == 0o100000 and len(found) < SCAN_MAX:
                name = os.path.relpath(path, FOLDER)
                found[name] = note(path)
                if seen.get(name) != found[name]:
                    names.append(name)
    seen.clear()
    seen.update(found)
    return names


def collect():
    kept, left_out, data, room = [], [], [], FILES_BYTES_MAX
    for name in changed():
        size = seen[name][1]
        if size > room or len(kept) == FILES_MAX:
            left_out.append([name, size])
            continue
        with open(os.path.join(FOLDER, name), "rb") as file:
            data.append(file.read(size))
        room -= len(data[-1])
        kept.append([name, len(data[-1])])
    return kept, left_out[:FILES_MAX], data


def serve():
    while True:
        request = json.loads(read(*struct.unpack("<I", read(4))))
        take(request["files"], request["removed"])
        is_error = not run(request["code"])
        if os.getpid() != process:
            os._exit(0)  # A child that code made and did not end.
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        try:
            kept, left_out, data = collect()
        except Exception:
            kept, left_out, data = [], [], []
        for pipe in pipes:
            write(pipe, request["marker"].encode())
        reply = json.dumps({"is_error": is_error, "files": kept, "left_out": left_out}).encode()
        write(replies, struct.pack("<I", len(reply)) + reply + b"".join(data))


serve()
