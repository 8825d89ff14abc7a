//! The end of a connection whose client still sends.
//!
//! A request may be answered before its body has come: it is too long, has no key, or the disk is full. Who
//! closes a connection on bytes that nobody has read resets it, and the client, which is still writing, sees
//! a broken pipe in place of the answer. So behind the end of what is written the rest is read and dropped,
//! within bounds.
//!
//! [`Unread`] is what the connection and its requests share: whether a body was left before its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::{LINGER_BYTES_MAX, LINGER_PAUSE_MAX, LINGER_TIME_MAX, STOP_PATIENCE};

/// What is read at a time. Units: bytes.
const READ_BYTES: usize = 16 << 10;

/// Whether the body of the last request was left before its end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// The body of the next request; that it has come says that nothing is left of the one before.
    pub(crate) fn watch(&self, body: Incoming) -> WatchedBody {
        self.0.store(false, Ordering::Relaxed);
        WatchedBody { body, has_ended: false, unread: self.clone() }
    }

    /// A client may be sending what nobody will read.
    pub(crate) fn leave(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a client may still be sending.
    pub(crate) fn is_left(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body that tells when it is left before its end.
#[derive(Debug)]
pub(crate) struct WatchedBody {
    body: Incoming,
    has_ended: bool,
    unread: Unread,
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.has_ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        if !self.has_ended && !self.body.is_end_stream() {
            self.unread.0.store(true, Ordering::Relaxed);
        }
    }
}

/// How much is read and dropped, and for how long.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Units: bytes.
    bytes: usize,
    /// In all.
    time: Duration,
    /// Without a byte.
    pause: Duration,
}

/// Those of every connection.
const BOUNDS: Bounds = Bounds { bytes: LINGER_BYTES_MAX, time: LINGER_TIME_MAX, pause: LINGER_PAUSE_MAX };

/// The reading and dropping, on its way.
pub(crate) struct Linger {
    bytes_left: usize,
    pause: Duration,
    end: Instant,
    /// The end, or that of the pause.
    sleep: Pin<Box<Sleep>>,
}

impl Linger {
    /// From now on.
    pub(crate) fn begin() -> Linger {
        Linger::within(BOUNDS)
    }

    fn within(Bounds { bytes, time, pause }: Bounds) -> Linger {
        let now = Instant::now();
        let sleep = Box::pin(sleep_until(now + time.min(pause)));
        Linger { bytes_left: bytes, pause, end: now + time, sleep }
    }

    /// Ready when the client has ended too, or a bound is reached. A server that stops waits less.
    pub(crate) fn poll(
        &mut self,
        stream: &mut TcpStream,
        is_stopping: bool,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let mut room = [0; READ_BYTES];
        if is_stopping {
            self.end = self.end.min(Instant::now() + STOP_PATIENCE);
            let due = self.sleep.deadline().min(self.end);
            self.sleep.as_mut().reset(due);
        }
        loop {
            if self.sleep.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut room);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                // Whoever has broken off reads nothing any more.
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {}
            }
            let count = buffer.filled().len();
            if count == 0 || count > self.bytes_left {
                return Poll::Ready(());
            }
            self.bytes_left -= count;
            self.sleep.as_mut().reset(self.end.min(Instant::now() + self.pause));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// Lingers on a connection whose client does what `client` says; whether that ended by itself.
    fn check(bounds: Bounds, client: impl FnOnce(std::net::TcpStream) + Send + 'static) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let client = thread::spawn(move || client(stream));
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut linger = Linger::within(bounds);
            poll_fn(|context| linger.poll(&mut stream, false, context)).await;
            drop(stream);
            client.join().unwrap();
        });
    }

    fn write_for_ever(mut stream: std::net::TcpStream) {
        while stream.write_all(&[0; READ_BYTES]).is_ok() {}
    }

    /// Each ends: the test would hang.
    #[test]
    fn every_bound_ends_it() {
        let all = Bounds { bytes: usize::MAX, time: LONG, pause: LONG };
        let short = Duration::from_millis(50);
        check(Bounds { bytes: 1 << 20, ..all }, write_for_ever);
        check(Bounds { time: short, ..all }, write_for_ever);
        let (hold, held) = std::sync::mpsc::channel();
        check(Bounds { pause: short, ..all }, move |stream| hold.send(stream).unwrap());
        drop(held);
        check(all, |mut stream| stream.write_all(&[0; 3 * READ_BYTES]).unwrap());
    }
}
