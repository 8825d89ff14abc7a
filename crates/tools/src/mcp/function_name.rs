//! Names of functions, made of a server's names.
//!
//! A call's recipient is a namespace, a dot and a name of letters, digits and underscores; a server may call
//! its tools what it likes.

use std::collections::HashSet;

use super::limits::MCP_FUNCTION_BYTES_MAX;

/// Namespaces that mean something else to the model.
const TAKEN_NAMESPACES: &[&str] = &["assistant", "browser", "container", "functions", "python", "user"];

/// A name for each of the tools, in their order, no two the same. A tool that is called by a valid name keeps
/// it.
pub(super) fn function_names(tools: &[&str]) -> Vec<String> {
    let mut taken: HashSet<String> =
        tools.iter().filter(|tool| mapped(tool) == **tool).map(|tool| (*tool).to_owned()).collect();
    tools
        .iter()
        .map(|tool| {
            let name = mapped(tool);
            if name == *tool {
                return name;
            }
            let name = free(&name, &taken);
            taken.insert(name.clone());
            name
        })
        .collect()
}

/// The namespace of a server's label.
pub(super) fn namespace_name(label: &str) -> String {
    let name = mapped(label);
    if TAKEN_NAMESPACES.contains(&name.as_str()) { format!("mcp_{name}") } else { name }
}

fn mapped(name: &str) -> String {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let start = if starts_well { "" } else { "_" };
    let chars = name.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' });
    start.chars().chain(chars).take(MCP_FUNCTION_BYTES_MAX).collect()
}

/// The name, or it with the first number that makes it free.
fn free(name: &str, taken: &HashSet<String>) -> String {
    let numbered = (2..).map(|number: usize| {
        let end = format!("_{number}");
        let kept = name.len().min(MCP_FUNCTION_BYTES_MAX - end.len());
        format!("{}{end}", &name[..kept])
    });
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|name| !taken.contains(name))
        .expect("there are more numbers than names")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_mapped_without_clashes() {
        let check = |tools: &[&str], expected: &[&str]| assert_eq!(function_names(tools), expected);
        check(&["read_file", "A9"], &["read_file", "A9"]);
        check(&["read-file", "read.file", "read_file"], &["read_file_2", "read_file_3", "read_file"]);
        check(&["a b", "a_b_2", "a_b"], &["a_b_3", "a_b_2", "a_b"]);
        check(&["2nd", "", "日本"], &["_2nd", "_", "___"]);
        let long = "x".repeat(70);
        let other = format!("{long}y");
        let names = function_names(&[&long, &other]);
        assert_eq!(names[0], "x".repeat(64));
        assert_eq!(names[1], format!("{}_2", "x".repeat(62)));
    }

    #[test]
    fn a_namespace_is_not_one_that_means_something_else() {
        for (label, expected) in
            [("my-docs", "my_docs"), ("python", "mcp_python"), ("functions", "mcp_functions")]
        {
            assert_eq!(namespace_name(label), expected);
        }
    }
}
