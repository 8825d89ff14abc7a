//! Names that name nothing.
//!
//! A few words name nothing: they say that the author did not know where a thing belongs. [`check_path`]
//! refuses them as names of files, folders and crates, [`check`] as names of modules and as the last word of
//! a type's name. If no better name comes, the room is wrong.
//!
//! Functions, variables and fields are left to review: the words are fine inside a sentence.

use syn::Ident;
use syn::visit::Visit;

use super::Violation;
use super::syntax::Source;

/// Words that name nothing, in the forms that files and modules use.
const BANNED: &[&str] = &[
    "util",
    "utils",
    "helper",
    "helpers",
    "common",
    "misc",
    "base",
    "core",
    "types",
    "manager",
    "processor",
    "info",
    "ctx",
];

const ADVICE: &str = "name it for the one thing it holds, or move its parts to where they belong";

/// File, folder and crate names.
pub fn check_path(path: &str) -> Option<Violation> {
    let parts = path.split('/').map(|part| part.split('.').find(|word| !word.is_empty()).unwrap_or(part));
    let word = parts.filter_map(banned_word).next()?;
    Some(Violation::of(path, "names", format!("`{word}` says nothing: {ADVICE}")))
}

/// Names of modules and types.
pub fn check(source: &Source) -> Vec<Violation> {
    let mut finder = Names { path: source.path, violations: Vec::new() };
    finder.visit_file(&source.file);
    finder.violations
}

/// The banned word that a name is or ends in. `CamelCase` and `snake_case` alike.
fn banned_word(name: &str) -> Option<&'static str> {
    let last = last_word(name).to_lowercase();
    BANNED.iter().find(|word| **word == last).copied()
}

fn last_word(name: &str) -> &str {
    let name = name.trim_end_matches('_');
    let snake = name.rsplit(['_', '-']).next().unwrap_or(name);
    match snake.rfind(char::is_uppercase) {
        Some(start) if snake.chars().any(char::is_lowercase) => &snake[start..],
        _ => snake,
    }
}

struct Names<'a> {
    path: &'a str,
    violations: Vec<Violation>,
}

impl Names<'_> {
    fn check(&mut self, kind: &str, name: &Ident) {
        let text = name.to_string();
        if let Some(word) = banned_word(&text) {
            let message = format!("{kind} `{text}`: `{word}` says nothing: {ADVICE}");
            self.violations.push(Violation::at(self.path, name.span().start().line, "names", message));
        }
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.check("module", &item.ident);
        syn::visit::visit_item_mod(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.check("type", &item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.check("type", &item.ident);
    }

    fn visit_item_union(&mut self, item: &'ast syn::ItemUnion) {
        self.check("type", &item.ident);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.check("type", &item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.check("trait", &item.ident);
        syn::visit::visit_item_trait(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String)> {
        let source = Source::parse("crates/x/src/a.rs", text).ok().unwrap();
        check(&source).into_iter().map(|violation| (violation.line, violation.message)).collect()
    }

    #[test]
    fn paths_with_banned_words_fail() {
        for path in [
            "crates/x/src/utils.rs",
            "crates/x/src/misc/a.rs",
            "crates/core/src/lib.rs",
            "crates/gptoss-core/Cargo.toml",
            "crates/x/src/token_helpers.rs",
            "crates/x/tests/common/mod.rs",
            "demo/types.py",
        ] {
            assert!(check_path(path).is_some(), "{path}");
        }
        for path in ["crates/x/src/score.rs", ".ci/run", "docs/database.md", "crates/x/src/commonplace.rs"] {
            assert_eq!(check_path(path), None, "{path}");
        }
    }

    #[test]
    fn types_and_modules_with_banned_words_fail() {
        let text = "mod helpers {}\nstruct TokenManager;\nenum ModelInfo {}\ntype GpuCtx = u8;\ntrait Processor {}\n";
        let lines: Vec<usize> = found(text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5]);
        assert!(found("mod inner {\n    pub struct Core;\n}\n")[0].1.contains("type `Core`"));
    }

    #[test]
    fn other_names_pass() {
        assert_eq!(
            found("struct Score;\nstruct Information;\nenum InfoLevel {}\nfn core() {}\nmod tests {}\n"),
            []
        );
    }
}
