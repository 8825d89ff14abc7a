//! Sizes of files: code that ships, without tests, documentation, comments and blank lines.
//!
//! A file that crosses the limit holds two nouns. There is no list of exceptions but wire types (`wire/`
//! folders: plain serde data). The length of functions is clippy's (`too_many_lines`); [`print_sizes`] shows
//! the longest of both.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use syn::spanned::Spanned;
use syn::visit::Visit;

use super::syntax::Source;
use super::{Violation, files};

/// Code lines of a file, tests left out.
const FILE_LINES_MAX: usize = 600;
/// How many of the longest files and functions [`print_sizes`] shows.
const LONGEST_SHOWN: usize = 10;

/// A function that ships.
struct Function {
    name: String,
    line: usize,
    num_lines: usize,
}

/// A file over its limit.
pub fn check(source: &Source) -> Option<Violation> {
    let num_lines = source.shipped_lines(0..usize::MAX);
    (num_lines > FILE_LINES_MAX && !source.path.contains("/wire/")).then(|| {
        let message =
            format!("{num_lines} code lines, at most {FILE_LINES_MAX}: split it by what it answers");
        Violation::of(source.path, "sizes", message)
    })
}

fn functions(source: &Source) -> Vec<Function> {
    let mut finder = Functions { source, found: Vec::new() };
    finder.visit_file(&source.file);
    finder.found
}

struct Functions<'a> {
    source: &'a Source<'a>,
    found: Vec<Function>,
}

impl Functions<'_> {
    fn record(&mut self, signature: &syn::Signature, end: usize) {
        let line = signature.span().start().line;
        let num_lines = self.source.shipped_lines(line..end + 1);
        self.found.push(Function { name: signature.ident.to_string(), line, num_lines });
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.record(&item.sig, item.span().end().line);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.record(&item.sig, item.span().end().line);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.record(&item.sig, item.span().end().line);
        syn::visit::visit_trait_item_fn(self, item);
    }
}

/// Prints code lines by crate, and the longest files and functions.
///
/// Errors: when the files cannot be listed, read or parsed.
pub fn print_sizes(root: &Path) -> Result<()> {
    let mut by_crate: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_file = Vec::new();
    let mut by_function = Vec::new();
    for path in files::list(root)?.into_iter().filter(|path| path.ends_with(".rs")) {
        let text = std::fs::read_to_string(root.join(&path))?;
        let source = Source::parse(&path, &text).map_err(|violation| anyhow::anyhow!("{violation}"))?;
        let num_lines = source.shipped_lines(0..usize::MAX);
        let owner = files::room(&path).unwrap_or_else(|| path.split('/').next().unwrap_or_default());
        *by_crate.entry(owner.to_owned()).or_default() += num_lines;
        let named =
            |function: Function| (function.num_lines, format!("{path}:{} {}", function.line, function.name));
        by_function.extend(functions(&source).into_iter().map(named));
        by_file.push((num_lines, path));
    }
    let total: usize = by_crate.values().sum();
    println!("code lines, tests and documentation left out");
    by_crate.iter().for_each(|(name, num_lines)| println!("{num_lines:7} {name}"));
    println!("{total:7} total");
    print_longest("files", by_file);
    print_longest("functions", by_function);
    Ok(())
}

fn print_longest(what: &str, mut sized: Vec<(usize, String)>) {
    sized.sort_by(|a, b| b.cmp(a));
    println!("longest {what}");
    sized.iter().take(LONGEST_SHOWN).for_each(|(num_lines, name)| println!("{num_lines:7} {name}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Option<String> {
        let source = Source::parse(path, text).ok().unwrap();
        check(&source).map(|violation| violation.message)
    }

    #[test]
    fn a_long_file_fails_unless_it_holds_wire_types() {
        let long = "const A: u8 = 1;\n".repeat(FILE_LINES_MAX + 1);
        assert!(found("crates/x/src/a.rs", &long).unwrap().contains("601 code lines"));
        assert_eq!(found("crates/server/src/wire/chat.rs", &long), None);
        assert_eq!(found("crates/x/tests/a.rs", &long), None);
        let tested = format!("#[cfg(test)]\nmod tests {{\n{long}\n}}\n");
        assert_eq!(found("crates/x/src/a.rs", &tested), None);
        let commented = format!("{}// why\n", "\n// why\n\n".repeat(FILE_LINES_MAX));
        assert_eq!(found("crates/x/src/a.rs", &commented), None);
    }

    #[test]
    fn functions_are_measured_wherever_they_stand() {
        let text = "fn f() {\n    g();\n}\nimpl A {\n    // why\n    fn h() {}\n}\n";
        let source = Source::parse("crates/x/src/a.rs", text).ok().unwrap();
        let sizes: Vec<_> = functions(&source).into_iter().map(|one| (one.name, one.num_lines)).collect();
        assert_eq!(sizes, [("f".to_owned(), 3), ("h".to_owned(), 1)]);
    }
}
