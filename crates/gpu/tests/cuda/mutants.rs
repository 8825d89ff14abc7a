//! Kernels with one mistake each, missing barriers among them: the checks must find every one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::program::{Program, made, sources};
use crate::{attention, choices, products, rows};

/// One edit of a file of kernels or of one of its parts.
#[derive(Debug, Default)]
struct Mutant<'a> {
    name: &'a str,
    /// The file of kernels.
    file: &'a str,
    old: String,
    new: String,
}

fn parse(list: &str) -> Vec<Mutant<'_>> {
    let mut mutants: Vec<Mutant<'_>> = Vec::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some((name, file)) = line.strip_prefix("mutant ").and_then(|rest| rest.split_once(" of ")) {
            mutants.push(Mutant { name, file, ..Mutant::default() });
            continue;
        }
        let mutant = mutants.last_mut().unwrap();
        let side = if line.starts_with('-') { &mut mutant.old } else { &mut mutant.new };
        side.push_str(line[1..].trim());
        side.push('\n');
    }
    mutants
}

/// The checks of a file's kernels.
fn checks_of(file: &str) -> &'static [fn(&Program)] {
    match file {
        "attention.cu" => &[attention::check_attention],
        "best_tokens.cu" => &[choices::check_best],
        "experts_collect.cu" => &[rows::check_collect],
        "experts_down.cu" => &[products::check_down],
        "experts_sort.cu" => &[choices::check_sort],
        "gemv_floats.cu" => &[products::check_floats],
        "gemv_int8_int8.cu" => &[products::check_int8],
        "gemv_mxfp4_f32.cu" => &[products::check_experts_f32],
        "gemv_mxfp4_int8.cu" => &[products::check_experts],
        "probe_floats.cu" => &[rows::check_probe],
        "quantize_int8.cu" => &[rows::check_quantize],
        "quantize_middles.cu" => &[rows::check_about_middles],
        "rmsnorm.cu" => &[rows::check_norms],
        "rope.cu" => &[attention::check_rope],
        "router_top_k.cu" => &[rows::check_router],
        "swiglu.cu" => &[rows::check_swiglu_f32],
        "swiglu_middles.cu" => &[rows::check_swiglu],
        "tile_int8_int8.cu" => &[products::check_int8_tiles],
        "tile_mxfp4_int8.cu" => &[products::check_tiles],
        _ => panic!("no check of {file}"),
    }
}

impl Mutant<'_> {
    /// Writes the kernels with the mistake into a folder of their own; the file to be built.
    fn write(&self) -> PathBuf {
        let folder = made().join("mutants").join(self.name);
        let mut places = 0;
        for part in ["card.h", self.file].map(PathBuf::from).into_iter().chain(parts()) {
            let text = std::fs::read_to_string(sources().join(&part)).unwrap();
            let trimmed: String = text.lines().map(|line| line.trim().to_owned() + "\n").collect();
            places += if includes(self.file, &part) { trimmed.matches(&self.old).count() } else { 0 };
            let to = folder.join(&part);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(to, trimmed.replacen(&self.old, &self.new, 1)).unwrap();
        }
        assert!(
            places == 1,
            "mutant {}: its lines stand {places} times in {} and parts",
            self.name,
            self.file
        );
        folder.join(self.file)
    }

    fn is_found(&self) -> bool {
        let program = Program::build(&format!("mutant_{}", self.name), &[self.write()]);
        let found = checks_of(self.file)
            .iter()
            .any(|check| catch_unwind(AssertUnwindSafe(|| check(&program))).is_err());
        program.remove();
        found
    }
}

/// The parts of kernels.
fn parts() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(sources().join("parts")).unwrap();
    entries.map(|entry| Path::new("parts").join(entry.unwrap().file_name())).collect()
}

/// Whether a file includes a part, perhaps by another.
fn includes(file: &str, part: &Path) -> bool {
    let mut reached = vec![PathBuf::from(file)];
    let mut next = 0;
    while next < reached.len() {
        let text = std::fs::read_to_string(sources().join(&reached[next])).unwrap();
        for line in text.lines() {
            let Some(name) = line.strip_prefix("#include \"").and_then(|rest| rest.strip_suffix('"')) else {
                continue;
            };
            let name = Path::new(name).file_name().unwrap();
            let path = if name == "card.h" { PathBuf::from(name) } else { Path::new("parts").join(name) };
            if !reached.contains(&path) && name != "shim.h" {
                reached.push(path);
            }
        }
        next += 1;
    }
    reached.iter().any(|path| path == part)
}

#[test]
fn every_mutant_is_found() {
    if Program::of_all().is_none() {
        return;
    }
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cuda/mutants.txt");
    let list = std::fs::read_to_string(list).unwrap();
    let mutants = parse(&list);
    // Half of the time goes to the compiler, so two at a time.
    let halves = mutants.split_at(mutants.len() / 2);
    let survivors_of = |half: &[Mutant<'_>]| -> Vec<String> {
        half.iter().filter(|mutant| !mutant.is_found()).map(|mutant| mutant.name.to_owned()).collect()
    };
    let survivors = std::thread::scope(|scope| {
        let first = scope.spawn(|| survivors_of(halves.0));
        let second = survivors_of(halves.1);
        [first.join().unwrap(), second].concat()
    });
    assert!(survivors.is_empty(), "not found: {survivors:?}");
}
