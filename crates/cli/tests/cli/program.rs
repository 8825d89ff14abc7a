//! The binary under test, as a user would start it: arguments and standard input in, exit code and both
//! outputs back.
//!
//! The environment is cut down to what a test sets, so that a developer's own settings cannot change a
//! result.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// What a run of the program gave.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A file or folder under `testdata/`.
pub fn testdata(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name);
    assert!(path.exists(), "{} is part of the repository", path.display());
    path.to_str().expect("a UTF-8 path").to_owned()
}

/// The program with these arguments and a bare environment.
pub fn gptoss(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gptoss"));
    command.args(args).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

/// The same, with the drivers for Vulkan that this machine names.
#[expect(clippy::disallowed_methods, reason = "where the drivers are is told by the environment")]
pub fn gptoss_with_drivers(args: &[&str]) -> Command {
    let mut command = gptoss(args);
    command.envs(std::env::var("VK_DRIVER_FILES").map(|files| ("VK_DRIVER_FILES", files)));
    command
}

/// How a program ended that was told to end, by a signal, a key or the end of its input. One that does not is
/// killed, and the test fails: waiting for it without a limit would hold up every test.
#[track_caller]
pub fn ended(child: &mut Child) -> ExitStatus {
    /// Longest time that it may take on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(300);
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("the program was told to end and did not within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs the program on an empty standard input.
pub fn run(args: &[&str]) -> Ran {
    run_with(args, b"")
}

/// Runs the program on this standard input.
pub fn run_with(args: &[&str], stdin: &[u8]) -> Ran {
    let mut command = gptoss(args);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    let input = stdin.to_vec();
    // The program may end before it has read everything; that is its right.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&input)));
    let output = child.wait_with_output().expect("the binary ends");
    writer.join().expect("the writer ends");
    output.into()
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Standard output of a run that went well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "stderr: {}", self.stderr);
        self.stdout
    }

    /// Standard error of a run that ended with `code`: in the one form of errors, naming all of `facts`, with
    /// no panic.
    #[track_caller]
    pub fn fails(self, code: i32, facts: &[&str]) -> String {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert!(self.stderr.contains("error: "), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for fact in facts {
            assert!(self.stderr.contains(fact), "{fact:?} should be in: {}", self.stderr);
        }
        self.stderr
    }
}

/// A flag that makes the `tiny` model answer on `final`: the first token of that word, likelier by this much.
pub fn final_bias(bias: &str) -> String {
    let vocab = gptoss_harmony::Vocab::truncated(503, gptoss_harmony::MultiDigit::Keep);
    format!("--logit-bias={}={bias}", vocab.encode_ids("final")[0])
}

/// Flags under which the `tiny` model answers without end: no control token can be drawn where another can.
pub fn endless_answer() -> Vec<String> {
    let mut flags: Vec<String> = (503..512).map(|id| format!("--logit-bias={id}=-100")).collect();
    flags.push(final_bias("60"));
    flags
}
