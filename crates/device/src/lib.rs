//! The virtio IPsec device of `docs/virtio-ipsec.md` as a vhost-user daemon: rings in, engine, rings out.
//!
//! A packet's way: `backend` is woken, `worker` takes a request from a ring, `request` copies it out of the driver's
//! memory, `data` has the engine process it, and what comes out goes back the same way. Commands go through `control` to
//! the `client`, which has the SAs. `messages` sets up memory and rings, `connection` is a client's threads, `accelerator`
//! a socket with its connections, `daemon` all of them.

#![forbid(unsafe_code)]

pub mod accelerator;
pub mod backend;
pub mod client;
pub mod config;
pub mod connection;
pub mod control;
pub mod daemon;
pub mod data;
pub mod descriptors;
pub mod events;
pub mod limits;
pub mod memory;
pub mod messages;
pub mod metrics;
pub mod place;
pub mod rate;
pub mod request;
pub mod ring;
pub mod say;
pub mod settings;
pub mod socket;
pub mod table;
pub mod worker;
