//! What the supervisor, systemd or one like it, is told: ready, alive, stopping.
//!
//! systemd's protocol, sd_notify(3): a datagram a message, to the socket that `NOTIFY_SOCKET` names. Where
//! there is no such variable nobody is told anything. The watchdog is fed by the engines (`Pulse`): a timer
//! asks, and only when each engine came round since it asked before is `WATCHDOG=1` said.

use std::ffi::OsStr;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use gptoss_server::Pulse;
use tokio::time::{MissedTickBehavior, interval};

/// So many looks have room in the time after which systemd kills: a step may take two thirds of it.
const LOOKS: u32 = 3;

/// Where to say it.
pub struct Supervisor {
    socket: UnixDatagram,
    address: SocketAddr,
    /// The time without a sign of life after which the program is killed.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that started this program, if one did. An address that is none (a virtual machine's socket) is
    /// as good as none.
    pub fn of_environment() -> Option<Supervisor> {
        let address = address(&std::env::var_os("NOTIFY_SOCKET")?).ok()?;
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|&time| is_ours && time > 0).map(Duration::from_micros);
        Some(Supervisor { socket: UnixDatagram::unbound().ok()?, address, watchdog })
    }

    /// Whoever does not listen misses it.
    fn tell(&self, state: &str) {
        let _ = self.socket.send_to_addr(state.as_bytes(), &self.address);
    }

    async fn feed(&self, time: Duration, mut pulse: Pulse) {
        let mut looks = interval(time / LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if pulse.beats() {
                self.tell("WATCHDOG=1");
            }
        }
    }
}

/// Ready when `stop` is. Says that the program is ready when it is first waited for, that it lives as long as
/// it runs, and that it stops.
pub async fn attended(
    supervisor: Option<Supervisor>,
    pulse: Pulse,
    status: String,
    stop: impl Future<Output = Duration>,
) -> Duration {
    let Some(supervisor) = supervisor else { return stop.await };
    supervisor.tell(&format!("READY=1\nSTATUS={status}"));
    let supervisor = std::sync::Arc::new(supervisor);
    if let Some(time) = supervisor.watchdog {
        let supervisor = std::sync::Arc::clone(&supervisor);
        tokio::spawn(async move { supervisor.feed(time, pulse).await });
    }
    let grace = stop.await;
    supervisor.tell("STOPPING=1\nSTATUS=what runs is ending");
    grace
}

/// A path, or behind an `@` a name that is in no folder.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.as_encoded_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name);
    }
    match name.as_encoded_bytes().first() {
        Some(b'/') => SocketAddr::from_pathname(name),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_paths_or_names_in_no_folder() {
        let found = address(OsStr::new("/run/systemd/notify")).unwrap();
        assert_eq!(found.as_pathname(), Some("/run/systemd/notify".as_ref()));
        assert!(address(OsStr::new("vsock:2:1234")).is_err());
        assert!(address(OsStr::new("")).is_err());
        #[cfg(target_os = "linux")]
        {
            let found = address(OsStr::new("@gptoss")).unwrap();
            assert_eq!(std::os::linux::net::SocketAddrExt::as_abstract_name(&found), Some(&b"gptoss"[..]));
        }
    }
}
