//! From bytes to typed values. What contradicts itself beyond what the types can say is the engine's to refuse.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::{NonZeroU16, NonZeroU32},
};

use gipsec_engine::{
    Algorithms, Attributes, BundleEntry, Compression, Direction, DscpRule, Endpoints, FlowPadding, InboundRules,
    Intervals, KeyLengths, Keys, Lifetime, Mode, Notify, OutboundRules, Parameters, Ports, Protocol, Rules,
};
use zeroize::Zeroizing;

use super::*;
use crate::message::{Malformed, reserved, take, take_bytes};

/// Takes an entry with its keys off the front of a message.
pub fn decode(direction: Direction, bytes: &mut &[u8]) -> Result<BundleEntry, Malformed> {
    let record: EntryRecord = take(bytes)?;
    let cipher = take_bytes(bytes, usize::from(record.cipher_key_length.get()))?;
    let integrity = take_bytes(bytes, usize::from(record.integrity_key_length.get()))?;
    let iv = take_bytes(bytes, usize::from(record.iv_length))?;
    let mut parameters = record.parameters(direction)?;
    if !iv.is_empty() {
        let Some(Rules::Outbound(rules)) = rules_of(&mut parameters) else {
            return Err(Malformed("an IV for what makes none"));
        };
        rules.first_iv = Some(iv.to_vec());
    }
    let keys = Keys { cipher: Zeroizing::new(cipher.to_vec()), integrity: Zeroizing::new(integrity.to_vec()) };
    Ok(BundleEntry { parameters, keys })
}

/// Takes an entry as SA_READ gives it back off the front of a message.
pub fn decode_parameters(direction: Direction, bytes: &mut &[u8]) -> Result<Parameters, Malformed> {
    take::<EntryRecord>(bytes)?.parameters(direction)
}

fn rules_of(parameters: &mut Parameters) -> Option<&mut Rules> {
    match parameters {
        Parameters::Ipsec(attributes) => Some(&mut attributes.rules),
        Parameters::Compression(_) => None,
    }
}

impl EntryRecord {
    fn is(&self, flag: u32) -> bool {
        self.flags.get() & flag != 0
    }

    /// Everything but keys and IV.
    fn parameters(&self, direction: Direction) -> Result<Parameters, Malformed> {
        reserved(&self.reserved)?;
        reserved(&self.unused)?;
        const OF_BOTH: u32 =
            FLAG_ESN | FLAG_UDP | FLAG_IMPLICIT_IV | FLAG_NOTIFY_LIFETIME | FLAG_NOTIFY_OVERFLOW | FLAG_NOTIFY_PERIODIC;
        let known = OF_BOTH
            | match direction {
                Direction::Inbound => FLAG_REPLAY | FLAG_CHECK_OUTER | FLAG_PROPAGATE_ECN,
                Direction::Outbound => FLAG_ECN | FLAG_COPY_FLOW_LABEL,
            };
        if self.flags.get() & !known != 0 {
            return Err(Malformed("a flag that is unknown, or the other direction's"));
        }
        let rules = match direction {
            Direction::Inbound => Rules::Inbound(self.inbound_rules()?),
            Direction::Outbound => Rules::Outbound(self.outbound_rules()?),
        };
        let mode = self.mode()?;
        if self.protocol == PROTOCOL_IPCOMP {
            return Ok(Parameters::Compression(self.compression(mode, rules)?));
        }
        Ok(Parameters::Ipsec(self.attributes(mode, rules)?))
    }

    fn compression(&self, mode: Mode, rules: Rules) -> Result<Compression, Malformed> {
        let of_ipsec = [
            u64::from(self.cipher | self.integrity | self.combined | self.icv_length),
            u64::from(self.cipher_key_length.get() | self.integrity_key_length.get()),
            u64::from(self.source_port.get() | self.destination_port.get()),
            u64::from(self.flags.get() & (FLAG_ESN | FLAG_UDP | FLAG_IMPLICIT_IV)),
            self.overflow_margin.get() | self.periodic_interval.get(),
        ];
        if of_ipsec != [0; 5] {
            return Err(Malformed("IPComp has neither keys nor ports nor sequence numbers"));
        }
        let cpi = u16::try_from(self.spi.get()).ok().and_then(NonZeroU16::new);
        Ok(Compression {
            algorithm: compression::value(self.compression)?,
            cpi: cpi.ok_or(Malformed("the CPI is 0 or over 65,535"))?,
            mode,
            lifetime: self.lifetime(),
            notify: self.notify(),
            rules,
        })
    }

    fn attributes(&self, mode: Mode, rules: Rules) -> Result<Attributes, Malformed> {
        let (protocol, wrapped) = match self.protocol {
            PROTOCOL_ESP => (Protocol::Esp, false),
            PROTOCOL_WESP => (Protocol::Esp, true),
            PROTOCOL_AH => (Protocol::Ah, false),
            _ => return Err(Malformed("an unknown protocol")),
        };
        if self.compression != 0 {
            return Err(Malformed("compression is IPComp's"));
        }
        let algorithms = match (self.cipher, self.integrity, self.combined) {
            (0, 0, combined) => Algorithms::Combined(combined::value(combined)?),
            (cipher, integrity, 0) => {
                Algorithms::Separate { cipher: cipher::value(cipher)?, integrity: integrity::value(integrity)? }
            }
            _ => return Err(Malformed("a combined mode algorithm beside separate ones")),
        };
        let udp = match (self.is(FLAG_UDP), self.source_port.get(), self.destination_port.get()) {
            (true, source, destination) => Some(Ports { source, destination }),
            (false, 0, 0) => None,
            (false, ..) => return Err(Malformed("ports without UDP encapsulation")),
        };
        Ok(Attributes {
            spi: NonZeroU32::new(self.spi.get()).ok_or(Malformed("the SPI is 0"))?,
            protocol,
            wrapped,
            mode,
            algorithms,
            key_lengths: KeyLengths {
                cipher: usize::from(self.cipher_key_length.get()),
                integrity: usize::from(self.integrity_key_length.get()),
            },
            icv_len: Some(usize::from(self.icv_length)).filter(|length| *length != 0),
            implicit_iv: self.is(FLAG_IMPLICIT_IV),
            extended_sequence: self.is(FLAG_ESN),
            udp,
            lifetime: self.lifetime(),
            notify: self.notify(),
            intervals: Intervals {
                overflow_margin: self.overflow_margin.get(),
                periodic: self.periodic_interval.get(),
            },
            rules,
        })
    }

    fn mode(&self) -> Result<Mode, Malformed> {
        match self.mode {
            MODE_TRANSPORT => {
                reserved(&[self.tunnel_family])?;
                reserved(&self.tunnel_source)?;
                reserved(&self.tunnel_destination)?;
                Ok(Mode::Transport)
            }
            MODE_TUNNEL => {
                let source = address(self.tunnel_family, &self.tunnel_source)?;
                let destination = address(self.tunnel_family, &self.tunnel_destination)?;
                Ok(Mode::Tunnel(match (source, destination) {
                    (IpAddr::V4(source), IpAddr::V4(destination)) => Endpoints::V4 { source, destination },
                    (IpAddr::V6(source), IpAddr::V6(destination)) => Endpoints::V6 { source, destination },
                    // Both were read as one family.
                    _ => return Err(Malformed("tunnel addresses of two families")),
                }))
            }
            _ => Err(Malformed("an unknown mode")),
        }
    }

    fn lifetime(&self) -> Lifetime {
        Lifetime {
            soft_kilobytes: NonZeroU32::new(self.soft_kilobytes.get()),
            hard_kilobytes: NonZeroU32::new(self.hard_kilobytes.get()),
        }
    }

    fn notify(&self) -> Notify {
        Notify {
            soft_lifetime: self.is(FLAG_NOTIFY_LIFETIME),
            sequence_overflow: self.is(FLAG_NOTIFY_OVERFLOW),
            sequence_periodic: self.is(FLAG_NOTIFY_PERIODIC),
        }
    }

    fn outbound_rules(&self) -> Result<OutboundRules, Malformed> {
        if self.replay_window.get() != 0 || self.original_family != 0 || self.original_address != [0; 16] {
            return Err(Malformed("what is an inbound SA's in an outbound one"));
        }
        let dscp = match (self.dscp_rule, self.dscp) {
            (1, 0) => DscpRule::Copy,
            (2, 0) => DscpRule::Clear,
            (3, dscp @ 0..64) => DscpRule::Set(dscp),
            _ => return Err(Malformed("an unknown rule for DSCP, or a DSCP without one")),
        };
        Ok(OutboundRules {
            dscp,
            df: df::value(self.df_rule)?,
            ecn: self.is(FLAG_ECN),
            first_iv: None,
            copy_flow_label: self.is(FLAG_COPY_FLOW_LABEL),
            flow_padding: FlowPadding { to: self.flow_pad_to.get(), multiple: self.flow_pad_multiple.get() },
        })
    }

    fn inbound_rules(&self) -> Result<InboundRules, Malformed> {
        let of_outbound =
            (self.dscp_rule, self.dscp, self.df_rule, self.flow_pad_to.get(), self.flow_pad_multiple.get());
        if of_outbound != (1, 0, 1, 0, 0) {
            return Err(Malformed("what is an outbound SA's in an inbound one"));
        }
        let replay_window = match (self.is(FLAG_REPLAY), self.replay_window.get()) {
            (true, window) => Some(window),
            (false, 0) => None,
            (false, _) => return Err(Malformed("a replay window without a replay check")),
        };
        let peer_original = match self.original_family {
            0 => {
                reserved(&self.original_address)?;
                None
            }
            family => Some(address(family, &self.original_address)?),
        };
        Ok(InboundRules {
            propagate_ecn: self.is(FLAG_PROPAGATE_ECN),
            replay_window,
            check_outer: self.is(FLAG_CHECK_OUTER),
            peer_original,
        })
    }
}

/// An address of a family.
pub(crate) fn address(family: u8, bytes: &[u8; 16]) -> Result<IpAddr, Malformed> {
    match (family, bytes) {
        (4, [a, b, c, d, rest @ ..]) => {
            reserved(rest)?;
            Ok(Ipv4Addr::new(*a, *b, *c, *d).into())
        }
        (6, _) => Ok(Ipv6Addr::from(*bytes).into()),
        _ => Err(Malformed("an unknown address family")),
    }
}
