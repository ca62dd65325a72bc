//! Why a call cannot be served.

use gipsec_engine::{PacketError, SaError};

/// Why a call cannot be served. The C surface turns each into one errno (R20).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An argument that cannot be.
    #[error("{0}")]
    Invalid(&'static str),
    /// A handle that was never given out, is closed, or belongs to somebody else.
    #[error("the {0} handle is forged, stale, closed or another application's")]
    BadHandle(&'static str),
    /// No such SA, group or next entry.
    #[error("{0}")]
    NotFound(&'static str),
    /// No such accelerator, or it went away.
    #[error("{0}")]
    NoDevice(&'static str),
    /// Somebody has it open in a mode that conflicts.
    #[error("every accelerator that fits is open in a mode that conflicts")]
    Busy,
    /// The accelerator cannot do that.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A table is full.
    #[error("the table of {0} is full")]
    Full(&'static str),
    /// Too much is waiting.
    #[error("too many calls are waiting to be processed or delivered")]
    QueueFull,
    /// The system gave no thread or descriptor.
    #[error("the system gave no {0}")]
    System(&'static str),
    /// A panic was caught.
    #[error("a defect in the library was caught")]
    Defect,
    /// A packet was refused.
    #[error("{0}")]
    Packet(#[from] PacketError),
}

impl From<SaError> for Error {
    fn from(error: SaError) -> Self {
        match error {
            SaError::Invalid(why) => Self::Invalid(why),
            SaError::Unsupported(what) => Self::Unsupported(what),
        }
    }
}

/// Why an accelerator cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .why.clone().unwrap_or_else(|| .error.to_string()))]
pub struct OpenError {
    /// What kind of error it is.
    pub error: Error,
    /// Which accelerator it is about, and what is wrong there, if that is known.
    pub why: Option<String>,
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self { error, why: None }
    }
}

/// The accelerator behind a handle has been removed.
pub(crate) const GONE: Error = Error::NoDevice("the accelerator went away");
