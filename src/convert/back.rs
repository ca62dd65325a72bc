//! Typed values written back as the document's structures.

use std::{net::IpAddr, num::NonZeroU32, ptr};

use gipsec_accelerator::engine::{
    Algorithms, Attributes, Cipher, Combined, Compression, CompressionAlgorithm, DfRule, DscpRule, Integrity, Lifetime,
    Mode, Parameters, Protocol, Rules, Statistics,
};

use crate::{
    api::extensions::G_IPSEC_LA_EXT_PROTOCOL_WESP as PROTOCOL_WESP,
    types::{
        IpAddress, IpcompInfo, NatTraversalInfo, ProcessErrors, ProtocolViolationErrors, Sa, SaByDirection,
        SaCryptoParams, SaInbound, SaOutbound, SaStats, TunnelEndAddress,
    },
    values as value,
};

fn c_address(address: IpAddr) -> IpAddress {
    let mut bytes = [0; 16];
    let version = match address {
        IpAddr::V4(address) => {
            bytes[..4].copy_from_slice(&address.octets());
            value::IPV4
        }
        IpAddr::V6(address) => {
            bytes = address.octets();
            value::IPV6
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

/// An entry of an SA as C reads it back: with the flags that it was added with, without keys and IV (R32).
pub(crate) fn c_sa(parameters: &Parameters, flags: u32) -> Sa {
    let mut sa = Sa { cmn_flags: flags, ..EMPTY };
    match parameters.rules() {
        Rules::Outbound(rules) => {
            let (dscp_handle, dscp) = match rules.dscp {
                DscpRule::Copy => (value::DSCP_COPY, 0),
                DscpRule::Clear => (value::DSCP_CLEAR, 0),
                DscpRule::Set(dscp) => (value::DSCP_SET, dscp),
            };
            let df_bit_handle = match rules.df {
                DfRule::Copy => value::DF_COPY,
                DfRule::Clear => value::DF_CLEAR,
                DfRule::Set => value::DF_SET,
            };
            sa.by_direction.outb = SaOutbound { dscp, df_bit_handle, dscp_handle, iv: ptr::null_mut(), iv_len_bits: 0 };
        }
        Rules::Inbound(rules) => {
            sa.by_direction.inb = SaInbound {
                flags: u32::from(rules.propagate_ecn),
                // Larger windows are the extension's, and do not fit.
                anti_replay_window_size: u8::try_from(rules.replay_window.unwrap_or(0)).unwrap_or(u8::MAX),
            };
            if let Some(original) = rules.peer_original {
                sa.nat_info.nat_oa_peer_addr = c_address(original);
            }
        }
    }
    match parameters {
        Parameters::Ipsec(attributes) => write_attributes(attributes, &mut sa),
        Parameters::Compression(compression) => write_compression(compression, &mut sa),
    }
    if let Mode::Tunnel(endpoints) = parameters.mode() {
        let (source, destination) = endpoints.addresses();
        sa.te_addr = TunnelEndAddress { src_ip: c_address(source), dest_ip: c_address(destination) };
    }
    sa
}

fn write_attributes(attributes: &Attributes, sa: &mut Sa) {
    sa.spi = attributes.spi.get();
    sa.proto = match (attributes.protocol, attributes.wrapped) {
        (Protocol::Esp, false) => value::PROTOCOL_ESP,
        (Protocol::Esp, true) => PROTOCOL_WESP,
        (Protocol::Ah, _) => value::PROTOCOL_AH,
    };
    write_crypto(attributes, &mut sa.crypto_params);
    write_lifetime(attributes.lifetime, sa);
    if let Some(ports) = attributes.udp {
        (sa.nat_info.src_port, sa.nat_info.dest_port) = (ports.source, ports.destination);
    }
}

fn write_compression(compression: &Compression, sa: &mut Sa) {
    let cpi = u32::from(compression.cpi.get());
    let algo = match compression.algorithm {
        CompressionAlgorithm::Deflate => value::IPCOMP_DEFLATE,
        CompressionAlgorithm::Lzs => value::IPCOMP_LZS,
    };
    // A row whose SPI is 0 is empty (R32).
    sa.spi = cpi;
    sa.proto = value::PROTOCOL_IPCOMP;
    sa.ipcomp_info = IpcompInfo { algo, cpi };
    write_lifetime(compression.lifetime, sa);
}

fn write_lifetime(lifetime: Lifetime, sa: &mut Sa) {
    sa.soft_kilobytes_limit = lifetime.soft_kilobytes.map_or(0, NonZeroU32::get);
    sa.hard_kilobytes_limit = lifetime.hard_kilobytes.map_or(0, NonZeroU32::get);
}

fn write_crypto(attributes: &Attributes, crypto: &mut SaCryptoParams) {
    let lengths = attributes.key_lengths;
    match attributes.algorithms {
        Algorithms::Separate { cipher, integrity } => {
            crypto.auth_algo = match integrity {
                Integrity::None => value::AUTH_ALG_NONE,
                Integrity::HmacMd5 => value::AUTH_ALG_MD5_HMAC,
                Integrity::HmacSha1 => value::AUTH_ALG_SHA1_HMAC,
                Integrity::AesXcbc => value::AUTH_AESXCBC,
                Integrity::HmacSha256 => value::AUTH_ALG_SHA2_256_HMAC,
                Integrity::HmacSha384 => value::AUTH_ALG_SHA2_384_HMAC,
                Integrity::HmacSha512 => value::AUTH_ALG_SHA2_512_HMAC,
                // The extension's: the document has no number for it.
                Integrity::AesCmac => 0,
            };
            crypto.cipher_algo = match cipher {
                Cipher::Null => value::CIPHER_ALGO_NULL,
                Cipher::DesCbc => value::ALG_DES_CBC,
                Cipher::TripleDesCbc => value::ALG_3DES_CBC,
                Cipher::AesCbc => value::ALG_AES_CBC,
                Cipher::AesCtr => value::ALG_AES_CTR,
            };
            crypto.auth_key_len_bits = bits(lengths.integrity);
            crypto.cipher_key_len_bits = bits(lengths.cipher);
        }
        Algorithms::Combined(combined) => {
            crypto.comb_algo = match combined {
                Combined::Ccm => value::COMB_AES_CCM,
                Combined::Gcm => value::COMB_AES_GCM,
                Combined::Gmac => value::COMB_AES_GMAC,
                Combined::ChaCha20Poly1305 => 0,
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
