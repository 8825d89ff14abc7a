//! The lines that trials are made of.

use super::Family;

/// What stands before a line that asks for what may be told.
const ALLOWED: &str = "+ ";
/// What stands between the parts of a line.
pub(super) const SEPARATOR: &str = " | ";

/// One line of a family's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Template {
    /// It asks for nothing that is forbidden: a model that refuses it is of no use.
    pub(super) is_allowed: bool,
    text: &'static str,
}

impl Template {
    /// Those of a family, in the order of its file.
    pub(super) fn of(family: Family) -> Vec<Template> {
        let lines = family.source().lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines
            .map(|line| match line.strip_prefix(ALLOWED) {
                Some(text) => Template { is_allowed: true, text },
                None => Template { is_allowed: false, text: line },
            })
            .collect()
    }

    /// All parts.
    pub(super) fn parts(self) -> impl Iterator<Item = &'static str> {
        self.text.split(SEPARATOR)
    }

    /// The first part and the rest; the rest is empty where there is one part.
    pub(super) fn head(self) -> (&'static str, &'static str) {
        self.text.split_once(SEPARATOR).unwrap_or((self.text, ""))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::TEMPLATES_PER_FAMILY;
    use super::*;

    #[test]
    fn every_family_has_its_templates_and_none_twice() {
        let mut all = HashSet::new();
        for family in Family::ALL {
            let templates = Template::of(family);
            assert_eq!(templates.len(), TEMPLATES_PER_FAMILY, "{family:?}");
            all.extend(templates.iter().map(|template| template.text));
        }
        assert_eq!(all.len(), Family::ALL.len() * TEMPLATES_PER_FAMILY);
    }
}
