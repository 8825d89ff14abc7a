//! A Python in WebAssembly in its cell: `GPTOSS_TEST_PYTHON_WASM=python.wasm cargo test --features wasm`, or
//! `tests/wasm/run`, which also brings one.
//!
//! The target has a main of its own, because it is the launcher of its cells and what runs in them too.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use gptoss_tools::cell::{Cell, Launcher, launch};
use gptoss_tools::{Container, InputFile, Inputs, Python, WasmPython, run_wasm_python};
use libtest_mimic::{Arguments, Trial};

#[expect(clippy::disallowed_methods, reason = "a program of its own reads its arguments and environment")]
fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(code) = launch(args.clone()).or_else(|| run_wasm_python(args)) {
        return code;
    }
    let Some(module) = std::env::var_os("GPTOSS_TEST_PYTHON_WASM").map(PathBuf::from) else {
        println!("wasm: GPTOSS_TEST_PYTHON_WASM names no python.wasm, so nothing is tested");
        return ExitCode::SUCCESS;
    };
    let folder = std::env::temp_dir().join("gptoss-test-wasm");
    let python = match WasmPython::open(&module, &folder) {
        Ok(python) => python,
        Err(error) => {
            println!("wasm: {error}");
            return ExitCode::FAILURE;
        }
    };
    libtest_mimic::run(&Arguments::from_args(), trials(&python, &module, &folder)).exit_code()
}

fn trials(python: &WasmPython, module: &Path, folder: &Path) -> Vec<Trial> {
    let (module, folder) = (module.to_owned(), folder.to_owned());
    let trial = |name: &str, test: fn(WasmPython)| {
        let python = python.clone();
        Trial::test(name, move || {
            test(python);
            Ok(())
        })
    };
    vec![
        trial("what_a_notebook_does", what_a_notebook_does),
        trial("errors_are_told_as_the_machines_python_tells_them", errors),
        trial("files_come_and_go", files_come_and_go),
        trial("nothing_of_the_machine_is_seen", nothing_of_the_machine_is_seen),
        trial("a_call_has_its_time", a_call_has_its_time),
        trial("memory_has_its_bound", memory_has_its_bound),
        Trial::test("it_is_compiled_once_and_nothing_else_is_taken_for_it", move || {
            let begun = std::time::Instant::now();
            WasmPython::open(&module, &folder)?;
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
            let none = folder.join("none.wasm");
            std::fs::write(&none, b"\0asm\x01\0\0\0\xff")?;
            for path in [&none, Path::new("/no/such.wasm"), Path::new("/bin/sh")] {
                let error = WasmPython::open(path, &folder).unwrap_err().to_string();
                assert!(error.contains(&*path.to_string_lossy()), "{error}");
            }
            Ok(())
        }),
    ]
}

fn cell() -> Cell {
    Cell::stand(Launcher::own()).unwrap_or_else(|error| panic!("{error}"))
}

/// What calls of one conversation give, one after another.
fn asked(python: &Python, calls: &[&str]) -> Vec<String> {
    run(async {
        let mut answers = Vec::new();
        for code in calls {
            answers.push(python.call(&Container::default(), code).await.text);
        }
        answers
    })
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

fn what_a_notebook_does(python: WasmPython) {
    let python = Python::new(cell(), python);
    let calls = [
        "x = 17 * 3\nprint('one')\nx",
        "x + 1",
        "'quiet';",
        "import json, math, re, statistics, datetime, random, itertools\nstatistics.mean([1, 2, 6])",
        "input()",
        "import sys\nsys.platform",
    ];
    let answers = asked(&python, &calls);
    assert_eq!(answers[..2], ["one\n51\n", "52\n"]);
    assert!(answers[2].contains("No output available"), "{}", answers[2]);
    assert_eq!(answers[3], "3\n");
    assert!(answers[4].contains("EOFError"), "{}", answers[4]);
    assert_eq!(answers[5], "'wasi'\n");
    // Another conversation has another process.
    let other = Container { name: "other".into(), ..Container::default() };
    let answer = run(python.call(&other, "x"));
    assert!(answer.is_error && answer.text.contains("NameError"), "{}", answer.text);
}

fn errors(python: WasmPython) {
    let python = Python::new(cell(), python);
    let code = "def f():\n    return 1 // 0\nf()";
    let answer = asked(&python, &[code]).remove(0);
    let system = Command::new("python3")
        .args(["-c", "import sys\ntry:\n    1 // 0\nexcept ZeroDivisionError as e:\n    print(f'{type(e).__name__}: {e}')"])
        .output()
        .unwrap();
    let last = String::from_utf8(system.stdout).unwrap();
    assert!(
        answer.starts_with("Traceback (most recent call last):\n  File \"<call 1>\", line 3"),
        "{answer}"
    );
    assert!(answer.ends_with(&last) && answer.contains("in f\n"), "{answer}");
}

fn files_come_and_go(python: WasmPython) {
    let python = Python::new(cell(), python);
    let file = InputFile { id: "1".into(), name: "in.csv".into(), bytes: "a,b\n1,2\n".into() };
    let inputs = Inputs { files: vec![file], ..Inputs::default() };
    let small =
        "text = open('/mnt/data/in.csv').read()\nopen('/mnt/data/out.txt', 'w').write(text.upper())\ntext";
    // Many bytes go through the same pipes as what is printed.
    let large = "open('/mnt/data/big', 'wb').write(bytes(range(256)) * 8192)\nprint('y' * 50000)";
    let [first, second] = run(async {
        let container = Container::default();
        let first = python.call_with(&container, small, &inputs).await;
        [first, python.call_with(&container, large, &inputs).await]
    });
    assert!(!first.is_error && first.text.contains("a,b"), "{}", first.text);
    let [out] = first.files.as_slice() else { panic!("{:?}", first.files) };
    assert_eq!((out.path.as_str(), out.bytes.as_slice()), ("out.txt", &b"A,B\n1,2\n"[..]));
    let [out] = second.files.as_slice() else { panic!("{}: {:?}", second.text, second.files) };
    assert!(out.path == "big" && out.bytes == (0..=255).collect::<Vec<u8>>().repeat(8192));
    assert_eq!(second.text.matches('y').count(), 50_000);
    assert!(!second.text.contains("[WARN]"), "the same process");
}

fn nothing_of_the_machine_is_seen(python: WasmPython) {
    let python = Python::new(cell(), python);
    let calls = [
        ("import os\nsorted(os.environ)", "[]"),
        ("any(map(os.path.exists, ['/etc/passwd', '/proc/self', '/bin/sh']))", "False"),
        ("open('/mnt/data/../../etc/passwd')", "PermissionError: "),
        ("os.symlink('/etc', '/mnt/data/etc')", "PermissionError: "),
        ("os.symlink('../../etc', '/mnt/data/up')\nopen('/mnt/data/up/passwd')", "PermissionError: "),
        ("open('/usr/local/lib/new', 'w')", "FileNotFoundError: "),
        ("import socket\nsocket.socket()", "OSError: "),
        ("import subprocess\nsubprocess.run(['/bin/sh', '-c', 'id'])", "OSError: "),
        ("import threading\nthreading.Thread(target=print).start()", "RuntimeError: "),
        ("import ctypes", "ModuleNotFoundError: "),
        // An event loop has a pair of sockets.
        ("import asyncio\nawait asyncio.sleep(0)", "OSError: "),
    ];
    let answers = asked(&python, &calls.map(|(code, _)| code));
    for ((code, last), answer) in calls.iter().zip(&answers) {
        let line = answer.trim_end().lines().next_back().unwrap_or_default();
        assert!(line.starts_with(last), "{code}: {answer}");
    }
}

fn a_call_has_its_time(python: WasmPython) {
    // Set before the process starts.
    let mut cell = cell();
    cell.limits.time = Duration::from_secs(3);
    let python = Python::new(cell, python);
    let answers = asked(&python, &["x = 1", "while True: pass", "x"]);
    assert!(answers[1].contains("Timed out"), "{}", answers[1]);
    assert!(answers[2].contains("A new Python process was started") && answers[2].contains("NameError"));
}

fn memory_has_its_bound(python: WasmPython) {
    let mut cell = cell();
    cell.limits.memory_bytes = 256 << 20;
    let python = Python::new(cell, python);
    let answers = asked(&python, &["y = 1", "x = bytearray(400 << 20)", "y + 1"]);
    assert!(answers[1].trim_end().ends_with("MemoryError"), "{}", answers[1]);
    assert_eq!(answers[2], "2\n");
}
