//! The system calls that open a way out, refused with "permission denied".
//!
//! A filter sees numbers and not what a pointer leads to, so it cannot tell one address from another: what is
//! refused is the making of a socket that could reach anything. `connect` is refused for sockets of the
//! machine too: the resolvers of names that many systems run (nscd, systemd-resolved) are asked over one and
//! would send the packets in this program's stead. Datagrams to a socket of the machine are left, by which a
//! service manager is told that a server is ready. A socket that was accepted could be disconnected and
//! connected elsewhere; that is a `connect` as well. `io_uring` does all of it past any filter.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// For all threads.
pub(crate) fn apply() -> Result<(), String> {
    seccompiler::apply_filter_all_threads(&program()?).map_err(|error| error.to_string())
}

fn program() -> Result<BpfProgram, String> {
    filter().map_err(|error| error.to_string())
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let is_of_a_network = SeccompRule::new(vec![SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Ne,
        libc::AF_UNIX as u64,
    )?])?;
    // No rule is every call.
    let rules = BTreeMap::from([
        (libc::SYS_socket, vec![is_of_a_network]),
        (libc::SYS_connect, vec![]),
        (libc::SYS_io_uring_setup, vec![]),
        // The socket of another process.
        (libc::SYS_pidfd_getfd, vec![]),
    ]);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let denied = SeccompAction::Errno(libc::EACCES as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, denied, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
    use std::process::Command;
    use std::thread;

    use super::*;

    /// What `attempt` comes to on a thread behind the wall; other tests' threads are not behind it.
    fn walled<T: Send>(attempt: impl FnOnce() -> T + Send) -> T {
        let filter = program().unwrap();
        thread::scope(|scope| {
            let walled = scope.spawn(|| {
                seccompiler::apply_filter(&filter).unwrap();
                attempt()
            });
            walled.join().unwrap()
        })
    }

    #[test]
    fn nothing_leaves_and_what_was_bound_is_served() {
        let folder = std::env::temp_dir().join(format!("gptoss-egress-{}", std::process::id()));
        let _ = std::fs::remove_file(&folder);
        let local = UnixListener::bind(&folder).unwrap();
        let manager = folder.with_extension("manager");
        let _ = std::fs::remove_file(&manager);
        let told = UnixDatagram::bind(&manager).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let denied = |result: std::io::Result<()>| result.map_err(|error| error.kind()).unwrap_err();
        // As it is without a wall, so that each attempt is one that would succeed.
        TcpStream::connect(address).unwrap();
        UnixStream::connect(&folder).unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        let found = walled(|| {
            let mut found = vec![
                denied(TcpStream::connect(address).map(drop)),
                denied(UdpSocket::bind("127.0.0.1:0").map(drop)),
                denied(TcpListener::bind("127.0.0.1:0").map(drop)),
                denied(UnixStream::connect(&folder).map(drop)),
            ];
            // Names are not looked up: there is no way to whoever knows them.
            assert!(("gptoss.invalid", 80).to_socket_addrs().is_err());
            // The first was the attempt without a wall.
            drop(listener.accept().unwrap());
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"served").unwrap();
            let (mut one, mut other) = UnixStream::pair().unwrap();
            one.write_all(b"x").unwrap();
            other.read_exact(&mut [0]).unwrap();
            // As a service manager is told that the server is ready.
            UnixDatagram::unbound().unwrap().send_to(b"READY=1", &manager).unwrap();
            // Programs that are started are behind it too.
            let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}", address.port());
            let bash =
                Command::new("bash").args(["-c", &script]).stderr(std::process::Stdio::null()).status();
            if bash.is_ok_and(|status| status.success()) {
                found.push(ErrorKind::Other);
            }
            found
        });
        assert_eq!(found, [ErrorKind::PermissionDenied; 4]);
        assert_eq!(client.join().unwrap(), "served");
        drop((local, told));
        let _ = (std::fs::remove_file(&folder), std::fs::remove_file(&manager));
    }
}
