//! Who gives way when what all tenants keep together is too much?

use std::collections::{HashMap, VecDeque};

/// Drops the oldest of whoever holds the most until there are at most so many things of at most so many bytes
/// together; `held` says whose one is, and its size. The oldest stand first.
pub(crate) fn make_room<T>(
    kept: &mut VecDeque<T>,
    (number_max, bytes_max): (usize, usize),
    held: impl Fn(&T) -> (&str, usize),
) {
    while kept.len() > number_max || kept.iter().map(|one| held(one).1).sum::<usize>() > bytes_max {
        let Some(place) = leaving(kept.iter().map(&held)) else { break };
        kept.remove(place);
    }
}

/// The place of what leaves, of things by their tenant and size, the oldest first: the oldest of the tenant
/// who holds the most. Each counts as one at least.
fn leaving<'a>(held: impl Iterator<Item = (&'a str, usize)> + Clone) -> Option<usize> {
    let mut sizes: HashMap<&str, usize> = HashMap::new();
    for (tenant, size) in held.clone() {
        *sizes.entry(tenant).or_default() += size.max(1);
    }
    let most = sizes.values().max()?;
    held.into_iter().position(|(tenant, _)| sizes[tenant] == *most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_whoever_holds_most_leaves() {
        let check = |held: &[(&str, usize)], expected| assert_eq!(leaving(held.iter().copied()), expected);
        check(&[], None);
        check(&[("a", 3), ("b", 2), ("b", 2)], Some(1));
        check(&[("a", 0), ("b", 0), ("b", 0)], Some(1));
    }
}
