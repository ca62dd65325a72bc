//! What devices do wrong.

use super::{Reply, Script};

/// A device that is honest until SAs are there.
pub fn hostile(mut script: impl FnMut(Reply) -> Reply + Send + 'static) -> Script {
    Box::new(move |queue, _, reply| if queue < 2 { reply } else { script(reply) })
}

/// Devices that break the rules.
pub fn rules_broken() -> Vec<Script> {
    vec![
        hostile(|reply| Reply { id: Some(63), ..reply }),
        hostile(|reply| Reply { id: Some(1 << 20), ..reply }),
        hostile(|reply| Reply { step: 60, ..reply }),
        hostile(|reply| Reply { step: u16::MAX, ..reply }),
        // Silent.
        hostile(|reply| Reply { step: 0, ..reply }),
        // A result longer than its room.
        hostile(|mut reply| {
            reply.bytes[12..16].fill(0x7f);
            reply
        }),
        // A result that is no packet.
        hostile(|mut reply| {
            reply.bytes[12..16].fill(0);
            reply
        }),
        // It has forgotten us.
        hostile(|mut reply| {
            reply.bytes[..4].copy_from_slice(&6u32.to_le_bytes());
            reply
        }),
    ]
}
