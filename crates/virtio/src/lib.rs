//! The virtio IPsec device of `docs/virtio-ipsec.md`: the messages that both ends share, and the driver.

#![deny(unsafe_code)]

pub mod memory;
pub mod message;
pub mod transport;
