//! The host's side of a cell: it starts the launcher, sends the order, and reads what comes back.

use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdout};

use crate::cell::bubblewrap;
use crate::cell::error::CellError;
use crate::cell::keep::Keep;
use crate::cell::launch::CELL;
use crate::cell::limits::Limits;
use crate::cell::order::{Order, Report, send};
use crate::cell::program::{Bind, End, Program, Ran};
use crate::cell::remedy;
use crate::cell::walls::Wall;

/// How long the walls may take that are built to see whether they can be.
const STAND_MAX: Duration = Duration::from_secs(30);
/// How long the end of a cell is waited for, once it was told to end.
const END_MAX: Duration = Duration::from_secs(5);
/// The longest that a cell tells. Units: bytes.
const REPORT_BYTES_MAX: u64 = 64 << 10;

/// The program that plays the launcher, see [`launch`](crate::cell::launch()).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// The program.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Launcher {
    /// This program itself.
    pub fn own() -> Self {
        Self { path: "/proc/self/exe".into(), args: vec![CELL.to_owned()] }
    }
}

/// Walls around programs: a plan of them, which builds them anew for each program.
#[derive(Debug, Clone)]
pub struct Cell {
    /// What each program may take.
    pub limits: Limits,
    /// What of the machine each program sees beside the system's own programs.
    pub binds: Vec<Bind>,
    launcher: Launcher,
    /// It, where our own launcher is refused.
    bubblewrap: Option<PathBuf>,
    missing: Vec<Wall>,
}

impl Cell {
    /// A cell without anything to see, once it is certain that its walls can be built here: they are, once.
    ///
    /// **Errors** when they cannot, with what stands against it and what to do. Nothing weaker is built
    /// instead.
    pub fn stand(launcher: Launcher) -> Result<Self, CellError> {
        match (Self::stand_by(launcher.clone(), None), bubblewrap::find()) {
            (Err(refused @ CellError::Refused { .. }), Some(path)) => {
                Self::stand_by(launcher, Some(path)).map_err(|_| refused)
            }
            (stood, _) => stood,
        }
    }

    /// The same by our own launcher, or by bubblewrap.
    #[doc(hidden)]
    pub fn stand_by(launcher: Launcher, bubblewrap: Option<PathBuf>) -> Result<Self, CellError> {
        let (limits, binds, missing) = (Limits::default(), Vec::new(), Vec::new());
        let mut cell = Self { limits, binds, launcher, bubblewrap, missing };
        let (mut child, control) = cell.spawn(None, None, |mut command| command.spawn())?;
        control.set_read_timeout(Some(STAND_MAX)).map_err(|source| cell.failed(source))?;
        let mut reports = BufReader::new(io::Read::take(control, REPORT_BYTES_MAX));
        let mut line = String::new();
        let read = reports.read_line(&mut line);
        drop(reports);
        if read.is_err() {
            let _ = child.kill();
        }
        child.wait().map_err(|source| cell.failed(source))?;
        match read.ok().and_then(|_| serde_json::from_str(&line).ok()) {
            Some(Report::Standing { missing }) => cell.missing = missing,
            Some(report) => return Err(cell.error(report, None)),
            None => return Err(CellError::Lost),
        }
        Ok(cell)
    }

    /// The walls that this machine lacks; only those that others stand behind can be among them.
    pub fn missing(&self) -> &[Wall] {
        &self.missing
    }

    /// What builds the walls: bubblewrap, or this program itself.
    pub fn bubblewrap(&self) -> Option<&Path> {
        self.bubblewrap.as_deref()
    }

    /// Whether what is to be shown can be; every start asks it too.
    pub fn check(&self) -> Result<(), CellError> {
        self.binds.iter().try_for_each(check)
    }

    /// Starts a program. It runs until it ends, until the cell ends it for what it takes, or until what is
    /// returned is dropped.
    pub fn start(&self, program: &Program) -> Result<Running, CellError> {
        let (ours, theirs) = UnixStream::pair().map_err(|source| self.failed(source))?;
        let (mut child, control) = self.spawn(Some(program), Some(theirs.into()), |command| {
            tokio::process::Command::from(command).kill_on_drop(true).spawn()
        })?;
        let tokio_stream = |stream: UnixStream| {
            stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream))
        };
        let broken = || self.failed(io::Error::from(io::ErrorKind::BrokenPipe));
        Ok(Running {
            input: tokio_stream(ours).map_err(|source| self.failed(source))?,
            stdout: child.stdout.take().ok_or_else(broken)?,
            stderr: child.stderr.take().ok_or_else(broken)?,
            control: tokio_stream(control).map_err(|source| self.failed(source))?,
            cell: self.clone(),
            program: program.argv.first().cloned().unwrap_or_default(),
            child,
        })
    }

    /// Runs a program to its end, within the time of the limits, with what it reads from its standard input.
    pub async fn run(&self, program: &Program, input: &[u8]) -> Result<Ran, CellError> {
        let mut running = self.start(program)?;
        let mut stdout = Keep::new(self.limits.output_bytes);
        let mut stderr = Keep::new(self.limits.output_bytes);
        let Running { input: to, stdout: from, stderr: errors, control, .. } = &mut running;
        let work = async {
            let write = async {
                // A program that does not read it all is none of ours.
                let _ = to.write_all(input).await;
                let _ = to.shutdown().await;
            };
            tokio::join!(write, stdout.read(from), stderr.read(errors), last_report(control)).3
        };
        let end = match tokio::time::timeout(self.limits.time, work).await {
            Ok(report) => running.end_of(report)?,
            Err(_) => {
                running.kill().await;
                End::OutOfTime
            }
        };
        Ok(Ran { end, stdout: stdout.output(), stderr: stderr.output() })
    }

    /// Starts the launcher and sends it the order.
    fn spawn<C>(
        &self,
        program: Option<&Program>,
        input: Option<OwnedFd>,
        spawn: impl FnOnce(Command) -> io::Result<C>,
    ) -> Result<(C, UnixStream), CellError> {
        self.check()?;
        let (mut control, theirs) = UnixStream::pair().map_err(|source| self.failed(source))?;
        let mut command = self.command().map_err(|source| self.failed(source))?;
        command.current_dir("/").stdin(OwnedFd::from(theirs));
        // Ctrl-C at a terminal is for the host: it ends cells as it sees fit.
        command.process_group(0);
        match program {
            Some(_) => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
            None => command.stdout(Stdio::null()).stderr(Stdio::null()),
        };
        let child = spawn(command).map_err(|source| self.failed(source))?;
        let order = Order { program: program.cloned(), limits: self.limits, binds: self.binds.clone() };
        send(&mut control, &order, input.as_ref().map(AsFd::as_fd)).map_err(|source| self.failed(source))?;
        Ok((child, control))
    }

    fn command(&self) -> io::Result<Command> {
        let Launcher { path, args } = &self.launcher;
        let Some(bubblewrap) = &self.bubblewrap else {
            let mut command = Command::new(path);
            command.args(args);
            return Ok(command);
        };
        let mut command = bubblewrap::command(bubblewrap, path, &self.binds, &self.limits)?;
        command.args(bubblewrap::arguments(args));
        Ok(command)
    }

    fn failed(&self, source: io::Error) -> CellError {
        CellError::Launcher { path: self.launcher.path.clone(), source }
    }

    /// A report that is not the expected one.
    fn error(&self, report: Report, program: Option<&str>) -> CellError {
        match report {
            Report::Refused { what, why } => CellError::Refused { what, why, remedy: remedy::remedy() },
            Report::NotStarted { why } => {
                CellError::Program { program: program.unwrap_or_default().to_owned(), why }
            }
            Report::Standing { .. } | Report::Ended(_) => CellError::Lost,
        }
    }
}

/// A program in its cell. Dropped, it and all that it started are killed.
#[derive(Debug)]
pub struct Running {
    /// Its standard input, a socket: what the program writes to that can be read here.
    pub input: tokio::net::UnixStream,
    /// Its standard output.
    pub stdout: ChildStdout,
    /// Its standard error.
    pub stderr: ChildStderr,
    control: tokio::net::UnixStream,
    cell: Cell,
    program: String,
    child: Child,
}

impl Running {
    /// Waits for its end. Whoever waits reads the output too: a program stands still when nobody does.
    pub async fn end(&mut self) -> Result<End, CellError> {
        let report = last_report(&mut self.control).await;
        self.end_of(report)
    }

    /// Kills it and all that it started, and waits until they are gone.
    pub async fn kill(&mut self) {
        let _ = self.control.shutdown().await;
        let _ = self.child.start_kill();
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(END_MAX, async {
            let _ = self.child.wait().await;
            let _ = (&mut self.control).take(REPORT_BYTES_MAX).read_to_end(&mut rest).await;
        })
        .await;
    }

    fn end_of(&self, report: Option<Report>) -> Result<End, CellError> {
        match report {
            Some(Report::Ended(end)) => Ok(end),
            Some(report) => Err(self.cell.error(report, Some(&self.program))),
            None => Err(CellError::Lost),
        }
    }
}

/// Reads what a cell tells to its end.
async fn last_report(control: &mut tokio::net::UnixStream) -> Option<Report> {
    let mut text = String::new();
    control.take(REPORT_BYTES_MAX).read_to_string(&mut text).await.ok()?;
    serde_json::from_str(text.lines().last()?).ok()
}

/// Whether something can be shown in a cell, and where it is to be.
fn check(bind: &Bind) -> Result<(), CellError> {
    let refuse = |path: &Path, why: &str| Err(CellError::Bind { path: path.into(), why: why.to_owned() });
    let inside = &bind.inside;
    let plain = inside.is_absolute()
        && inside.components().skip(1).all(|part| matches!(part, std::path::Component::Normal(_)));
    if !plain || inside.parent().is_none() {
        return refuse(
            inside,
            "its place in the cell is not an absolute path beneath the root, without `..`",
        );
    }
    if ["/proc", "/dev", "/etc"].iter().any(|taken| inside.starts_with(taken)) {
        return refuse(inside, "the cell has that folder of its own");
    }
    let outside = &bind.outside;
    match outside.canonicalize() {
        Ok(real) if real.parent().is_none() => refuse(outside, "it is the whole machine"),
        Ok(real) if ["/proc", "/sys", "/dev"].iter().any(|kernel| real.starts_with(kernel)) => {
            refuse(outside, "it is the kernel's")
        }
        Ok(real) if real != *outside => {
            refuse(outside, &format!("it leads through a symbolic link: name {}", real.display()))
        }
        Ok(_) => Ok(()),
        Err(error) => refuse(outside, &error.to_string()),
    }
}
