//! The folder from which a router takes tokenizer, template and configuration.
//!
//! Routers render prompts and count tokens themselves, from files in the Hugging Face layout. A model's own
//! folder is such a one. For the demo, a GGUF file or a made model the files are written: the vocabulary that
//! this program reads by, its configuration, and a template of harmony ([`CHAT_TEMPLATE`]). No weights are
//! among them, and nothing here runs a template.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gptoss_checkpoint::ConfigForm;
use serde_json::json;
use tempfile::TempDir;

use crate::output::Target;
use crate::served_models::Alone;

/// Harmony in Jinja, for routers.
const CHAT_TEMPLATE: &str = include_str!("router_folder/chat_template.jinja");
/// What a router reads.
const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";

/// A folder in the Hugging Face layout, without weights perhaps.
pub struct RouterFolder {
    path: PathBuf,
    /// One that goes when the server does.
    _made: Option<TempDir>,
}

impl RouterFolder {
    /// The model's own, unless it has none that is whole or another is wanted.
    ///
    /// Errors: it cannot be written.
    pub fn of(alone: &Alone, wanted: Option<&Path>) -> Result<RouterFolder> {
        let own = alone.folder.as_deref().filter(|folder| is_whole(folder));
        match (own, wanted) {
            (Some(own), None) => {
                let path = own.canonicalize().with_context(|| format!("cannot find {}", own.display()))?;
                Ok(RouterFolder { path, _made: None })
            }
            (_, Some(folder)) => {
                fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
                write(alone, folder)?;
                let path =
                    folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
                Ok(RouterFolder { path, _made: None })
            }
            (None, None) => {
                let made = tempfile::Builder::new().prefix("gptoss-router-").tempdir();
                let made = made.context("cannot make a folder for routers\ngive --grpc-model-dir DIR")?;
                write(alone, made.path())?;
                Ok(RouterFolder { path: made.path().to_owned(), _made: Some(made) })
            }
        }
    }

    /// Where it is, from the root.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether a router finds everything there.
fn is_whole(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    let has_template = || {
        let config = fs::read(folder.join(TOKENIZER_CONFIG)).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
        config.get("chat_template").is_some()
    };
    [CONFIG, GENERATION, TOKENIZER, TOKENIZER_CONFIG].into_iter().all(has)
        && (has(TEMPLATE) || has_template())
}

fn write(alone: &Alone, folder: &Path) -> Result<()> {
    let write =
        |name: &str, bytes: &[u8]| Target::at(&folder.join(name))?.write(|out| Ok(out.write_all(bytes)?));
    let own = |name: &str| {
        let file = alone.folder.as_ref()?.join(name);
        fs::read(file).ok()
    };
    let (config, vocab) = (&alone.config, alone.assistant.vocab());
    write(
        CONFIG,
        &own(CONFIG).unwrap_or_else(|| config.to_json(ConfigForm::HuggingFace(alone.experts)).into()),
    )?;
    write(GENERATION, &own(GENERATION).unwrap_or_else(|| config.generation_json().into()))?;
    write(TOKENIZER, &own(TOKENIZER).unwrap_or_else(|| vocab.to_tokenizer_json()))?;
    let about = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|startoftext|>",
        "eos_token": "<|return|>",
        "pad_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": false,
        "model_max_length": alone.assistant.engine().limits().max_context,
        "chat_template": CHAT_TEMPLATE,
    });
    write(TOKENIZER_CONFIG, &own(TOKENIZER_CONFIG).unwrap_or_else(|| about.to_string().into()))?;
    write(TEMPLATE, &own(TEMPLATE).unwrap_or_else(|| CHAT_TEMPLATE.into()))
}
