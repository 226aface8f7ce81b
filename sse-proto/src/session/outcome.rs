//! How tries and sessions end.

use core::fmt;

/// Why a try did not last. Another one follows, unless there have been too many or it would be of
/// no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The connection could not be made, or broke.
    Network,
    /// The server ended the stream.
    Ended,
    /// The server ended the stream without the event that
    /// [must end it](super::SessionConfig::must_end_with).
    Incomplete,
    /// The server answered with this status.
    Status(u16),
    /// The response is no event stream.
    ContentType,
    /// The response has a content or transfer coding that the client cannot decode.
    ContentCoding,
    /// No connection within
    /// [`SessionConfig::connect_timeout`](super::SessionConfig::connect_timeout), or no response
    /// within [`response_timeout`](super::SessionConfig::response_timeout).
    ConnectTimeout,
    /// The connection took nothing of the request's body for longer than
    /// [`SessionConfig::send_timeout`](super::SessionConfig::send_timeout).
    SendTimeout,
    /// Silence for longer than [`SessionConfig::idle_timeout`](super::SessionConfig::idle_timeout).
    IdleTimeout,
    /// The caller could not provide the headers of the request.
    Headers,
    /// The request cannot be made as the caller wants it, whatever the server: a header that HTTP
    /// cannot carry, say. It would fail again.
    Local,
    /// None: [`Session::reconnect`](super::Session::reconnect) was called.
    ByCaller,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("the connection failed"),
            Self::Ended => f.write_str("the server ended the stream"),
            Self::Incomplete => f.write_str("the server ended the stream before it was complete"),
            Self::Status(status) => write!(f, "the server answered with status {status}"),
            Self::ContentType => f.write_str("the response is no event stream"),
            Self::ContentCoding => {
                f.write_str("the response is encoded in a way that is not known")
            }
            Self::ConnectTimeout => f.write_str("the server did not answer in time"),
            Self::SendTimeout => f.write_str("the request could not be sent in time"),
            Self::IdleTimeout => f.write_str("the stream was silent for too long"),
            Self::Headers => f.write_str("the headers of the request could not be provided"),
            Self::Local => f.write_str("the request cannot be made"),
            Self::ByCaller => f.write_str("the caller asked for a new connection"),
        }
    }
}

/// How far a try had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The server has not seen the request: there was no connection to send it on.
    Unsent,
    /// The server may have acted on the request.
    Sent,
    /// The stream was open.
    Open,
}

/// A failure, as [`SessionConfig::decide`](super::SessionConfig::decide) sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// What ended the try.
    pub failure: Failure,
    /// How far it had come.
    pub stage: Stage,
    /// How many failures in a row this makes. Events end the row.
    pub failures: u32,
    /// What the policy says.
    pub decision: Decision,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Another try, after the delay that is due.
    Retry,
    /// The end of the session.
    Stop,
}

/// Why a session is over. What is known besides, the driver has in hand: the head of the response,
/// and the reader's [`stream_error`](crate::Reader::stream_error).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// [`Session::close`](super::Session::close) was called.
    ByCaller,
    /// The event came that [completes](super::SessionConfig::until) the stream.
    Complete,
    /// The server said so in the stream (`stream-error`).
    StreamError,
    /// The policy, or the caller's [say](super::SessionConfig::decide), makes this failure final.
    Failed(Failure),
    /// After this failure there may be no other try: there have been as many in a row, or for as
    /// long, as [`SessionConfig`](super::SessionConfig) allows.
    GaveUp(Failure),
}

impl Closed {
    /// Whether all is well: the stream is complete, or has ended where it may, or the caller wanted
    /// no more.
    pub const fn is_normal(&self) -> bool {
        matches!(self, Self::ByCaller | Self::Complete | Self::Failed(Failure::Ended))
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByCaller => f.write_str("closed by the caller"),
            Self::Complete => f.write_str("the stream is complete"),
            Self::StreamError => f.write_str("the server ended the stream with a stream-error"),
            Self::Failed(failure) => failure.fmt(f),
            Self::GaveUp(failure) => write!(f, "gave up: {failure}"),
        }
    }
}

impl core::error::Error for Closed {}
