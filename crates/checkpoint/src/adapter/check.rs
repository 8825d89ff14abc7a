//! Whether an adapter fits a model, said before anything is done with it.

use std::path::Path;

use crate::adapter::write::is_saved_whole;
use crate::adapter::{Adapter, AdapterSite};
use crate::{Config, Error, Part};

/// Rank that an addition may have; higher ones are no longer low, and tell of damaged files.
pub const ADAPTER_RANK_MAX: usize = 4096;

impl Adapter {
    /// Holds every addition against the model; `path` only labels the message.
    ///
    /// Errors: [`Error::BadAdapter`] for sites that the model lacks, lengths that do not fit, numbers that
    /// are not finite, parts or rows that are both replaced and added to, and for nothing at all.
    pub fn check(&self, config: &Config, path: &Path) -> Result<(), Error> {
        let bad = |detail: String| Err(Error::BadAdapter { path: path.to_path_buf(), detail });
        for (site, pair) in &self.pairs {
            let Some([rows, columns]) = site.shape(config) else {
                return bad(format!("{site:?} is not in this model"));
            };
            if pair.rank == 0 || pair.rank > ADAPTER_RANK_MAX {
                return bad(format!(
                    "{site:?} has rank {}, which is not in 1..={ADAPTER_RANK_MAX}",
                    pair.rank
                ));
            }
            if (pair.a.len(), pair.b.len()) != (pair.rank * columns, rows * pair.rank) {
                return bad(format!(
                    "the factors of {site:?} do not have the sizes of a [{rows}, {columns}] matrix"
                ));
            }
            if !pair.scale.is_finite() || !are_finite(&pair.a) || !are_finite(&pair.b) {
                return bad(format!(
                    "{site:?} holds a number that is not finite: the training it came from broke"
                ));
            }
        }
        for (part, values) in &self.replaced {
            if !is_saved_whole(config, *part) {
                return bad(format!("{part:?} cannot be replaced whole"));
            }
            if values.len() != crate::shape(config, *part).iter().product::<usize>() || !are_finite(values) {
                return bad(format!("what replaces {part:?} does not have its size, or is not finite"));
            }
            if self.pairs.keys().any(|site| site.part() == Some(*part)) {
                return bad(format!("{part:?} is both replaced and added to"));
            }
        }
        self.check_rows(config).or_else(bad)?;
        if self.pairs.is_empty() && self.replaced.is_empty() && self.rows.tokens.is_empty() {
            return bad("it changes nothing".to_owned());
        }
        Ok(())
    }

    fn check_rows(&self, config: &Config) -> Result<(), String> {
        let rows = &self.rows;
        if !rows.tokens.is_sorted_by(|a, b| a < b) {
            return Err("the tokens whose rows are replaced are not in ascending order, each once".to_owned());
        }
        if let Some(token) = rows.tokens.iter().find(|token| **token as usize >= config.vocab_size) {
            return Err(format!("token {token} is not among the {} of this model", config.vocab_size));
        }
        if !rows.tokens.is_empty() && rows.embedding.is_empty() && rows.unembedding.is_empty() {
            return Err("tokens are named whose rows are not there".to_owned());
        }
        let both = [
            (&rows.embedding, AdapterSite::Embedding, Part::Embedding),
            (&rows.unembedding, AdapterSite::Unembedding, Part::Unembedding),
        ];
        for (values, site, part) in both {
            if values.is_empty() {
                continue;
            }
            if values.len() != rows.tokens.len() * config.hidden_size || !are_finite(values) {
                return Err(format!("rows of {part:?} do not have its width, or are not finite"));
            }
            if self.pairs.contains_key(&site) || self.replaced.iter().any(|(other, _)| *other == part) {
                return Err(format!("{part:?} is changed as a whole and row by row"));
            }
        }
        Ok(())
    }
}

fn are_finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}
