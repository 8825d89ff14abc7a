//! Which adapter is meant.
//!
//! Entry point: [`AdapterId`]. An adapter is known by what it does: two with the same numbers in the same
//! places are one, wherever their files lie, and one whose files were changed is another. So whatever is kept
//! under an id is right as long as it can be found.

use std::fmt;

use gptoss_checkpoint::Adapter;
use sha2::{Digest, Sha256};

/// The identity of an adapter: a hash of all its numbers and of where they belong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdapterId([u8; 32]);

impl AdapterId {
    /// That of an adapter.
    pub fn of(adapter: &Adapter) -> AdapterId {
        let mut hasher = Sha256::new();
        let mut add = |what: String, numbers: &[f32]| {
            hasher.update(format!("{what} {}\n", numbers.len()));
            hasher.update(bytemuck::cast_slice::<f32, u8>(numbers));
        };
        for (site, pair) in &adapter.pairs {
            add(format!("{site:?} A {} {}", pair.rank, pair.scale.to_bits()), &pair.a);
            add(format!("{site:?} B"), &pair.b);
        }
        add(format!("rows of the embedding {:?}", adapter.rows.tokens), &adapter.rows.embedding);
        add("rows of the head".to_owned(), &adapter.rows.unembedding);
        for (part, numbers) in &adapter.replaced {
            add(format!("{part:?}"), numbers);
        }
        AdapterId(hasher.finalize().into())
    }

    /// Its bytes, for keys that are made of it.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first twelve digits, which a person can compare.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for AdapterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AdapterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use gptoss_checkpoint::{AdapterPair, AdapterRows, AdapterSite, LayerPart, Part};

    use super::*;

    /// Whatever changes an answer changes the identity.
    #[test]
    fn every_number_and_its_place_count() {
        let pair = AdapterPair { rank: 1, scale: 0.5, a: vec![1.0, 2.0], b: vec![3.0] };
        let adapter = Adapter {
            pairs: [(AdapterSite::Query(0), pair.clone())].into(),
            rows: AdapterRows { tokens: vec![3], embedding: vec![1.0], unembedding: vec![] },
            replaced: vec![(Part::Layer(0, LayerPart::RouterBias), vec![4.0])],
            trained_for: None,
        };
        let id = AdapterId::of(&adapter);
        assert_eq!(id, AdapterId::of(&adapter.clone()));
        let changes: [fn(&mut Adapter); 8] = [
            |adapter| adapter.pairs.values_mut().for_each(|pair| pair.scale = 0.25),
            |adapter| adapter.pairs.values_mut().for_each(|pair| pair.a[1] = -2.0),
            |adapter| adapter.pairs.values_mut().for_each(|pair| pair.b[0] = 3.5),
            |adapter| {
                let pairs = std::mem::take(&mut adapter.pairs);
                adapter.pairs = pairs.into_values().map(|pair| (AdapterSite::Key(0), pair)).collect();
            },
            |adapter| adapter.rows.tokens[0] = 4,
            |adapter| adapter.rows.unembedding = std::mem::take(&mut adapter.rows.embedding),
            |adapter| adapter.replaced[0].1[0] = 5.0,
            |adapter| adapter.replaced[0].0 = Part::Layer(1, LayerPart::RouterBias),
        ];
        for change in changes {
            let mut other = adapter.clone();
            change(&mut other);
            assert_ne!(id, AdapterId::of(&other), "{other:?}");
        }
    }
}
