//! Text of the documents that repeats code: generated or checked.
//!
//! ARCHITECTURE.md carries the floors between two markers, written by [`write_generated`] from the table in
//! `floors`; CONTRIBUTING.md names the tests that `.ci/run` runs, letter for letter, so that what people are
//! told to type is what is checked.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Violation;
use super::floors::{self, Crate};

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const BEGIN: &str = "<!-- floors:begin -->";
const END: &str = "<!-- floors:end -->";

/// The one test command: CONTRIBUTING.md gives it to people and `.ci/run` runs it.
const TEST_COMMAND: &str = "cargo test --workspace";
const TEST_COMMAND_PLACES: [&str; 2] = [".ci/run", "CONTRIBUTING.md"];

/// Compares the documents with the code.
///
/// Errors: when a document exists but cannot be read.
pub fn check(root: &Path, crates: &[Crate]) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    match read(root, ARCHITECTURE)? {
        Some(text) => violations.extend(check_architecture(&text, &floors::table(crates))),
        None => violations.push(Violation::of(
            ARCHITECTURE,
            "documents",
            "is missing: write it, with the floors table",
        )),
    }
    for place in TEST_COMMAND_PLACES {
        if !read(root, place)?.is_some_and(|text| text.contains(TEST_COMMAND)) {
            violations.push(Violation::of(place, "documents", format!("does not name `{TEST_COMMAND}`")));
        }
    }
    Ok(violations)
}

fn check_architecture(text: &str, table: &str) -> Option<Violation> {
    let violation = |message: &str| Some(Violation::of(ARCHITECTURE, "documents", message));
    match (text.find(BEGIN), text.find(END)) {
        (None, None) => None,
        (Some(_), Some(_)) => match with_table(text, table) {
            Ok(wanted) if wanted == text => None,
            Ok(_) => violation("the floors table is out of date: run `cargo xtask tidy --write`"),
            Err(error) => violation(&error.to_string()),
        },
        _ => violation("only one of the markers floors:begin and floors:end is there: restore the other"),
    }
}

/// Rewrites the generated block of ARCHITECTURE.md.
///
/// Errors: when the file or its markers are missing.
pub fn write_generated(root: &Path) -> Result<()> {
    let Some(text) = read(root, ARCHITECTURE)? else { bail!("{ARCHITECTURE} is missing: write it first") };
    let updated = with_table(&text, &floors::table(&floors::workspace(root)?))?;
    if updated != text {
        std::fs::write(root.join(ARCHITECTURE), updated)
            .with_context(|| format!("writing {ARCHITECTURE}"))?;
    }
    Ok(())
}

/// The text with the lines between the markers replaced by the table.
fn with_table(text: &str, table: &str) -> Result<String> {
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        bail!("{ARCHITECTURE} lacks the markers `{BEGIN}` and `{END}`: put them where the table belongs");
    };
    if end < begin {
        bail!("the markers floors:begin and floors:end are in the wrong order: swap them");
    }
    Ok(format!("{}{BEGIN}\n{table}{}", &text[..begin], &text[end..]))
}

fn read(root: &Path, name: &str) -> Result<Option<String>> {
    let path = root.join(name);
    if !path.exists() {
        return Ok(None);
    }
    std::fs::read_to_string(&path).map(Some).with_context(|| format!("reading {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_table_fails_and_writing_it_cures() {
        let stale = format!("head\n{BEGIN}\n| old |\n{END}\ntail\n");
        let found = check_architecture(&stale, "| new |\n").expect("stale");
        assert!(found.message.contains("tidy --write"), "{found}");
        let cured = with_table(&stale, "| new |\n").unwrap();
        assert_eq!(cured, format!("head\n{BEGIN}\n| new |\n{END}\ntail\n"));
        assert_eq!(check_architecture(&cured, "| new |\n"), None);
    }

    #[test]
    fn markers_come_in_pairs_and_in_order() {
        assert_eq!(check_architecture("no markers", "| new |\n"), None);
        assert!(check_architecture(BEGIN, "").unwrap().message.contains("only one"));
        assert!(check_architecture(&format!("{END}{BEGIN}"), "").unwrap().message.contains("order"));
        assert!(with_table("no markers", "").is_err());
    }
}
