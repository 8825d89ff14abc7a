//! The TLS of `gptoss serve`: its files from the flags, and what an operator hears of them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use gptoss_server::{Tls, TlsFiles};

use crate::args::ServeArgs;

/// Reads the files of the flags; None where TLS is not asked for.
///
/// Errors: a file that cannot be used, and why.
pub fn open(args: &ServeArgs) -> Result<Option<Arc<Tls>>> {
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    let files = TlsFiles {
        certificate: certificate.clone(),
        key: key.clone(),
        client_authorities: args.tls_client_ca.clone(),
    };
    Ok(Some(Arc::new(Tls::open(files)?)))
}

/// What is worth knowing before the server starts.
pub fn warnings(args: &ServeArgs, tls: &Tls) -> Vec<String> {
    let everybody = args.tls_key.as_deref().filter(|key| is_readable_by_everybody(key));
    let open = everybody.map(|key| {
        format!("{}: everybody on this machine can read this private key; chmod 600 it", key.display())
    });
    tls.warning().into_iter().chain(open).collect()
}

fn is_readable_by_everybody(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}
