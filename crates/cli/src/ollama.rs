//! What Ollama has fetched, found in its own store.
//!
//! `manifests/registry.ollama.ai/library/gpt-oss/20b` is JSON that lists layers by digest; the one of type
//! `application/vnd.ollama.image.model` is a GGUF file under `blobs/sha256-HEX`. Nothing is written there,
//! and what cannot be read is not there.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::hub;

/// The kind of the layer that is the weights.
const MODEL_LAYER: &str = "application/vnd.ollama.image.model";
/// Where the service that the Linux installer sets up keeps its store.
const SERVICE_STORE: &str = "/usr/share/ollama/.ollama/models";
/// The registry and the owner of names that say neither.
const REGISTRY: &str = "registry.ollama.ai";
const LIBRARY: &str = "library";
/// Longest manifest that is read. Units: bytes.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
}

/// A model in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OllamaModel {
    /// `NAME:TAG`, as Ollama lists it.
    pub name: String,
    /// The GGUF file.
    pub file: PathBuf,
}

/// The GGUF file of `NAME:TAG` or `OWNER/NAME:TAG`, if Ollama has it.
pub fn find(name: &str) -> Option<PathBuf> {
    stores().iter().find_map(|store| find_in(store, name))
}

/// Every model of every store that is there.
pub fn all() -> Vec<OllamaModel> {
    stores().iter().flat_map(|store| all_in(store)).collect()
}

fn stores() -> Vec<PathBuf> {
    let named = env::var_os("OLLAMA_MODELS").filter(|path| !path.is_empty()).map(PathBuf::from);
    match named {
        Some(named) => vec![named],
        None => {
            let own = env::home_dir().map(|home| home.join(".ollama/models"));
            own.into_iter().chain([PathBuf::from(SERVICE_STORE)]).collect()
        }
    }
}

fn find_in(store: &Path, name: &str) -> Option<PathBuf> {
    let (name, tag) = name.split_once(':')?;
    let (owner, name) = name.split_once('/').unwrap_or((LIBRARY, name));
    if ![owner, name, tag].into_iter().all(hub::is_word) {
        return None;
    }
    model_file(store, &store.join("manifests").join(REGISTRY).join(owner).join(name).join(tag))
}

/// The weights that a manifest names, if they are there.
fn model_file(store: &Path, manifest: &Path) -> Option<PathBuf> {
    if fs::metadata(manifest).ok()?.len() > MANIFEST_BYTES_MAX {
        return None;
    }
    let manifest: Manifest = serde_json::from_slice(&fs::read(manifest).ok()?).ok()?;
    let layer = manifest.layers.into_iter().find(|layer| layer.media_type == MODEL_LAYER)?;
    let hex = layer.digest.strip_prefix("sha256:")?;
    let is_hash = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let file = store.join("blobs").join(format!("sha256-{hex}"));
    (is_hash && file.is_file()).then_some(file)
}

fn all_in(store: &Path) -> Vec<OllamaModel> {
    let root = store.join("manifests").join(REGISTRY);
    let mut models = Vec::new();
    for owner in names_in(&root) {
        for name in names_in(&root.join(&owner)) {
            for tag in names_in(&root.join(&owner).join(&name)) {
                let called = match owner.as_str() {
                    LIBRARY => format!("{name}:{tag}"),
                    owner => format!("{owner}/{name}:{tag}"),
                };
                let file = find_in(store, &called);
                models.extend(file.map(|file| OllamaModel { name: called, file }));
            }
        }
    }
    models
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_its_blob() {
        let store = tempfile::tempdir().unwrap();
        let hex = "ab".repeat(32);
        let manifests = store.path().join("manifests/registry.ollama.ai/library/gpt-oss");
        fs::create_dir_all(&manifests).unwrap();
        fs::create_dir_all(store.path().join("blobs")).unwrap();
        let manifest = |digest: &str| {
            format!(
                r#"{{"schemaVersion": 2, "layers": [{{"mediaType": "application/vnd.ollama.image.license", "digest": "x", "size": 1}},
                {{"mediaType": "application/vnd.ollama.image.model", "digest": "{digest}", "size": 4}}]}}"#
            )
        };
        fs::write(manifests.join("20b"), manifest(&format!("sha256:{hex}"))).unwrap();
        fs::write(manifests.join("evil"), manifest("sha256:../../../etc/passwd")).unwrap();
        fs::write(manifests.join("torn"), "{").unwrap();
        // The blob is not there yet.
        assert_eq!(find_in(store.path(), "gpt-oss:20b"), None);
        let blob = store.path().join("blobs").join(format!("sha256-{hex}"));
        fs::write(&blob, "GGUF").unwrap();
        assert_eq!(find_in(store.path(), "gpt-oss:20b"), Some(blob.clone()));
        for other in
            ["gpt-oss:120b", "gpt-oss", "gpt-oss:evil", "gpt-oss:torn", "../gpt-oss:20b", "a/b/c:20b"]
        {
            assert_eq!(find_in(store.path(), other), None, "{other}");
        }
        assert_eq!(all_in(store.path()), [OllamaModel { name: "gpt-oss:20b".to_owned(), file: blob }]);
    }
}
