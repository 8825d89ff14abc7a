//! The files of the embedded demo model.
//!
//! A small gpt-oss-shaped model, trained from scratch for this project (see `demo/` at the repository root),
//! so that a fresh clone can answer without any download. Its files are those of a Hugging Face checkpoint,
//! byte for byte; they are read where they lie in the program's image. Wherever a user sees it, it is called
//! a demo: it shows that everything works, and it is no substitute for gpt-oss.

/// Bytes in the binary at an address that suits every tensor of the file.
#[repr(C, align(64))]
struct Aligned<Bytes: ?Sized>(Bytes);

static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../demo/model/model.safetensors"));

const GENERATION_CONFIG: &[u8] = include_bytes!("../../../demo/model/generation_config.json");

/// The checkpoint's files, by the names they have in a folder.
pub static FILES: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../../../demo/model/config.json")),
    ("model.safetensors", &MODEL.0),
    ("tokenizer.json", include_bytes!("../../../demo/model/tokenizer.json")),
    ("generation_config.json", GENERATION_CONFIG),
];

/// The sampling that suits the demo, as `generation_config.json` says it.
pub fn generation_config() -> &'static [u8] {
    GENERATION_CONFIG
}
