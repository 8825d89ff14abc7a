//! Devices, buffers, transfers and recordings.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use gptoss_gpu::ops::{DenseMatrix, DenseRows, Linear, NormInputs, RmsNorm};
use gptoss_gpu::{
    Device, DeviceChoice, Error, Kernel, Kernels, Place, Recording, Upload, WAIT_MAX, Way, buffer_bytes,
    download,
};

use crate::devices::one_at_a_time;
use crate::numbers::Rng;
use crate::support::{Bench, again, devices, on_every_device};

#[test]
fn a_device_that_is_not_there_is_named_with_those_that_are() {
    let error = match Device::open(&DeviceChoice::Name(Way::Vulkan, "no such card".to_owned())) {
        Ok(device) => panic!("{device:?}"),
        Err(error) => error,
    };
    match &error {
        Error::NoSuchDevice { there, .. } => assert!(there.contains("vulkan:0"), "{error}"),
        Error::NoLoader { .. } | Error::NoDevice => {}
        other => panic!("{other}"),
    }
}

#[test]
fn buffers_are_counted_to_the_byte_and_given_back() {
    on_every_device(|bench| {
        // A device of its own: the books of the others move while tests run.
        let device = again(&bench.device);
        let sizes = [1, 16, 1000, 4096];
        let buffers: Vec<_> =
            sizes.iter().map(|bytes| device.buffer("a", *bytes, Place::Card).unwrap()).collect();
        let held = device.held(Place::Card);
        assert_eq!(held.bytes, sizes.into_iter().map(buffer_bytes).sum::<u64>());
        assert_eq!((held.num_buffers, held.bytes), (4, buffers.iter().map(|buffer| buffer.bytes()).sum()));
        assert!(held.reserved_bytes >= held.bytes);
        let clone = buffers[3].clone();
        drop(buffers);
        assert_eq!(device.held(Place::Card).bytes, 4096);
        drop(clone);
        assert_eq!((device.held(Place::Card).bytes, device.held(Place::Card).num_buffers), (0, 0));
        assert_eq!(device.held(Place::Host).num_buffers, 0);
    });
}

#[test]
fn uploads_of_many_chunks_come_back_as_they_were() {
    on_every_device(|bench| {
        let mut rng = Rng(7);
        let bytes: Vec<u8> = (0..100_003).map(|_| rng.next() as u8).collect();
        let buffer = bench.device.buffer("a", bytes.len() as u64 + 64, Place::Card).unwrap();
        let mut upload = Upload::new(&bench.device, 4096).unwrap();
        upload.write(&buffer.slice(16..buffer.bytes()), &bytes).unwrap();
        upload.finish().unwrap();
        let back = download(&bench.device, &buffer.all()).unwrap();
        assert!(back[16..][..bytes.len()] == bytes);
    });
}

#[test]
fn what_is_too_large_for_a_kernel_is_refused_by_name() {
    on_every_device(|bench| {
        let bytes = bench.device.description().limits.storage_range_bytes + 1;
        let error = bench.device.buffer("the unembedding", bytes, Place::Card).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }) && error.to_string().contains("the unembedding"));
    });
}

/// Each norm reads what the one before it wrote.
#[test]
fn a_recording_runs_again_and_again_over_what_buffers_hold_then() {
    on_every_device(|bench| {
        let (c, num_norms) = (64_u32, 5);
        let input = bench.device.buffer("input", 256, Place::Host).unwrap();
        let rows: Vec<_> = (0..num_norms).map(|_| bench.poisoned(64)).collect();
        let weight = bench.holding(&[1.0_f32; 64]);
        let out = bench.device.buffer("output", 256, Place::Host).unwrap();
        let mut recording = Recording::new(&bench.device);
        let mut x = &input.all();
        for row in &rows {
            let inputs = NormInputs { x, weight: &weight, t: 1, c, eps: 0.0 };
            RmsNorm { out: row, inputs }.record(&bench.kernels, &mut recording).unwrap();
            x = row;
        }
        recording.copy(&out.all(), x);
        assert_eq!(recording.num_barriers(), num_norms);
        let mut recorded = recording.finish("five norms").unwrap();
        for factor in [1.0_f32, -3.0] {
            input.write(0, bytemuck::cast_slice(&[factor; 64]));
            recorded.run().unwrap();
            let mut found = [0.0_f32; 64];
            out.read(0, bytemuck::cast_slice_mut(&mut found));
            assert_eq!(found, [factor.signum(); 64]);
        }
    });
}

#[test]
fn workgroups_may_be_counted_by_an_earlier_dispatch() {
    on_every_device(|bench| {
        let (x, weight) = (bench.holding(&[5.0_f32; 3 * 64]), bench.holding(&[1.0_f32; 64]));
        if bench.device.description().way() == Way::Cuda {
            // There the kernel must take the number of its groups.
            return;
        }
        // Two rows of three, by a copy that the dispatch must wait for.
        let (counts, groups) = (bench.holding(&[2_u32, 1, 1]), bench.poisoned(3));
        let out = bench.poisoned(3 * 64);
        let kernel = bench.kernels.get("rmsnorm").unwrap();
        let mut recording = Recording::new(&bench.device);
        recording.copy(&groups, &counts);
        recording.dispatch_indirect(&kernel, &[&x, &weight, &out], &[64, 0], (&groups, [3, 1, 1]));
        assert_eq!(recording.num_barriers(), 1);
        recording.finish("two rows").unwrap().run().unwrap();
        let found: Vec<f32> = bench.read(&out, 3 * 64);
        assert!(found[..128].iter().all(|x| *x == 1.0) && found[128..].iter().all(|x| x.is_nan()));
    });
}

#[test]
fn a_slice_that_is_too_short_is_the_callers_fault_and_is_named() {
    on_every_device(|bench| {
        let (short, long) = (bench.holding(&[1.0_f32; 60]), bench.holding(&[1.0_f32; 64]));
        for (x, weight, out, named) in
            [(&short, &long, &long, "x"), (&long, &short, &long, "weight"), (&long, &long, &short, "out")]
        {
            let mut recording = Recording::new(&bench.device);
            let inputs = NormInputs { x, weight, t: 1, c: 64, eps: 0.0 };
            let record = AssertUnwindSafe(|| RmsNorm { out, inputs }.record(&bench.kernels, &mut recording));
            let message = *catch_unwind(record).unwrap_err().downcast::<String>().unwrap();
            assert!(message.starts_with(&format!("rmsnorm: {named} is")), "{message}");
        }
    });
}

/// Puts something into a recording.
type Record<'a> = &'a dyn Fn(&mut Recording);

/// The same device opened twice is two: neither may see the other's handles.
#[test]
fn what_another_device_made_is_refused() {
    on_every_device(|bench| {
        let other = again(&bench.device);
        let theirs = Bench::of(&other, Kernels::new(&other));
        let (x, weight, out) =
            (bench.holding(&[1.0_f32; 64]), bench.holding(&[1.0_f32; 64]), bench.poisoned(64));
        let (kernel, groups) = (bench.kernels.get("rmsnorm").unwrap(), bench.holding(&[1_u32; 3]));
        let (their_x, their_groups) = (theirs.holding(&[1.0_f32; 64]), theirs.holding(&[1_u32; 3]));
        let their_kernel = theirs.kernels.get("rmsnorm").unwrap();
        let refusals: [(&str, Record); 5] = [
            ("buffer", &|r| r.dispatch(&kernel, &[&their_x, &weight, &out], &[64, 0], [1; 3])),
            ("kernel", &|r| r.dispatch(&their_kernel, &[&x, &weight, &out], &[64, 0], [1; 3])),
            ("groups", &|r| {
                r.dispatch_indirect(&kernel, &[&x, &weight, &out], &[64, 0], (&their_groups, [3, 1, 1]))
            }),
            ("source", &|r| r.copy(&out, &their_x)),
            ("target", &|r| r.copy(&their_x, &x)),
        ];
        for (what, record) in refusals {
            let finish = AssertUnwindSafe(|| {
                let mut recording = Recording::new(&bench.device);
                record(&mut recording);
                recording.finish("a mix").map(drop)
            });
            let message = *catch_unwind(finish).unwrap_err().downcast::<String>().unwrap();
            assert!(message.starts_with("a mix: a buffer or kernel of another device"), "{what}: {message}");
        }
        if bench.device.description().way() == Way::Cuda {
            // There the kernel must take the number of its groups.
            return;
        }
        let mut recording = Recording::new(&bench.device);
        recording.dispatch_indirect(&kernel, &[&x, &weight, &out], &[64, 0], (&groups, [3, 1, 1]));
        recording.finish("our own").unwrap().run().unwrap();
    });
}

#[test]
fn constants_are_as_many_as_the_kernel_has() {
    on_every_device(|bench| {
        let (x, out) = (bench.holding(&[1.0_f32; 64]), bench.poisoned(64));
        let kernel = bench.kernels.get("rmsnorm").unwrap();
        for constants in [&[64][..], &[64, 0, 0]] {
            let mut recording = Recording::new(&bench.device);
            let dispatch =
                AssertUnwindSafe(|| recording.dispatch(&kernel, &[&x, &x, &out], constants, [1; 3]));
            let message = *catch_unwind(dispatch).unwrap_err().downcast::<String>().unwrap();
            assert!(message.contains("kernel rmsnorm: bytes of constants"), "{message}");
        }
    });
}

/// Kernels read halves, and copies write, by words of four bytes.
#[test]
fn a_slice_that_ends_within_a_word_is_refused() {
    on_every_device(|bench| {
        let (x, out) = (bench.holding(&[1.0_f32; 4]), bench.poisoned(4));
        let buffer = bench.device.buffer("halves", 16, Place::Card).unwrap();
        let product = |bytes: u64| {
            let (x, values) = (DenseRows::F32(&x), buffer.slice(0..bytes));
            let weight = DenseMatrix::Bf16(&values);
            let op = Linear { out: &out, x, weight, bias: None, adds: false, t: 1, n: 1, k: 1 };
            op.record(&bench.kernels, &mut Recording::new(&bench.device)).unwrap();
        };
        product(4);
        assert!(catch_unwind(AssertUnwindSafe(|| product(2))).is_err());
        let upload = |bytes: u64| {
            let mut upload = Upload::new(&bench.device, 16).unwrap();
            upload.write(&buffer.slice(4..4 + bytes), &[1; 5]).unwrap();
            upload.finish().unwrap();
        };
        upload(8);
        for bytes in [5, 7] {
            assert!(catch_unwind(AssertUnwindSafe(|| upload(bytes))).is_err());
        }
        assert_eq!(download(&bench.device, &buffer.slice(0..8)).unwrap().len(), 8);
        let cut = AssertUnwindSafe(|| download(&bench.device, &buffer.slice(0..6)));
        assert!(catch_unwind(cut).is_err());
    });
}

#[test]
fn words_that_are_not_a_kernel_are_refused() {
    on_every_device(|bench| {
        for bytes in [&[1_u8, 2, 3][..], &[0; 64]] {
            let error = Kernel::new(&bench.device, "a mistake", bytes).err().unwrap();
            assert!(matches!(&error, Error::Kernel { kernel, .. } if kernel == "a mistake"), "{error}");
        }
        assert!(matches!(bench.kernels.get("no such kernel").err().unwrap(), Error::Kernel { .. }));
    });
}

/// A card that does not answer in time is given up, and says what it was doing.
#[test]
fn a_hang_names_what_ran_and_ends_the_device() {
    let _alone = one_at_a_time();
    for device in devices() {
        let device = again(device);
        let bench = Bench::of(&device, Kernels::new(&device));
        let (t, c) = (100, 20_000);
        let (x, weight, out) = (bench.poisoned(t * c), bench.poisoned(c), bench.poisoned(t * c));
        let [mut recorded, mut behind] = ["a step of 3 rows", "a step behind it"].map(|what| {
            let mut recording = Recording::new(&device);
            for _ in 0..2 {
                let inputs = NormInputs { x: &x, weight: &weight, t: t as u32, c: c as u32, eps: 0.0 };
                RmsNorm { out: &out, inputs }.record(&bench.kernels, &mut recording).unwrap();
            }
            let mut recorded = recording.finish(what).unwrap();
            recorded.submit().unwrap();
            recorded
        });
        let error = recorded.wait(Duration::from_nanos(1)).unwrap_err();
        assert!(
            matches!(error, Error::Hang { .. }) && error.to_string().contains("a step of 3 rows"),
            "{error}"
        );
        // Whatever else is asked gets the same reason. Neither what hangs nor what waits behind it is waited
        // for again, though both may end.
        assert_eq!(device.buffer("a", 16, Place::Card).unwrap_err(), error);
        for recorded in [&mut recorded, &mut behind] {
            assert_eq!(recorded.wait(WAIT_MAX).unwrap_err(), error);
            assert_eq!(recorded.submit().unwrap_err(), error);
        }
        let held = device.held(Place::Card).bytes;
        drop((recorded, behind, bench, x, weight, out));
        assert_eq!(device.held(Place::Card).bytes, held, "nothing is given back under it");
    }
}
