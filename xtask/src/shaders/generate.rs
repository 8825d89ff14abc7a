//! The translation of every kernel, and the comparison with what is checked in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use naga::back::{msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

use super::source::{Kernel, kernels};
use super::{contraction, mutants};

/// Where the kernels are, from the root.
const WGSL: &str = "crates/gpu/wgsl";
const MUTANTS: &str = "crates/gpu/tests/mutants.txt";
/// Where the mutants go, from the target folder: the folder that cargo gives to integration tests.
const MUTANTS_OUT: &str = "tmp/mutants";
/// The version of SPIR-V that Vulkan 1.1 takes; what is newer comes by extensions.
const SPIRV_VERSION: (u8, u8) = (1, 3);
const MSL_VERSION: (u8, u8) = (2, 4);
/// What NoContraction is in MSL, as far as a source can say it: fast math is turned off by who compiles it.
const MSL_EXACT: &str = "#pragma METAL fp contract(off)\n";
/// Every kernel's entry point.
const ENTRY: &str = "main";

/// Sizes of buffers are checked where kernels are dispatched, and a device may be opened with checks of its
/// own.
const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

pub fn run(root: &Path, check: bool) -> Result<Vec<String>> {
    let kernels = read_kernels(root)?;
    let mut made = BTreeMap::new();
    for kernel in kernels.values() {
        let (module, info) = validated(kernel)?;
        made.insert(PathBuf::from(format!("crates/gpu/spirv/{}.spv", kernel.name)), spirv(&module, &info)?);
        made.insert(PathBuf::from(format!("crates/gpu/msl/{}.metal", kernel.name)), metal(&module, &info)?);
    }
    write_mutants(root, &kernels)?;
    let there = checked_in(root)?;
    let mut differences: Vec<String> = there
        .iter()
        .filter(|path| !made.contains_key(*path))
        .map(|path| format!("{}: no kernel makes it", path.display()))
        .collect();
    for (path, bytes) in &made {
        if std::fs::read(root.join(path)).ok().as_ref() != Some(bytes) {
            differences.push(format!("{}: differs from what its WGSL makes", path.display()));
        }
    }
    if check {
        return Ok(differences);
    }
    for path in there.iter().filter(|path| !made.contains_key(*path)) {
        std::fs::remove_file(root.join(path))?;
    }
    for (path, bytes) in &made {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        std::fs::write(path, bytes)?;
    }
    Ok(Vec::new())
}

/// Every kernel by its name.
fn read_kernels(root: &Path) -> Result<BTreeMap<String, Kernel>> {
    let part = |name: &str| {
        let path = root.join(WGSL).join("parts").join(format!("{name}.wgsl"));
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let mut all = BTreeMap::new();
    for path in files_in(&root.join(WGSL), "wgsl")? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path)?;
        for kernel in kernels(&name, &text, &part).with_context(|| format!("{}", path.display()))? {
            all.insert(kernel.name.clone(), kernel);
        }
    }
    Ok(all)
}

fn write_mutants(root: &Path, kernels: &BTreeMap<String, Kernel>) -> Result<()> {
    let mut command = cargo_metadata::MetadataCommand::new();
    let metadata =
        command.manifest_path(root.join("Cargo.toml")).no_deps().exec().context("cargo metadata")?;
    let folder = metadata.target_directory.as_std_path().join(MUTANTS_OUT);
    std::fs::create_dir_all(&folder)?;
    for mutant in mutants::parse(&std::fs::read_to_string(root.join(MUTANTS))?)? {
        let kernel = kernels
            .get(&mutant.kernel)
            .with_context(|| format!("mutant {} of {}, which is not a kernel", mutant.name, mutant.kernel))?;
        let (module, info) = validated(&mutant.of(kernel)?)?;
        std::fs::write(folder.join(format!("{}.spv", mutant.name)), spirv(&module, &info)?)?;
    }
    Ok(())
}

fn validated(kernel: &Kernel) -> Result<(naga::Module, ModuleInfo)> {
    let told = |message: String| anyhow!("kernel {}: {message}", kernel.name);
    let module = naga::front::wgsl::parse_str(&kernel.wgsl)
        .map_err(|error| told(error.emit_to_string(&kernel.wgsl)))?;
    let capabilities = Capabilities::IMMEDIATES;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|error| told(error.emit_to_string(&kernel.wgsl)))?;
    Ok((module, info))
}

fn spirv(module: &naga::Module, info: &ModuleInfo) -> Result<Vec<u8>> {
    let options = spv::Options {
        lang_version: SPIRV_VERSION,
        flags: spv::WriterFlags::empty(),
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..Default::default()
    };
    let entry =
        spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: ENTRY.to_owned() };
    let words = contraction::exact(&spv::write_vec(module, info, &options, Some(&entry))?)?;
    Ok(words.iter().flat_map(|word| word.to_le_bytes()).collect())
}

/// Buffer i is binding i; behind them come the constants of a dispatch, and the sizes of buffers, which
/// kernels without checks do not read.
fn metal(module: &naga::Module, info: &ModuleInfo) -> Result<Vec<u8>> {
    let mut resources = msl::EntryPointResources::default();
    for (_, variable) in module.global_variables.iter() {
        if let Some(binding) = variable.binding {
            let target = msl::BindTarget {
                buffer: Some(u8::try_from(binding.binding)?),
                mutable: variable.space.access().contains(naga::StorageAccess::STORE),
                ..Default::default()
            };
            resources.resources.insert(binding, target);
        }
    }
    let num_buffers = u8::try_from(resources.resources.len())?;
    resources.immediates_buffer = Some(num_buffers);
    resources.sizes_buffer = Some(num_buffers + 1);
    let options = msl::Options {
        lang_version: MSL_VERSION,
        per_entry_point_map: [(ENTRY.to_owned(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..Default::default()
    };
    let (text, _) = msl::write_string(module, info, &options, &msl::PipelineOptions::default())?;
    Ok(format!("{MSL_EXACT}{text}").into_bytes())
}

/// The translations that are there, from the root.
fn checked_in(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut paths = BTreeSet::new();
    for (folder, end) in [("crates/gpu/spirv", "spv"), ("crates/gpu/msl", "metal")] {
        for path in files_in(&root.join(folder), end)? {
            paths.insert(path.strip_prefix(root)?.to_owned());
        }
    }
    Ok(paths)
}

/// The files of a folder whose names end so, sorted; none where there is no folder.
fn files_in(folder: &Path, end: &str) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == end) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
