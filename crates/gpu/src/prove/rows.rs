//! Cases of the ops on rows: single numbers, norms, quantization, SwiGLU.

use crate::Error;
use crate::ops::{
    FloatProbe, Int8Rows, MiddleRows, NormInputs, Quantize, QuantizeMiddles, RmsNorm, RmsNormInt8,
    RmsNormMiddles, SwiGlu, SwiGluMiddles,
};
use crate::prove::random::Random;
use crate::prove::sheet::{Bench, Sheet};
use crate::prove::{Output, SWIGLU_ALPHA, SWIGLU_LIMIT};

/// Inside the root of norms.
pub const EPS: f32 = 1e-5;

/// What becomes of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowForm {
    /// They stay f32.
    F32,
    /// int8 with a scale for 32.
    Int8,
    /// int8 in two parts.
    Int8Parts,
    /// int8 about middles.
    Middles,
}

/// Quotients, roots, powers and sums.
#[derive(Clone, Copy, Debug)]
pub struct Floats {
    /// Fours of numbers.
    pub count: u32,
}

impl Floats {
    /// `[N, 4]`: positive numbers a of many sizes, b of either sign, c in -1..1, and by how much an estimate
    /// is off, as an integer.
    pub fn inputs(&self, random: &mut Random) -> Vec<[f32; 4]> {
        let size = |random: &mut Random| {
            let mantissa = match random.below(4) {
                0 => random.below(4),
                1 => (1 << 23) - 1 - random.below(4),
                _ => random.below(1 << 23),
            };
            f32::from_bits((107 + random.below(40)) << 23 | mantissa)
        };
        let four = |random: &mut Random| {
            let off = f32::from_bits(random.below(9).wrapping_sub(4));
            let sign = if random.below(2) == 0 { 1.0 } else { -1.0 };
            [size(random), sign * size(random), random.unit(), off]
        };
        (0..self.count).map(|_| four(random)).collect()
    }

    pub(crate) fn outputs(&self, bench: &Bench<'_>, random: &mut Random) -> Result<Vec<Output>, Error> {
        let mut sheet = bench.sheet();
        let numbers = sheet.holding(self.inputs(random).as_flattened());
        let out = sheet.room(4 * self.count);
        sheet.run(|kernels, recording| {
            FloatProbe { out: &out, numbers: &numbers, count: self.count }.record(kernels, recording)
        })?;
        Ok(vec![sheet.floats(&out, 4 * self.count)])
    }
}

/// A norm.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// T rows.
    pub t: u32,
    /// C
    pub c: u32,
    /// What they become.
    pub form: RowForm,
}

impl Norm {
    /// x `[T, C]` and weight `[C]`.
    pub fn inputs(&self, random: &mut Random) -> (Vec<f32>, Vec<f32>) {
        (random.floats(self.t * self.c), random.floats(self.c))
    }

    pub(crate) fn outputs(&self, bench: &Bench<'_>, random: &mut Random) -> Result<Vec<Output>, Error> {
        let Norm { t, c, form } = *self;
        let (x, weight) = self.inputs(random);
        let mut sheet = bench.sheet();
        let (x, weight, normed) = (sheet.holding(&x), sheet.holding(&weight), sheet.room(t * c));
        let inputs = NormInputs { x: &x, weight: &weight, t, c, eps: EPS };
        match form {
            RowForm::F32 => {
                sheet
                    .run(|kernels, recording| RmsNorm { out: &normed, inputs }.record(kernels, recording))?;
                Ok(vec![sheet.floats(&normed, t * c)])
            }
            RowForm::Int8 | RowForm::Int8Parts => {
                let in_parts = form == RowForm::Int8Parts;
                let rows = t * (1 + u32::from(in_parts));
                let out = int8_room(&mut sheet, rows, c);
                sheet.run(|kernels, recording| {
                    RmsNormInt8 { out: &out, inputs, in_parts }.record(kernels, recording)
                })?;
                Ok(int8_outputs(&sheet, &out, rows, c))
            }
            RowForm::Middles => {
                let out = middle_room(&mut sheet, t, c);
                sheet.run(|kernels, recording| {
                    RmsNormMiddles { out: &out, normed: &normed, inputs }.record(kernels, recording)
                })?;
                let mut outputs = middle_outputs(&sheet, &out, t, c);
                outputs.push(sheet.floats(&normed, t * c));
                Ok(outputs)
            }
        }
    }
}

/// Rows as int8.
#[derive(Clone, Copy, Debug)]
pub struct Quantization {
    /// T rows.
    pub t: u32,
    /// K
    pub k: u32,
    /// What they become; never f32.
    pub form: RowForm,
}

impl Quantization {
    /// `[T, K]`, the first row of one sign.
    pub fn inputs(&self, random: &mut Random) -> Vec<f32> {
        let mut x = random.floats(self.t * self.k);
        x[..self.k as usize].iter_mut().for_each(|x| *x = x.abs());
        x
    }

    pub(crate) fn outputs(&self, bench: &Bench<'_>, random: &mut Random) -> Result<Vec<Output>, Error> {
        let Quantization { t, k, form } = *self;
        let mut sheet = bench.sheet();
        let x = sheet.holding(&self.inputs(random));
        if form == RowForm::Middles {
            let out = middle_room(&mut sheet, t, k);
            sheet.run(|kernels, recording| {
                QuantizeMiddles { out: &out, x: &x, t, k }.record(kernels, recording)
            })?;
            return Ok(middle_outputs(&sheet, &out, t, k));
        }
        let in_parts = form == RowForm::Int8Parts;
        let rows = t * (1 + u32::from(in_parts));
        let out = int8_room(&mut sheet, rows, k);
        sheet.run(|kernels, recording| {
            Quantize { out: &out, x: &x, t, k, in_parts }.record(kernels, recording)
        })?;
        Ok(int8_outputs(&sheet, &out, rows, k))
    }
}

/// SwiGLU.
#[derive(Clone, Copy, Debug)]
pub struct Activation {
    /// T rows.
    pub t: u32,
    /// F
    pub f: u32,
    /// f32, or int8 about middles.
    pub form: RowForm,
}

impl Activation {
    /// `[T, 2F]` on both sides of every cut; not so low that the sigmoid leaves the normal numbers.
    pub fn inputs(&self, random: &mut Random) -> Vec<f32> {
        const EDGES: [f32; 4] = [SWIGLU_LIMIT, -SWIGLU_LIMIT, 0.0, -0.0];
        let number = |i: u32| match random.below(12) {
            0 => EDGES[random.below(4) as usize],
            1 => 1e30 * random.unit().abs(),
            2 if i.is_multiple_of(2) => -50.0 * random.unit().abs(),
            2 => -1e30 * random.unit().abs(),
            _ => random.unit() * 9.0,
        };
        (0..2 * self.t * self.f).map(number).collect()
    }

    pub(crate) fn outputs(&self, bench: &Bench<'_>, random: &mut Random) -> Result<Vec<Output>, Error> {
        let Activation { t, f, form } = *self;
        let (limit, alpha) = (SWIGLU_LIMIT, SWIGLU_ALPHA);
        let mut sheet = bench.sheet();
        let gate_up = &sheet.holding(&self.inputs(random));
        if form == RowForm::Middles {
            let out = middle_room(&mut sheet, t, f);
            sheet.run(|kernels, recording| {
                SwiGluMiddles { out: &out, gate_up, t, f, limit, alpha }.record(kernels, recording)
            })?;
            return Ok(middle_outputs(&sheet, &out, t, f));
        }
        let out = sheet.room(t * f);
        sheet.run(|kernels, recording| {
            SwiGlu { out: &out, gate_up, t, f, limit, alpha }.record(kernels, recording)
        })?;
        Ok(vec![sheet.floats(&out, t * f)])
    }
}

fn int8_room(sheet: &mut Sheet<'_>, rows: u32, k: u32) -> Int8Rows {
    let [values, scales] = Int8Rows::bytes(rows, k).map(|bytes| sheet.room_bytes(bytes));
    Int8Rows { values, scales }
}

fn int8_outputs(sheet: &Sheet<'_>, rows: &Int8Rows, num_rows: u32, k: u32) -> Vec<Output> {
    vec![sheet.words(&rows.values, num_rows * k / 4), sheet.floats(&rows.scales, num_rows * k / 32)]
}

fn middle_room(sheet: &mut Sheet<'_>, rows: u32, k: u32) -> MiddleRows {
    let [values, beside] = MiddleRows::bytes(rows, k).map(|bytes| sheet.room_bytes(bytes));
    MiddleRows { values, beside }
}

fn middle_outputs(sheet: &Sheet<'_>, rows: &MiddleRows, num_rows: u32, k: u32) -> Vec<Output> {
    vec![sheet.middles(&rows.values, num_rows * k / 4), sheet.words(&rows.beside, num_rows * k / 16)]
}
