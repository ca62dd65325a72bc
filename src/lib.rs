//! libgipsec: the Virtio-IPsec accelerator g-API. This crate is its C surface: C types, C pointers and errno, and
//! nothing about IPsec. Programs link the C library; `include/g_ipsec_la.h` is its documentation.

#![expect(clippy::missing_safety_doc, reason = "the contract of all exported functions is the header's")]

mod answer;
pub mod api;
mod convert;
mod errno;
mod guard;
mod handles;
mod packet_call;
mod pointers;
mod process;
mod segments;
pub mod types;
pub mod values;
