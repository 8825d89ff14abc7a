//! What a route asks of the key behind a request.
//!
//! A [`Need`] stands beside every handler in the table of routes, so that a handler without one does not
//! compile. The scopes are those of the room `govern`; a key of the simple file has all but `admin`, unless
//! its line says which.

use gptoss_api::ApiError;
use gptoss_govern::Scope;

/// What a method of a route asks of whoever sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it tells nobody anything.
    Nothing,
    /// A key, whatever it may do.
    Key,
    /// A key with that scope.
    Scope(Scope),
}

impl Need {
    /// Its name, in the table that is told.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Need::Nothing => "nothing",
            Need::Key => "key",
            Need::Scope(scope) => scope.name(),
        }
    }
}

/// What a key may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Scopes(Vec<Scope>);

impl Scopes {
    /// Every one.
    pub(crate) fn all() -> Scopes {
        Scopes(Scope::ALL.to_vec())
    }

    /// These.
    pub(crate) fn of(scopes: impl IntoIterator<Item = Scope>) -> Scopes {
        Scopes(scopes.into_iter().collect())
    }

    /// Those of a list with commas.
    ///
    /// Errors: a word that is none, in words for whoever wrote it.
    pub(crate) fn parse(list: &str) -> Result<Scopes, String> {
        let named = |word: &str| {
            Scope::from_name(word).ok_or_else(|| {
                let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
                format!("scopes: {word:?} is none of {}", known.join(", "))
            })
        };
        list.split(',').map(named).collect::<Result<_, _>>().map(Scopes)
    }

    /// Without that one.
    pub(crate) fn without(mut self, scope: Scope) -> Scopes {
        self.0.retain(|other| *other != scope);
        self
    }

    /// Whether that is among them.
    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Whether they meet what a route asks.
    ///
    /// Errors: `Unscoped`, when they do not.
    pub(crate) fn meet(&self, need: Need) -> Result<(), ApiError> {
        match need {
            Need::Scope(scope) if !self.has(scope) => Err(ApiError::Unscoped { scope: scope.name() }),
            Need::Nothing | Need::Key | Need::Scope(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_is_met_by_its_own_scope_alone() {
        for scope in Scope::ALL {
            let one = Scopes::of([scope]);
            for other in Scope::ALL {
                assert_eq!(one.meet(Need::Scope(other)).is_ok(), one.has(other), "{scope:?} {other:?}");
            }
            assert_eq!((one.meet(Need::Key), one.meet(Need::Nothing)), (Ok(()), Ok(())));
        }
        assert_eq!(Scopes::parse("infer,metrics"), Ok(Scopes::of([Scope::Infer, Scope::Metrics])));
        assert!(Scopes::parse("infer,fly").unwrap_err().contains("\"fly\""));
        assert!(Scopes::parse("").is_err());
    }
}
