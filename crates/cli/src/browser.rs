//! The browser of a source: where it searches, and with which key.

use std::env;

use anyhow::{Context, Result};
use gptoss_tools::browser::{Backend, Corpus, EXA_URL, Guard, Key, Limits, Service, Web, YOU_COM_URL};

use crate::air_gap;
use crate::args::BrowserSource;
use crate::failure::usage;

/// Whether `--browser` and `--tools browser` go together; the source, where both are.
///
/// Errors: a usage error where one is without the other.
pub fn check(source: Option<&BrowserSource>, is_on: bool) -> Result<Option<&BrowserSource>> {
    match (source, is_on) {
        (Some(_), false) => Err(usage("--browser: the browser is off\nadd --tools browser")),
        (None, true) => Err(usage(
            "--tools browser: it has nowhere to search\nadd --browser, such as --browser corpus:DIR",
        )),
        (source, _) => Ok(source),
    }
}

/// Opens a source.
///
/// Errors: a usage error for a key that is not set, or where nothing may leave; a folder or address that
/// cannot be used.
pub fn open(source: &BrowserSource) -> Result<Backend> {
    air_gap::check_browser(source)?;
    let web = || Web::new(Guard::default());
    Ok(match source {
        BrowserSource::Corpus(folder) => {
            let corpus = Corpus::open(folder, Limits::default().page_bytes_max)
                .with_context(|| format!("corpus:{} cannot be used", folder.display()))?;
            Backend::Corpus(corpus)
        }
        BrowserSource::Searxng(url) => Backend::Searxng(Service::new(url, None)?, web()),
        BrowserSource::Exa => Backend::Exa(Service::new(EXA_URL, Some(key("EXA_API_KEY")?))?),
        BrowserSource::YouCom => Backend::YouCom(Service::new(YOU_COM_URL, Some(key("YDC_API_KEY")?))?),
        BrowserSource::Fetch => Backend::Fetch(web()),
    })
}

/// The key of a service.
///
/// Errors: it is not set, or cannot be sent.
fn key(variable: &str) -> Result<Key> {
    let key = env::var(variable)
        .map_err(|_| usage(format!("the browser needs a key: {variable} is not set in the environment")))?;
    Ok(Key::new(&key)?)
}
