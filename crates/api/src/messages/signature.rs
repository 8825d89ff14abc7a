//! The signature of a thinking block, by which the server knows its own words again.
//!
//! Clients send thinking back between calls. Only what this server has written for this tenant may become the
//! model's own reasoning again; else a client, or a tool whose output found its way into a transcript, could
//! put words into its mouth. The signature is an HMAC-SHA256 over what kind of text the block shows, the
//! tenant and the text. It is not a secret and hides nothing.
//!
//! It does not know where the key is kept: with another key, blocks of before are strangers.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Length of a key: a block of SHA-256, which an HMAC takes as it is. Units: bytes.
pub const KEY_BYTES: usize = 64;
/// What every signature begins with: whose it is, and the form of the rest.
const FORM: &str = "gptoss1";

/// What a thinking block shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The reasoning itself.
    Whole,
    /// A summary, which is not what the model thought.
    Summary,
    /// Nothing.
    Nothing,
}

impl Shown {
    fn letter(self) -> char {
        match self {
            Shown::Whole => 'w',
            Shown::Summary => 's',
            Shown::Nothing => 'n',
        }
    }

    fn from_letter(letter: &str) -> Option<Shown> {
        [Shown::Whole, Shown::Summary, Shown::Nothing]
            .into_iter()
            .find(|shown| letter == shown.letter().to_string())
    }
}

/// The key of a server, and the tenant whose blocks are signed.
#[derive(Clone)]
pub struct Signer {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// Signs for `tenant`.
    pub fn new(key: &[u8; KEY_BYTES], tenant: &str) -> Signer {
        let mut mac = Hmac::<Sha256>::new(key.into());
        mac.update(FORM.as_bytes());
        mac.update(&(tenant.len() as u64).to_le_bytes());
        mac.update(tenant.as_bytes());
        Signer { mac }
    }

    /// The signature of a block.
    pub fn sign(&self, shown: Shown, thinking: &str) -> String {
        let tag = self.over(shown, thinking).finalize().into_bytes();
        let digits: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{FORM}-{}-{digits}", shown.letter())
    }

    /// What a block that came back shows; None when it was not written here for this tenant.
    pub fn check(&self, thinking: &str, signature: &str) -> Option<Shown> {
        let (letter, digits) = signature.strip_prefix(FORM)?.strip_prefix('-')?.split_once('-')?;
        let shown = Shown::from_letter(letter)?;
        let tag = from_hex(digits)?;
        self.over(shown, thinking).verify_slice(&tag).ok().map(|()| shown)
    }

    fn over(&self, shown: Shown, thinking: &str) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&[shown.letter() as u8]);
        mac.update(thinking.as_bytes());
        mac
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_block_of_the_tenant_passes() {
        let signer = Signer::new(&[7; KEY_BYTES], "a");
        let signature = signer.sign(Shown::Whole, "Add the tens.");
        let check = |signer: &Signer, thinking: &str, signature: &str, expect: Option<Shown>| {
            assert_eq!(signer.check(thinking, signature), expect, "{thinking} {signature}");
        };
        check(&signer, "Add the tens.", &signature, Some(Shown::Whole));
        check(&signer, "Add the ones.", &signature, None);
        check(&Signer::new(&[7; KEY_BYTES], "b"), "Add the tens.", &signature, None);
        check(&Signer::new(&[8; KEY_BYTES], "a"), "Add the tens.", &signature, None);
        // A summary that is called the whole, and what is not a signature at all.
        check(&signer, "S", &signer.sign(Shown::Summary, "S").replace("-s-", "-w-"), None);
        check(&signer, "S", &signer.sign(Shown::Summary, "S"), Some(Shown::Summary));
        for wrong in
            ["", "gptoss1", "gptoss1-w-", "gptoss1-w-0", "gptoss1-w-é0", "gptoss1-x-00", "EqQBCkYIAxgC"]
        {
            check(&signer, "Add the tens.", wrong, None);
        }
    }

    /// The tag of Python's `hmac.new(bytes([7] * 64), b"gptoss1" + (1).to_bytes(8, "little") + b"a" + b"n",
    /// "sha256")`: a key on disk outlives the program that wrote it.
    #[test]
    fn the_tag_is_the_documented_one() {
        let signature = Signer::new(&[7; KEY_BYTES], "a").sign(Shown::Nothing, "");
        assert_eq!(signature, "gptoss1-n-1be61944db2434dec9eae0f89f9fd1994330d830f7bd7518784007da726a34b9");
    }
}
