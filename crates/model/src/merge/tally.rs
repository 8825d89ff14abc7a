//! What a merge kept of an addition.

/// Sums over the numbers of a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// How many numbers there are beside an addition.
    pub numbers: u64,
    /// How many of them are stored as other codes than before: of MXFP4, or of bf16.
    pub changed: u64,
    /// Of squares of the base.
    pub base: f64,
    /// Of squares of what was to be added.
    pub wanted: f64,
    /// Of products of what was added with what was to be.
    pub kept: f64,
    /// Of squares of what is missing.
    pub lost: f64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        self.numbers += other.numbers;
        self.changed += other.changed;
        self.base += other.base;
        self.wanted += other.wanted;
        self.kept += other.kept;
        self.lost += other.lost;
    }

    pub(super) fn count(&mut self, base: f32, wanted: f32, found: f32) {
        let [base, wanted, found] = [base, wanted, found].map(f64::from);
        self.base += base * base;
        self.wanted += (wanted - base).powi(2);
        self.kept += (found - base) * (wanted - base);
        self.lost += (found - wanted).powi(2);
    }

    /// The sums of several tensors.
    pub fn of_all<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Tally {
        let mut all = Tally::default();
        tallies.into_iter().for_each(|tally| all.add(tally));
        all
    }

    /// Which share of the addition is in the merged numbers: 1 is all of it, 0 is the base. An addition of
    /// nothing is kept.
    pub fn share_kept(&self) -> f64 {
        if self.wanted == 0.0 { 1.0 } else { self.kept / self.wanted }
    }

    /// The root of the squares that are missing, beside that of the addition.
    pub fn relative_error(&self) -> f64 {
        if self.wanted == 0.0 { 0.0 } else { (self.lost / self.wanted).sqrt() }
    }

    /// The size of the addition beside the base's.
    pub fn relative_change(&self) -> f64 {
        if self.base == 0.0 { 0.0 } else { (self.wanted / self.base).sqrt() }
    }

    /// The share of numbers that are stored otherwise than before.
    pub fn share_changed(&self) -> f64 {
        self.changed as f64 / self.numbers.max(1) as f64
    }
}

/// What became of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct MergedTensor {
    /// Its name in the merged files.
    pub name: String,
    /// The sums over it.
    pub tally: Tally,
}
