//! An answer as its client gets it.

use futures_util::stream::BoxStream;
use hyper::body::Bytes;

/// An answer.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// What it says.
    pub body: ReplyBody,
}

/// What an answer says.
pub enum ReplyBody {
    /// JSON.
    Whole(Bytes),
    /// Server-sent events.
    Stream(BoxStream<'static, Bytes>),
}
