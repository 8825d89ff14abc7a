//! The loop over tools that run programs. The target has a main of its own, because it is the launcher of
//! its cells too.

#[path = "../agent/bench.rs"]
#[expect(dead_code, reason = "the tests of the loop use the rest")]
mod bench;
#[path = "../../../server/tests/api/scripted.rs"]
mod scripted;

use std::fs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bench::{Bench, FINAL, call_of, patch_of};
use gptoss_agent::{
    Action, AgentEnd, AgentEvent, Budget, CallStatus, Decision, Ending, Host, Tool, Toolbox, run,
};
use gptoss_harmony::{Message, Role};
use gptoss_tools::cell::{Cell, Launcher, launch};
use gptoss_tools::{Container, Interpreter, Places, Python, Shell, Workspace};
use libtest_mimic::{Arguments, Trial};

#[expect(clippy::disallowed_methods, reason = "a program of its own reads its arguments")]
fn main() -> ExitCode {
    if let Some(code) = launch(std::env::args_os().skip(1)) {
        return code;
    }
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = vec![
        trial("a_model_runs_the_tests_repairs_and_runs_them_again", repairs),
        trial("a_cancel_kills_a_command", cancels),
        trial("the_time_of_a_task_ends_a_command", ends_in_time),
        trial("python_keeps_its_variables_and_answers_on_the_channel_of_the_call", computes),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn cell() -> Cell {
    Cell::stand(Launcher::own()).unwrap_or_else(|error| panic!("{error}"))
}

fn toolbox(bench: &Bench) -> Toolbox {
    let patch = Tool::Patch(Workspace::open(bench.folder()).unwrap());
    Toolbox { tools: vec![patch, Tool::Shell(Shell::new(cell(), bench.folder()).unwrap())] }
}

fn work(
    bench: &Bench,
    toolbox: Toolbox,
    budget: Budget,
    cancel: &AtomicBool,
    on_event: impl FnMut(AgentEvent),
) -> Ending {
    let host = Host { cancel, on_event, approve: |_: &Action| Decision::Approve };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(bench.assistant(), &toolbox, bench.task(budget), host)).unwrap()
}

fn repairs() {
    let test = call_of("shell", r#"{"command": "python3 -B -m unittest -q"}"#);
    let argv = call_of("shell", r#"{"command": ["cat", "total.py"]}"#);
    let patch =
        patch_of("*** Update File: total.py\n-    return sum(range(1, n))\n+    return sum(range(1, n + 1))");
    let bench = Bench::new(&[&test, &argv, &patch, &test, FINAL]);
    fs::write(bench.folder().join("total.py"), "def total(n):\n    return sum(range(1, n))\n").unwrap();
    let tests = "import unittest\nfrom total import total\n\n\nclass Total(unittest.TestCase):\n    def test_ten(self):\n        self.assertEqual(total(10), 55)\n";
    fs::write(bench.folder().join("test_total.py"), tests).unwrap();
    let mut ended = Vec::new();
    let ending = work(&bench, toolbox(&bench), Budget::default(), &AtomicBool::new(false), |event| {
        if let AgentEvent::CallEnded { status, exit_code, reply, .. } = event {
            ended.push((status, exit_code, reply.text));
        }
    });
    assert_eq!(ending.end, AgentEnd::Answer);
    let codes: Vec<(CallStatus, Option<i32>)> =
        ended.iter().map(|(status, code, _)| (*status, *code)).collect();
    let (done, failed) = (CallStatus::Completed, CallStatus::Failed);
    assert_eq!(codes, [(failed, Some(1)), (done, Some(0)), (done, None), (done, Some(0))], "{ended:?}");
    assert!(ended[0].2.contains("45 != 55"), "{}", ended[0].2);
    assert_eq!(ended[1].2, "def total(n):\n    return sum(range(1, n))\n");
    assert!(bench.prompts()[0].contains("type shell = (_: {"), "{}", bench.prompts()[0]);
}

fn cancels() {
    let bench = Bench::new(&[&call_of("shell", r#"{"command": "echo > begun; sleep 60; echo > ended"}"#)]);
    let (cancel, begun) = (AtomicBool::new(false), Instant::now());
    let ending = work(&bench, toolbox(&bench), Budget::default(), &cancel, |event| {
        if let AgentEvent::CallStarted { .. } = event {
            cancel.store(true, Ordering::Relaxed);
        }
    });
    assert_eq!(ending.end, AgentEnd::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let last = ending.messages.last().unwrap();
    assert_eq!((last.author.role, last.text().as_str()), (Role::Tool, "The call was cancelled."));
    assert!(!bench.folder().join("ended").exists());
}

fn ends_in_time() {
    let bench = Bench::new(&[&call_of("shell", r#"{"command": "sleep 60"}"#)]);
    let budget = Budget { time_max: Some(Duration::from_secs(1)), ..Budget::default() };
    let ending = work(&bench, toolbox(&bench), budget, &AtomicBool::new(false), |_| {});
    assert_eq!(ending.end, AgentEnd::Time);
    assert!(ending.messages.last().unwrap().text().contains("time for the task is over"));
}

fn computes() {
    let code = |code: &str| format!("<|channel|>analysis to=python code<|message|>{code}<|call|>");
    let bench = Bench::new(&[&code("x = 6"), &code("print(x * 7)"), FINAL]);
    #[expect(clippy::disallowed_methods, reason = "where Python is, the environment says")]
    let folders = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect();
    let places = Places { folders, ..Places::default() };
    let python = Python::new(cell(), Interpreter::find(&places).unwrap());
    let tools = vec![Tool::Python { python, container: Container::default() }];
    let ending = work(&bench, Toolbox { tools }, Budget::default(), &AtomicBool::new(false), |_| {});
    assert_eq!(ending.end, AgentEnd::Answer);
    let results: Vec<&Message> =
        ending.messages.iter().filter(|message| message.author.role == Role::Tool).collect();
    assert_eq!(results[1].text(), "42\n");
    assert_eq!(results[1].author.name.as_deref(), Some("python"));
    assert_eq!(results[1].channel.as_deref(), Some("analysis"));
    assert!(bench.prompts()[0].contains("stateful Jupyter"), "{}", bench.prompts()[0]);
}
