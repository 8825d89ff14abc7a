//! One Python process in its cell, asked and answered over its standard input.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::ToolFile;
use crate::cell::{Cell, CellError, End, Keep, Program, Running};
use crate::python::inputs::InputFile;
use crate::python::program::PythonProgram;

/// What the process runs.
const DRIVER: &str = include_str!("driver.py");
/// The longest reply of the driver, without files. Units: bytes.
const REPLY_BYTES_MAX: usize = 1 << 20;
/// The files of one call. Units: bytes.
const FILES_BYTES_MAX: u64 = 16 << 20;
/// The files of one call, and those of it that are told to be left out.
const FILES_MAX: usize = 32;
/// The longest path that Linux has. Units: bytes.
const PATH_BYTES_MAX: usize = 4096;
/// Bytes that are read at once of what is printed.
const READ_BYTES: usize = 16 << 10;

/// What a call gave.
#[derive(Debug)]
pub struct Answer {
    /// What it printed, and the value of its last expression.
    pub stdout: String,
    /// Its errors.
    pub stderr: String,
    /// Whether it raised.
    pub is_error: bool,
    /// Files that it made or changed.
    pub files: Vec<ToolFile>,
    /// Those that are too large or too many, with their sizes in bytes.
    pub left_out: Vec<(String, u64)>,
}

#[derive(Deserialize)]
struct Reply {
    is_error: bool,
    files: Vec<(String, u64)>,
    left_out: Vec<(String, u64)>,
}

/// The process.
#[derive(Debug)]
pub struct Session {
    running: Running,
    output_bytes: usize,
    /// Whether replies come behind the marker of what is printed, and not over the socket.
    replies_in_output: bool,
}

impl Session {
    /// Starts it. The cell shows the Python.
    pub fn start(cell: &Cell, python: &PythonProgram) -> Result<Self, CellError> {
        let mut argv = python.argv(&cell.limits);
        argv.extend(["-I", "-c", DRIVER].map(str::to_owned));
        let program = Program {
            argv,
            // Plots are files: there is no screen.
            env: vec![("MPLBACKEND".to_owned(), "Agg".to_owned())],
            folder: None,
        };
        Ok(Self {
            running: cell.start(&program)?,
            output_bytes: cell.limits.output_bytes,
            replies_in_output: python.replies_in_output(),
        })
    }

    /// Runs code in it, after these files were put into its folder and those removed. An error means that the
    /// process is of no more use.
    pub async fn call(&mut self, code: &str, put: &[&InputFile], removed: &[String]) -> io::Result<Answer> {
        let marker = marker();
        let files: Vec<_> = put.iter().map(|file| (&file.name, file.bytes.len())).collect();
        let request = serde_json::json!({"code": code, "marker": marker, "files": files, "removed": removed});
        let request = serde_json::to_vec(&request)?;
        let length = u32::try_from(request.len()).map_err(io::Error::other)?;
        let mut stdout = Keep::new(self.output_bytes);
        let mut stderr = Keep::new(self.output_bytes);
        let Running { input, stdout: from, stderr: errors, .. } = &mut self.running;
        let (mut replies, mut requests) = input.split();
        let ask = async {
            requests.write_all(&length.to_le_bytes()).await?;
            requests.write_all(&request).await?;
            for file in put {
                requests.write_all(&file.bytes).await?;
            }
            io::Result::Ok(())
        };
        let mark = marker.as_bytes();
        // The driver's reply comes after the markers, wherever it comes.
        let hear = async {
            let behind = read_to(from, mark, &mut stdout).await;
            if self.replies_in_output {
                return read_reply(&mut behind.as_slice().chain(from)).await;
            }
            // What processes in the background have printed since is not lost.
            stdout.push(&behind);
            read_reply(&mut replies).await
        };
        let (asked, reply, behind) = tokio::join!(ask, hear, read_to(errors, mark, &mut stderr));
        stderr.push(&behind);
        asked?;
        let (reply, files) = reply?;
        Ok(Answer {
            stdout: stdout.output().text(),
            stderr: stderr.output().text(),
            is_error: reply.is_error,
            files,
            left_out: reply.left_out,
        })
    }

    /// How it ended, when it has.
    pub async fn end(&mut self) -> Result<End, CellError> {
        self.running.end().await
    }

    /// Ends it.
    pub async fn kill(&mut self) {
        self.running.kill().await;
    }
}

/// What nobody prints by chance.
fn marker() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("\u{1}{:016x}{:016x}\u{1}", random(), random())
}

/// Reads the driver's reply and the files after it. Code could have sent it: nothing in it is believed.
async fn read_reply(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(Reply, Vec<ToolFile>)> {
    let refuse = || io::Error::from(io::ErrorKind::InvalidData);
    let length = from.read_u32_le().await? as usize;
    if length > REPLY_BYTES_MAX {
        return Err(refuse());
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    let reply: Reply = serde_json::from_slice(&bytes)?;
    let mut paths = reply.files.iter().chain(&reply.left_out).map(|(path, _)| path);
    let is_many = reply.files.len() > FILES_MAX || reply.left_out.len() > FILES_MAX;
    if is_many || paths.any(|path| path.len() > PATH_BYTES_MAX) {
        return Err(refuse());
    }
    let mut room = FILES_BYTES_MAX;
    let mut files = Vec::new();
    for (path, num_bytes) in &reply.files {
        room = room.checked_sub(*num_bytes).ok_or_else(refuse)?;
        let mut bytes = vec![0; *num_bytes as usize];
        from.read_exact(&mut bytes).await?;
        if is_plain(path) {
            files.push(ToolFile { path: path.clone(), bytes });
        }
    }
    Ok((reply, files))
}

/// Whether a path stays beneath the folder that it is to be put in.
fn is_plain(path: &str) -> bool {
    let names: Vec<&str> = path.split('/').collect();
    path.len() <= 1024
        && !path.contains(['\0', '\\'])
        && names.iter().all(|name| !name.is_empty() && *name != "." && *name != "..")
}

/// Reads what is printed up to the marker, or to the end; what came behind the marker with it is given back.
async fn read_to(from: &mut (impl AsyncRead + Unpin), marker: &[u8], keep: &mut Keep) -> Vec<u8> {
    let mut bytes = vec![0; READ_BYTES];
    // What may be the beginning of the marker.
    let mut held = Vec::new();
    while let Ok(num_read @ 1..) = from.read(&mut bytes).await {
        held.extend(&bytes[..num_read]);
        if let Some(at) = held.windows(marker.len()).position(|window| window == marker) {
            keep.push(&held[..at]);
            return held.split_off(at + marker.len());
        }
        let whole = held.len().saturating_sub(marker.len() - 1);
        keep.push(&held[..whole]);
        held.drain(..whole);
    }
    keep.push(&held);
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_marker_is_found_wherever_reads_end() {
        for piece in 1..9 {
            let (mut to, mut from) = tokio::io::duplex(piece);
            let write = async move {
                to.write_all(b"ab<m<mark>c").await.unwrap();
            };
            let mut keep = Keep::new(100);
            let ((), mut behind) = tokio::join!(write, read_to(&mut from, b"<mark>", &mut keep));
            assert!(keep.output().text().starts_with("ab<m"), "{piece}");
            from.read_to_end(&mut behind).await.unwrap();
            assert_eq!(behind, b"c", "{piece}");
        }
    }

    #[tokio::test]
    async fn a_reply_is_bounded_and_its_paths_are_plain() {
        let reply = |json: &str, rest: &[u8]| {
            let mut bytes = (json.len() as u32).to_le_bytes().to_vec();
            bytes.extend(json.as_bytes());
            bytes.extend(rest);
            bytes
        };
        let read = async |bytes: Vec<u8>| read_reply(&mut bytes.as_slice()).await;
        let good = reply(r#"{"is_error":false,"files":[["a/b",2],["../c",1]],"left_out":[]}"#, b"xyz");
        let (_, files) = read(good).await.unwrap();
        assert_eq!(files, [ToolFile { path: "a/b".into(), bytes: b"xy".into() }]);
        let large = reply(r#"{"is_error":false,"files":[["a",99999999999]],"left_out":[]}"#, b"");
        let left_out = |path: &str, num: usize| {
            let left_out = vec![(path, 1); num];
            reply(&serde_json::json!({"is_error": false, "files": [], "left_out": left_out}).to_string(), b"")
        };
        assert!(read(left_out("a", 32)).await.is_ok());
        let (many, long) = (left_out("a", 33), left_out(&"a".repeat(4097), 1));
        for bad in [large, many, long, reply("no", b""), vec![255; 8], vec![1]] {
            assert!(read(bad).await.is_err());
        }
        assert!(["/a", "a//b", "./a", "a/..", "", "a\\b"].iter().all(|path| !is_plain(path)));
    }
}
