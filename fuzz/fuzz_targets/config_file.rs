//! Any text is settings and problems: each has a place inside the text, each key is a known one, and no
//! message is empty.
#![no_main]

// The command line's crate is a program and no library.
#[path = "../../crates/cli/src/config/file.rs"]
mod file;

use file::{Key, Kind, Place, Section, parse};
use libfuzzer_sys::fuzz_target;

fn sections() -> Vec<Section> {
    let keys = [("model", Kind::Text), ("port", Kind::Number), ("quiet", Kind::Flag), ("alias", Kind::List)];
    let keys: Vec<Key> = keys.map(|(name, kind)| Key { name: name.to_owned(), kind }).into();
    ["serve", "chat"].map(|command| Section { command: command.to_owned(), keys: keys.clone() }).into()
}

fuzz_target!(|text: &str| {
    let sections = sections();
    let parsed = parse(text, &sections);
    let check = |place: Place| {
        assert!(place.line >= 1 && place.line <= text.matches('\n').count() + 1, "{place}");
        assert!(place.column >= 1 && place.column <= text.chars().count() + 1, "{place}");
    };
    for setting in &parsed.settings {
        check(setting.place);
        let known = sections[0].keys.iter().find(|key| key.name == setting.key).expect("a known key");
        assert!(known.kind == Kind::List || setting.values.len() == 1);
        assert!(
            setting.command.as_deref().is_none_or(|name| sections.iter().any(|known| known.command == name))
        );
    }
    for problem in &parsed.problems {
        check(problem.place);
        assert!(!problem.what.is_empty());
    }
});
