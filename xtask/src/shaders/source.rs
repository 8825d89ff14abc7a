//! WGSL of one kernel, put together from its file and the parts that it names.
//!
//! WGSL has no way to include a file. A line `//include NAME` stands for `parts/NAME.wgsl`, which may include
//! others; a part comes once, where it is first named. A line `//variants NAME 1 2 4` makes a kernel for each
//! value, in which `const NAME: u32` has it; its name is that of the file with `_1`, `_2`, ... behind it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};

/// A kernel as the translator takes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    pub name: String,
    pub wgsl: String,
}

/// The kernels that a file makes: one, or one for each of its variants.
///
/// Errors: a part that `part(name)` does not give, or a directive that is not one.
pub fn kernels(name: &str, text: &str, part: &dyn Fn(&str) -> Result<String>) -> Result<Vec<Kernel>> {
    let mut variants = None;
    let mut wgsl = String::new();
    expand(text, part, &mut BTreeSet::new(), &mut wgsl, &mut variants)?;
    let Some((constant, values)) = variants else {
        return Ok(vec![Kernel { name: name.to_owned(), wgsl }]);
    };
    Ok(values
        .iter()
        .map(|value| Kernel {
            name: format!("{name}_{value}"),
            wgsl: format!("const {constant}: u32 = {value}u;\n{wgsl}"),
        })
        .collect())
}

/// The name of a constant and its values.
type Variants = (String, Vec<u32>);

fn expand(
    text: &str,
    part: &dyn Fn(&str) -> Result<String>,
    included: &mut BTreeSet<String>,
    out: &mut String,
    variants: &mut Option<Variants>,
) -> Result<()> {
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["//include", name] => {
                if included.insert(name.to_owned()) {
                    let text = part(name).with_context(|| format!("`{line}`"))?;
                    expand(&text, part, included, out, variants)?;
                }
            }
            ["//variants", constant, ref values @ ..] if variants.is_none() && !values.is_empty() => {
                let values = values.iter().map(|value| value.parse()).collect::<Result<_, _>>();
                *variants = Some((constant.to_owned(), values.with_context(|| format!("`{line}`"))?));
            }
            ["//include" | "//variants", ..] => bail!("`{line}` is not a directive"),
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> Result<Vec<(String, String)>> {
        let part = |name: &str| match name {
            "a" => Ok("//include b\nA\n".to_owned()),
            "b" => Ok("B\n".to_owned()),
            _ => bail!("no part {name}"),
        };
        Ok(kernels("op", text, &part)?.into_iter().map(|kernel| (kernel.name, kernel.wgsl)).collect())
    }

    #[test]
    fn parts_come_once_and_variants_have_their_constant() {
        let plain = made("//include b\nX\n//include a\nY\n").unwrap();
        assert_eq!(plain, [("op".to_owned(), "B\nX\nA\nY\n".to_owned())]);
        let two = made("//variants T 1 8\nX\n").unwrap();
        assert_eq!(two[1], ("op_8".to_owned(), "const T: u32 = 8u;\nX\n".to_owned()));
        assert_eq!((two.len(), two[0].0.as_str()), (2, "op_1"));
    }

    #[test]
    fn unknown_parts_and_directives_are_refused() {
        assert!(made("//include c\n").is_err());
        assert!(made("//variants T\n").is_err());
        assert!(made("//variants T 1 x\n").is_err());
        assert!(made("//variants T 1\n//variants U 1\n").is_err());
    }
}
