//! SAs of the document turned into typed values, and back. Every field is checked; what cannot be is an error that says
//! which field (R11, R16 to R18, R28 to R34, R37).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    ptr,
};

use gipsec_accelerator::{
    Error,
    engine::{
        Algorithms, Attributes, Change, Cipher, Combined, DEFAULT_WINDOW, DfRule, Direction, DscpRule, Endpoints,
        InboundRules, Integrity, Intervals, Keys, Lifetime, MAX_WINDOW, MIN_WINDOW, Mode, Notify, OutboundRules, Ports,
        Protocol, Rules, Statistics,
    },
};
use zeroize::Zeroizing;

use crate::types::{
    IpAddress, IpcompInfo, NatTraversalInfo, ProcessErrors, ProtocolViolationErrors, Sa, SaByDirection, SaCryptoParams,
    SaInbound, SaModInArgs, SaOutbound, SaStats, TunnelEndAddress,
};

/// Bits of `enum g_ipsec_la_sa_flags`.
mod flag {
    pub(super) const UDP_ENCAP: u32 = 1 << 1;
    pub(super) const ECN: u32 = 1 << 2;
    pub(super) const LIFETIME: u32 = 1 << 3;
    pub(super) const ANTI_REPLAY: u32 = 1 << 4;
    pub(super) const TRANSPORT: u32 = 1 << 5;
    pub(super) const ESN: u32 = 1 << 6;
    pub(super) const IPV6: u32 = 1 << 7;
    pub(super) const NOTIFY_LIFETIME: u32 = 1 << 8;
    pub(super) const NOTIFY_OVERFLOW: u32 = 1 << 9;
    pub(super) const NOTIFY_PERIODIC: u32 = 1 << 10;
    pub(super) const ALL: u32 = 0x7fe;
}

/// What the extension adds to an SA.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Anti-replay window in packets.
    pub window: Option<u32>,
    /// Notification intervals.
    pub intervals: Intervals,
}

/// An `enum g_ipsec_la_sa_direction`.
pub(crate) fn direction(value: u32) -> Result<Direction, Error> {
    match value {
        0 => Ok(Direction::Inbound),
        1 => Ok(Direction::Outbound),
        _ => Err(Error::Invalid("an unknown direction")),
    }
}

/// Reads an SA.
///
/// # Safety
/// Pointers in `sa` are NULL or valid for their lengths.
pub(crate) unsafe fn attributes(sa: &Sa, direction: Direction, options: Options) -> Result<(Attributes, Keys), Error> {
    let flags = sa.cmn_flags;
    if flags & !flag::ALL != 0 {
        return Err(Error::Invalid("an unknown SA flag"));
    }
    let is = |bit: u32| flags & bit != 0;
    match sa.ipcomp_info.algo {
        0 => {}
        1 | 2 => return Err(Error::Unsupported("IP compression is not supported")),
        _ => return Err(Error::Invalid("an unknown compression algorithm")),
    }
    // SAFETY: this function's contract.
    let (algorithms, keys) = unsafe { algorithms(&sa.crypto_params) }?;
    // SAFETY: the same.
    let rules = unsafe { rules(sa, direction, options, is(flag::ECN), is(flag::ANTI_REPLAY)) }?;
    let attributes = Attributes {
        spi: NonZeroU32::new(sa.spi).ok_or(Error::Invalid("the SPI is 0"))?,
        protocol: match sa.proto {
            50 => Protocol::Esp,
            51 => Protocol::Ah,
            108 => return Err(Error::Unsupported("IP compression is not supported")),
            _ => return Err(Error::Invalid("the protocol is neither ESP nor AH")),
        },
        mode: if is(flag::TRANSPORT) { Mode::Transport } else { Mode::Tunnel(endpoints(&sa.te_addr)?) },
        algorithms,
        key_lengths: keys.lengths(),
        icv_len: match bytes(u32::from(sa.crypto_params.icv_len_bits))? {
            0 => None,
            length => Some(length),
        },
        extended_sequence: is(flag::ESN),
        udp: if is(flag::UDP_ENCAP) { Some(ports(&sa.nat_info, direction)?) } else { None },
        lifetime: if is(flag::LIFETIME) {
            Lifetime {
                soft_kilobytes: NonZeroU32::new(sa.soft_kilobytes_limit),
                hard_kilobytes: NonZeroU32::new(sa.hard_kilobytes_limit),
            }
        } else {
            Lifetime::default()
        },
        notify: Notify {
            soft_lifetime: is(flag::NOTIFY_LIFETIME),
            sequence_overflow: is(flag::NOTIFY_OVERFLOW),
            sequence_periodic: is(flag::NOTIFY_PERIODIC),
        },
        intervals: options.intervals,
        rules,
    };
    Ok((attributes, keys))
}

/// Bits to bytes.
fn bytes(bits: u32) -> Result<usize, Error> {
    if !bits.is_multiple_of(8) {
        return Err(Error::Invalid("a length in bits is not a whole number of bytes"));
    }
    usize::try_from(bits / 8).map_err(|_| Error::Invalid("a length is too large"))
}

/// Copies a key.
///
/// # Safety
/// `key` is NULL or valid for its length.
unsafe fn key(key: *const u8, bits: u32) -> Result<Zeroizing<Vec<u8>>, Error> {
    /// Longer than any key of any algorithm.
    const MAX: usize = 128;
    let length = bytes(bits)?;
    if length == 0 {
        return Ok(Zeroizing::default());
    }
    if key.is_null() {
        return Err(Error::Invalid("a key is NULL"));
    }
    if length > MAX {
        return Err(Error::Invalid("a key is too long"));
    }
    // SAFETY: not NULL, and then valid for its length by this function's contract.
    Ok(Zeroizing::new(unsafe { std::slice::from_raw_parts(key, length) }.to_vec()))
}

/// # Safety
/// Key pointers are NULL or valid for their lengths.
unsafe fn algorithms(crypto: &SaCryptoParams) -> Result<(Algorithms, Keys), Error> {
    let integrity = match crypto.auth_algo {
        0 | 1 => Integrity::None,
        2 => Integrity::HmacMd5,
        3 => Integrity::HmacSha1,
        4 => Integrity::AesXcbc,
        5 => Integrity::HmacSha256,
        6 => Integrity::HmacSha384,
        7 => Integrity::HmacSha512,
        _ => return Err(Error::Invalid("an unknown integrity algorithm")),
    };
    let cipher = match crypto.cipher_algo {
        0 | 1 => Cipher::Null,
        2 => Cipher::DesCbc,
        3 => Cipher::TripleDesCbc,
        4 => Cipher::AesCbc,
        5 => Cipher::AesCtr,
        _ => return Err(Error::Invalid("an unknown encryption algorithm")),
    };
    let combined = match crypto.comb_algo {
        0 => None,
        1 => Some(Combined::Ccm),
        2 => Some(Combined::Gcm),
        3 => Some(Combined::Gmac),
        _ => return Err(Error::Invalid("an unknown combined mode algorithm")),
    };
    // SAFETY: this function's contract.
    let auth_key = unsafe { key(crypto.auth_key, crypto.auth_key_len_bits) }?;
    // SAFETY: the same.
    let cipher_key = unsafe { key(crypto.cipher_key, crypto.cipher_key_len_bits) }?;
    // SAFETY: the same.
    let combined_key = unsafe { key(crypto.comb_key, crypto.comb_key_len_bits) }?;
    match combined {
        None if combined_key.is_empty() => {
            Ok((Algorithms::Separate { cipher, integrity }, Keys { cipher: cipher_key, integrity: auth_key }))
        }
        None => Err(Error::Invalid("a combined mode key without a combined mode algorithm")),
        Some(_) if cipher != Cipher::Null || integrity != Integrity::None => {
            Err(Error::Invalid("a combined mode algorithm beside a separate one"))
        }
        Some(_) if !cipher_key.is_empty() => Err(Error::Invalid("a cipher key beside a combined mode algorithm")),
        Some(combined) => Ok((Algorithms::Combined(combined), Keys { cipher: combined_key, integrity: auth_key })),
    }
}

/// # Safety
/// `outb.iv` of an outbound SA is NULL or valid for its length.
unsafe fn rules(sa: &Sa, direction: Direction, options: Options, ecn: bool, anti_replay: bool) -> Result<Rules, Error> {
    match direction {
        Direction::Outbound => {
            // SAFETY: the direction says which field of the union is meant; every bit pattern is a value of both.
            let outbound = unsafe { sa.by_direction.outb };
            let first_iv = if outbound.iv.is_null() {
                None
            } else {
                match bytes(u32::from(outbound.iv_len_bits))? {
                    0 => return Err(Error::Invalid("an IV without a length")),
                    // SAFETY: not NULL, and then valid for its length by this function's contract.
                    length => Some(unsafe { std::slice::from_raw_parts(outbound.iv, length) }.to_vec()),
                }
            };
            Ok(Rules::Outbound(OutboundRules {
                dscp: match outbound.dscp_handle {
                    0 | 1 => DscpRule::Copy,
                    2 => DscpRule::Clear,
                    3 => DscpRule::Set(outbound.dscp),
                    _ => return Err(Error::Invalid("an unknown DSCP handling")),
                },
                df: match outbound.df_bit_handle {
                    0 | 1 => DfRule::Copy,
                    2 => DfRule::Clear,
                    3 => DfRule::Set,
                    _ => return Err(Error::Invalid("an unknown DF bit handling")),
                },
                ecn,
                first_iv,
            }))
        }
        Direction::Inbound => {
            // SAFETY: as above.
            let inbound = unsafe { sa.by_direction.inb };
            if inbound.flags & !1 != 0 {
                return Err(Error::Invalid("an unknown inbound SA flag"));
            }
            let window = match options.window {
                Some(window) if window > MAX_WINDOW => {
                    return Err(Error::Invalid("the anti-replay window exceeds 65,536 packets"));
                }
                Some(window) => window.max(MIN_WINDOW),
                None => window(inbound.anti_replay_window_size),
            };
            Ok(Rules::Inbound(InboundRules {
                propagate_ecn: inbound.flags & 1 != 0,
                replay_window: anti_replay.then_some(window),
            }))
        }
    }
}

/// Window size as the document gives it (R30).
fn window(size: u8) -> u32 {
    match size {
        0 => DEFAULT_WINDOW,
        size => u32::from(size).max(MIN_WINDOW),
    }
}

fn address(address: &IpAddress) -> Result<IpAddr, Error> {
    let [a, b, c, d, ..] = address.bytes;
    match address.version {
        4 => Ok(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
        6 => Ok(IpAddr::V6(Ipv6Addr::from(address.bytes))),
        _ => Err(Error::Invalid("an address is neither IPv4 nor IPv6")),
    }
}

fn endpoints(tunnel: &TunnelEndAddress) -> Result<Endpoints, Error> {
    match (address(&tunnel.src_ip)?, address(&tunnel.dest_ip)?) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Ok(Endpoints::V4 { source, destination }),
        (IpAddr::V6(source), IpAddr::V6(destination)) => Ok(Endpoints::V6 { source, destination }),
        _ => Err(Error::Invalid("the tunnel's addresses are of two families")),
    }
}

fn ports(nat: &NatTraversalInfo, direction: Direction) -> Result<Ports, Error> {
    if direction == Direction::Outbound && (nat.src_port == 0 || nat.dest_port == 0) {
        return Err(Error::Invalid("a UDP port is 0"));
    }
    Ok(Ports { source: nat.src_port, destination: nat.dest_port })
}

/// What `g_ipsec_la_sa_mod` is to change.
pub(crate) fn change(input: &SaModInArgs) -> Result<Change, Error> {
    const SEQUENCE: u32 = 1 << 1;
    const WINDOW: u32 = 1 << 2;
    if let 1 | 2 = input.flags {
        // SAFETY: the flags say which field of the union is meant; every bit pattern is a value of both.
        let moved = unsafe { input.change.addr_info };
        let address = address(&moved.addr)?;
        let port = Some(moved.port).filter(|port| *port != 0);
        return Ok(if input.flags == 1 { Change::Local { address, port } } else { Change::Peer { address, port } });
    }
    if input.flags != 3 {
        return Err(Error::Invalid("an unknown modification"));
    }
    // SAFETY: as above.
    let replay = unsafe { input.change.replay };
    if replay.flags & !(SEQUENCE | WINDOW) != 0 || replay.flags == 0 {
        return Err(Error::Invalid("an unknown modification of the replay information"));
    }
    let sequence = u64::from(replay.hi_seq_num) << 32 | u64::from(replay.seq_num);
    // Without a bit map, everything up to the new number counts as seen.
    let seen = if replay.flags & WINDOW != 0 { replay.anti_replay_window_bit_map } else { u32::MAX };
    Ok(Change::Replay {
        window: (replay.flags & WINDOW != 0).then(|| window(replay.anti_replay_window_size)),
        sequence: (replay.flags & SEQUENCE != 0).then_some((sequence, seen)),
    })
}

fn c_address(address: IpAddr) -> IpAddress {
    let mut bytes = [0; 16];
    let version = match address {
        IpAddr::V4(address) => {
            bytes[..4].copy_from_slice(&address.octets());
            4
        }
        IpAddr::V6(address) => {
            bytes = address.octets();
            6
        }
    };
    IpAddress { version, bytes }
}

/// An SA without anything in it.
pub(crate) const EMPTY: Sa = Sa {
    spi: 0,
    proto: 0,
    cmn_flags: 0,
    by_direction: SaByDirection {
        outb: SaOutbound { dscp: 0, df_bit_handle: 0, dscp_handle: 0, iv: ptr::null_mut(), iv_len_bits: 0 },
    },
    crypto_params: SaCryptoParams {
        auth_algo: 0,
        auth_key: ptr::null_mut(),
        auth_key_len_bits: 0,
        cipher_algo: 0,
        cipher_key: ptr::null_mut(),
        cipher_key_len_bits: 0,
        comb_algo: 0,
        comb_key: ptr::null_mut(),
        comb_key_len_bits: 0,
        icv_len_bits: 0,
    },
    ipcomp_info: IpcompInfo { algo: 0, cpi: 0 },
    soft_kilobytes_limit: 0,
    hard_kilobytes_limit: 0,
    nat_info: NatTraversalInfo {
        dest_port: 0,
        src_port: 0,
        nat_oa_peer_addr: IpAddress { version: 0, bytes: [0; 16] },
    },
    te_addr: TunnelEndAddress {
        src_ip: IpAddress { version: 0, bytes: [0; 16] },
        dest_ip: IpAddress { version: 0, bytes: [0; 16] },
    },
};

fn bits(bytes: usize) -> u32 {
    u32::try_from(bytes * 8).unwrap_or(u32::MAX)
}

/// An SA as C reads it back: without keys and IV (R32).
pub(crate) fn c_sa(attributes: &Attributes) -> Sa {
    let mut sa = EMPTY;
    let mut set = |condition: bool, bit: u32| sa.cmn_flags |= if condition { bit } else { 0 };
    set(attributes.udp.is_some(), flag::UDP_ENCAP);
    set(attributes.lifetime != Lifetime::default(), flag::LIFETIME);
    set(attributes.mode == Mode::Transport, flag::TRANSPORT);
    set(attributes.extended_sequence, flag::ESN);
    set(matches!(attributes.mode, Mode::Tunnel(Endpoints::V6 { .. })), flag::IPV6);
    set(attributes.notify.soft_lifetime, flag::NOTIFY_LIFETIME);
    set(attributes.notify.sequence_overflow, flag::NOTIFY_OVERFLOW);
    set(attributes.notify.sequence_periodic, flag::NOTIFY_PERIODIC);
    match &attributes.rules {
        Rules::Outbound(rules) => {
            set(rules.ecn, flag::ECN);
            let (dscp_handle, dscp) = match rules.dscp {
                DscpRule::Copy => (1, 0),
                DscpRule::Clear => (2, 0),
                DscpRule::Set(dscp) => (3, dscp),
            };
            let df_bit_handle = match rules.df {
                DfRule::Copy => 1,
                DfRule::Clear => 2,
                DfRule::Set => 3,
            };
            sa.by_direction.outb = SaOutbound { dscp, df_bit_handle, dscp_handle, iv: ptr::null_mut(), iv_len_bits: 0 };
        }
        Rules::Inbound(rules) => {
            set(rules.replay_window.is_some(), flag::ANTI_REPLAY);
            sa.by_direction.inb = SaInbound {
                flags: u32::from(rules.propagate_ecn),
                // Larger windows are the extension's, and do not fit.
                anti_replay_window_size: u8::try_from(rules.replay_window.unwrap_or(0)).unwrap_or(u8::MAX),
            };
        }
    }
    sa.spi = attributes.spi.get();
    sa.proto = match attributes.protocol {
        Protocol::Esp => 50,
        Protocol::Ah => 51,
    };
    write_crypto(attributes, &mut sa.crypto_params);
    sa.soft_kilobytes_limit = attributes.lifetime.soft_kilobytes.map_or(0, NonZeroU32::get);
    sa.hard_kilobytes_limit = attributes.lifetime.hard_kilobytes.map_or(0, NonZeroU32::get);
    if let Some(ports) = attributes.udp {
        (sa.nat_info.src_port, sa.nat_info.dest_port) = (ports.source, ports.destination);
    }
    if let Mode::Tunnel(endpoints) = attributes.mode {
        let (source, destination) = match endpoints {
            Endpoints::V4 { source, destination } => (source.into(), destination.into()),
            Endpoints::V6 { source, destination } => (source.into(), destination.into()),
        };
        sa.te_addr = TunnelEndAddress { src_ip: c_address(source), dest_ip: c_address(destination) };
    }
    sa
}

fn write_crypto(attributes: &Attributes, crypto: &mut SaCryptoParams) {
    let lengths = attributes.key_lengths;
    match attributes.algorithms {
        Algorithms::Separate { cipher, integrity } => {
            crypto.auth_algo = match integrity {
                Integrity::None => 1,
                Integrity::HmacMd5 => 2,
                Integrity::HmacSha1 => 3,
                Integrity::AesXcbc => 4,
                Integrity::HmacSha256 => 5,
                Integrity::HmacSha384 => 6,
                Integrity::HmacSha512 => 7,
            };
            crypto.cipher_algo = match cipher {
                Cipher::Null => 1,
                Cipher::DesCbc => 2,
                Cipher::TripleDesCbc => 3,
                Cipher::AesCbc => 4,
                Cipher::AesCtr => 5,
            };
            crypto.auth_key_len_bits = bits(lengths.integrity);
            crypto.cipher_key_len_bits = bits(lengths.cipher);
        }
        Algorithms::Combined(combined) => {
            crypto.comb_algo = match combined {
                Combined::Ccm => 1,
                Combined::Gcm => 2,
                Combined::Gmac => 3,
            };
            crypto.comb_key_len_bits = bits(lengths.cipher);
        }
    }
    crypto.icv_len_bits = attributes.icv_len.map_or(0, |length| u8::try_from(bits(length)).unwrap_or(0));
}

/// Statistics as C reads them.
pub(crate) fn c_statistics(statistics: &Statistics) -> SaStats {
    SaStats {
        packets_processed: statistics.packets_processed,
        bytes_processed: statistics.bytes_processed,
        protocol_violation_errors: ProtocolViolationErrors {
            invalid_ipsec_pkt: statistics.invalid_ipsec_pkt,
            invalid_pad_length: statistics.invalid_pad_length,
            invalid_seq_num: statistics.invalid_seq_num,
            anti_replay_late_pkt: statistics.anti_replay_late_pkt,
            anti_replay_replay_pkt: statistics.anti_replay_replay_pkt,
            invalid_icv: statistics.invalid_icv,
            seq_num_over_flow: statistics.seq_num_over_flow,
            crypto_op_failed: statistics.crypto_op_failed,
        },
        process_errors: ProcessErrors {
            no_tail_room: statistics.no_tail_room,
            submit_to_accl_failed: statistics.submit_to_accl_failed,
        },
    }
}
