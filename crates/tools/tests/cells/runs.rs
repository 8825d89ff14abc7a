//! One program in a cell: what it is given, what comes back, and its limits.

use std::time::{Duration, Instant};

use gptoss_tools::cell::{Bind, CellError, End, Program, Ran};
use libtest_mimic::Trial;

use crate::linux::{cell, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a program has its arguments, input, variables and folder", gives),
        trial("an exit code, a signal and a missing program are told apart", ends),
        trial("a program that runs too long is killed with all it started", ends_in_time),
        trial("output beyond the limit is drained, and left out in the middle", cuts),
        trial("a shown folder is written to, another only read", shows),
        trial("a dropped program is gone", drops),
    ]
}

fn sh(text: &str) -> Program {
    Program { argv: ["sh", "-c", text].map(str::to_owned).into(), ..Program::default() }
}

async fn run(text: &str) -> Ran {
    cell().run(&sh(text), b"").await.unwrap()
}

async fn gives() {
    let program = Program {
        argv: ["sh", "-c", "cat; echo \"$0 $1 $NAME\"; pwd; id -u; hostname; env | sort", "zero", "a b"]
            .map(str::to_owned)
            .into(),
        env: vec![("NAME".into(), "value".into())],
        folder: Some("/tmp".into()),
    };
    let ran = cell().run(&program, b"input\n").await.unwrap();
    assert_eq!(ran.stderr.text(), "");
    let expect = "input\nzero a b value\n/tmp\n1000\ncell\nHOME=/tmp\nLANG=C.UTF-8\nNAME=value\nPATH=";
    assert!(ran.stdout.text().starts_with(expect), "{}", ran.stdout.text());
    assert_eq!(ran.end, End::Exited(0));
}

async fn ends() {
    assert_eq!(run("exit 7").await.end, End::Exited(7));
    assert_eq!(run("kill -SEGV $$").await.end, End::Signaled(11));
    let none = Program { argv: vec!["no-such-program".into()], ..Program::default() };
    let error = cell().run(&none, b"").await.unwrap_err();
    assert!(matches!(&error, CellError::Program { program, .. } if program == "no-such-program"), "{error}");
}

async fn ends_in_time() {
    let mut cell = cell();
    cell.limits.time = Duration::from_millis(500);
    let started = Instant::now();
    let ran =
        cell.run(&sh("echo begun; setsid sleep 1000 & trap '' TERM INT; sleep 1000"), b"").await.unwrap();
    assert_eq!((ran.end, ran.stdout.text().as_str()), (End::OutOfTime, "begun\n"));
    assert!(started.elapsed() < Duration::from_secs(60), "killed, not slept through");
}

async fn cuts() {
    let mut cell = cell();
    cell.limits.output_bytes = 20;
    let ran = cell.run(&sh("seq 100000; seq 5 >&2"), b"").await.unwrap();
    let expect = "1\n2\n3\n4\n5\n\n[... 588875 bytes left out ...]\n99\n100000\n";
    assert_eq!(ran.stdout.text(), expect);
    assert_eq!(ran.stderr.text(), "1\n2\n3\n4\n5\n");
}

async fn shows() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "here").unwrap();
    let mut cell = cell();
    cell.binds = vec![
        Bind::writable(folder.path()),
        Bind { outside: folder.path().into(), inside: "/shown".into(), writable: false },
    ];
    let text = "cat /shown/file && echo new > \"$0/made\" && ! touch /shown/other && ! touch /usr/other";
    let mut program = sh(text);
    program.argv.push(folder.path().display().to_string());
    let ran = cell.run(&program, b"").await.unwrap();
    assert_eq!((ran.end, ran.stdout.text().as_str()), (End::Exited(0), "here"), "{}", ran.stderr.text());
    assert_eq!(std::fs::read_to_string(folder.path().join("made")).unwrap(), "new\n");
    for inside in ["/proc/x", "relative", "/a/../b", "/"] {
        cell.binds = vec![Bind { outside: folder.path().into(), inside: inside.into(), writable: false }];
        assert!(matches!(cell.start(&sh("true")), Err(CellError::Bind { .. })), "{inside}");
    }
    // A program may have made the link, in a folder that was shown to it.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    for outside in ["/no/such/folder".into(), link, "/proc/self".into(), "/dev/shm".into(), "/".into()] {
        cell.binds = vec![Bind { outside, inside: "/shown".into(), writable: false }];
        assert!(matches!(cell.start(&sh("true")), Err(CellError::Bind { .. })), "{:?}", cell.binds);
    }
}

/// A program writes to a shown file as long as it lives.
async fn drops() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("beat");
    let mut cell = cell();
    cell.binds = vec![Bind::writable(folder.path())];
    let mut program = sh("while :; do echo >> \"$0\"; sleep 0.01; done");
    program.argv.push(file.display().to_string());
    let mut running = cell.start(&program).unwrap();
    let beats = || std::fs::metadata(&file).map_or(0, |meta| meta.len());
    for _ in 0..3000 {
        if beats() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.kill().await;
    drop(running);
    let last = beats();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(last > 0 && beats() == last, "{last} beats, then {}", beats());
}
