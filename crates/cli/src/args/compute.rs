//! Flags for how the numbers are made, which every command that computes takes.

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use gptoss_gpu::DeviceChoice;

/// Flags for how the numbers are made.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Computation")]
pub struct ComputeArgs {
    /// The numeric mode
    #[arg(long, value_enum, default_value_t = PrecisionArg::Fast)]
    pub precision: PrecisionArg,
    /// Dense matrices: attention, embedding and unembedding [default: q8 in fast precision, bf16 in exact]
    #[arg(long, value_enum)]
    pub dense: Option<DenseArg>,
    /// How keys and values are kept [default: bf16, and f32 with --precision exact]
    #[arg(long, value_enum)]
    pub kv: Option<KvArg>,
    /// Threads to compute with [default: all]; the numbers do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Memory that weights and KV cache may take, such as 8GiB; experts beyond it stay on disk [default:
    /// files are mapped whole]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    pub memory: Option<u64>,
    /// What computes: cpu, vulkan for the first card, vulkan:N or vulkan:NAME for one that `gptoss doctor`
    /// lists, cuda, cuda:N or cuda:NAME for one of NVIDIA's without Vulkan, or auto for a card that holds the
    /// model or all of it but experts, if there is one
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: DeviceArg,
    /// Of a card's memory, what may be taken, such as 12GiB; experts beyond it stay in the computer's memory
    /// [default: nine tenths of what the card has]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    pub gpu_memory: Option<u64>,
}

/// What computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceArg {
    /// The processor.
    Cpu,
    /// A card that holds the model, or all of it but experts, or the processor.
    Auto,
    /// A card, whatever it has room for.
    Card(DeviceChoice),
}

/// Reads a device.
pub fn device(text: &str) -> Result<DeviceArg, String> {
    match text {
        "cpu" => Ok(DeviceArg::Cpu),
        "auto" => Ok(DeviceArg::Auto),
        text => DeviceChoice::parse(text).map(DeviceArg::Card).ok_or_else(|| {
            "write cpu, auto, vulkan, vulkan:N or vulkan:NAME, or cuda in its place".to_owned()
        }),
    }
}

/// A format of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KvArg {
    /// As computed.
    F32,
    /// Rounded to bf16.
    Bf16,
    /// int8 with a scale a head: half the memory of bf16.
    Q8,
}

/// Numeric mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    /// int8 activations, bf16 KV cache
    Fast,
    /// f32 activations and KV cache, right to the official logits
    Exact,
}

/// The format of dense matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DenseArg {
    /// As the file has them: bf16 as published, what it holds in a GGUF file
    Bf16,
    /// int8 with a scale for 32 numbers, made when the model is opened; fast precision only
    Q8,
}

/// A number of bytes, written with a unit: `8GiB`, `500 MB`. Units: bytes.
pub fn memory_size(text: &str) -> Result<u64, String> {
    let has_unit = text.trim_end().ends_with(['b', 'B']);
    match text.trim().parse::<ByteSize>() {
        Ok(size) if has_unit && size.as_u64() > 0 => Ok(size.as_u64()),
        _ => Err("write a number and a unit, for example 8GiB or 500MB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use gptoss_gpu::Way;

    use super::*;

    #[test]
    fn devices_are_named() {
        assert_eq!(device("cpu"), Ok(DeviceArg::Cpu));
        assert_eq!(device("auto"), Ok(DeviceArg::Auto));
        assert_eq!(device("vulkan:1"), Ok(DeviceArg::Card(DeviceChoice::Index(Way::Vulkan, 1))));
        assert_eq!(device("cuda"), Ok(DeviceArg::Card(DeviceChoice::Any(Way::Cuda))));
        for bad in ["", "gpu", "vulkan:", "cuda:"] {
            assert!(device(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_numbers_with_units() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(memory_size(text).ok(), expect, "{text}");
        check("8GiB", Some(8 << 30));
        check("500 MB", Some(500_000_000));
        check("1.5gib", Some(3 << 29));
        for bad in ["", "8", "GiB", "0GB", "-1GB", "8 GiB!", "8 lightyears", "."] {
            check(bad, None);
        }
    }
}
