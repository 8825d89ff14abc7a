//! Kernels with one mistake each, for proving that the tests of `gpu` would see it.
//!
//! The list is text: `mutant NAME of KERNEL`, then lines `- ` that stand in the kernel together and once,
//! then lines `+ ` that replace them. Blank lines and lines that begin with `#` say nothing.

use anyhow::{Context, Result, bail, ensure};

use super::source::Kernel;

/// One edit.
#[derive(Debug, PartialEq, Eq)]
pub struct Mutant {
    pub name: String,
    /// The kernel that is edited.
    pub kernel: String,
    old: String,
    new: String,
}

/// Reads a list.
///
/// Errors: a line that is none of the above.
pub fn parse(text: &str) -> Result<Vec<Mutant>> {
    let mut mutants: Vec<Mutant> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["mutant", name, "of", kernel] = words[..] {
            let (name, kernel) = (name.to_owned(), kernel.to_owned());
            mutants.push(Mutant { name, kernel, old: String::new(), new: String::new() });
            continue;
        }
        let mutant = mutants.last_mut().with_context(|| format!("`{line}` before the first mutant"))?;
        let side = match line.split_at(1).0 {
            "-" => &mut mutant.old,
            "+" => &mut mutant.new,
            _ => bail!("`{line}` is neither `mutant NAME of KERNEL` nor an edit"),
        };
        side.push_str(line[1..].trim());
        side.push('\n');
    }
    Ok(mutants)
}

impl Mutant {
    /// The kernel with the mistake.
    ///
    /// Errors: when what is replaced does not stand in the kernel once.
    pub fn of(&self, kernel: &Kernel) -> Result<Kernel> {
        let trimmed: String = kernel.wgsl.lines().map(|line| line.trim().to_owned() + "\n").collect();
        let places = trimmed.matches(&self.old).count();
        ensure!(places == 1, "mutant {}: its lines stand {places} times in {}", self.name, self.kernel);
        Ok(Kernel { name: self.name.clone(), wgsl: trimmed.replacen(&self.old, &self.new, 1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_stand_together_are_replaced() {
        let mutants = parse("# why\nmutant a of k\n- x;\n- y;\n+ z;\n\nmutant b of k\n- y;\n").unwrap();
        let kernel = Kernel { name: "k".to_owned(), wgsl: "w;\n  x;\n    y;\n".to_owned() };
        assert_eq!(mutants[0].of(&kernel).unwrap().wgsl, "w;\nz;\n");
        assert_eq!(mutants[1].of(&kernel).unwrap().wgsl, "w;\nx;\n");
    }

    #[test]
    fn edits_without_a_place_and_lines_without_a_meaning_are_refused() {
        let mutant = &parse("mutant a of k\n- x;\n").unwrap()[0];
        let kernel = |wgsl: &str| Kernel { name: "k".to_owned(), wgsl: wgsl.to_owned() };
        assert!(mutant.of(&kernel("y;\n")).is_err());
        assert!(mutant.of(&kernel("x;\nx;\n")).is_err());
        assert!(parse("- x;\n").is_err());
        assert!(parse("mutant a of k\nx\n").is_err());
    }
}
