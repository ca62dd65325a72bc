"""A ctypes binding of libgipsec: the structures of g_ipsec_la.h, and Accelerator and Sa objects over the calls.

The library is the one named by the environment variable GIPSEC_LIBRARY, or target/release/libgipsec.so.
"""

import ctypes
import errno
import ipaddress
import os
import pathlib
from ctypes import POINTER, Structure, Union, byref, c_char_p, c_int32, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass, replace
from typing import Optional

LIBRARY = os.environ.get(
    "GIPSEC_LIBRARY", str(pathlib.Path(__file__).resolve().parents[2] / "target" / "release" / "libgipsec.so")
)

EXCLUSIVE, SHARED = 1, 2
INBOUND, OUTBOUND = 0, 1
ESP, AH, IPCOMP = 50, 51, 108
COMPRESSION = {None: 0, "deflate": 1, "lzs": 2}
AUTH = {None: 0, "none": 1, "md5": 2, "sha1": 3, "xcbc": 4, "sha256": 5, "sha384": 6, "sha512": 7, "cmac": 0}
CIPHER = {None: 0, "null": 1, "des": 2, "3des": 3, "aes-cbc": 4, "aes-ctr": 5}
COMBINED = {None: 0, "ccm": 1, "gcm": 2, "gmac": 3, "chacha20-poly1305": 0}
# Those of the extensions are 0 in the document's structure.
EXTENDED_AUTH, EXTENDED_COMBINED = {"cmac": 1}, {"chacha20-poly1305": 1}
COPY, CLEAR, SET = 1, 2, 3

FLAG_UDP = 1 << 1
FLAG_ECN = 1 << 2
FLAG_LIFETIME = 1 << 3
FLAG_REPLAY = 1 << 4
FLAG_TRANSPORT = 1 << 5
FLAG_ESN = 1 << 6
INBOUND_PROPAGATE_ECN = 1
MODIFY_REPLAY = 3
REPLAY_SEQ_NUM, REPLAY_WINDOW = 2, 4


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
    _fields_ = [
        ("features", c_uint16),
        ("num_dscp_based_queues", c_uint8),
        ("auth_algo_caps", c_uint32),
        ("cipher_algo_caps", c_uint32),
        ("comb_algo_caps", c_uint32),
    ]


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


class Error(OSError):
    """A call's negative result."""


def _check(result):
    if result < 0:
        detail = _lib.g_ipsec_la_ext_last_error().decode()
        raise Error(-result, f"{errno.errorcode.get(-result, result)}: {detail}")
    return result


def _load(path):
    lib = ctypes.CDLL(path)
    packets = [POINTER(Handle), c_uint32, POINTER(SaHandle), c_uint32, POINTER(Packet), POINTER(Packet)]
    signatures = {
        "g_ipsec_la_get_api_version": [c_char_p],
        "g_ipsec_la_open": [c_uint32, POINTER(OpenIn), POINTER(OpenOut)],
        "g_ipsec_la_close": [POINTER(Handle)],
        "g_ipsec_la_capabilities_get": [POINTER(Handle), c_uint32, POINTER(Capabilities), POINTER(RespArgs)],
        "g_ipsec_la_sa_add": [POINTER(Handle), POINTER(SaAddIn), c_uint32, POINTER(SaAddOut), RespArgs],
        "g_ipsec_la_ext_sa_add": [
            POINTER(Handle), POINTER(SaAddIn), POINTER(SaOptions), c_uint32, POINTER(SaAddOut), RespArgs,
        ],
        "g_ipsec_la_sa_mod": [POINTER(Handle), POINTER(SaModIn), c_uint32, POINTER(ResultOut), RespArgs],
        "g_ipsec_la_sa_del": [POINTER(Handle), POINTER(SaDelIn), c_uint32, POINTER(ResultOut), RespArgs],
        "g_ipsec_la_sa_get": [POINTER(Handle), POINTER(SaGetIn), c_uint32, POINTER(SaGetOut), POINTER(RespArgs)],
        "g_ipsec_la_packet_encap": packets[:4] + [POINTER(Data), POINTER(Data), RespArgs],
        "g_ipsec_la_packet_decap": packets[:4] + [POINTER(Data), POINTER(Data), RespArgs],
        "g_ipsec_la_ext_multi_packet_encap": packets + [POINTER(c_int32), RespArgs],
        "g_ipsec_la_ext_multi_packet_decap": packets + [POINTER(c_int32), RespArgs],
    }
    for name, arguments in signatures.items():
        function = getattr(lib, name)
        function.argtypes, function.restype = arguments, c_int32
    lib.g_ipsec_la_ext_last_error.argtypes, lib.g_ipsec_la_ext_last_error.restype = [], c_char_p
    return lib


_lib = _load(LIBRARY)


def api_version():
    version = ctypes.create_string_buffer(32)
    _check(_lib.g_ipsec_la_get_api_version(version))
    return version.value.decode()


@dataclass(frozen=True)
class Config:
    """What an SA is made from. Keys are those of R18: a salt before a combined key, a nonce after a CTR key."""

    direction: int
    spi: int
    proto: int = ESP
    transport: bool = False
    auth: Optional[str] = None
    auth_key: bytes = b""
    cipher: Optional[str] = None
    cipher_key: bytes = b""
    combined: Optional[str] = None
    combined_key: bytes = b""
    icv_bits: int = 0
    esn: bool = False
    replay: bool = False
    window: int = 0
    udp: Optional[tuple] = None  # source and destination port
    tunnel: Optional[tuple] = None  # outer source and destination
    dscp: int = 0
    dscp_rule: int = 0
    df_rule: int = 0
    ecn: bool = False
    iv: bytes = b""
    compression: Optional[str] = None
    cpi: int = 0

    def as_(self, direction):
        return replace(self, direction=direction)

    def flags(self):
        choices = [
            (self.udp, FLAG_UDP),
            (self.ecn and self.direction == OUTBOUND, FLAG_ECN),
            (self.replay and self.direction == INBOUND, FLAG_REPLAY),
            (self.transport, FLAG_TRANSPORT),
            (self.esn, FLAG_ESN),
        ]
        return sum(flag for chosen, flag in choices if chosen)


class Accelerator:
    """An open accelerator; a context manager."""

    def __init__(self, name=None, mode=SHARED, application="conformance"):
        self.handle = Handle()
        arguments = OpenIn(accl_name=name and name.encode(), app_identity=application.encode())
        _check(_lib.g_ipsec_la_open(mode, byref(arguments), byref(OpenOut(ctypes.pointer(self.handle)))))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        _check(_lib.g_ipsec_la_close(byref(self.handle)))

    def capabilities(self):
        out = Capabilities()
        _check(_lib.g_ipsec_la_capabilities_get(byref(self.handle), 0, byref(out), None))
        return out

    def add(self, config, *more):
        """An SA, or a bundle of them."""
        return Sa(self, config, *more)


def _params(config, kept):
    """g_ipsec_la_sa; `kept` takes what it points at."""

    def pointer(data):
        if not data:
            return None
        kept.append(ctypes.create_string_buffer(data, len(data)))
        return ctypes.cast(kept[-1], c_void_p)

    params = SaParams(spi=config.spi, proto=config.proto, cmn_flags=config.flags())
    if config.direction == OUTBOUND:
        outb = params.outb
        outb.dscp, outb.df_bit_handle, outb.dscp_handle = config.dscp, config.df_rule, config.dscp_rule
        outb.iv, outb.iv_len_bits = pointer(config.iv), len(config.iv) * 8
    else:
        params.inb.flags = INBOUND_PROPAGATE_ECN if config.ecn else 0
        params.inb.anti_replay_window_size = config.window
    crypto = params.crypto_params
    crypto.auth_algo, crypto.cipher_algo = AUTH[config.auth], CIPHER[config.cipher]
    crypto.comb_algo, crypto.icv_len_bits = COMBINED[config.combined], config.icv_bits % 256
    crypto.auth_key, crypto.auth_key_len_bits = pointer(config.auth_key), len(config.auth_key) * 8
    crypto.cipher_key, crypto.cipher_key_len_bits = pointer(config.cipher_key), len(config.cipher_key) * 8
    crypto.comb_key, crypto.comb_key_len_bits = pointer(config.combined_key), len(config.combined_key) * 8
    params.ipcomp_info.algo, params.ipcomp_info.cpi = COMPRESSION[config.compression], config.cpi
    if config.udp:
        params.nat_info.src_port, params.nat_info.dest_port = config.udp
    if config.tunnel:
        params.te_addr.src_ip = IpAddress.of(config.tunnel[0])
        params.te_addr.dest_ip = IpAddress.of(config.tunnel[1])
    return params


def _options(config):
    return SaOptions(
        size=ctypes.sizeof(SaOptions),
        auth_algo=EXTENDED_AUTH.get(config.auth, 0),
        comb_algo=EXTENDED_COMBINED.get(config.combined, 0),
    )


class Sa:
    """An SA, deleted at the end of a `with` block."""

    def __init__(self, accelerator, config, *more):
        self.accelerator, self.config, self.handle = accelerator, config, SaHandle()
        configs, kept = (config, *more), []
        params = (SaParams * len(configs))(*[_params(entry, kept) for entry in configs])
        options = (SaOptions * len(configs))(*[_options(entry) for entry in configs])
        out = SaAddOut()
        arguments = SaAddIn(config.direction, len(configs), params)
        handle, results = byref(accelerator.handle), (0, byref(out), RespArgs())
        if any(entry.auth_algo or entry.comb_algo for entry in options):
            _check(_lib.g_ipsec_la_ext_sa_add(handle, byref(arguments), options, *results))
        else:
            _check(_lib.g_ipsec_la_sa_add(handle, byref(arguments), *results))
        ctypes.memmove(byref(self.handle), byref(out.sa_handle), ctypes.sizeof(SaHandle))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.delete()

    def delete(self):
        arguments = SaDelIn(self.config.direction, ctypes.pointer(self.handle))
        handle = byref(self.accelerator.handle)
        _check(_lib.g_ipsec_la_sa_del(handle, byref(arguments), 0, byref(ResultOut()), RespArgs()))

    def set_sequence(self, sequence):
        """An outbound SA continues after `sequence`; an inbound one takes it as the highest seen."""
        arguments = SaModIn(dir=self.config.direction, handle=ctypes.pointer(self.handle), flags=MODIFY_REPLAY)
        arguments.replay.flags = REPLAY_SEQ_NUM
        arguments.replay.seq_num, arguments.replay.hi_seq_num = sequence & 0xFFFFFFFF, sequence >> 32
        handle = byref(self.accelerator.handle)
        _check(_lib.g_ipsec_la_sa_mod(handle, byref(arguments), 0, byref(ResultOut()), RespArgs()))

    def statistics(self):
        stats = Stats()
        arguments = SaGetIn(self.config.direction, ctypes.pointer(self.handle), 2, 1, 2)
        out = SaGetOut(stats=ctypes.pointer(stats))
        _check(_lib.g_ipsec_la_sa_get(byref(self.accelerator.handle), byref(arguments), 0, byref(out), None))
        return stats

    def _one(self, function, packet, room):
        source = ctypes.create_string_buffer(packet, len(packet)) if packet else ctypes.create_string_buffer(1)
        target = ctypes.create_string_buffer(room)
        into = Data(ctypes.cast(source, c_void_p), len(packet))
        out = Data(ctypes.cast(target, c_void_p), room)
        result = function(
            byref(self.accelerator.handle), 0, byref(self.handle), 1, byref(into), byref(out), RespArgs()
        )
        if result < 0:
            assert out.length == 0, "a failed packet has an output"
            assert not any(target.raw), "a failed packet left bytes behind"
        _check(result)
        return target.raw[: out.length]

    def encap(self, packet, room=65_535):
        return self._one(_lib.g_ipsec_la_packet_encap, packet, room)

    def decap(self, packet, room=65_535):
        return self._one(_lib.g_ipsec_la_packet_decap, packet, room)

    def _many(self, function, packets, room):
        count = len(packets)
        sources = [ctypes.create_string_buffer(packet, max(1, len(packet))) for packet in packets]
        targets = [ctypes.create_string_buffer(room) for _ in packets]
        ins = (Data * count)(*[(ctypes.cast(s, c_void_p), len(p)) for s, p in zip(sources, packets)])
        outs = (Data * count)(*[(ctypes.cast(t, c_void_p), room) for t in targets])
        step = ctypes.sizeof(Data)

        def array(data):
            start = ctypes.addressof(data)
            return (Packet * count)(*[(1, ctypes.cast(start + i * step, POINTER(Data))) for i in range(count)])

        results = (c_int32 * count)()
        first = function(
            byref(self.accelerator.handle), 0, byref(self.handle), count, array(ins), array(outs), results, RespArgs()
        )
        assert first == next((result for result in results if result), 0), "the result is not the first failure"
        for result, out in zip(results, outs):
            assert result == 0 or out.length == 0, "a failed packet has an output"
        return [t.raw[: o.length] if r == 0 else r for r, t, o in zip(results, targets, outs)]

    def encap_many(self, packets, room=10_240):
        """For each packet the result, or a negative errno."""
        return self._many(_lib.g_ipsec_la_ext_multi_packet_encap, packets, room)

    def decap_many(self, packets, room=10_240):
        """For each packet the result, or a negative errno."""
        return self._many(_lib.g_ipsec_la_ext_multi_packet_decap, packets, room)
