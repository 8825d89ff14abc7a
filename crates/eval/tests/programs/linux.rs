//! The main of the tests, and each program with its end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use gptoss_eval::humaneval::program;
use gptoss_eval::programs::Programs;
use gptoss_eval::{ProgramEnd, ProgramKey};
use gptoss_tools::cell::{Cell, Launcher, launch};
use gptoss_tools::{Interpreter, Places};
use libtest_mimic::{Arguments, Trial};

#[expect(clippy::disallowed_methods, reason = "a program of its own reads its arguments")]
pub fn main() -> ExitCode {
    if let Some(code) = launch(std::env::args_os().skip(1)) {
        return code;
    }
    let trials = vec![
        Trial::test("a right body passes and an empty one does not", || {
            bodies();
            Ok(())
        }),
        Trial::test("a program passes at its end alone", || {
            early_ends();
            Ok(())
        }),
        Trial::test("programs that harm fail, and nothing else does", || {
            harm();
            Ok(())
        }),
        Trial::test("programs that run at once do not see each other", || {
            at_once();
            Ok(())
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Walls and the Python of this machine.
#[expect(clippy::disallowed_methods, reason = "a program of its own reads its environment")]
fn programs() -> Programs {
    let path = std::env::var_os("PATH").expect("a path of programs");
    let folders = std::env::split_paths(&path).collect();
    let interpreter =
        Interpreter::find(&Places { folders, ..Places::default() }).unwrap_or_else(|error| panic!("{error}"));
    let cell = Cell::stand(Launcher::own()).unwrap_or_else(|error| panic!("{error}"));
    Programs::new(cell, interpreter)
}

fn key() -> ProgramKey {
    ProgramKey {
        prompt:
            "from typing import List\n\n\ndef total(numbers: List[int]) -> int:\n    \"\"\" The sum. \"\"\"\n"
                .into(),
        test: "def check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\n"
            .into(),
        entry_point: "total".into(),
    }
}

fn run(body: &str, seconds: u32) -> ProgramEnd {
    programs().run(&program(&key(), body), seconds)
}

fn failed(body: &str) -> String {
    match run(body, 10) {
        ProgramEnd::Failed(why) => why,
        other => panic!("{body}: {other:?}"),
    }
}

fn bodies() {
    assert_eq!(run("    return sum(numbers)\n", 10), ProgramEnd::Passed);
    assert_eq!(run("    print('x' * 1000000)\n    return sum(numbers)", 10), ProgramEnd::Passed);
    assert!(failed("    pass\n").contains("AssertionError"));
    assert!(failed("    return (\n").contains("SyntaxError"));
    assert!(failed("    return input()\n").contains("EOFError"));
    // As the official script runs it: what a file does only as a program is not done.
    assert_eq!(run("    return sum(numbers)\nif __name__ == '__main__':\n    1 / 0", 10), ProgramEnd::Passed);
}

fn early_ends() {
    for body in ["    import sys; sys.exit(0)", "    import os; os._exit(0)", "    raise SystemExit"] {
        let why = failed(body);
        assert!(why.contains("before its tests did") || why.contains("SystemExit"), "{body}: {why}");
    }
}

fn harm() {
    let started = Instant::now();
    assert_eq!(run("    while True: pass", 1), ProgramEnd::TimedOut);
    let fork = "    import os\n    while True:\n        os.fork()";
    assert!(matches!(run(fork, 2), ProgramEnd::Failed(_) | ProgramEnd::TimedOut));
    let memory = failed("    return len(bytearray(10 << 30))");
    assert!(memory.contains("MemoryError") || memory.contains("memory"), "{memory}");
    let parent = failed("    import os, signal; os.kill(os.getppid(), signal.SIGKILL)");
    assert!(parent.contains("AssertionError") || parent.contains("Error"), "{parent}");
    let group = "    import os, signal; os.killpg(0, signal.SIGKILL)";
    assert!(matches!(run(group, 2), ProgramEnd::Failed(_)));
    assert!(failed("    import socket; socket.create_connection(('127.0.0.1', 22), 1)").contains("Error"));
    assert!(started.elapsed() < Duration::from_secs(60), "each has a limit: {:?}", started.elapsed());
    assert_eq!(run("    return sum(numbers)", 10), ProgramEnd::Passed);
}

fn at_once() {
    let programs = programs();
    let body = "    import os\n    assert not os.path.exists('seen')\n    open('seen', 'w').close()\n    os.remove('seen')\n    return sum(numbers)";
    let text = program(&key(), body);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| programs.run(&text, 20))).collect();
        for run in runs {
            assert_eq!(run.join().expect("no panic"), ProgramEnd::Passed);
        }
    });
}
