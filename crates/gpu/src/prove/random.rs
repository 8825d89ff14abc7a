//! Seeded numbers for the inputs of cases: integers and exact steps alone, so that every machine has the same
//! bits.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        (self.bits() % u64::from(bound)) as u32
    }

    /// Uniform in -1..1.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// `len` numbers in -1..1, an outlier of up to 40 among every hundred or so.
    pub fn floats(&mut self, len: u32) -> Vec<f32> {
        (0..len).map(|_| self.unit() * if self.below(97) == 0 { 40.0 } else { 1.0 }).collect()
    }

    /// `len` integers from -`most` to `most`.
    pub fn integers(&mut self, len: u32, most: u8) -> Vec<i8> {
        let span = 2 * u32::from(most) + 1;
        (0..len).map(|_| (self.below(span) as i32 - i32::from(most)) as i8).collect()
    }

    /// `len` sizes of a step: from 2^-11 to 2^-3.
    pub fn scales(&mut self, len: u32) -> Vec<f32> {
        (0..len).map(|_| f32::from_bits((116 + self.below(8)) << 23 | self.below(1 << 23))).collect()
    }

    /// `0..len` in some order.
    pub fn shuffled(&mut self, len: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..len).collect();
        for i in (1..len).rev() {
            order.swap(i as usize, self.below(i + 1) as usize);
        }
        order
    }
}
