//! Is each file and each function short enough to read?
//!
//! [`check`] counts code that ships: no tests, no documentation, no comments, no blank lines. A file that crosses
//! the limit holds two nouns; a function that crosses it does two things. The limits are ratchets without a list
//! of exceptions, and wire types (`wire/` folders: plain serde data) are the only files exempt.
//!
//! [`print_sizes`] prints what was counted, for people who wonder where the code is.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use syn::spanned::Spanned;
use syn::visit::Visit;

use super::syntax::Source;
use super::{Violation, files};

/// Code lines of a file, tests left out.
const FILE_LINES_MAX: usize = 600;
/// Code lines of a function, from its signature to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// How many of the longest files and functions [`print_sizes`] shows.
const LONGEST_SHOWN: usize = 10;

/// A function that ships.
struct Function {
    name: String,
    line: usize,
    num_lines: usize,
}

/// Files and functions over their limit.
pub fn check(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    let num_lines = source.shipped_lines(0..usize::MAX);
    if num_lines > FILE_LINES_MAX && !source.path.contains("/wire/") {
        let message =
            format!("{num_lines} code lines, at most {FILE_LINES_MAX}: split it by what it answers");
        violations.push(Violation::of(source.path, "sizes", message));
    }
    for function in functions(source).into_iter().filter(|function| function.num_lines > FUNCTION_LINES_MAX) {
        let message = format!(
            "function `{}` has {} code lines, at most {FUNCTION_LINES_MAX}: give its parts names of their own",
            function.name, function.num_lines
        );
        violations.push(Violation::at(source.path, function.line, "sizes", message));
    }
    violations
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

    fn function_of(num_lines: usize) -> String {
        format!("//! Head.\n\n/// Doc.\nfn f() {{\n{}}}\n", "    work();\n".repeat(num_lines - 2))
    }

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let source = Source::parse(path, text).ok().unwrap();
        check(&source).into_iter().map(|violation| (violation.line, violation.message)).collect()
    }

    #[test]
    fn a_function_may_have_the_limit_and_no_more() {
        assert_eq!(found("crates/x/src/a.rs", &function_of(FUNCTION_LINES_MAX)), []);
        let long = found("crates/x/src/a.rs", &function_of(FUNCTION_LINES_MAX + 1));
        assert!(long.len() == 1 && long[0].0 == 4 && long[0].1.contains("`f` has 71 code lines"), "{long:?}");
        let method = format!("struct A;\nimpl A {{\n{}\n}}\n", &function_of(80)["//! Head.\n".len()..]);
        assert_eq!(found("crates/x/src/a.rs", &method).len(), 1);
    }

    #[test]
    fn comments_documentation_and_tests_do_not_count() {
        let commented = format!("fn f() {{\n{}    work();\n}}\n", "    // why\n\n".repeat(100));
        assert_eq!(found("crates/x/src/a.rs", &commented), []);
        let tested =
            format!("#[cfg(test)]\nmod tests {{\n{}\n}}\n", function_of(700).replace("//! Head.", ""));
        assert_eq!(found("crates/x/src/a.rs", &tested), []);
        assert_eq!(found("crates/x/tests/a.rs", &function_of(700)), []);
    }

    #[test]
    fn a_long_file_fails_unless_it_holds_wire_types() {
        let long = "const A: u8 = 1;\n".repeat(FILE_LINES_MAX + 1);
        assert!(found("crates/x/src/a.rs", &long)[0].1.contains("601 code lines"));
        assert_eq!(found("crates/server/src/wire/chat.rs", &long), []);
    }
}
