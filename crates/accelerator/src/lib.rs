//! Accelerators: how they are found, opened, shared, split into groups, given SAs and packets, and lost. Knows neither C
//! nor how packets are processed: [`Accelerator`] is the one seam behind which the software engine and devices stand.
//!
//! Handles are [`Key`]s. Looking one up takes no lock; what it led to stays alive while it is used, also when another
//! thread closes it meanwhile.

#![forbid(unsafe_code)]

mod capabilities;
mod client;
mod deferral;
mod error;
mod group;
mod mailbox;
mod notification;
mod queue;
mod registry;
mod seam;
mod service;
mod slot;
mod soft;
mod table;
mod virtio;
mod worker;

pub use capabilities::{Capabilities, CipherAlgorithms, CombinedAlgorithms, Features, IntegrityAlgorithms};
pub use client::Client;
pub use error::{Error, OpenError};
pub use gipsec_engine as engine;
pub use gipsec_virtio::driver::{Options as DeviceOptions, SharedBuffer};
pub use group::{Activity, Group, Remark, SaEntry, SaReading};
pub use notification::{Hooks, Notification, What};
pub use queue::Class;
pub use registry::{Active, Available, Registry, Selection};
pub use seam::{Accelerator, Association, Call, Discovery, Found, OnLost, Provider};
pub use service::{Lane, Outcome, Packets, Parts, Work};
pub use slot::OpenMode;
pub use soft::Soft;
pub use table::{Entry, Key};
pub use virtio::{PciDevices, Sockets};
