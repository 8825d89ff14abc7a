//! Five small repositories, each with a test that fails, repaired by a scripted model; and killed on the way.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use gptoss_agent::{AgentEnd, AgentEvent, Budget, Decision};
use gptoss_tools::Workspace;

use crate::bench::{Bench, FINAL, patch_of};

/// A repository: its files, and the patches of the model that repair it.
struct Repository {
    files: &'static [(&'static str, &'static str)],
    patches: &'static [&'static str],
}

const REPOSITORIES: [Repository; 5] = [
    // A bound that is one too small.
    Repository {
        files: &[
            ("total.py", "def total(n):\n    \"\"\"The sum of 1 to n.\"\"\"\n    return sum(range(1, n))\n"),
            (
                "test_total.py",
                "import unittest\nfrom total import total\n\n\nclass Total(unittest.TestCase):\n    def test_ten(self):\n        self.assertEqual(total(10), 55)\n",
            ),
        ],
        patches: &[
            "*** Update File: total.py\n@@ def total(n):\n-    return sum(range(1, n))\n+    return sum(range(1, n + 1))",
        ],
    },
    // A module under the wrong name.
    Repository {
        files: &[
            ("words/__init__.py", ""),
            ("words/cuont.py", "def count(text):\n    return len(text.split())\n"),
            (
                "test_count.py",
                "import unittest\nfrom words.count import count\n\n\nclass Count(unittest.TestCase):\n    def test_two(self):\n        self.assertEqual(count('a b'), 2)\n",
            ),
        ],
        patches: &["*** Update File: words/cuont.py\n*** Move to: words/count.py"],
    },
    // A module that is missing, in a folder that is.
    Repository {
        files: &[(
            "test_area.py",
            "import unittest\nfrom shapes.area import square\n\n\nclass Area(unittest.TestCase):\n    def test_square(self):\n        self.assertEqual(square(3), 9)\n",
        )],
        patches: &[
            "*** Add File: shapes/__init__.py\n*** Add File: shapes/area.py\n+def square(side):\n+    return side * side",
        ],
    },
    // Two files in one patch, one of them with endings of Windows.
    Repository {
        files: &[
            ("rate.py", "RATE = 1.10\r\nNAME = 'tax'\r\n"),
            ("price.py", "from rate import RATE\n\n\ndef price(net):\n    return net + RATE\n"),
            (
                "test_price.py",
                "import unittest\nfrom price import price\n\n\nclass Price(unittest.TestCase):\n    def test_hundred(self):\n        self.assertAlmostEqual(price(100), 119)\n",
            ),
        ],
        patches: &[
            "*** Update File: rate.py\n-RATE = 1.10\n+RATE = 1.19\n NAME = 'tax'\n*** Update File: price.py\n@@ def price(net):\n-    return net + RATE\n+    return net * RATE",
        ],
    },
    // A first patch that does not fit, a second that does too little, and a third.
    Repository {
        files: &[
            (
                "stack.py",
                "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n        self.items.insert(0, item)\n\n    def pop(self):\n        return self.items.pop(0)\n\n    def peek(self):\n        return self.items[-1]\n",
            ),
            (
                "test_stack.py",
                "import unittest\nfrom stack import Stack\n\n\nclass Order(unittest.TestCase):\n    def test_peek_is_what_pop_gives(self):\n        stack = Stack()\n        stack.push(1)\n        stack.push(2)\n        self.assertEqual((stack.peek(), stack.pop(), stack.pop()), (2, 2, 1))\n",
            ),
        ],
        patches: &[
            "*** Update File: stack.py\n@@ def push(self, item):\n-        self.items.add(item)\n+        self.items.append(item)",
            "*** Update File: stack.py\n@@ def push(self, item):\n-        self.items.insert(0, item)\n+        self.items.append(item)",
            "*** Update File: stack.py\n@@ def pop(self):\n-        return self.items.pop(0)\n+        return self.items.pop()",
        ],
    },
];

impl Repository {
    fn write_to(&self, folder: &Path) {
        for (path, text) in self.files {
            fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
            fs::write(folder.join(path), text).unwrap();
        }
    }

    fn script(&self) -> Vec<String> {
        self.patches.iter().map(|body| patch_of(body)).chain([FINAL.to_owned()]).collect()
    }
}

/// Whether the repository's tests pass.
fn passes(folder: &Path) -> bool {
    let tests =
        Command::new("python3").args(["-B", "-m", "unittest", "-q"]).current_dir(folder).output().unwrap();
    tests.status.success()
}

/// Files by path, but for what the journal keeps.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            match path.is_dir() {
                true if name == ".gptoss" => {}
                true => folders.push(path),
                false => drop(files.insert(name, fs::read(path).unwrap())),
            }
        }
    }
    files
}

fn repair(bench: &Bench, on_event: &mut dyn FnMut(AgentEvent)) -> AgentEnd {
    bench.run(Budget::default(), &mut |_| Decision::Approve, on_event).end
}

fn bench_of(repository: &Repository) -> Bench {
    let script = repository.script();
    Bench::new(&script.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn five_repositories_are_repaired_and_every_patch_can_be_taken_back() {
    for repository in &REPOSITORIES {
        let bench = bench_of(repository);
        repository.write_to(bench.folder());
        let before = files(bench.folder());
        assert!(!passes(bench.folder()), "{:?}", repository.files);
        assert_eq!(repair(&bench, &mut |_| {}), AgentEnd::Answer);
        assert!(passes(bench.folder()), "{:?}", files(bench.folder()));
        let workspace = Workspace::open(bench.folder()).unwrap();
        while workspace.undo().unwrap().is_some() {}
        assert_eq!(files(bench.folder()), before);
    }
}

/// What the child of the next test is told by, as `NUMBER FOLDER`.
const CHILD: &str = "GPTOSS_AGENT_TEST_CHILD";

/// A run in a process of its own, which waits for a line at each event. On its own it does nothing.
#[test]
fn child() {
    #[expect(clippy::disallowed_methods, reason = "the parent's order to this process")]
    let Ok(order) = std::env::var(CHILD) else { return };
    let (number, folder) = order.split_once(' ').unwrap();
    let bench = bench_of(&REPOSITORIES[number.parse::<usize>().unwrap()]).at(folder);
    let mut wait = |event: AgentEvent| {
        if !matches!(event, AgentEvent::Turn(_)) {
            println!("event");
            std::io::stdout().flush().unwrap();
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
    };
    repair(&bench, &mut wait);
}

/// Killed at each event in turn, the workspace is what some number of whole patches make of it.
#[test]
fn a_killed_run_leaves_whole_patches() {
    // The one with two files in a patch, and the one with several patches.
    for number in [3, 4] {
        let repository = &REPOSITORIES[number];
        let bench = bench_of(repository);
        repository.write_to(bench.folder());
        let mut states = vec![files(bench.folder())];
        let folder = bench.folder().to_owned();
        repair(&bench, &mut |_| states.push(files(&folder)));
        let mut num_patched = 0;
        for kill_at in 1.. {
            let folder = tempfile::tempdir().unwrap();
            repository.write_to(folder.path());
            let has_ended = killed_at(kill_at, number, folder.path());
            Workspace::open(folder.path()).unwrap();
            let found = files(folder.path());
            assert!(states.contains(&found), "repository {number}, killed at event {kill_at}: {found:?}");
            num_patched += usize::from(found != states[0]);
            if has_ended {
                break;
            }
        }
        assert!(num_patched >= 2, "repository {number}");
    }
}

/// Runs a child until its event of this number and kills it there; true when it had ended before.
fn killed_at(event: usize, number: usize, folder: &Path) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "repair::child", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{number} {}", folder.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut stdin = child.stdin.take().unwrap();
    for _ in 0..event - 1 {
        // The harness writes lines of its own around the child's.
        if !lines.by_ref().map_while(Result::ok).any(|line| line.ends_with("event")) {
            break;
        }
        let _ = writeln!(stdin);
    }
    let has_ended = !lines.by_ref().map_while(Result::ok).any(|line| line.ends_with("event"));
    child.kill().unwrap();
    child.wait().unwrap();
    has_ended
}
