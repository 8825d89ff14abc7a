//! Where a browser searches and reads, as it is written.

use std::path::PathBuf;
use std::str::FromStr;

/// Where a browser searches and reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrowserSource {
    /// In a folder of this machine.
    Corpus(PathBuf),
    /// By a SearXNG, and in the pages themselves.
    Searxng(String),
    /// By Exa.
    Exa,
    /// By You.com.
    YouCom,
    /// In pages alone.
    Fetch,
}

impl FromStr for BrowserSource {
    type Err = String;

    fn from_str(text: &str) -> Result<BrowserSource, String> {
        match text.split_once(':') {
            Some(("corpus", folder)) if !folder.is_empty() => {
                Ok(BrowserSource::Corpus(PathBuf::from(folder)))
            }
            Some(("searxng", url)) if !url.is_empty() => Ok(BrowserSource::Searxng(url.to_owned())),
            _ => match text {
                "exa" => Ok(BrowserSource::Exa),
                "youcom" => Ok(BrowserSource::YouCom),
                "fetch" => Ok(BrowserSource::Fetch),
                _ => Err("write corpus:DIR, searxng:URL, exa, youcom or fetch".to_owned()),
            },
        }
    }
}
