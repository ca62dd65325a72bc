//! Every size, offset, bit and value is the same in C and in Rust: the C compiler is asked for each (R10, R12 to R15).

use std::{collections::BTreeMap, fmt::Write, fs, mem::offset_of, path::Path, process::Command};

use gipsec::{api::extensions::SaOptions, types::*, values};

/// C expressions with the numbers that Rust has for them.
type Expected = BTreeMap<String, u64>;

/// The size of a structure, and the offsets of fields: those that have one name in both languages, then those that
/// have two, as `C name = Rust path`.
macro_rules! layout {
    ($expected:ident, $name:literal, $type:ty, $($field:ident)* $(; $($c:literal = $($path:ident).+),*)?) => {
        $expected.insert(format!("sizeof(struct {})", $name), size_of::<$type>() as u64);
        $($expected.insert(
            format!("offsetof(struct {}, {})", $name, stringify!($field)), offset_of!($type, $field) as u64);)*
        $($($expected.insert(
            format!("offsetof(struct {}, {})", $name, $c), offset_of!($type, $($path).+) as u64);)*)?
    };
}

#[rustfmt::skip] // a table
fn structures() -> Expected {
    let mut e = Expected::new();
    layout!(e, "g_ipsec_la_handle", Handle, handle group_handle);
    layout!(e, "g_ipsec_la_sa_handle", SaHandle, ipsec_sa_handle);
    layout!(e, "g_ipsec_la_create_group_inargs", CreateGroupInArgs, group_identity);
    layout!(e, "g_ipsec_la_create_group_outargs", CreateGroupOutArgs, g_ipsec_la_group_handle);
    layout!(e, "g_ipsec_la_open_inargs", OpenInArgs,
        pci_vendor_id device_id accl_name app_identity cb_fn cb_arg cb_arg_len);
    layout!(e, "g_ipsec_la_open_outargs", OpenOutArgs, handle);
    layout!(e, "g_ipsec_la_resp_args", ResponseArgs, cbfn cb_arg cb_arg_len);
    layout!(e, "g_ipsec_la_capabilities", Capabilities,
        num_dscp_based_queues auth_algo_caps cipher_algo_caps comb_algo_caps);
    layout!(e, "g_ipsec_cap_get_outargs", CapGetOutArgs, caps);
    layout!(e, "g_ipsec_seq_number_notification", SeqNumberNotification, handle sa_handle seq_num hi_seq_num);
    layout!(e, "g_ipsec_la_lifetime_in_bytes_notification", LifetimeInBytesNotification,
        sa_handle ipsec_lifetime_in_kbytes);
    layout!(e, "g_ipsec_la_notification_hooks", NotificationHooks,
        seq_num_overflow_fn seq_num_periodic_update_fn soft_lifetimeout_expiry_fn);
    layout!(e, "g_ipsec_la_sa_crypto_params", SaCryptoParams,
        auth_algo auth_key auth_key_len_bits cipher_algo cipher_key cipher_key_len_bits comb_algo comb_key
        comb_key_len_bits icv_len_bits);
    layout!(e, "g_ipsec_la_ipcomp_info", IpcompInfo, algo cpi);
    layout!(e, "g_ip_addr", IpAddress, version; "ipv4" = bytes, "ipv6.b_addr" = bytes, "ipv6.w_addr" = bytes);
    layout!(e, "g_ipsec_la_tunnel_end_addr", TunnelEndAddress, src_ip dest_ip);
    layout!(e, "g_ipsec_la_nat_traversal_info", NatTraversalInfo, dest_port src_port nat_oa_peer_addr);
    layout!(e, "g_ipsec_la_sa", Sa,
        spi proto cmn_flags crypto_params ipcomp_info soft_kilobytes_limit hard_kilobytes_limit nat_info te_addr;
        "outb.dscp" = by_direction.outb.dscp,
        "outb.df_bit_handle" = by_direction.outb.df_bit_handle,
        "outb.dscp_handle" = by_direction.outb.dscp_handle,
        "outb.iv" = by_direction.outb.iv,
        "outb.iv_len_bits" = by_direction.outb.iv_len_bits,
        "inb.flags" = by_direction.inb.flags,
        "inb.anti_replay_window_size" = by_direction.inb.anti_replay_window_size);
    layout!(e, "g_ipsec_la_sa_add_inargs", SaAddInArgs, dir num_sas sa_params);
    layout!(e, "g_ipsec_la_sa_add_outargs", SaAddOutArgs, result handle; "sa_handle" = handle);
    layout!(e, "g_ipsec_la_sa_mod_inargs", SaModInArgs, dir handle flags;
        "addr_info.port" = change.addr_info.port,
        "addr_info.addr" = change.addr_info.addr,
        "replay.flags" = change.replay.flags,
        "replay.anti_replay_window_size" = change.replay.anti_replay_window_size,
        "replay.anti_replay_window_bit_map" = change.replay.anti_replay_window_bit_map,
        "replay.seq_num" = change.replay.seq_num,
        "replay.hi_seq_num" = change.replay.hi_seq_num);
    layout!(e, "g_ipsec_la_sa_modify_outargs", SaModifyOutArgs, result);
    layout!(e, "g_ipsec_la_sa_del_inargs", SaDelInArgs, dir handle);
    layout!(e, "g_ipsec_la_sa_del_outargs", SaDelOutArgs, result);
    layout!(e, "g_ipsec_la_sa_stats", SaStats, packets_processed bytes_processed;
        "protocol_violation_errors.invalid_ipsec_pkt" = protocol_violation_errors.invalid_ipsec_pkt,
        "protocol_violation_errors.invalid_pad_length" = protocol_violation_errors.invalid_pad_length,
        "protocol_violation_errors.invalid_seq_num" = protocol_violation_errors.invalid_seq_num,
        "protocol_violation_errors.anti_replay_late_pkt" = protocol_violation_errors.anti_replay_late_pkt,
        "protocol_violation_errors.anti_replay_replay_pkt" = protocol_violation_errors.anti_replay_replay_pkt,
        "protocol_violation_errors.invalid_icv" = protocol_violation_errors.invalid_icv,
        "protocol_violation_errors.seq_num_over_flow" = protocol_violation_errors.seq_num_over_flow,
        "protocol_violation_errors.crypto_op_failed" = protocol_violation_errors.crypto_op_failed,
        "process_errors.no_tail_room" = process_errors.no_tail_room,
        "process_errors.submit_to_accl_failed" = process_errors.submit_to_accl_failed);
    layout!(e, "g_ipsec_la_sa_get_outargs", SaGetOutArgs, result sa_params stats handle);
    layout!(e, "g_ipsec_la_sa_get_inargs", SaGetInArgs, dir handle operation num_sas flags);
    layout!(e, "g_ipsec_la_data", Data, buffer length);
    layout!(e, "g_ipsec_la_packet", Packet, num_sg data);
    layout!(e, "g_ipsec_la_packet_outargs", PacketOutArgs, result num_packets results);
    layout!(e, "g_ipsec_la_available_entry", AvailableEntry, name instance_id);
    layout!(e, "g_ipsec_la_active_entry", ActiveEntry,
        name instance_id mode app_identity group_identity bytes_in bytes_out packets_in packets_out sas_created
        sas_deleted sas_modified active_sas);
    layout!(e, "g_ipsec_la_available_list_get_inargs", AvailableListGetInArgs, start max_entries);
    layout!(e, "g_ipsec_la_available_list_get_outargs", AvailableListGetOutArgs, total num_entries entries);
    layout!(e, "g_ipsec_la_active_list_get_inargs", ActiveListGetInArgs, start max_entries);
    layout!(e, "g_ipsec_la_active_list_get_outargs", ActiveListGetOutArgs, total num_entries entries);
    layout!(e, "g_ipsec_la_ext_sa_options", SaOptions,
        size anti_replay_window_size seq_num_overflow_margin seq_num_periodic_interval);
    e
}

/// Bit-fields of the capabilities in the order of Rust's bits, word by word.
#[rustfmt::skip] // a table
const BITS: &[(&str, usize, &[&str])] = &[
    ("", offset_of!(Capabilities, features), &[
        "sg_features", "ah_protocol", "esp_protocol", "wesp_protocol", "ipcomp_protocol", "multi_sec_protocol",
        "udp_encap", "esn", "tfc", "ecn", "df", "anti_replay_check", "ipv6_support", "soft_lifetime_bytes_notify",
        "seqnum_overflow_notify", "seqnum_periodic_notify"]),
    ("auth_algo_caps.", offset_of!(Capabilities, auth_algo_caps),
        &["md5", "sha1", "sha2", "aes_xcbc", "none", "des"]),
    ("cipher_algo_caps.", offset_of!(Capabilities, cipher_algo_caps), &["des", "des_c", "aes", "aes_ctr", "null"]),
    ("comb_algo_caps.", offset_of!(Capabilities, comb_algo_caps), &["aes_ccm", "aes_gcm", "aes_gmac"]),
];

/// Second spellings (R14), each with its name in [`values::ALL`].
#[rustfmt::skip] // a table
const ALIASES: &[(&str, &str)] = &[
    ("G_IPSEC_LA_SET_GET_NEXT_N", "SA_GET_NEXT_N"),
    ("NF_IPSEC_INB_SA_PROPOGATE_ECN", "INB_SA_PROPOGATE_ECN"),
    ("G_IPSEC_INB_SA_PROPOGATE_ECN", "INB_SA_PROPOGATE_ECN"),
    ("G_IPSEC_LA_SA_INBOUND", "IPSEC_INBOUND"),
    ("G_IPSEC_LA_SA_OUTBOUND", "IPSEC_OUTBOUND"),
    ("G_IPSEC_DSCP_COPY", "DSCP_COPY"), ("G_IPSEC_DSCP_CLEAR", "DSCP_CLEAR"), ("G_IPSEC_DSCP_SET", "DSCP_SET"),
    ("G_IPSEC_DF_COPY", "DF_COPY"), ("G_IPSEC_DF_CLEAR", "DF_CLEAR"), ("G_IPSEC_DF_SET", "DF_SET"),
    ("G_IPSEC_LA_SA_USE_IPv6", "SA_USE_IPV6"),
    ("G_IPSEC_LA_AUTH_ALGO_NONE", "AUTH_ALG_NONE"),
    ("G_IPSEC_LA_AUTH_ALGO_MD5_HMAC", "AUTH_ALG_MD5_HMAC"),
    ("G_IPSEC_LA_AUTH_ALGO_SHA1_HMAC", "AUTH_ALG_SHA1_HMAC"),
    ("G_IPSEC_LA_AUTH_ALGO_AESXCBC", "AUTH_AESXCBC"),
    ("G_IPSEC_LA_AUTH_ALGO_SHA2_256_HMAC", "AUTH_ALG_SHA2_256_HMAC"),
    ("G_IPSEC_LA_AUTH_ALGO_SHA2_384_HMAC", "AUTH_ALG_SHA2_384_HMAC"),
    ("G_IPSEC_LA_AUTH_ALGO_SHA2_512_HMAC", "AUTH_ALG_SHA2_512_HMAC"),
    ("G_IPSEC_LA_ALGO_DES_CBC", "ALG_DES_CBC"), ("G_IPSEC_LA_ALGO_3DES_CBC", "ALG_3DES_CBC"),
    ("G_IPSEC_LA_ALGO_AES_CBC", "ALG_AES_CBC"), ("G_IPSEC_LA_ALGO_AES_CTR", "ALG_AES_CTR"),
];

/// Values whose C name is among [`ALIASES`] alone.
fn is_spelled_otherwise(name: &str) -> bool {
    matches!(name, "INB_SA_PROPOGATE_ECN" | "SA_USE_IPV6")
}

/// A C program that prints every expression with its value, and every bit-field with its bit.
fn program(expressions: &Expected) -> String {
    let mut text = String::from(
        "#include <stddef.h>\n#include <stdio.h>\n#include <string.h>\n#include \"g_ipsec_la_ext.h\"\nint main(void) {\n",
    );
    for expression in expressions.keys() {
        writeln!(text, "  printf(\"{expression}=%llu\\n\", (unsigned long long)({expression}));").unwrap();
    }
    for (word, _, fields) in BITS {
        for field in *fields {
            writeln!(
                text,
                "  {{ g_ipsec_la_capabilities c; unsigned char b[sizeof c]; unsigned i; memset(&c, 0, sizeof c);\n\
                 \x20   c.{word}{field} = 1; memcpy(b, &c, sizeof c);\n\
                 \x20   for (i = 0; i < 8 * sizeof c; i++) if (b[i / 8] >> i % 8 & 1) printf(\"bit {word}{field}=%u\\n\", i); }}"
            )
            .unwrap();
        }
    }
    text + "  return 0;\n}\n"
}

/// Compiles and runs `text`; what it printed, as numbers.
fn ask_c(text: &str) -> Expected {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, binary) = (directory.join("layout.c"), directory.join("layout"));
    fs::write(&source, text).unwrap();
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let compiled = Command::new(compiler)
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .args([&include, &source])
        .arg("-o")
        .arg(&binary)
        .status()
        .unwrap();
    assert!(compiled.success());
    let output = Command::new(binary).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| {
            let (name, value) = line.rsplit_once('=').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn c_and_rust_agree() {
    let mut expected = structures();
    for (name, value) in values::ALL.iter().filter(|(name, _)| !is_spelled_otherwise(name)) {
        expected.insert(format!("G_IPSEC_LA_{name}"), u64::from(*value));
    }
    for (alias, name) in ALIASES {
        let value = values::ALL.iter().find(|(known, _)| known == name).unwrap().1;
        expected.insert((*alias).to_owned(), u64::from(value));
    }
    let found = ask_c(&program(&expected));
    for (word, offset, fields) in BITS {
        for (bit, field) in fields.iter().enumerate() {
            expected.insert(format!("bit {word}{field}"), (offset * 8 + bit) as u64);
        }
    }
    assert_eq!(found, expected);
    assert!(found.len() > 250, "only {} comparisons", found.len());
}

/// R10, literally.
#[test]
#[rustfmt::skip] // a table
fn sizes_are_those_of_the_resolutions() {
    let sizes = [
        size_of::<Handle>(), size_of::<SaHandle>(), size_of::<CreateGroupInArgs>(), size_of::<CreateGroupOutArgs>(),
        size_of::<OpenInArgs>(), size_of::<OpenOutArgs>(), size_of::<ResponseArgs>(), size_of::<Capabilities>(),
        size_of::<CapGetOutArgs>(), size_of::<SeqNumberNotification>(), size_of::<LifetimeInBytesNotification>(),
        size_of::<NotificationHooks>(), size_of::<SaCryptoParams>(), size_of::<IpcompInfo>(), size_of::<IpAddress>(),
        size_of::<TunnelEndAddress>(), size_of::<NatTraversalInfo>(), size_of::<Sa>(), size_of::<SaAddInArgs>(),
        size_of::<SaAddOutArgs>(), size_of::<SaModInArgs>(), size_of::<SaModifyOutArgs>(), size_of::<SaDelInArgs>(),
        size_of::<SaDelOutArgs>(), size_of::<SaStats>(), size_of::<SaGetOutArgs>(), size_of::<SaGetInArgs>(),
        size_of::<Data>(), size_of::<Packet>(),
    ];
    assert_eq!(sizes, [
        64, 32, 8, 32, 48, 8, 24, 16, 16, 24, 36, 24, 56, 8, 20, 40, 24, 184, 16, 68, 48, 4, 16, 4, 56, 32, 32, 16, 16,
    ]);
}
