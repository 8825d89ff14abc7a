//! Cases of products of rows in the order of their experts.

use crate::Error;
use crate::ops::{ExpertTiles, SortExperts, TILE_ROWS};
use crate::prove::Output;
use crate::prove::products::{ExpertWeights, MiddleNumbers, NUM_EXPERTS};
use crate::prove::random::Random;
use crate::prove::sheet::Bench;

/// A product of the rows of each expert.
#[derive(Clone, Copy, Debug)]
pub struct Tiles {
    /// Rows of each expert, in their order; the last expert has none.
    pub counts: [u32; NUM_EXPERTS as usize - 1],
    /// Inputs that rows choose from; without it each row has its own.
    pub num_inputs: Option<u32>,
    /// N, K.
    pub nk: [u32; 2],
}

/// Numbers of [`Tiles`].
#[derive(Clone, Debug)]
pub struct TileNumbers {
    /// The matrices.
    pub weights: ExpertWeights,
    /// The inputs.
    pub x: MiddleNumbers,
    /// `[R]`: the input of each row.
    pub sources: Vec<u32>,
    /// `[R]`: the expert of each row.
    pub experts: Vec<u32>,
}

impl Tiles {
    /// R
    pub fn rows(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// The numbers.
    pub fn inputs(&self, random: &mut Random) -> TileNumbers {
        let ([n, k], rows) = (self.nk, self.rows());
        let source = |row: u32| self.num_inputs.map_or(row, |inputs| random.below(inputs));
        let sources = (0..rows).map(source).collect();
        let of_expert = |(expert, rows): (usize, &u32)| std::iter::repeat_n(expert as u32, *rows as usize);
        TileNumbers {
            weights: ExpertWeights::new(random, n, k / 32),
            x: MiddleNumbers::new(random, self.num_inputs.unwrap_or(rows), k),
            sources,
            experts: self.counts.iter().enumerate().flat_map(of_expert).collect(),
        }
    }

    /// Expert, first row and number of rows of every tile.
    fn tiles(&self) -> Vec<[u32; 4]> {
        let mut tiles = Vec::new();
        let mut first = 0;
        for (expert, count) in self.counts.iter().enumerate() {
            let starts = (0..*count).step_by(TILE_ROWS as usize);
            tiles.extend(starts.map(|at| [expert as u32, first + at, TILE_ROWS.min(count - at), 0]));
            first += count;
        }
        tiles
    }

    /// The outputs, and a row behind them that nobody writes.
    pub(crate) fn outputs(&self, bench: &Bench<'_>, random: &mut Random) -> Result<Vec<Output>, Error> {
        let ([n, k], rows) = (self.nk, self.rows());
        let numbers = self.inputs(random);
        let mut tiles = self.tiles();
        let dispatch = [ExpertTiles::groups(n), tiles.len() as u32, 1];
        let tiles_max = SortExperts::tiles_max(rows, NUM_EXPERTS, TILE_ROWS);
        tiles.resize(tiles_max as usize, [u32::MAX; 4]);
        let mut sheet = bench.sheet();
        let out = &sheet.room((rows + 1) * n);
        let [codes, code_scales, bias] = &numbers.weights.on(&mut sheet);
        let x = &numbers.x.on(&mut sheet);
        let (sources, tiles) = (&sheet.holding(&numbers.sources), &sheet.holding(&tiles));
        let dispatch = &sheet.holding(&dispatch).part(0..12);
        let op = ExpertTiles {
            out,
            x,
            num_inputs: self.num_inputs.unwrap_or(rows),
            sources: self.num_inputs.is_some().then_some(sources),
            codes,
            code_scales,
            bias,
            tiles,
            dispatch,
            num_experts: NUM_EXPERTS,
            rows,
            n,
            k,
        };
        sheet.run(|kernels, recording| op.record(kernels, recording))?;
        Ok(vec![sheet.floats(out, (rows + 1) * n)])
    }
}
