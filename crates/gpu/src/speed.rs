//! What a device allows: bytes a second of copies in its own memory, and the cost of a dispatch that waits
//! for the one before it.

use std::time::{Duration, Instant};

use crate::Error;
use crate::account::Place;
use crate::device::{Buffer, Device};
use crate::kernels::Kernels;
use crate::ops::{NormInputs, RmsNorm};
use crate::recording::{Recorded, Recording};

/// Bytes of a copy, where there is room: several times the largest cache of a card.
const COPY_BYTES_MAX: u64 = 512 << 20;
/// Bytes of a copy with which it is given up.
const COPY_BYTES_MIN: u64 = 1 << 20;
/// Copies of one submission.
const COPIES: u32 = 4;
/// Dispatches of one submission: about those of a token.
const DISPATCHES: u32 = 288;
/// How long each is repeated, at least.
const MEASURE_TIME: Duration = Duration::from_millis(200);

/// What one measurement found, the best of its passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeviceSpeed {
    /// Bytes a second that copies in the device's memory read and write, both counted.
    pub copy_bandwidth: f64,
    /// Of a small dispatch behind a barrier. Units: seconds.
    pub dispatch_seconds: f64,
}

impl DeviceSpeed {
    /// Measures for about half a second; what it takes of the device's memory goes with it.
    ///
    /// Errors: the driver's.
    pub fn measure(device: &Device) -> Result<DeviceSpeed, Error> {
        Ok(DeviceSpeed {
            copy_bandwidth: copy_bandwidth(device)?,
            dispatch_seconds: dispatch_seconds(device)?,
        })
    }
}

fn copy_bandwidth(device: &Device) -> Result<f64, Error> {
    let [from, to] = copied(device)?;
    let mut recording = Recording::new(device);
    for copy in 0..COPIES {
        let (from, to) = if copy % 2 == 0 { (&from, &to) } else { (&to, &from) };
        recording.copy(&to.all(), &from.all());
    }
    let seconds = best_seconds(&mut recording.finish("copies that are measured")?)?;
    Ok((2 * from.bytes() * u64::from(COPIES)) as f64 / seconds)
}

/// Two buffers as large as there is room for.
///
/// Errors: the driver's, when there is none for small ones.
fn copied(device: &Device) -> Result<[Buffer; 2], Error> {
    let limits = device.description().limits;
    let mut bytes = COPY_BYTES_MAX.min(limits.storage_range_bytes).min(limits.allocation_bytes);
    loop {
        let buffer = || device.buffer("bytes that are copied", bytes & !15, Place::Card);
        match buffer().and_then(|from| Ok([from, buffer()?])) {
            Err(Error::OutOfMemory { .. }) if bytes > COPY_BYTES_MIN => bytes /= 2,
            made => return made,
        }
    }
}

fn dispatch_seconds(device: &Device) -> Result<f64, Error> {
    let (kernels, c) = (Kernels::new(device), 32);
    let row = || Ok(device.buffer("a row that is normed", 4 * u64::from(c), Place::Card)?.all());
    let (weight, rows) = (row()?, [row()?, row()?]);
    let mut recording = Recording::new(device);
    for dispatch in 0..DISPATCHES as usize {
        let (x, out) = (&rows[dispatch % 2], &rows[1 - dispatch % 2]);
        let inputs = NormInputs { x, weight: &weight, t: 1, c, eps: 1e-5 };
        RmsNorm { out, inputs }.record(&kernels, &mut recording)?;
    }
    Ok(best_seconds(&mut recording.finish("dispatches that are measured")?)? / f64::from(DISPATCHES))
}

/// The best run of several, the first of which is not counted.
fn best_seconds(recorded: &mut Recorded) -> Result<f64, Error> {
    recorded.run()?;
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < MEASURE_TIME || best.is_infinite() {
        let run = Instant::now();
        recorded.run()?;
        best = best.min(run.elapsed().as_secs_f64());
    }
    Ok(best)
}
