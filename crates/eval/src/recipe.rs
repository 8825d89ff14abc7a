//! Whose prompts, permutations and limits an evaluation follows.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A reference implementation, which says with which published number a score may be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recipe {
    /// `gpt_oss.evals`, of the repository openai/gpt-oss.
    #[default]
    GptOss,
    /// openai/simple-evals.
    SimpleEvals,
    /// The gpt-oss-120b benchmark of MLPerf Inference.
    Mlperf,
}

impl Recipe {
    /// All of them.
    pub const ALL: [Recipe; 3] = [Recipe::GptOss, Recipe::SimpleEvals, Recipe::Mlperf];

    /// As it is written on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Recipe::GptOss => "gpt-oss",
            Recipe::SimpleEvals => "simple-evals",
            Recipe::Mlperf => "mlperf",
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Recipe {
    type Err = Error;

    fn from_str(name: &str) -> Result<Recipe, Error> {
        let found = Recipe::ALL.into_iter().find(|recipe| recipe.name() == name);
        found.ok_or_else(|| Error::NoRecipe { name: name.to_owned() })
    }
}
