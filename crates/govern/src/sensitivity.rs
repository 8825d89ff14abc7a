//! Where a request may go: a label that is raised and never lowered.

/// Where a request may go. Stricter is greater.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sensitivity {
    /// Anywhere.
    #[default]
    Any,
    /// It never leaves this machine, also when nothing here can answer it.
    LocalOnly,
}

impl Sensitivity {
    /// The label of that name.
    pub fn from_name(name: &str) -> Option<Sensitivity> {
        [Sensitivity::Any, Sensitivity::LocalOnly].into_iter().find(|label| label.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Sensitivity::Any => "any",
            Sensitivity::LocalOnly => "local_only",
        }
    }
}
