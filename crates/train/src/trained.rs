//! The tensors that are trained, in one run of numbers, and their gradients in another.

use std::ops::Range;

/// Where a trained tensor stands among all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: usize,
    len: usize,
}

impl Span {
    pub(crate) fn range(self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

/// One of the trained tensors.
#[derive(Clone, Debug)]
pub struct TrainedTensor {
    /// Its name in files.
    pub name: String,
    /// Where it stands.
    pub span: Span,
    /// Whether weight decay pulls at it.
    pub decays: bool,
}

/// All trained numbers, in f32.
#[derive(Clone, Debug, Default)]
pub struct Trained {
    tensors: Vec<TrainedTensor>,
    values: Vec<f32>,
}

impl Trained {
    /// Takes a tensor in.
    pub fn add(&mut self, name: impl Into<String>, values: &[f32], decays: bool) -> Span {
        let span = Span { start: self.values.len(), len: values.len() };
        self.values.extend_from_slice(values);
        self.tensors.push(TrainedTensor { name: name.into(), span, decays });
        span
    }

    /// The tensors in the order in which they came.
    pub fn tensors(&self) -> &[TrainedTensor] {
        &self.tensors
    }

    /// The numbers of one.
    pub fn of(&self, span: Span) -> &[f32] {
        &self.values[span.range()]
    }

    pub(crate) fn of_mut(&mut self, span: Span) -> &mut [f32] {
        &mut self.values[span.range()]
    }

    /// All numbers.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Puts other numbers in their place.
    pub(crate) fn restore(&mut self, values: Vec<f32>) {
        assert_eq!(values.len(), self.values.len(), "train: as many numbers as are trained");
        self.values = values;
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        self.values.iter().all(|value| value.is_finite())
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing is trained.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The gradient of each trained number.
#[derive(Clone, Debug)]
pub struct Gradients {
    values: Vec<f32>,
}

impl Gradients {
    /// Zeros for all of `trained`.
    pub fn zeros(trained: &Trained) -> Gradients {
        Gradients { values: vec![0.0; trained.len()] }
    }

    /// Zeros again.
    pub fn clear(&mut self) {
        self.values.fill(0.0);
    }

    /// Those of one tensor.
    pub fn of(&self, span: Span) -> &[f32] {
        &self.values[span.range()]
    }

    pub(crate) fn of_mut(&mut self, span: Span) -> &mut [f32] {
        &mut self.values[span.range()]
    }

    /// Those of two tensors, the second of which came later.
    pub(crate) fn of_two(&mut self, first: Span, second: Span) -> [&mut [f32]; 2] {
        let (before, after) = self.values.split_at_mut(second.start);
        [&mut before[first.range()], &mut after[..second.len]]
    }
}
