//! Linear layers and norms, forward and backward, whatever of them is trained.

use gptoss_kernels::{
    LinearDims, LowRankGradients, Rows, gather_rows, linear, linear_backward_bias, linear_backward_input,
    linear_backward_weight, low_rank, low_rank_backward_factors, low_rank_backward_input, low_rank_shrink,
    rmsnorm_backward, rmsnorm_on,
};

use crate::network::{Linear, Vector};
use crate::seen::{Pass, Seen};
use crate::trained::Gradients;

impl<'a> Pass<'a> {
    /// `[T, N]` of `x [T, K]`.
    pub(crate) fn linear(self, layer: &Seen<'_>, x: &[f32]) -> Vec<f32> {
        let dims = layer.dims(x.len());
        let mut y = vec![0.0; dims.t * dims.n];
        linear(self.pool, &mut y, Rows::F32(x), layer.matrix.view(), layer.bias.as_deref(), dims);
        if let Some(pair) = layer.beside {
            let mut u = vec![0.0; dims.t * pair.rank];
            low_rank(self.pool, &mut y, &mut u, x, pair, dims);
        }
        y
    }

    /// `dx [T, K] +=` what `dy [T, N]` says of the inputs.
    pub(crate) fn add_input_gradient(self, layer: &Seen<'_>, dx: &mut [f32], dy: &[f32]) {
        let dims = layer.dims(dx.len());
        linear_backward_input(self.pool, dx, dy, layer.matrix.view(), dims);
        if let Some(pair) = layer.beside {
            low_rank_backward_input(self.pool, dx, dy, pair, dims);
        }
    }

    /// Adds what `dy [T, N]` says of the weights that met `x [T, K]`.
    pub(crate) fn add_weight_gradients(
        self,
        layer: &Linear<'_>,
        gradients: &mut Gradients,
        dy: &[f32],
        x: &[f32],
    ) {
        let Linear { num_outputs: n, num_inputs: k, .. } = *layer;
        let dims = LinearDims { t: x.len() / k, n, k };
        if let Some(span) = layer.weight.span() {
            linear_backward_weight(self.pool, gradients.of_mut(span), dy, x, dims);
        }
        if let Some(span) = layer.bias.and_then(Vector::span) {
            linear_backward_bias(self.pool, gradients.of_mut(span), dy);
        }
        if let Some(pair) = layer.low_rank {
            let factors = pair.view(self.trained);
            let mut u = vec![0.0; dims.t * pair.rank];
            low_rank_shrink(self.pool, &mut u, x, factors, LinearDims { n: pair.rank, ..dims });
            let [a, b] = gradients.of_two(pair.a, pair.b);
            let gradients = LowRankGradients { a, b };
            low_rank_backward_factors(self.pool, gradients, dy, (x, &u), factors, dims);
        }
    }

    /// Rows `rows` of `x [T, C]`.
    pub(crate) fn gather(self, x: &[f32], rows: &[usize], c: usize) -> Vec<f32> {
        let mut out = vec![0.0; rows.len() * c];
        gather_rows(self.pool, &mut out, x, rows);
        out
    }

    /// RMSNorm of every row of `x [T, C]`.
    pub(crate) fn norm(self, weight: Vector<'a>, x: &[f32], eps: f32) -> Vec<f32> {
        let weight = self.vector(weight);
        let (mut out, c) = (vec![0.0; x.len()], weight.len());
        self.pool.for_each_row(&mut out, c, |row, out| {
            rmsnorm_on(self.pool.tier(), out, &x[row * c..][..c], &weight, eps);
        });
        out
    }

    /// `dx [T, C] +=` what `dy` says of the rows `x` that were normed.
    pub(crate) fn add_norm_gradients(
        self,
        (weight, eps): (Vector<'a>, f32),
        gradients: &mut Gradients,
        dx: &mut [f32],
        dy: &[f32],
        x: &[f32],
    ) {
        let dweight = weight.span().map(|span| gradients.of_mut(span));
        rmsnorm_backward(self.pool, dx, dweight, dy, x, (&self.vector(weight), eps));
    }
}
