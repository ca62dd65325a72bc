"""A ctypes binding of libgipsec: Accelerator and Sa objects over the calls. structures.py has what the calls take.

The library is the one named by the environment variable GIPSEC_LIBRARY, or target/release/libgipsec.so.
"""

import contextlib
import ctypes
import errno
import os
import pathlib
import queue
import threading
from ctypes import POINTER, byref, c_char_p, c_int32, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass, replace
from typing import Optional

from structures import (
    OFFSETS, SIZES, Capabilities, Data, Handle, Hooks, IpAddress, LifetimeFunction, OpenIn, OpenOut, Packet, PacketsDone,
    RespArgs, ResultOut, SaAddIn, SaAddOut, SaDelIn, SaGetIn, SaGetOut, SaHandle, SaModIn, SaOptions, SaParams,
    SequenceFunction, Stats,
)

LIBRARY = os.environ.get(
    "GIPSEC_LIBRARY", str(pathlib.Path(__file__).resolve().parents[2] / "target" / "release" / "libgipsec.so")
)

EXCLUSIVE, SHARED = 1, 2
INBOUND, OUTBOUND = 0, 1
ESP, AH, IPCOMP, WESP = 50, 51, 108, 141
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
NOTIFY = {"soft_lifetime": 1 << 8, "overflow": 1 << 9, "periodic": 1 << 10}
IMPLICIT_IV, COPY_FLOW_LABEL, CHECK_OUTER = 1, 2, 4
ASYNC = 1
INBOUND_PROPAGATE_ECN = 1
MODIFY_REPLAY = 3
REPLAY_SEQ_NUM, REPLAY_WINDOW = 2, 4


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
        "g_ipsec_la_multi_packet_encap": packets + [RespArgs],
        "g_ipsec_la_multi_packet_decap": packets + [RespArgs],
        "g_ipsec_la_notification_hooks_register": [Handle, POINTER(Hooks)],
        "g_ipsec_la_notifications_hook_deregister": [Handle],
        "g_ipsec_la_ext_dummy_packet": [POINTER(Handle), POINTER(SaHandle), c_uint32, c_uint32, POINTER(Data)],
        "g_ipsec_la_ext_inner_mtu": [POINTER(Handle), POINTER(SaHandle), c_uint32],
        "g_ipsec_la_ext_sa_drops_get": [
            POINTER(Handle), c_uint32, POINTER(SaHandle), c_uint32, POINTER(c_uint64), c_uint32,
        ],
        "g_ipsec_la_ext_multi_packet_encap": packets + [POINTER(c_int32), RespArgs],
        "g_ipsec_la_ext_multi_packet_decap": packets + [POINTER(c_int32), RespArgs],
    }
    for name, arguments in signatures.items():
        function = getattr(lib, name)
        function.argtypes, function.restype = arguments, c_int32
    lib.g_ipsec_la_ext_last_error.argtypes, lib.g_ipsec_la_ext_last_error.restype = [], c_char_p
    name = lib.g_ipsec_la_ext_drop_reason_name
    name.argtypes, name.restype = [c_uint32], c_char_p
    return lib


_lib = _load(LIBRARY)


def api_version():
    version = ctypes.create_string_buffer(32)
    _check(_lib.g_ipsec_la_get_api_version(version))
    return version.value.decode()


def drop_reasons():
    names = []
    while (name := _lib.g_ipsec_la_ext_drop_reason_name(len(names))) is not None:
        names.append(name.decode())
    return names


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
    nat_oa: Optional[str] = None  # the peer's original address
    implicit_iv: bool = False
    tfc_pad_to: int = 0
    tfc_pad_multiple: int = 0
    copy_flow_label: bool = False
    check_outer: bool = False
    notify: tuple = ()  # of the names in NOTIFY
    soft_kilobytes: int = 0
    hard_kilobytes: int = 0
    overflow_margin: int = 0
    periodic_interval: int = 0

    def as_(self, direction):
        return replace(self, direction=direction)

    def flags(self):
        choices = [
            (self.udp, FLAG_UDP),
            (self.ecn and self.direction == OUTBOUND, FLAG_ECN),
            (self.replay and self.direction == INBOUND, FLAG_REPLAY),
            (self.transport, FLAG_TRANSPORT),
            (self.esn, FLAG_ESN),
            (self.soft_kilobytes or self.hard_kilobytes, FLAG_LIFETIME),
            *((True, NOTIFY[name]) for name in self.notify),
        ]
        return sum(flag for chosen, flag in choices if chosen)


class Accelerator:
    """An open accelerator; a context manager."""

    def __init__(self, name=None, mode=SHARED, application="conformance"):
        self.handle, self.kept = Handle(), []
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

    @contextlib.contextmanager
    def notices(self):
        """A queue that takes (what, value) of every notification: a sequence number, or kilobytes."""
        arrived = queue.Queue()

        def number(what):
            return SequenceFunction(
                lambda _, notice: arrived.put((what, notice.contents.hi_seq_num << 32 | notice.contents.seq_num))
            )

        hooks = Hooks(
            number("overflow"), number("periodic"),
            LifetimeFunction(lambda _, notice: arrived.put(("soft_lifetime", notice.contents.ipsec_lifetime_in_kbytes))),
        )
        _check(_lib.g_ipsec_la_notification_hooks_register(self.handle, byref(hooks)))
        try:
            yield arrived
        finally:
            _check(_lib.g_ipsec_la_notifications_hook_deregister(self.handle))
            # One that waits may still be called.
            self.kept.append(hooks)


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
    crypto.comb_algo, crypto.icv_len_bits = COMBINED[config.combined], 0 if _extended_icv(config) else config.icv_bits
    crypto.auth_key, crypto.auth_key_len_bits = pointer(config.auth_key), len(config.auth_key) * 8
    crypto.cipher_key, crypto.cipher_key_len_bits = pointer(config.cipher_key), len(config.cipher_key) * 8
    crypto.comb_key, crypto.comb_key_len_bits = pointer(config.combined_key), len(config.combined_key) * 8
    params.ipcomp_info.algo, params.ipcomp_info.cpi = COMPRESSION[config.compression], config.cpi
    if config.udp:
        params.nat_info.src_port, params.nat_info.dest_port = config.udp
    if config.nat_oa:
        params.nat_info.nat_oa_peer_addr = IpAddress.of(config.nat_oa)
    params.soft_kilobytes_limit, params.hard_kilobytes_limit = config.soft_kilobytes, config.hard_kilobytes
    if config.tunnel:
        params.te_addr.src_ip = IpAddress.of(config.tunnel[0])
        params.te_addr.dest_ip = IpAddress.of(config.tunnel[1])
    return params


def _extended_icv(config):
    """What does not fit the eight bits of the document's field, or is not in the document."""
    return config.icv_bits > 255 or (config.auth, config.icv_bits) in {("sha384", 96), ("sha512", 96)}


def _options(config):
    choices = [
        (config.implicit_iv, IMPLICIT_IV), (config.copy_flow_label, COPY_FLOW_LABEL), (config.check_outer, CHECK_OUTER)
    ]
    return SaOptions(
        size=ctypes.sizeof(SaOptions),
        seq_num_overflow_margin=config.overflow_margin,
        seq_num_periodic_interval=config.periodic_interval,
        flags=sum(flag for chosen, flag in choices if chosen),
        auth_algo=EXTENDED_AUTH.get(config.auth, 0),
        comb_algo=EXTENDED_COMBINED.get(config.combined, 0),
        icv_len_bits=config.icv_bits if _extended_icv(config) else 0,
        tfc_pad_to=config.tfc_pad_to,
        tfc_pad_multiple=config.tfc_pad_multiple,
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
        plain = bytes(SaOptions(size=ctypes.sizeof(SaOptions)))
        if any(bytes(entry) != plain for entry in options):
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

    def drops(self, entry=0):
        """The reasons for which packets were refused, and how often, where that is not 0."""
        names = drop_reasons()
        counts = (c_uint64 * len(names))()
        arguments = byref(self.accelerator.handle), self.config.direction, byref(self.handle), entry, counts, len(names)
        assert _check(_lib.g_ipsec_la_ext_sa_drops_get(*arguments)) == len(names)
        return {name: count for name, count in zip(names, counts) if count}

    def dummy(self, length, room=65_535):
        target = ctypes.create_string_buffer(room)
        out = Data(ctypes.cast(target, c_void_p), room)
        arguments = byref(self.accelerator.handle), byref(self.handle), length, 1, byref(out)
        _check(_lib.g_ipsec_la_ext_dummy_packet(*arguments))
        return target.raw[: out.length]

    def inner_mtu(self, outer_mtu):
        return _check(_lib.g_ipsec_la_ext_inner_mtu(byref(self.accelerator.handle), byref(self.handle), outer_mtu))

    def _one(self, function, packet, lengths, rooms):
        """`lengths` of the pieces of `packet`, and as many `rooms` for the result."""
        assert sum(lengths) == len(packet) and len(lengths) == len(rooms)
        sources, at = [], 0
        for length in lengths:
            sources.append(ctypes.create_string_buffer(packet[at : at + length], max(1, length)))
            at += length
        targets = [ctypes.create_string_buffer(max(1, room)) for room in rooms]
        into = (Data * len(lengths))(*[(ctypes.cast(s, c_void_p), n) for s, n in zip(sources, lengths)])
        out = (Data * len(rooms))(*[(ctypes.cast(t, c_void_p), room) for t, room in zip(targets, rooms)])
        result = function(
            byref(self.accelerator.handle), 0, byref(self.handle), len(lengths), into, out, RespArgs()
        )
        if result < 0:
            assert not any(data.length for data in out), "a failed packet has an output"
            assert not any(any(target.raw) for target in targets), "a failed packet left bytes behind"
        _check(result)
        return b"".join(target.raw[: data.length] for target, data in zip(targets, out))

    def encap(self, packet, room=65_535, pieces=None):
        """`pieces`: the lengths of the input's, and the rooms of the output's."""
        return self._one(_lib.g_ipsec_la_packet_encap, packet, *(pieces or ([len(packet)], [room])))

    def decap(self, packet, room=65_535, pieces=None):
        return self._one(_lib.g_ipsec_la_packet_decap, packet, *(pieces or ([len(packet)], [room])))

    def _many(self, function, packets, room, later=False):
        count = len(packets)
        sources = [ctypes.create_string_buffer(packet, max(1, len(packet))) for packet in packets]
        targets = [ctypes.create_string_buffer(room) for _ in packets]
        ins = (Data * count)(*[(ctypes.cast(s, c_void_p), len(p)) for s, p in zip(sources, packets)])
        outs = (Data * count)(*[(ctypes.cast(t, c_void_p), room) for t in targets])
        step = ctypes.sizeof(Data)

        def array(data):
            start = ctypes.addressof(data)
            return (Packet * count)(*[(1, ctypes.cast(start + i * step, POINTER(Data))) for i in range(count)])

        handles = byref(self.accelerator.handle), ASYNC if later else 0, byref(self.handle)
        arguments = *handles, count, array(ins), array(outs)
        if later:
            done = threading.Event()
            answer = PacketsDone(lambda *_: done.set())
            _check(function(*arguments, RespArgs(ctypes.cast(answer, c_void_p), None, 0)))
            assert done.wait(10), "no callback"
            return [target.raw[: out.length] for target, out in zip(targets, outs)]
        results = (c_int32 * count)()
        first = function(*arguments, results, RespArgs())
        assert first == next((result for result in results if result), 0), "the result is not the first failure"
        for result, out in zip(results, outs):
            assert result == 0 or out.length == 0, "a failed packet has an output"
        return [t.raw[: o.length] if r == 0 else r for r, t, o in zip(results, targets, outs)]

    def encap_later(self, packets, room=10_240):
        """As the callback of an asynchronous call finds them."""
        return self._many(_lib.g_ipsec_la_multi_packet_encap, packets, room, True)

    def decap_later(self, packets, room=10_240):
        return self._many(_lib.g_ipsec_la_multi_packet_decap, packets, room, True)

    def encap_many(self, packets, room=10_240):
        """For each packet the result, or a negative errno."""
        return self._many(_lib.g_ipsec_la_ext_multi_packet_encap, packets, room)

    def decap_many(self, packets, room=10_240):
        """For each packet the result, or a negative errno."""
        return self._many(_lib.g_ipsec_la_ext_multi_packet_decap, packets, room)
