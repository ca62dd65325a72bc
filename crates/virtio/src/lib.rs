//! The virtio IPsec device of `docs/virtio-ipsec.md`: the messages that both ends share, and the driver.

pub mod message;
