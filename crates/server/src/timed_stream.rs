//! A connection whose client has to take what is written to it.
//!
//! hyper bounds how long the headers of a request may take, and nothing else. A client that stops reading
//! would hold its connection, and every stop of the server, for as long as it likes; here a write that makes
//! no progress for a while fails, and the connection ends. At its end a client that still sends is heard out
//! (`linger`).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

use crate::linger::{Linger, Unread};

/// How often a write that waits looks whether its time is up.
const LOOK: Duration = Duration::from_secs(1);

/// How long a write may make no progress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// While the server runs.
    pub(crate) usual: Duration,
    /// While it stops.
    pub(crate) stopping: Duration,
}

/// The connection.
pub(crate) struct TimedStream {
    stream: TcpStream,
    patience: Patience,
    is_stopping: watch::Receiver<bool>,
    /// Since when a write has made no progress.
    waiting_since: Option<Instant>,
    look: Pin<Box<Sleep>>,
    unread: Unread,
    /// From the end of what is written on.
    linger: Option<Linger>,
}

impl TimedStream {
    /// Around a connection, whose requests tell in `unread` what they leave.
    pub(crate) fn new(
        stream: TcpStream,
        patience: Patience,
        is_stopping: watch::Receiver<bool>,
        unread: Unread,
    ) -> TimedStream {
        let look = Box::pin(sleep(LOOK));
        TimedStream { stream, patience, is_stopping, waiting_since: None, look, unread, linger: None }
    }

    /// The first byte that came and was not read; it stays where it is. None at the end.
    pub(crate) async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        Ok((self.stream.peek(&mut byte).await? > 0).then_some(byte[0]))
    }

    fn patience(&self) -> Duration {
        match *self.is_stopping.borrow() {
            true => self.patience.stopping.min(self.patience.usual),
            false => self.patience.usual,
        }
    }

    /// What a write gives that could not write: nothing, until its time is up.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let (now, patience) = (Instant::now(), self.patience());
        if self.waiting_since.is_none() {
            self.look.as_mut().reset(now + LOOK.min(patience));
        }
        let since = *self.waiting_since.get_or_insert(now);
        while self.look.as_mut().poll(context).is_ready() {
            let (now, patience) = (Instant::now(), self.patience());
            if now - since >= patience {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.look.as_mut().reset(now + LOOK.min(patience));
        }
        Poll::Pending
    }

    fn written<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        match written {
            Poll::Pending => self.wait(context),
            ready => {
                self.waiting_since = None;
                ready
            }
        }
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.unread.is_left() {
                return Poll::Ready(Ok(()));
            }
        }
        let is_stopping = *this.is_stopping.borrow();
        this.linger.get_or_insert_with(Linger::begin).poll(&mut this.stream, is_stopping, context).map(Ok)
    }
}
