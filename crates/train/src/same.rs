//! Whether two models have the same weights, as the pass of each sees them.
//!
//! Numbers are compared, not the forms they are stored in; zeros of both signs are the same number. Tokens'
//! rows count where they stand.

use gptoss_kernels::Pool;

use crate::graph::{SeenHead, embed};
use crate::network::{Layer, Network, Vector};
use crate::seen::{Pass, Seen};
use crate::trained::Trained;

/// A network, and the numbers that belong to it.
pub(crate) type Model<'a> = (&'a Network<'a>, &'a Trained);

/// Panics: when the two are of different architectures, or additions stand beside matrices of either.
pub(crate) fn is_same(pool: &Pool, ours: Model<'_>, theirs: Model<'_>) -> bool {
    let pair = Pair([ours, theirs].map(|(network, trained)| Pass::new(pool, network, trained)));
    let (a, b) = (ours.0, theirs.0);
    pair.ends([a, b])
        && pair.vectors([a.norm, b.norm])
        && a.layers.iter().zip(&b.layers).all(|(a, b)| pair.layers([a, b]))
}

/// A pass through each of both.
struct Pair<'a>([Pass<'a>; 2]);

impl Pair<'_> {
    fn ends(&self, networks: [&Network<'_>; 2]) -> bool {
        let heads = [0, 1].map(|i| SeenHead::of(self.0[i], networks[i]));
        let shape = &networks[0].shape;
        rows_agree(self.0[0].pool, [shape.vocabulary, shape.hidden_size], |i, token, out| {
            embed(self.0[i], networks[i], token as u32, out);
        }) && rows_agree(self.0[0].pool, [shape.vocabulary, shape.hidden_size], |i, token, out| {
            heads[i].row(token as u32, out);
        })
    }

    fn layers(&self, [a, b]: [&Layer<'_>; 2]) -> bool {
        let (x, y) = (&a.attention, &b.attention);
        let dense = [
            [&x.query, &y.query],
            [&x.key, &y.key],
            [&x.value, &y.value],
            [&x.out, &y.out],
            [&a.router, &b.router],
        ];
        let experts = a.experts.iter().zip(&b.experts);
        let mut experts = experts.flat_map(|(a, b)| [[&a.gate_up, &b.gate_up], [&a.down, &b.down]]);
        [[x.norm, y.norm], [x.sinks, y.sinks], [a.norm, b.norm]].into_iter().all(|both| self.vectors(both))
            && dense.into_iter().all(|both| self.linears([0, 1].map(|i| self.0[i].dense(both[i]))))
            && experts.all(|both| self.linears([0, 1].map(|i| self.0[i].expert(both[i]))))
    }

    fn linears(&self, [ours, theirs]: [Seen<'_>; 2]) -> bool {
        let is_apart = ours.beside.is_some() || theirs.beside.is_some();
        assert!(!is_apart, "train: what is compared has its additions in its matrices");
        let seen = [&ours, &theirs];
        ours.bias == theirs.bias
            && rows_agree(self.0[0].pool, [ours.num_outputs, ours.num_inputs], |i, row, out| {
                seen[i].matrix.view().unpack_row(out, row);
            })
    }

    fn vectors(&self, vectors: [Vector<'_>; 2]) -> bool {
        self.0[0].vector(vectors[0]) == self.0[1].vector(vectors[1])
    }
}

/// Whether both give the same rows `[N, K]`.
fn rows_agree(pool: &Pool, [n, k]: [usize; 2], row: impl Fn(usize, usize, &mut [f32]) + Sync) -> bool {
    let mut agree = vec![false; n];
    pool.for_each_row(&mut agree, 1, |index, out| {
        let [mut ours, mut theirs] = [vec![0.0; k], vec![0.0; k]];
        row(0, index, &mut ours);
        row(1, index, &mut theirs);
        out[0] = ours == theirs;
    });
    agree.into_iter().all(|agrees| agrees)
}
