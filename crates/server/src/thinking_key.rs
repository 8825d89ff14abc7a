//! The key that thinking blocks are signed with.
//!
//! It lies in the state folder, so that a conversation goes on after the server was started anew; without a
//! folder a new one is drawn, and blocks that were signed before are left out of prompts with a warning.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use gptoss_api::messages::signature::{KEY_BYTES, Signer};

use crate::error::{Error, remedied};

/// The file in the state folder.
const FILE: &str = "thinking.key";

/// The key of this server.
pub(crate) struct ThinkingKey([u8; KEY_BYTES]);

impl ThinkingKey {
    /// The folder's key, drawn if it has none; the folder is there and this server's alone.
    ///
    /// Errors: `State`, when the file cannot be used; `System`, without random bytes.
    pub(crate) fn open(folder: Option<&Path>) -> Result<ThinkingKey, Error> {
        let Some(folder) = folder else { return ThinkingKey::draw() };
        let path = folder.join(FILE);
        let failed = |problem: String| Error::State { path: path.clone(), problem };
        match fs::read(&path) {
            Ok(bytes) => {
                let wrong = |bytes: Vec<u8>| {
                    let found = bytes.len();
                    failed(format!(
                        "{found} bytes instead of a key of {KEY_BYTES}: delete it to draw another"
                    ))
                };
                Ok(ThinkingKey(bytes.try_into().map_err(wrong)?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = ThinkingKey::draw()?;
                key.write(&path).map_err(|error| failed(remedied(&error)))?;
                Ok(key)
            }
            Err(error) => Err(failed(remedied(&error))),
        }
    }

    /// Signs for `tenant`.
    pub(crate) fn signer(&self, tenant: &str) -> Signer {
        Signer::new(&self.0, tenant)
    }

    fn draw() -> Result<ThinkingKey, Error> {
        let mut key = [0; KEY_BYTES];
        let failed = |error: getrandom::Error| Error::System {
            doing: "drawing a key",
            source: io::Error::other(error.to_string()),
        };
        getrandom::fill(&mut key).map_err(failed)?;
        Ok(ThinkingKey(key))
    }

    /// Writes the key for this user alone, whole or not at all.
    fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("key.new");
        let mut options = OpenOptions::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let mut file = options.write(true).create(true).truncate(true).open(&new)?;
        file.write_all(&self.0)?;
        file.sync_all()?;
        fs::rename(&new, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gptoss_api::messages::signature::Shown;

    #[test]
    fn a_folder_keeps_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let sign = |key: &ThinkingKey| key.signer("a").sign(Shown::Whole, "Add.");
        let first = ThinkingKey::open(Some(folder.path())).unwrap();
        let again = ThinkingKey::open(Some(folder.path())).unwrap();
        assert_eq!(sign(&first), sign(&again));
        let (one, other) = (ThinkingKey::open(None).unwrap(), ThinkingKey::open(None).unwrap());
        assert_ne!(sign(&one), sign(&other));
        let path = folder.path().join(FILE);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, "short").unwrap();
        let error = ThinkingKey::open(Some(folder.path())).err().unwrap().to_string();
        assert!(error.contains("thinking.key") && error.contains("5 bytes"), "{error}");
    }
}
