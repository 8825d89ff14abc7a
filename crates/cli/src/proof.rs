//! `gptoss doctor --prove`: every op on the user's card beside the stored answers, and one line that can be
//! sent in.
//!
//! The line names the card, its driver, its class, what passed and failed, and what the card gave meanwhile.
//! The exit code is 1 when a case fails.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use gptoss_gpu::prove::{Case, Failure, Proof, TABLE, prove};
use gptoss_gpu::{Device, DeviceChoice, DeviceDescription, DeviceSpeed, Kernels, Way};
use serde_json::{Value, json};

use crate::args::DoctorArgs;
use crate::progress::{Progress, Unit};
use crate::terminal;

/// What is said of a device.
struct Report {
    device: DeviceDescription,
    proof: Proof,
    /// Of the cases. Units: seconds.
    seconds: f64,
    /// `None` when it could not be measured, which is told.
    speed: Option<DeviceSpeed>,
}

/// Runs the command.
pub fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let choice = args.device.clone().unwrap_or(DeviceChoice::Any(Way::Vulkan));
    let device = Device::open(&choice).context("cannot open the device")?;
    writeln!(io::stderr(), "proving {} with {} cases", device.description(), TABLE.len())?;
    let report = Report::of(&device)?;
    for Failure { case, error } in &report.proof.failures {
        let why = error.as_ref().map_or("other numbers than its answer".to_owned(), ToString::to_string);
        writeln!(io::stderr(), "failed: {case}: {}", terminal::safe(&why))?;
    }
    let mut out = io::stdout().lock();
    match args.json {
        true => writeln!(out, "{:#}", report.to_json())?,
        false => writeln!(out, "{}", terminal::safe(&report.line()))?,
    }
    out.flush()?;
    Ok(if report.is_proved() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Report {
    /// Runs the cases, then measures.
    ///
    /// Errors: the device's, before or between the cases.
    fn of(device: &Device) -> Result<Report> {
        let cases: Vec<&Case> = TABLE.iter().collect();
        let mut progress = Progress::new("proving", Unit::Cases);
        let start = Instant::now();
        let proof =
            prove(&Kernels::new(device), &cases, &mut |done| progress.set(done as u64, cases.len() as u64))?;
        let seconds = start.elapsed().as_secs_f64();
        progress.clear();
        let speed = match DeviceSpeed::measure(device) {
            Ok(speed) => Some(speed),
            Err(error) => {
                writeln!(io::stderr(), "not measured: {}", terminal::safe(&error.to_string()))?;
                None
            }
        };
        Ok(Report { device: device.description().clone(), proof, seconds, speed })
    }

    fn is_proved(&self) -> bool {
        self.num_passed() == TABLE.len()
    }

    /// A lost device leaves the rest of the cases out.
    fn num_passed(&self) -> usize {
        self.proof.num_cases - self.proof.failures.len()
    }

    fn failed(&self) -> Vec<String> {
        self.proof.failures.iter().map(|failure| failure.case.to_string()).collect()
    }

    /// What can be sent in.
    fn line(&self) -> String {
        let Report { device, proof, seconds, .. } = self;
        let verdict = if self.is_proved() { "proved" } else { "NOT PROVED" };
        let failed = match self.failed() {
            names if names.is_empty() => String::new(),
            names => format!(", failed: {}", names.join(" ")),
        };
        let speed = self.speed.map_or(String::new(), |speed| {
            let (gigabytes, microseconds) = (speed.copy_bandwidth / 1e9, speed.dispatch_seconds * 1e6);
            format!("; copies {gigabytes:.1} GB/s, {microseconds:.2} us a dispatch")
        });
        format!(
            "{verdict}: {} ({}, {:.1} GB), {}, {}, {}, {} of {} cases in {seconds:.1} s{failed}{speed}; gptoss {}",
            device.name,
            device.kind,
            device.memory_bytes as f64 / 1e9,
            device.driver,
            device.version,
            proof.class,
            self.num_passed(),
            TABLE.len(),
            env!("CARGO_PKG_VERSION"),
        )
    }

    fn to_json(&self) -> Value {
        let Report { device, proof, seconds, speed } = self;
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "proved": self.is_proved(),
            "device": device.name,
            "kind": device.kind.to_string(),
            "memory_bytes": device.memory_bytes,
            "driver": device.driver,
            "api": device.version.to_string(),
            "class": proof.class.to_string(),
            "cases": TABLE.len(),
            "passed": self.num_passed(),
            "failed": self.failed(),
            "seconds": seconds,
            "copy_bandwidth_bytes_per_second": speed.map(|speed| speed.copy_bandwidth),
            "dispatch_seconds": speed.map(|speed| speed.dispatch_seconds),
            "line": self.line(),
        })
    }
}

#[cfg(test)]
mod tests {
    use gptoss_gpu::{Arithmetic, DeviceClass, DeviceKind, Limits, Version};

    use super::*;

    #[test]
    fn the_line_says_what_failed_and_on_what() {
        let limits = Limits {
            storage_range_bytes: 1 << 27,
            allocation_bytes: 1 << 30,
            num_allocations: 4096,
            storage_alignment_bytes: 64,
            shared_bytes: 1 << 15,
            workgroup_invocations: 256,
            storage_buffers: 16,
            num_workgroups: [65_535; 3],
        };
        let device = DeviceDescription {
            index: 1,
            name: "A card".to_owned(),
            kind: DeviceKind::Discrete,
            memory_bytes: 16_000_000_000,
            driver: "A driver 2".to_owned(),
            version: Version::Vulkan([1, 3, 280]),
            limits,
        };
        let class = DeviceClass { way: Way::Vulkan, kernels: 0x1234_abcd, arithmetic: Arithmetic::Fused };
        let speed = Some(DeviceSpeed { copy_bandwidth: 3e12, dispatch_seconds: 2.5e-6 });
        let report = |failures: Vec<Failure>| {
            let proof = Proof { class, num_cases: TABLE.len(), failures };
            Report { device: device.clone(), proof, seconds: 1.5, speed }
        };
        let all = TABLE.len();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            report(Vec::new()).line(),
            format!(
                "proved: A card (card, 16.0 GB), A driver 2, Vulkan 1.3.280, vulkan-1234abcd-fused, {all} of {all} cases in 1.5 s; \
                 copies 3000.0 GB/s, 2.50 us a dispatch; gptoss {version}"
            )
        );
        let failed = report(vec![Failure { case: &TABLE[0], error: None }]);
        let name = TABLE[0].to_string();
        assert!(failed.line().starts_with("NOT PROVED: A card") && failed.line().contains(&name));
        let json = failed.to_json();
        assert_eq!((&json["proved"], &json["passed"]), (&false.into(), &(all - 1).into()));
        assert_eq!(json["failed"], json!([name]));
    }
}
