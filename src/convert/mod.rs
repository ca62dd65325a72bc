//! SAs of the document turned into typed values ([`back`]: and back). Every field is checked; what cannot be is an error that says
//! which field (R11, R16 to R18, R28 to R34, R37).

mod back;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::{NonZeroU16, NonZeroU32},
};

use gipsec_accelerator::{
    Error,
    engine::{
        Algorithms, Attributes, BundleEntry, Change, Cipher, Combined, Compression, CompressionAlgorithm,
        DEFAULT_WINDOW, DfRule, Direction, DscpRule, Endpoints, FlowPadding, InboundRules, Integrity, Intervals, Keys,
        Lifetime, MAX_WINDOW, MIN_WINDOW, Mode, Notify, OutboundRules, Parameters, Ports, Protocol, Rules,
    },
};
use zeroize::Zeroizing;

use crate::{
    api::extensions::G_IPSEC_LA_EXT_PROTOCOL_WESP as PROTOCOL_WESP,
    types::{IpAddress, NatTraversalInfo, Sa, SaCryptoParams, SaModInArgs, TunnelEndAddress},
    values as value,
};
pub(crate) use back::{EMPTY, c_sa, c_statistics};

/// All bits of `enum g_ipsec_la_sa_flags`.
const ALL_SA_FLAGS: u32 = 0x7fe;

/// SA flags that IPComp has no use for.
const KEYED_SA_FLAGS: u32 = value::SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL
    | value::SA_DO_ANTI_REPLAY_CHECK
    | value::SA_USE_ESN
    | value::NOTIFY_SEQNUM_OVERFLOW
    | value::NOTIFY_SEQNUM_PERIODIC;

/// What the extension adds to an SA.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Anti-replay window in packets.
    pub window: Option<u32>,
    /// Notification intervals.
    pub intervals: Intervals,
    /// An integrity algorithm that the document has no number for.
    pub integrity: Option<Integrity>,
    /// A combined mode algorithm that the document has no number for.
    pub combined: Option<Combined>,
    /// Length of the ICV in bits.
    pub icv_len_bits: Option<u32>,
    /// The IV is the sequence number.
    pub implicit_iv: bool,
    /// Copy the flow label.
    pub copy_flow_label: bool,
    /// Check outer addresses.
    pub check_outer: bool,
    /// Asynchronous calls may be processed in any order.
    pub any_order: bool,
    /// Traffic flow padding.
    pub flow_padding: FlowPadding,
}

impl Options {
    /// Whether they say anything that IPComp has no use for.
    fn are_keyed(&self) -> bool {
        self.integrity.is_some()
            || self.combined.is_some()
            || self.icv_len_bits.is_some()
            || self.implicit_iv
            || self.window.is_some()
            || self.flow_padding != FlowPadding::default()
    }
}

/// An `enum g_ipsec_la_sa_direction`.
pub(crate) fn direction(value: u32) -> Result<Direction, Error> {
    match value {
        value::IPSEC_INBOUND => Ok(Direction::Inbound),
        value::IPSEC_OUTBOUND => Ok(Direction::Outbound),
        _ => Err(Error::Invalid("an unknown direction")),
    }
}

/// Reads one entry of an SA.
///
/// # Safety
/// Pointers in `sa` are NULL or valid for their lengths.
pub(crate) unsafe fn entry(sa: &Sa, direction: Direction, options: &Options) -> Result<BundleEntry, Error> {
    let flags = sa.cmn_flags;
    if flags & !ALL_SA_FLAGS != 0 {
        return Err(Error::Invalid("an unknown SA flag"));
    }
    // SAFETY: this function's contract.
    let (algorithms, keys) = unsafe { algorithms(&sa.crypto_params, options) }?;
    // SAFETY: the same.
    let rules = unsafe { rules(sa, direction, options) }?;
    let parameters = if sa.proto == value::PROTOCOL_IPCOMP {
        if algorithms != NO_ALGORITHMS || keys.lengths() != Keys::default().lengths() || options.are_keyed() {
            return Err(Error::Invalid("IPComp takes neither keys nor what goes with them"));
        }
        Parameters::Compression(compression(sa, rules)?)
    } else {
        Parameters::Ipsec(attributes(sa, direction, algorithms, &keys, rules, options)?)
    };
    Ok(BundleEntry { parameters, keys })
}

fn attributes(
    sa: &Sa,
    direction: Direction,
    algorithms: Algorithms,
    keys: &Keys,
    rules: Rules,
    options: &Options,
) -> Result<Attributes, Error> {
    if sa.ipcomp_info.algo != 0 {
        return Err(Error::Invalid("compression belongs to an entry of its own, with the protocol IPCOMP"));
    }
    let is = |bit: u32| sa.cmn_flags & bit != 0;
    let icv_len_bits = options.icv_len_bits.unwrap_or(u32::from(sa.crypto_params.icv_len_bits));
    Ok(Attributes {
        spi: NonZeroU32::new(sa.spi).ok_or(Error::Invalid("the SPI is 0"))?,
        protocol: match sa.proto {
            value::PROTOCOL_ESP | PROTOCOL_WESP => Protocol::Esp,
            value::PROTOCOL_AH => Protocol::Ah,
            _ => return Err(Error::Invalid("the protocol is none of ESP, AH, IPCOMP and WESP")),
        },
        wrapped: sa.proto == PROTOCOL_WESP,
        mode: mode(sa)?,
        algorithms,
        key_lengths: keys.lengths(),
        icv_len: Some(bytes(icv_len_bits)?).filter(|length| *length != 0),
        implicit_iv: options.implicit_iv,
        extended_sequence: is(value::SA_USE_ESN),
        udp: if is(value::SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL) { Some(ports(&sa.nat_info, direction)?) } else { None },
        lifetime: lifetime(sa),
        notify: notify(sa),
        intervals: options.intervals,
        rules,
    })
}

fn compression(sa: &Sa, rules: Rules) -> Result<Compression, Error> {
    if sa.cmn_flags & KEYED_SA_FLAGS != 0 {
        return Err(Error::Invalid("IPComp has no sequence numbers, and is not encapsulated in UDP"));
    }
    // The numbers that RFC 3173 section 3.3 sets aside for algorithms: IANA's for the two.
    let (algorithm, well_known) = match sa.ipcomp_info.algo {
        value::IPCOMP_DEFLATE => (CompressionAlgorithm::Deflate, 2),
        value::IPCOMP_LZS => (CompressionAlgorithm::Lzs, 3),
        _ => return Err(Error::Invalid("an unknown compression algorithm")),
    };
    let cpi = u16::try_from(sa.ipcomp_info.cpi).map_err(|_| Error::Invalid("the CPI exceeds 65,535"))?;
    let cpi = NonZeroU16::new(cpi).or(NonZeroU16::new(well_known)).unwrap_or(NonZeroU16::MIN);
    // Read back, the SPI is the CPI.
    if sa.spi != 0 && sa.spi != u32::from(cpi.get()) {
        return Err(Error::Invalid("IPComp has no SPI: its number is the CPI in ipcomp_info"));
    }
    Ok(Compression { algorithm, cpi, mode: mode(sa)?, lifetime: lifetime(sa), notify: notify(sa), rules })
}

fn mode(sa: &Sa) -> Result<Mode, Error> {
    if sa.cmn_flags & value::SA_ENCAP_TRANSPORT_MODE != 0 {
        Ok(Mode::Transport)
    } else {
        Ok(Mode::Tunnel(endpoints(&sa.te_addr)?))
    }
}

fn lifetime(sa: &Sa) -> Lifetime {
    if sa.cmn_flags & value::SA_LIFETIME_IN_KB == 0 {
        return Lifetime::default();
    }
    Lifetime {
        soft_kilobytes: NonZeroU32::new(sa.soft_kilobytes_limit),
        hard_kilobytes: NonZeroU32::new(sa.hard_kilobytes_limit),
    }
}

fn notify(sa: &Sa) -> Notify {
    let is = |bit: u32| sa.cmn_flags & bit != 0;
    Notify {
        soft_lifetime: is(value::NOTIFY_LIFETIME_KB_EXPIRY),
        sequence_overflow: is(value::NOTIFY_SEQNUM_OVERFLOW),
        sequence_periodic: is(value::NOTIFY_SEQNUM_PERIODIC),
    }
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

/// What an SA without algorithms has.
const NO_ALGORITHMS: Algorithms = Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::None };

/// # Safety
/// Key pointers are NULL or valid for their lengths.
unsafe fn algorithms(crypto: &SaCryptoParams, options: &Options) -> Result<(Algorithms, Keys), Error> {
    const TWICE: Error = Error::Invalid("an algorithm of the extension beside one of the document");
    let integrity = match crypto.auth_algo {
        0 if options.integrity.is_some() => options.integrity.unwrap_or(Integrity::None),
        _ if options.integrity.is_some() => return Err(TWICE),
        0 | value::AUTH_ALG_NONE => Integrity::None,
        value::AUTH_ALG_MD5_HMAC => Integrity::HmacMd5,
        value::AUTH_ALG_SHA1_HMAC => Integrity::HmacSha1,
        value::AUTH_AESXCBC => Integrity::AesXcbc,
        value::AUTH_ALG_SHA2_256_HMAC => Integrity::HmacSha256,
        value::AUTH_ALG_SHA2_384_HMAC => Integrity::HmacSha384,
        value::AUTH_ALG_SHA2_512_HMAC => Integrity::HmacSha512,
        _ => return Err(Error::Invalid("an unknown integrity algorithm")),
    };
    let cipher = match crypto.cipher_algo {
        0 | value::CIPHER_ALGO_NULL => Cipher::Null,
        value::ALG_DES_CBC => Cipher::DesCbc,
        value::ALG_3DES_CBC => Cipher::TripleDesCbc,
        value::ALG_AES_CBC => Cipher::AesCbc,
        value::ALG_AES_CTR => Cipher::AesCtr,
        _ => return Err(Error::Invalid("an unknown encryption algorithm")),
    };
    let combined = match crypto.comb_algo {
        0 => options.combined,
        _ if options.combined.is_some() => return Err(TWICE),
        value::COMB_AES_CCM => Some(Combined::Ccm),
        value::COMB_AES_GCM => Some(Combined::Gcm),
        value::COMB_AES_GMAC => Some(Combined::Gmac),
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
unsafe fn rules(sa: &Sa, direction: Direction, options: &Options) -> Result<Rules, Error> {
    let is = |bit: u32| sa.cmn_flags & bit != 0;
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
                    0 | value::DSCP_COPY => DscpRule::Copy,
                    value::DSCP_CLEAR => DscpRule::Clear,
                    value::DSCP_SET => DscpRule::Set(outbound.dscp),
                    _ => return Err(Error::Invalid("an unknown DSCP handling")),
                },
                df: match outbound.df_bit_handle {
                    0 | value::DF_COPY => DfRule::Copy,
                    value::DF_CLEAR => DfRule::Clear,
                    value::DF_SET => DfRule::Set,
                    _ => return Err(Error::Invalid("an unknown DF bit handling")),
                },
                ecn: is(value::SA_USE_ECN),
                first_iv,
                copy_flow_label: options.copy_flow_label,
                flow_padding: options.flow_padding,
            }))
        }
        Direction::Inbound => {
            // SAFETY: as above.
            let inbound = unsafe { sa.by_direction.inb };
            if inbound.flags & !value::INB_SA_PROPOGATE_ECN != 0 {
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
                propagate_ecn: inbound.flags & value::INB_SA_PROPOGATE_ECN != 0,
                replay_window: is(value::SA_DO_ANTI_REPLAY_CHECK).then_some(window),
                check_outer: options.check_outer,
                peer_original: if is(value::SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL) {
                    original(&sa.nat_info)?
                } else {
                    None
                },
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
        value::IPV4 => Ok(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
        value::IPV6 => Ok(IpAddr::V6(Ipv6Addr::from(address.bytes))),
        _ => Err(Error::Invalid("an address (te_addr, nat_oa_peer_addr or addr) is neither IPv4 nor IPv6")),
    }
}

fn endpoints(tunnel: &TunnelEndAddress) -> Result<Endpoints, Error> {
    match (address(&tunnel.src_ip)?, address(&tunnel.dest_ip)?) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Ok(Endpoints::V4 { source, destination }),
        (IpAddr::V6(source), IpAddr::V6(destination)) => Ok(Endpoints::V6 { source, destination }),
        _ => Err(Error::Invalid("the tunnel's addresses are of two families")),
    }
}

/// The peer's original address, unless it is unset.
fn original(nat: &NatTraversalInfo) -> Result<Option<IpAddr>, Error> {
    match nat.nat_oa_peer_addr.version {
        0 => Ok(None),
        _ => address(&nat.nat_oa_peer_addr).map(Some),
    }
}

fn ports(nat: &NatTraversalInfo, direction: Direction) -> Result<Ports, Error> {
    original(nat)?;
    if direction == Direction::Outbound && (nat.src_port == 0 || nat.dest_port == 0) {
        return Err(Error::Invalid("a UDP port is 0"));
    }
    Ok(Ports { source: nat.src_port, destination: nat.dest_port })
}

/// What `g_ipsec_la_sa_mod` is to change.
pub(crate) fn change(input: &SaModInArgs) -> Result<Change, Error> {
    const SEQUENCE: u32 = value::SA_MODIFY_SEQ_NUM;
    const WINDOW: u32 = value::SA_MODIFY_ANTI_REPLAY_WINDOW;
    if let value::SA_MODIFY_LOCAL_GW_INFO | value::SA_MODIFY_PEER_GW_INFO = input.flags {
        // SAFETY: the flags say which field of the union is meant; every bit pattern is a value of both.
        let moved = unsafe { input.change.addr_info };
        let address = address(&moved.addr)?;
        let port = Some(moved.port).filter(|port| *port != 0);
        return Ok(if input.flags == value::SA_MODIFY_LOCAL_GW_INFO {
            Change::Local { address, port }
        } else {
            Change::Peer { address, port }
        });
    }
    if input.flags != value::SA_MODIFY_REPLAY_INFO {
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
