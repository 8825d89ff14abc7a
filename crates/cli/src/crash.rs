//! What a server says on standard error when something in it breaks off: where, and none of the words, since
//! those may hold what a client said.

use std::io::Write;
use std::panic::{self, Location};
use std::{env, io};

/// The variable with which the words are told too, as by every program of Rust.
const WORDS: &str = "RUST_BACKTRACE";

/// From now on. Where the operator asks for the words they are told as ever.
pub fn keep_words() {
    if env::var_os(WORDS).is_some_and(|value| value != "0") {
        return;
    }
    panic::set_hook(Box::new(|broken| {
        let _ = writeln!(io::stderr(), "{}", told(broken.location()));
    }));
}

fn told(place: Option<&Location<'_>>) -> String {
    let place = place.map_or_else(|| "a place that is not known".to_owned(), Location::to_string);
    format!(
        "error: this program has a fault: it broke off at {place}\n\
         {WORDS}=1 tells more, perhaps with words of a client's; please report it"
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const CANARY: &str = "zanzibar7f3a";

    #[test]
    #[ignore = "started by words_are_kept, as a program of its own"]
    fn breaks_off() {
        keep_words();
        let text = format!("né{CANARY}");
        let _ = std::thread::spawn(move || text[..2].len()).join();
    }

    /// A slice within a letter, whose words hold the text.
    #[test]
    fn words_are_kept() {
        let said = |backtrace: &str| {
            let own = ["--exact", "crash::tests::breaks_off", "--ignored", "--nocapture"];
            let output =
                Command::new(env::current_exe().unwrap()).args(own).env(WORDS, backtrace).output().unwrap();
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        let kept = said("0");
        assert!(kept.contains("it broke off at crates/cli/src/crash.rs:"), "{kept}");
        assert!(!kept.contains(CANARY), "{kept}");
        assert!(said("1").contains(CANARY));
    }
}
