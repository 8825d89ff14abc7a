//! The classes of tokens: outside, or a tag of a kind of span.
//!
//! [`LabelSpace`] is made of the names of a config: "O" and, for each kind, its four tags ("B-secret",
//! "I-secret", "E-secret", "S-secret"), in any order. A set without one of them is refused, because no whole
//! span of that kind could be decoded.

use std::sync::Arc;

/// The most classes that there may be; a way back is then a byte.
const CLASSES_MAX: usize = 255;

/// The kinds of spans of the published model, in the order of its head.
const PUBLISHED: [&str; 8] = [
    "account_number",
    "private_address",
    "private_date",
    "private_email",
    "private_person",
    "private_phone",
    "private_url",
    "secret",
];

/// The place of a token in a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// The first of several.
    Begin,
    /// Neither first nor last.
    Inside,
    /// The last of several.
    End,
    /// The only one.
    Single,
}

/// What a row of the head means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// In no span.
    Outside,
    /// In a span of a kind.
    In {
        /// Where in it.
        tag: Tag,
        /// Which kind, as an index of [`LabelSpace::kinds`].
        kind: usize,
    },
}

/// The classes, in the order of the head's rows, and the kinds of spans that they make.
#[derive(Clone, Debug)]
pub(crate) struct LabelSpace {
    pub(crate) classes: Vec<Class>,
    pub(crate) kinds: Vec<Arc<str>>,
}

impl LabelSpace {
    /// The names of the published model's classes.
    pub(crate) fn published() -> Vec<String> {
        let tags = |kind| ["B", "I", "E", "S"].map(|tag| format!("{tag}-{kind}"));
        std::iter::once("O".to_owned()).chain(PUBLISHED.into_iter().flat_map(tags)).collect()
    }

    /// Errors: in words, what the names must be.
    pub(crate) fn new(names: &[String]) -> Result<LabelSpace, String> {
        if !(1..=CLASSES_MAX).contains(&names.len()) {
            return Err(format!("from 1 to {CLASSES_MAX}"));
        }
        let mut space = LabelSpace { classes: Vec::new(), kinds: Vec::new() };
        for name in names {
            let class = space.class(name)?;
            if space.classes.contains(&class) {
                return Err(format!("different: {name:?} is there twice"));
            }
            space.classes.push(class);
        }
        // All are different, so that their number tells whether each kind has its four tags.
        match space.classes.contains(&Class::Outside) && names.len() == 1 + 4 * space.kinds.len() {
            true => Ok(space),
            false => Err("\"O\", and B-, I-, E- and S- of each kind of span".to_owned()),
        }
    }

    fn class(&mut self, name: &str) -> Result<Class, String> {
        let (tag, kind) = match name.split_once('-') {
            None if name == "O" => return Ok(Class::Outside),
            Some(("B", kind)) => (Tag::Begin, kind),
            Some(("I", kind)) => (Tag::Inside, kind),
            Some(("E", kind)) => (Tag::End, kind),
            Some(("S", kind)) => (Tag::Single, kind),
            _ => return Err(format!("\"O\", or a kind of span after B-, I-, E- or S-; {name:?} is neither")),
        };
        let known = self.kinds.iter().position(|known| **known == *kind);
        let kind = known.unwrap_or_else(|| {
            self.kinds.push(kind.into());
            self.kinds.len() - 1
        });
        Ok(Class::In { tag, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_classes() {
        let names = LabelSpace::published();
        assert_eq!((names.len(), names[0].as_str(), names[1].as_str()), (33, "O", "B-account_number"));
        assert_eq!((names[32].as_str(), names[18].as_str()), ("S-secret", "I-private_person"));
        let space = LabelSpace::new(&names).unwrap();
        assert_eq!(space.classes[32], Class::In { tag: Tag::Single, kind: 7 });
        assert_eq!((&*space.kinds[4], space.kinds.len()), ("private_person", 8));
    }

    #[test]
    fn classes_that_make_no_whole_span_are_refused() {
        let check = |names: &[&str], expected: &str| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let error = LabelSpace::new(&names).unwrap_err();
            assert!(error.contains(expected), "{names:?}: {error}");
        };
        check(&[], "from 1");
        check(&["O", "B-x", "I-x", "E-x"], "of each kind");
        check(&["B-x", "I-x", "E-x", "S-x"], "of each kind");
        check(&["O", "B-x", "I-x", "E-x", "S-y"], "of each kind");
        check(&["O", "O", "B-x", "I-x", "E-x", "S-x"], "twice");
        check(&["O", "x"], "neither");
    }
}
