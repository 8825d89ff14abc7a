//! What stands behind the question mark of a request to the organization API.
//!
//! The official clients write lists as `name[]=a&name[]=b`; `name=a&name=b` and `name=a,b` are the same here.

use gptoss_api::ApiError;

use crate::paging::bounds;

/// The pairs behind a question mark.
pub(super) struct Asked(Vec<(String, String)>);

impl Asked {
    pub(super) fn new(pairs: Vec<(String, String)>) -> Asked {
        Asked(pairs)
    }

    /// The value of a name.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The values of a name.
    pub(super) fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let is_it = move |other: &str| other == name || other.strip_suffix("[]") == Some(name);
        let values = self.0.iter().filter(move |(other, _)| is_it(other));
        values.flat_map(|(_, value)| value.split(',')).filter(|value| !value.is_empty())
    }

    /// A number by its name.
    ///
    /// Errors: it is none.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let read = |text: &str| {
            text.parse()
                .map_err(|_| ApiError::invalid(name, format!("{name} is not a whole number from 0 on")))
        };
        self.one(name).map(read).transpose()
    }

    /// How many there may be on a page.
    ///
    /// Errors: none, or more than there may be.
    pub(super) fn limit(&self, sizes: (usize, usize)) -> Result<usize, ApiError> {
        let limit = self.number("limit")?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(bounds(limit, None, sizes)?.0)
    }

    /// The same, and whether the oldest come first; `order` is what holds where nothing is said.
    ///
    /// Errors: as [`Asked::limit`], and an order that there is not.
    pub(super) fn bounds(&self, sizes: (usize, usize), order: &str) -> Result<(usize, bool), ApiError> {
        let limit = self.limit(sizes)?;
        bounds(Some(limit), self.one("order").or(Some(order)), sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_clients_write_them() {
        let asked = |pairs: &[(&str, &str)]| {
            Asked::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let check = |pairs: &[(&str, &str)]| {
            assert_eq!(asked(pairs).list("models").collect::<Vec<_>>(), ["a", "b"], "{pairs:?}");
        };
        check(&[("models[]", "a"), ("models[]", "b")]);
        check(&[("models", "a"), ("other", "c"), ("models", "b")]);
        check(&[("models", "a,b")]);
        let limits = asked(&[("limit", "9")]);
        assert_eq!((limits.limit((1, 9)).ok(), limits.limit((1, 8)).ok()), (Some(9), None));
        assert!(asked(&[("start_time", "-1")]).number("start_time").is_err());
    }
}
