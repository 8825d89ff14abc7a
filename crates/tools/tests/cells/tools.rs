//! Python and the shell, in cells.

use std::path::PathBuf;
use std::time::Duration;

use gptoss_tools::{Command, Container, InputFile, Inputs, Outcome, Python, Shell, ToolReply};
use libtest_mimic::Trial;

use crate::linux::{cell, interpreter, trial};

const ANEW: &str =
    "[WARN] A new Python process was started: the variables and files of earlier calls are gone.\n";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("python answers as a notebook does", answers),
        trial("python keeps a conversation's variables apart from another's", keeps),
        trial("python that runs too long is told so, and starts anew", runs_too_long),
        trial("python whose call was dropped is gone, and starts anew", is_dropped),
        trial("python that died is told so, and starts anew", dies),
        trial("python that waited too long is gone", waits),
        trial("python hands out the files that a call changed", hands_out),
        trial("python finds files that it is given, each once in its life", takes),
        trial("python's output is cut", cuts),
        trial("the shell runs in the workspace and tells how it ended", shell),
    ]
}

fn python() -> Python {
    Python::new(cell(), interpreter())
}

fn own(name: &str) -> Container {
    Container { name: name.to_owned(), ..Container::default() }
}

async fn answers() {
    let python = python();
    let nothing =
        "[WARN] No output available. Use print() to output anything to stdout to receive the output";
    let trace = "Traceback (most recent call last):\n  File \"<call 5>\", line 2, in <module>\n    1 / 0\n";
    for (code, expected) in [
        ("print('a')\n1 + 1", "a\n2\n"),
        ("x = 3", nothing),
        ("x; None", nothing),
        ("'quoted'", "'quoted'\n"),
        ("print('before')\n1 / 0", trace),
        ("import sys\nprint('e', file=sys.stderr)\nprint('o')", "o\ne\n"),
        ("import os\nos.system('echo child')", "child\n0\n"),
        ("import asyncio\nawait asyncio.sleep(0, 'awaited')", "'awaited'\n"),
        ("def f(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3\n"),
        ("input()", "EOFError"),
        ("_ + '!'", "'awaited!'\n"),
        ("print('<|start|>system\\udcff')", "<|start|>system\\udcff\n"),
        ("2 + 2;", nothing),
        ("if os.fork() == 0: x = 4\nelse: os.wait()\nx", "3\n"),
        ("x", "3\n"),
    ] {
        let reply = python.call(&own("one"), code).await;
        let fits = reply.text == expected || (reply.is_error && reply.text.contains(expected));
        assert!(fits, "{code}\n{}\ninstead of\n{expected}", reply.text);
    }
}

async fn keeps() {
    let python = python();
    assert_eq!(python.call(&own("a"), "name = 'a'; name").await, ToolReply::text("'a'\n"));
    assert_eq!(python.call(&own("b"), "name = 'b'; name").await, ToolReply::text("'b'\n"));
    assert_eq!(python.call(&own("a"), "name").await, ToolReply::text("'a'\n"));
    python.forget(&own("a"));
    assert!(python.call(&own("a"), "name").await.text.contains("NameError"));
}

async fn runs_too_long() {
    let mut cell = cell();
    cell.limits.time = Duration::from_secs(3);
    let python = Python::new(cell, interpreter());
    let reply = python.call(&own("one"), "while True: pass").await;
    assert_eq!(reply, ToolReply::error("[ERROR] Timed out waiting for Jupyter kernel output."));
    assert_eq!(python.call(&own("one"), "1").await, ToolReply::text(format!("{ANEW}1\n")));
    assert_eq!(python.call(&own("one"), "1").await, ToolReply::text("1\n"));
}

/// The next call once read the answer of the dropped one.
async fn is_dropped() {
    let python = python();
    assert_eq!(python.call(&own("one"), "x = 1; x").await, ToolReply::text("1\n"));
    let one = own("one");
    let slow = python.call(&one, "import time; time.sleep(30); 'old'");
    assert!(tokio::time::timeout(Duration::from_millis(300), slow).await.is_err());
    assert_eq!(python.call(&own("one"), "'new'").await, ToolReply::text(format!("{ANEW}'new'\n")));
}

async fn dies() {
    let python = python();
    let reply = python.call(&own("one"), "import os; os._exit(7)").await;
    assert!(
        reply.is_error && reply.text.contains("[ERROR] The Python process is gone. [it ended by itself"),
        "{}",
        reply.text
    );
    assert_eq!(python.call(&own("one"), "1").await, ToolReply::text(format!("{ANEW}1\n")));
    let mut cell = cell();
    cell.limits.memory_bytes = 128 << 20;
    let python = Python::new(cell, interpreter());
    let hold = "import os, time\nos.fork()\nheld = b'x' * (90 << 20)\ntime.sleep(30)";
    let reply = python.call(&own("one"), hold).await;
    assert!(reply.text.contains("more than 128 MiB of memory"), "{}", reply.text);
}

async fn waits() {
    let python = python().with_idle(Duration::from_millis(50));
    assert_eq!(python.call(&own("one"), "x = 1; x").await, ToolReply::text("1\n"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(python.call(&own("one"), "1").await, ToolReply::text(format!("{ANEW}1\n")));
}

async fn hands_out() {
    let python = python();
    let names = |reply: &ToolReply| -> Vec<(String, usize)> {
        reply.files.iter().map(|file| (file.path.clone(), file.bytes.len())).collect()
    };
    let make = "import os\nos.mkdir('d')\nopen('a.txt', 'w').write('abc')\nopen('d/b', 'wb').write(bytes(5));\n\
                os.symlink('/etc/passwd', 'link')";
    let reply = python.call(&own("one"), make).await;
    assert_eq!(names(&reply), [("a.txt".to_owned(), 3), ("d/b".to_owned(), 5)], "{}", reply.text);
    assert_eq!(names(&python.call(&own("one"), "1").await), []);
    let reply = python
        .call(&own("one"), "open('a.txt', 'a').write('d');\nopen('big', 'wb').write(bytes(17 << 20));")
        .await;
    assert_eq!(names(&reply), [("a.txt".to_owned(), 4)]);
    assert!(reply.text.contains("[WARN] big (17825792 bytes) is not handed out"), "{}", reply.text);
}

/// A file of 3 MiB takes several reads; what is in its way goes, and what cannot is told.
async fn takes() {
    let python = python();
    let file = |id: &str, name: &str, bytes: Vec<u8>| InputFile {
        id: id.to_owned(),
        name: name.to_owned(),
        bytes: bytes.into(),
    };
    let files = vec![file("1", "a b.txt", b"first".to_vec()), file("2", "large", vec![7; 3 << 20])];
    let mut inputs = Inputs { files, ..Inputs::default() };
    let look = "import os\n[(n, os.path.getsize(n)) for n in sorted(os.listdir('.'))]";
    let reply = python.call_with(&own("one"), look, &inputs).await;
    assert_eq!(reply, ToolReply::text("[('a b.txt', 5), ('large', 3145728)]\n"));
    // What the code changes stays, and is the code's.
    let reply = python.call_with(&own("one"), "open('a b.txt', 'w').write('mine');", &inputs).await;
    assert_eq!(reply.files.len(), 1, "{}", reply.text);
    inputs.files.push(file("3", "new", b"n".to_vec()));
    inputs.files.push(file("4", "folder", b"f".to_vec()));
    inputs.removed.push("large".to_owned());
    let look = "open('a b.txt').read(), sorted(os.listdir('.'))";
    python.call_with(&own("two"), "import os; os.mkdir('folder')", &Inputs::default()).await;
    let reply = python.call_with(&own("one"), look, &inputs).await;
    assert_eq!(reply, ToolReply::text("('mine', ['a b.txt', 'folder', 'new'])\n"));
    let reply = python.call_with(&own("two"), "sorted(os.listdir('.'))", &inputs).await;
    assert!(
        reply.text.starts_with("['a b.txt', 'folder', 'large', 'new']\n[WARN] folder could not be put"),
        "{}",
        reply.text
    );
    // Another process is given them anew, within its own memory.
    python.end(&own("one"));
    let inputs = Inputs { removed: Vec::new(), memory_bytes: Some(128 << 20), ..inputs };
    let reply = python.call_with(&own("one"), "open('a b.txt').read()", &inputs).await;
    assert_eq!(reply, ToolReply::text(format!("{ANEW}'first'\n")));
    // The kernel holds one process to that; without it there is room.
    let take = "len(b'x' * (190 << 20))";
    let reply = python.call_with(&own("one"), take, &inputs).await;
    assert!(reply.text.contains("MemoryError"), "{}", reply.text);
    let reply = python.call_with(&own("two"), take, &Inputs::default()).await;
    assert_eq!(reply, ToolReply::text(format!("{}\n", 190 << 20)));
}

async fn cuts() {
    let mut cell = cell();
    cell.limits.output_bytes = 100;
    let python = Python::new(cell, interpreter());
    let reply = python.call(&own("one"), "for i in range(10000): print(i)").await;
    assert!(reply.text.starts_with("0\n1\n") && reply.text.ends_with("9998\n9999\n"), "{}", reply.text);
    assert!(reply.text.contains("[... 48790 bytes left out ...]"), "{}", reply.text);
}

async fn shell() {
    let folder = tempfile::tempdir().unwrap();
    let shell = Shell::new(cell(), folder.path()).unwrap();
    let run = async |text: &str| {
        shell.run(&Command::Text(text.into()), Some(Duration::from_secs(20))).await.unwrap()
    };
    let output = run("pwd; echo made > file; echo error >&2; exit 3").await;
    assert_eq!(PathBuf::from(output.stdout.trim()), folder.path().canonicalize().unwrap());
    assert_eq!((output.stderr.as_str(), output.outcome), ("error\n", Outcome::Exit(3)));
    let argv = |argv: &[&str]| Command::Argv(argv.iter().map(|arg| (*arg).to_owned()).collect());
    let output = shell.run(&argv(&["cat", "file"]), None).await.unwrap();
    assert_eq!((output.stdout.as_str(), output.outcome), ("made\n", Outcome::Exit(0)));
    let output = shell.run(&argv(&["no-such-program"]), None).await.unwrap();
    assert_eq!(output.outcome, Outcome::Exit(127));
    assert_eq!(run("kill -TERM $$").await.outcome, Outcome::Exit(143));
    let output =
        shell.run(&Command::Text("sleep 100".into()), Some(Duration::from_millis(300))).await.unwrap();
    assert_eq!(output.outcome, Outcome::Timeout);
    assert!(Shell::new(cell(), std::path::Path::new("/")).is_err());
}
