//! The most probable classes of a text's tokens, of those that make whole spans.
//!
//! Entry point: [`decode`]. A path begins outside, or with the begin or the only token of a span, ends
//! outside or with a span's end, and goes from begin or inside to inside or end of the same kind, and from
//! everything else to outside or a new span. Its worth is the sum of its log-probabilities and of the
//! [`Biases`] of its steps; of equal paths that with the lower classes wins. To stay outside is always a
//! path, so there is one.
//!
//! Source: openai/privacy-filter `opf/_core/decoding.py`, class ViterbiCRFDecoder. Sums are f64 here and f32
//! there.

use crate::calibration::Biases;
use crate::labels::{Class, LabelSpace, Tag};

/// The class of every token, as an index of the label space.
///
/// Shapes: `log_probs [T, N]`, finite.
pub(crate) fn decode(log_probs: &[f32], space: &LabelSpace, biases: &Biases) -> Vec<usize> {
    let n = space.classes.len();
    let steps = Steps::new(space, biases);
    let mut rows = log_probs.chunks_exact(n);
    let Some(first) = rows.next() else { return Vec::new() };
    let first = first.iter().zip(&space.classes);
    let mut worth: Vec<f64> =
        first.map(|(&p, &class)| if is_first(class) { f64::from(p) } else { f64::NEG_INFINITY }).collect();
    let mut ways: Vec<u8> = Vec::with_capacity(log_probs.len());
    let mut next = vec![0.0; n];
    for row in rows {
        for (to, &p) in row.iter().enumerate() {
            let (from, best) = steps.best(&worth, to);
            ways.push(from as u8);
            next[to] = best + f64::from(p);
        }
        std::mem::swap(&mut worth, &mut next);
    }
    let ends = worth.iter().zip(&space.classes);
    let ends = ends.map(|(&worth, &class)| if is_last(class) { worth } else { f64::NEG_INFINITY });
    let mut class = first_largest(ends).0;
    let mut path = vec![class];
    for ways in ways.chunks_exact(n).rev() {
        class = usize::from(ways[class]);
        path.push(class);
    }
    path.reverse();
    path
}

/// The steps that may lead to each class, with their worth.
struct Steps(Vec<Vec<(usize, f64)>>);

impl Steps {
    fn new(space: &LabelSpace, biases: &Biases) -> Steps {
        let to = |&to: &Class| {
            let from = space.classes.iter().enumerate();
            from.filter_map(|(index, &from)| Some((index, step(from, to, biases)?))).collect()
        };
        Steps(space.classes.iter().map(to).collect())
    }

    /// The best class to come from, and what the path is worth then. Where none can be come from it is class
    /// 0, which no path takes, as its worth is that of nothing.
    fn best(&self, worth: &[f64], to: usize) -> (usize, f64) {
        let (nth, best) = first_largest(self.0[to].iter().map(|&(from, bias)| worth[from] + bias));
        (self.0[to].get(nth).map_or(0, |step| step.0), best)
    }
}

/// The first of the largest numbers; of none, 0 and what is worth nothing.
fn first_largest(numbers: impl Iterator<Item = f64>) -> (usize, f64) {
    let mut largest = (0, f64::NEG_INFINITY);
    for (index, number) in numbers.enumerate() {
        if number > largest.1 {
            largest = (index, number);
        }
    }
    largest
}

fn is_first(class: Class) -> bool {
    matches!(class, Class::Outside | Class::In { tag: Tag::Begin | Tag::Single, .. })
}

fn is_last(class: Class) -> bool {
    matches!(class, Class::Outside | Class::In { tag: Tag::End | Tag::Single, .. })
}

/// What a step is worth; none, if it may not be taken.
fn step(from: Class, to: Class, biases: &Biases) -> Option<f64> {
    match (from, to) {
        (Class::Outside, Class::Outside) => Some(biases.background_stay),
        (Class::Outside, to) => is_first(to).then_some(biases.background_to_start),
        (Class::In { tag: Tag::Begin | Tag::Inside, kind }, Class::In { tag, kind: same }) => match tag {
            Tag::Inside if kind == same => Some(biases.inside_to_continue),
            Tag::End if kind == same => Some(biases.inside_to_end),
            _ => None,
        },
        (Class::In { tag: Tag::Begin | Tag::Inside, .. }, Class::Outside) => None,
        (Class::In { tag: Tag::End | Tag::Single, .. }, Class::Outside) => Some(biases.end_to_background),
        (Class::In { tag: Tag::End | Tag::Single, .. }, to) => is_first(to).then_some(biases.end_to_start),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn space() -> LabelSpace {
        let names = ["O", "B-x", "I-x", "E-x", "S-x", "B-y", "I-y", "E-y", "S-y"];
        LabelSpace::new(&names.map(str::to_owned)).unwrap()
    }

    /// All paths, one after the other, in the order of their classes from the last token on.
    fn by_trying(log_probs: &[f32], space: &LabelSpace, biases: &Biases) -> f64 {
        let n = space.classes.len();
        let rows: Vec<&[f32]> = log_probs.chunks_exact(n).collect();
        let mut best = f64::NEG_INFINITY;
        for index in 0..n.pow(rows.len() as u32) {
            let path: Vec<usize> = (0..rows.len() as u32).map(|i| index / n.pow(i) % n).collect();
            best = best.max(worth(&path, &rows, space, biases));
        }
        best
    }

    fn worth(path: &[usize], rows: &[&[f32]], space: &LabelSpace, biases: &Biases) -> f64 {
        let class = |index: usize| space.classes[path[index]];
        if !is_first(class(0)) || !is_last(class(path.len() - 1)) {
            return f64::NEG_INFINITY;
        }
        let own: f64 = path.iter().zip(rows).map(|(&class, row)| f64::from(row[class])).sum();
        (1..path.len()).fold(own, |sum, index| {
            sum + step(class(index - 1), class(index), biases).unwrap_or(f64::NEG_INFINITY)
        })
    }

    proptest! {
        #[test]
        fn no_path_is_worth_more(
            rows in prop::collection::vec(prop::collection::vec(-8.0_f32..0.0, 9), 1..5),
            six in prop::array::uniform6(-3.0_f64..3.0),
        ) {
            let [background_stay, background_to_start, inside_to_continue, inside_to_end, end_to_background, end_to_start] = six;
            let biases = Biases { background_stay, background_to_start, inside_to_continue, inside_to_end, end_to_background, end_to_start };
            let (space, flat) = (space(), rows.concat());
            let path = decode(&flat, &space, &biases);
            let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let (ours, best) = (worth(&path, &rows, &space, &biases), by_trying(&flat, &space, &biases));
            prop_assert!((ours - best).abs() < 1e-9, "{path:?} is worth {ours}, not {best}");
        }
    }

    #[test]
    fn ties_go_to_the_lower_class_and_biases_tip_them() {
        let space = space();
        assert_eq!(decode(&[0.0; 27], &space, &Biases::default()), [0, 0, 0]);
        assert!(decode(&[], &space, &Biases::default()).is_empty());
        let leaving = Biases { background_stay: -1.0, ..Biases::default() };
        assert_eq!(decode(&[0.0; 18], &space, &leaving), [4, 0]);
        // The likeliest class of the last token begins a span, which cannot end there.
        let mut rows = [-9.0; 18];
        (rows[0], rows[9 + 1], rows[9 + 4]) = (0.0, 0.0, -1.0);
        assert_eq!(decode(&rows, &space, &Biases::default()), [0, 4]);
    }
}
