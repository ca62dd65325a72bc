//! From typed values to bytes.

use std::net::IpAddr;

use gipsec_engine::{
    Algorithms, Attributes, BundleEntry, Compression, DscpRule, Endpoints, FlowPadding, InboundRules, KeyLengths, Keys,
    Lifetime, Mode, Notify, OutboundRules, Parameters, Ports, Protocol, Rules,
};
use zerocopy::IntoBytes;
use zeroize::Zeroizing;

use super::*;
use crate::message::Malformed;

/// Appends an entry with its keys. Errors: lengths that have no place in it.
pub fn encode(entry: &BundleEntry, message: &mut Zeroizing<Vec<u8>>) -> Result<(), Malformed> {
    let BundleEntry { parameters, keys: Keys { cipher, integrity } } = entry;
    let iv = match parameters.rules() {
        Rules::Outbound(OutboundRules { first_iv: Some(iv), .. }) => iv.as_slice(),
        _ => &[],
    };
    let mut record = EntryRecord::of(parameters, entry.keys.lengths())?;
    record.iv_length = u8::try_from(iv.len()).map_err(|_| Malformed("the IV is too long"))?;
    let parts = [record.as_bytes(), cipher, integrity, iv];
    // Never moved while keys are in it: a move would leave them behind.
    if message.capacity() - message.len() < parts.iter().map(|part| part.len()).sum() {
        return Err(Malformed("the SA does not fit a message"));
    }
    parts.iter().for_each(|part| message.extend_from_slice(part));
    Ok(())
}

impl EntryRecord {
    /// Everything but keys and IV.
    pub fn of(parameters: &Parameters, keys: KeyLengths) -> Result<Self, Malformed> {
        let length = |length: usize| u16::try_from(length).map_err(|_| Malformed("a key is too long"));
        let mut record = Self {
            cipher_key_length: length(keys.cipher)?.into(),
            integrity_key_length: length(keys.integrity)?.into(),
            ..Self::default()
        };
        record.set_mode(parameters.mode());
        match parameters {
            Parameters::Ipsec(attributes) => record.set_attributes(attributes)?,
            Parameters::Compression(Compression { algorithm, cpi, lifetime, notify, .. }) => {
                record.protocol = PROTOCOL_IPCOMP;
                record.compression = compression::code(*algorithm);
                record.spi = u32::from(cpi.get()).into();
                record.set_lifetime(*lifetime);
                record.set_notify(*notify);
            }
        }
        record.set_rules(parameters.rules());
        Ok(record)
    }

    fn flag(&mut self, condition: bool, flag: u32) {
        if condition {
            self.flags |= U32::new(flag);
        }
    }

    fn set_mode(&mut self, mode: Mode) {
        let Mode::Tunnel(endpoints) = mode else {
            self.mode = MODE_TRANSPORT;
            return;
        };
        self.mode = MODE_TUNNEL;
        let (source, destination) = endpoints.addresses();
        (self.tunnel_family, self.tunnel_source) = address(source);
        (_, self.tunnel_destination) = address(destination);
        debug_assert!(matches!((endpoints, self.tunnel_family), (Endpoints::V4 { .. }, 4) | (Endpoints::V6 { .. }, 6)));
    }

    fn set_attributes(&mut self, attributes: &Attributes) -> Result<(), Malformed> {
        self.protocol = match (attributes.protocol, attributes.wrapped) {
            (Protocol::Esp, false) => PROTOCOL_ESP,
            (Protocol::Esp, true) => PROTOCOL_WESP,
            (Protocol::Ah, false) => PROTOCOL_AH,
            (Protocol::Ah, true) => return Err(Malformed("WESP wraps ESP, not AH")),
        };
        match attributes.algorithms {
            Algorithms::Separate { cipher, integrity } => {
                self.cipher = cipher::code(cipher);
                self.integrity = integrity::code(integrity);
            }
            Algorithms::Combined(combined) => self.combined = combined::code(combined),
        }
        self.icv_length = match attributes.icv_len {
            None => 0,
            Some(length) => u8::try_from(length)
                .ok()
                .filter(|length| *length != 0)
                .ok_or(Malformed("the ICV's length cannot be"))?,
        };
        self.spi = attributes.spi.get().into();
        self.flag(attributes.extended_sequence, FLAG_ESN);
        self.flag(attributes.implicit_iv, FLAG_IMPLICIT_IV);
        if let Some(Ports { source, destination }) = attributes.udp {
            self.flag(true, FLAG_UDP);
            (self.source_port, self.destination_port) = (source.into(), destination.into());
        }
        self.set_lifetime(attributes.lifetime);
        self.set_notify(attributes.notify);
        self.overflow_margin = attributes.intervals.overflow_margin.into();
        self.periodic_interval = attributes.intervals.periodic.into();
        Ok(())
    }

    fn set_lifetime(&mut self, lifetime: Lifetime) {
        self.soft_kilobytes = lifetime.soft_kilobytes.map_or(0, std::num::NonZero::get).into();
        self.hard_kilobytes = lifetime.hard_kilobytes.map_or(0, std::num::NonZero::get).into();
    }

    fn set_notify(&mut self, notify: Notify) {
        self.flag(notify.soft_lifetime, FLAG_NOTIFY_LIFETIME);
        self.flag(notify.sequence_overflow, FLAG_NOTIFY_OVERFLOW);
        self.flag(notify.sequence_periodic, FLAG_NOTIFY_PERIODIC);
    }

    fn set_rules(&mut self, rules: &Rules) {
        match rules {
            Rules::Outbound(OutboundRules { dscp, df: df_rule, ecn, first_iv: _, copy_flow_label, flow_padding }) => {
                (self.dscp_rule, self.dscp) = match *dscp {
                    DscpRule::Copy => (1, 0),
                    DscpRule::Clear => (2, 0),
                    DscpRule::Set(dscp) => (3, dscp),
                };
                self.df_rule = df::code(*df_rule);
                self.flag(*ecn, FLAG_ECN);
                self.flag(*copy_flow_label, FLAG_COPY_FLOW_LABEL);
                let FlowPadding { to, multiple } = *flow_padding;
                (self.flow_pad_to, self.flow_pad_multiple) = (to.into(), multiple.into());
            }
            Rules::Inbound(InboundRules { propagate_ecn, replay_window, check_outer, peer_original }) => {
                (self.dscp_rule, self.df_rule) = (1, 1);
                self.flag(*propagate_ecn, FLAG_PROPAGATE_ECN);
                self.flag(*check_outer, FLAG_CHECK_OUTER);
                self.flag(replay_window.is_some(), FLAG_REPLAY);
                self.replay_window = replay_window.unwrap_or(0).into();
                if let Some(original) = *peer_original {
                    (self.original_family, self.original_address) = address(original);
                }
            }
        }
    }
}

/// An address with its family.
pub(crate) fn address(address: IpAddr) -> (u8, [u8; 16]) {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            (4, bytes)
        }
        IpAddr::V6(address) => (6, address.octets()),
    }
}
