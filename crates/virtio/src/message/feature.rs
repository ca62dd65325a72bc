//! Feature bits, and what needs them.

use gipsec_engine::{
    Attributes, BundleEntry, DfRule, Endpoints, Mode, Notify, OutboundRules, Parameters, Protocol, Rules,
};

/// Packets in more than one descriptor.
pub const SG: u64 = 1 << 0;
/// AH.
pub const AH: u64 = 1 << 1;
/// Wrapped ESP.
pub const WESP: u64 = 1 << 2;
/// SAs with more than one entry.
pub const SA_BUNDLES: u64 = 1 << 3;
/// ESP in UDP.
pub const UDP_ENCAPSULATION: u64 = 1 << 4;
/// Traffic flow padding, dummy packets.
pub const TFC: u64 = 1 << 5;
/// Extended sequence numbers.
pub const ESN: u64 = 1 << 6;
/// ECN copied outside, or taken back inside.
pub const ECN: u64 = 1 << 7;
/// A DF rule other than copy.
pub const DF: u64 = 1 << 8;
/// Replay windows.
pub const ANTI_REPLAY: u64 = 1 << 9;
/// Tunnels between IPv6 addresses.
pub const IPV6: u64 = 1 << 10;
/// Event LIFETIME.
pub const NOTIFY_LIFETIME: u64 = 1 << 11;
/// Event SEQUENCE_OVERFLOW.
pub const NOTIFY_SEQNUM_OVERFLOW: u64 = 1 << 12;
/// Event SEQUENCE_PERIODIC.
pub const NOTIFY_SEQNUM_PERIODIC: u64 = 1 << 13;
/// IPComp.
pub const IPCOMP: u64 = 1 << 14;

/// All bits of the device type.
pub const ALL: u64 = (1 << 15) - 1;

/// VIRTIO_F_INDIRECT_DESC.
pub const INDIRECT_DESC: u64 = 1 << 28;
/// VIRTIO_F_EVENT_IDX.
pub const EVENT_IDX: u64 = 1 << 29;
/// VIRTIO_F_VERSION_1.
pub const VERSION_1: u64 = 1 << 32;
/// VIRTIO_F_ACCESS_PLATFORM.
pub const ACCESS_PLATFORM: u64 = 1 << 33;

/// The feature bits that an SA of these entries needs.
pub fn required(entries: &[BundleEntry]) -> u64 {
    let bundle = if entries.len() > 1 { SA_BUNDLES } else { 0 };
    entries.iter().fold(bundle, |bits, entry| bits | of_entry(&entry.parameters))
}

fn of_entry(parameters: &Parameters) -> u64 {
    let when = |condition: bool, bit: u64| if condition { bit } else { 0 };
    let notify = |notify: &Notify| {
        when(notify.soft_lifetime, NOTIFY_LIFETIME)
            | when(notify.sequence_overflow, NOTIFY_SEQNUM_OVERFLOW)
            | when(notify.sequence_periodic, NOTIFY_SEQNUM_PERIODIC)
    };
    let own = match parameters {
        Parameters::Compression(compression) => IPCOMP | notify(&compression.notify),
        Parameters::Ipsec(Attributes { protocol, wrapped, udp, extended_sequence, notify: told, .. }) => {
            when(*protocol == Protocol::Ah, AH)
                | when(*wrapped, WESP)
                | when(udp.is_some(), UDP_ENCAPSULATION)
                | when(*extended_sequence, ESN)
                | notify(told)
        }
    };
    let rules = match parameters.rules() {
        Rules::Outbound(OutboundRules { df, ecn, flow_padding, .. }) => {
            when(*df != DfRule::Copy, DF) | when(*ecn, ECN) | when(*flow_padding != Default::default(), TFC)
        }
        Rules::Inbound(rules) => when(rules.propagate_ecn, ECN) | when(rules.replay_window.is_some(), ANTI_REPLAY),
    };
    own | rules | when(matches!(parameters.mode(), Mode::Tunnel(Endpoints::V6 { .. })), IPV6)
}
