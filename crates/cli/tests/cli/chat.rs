//! `chat`: commands and saving through a pipe, the line editor and Ctrl-C on a pseudo-terminal.

use std::fs;

use crate::program::{run, run_with};
use serde_json::Value;

/// Flags under which the random model talks briefly.
const TINY: [&str; 7] = ["chat", "--model", "synthetic:tiny", "--seed", "1", "--max-tokens", "6"];

#[test]
fn commands_work_through_a_pipe() {
    let script = "/help\n/effort\n/effort high\n/effort max\n/instructions\n/instructions Be brief.\n/instructions\n/nothing\n/save\n\n/quit\nnever read\n";
    let ran = run_with(&TINY, script.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    let said = [
        "/save FILE",
        "the effort is medium",
        "the effort is high from now on",
        "low, medium or high, not max",
        "there are no instructions",
        "the instructions are: Be brief.",
        "no command /nothing",
        "/save needs",
    ];
    let mut rest = ran.stderr.as_str();
    for text in said {
        let at = rest.find(text).unwrap_or_else(|| panic!("{text:?} in order in {}", ran.stderr));
        rest = &rest[at + text.len()..];
    }
}

#[test]
fn a_conversation_is_saved_in_the_form_that_render_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("talk.json");
    let name = file.to_str().unwrap();
    let script = format!("Hello\n/effort low\n/instructions Be kind.\nAnd again\n/save {name}\n");
    run_with(&TINY, script.as_bytes()).ok();
    let conversation: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let messages = conversation["messages"].as_array().unwrap();
    assert_eq!(messages[0]["content"][0]["reasoning_effort"], "Low");
    assert_eq!(messages[1]["content"][0]["instructions"], "Be kind.");
    let users: Vec<&Value> =
        messages.iter().filter(|m| m["role"] == "user").map(|m| &m["content"][0]["text"]).collect();
    assert_eq!(users, ["Hello", "And again"]);
    let rendered = run(&["render", name, "--vocab", "o200k_harmony"]).stderr;
    assert!(rendered.contains("<|start|>user<|message|>And again<|end|>"), "{rendered}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the saved file");
    let script = "Hello\n/save /no/such/folder/talk.json\n/quit\n";
    let ran = run_with(&TINY, script.as_bytes());
    assert!(ran.code == 0 && ran.stderr.contains("/no/such/folder/talk.json"), "{}", ran.stderr);
}

#[test]
fn reset_forgets_and_a_full_context_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("talk.json");
    let long = "word ".repeat(400);
    let script = format!("Hello\n/reset\nFirst\n{long}\nSecond\n/save {}\n", file.display());
    let args = [&TINY[..], &["--context", "256"]].concat();
    let ran = run_with(&args, script.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("the context holds 256") && ran.stderr.contains("/reset"), "{}", ran.stderr);
    let conversation: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let messages = conversation["messages"].as_array().unwrap();
    let users: Vec<&Value> =
        messages.iter().filter(|m| m["role"] == "user").map(|m| &m["content"][0]["text"]).collect();
    assert_eq!(users, ["First", "Second"]);
}

#[cfg(unix)]
mod terminal {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};
    use std::process::{Child, Stdio};
    use std::sync::mpsc::{self, Receiver};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use crate::program::ended;
    use crate::scripted::{AFTER_CALL, CALL, functions, scripted};

    /// Longest time that a step may take on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A chat on a pseudo-terminal, with everything it has written so far.
    struct Screen {
        child: Child,
        keyboard: File,
        output: Receiver<Vec<u8>>,
        seen: String,
    }

    impl Screen {
        fn open(args: &[&str], home: &std::path::Path) -> Screen {
            let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
            grantpt(&controller).unwrap();
            unlockpt(&controller).unwrap();
            let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
            let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
            let side = || Stdio::from(terminal.try_clone().unwrap());
            let mut command = crate::program::gptoss(args);
            command.env("HOME", home).env("TERM", "xterm").stdin(side()).stdout(side()).stderr(side());
            let child = command.spawn().unwrap();
            drop(command);
            let keyboard = File::from(controller);
            let mut screen = keyboard.try_clone().unwrap();
            let (sender, output) = mpsc::channel();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                // Reading fails when the program has closed its side: the end.
                while let Ok(read) = screen.read(&mut buffer) {
                    if read == 0 || sender.send(buffer[..read].to_vec()).is_err() {
                        break;
                    }
                }
            });
            Screen { child, keyboard, output, seen: String::new() }
        }

        fn type_keys(&mut self, keys: &str) {
            self.keyboard.write_all(keys.as_bytes()).unwrap();
        }

        /// Waits until `text` is on the screen after what was waited for before.
        #[track_caller]
        fn wait_for(&mut self, text: &str) {
            let start = Instant::now();
            loop {
                if let Some(at) = self.seen.find(text) {
                    self.seen.drain(..at + text.len());
                    return;
                }
                assert!(start.elapsed() < PATIENCE, "{text:?} should be in {:?}", self.seen);
                if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
                    self.seen.push_str(&String::from_utf8_lossy(&bytes));
                }
            }
        }
    }

    impl Drop for Screen {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// Ctrl-C while an answer is written stops the answer; at the prompt it throws the line away; Ctrl-D ends
    /// the program.
    #[test]
    fn ctrl_c_stops_the_answer_and_not_the_program() {
        let home = tempfile::tempdir().unwrap();
        // No control token can be drawn, so the model would go on for the whole context.
        let bias = crate::program::endless_answer();
        let mut args = vec!["chat", "--model", "synthetic:tiny", "--seed", "1", "--context", "100000"];
        args.extend(bias.iter().map(String::as_str));
        let mut screen = Screen::open(&args, home.path());
        screen.wait_for("gptoss chat with synthetic:tiny");
        screen.wait_for("> ");
        screen.type_keys("never sent\x03");
        screen.wait_for("(Ctrl-D ends)");
        screen.wait_for("> ");
        screen.type_keys("Hello\r");
        screen.wait_for("Hello");
        // The answer streams: the token that `final` begins with, again and again.
        screen.wait_for("fff");
        std::thread::sleep(Duration::from_millis(300));
        let pid = Pid::from_child(&screen.child);
        kill_process(pid, Signal::INT).unwrap();
        screen.wait_for("(stopped)");
        screen.wait_for("> ");
        screen.type_keys("/effort\r");
        screen.wait_for("the effort is medium");
        screen.wait_for("> ");
        screen.type_keys("\x04");
        assert_eq!(ended(&mut screen.child).code(), Some(0));
        let history = std::fs::read_to_string(home.path().join(".local/state/gptoss/chat_history")).unwrap();
        assert!(history.contains("Hello") && !history.contains("never sent"), "{history}");
    }

    /// Ctrl-C where a result was asked for invented one, and the next question was answered from it.
    #[test]
    fn ctrl_c_at_a_result_drops_the_call() {
        let home = tempfile::tempdir().unwrap();
        let model = scripted(home.path(), CALL, AFTER_CALL);
        let offered = functions(home.path(), "add");
        let saved = home.path().join("talk.json");
        let args = ["chat", "--model", &model, "--functions", &offered, "--no-history"];
        let mut screen = Screen::open(&args, home.path());
        screen.wait_for("> ");
        screen.type_keys("27 and 58?\r");
        screen.wait_for("result of add> ");
        screen.type_keys("\x03");
        screen.wait_for("(the call is dropped)");
        screen.wait_for("> ");
        screen.type_keys("\x03");
        screen.wait_for("(Ctrl-D ends)");
        screen.wait_for("> ");
        screen.type_keys(&format!("/save {}\r", saved.display()));
        screen.wait_for("saved to");
        // Before the prompt the terminal itself takes the key, and the program never sees it.
        screen.wait_for("> ");
        screen.type_keys("\x04");
        assert_eq!(ended(&mut screen.child).code(), Some(0));
        let text = std::fs::read_to_string(&saved).unwrap();
        assert!(text.contains("27 and 58?") && !text.contains("functions.add"), "{text}");
        assert!(!home.path().join(".local").exists(), "no history was asked for");
    }

    /// Ctrl-C left a folder of gigabytes beside the one that was asked for.
    #[test]
    fn ctrl_c_during_synth_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model");
        let args = ["synth", "gpt-oss-20b", target.to_str().unwrap(), "--layers", "1"];
        let mut child = crate::program::gptoss(&args).stdout(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while std::fs::read_dir(folder.path()).unwrap().count() == 0 {
            assert!(start.elapsed() < PATIENCE && child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(5));
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert_eq!(ended(&mut child).code(), Some(130));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// In `run` Ctrl-C ends the answer and the program, with what there was of it and the code that shells
    /// expect.
    #[test]
    fn ctrl_c_ends_run_with_130() {
        let bias = crate::program::endless_answer();
        let mut args =
            vec!["run", "Hello", "--model", "synthetic:tiny", "--seed", "1", "--context", "100000"];
        args.extend(bias.iter().map(String::as_str));
        let mut child =
            crate::program::gptoss(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        // The first byte of the answer says that the turn has begun.
        let mut answer = vec![0];
        stdout.read_exact(&mut answer).unwrap();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        stdout.read_to_end(&mut answer).unwrap();
        assert_eq!(ended(&mut child).code(), Some(130));
        assert!(answer.ends_with(b"\n"));
    }
}
