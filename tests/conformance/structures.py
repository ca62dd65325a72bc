"""The structures of g_ipsec_la.h and g_ipsec_la_ext.h, as ctypes has them."""

import ctypes
import ipaddress
from ctypes import CFUNCTYPE, POINTER, Structure, Union, c_char_p, c_int32, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p


class IpAddress(Structure):
    class Value(Union):
        _fields_ = [("ipv4", c_uint32), ("ipv6", c_uint8 * 16), ("words", c_uint32 * 4)]

    _anonymous_ = ["value"]
    _fields_ = [("version", c_uint32), ("value", Value)]

    @classmethod
    def of(cls, text):
        address = ipaddress.ip_address(text)
        value = cls(version=address.version)
        ctypes.memmove(ctypes.addressof(value) + 4, address.packed, len(address.packed))
        return value


class TunnelEndAddr(Structure):
    _fields_ = [("src_ip", IpAddress), ("dest_ip", IpAddress)]


class NatTraversalInfo(Structure):
    _fields_ = [("dest_port", c_uint16), ("src_port", c_uint16), ("nat_oa_peer_addr", IpAddress)]


class CryptoParams(Structure):
    _fields_ = [
        ("auth_algo", c_uint32),
        ("auth_key", c_void_p),
        ("auth_key_len_bits", c_uint32),
        ("cipher_algo", c_uint32),
        ("cipher_key", c_void_p),
        ("cipher_key_len_bits", c_uint32),
        ("comb_algo", c_uint32),
        ("comb_key", c_void_p),
        ("comb_key_len_bits", c_uint32),
        ("icv_len_bits", c_uint8),
    ]


class IpcompInfo(Structure):
    _fields_ = [("algo", c_uint32), ("cpi", c_uint32)]


class SaParams(Structure):
    class Direction(Union):
        class Outb(Structure):
            _fields_ = [
                ("dscp", c_uint8),
                ("df_bit_handle", c_uint32),
                ("dscp_handle", c_uint32),
                ("iv", c_void_p),
                ("iv_len_bits", c_uint8),
            ]

        class Inb(Structure):
            _fields_ = [("flags", c_uint32), ("anti_replay_window_size", c_uint8)]

        _fields_ = [("outb", Outb), ("inb", Inb)]

    _anonymous_ = ["direction"]
    _fields_ = [
        ("spi", c_uint32),
        ("proto", c_uint8),
        ("cmn_flags", c_uint32),
        ("direction", Direction),
        ("crypto_params", CryptoParams),
        ("ipcomp_info", IpcompInfo),
        ("soft_kilobytes_limit", c_uint32),
        ("hard_kilobytes_limit", c_uint32),
        ("nat_info", NatTraversalInfo),
        ("te_addr", TunnelEndAddr),
    ]


class Handle(Structure):
    _fields_ = [("handle", c_uint32 * 8), ("group_handle", c_uint32 * 8)]


class SaHandle(Structure):
    _fields_ = [("ipsec_sa_handle", c_uint32 * 8)]


class OpenIn(Structure):
    _fields_ = [
        ("pci_vendor_id", c_uint16),
        ("device_id", c_uint16),
        ("accl_name", c_char_p),
        ("app_identity", c_char_p),
        ("cb_fn", c_void_p),
        ("cb_arg", c_void_p),
        ("cb_arg_len", c_int32),
    ]


class OpenOut(Structure):
    _fields_ = [("handle", POINTER(Handle))]


class CreateGroupIn(Structure):
    _fields_ = [("group_identity", c_char_p)]


class CreateGroupOut(Structure):
    _fields_ = [("g_ipsec_la_group_handle", c_uint32 * 8)]


class RespArgs(Structure):
    _fields_ = [("cbfn", c_void_p), ("cb_arg", c_void_p), ("cb_arg_len", c_int32)]


class Capabilities(Structure):
    """Bit-fields are whole numbers here; BITS names their bits, from the lowest."""

    BITS = {
        "features": (
            "sg_features", "ah_protocol", "esp_protocol", "wesp_protocol", "ipcomp_protocol", "multi_sec_protocol",
            "udp_encap", "esn", "tfc", "ecn", "df", "anti_replay_check", "ipv6_support", "soft_lifetime_bytes_notify",
            "seqnum_overflow_notify", "seqnum_periodic_notify",
        ),
        "auth_algo_caps": ("md5", "sha1", "sha2", "aes_xcbc", "none", "des"),
        "cipher_algo_caps": ("des", "des_c", "aes", "aes_ctr", "null"),
        "comb_algo_caps": ("aes_ccm", "aes_gcm", "aes_gmac"),
    }
    _fields_ = [
        ("features", c_uint16),
        ("num_dscp_based_queues", c_uint8),
        ("auth_algo_caps", c_uint32),
        ("cipher_algo_caps", c_uint32),
        ("comb_algo_caps", c_uint32),
    ]

    def names(self):
        """What is set, as the header names it: those of a structure of its own behind the structure's name and a dot."""
        for field, bits in self.BITS.items():
            value = getattr(self, field)
            assert value >> len(bits) == 0, f"{field} has a bit without a name"
            for number, bit in enumerate(bits):
                if value >> number & 1:
                    yield bit if field == "features" else f"{field}.{bit}"
        if self.num_dscp_based_queues:
            yield "num_dscp_based_queues"


class SaAddIn(Structure):
    _fields_ = [("dir", c_uint32), ("num_sas", c_uint8), ("sa_params", POINTER(SaParams))]


class SaAddOut(Structure):
    class Value(Union):
        _fields_ = [("handle", Handle), ("sa_handle", SaHandle)]

    _anonymous_ = ["value"]
    _fields_ = [("result", c_int32), ("value", Value)]


class SaOptions(Structure):
    """g_ipsec_la_ext_sa_options."""

    _fields_ = [
        ("size", c_uint32),
        ("anti_replay_window_size", c_uint32),
        ("seq_num_overflow_margin", c_uint64),
        ("seq_num_periodic_interval", c_uint64),
        ("flags", c_uint32),
        ("auth_algo", c_uint32),
        ("comb_algo", c_uint32),
        ("icv_len_bits", c_uint32),
        ("tfc_pad_to", c_uint32),
        ("tfc_pad_multiple", c_uint32),
    ]


class SaModIn(Structure):
    class Change(Union):
        class AddrInfo(Structure):
            _fields_ = [("port", c_uint16), ("addr", IpAddress)]

        class Replay(Structure):
            _fields_ = [
                ("flags", c_uint32),
                ("anti_replay_window_size", c_uint8),
                ("anti_replay_window_bit_map", c_uint32),
                ("seq_num", c_uint32),
                ("hi_seq_num", c_uint32),
            ]

        _fields_ = [("addr_info", AddrInfo), ("replay", Replay)]

    _anonymous_ = ["change"]
    _fields_ = [("dir", c_uint32), ("handle", POINTER(SaHandle)), ("flags", c_uint32), ("change", Change)]


class ResultOut(Structure):
    """g_ipsec_la_sa_modify_outargs and g_ipsec_la_sa_del_outargs."""

    _fields_ = [("result", c_int32)]


class SaDelIn(Structure):
    _fields_ = [("dir", c_uint32), ("handle", POINTER(SaHandle))]


class Stats(Structure):
    REFUSALS = (
        "invalid_ipsec_pkt",
        "invalid_pad_length",
        "invalid_seq_num",
        "anti_replay_late_pkt",
        "anti_replay_replay_pkt",
        "invalid_icv",
        "seq_num_over_flow",
        "crypto_op_failed",
        "no_tail_room",
        "submit_to_accl_failed",
    )
    _fields_ = [("packets_processed", c_uint64), ("bytes_processed", c_uint64)] + [(name, c_uint32) for name in REFUSALS]

    def refusals(self):
        """The counters of refused packets that are not 0."""
        return {name: getattr(self, name) for name in self.REFUSALS if getattr(self, name)}


class SaGetIn(Structure):
    _fields_ = [
        ("dir", c_uint32),
        ("handle", POINTER(SaHandle)),
        ("operation", c_uint32),
        ("num_sas", c_uint32),
        ("flags", c_uint32),
    ]


class SaGetOut(Structure):
    _fields_ = [
        ("result", c_int32),
        ("sa_params", POINTER(SaParams)),
        ("stats", POINTER(Stats)),
        ("handle", POINTER(POINTER(SaHandle))),
    ]


class SequenceNotification(Structure):
    _fields_ = [
        ("handle", POINTER(Handle)),
        ("sa_handle", POINTER(SaHandle)),
        ("seq_num", c_uint32),
        ("hi_seq_num", c_uint32),
    ]


class LifetimeNotification(Structure):
    _fields_ = [("sa_handle", SaHandle), ("ipsec_lifetime_in_kbytes", c_uint32)]


SequenceFunction = CFUNCTYPE(None, Handle, POINTER(SequenceNotification))
LifetimeFunction = CFUNCTYPE(None, Handle, POINTER(LifetimeNotification))
PacketsDone = CFUNCTYPE(None, c_void_p, c_int32, c_void_p)


class Hooks(Structure):
    """g_ipsec_la_notification_hooks."""

    _fields_ = [("overflow", SequenceFunction), ("periodic", SequenceFunction), ("soft_lifetime", LifetimeFunction)]


class Data(Structure):
    _fields_ = [("buffer", c_void_p), ("length", c_uint32)]


class Packet(Structure):
    _fields_ = [("num_sg", c_uint32), ("data", POINTER(Data))]


# R10.
SIZES = {
    Handle: 64,
    SaHandle: 32,
    CreateGroupIn: 8,
    CreateGroupOut: 32,
    OpenIn: 48,
    OpenOut: 8,
    RespArgs: 24,
    Capabilities: 16,
    CryptoParams: 56,
    IpcompInfo: 8,
    IpAddress: 20,
    TunnelEndAddr: 40,
    NatTraversalInfo: 24,
    SaParams: 184,
    SaAddIn: 16,
    SaAddOut: 68,
    SaModIn: 48,
    ResultOut: 4,
    SaDelIn: 16,
    Stats: 56,
    SaGetOut: 32,
    SaGetIn: 32,
    Data: 16,
    Packet: 16,
    SaOptions: 48,
}
OFFSETS = {
    (OpenIn, "cb_fn"): 24,
    (OpenIn, "cb_arg_len"): 40,
    (Capabilities, "num_dscp_based_queues"): 2,
    (Capabilities, "auth_algo_caps"): 4,
    (CryptoParams, "icv_len_bits"): 52,
    (SaParams, "cmn_flags"): 8,
    (SaParams, "direction"): 16,
    (SaParams, "crypto_params"): 48,
    (SaParams, "ipcomp_info"): 104,
    (SaParams, "soft_kilobytes_limit"): 112,
    (SaParams, "nat_info"): 120,
    (SaParams, "te_addr"): 144,
    (SaModIn, "change"): 20,
}
