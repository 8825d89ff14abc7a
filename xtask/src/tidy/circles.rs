//! Circles between the modules of a crate.
//!
//! [`check`] reads which module names which (`use` trees and paths in code alike, re-exports followed to the
//! file that holds the name) and reports every set of files that depend on each other, with the lines that
//! tie them. A parent and what lies below it count as one: a child may use what its parent defines, and a
//! parent its children. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};

use syn::Item;

use super::Violation;
use super::syntax::{Source, Token, TokenKind};

/// Re-exports that are followed from one to the next.
const REEXPORTS_MAX: usize = 8;

/// A module's path from the root of its crate, without `crate`.
type ModulePath = Vec<String>;

/// One file of a crate, as far as circles are concerned.
pub struct Module {
    file: String,
    path: ModulePath,
    /// What each imported name leads to, so that `super::Name` finds the file that defines it.
    imports: BTreeMap<String, ModulePath>,
    /// Modules of which everything is imported.
    globs: Vec<ModulePath>,
    defined: BTreeSet<String>,
    /// Paths in the code that begin in this crate, with their lines.
    uses: Vec<(usize, ModulePath)>,
}

/// The module that a source file holds; `None` for tests, examples and build scripts.
pub fn module(source: &Source) -> Option<Module> {
    let inner = source.path.split_once("/src/")?.1.strip_suffix(".rs")?;
    let path: ModulePath =
        inner.split('/').filter(|part| !matches!(*part, "lib" | "main" | "mod")).map(str::to_owned).collect();
    if super::files::is_test(source.path) {
        return None;
    }
    let mut module = Module {
        file: source.path.to_owned(),
        imports: BTreeMap::new(),
        globs: Vec::new(),
        defined: source.file.items.iter().filter_map(defined_name).collect(),
        uses: Vec::new(),
        path,
    };
    for item in &source.file.items {
        if let Item::Use(item) = item {
            module.import(&item.tree, Vec::new());
        }
    }
    module.uses = uses(source, &module.path);
    Some(module)
}

impl Module {
    fn import(&mut self, tree: &syn::UseTree, mut prefix: Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.import(&path.tree, prefix);
            }
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, prefix.clone()));
            }
            syn::UseTree::Glob(_) => self.globs.push(absolute(&self.path, &prefix)),
            syn::UseTree::Name(name) => {
                let name = name.ident.to_string();
                prefix.extend((name != "self").then(|| name.clone()));
                let name = prefix.last().cloned().unwrap_or(name);
                self.imports.insert(name, absolute(&self.path, &prefix));
            }
            syn::UseTree::Rename(rename) => {
                prefix.push(rename.ident.to_string());
                self.imports.insert(rename.rename.to_string(), absolute(&self.path, &prefix));
            }
        }
    }
}

fn defined_name(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        _ => return None,
    })
}

/// A path as it reads from the crate's root; one that begins in another crate stays and leads to no file.
fn absolute(module: &[String], path: &[String]) -> ModulePath {
    let num_supers = path.iter().take_while(|part| *part == "super").count();
    match path.first().map(String::as_str) {
        Some("crate") => path[1..].to_vec(),
        Some("self") => [module, &path[1..]].concat(),
        Some("super") => [&module[..module.len().saturating_sub(num_supers)], &path[num_supers..]].concat(),
        _ => [module, path].concat(),
    }
}

/// Every path that begins with `crate`, `super` or `self`, in `use` trees and in code, tests left out.
fn uses(source: &Source, module: &[String]) -> Vec<(usize, ModulePath)> {
    let tokens = &source.tokens;
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let begins = matches!(&token.kind, TokenKind::Word(word) if matches!(word.as_str(), "crate" | "super" | "self"));
        let continues = index.checked_sub(2).is_some_and(|before| leads_on(tokens, before))
            || index.checked_sub(1).is_some_and(|before| is_word(&tokens[before], "in"));
        if begins && !continues && leads_on(tokens, index + 1) && !source.test_lines.contains(&token.line) {
            let mut paths = Vec::new();
            read_tree(tokens, index, &mut Vec::new(), &mut paths);
            found.extend(paths.into_iter().map(|(line, path)| (line, absolute(module, &path))));
        }
    }
    found
}

/// Reads a path or a tree of them; gives the index after it.
fn read_tree(
    tokens: &[Token],
    mut index: usize,
    prefix: &mut Vec<String>,
    paths: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let depth = prefix.len();
    let mut line = tokens.get(index).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(index) {
        match &token.kind {
            TokenKind::Word(word) => {
                line = token.line;
                prefix.extend((word != "self" || prefix.is_empty()).then(|| word.clone()));
                index += 1;
                if leads_on(tokens, index) {
                    index += 2;
                    continue;
                }
                paths.push((line, prefix.clone()));
            }
            TokenKind::Mark('{') if depth < prefix.len() => {
                index += 1;
                while tokens.get(index).is_some_and(|token| token.kind != TokenKind::Mark('}')) {
                    index = read_tree(tokens, index, prefix, paths).max(index + 1);
                    if tokens.get(index).is_some_and(|token| token.kind == TokenKind::Mark(',')) {
                        index += 1;
                    }
                }
                index += 1;
            }
            // A glob, or generics: what stands before it is the path.
            _ => paths.push((line, prefix.clone())),
        }
        break;
    }
    prefix.truncate(depth);
    index
}

/// Whether `::` stands here.
fn leads_on(tokens: &[Token], index: usize) -> bool {
    let is_colon = |index: usize| tokens.get(index).is_some_and(|token| token.kind == TokenKind::Mark(':'));
    is_colon(index) && is_colon(index + 1)
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(&token.kind, TokenKind::Word(found) if found == word)
}

/// Circles of every crate whose modules are given.
pub fn check(modules: &[Module]) -> Vec<Violation> {
    let mut by_crate: BTreeMap<&str, Vec<&Module>> = BTreeMap::new();
    for module in modules {
        let folder = module.file.split("/src/").next().unwrap_or_default();
        by_crate.entry(folder).or_default().push(module);
    }
    by_crate.values().flat_map(|modules| circles(modules)).collect()
}

fn circles(modules: &[&Module]) -> Vec<Violation> {
    let edges: Vec<BTreeMap<usize, usize>> = (0..modules.len()).map(|from| edges_of(modules, from)).collect();
    let reached: Vec<BTreeSet<usize>> = (0..modules.len()).map(|from| reach(&edges, from)).collect();
    let mut seen = BTreeSet::new();
    let mut violations = Vec::new();
    for from in 0..modules.len() {
        let circle: Vec<usize> =
            reached[from].iter().copied().filter(|to| reached[*to].contains(&from)).collect();
        if circle.contains(&from) && seen.insert(circle.clone()) {
            violations.push(describe(modules, &edges, &circle));
        }
    }
    violations
}

/// The modules that one uses, with the first line that says so.
fn edges_of(modules: &[&Module], from: usize) -> BTreeMap<usize, usize> {
    let mut edges = BTreeMap::new();
    for (line, path) in &modules[from].uses {
        let Some(to) = resolve(modules, path, REEXPORTS_MAX) else { continue };
        let (a, b) = (&modules[from].path, &modules[to].path);
        if !a.starts_with(b) && !b.starts_with(a) {
            edges.entry(to).or_insert(*line);
        }
    }
    edges
}

/// The module that holds what a path names, through re-exports.
fn resolve(modules: &[&Module], path: &[String], reexports_left: usize) -> Option<usize> {
    let longest = (0..=path.len()).rev().find_map(|length| {
        modules.iter().position(|module| module.path == path[..length]).map(|index| (index, length))
    });
    let (index, length) = longest?;
    let module = modules[index];
    let Some(name) = path.get(length) else { return Some(index) };
    if module.defined.contains(name) || reexports_left == 0 {
        return Some(index);
    }
    if let Some(target) = module.imports.get(name).filter(|target| **target != path[..=length]) {
        return resolve(modules, target, reexports_left - 1);
    }
    let in_glob = module.globs.iter().find_map(|glob| {
        let target = modules.iter().position(|module| module.path == *glob)?;
        modules[target].defined.contains(name).then_some(target)
    });
    in_glob.or(Some(index))
}

fn reach(edges: &[BTreeMap<usize, usize>], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<usize> = edges[from].keys().copied().collect();
    while let Some(next) = waiting.pop() {
        if reached.insert(next) {
            waiting.extend(edges[next].keys().copied());
        }
    }
    reached
}

fn describe(modules: &[&Module], edges: &[BTreeMap<usize, usize>], circle: &[usize]) -> Violation {
    let name = |index: usize| modules[index].path.join("::");
    let members: Vec<String> = circle.iter().map(|index| name(*index)).collect();
    let mut ties = String::new();
    for &from in circle {
        for (to, line) in edges[from].iter().filter(|(to, _)| circle.contains(to)) {
            ties.push_str(&format!("\n    {}:{line} uses {}", modules[from].file, name(*to)));
        }
    }
    let message = format!(
        "{} modules depend on each other ({}): move what both sides need into a module of its own{ties}",
        circle.len(),
        members.join(", ")
    );
    Violation::of(&modules[circle[0]].file, "circles", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let modules: Vec<Module> = files
            .iter()
            .filter_map(|(path, text)| module(&Source::parse(path, text).ok().unwrap()))
            .collect();
        check(&modules).into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn two_files_that_use_each_other_are_a_circle() {
        let a = ("crates/x/src/a.rs", "use crate::b::{self, B};\nfn f() {}\n");
        let b = ("crates/x/src/b.rs", "struct B;\nfn g() { crate::a::f() }\n");
        let messages = found(&[a, b]);
        assert_eq!(messages.len(), 1);
        for part in ["2 modules", "crates/x/src/a.rs:1 uses b", "crates/x/src/b.rs:2 uses a"] {
            assert!(messages[0].contains(part), "{}", messages[0]);
        }
        assert_eq!(found(&[a, ("crates/x/src/b.rs", "struct B;\n")]), [""; 0]);
        assert_eq!(found(&[a, ("crates/y/src/b.rs", "use crate::a;\n")]), [""; 0], "two crates");
    }

    #[test]
    fn reexports_lead_to_the_file_that_defines() {
        let lib = ("crates/x/src/lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::*;\n");
        let a = ("crates/x/src/a.rs", "use crate::B;\npub struct A;\n");
        let b = ("crates/x/src/b.rs", "pub struct B;\nfn f(_: super::A) {}\n");
        assert_eq!(found(&[lib, a, b]).len(), 1);
        assert_eq!(found(&[lib, a, ("crates/x/src/b.rs", "pub struct B;\n")]), [""; 0]);
    }

    #[test]
    fn parents_and_children_count_as_one_and_tests_do_not_count() {
        let parent = ("crates/x/src/a.rs", "mod b;\npub struct A;\nfn f() { self::b::g() }\n");
        let child = ("crates/x/src/a/b.rs", "use super::A;\npub fn g() {}\n");
        assert_eq!(found(&[parent, child]), [""; 0]);
        let tested = "pub fn g() {}\n#[cfg(test)]\nmod tests {\n    use crate::c::C;\n}\n";
        let other = ("crates/x/src/c.rs", "use crate::d;\npub struct C;\n");
        assert_eq!(found(&[("crates/x/src/d.rs", tested), other]), [""; 0]);
    }
}
