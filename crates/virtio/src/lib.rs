//! The virtio IPsec device of `docs/virtio-ipsec.md`: the messages that both ends share, and the driver.

#![deny(unsafe_code)]

pub mod driver;
pub mod memory;
pub mod message;
mod queue;
pub mod threads;
pub mod transport;
pub mod window;
