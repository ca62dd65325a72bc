"""Random keys, SAs and packets, from a seed that GIPSEC_SEED sets and every failure names."""

import os
import random

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_Router_Alert, IPOption_RR, IPOption_Timestamp
from scapy.layers.inet6 import (
    HBHOptUnknown,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.packet import Raw

import gipsec

SEED = int(os.environ.get("GIPSEC_SEED") or random.SystemRandom().randrange(2**32))

V4, V6 = ("192.0.2.1", "198.51.100.7"), ("2001:db8::1", "2001:db8:ffff::7")
INNER_V4, INNER_V6 = ("10.1.2.3", "10.200.0.9"), ("fd00::3", "fd00:1::9")

AUTH_KEYS = {"none": 0, "md5": 16, "sha1": 20, "xcbc": 16, "sha256": 32, "sha384": 48, "sha512": 64, "cmac": 16}
CIPHER_KEYS = {
    "null": ("null", 0),
    "des": ("des", 8),
    "3des": ("3des", 24),
    "aes128-cbc": ("aes-cbc", 16),
    "aes192-cbc": ("aes-cbc", 24),
    "aes256-cbc": ("aes-cbc", 32),
    "aes128-ctr": ("aes-ctr", 20),
    "aes192-ctr": ("aes-ctr", 28),
    "aes256-ctr": ("aes-ctr", 36),
}
# ICV lengths that are not the usual ones. Those of SHA-2 but 96 bits of SHA-256 (R18) are the extensions' to give.
OTHER_ICVS = {"md5": [128], "sha1": [160], "sha256": [96, 256], "sha384": [96, 384], "sha512": [96, 512]}


def generator(*names):
    """Randomness of its own for each test, so that a test can be repeated alone."""
    return random.Random(f"{SEED}/{'/'.join(map(str, names))}")


def esp_transforms():
    """Name, and the fields of gipsec.Config without keys but with their lengths, of every transform for ESP."""
    for cipher, (algorithm, key) in CIPHER_KEYS.items():
        for auth, auth_key in AUTH_KEYS.items():
            if (cipher, auth) == ("null", "none"):
                continue
            for icv in [0] + (OTHER_ICVS.get(auth, []) if cipher in ("null", "aes128-cbc") else []):
                name = f"{cipher}+{auth}" + (f"-{icv}" if icv else "")
                yield name, dict(cipher=algorithm, cipher_key=key, auth=auth, auth_key=auth_key, icv_bits=icv)
    for bits in (128, 192, 256):
        for icv in (64, 96, 128):
            yield f"aes{bits}-gcm-{icv}", dict(combined="gcm", combined_key=4 + bits // 8, icv_bits=icv)
            yield f"aes{bits}-ccm-{icv}", dict(combined="ccm", combined_key=3 + bits // 8, icv_bits=icv)
        yield f"aes{bits}-gmac", dict(combined="gmac", combined_key=4 + bits // 8)
    yield "chacha20-poly1305", dict(combined="chacha20-poly1305", combined_key=36)


def ah_transforms():
    for auth, auth_key in AUTH_KEYS.items():
        if auth == "none":
            continue
        for icv in [0] + OTHER_ICVS.get(auth, []):
            name = f"ah-{auth}" + (f"-{icv}" if icv else "")
            yield name, dict(proto=gipsec.AH, auth=auth, auth_key=auth_key, icv_bits=icv)
    for bits in (128, 192, 256):
        yield f"ah-aes{bits}-gmac", dict(proto=gipsec.AH, combined="gmac", combined_key=4 + bits // 8)


SHAPES = {
    "tunnel-4in4": (4, 4),
    "tunnel-6in4": (4, 6),
    "tunnel-4in6": (6, 4),
    "tunnel-6in6": (6, 6),
    "transport-4": (None, 4),
    "transport-6": (None, 6),
}


def config(rng, fields, shape, **more):
    """An outbound SA with random keys and a random SPI."""
    keys = {name: rng.randbytes(fields[name]) for name in ("cipher_key", "auth_key", "combined_key") if name in fields}
    outer = SHAPES[shape][0]
    tunnel = None if outer is None else V4 if outer == 4 else V6
    spi = rng.randrange(256, 2**32)
    return gipsec.Config(gipsec.OUTBOUND, spi, **{**fields, **keys, **more}, tunnel=tunnel, transport=outer is None)


def first_sequence(rng, esn):
    """Near an end as often as not; the numbers of a few packets fit behind it."""
    if not esn:
        return rng.choice([0, rng.randrange(1, 2**31), 2**32 - 20])
    return rng.choice([0, 2**32 - 2, (rng.randrange(1, 2**31) << 32) - 2, rng.randrange(2**60)])


def payload(rng, size):
    """Something above IP that scapy rebuilds to the same bytes; `size` counts what is above UDP or TCP."""
    data = Raw(rng.randbytes(size)) if size else b""
    ports = dict(sport=rng.randrange(50_000, 60_000), dport=rng.randrange(50_000, 60_000))
    layer = rng.choice([UDP(**ports), TCP(**ports, seq=rng.randrange(2**32))])
    return layer / data if size else layer


def sizes(rng, count):
    edges = [0, 1, 2, 3, 4, 5, 6, 13, 14, 15, 16, 17, 1372]
    return [rng.choice(edges + [rng.randrange(1500)] * 10) for _ in range(count)]


def v4_options(rng):
    """Lists of options that fill whole words."""
    record_route = IPOption_RR(length=7, pointer=4, routers=["0.0.0.0"])
    return rng.choice([
        [],
        [IPOption_Router_Alert()],
        [IPOption_NOP(), record_route],
        [IPOption_Router_Alert(), IPOption_NOP(), record_route],
        [IPOption_Timestamp(timestamp=rng.randrange(2**32), length=8, pointer=9, flg=0)],
    ])


def packet(rng, family, size, extensions=True):
    """A whole packet as bytes; with IPv4 options or IPv6 extension headers now and then."""
    ecn_and_dscp = rng.randrange(256)
    if family == 4:
        header = IP(
            src=INNER_V4[0], dst=INNER_V4[1], tos=ecn_and_dscp, id=rng.randrange(2**16), ttl=rng.randrange(1, 256),
            flags=rng.choice([0, "DF"]), options=v4_options(rng) if extensions else [],
        )
        upper = rng.choice([payload(rng, size), ICMP(id=7, seq=9) / Raw(rng.randbytes(size))])
        return bytes(header / upper)
    header = IPv6(
        src=INNER_V6[0], dst=INNER_V6[1], tc=ecn_and_dscp, fl=rng.randrange(2**20), hlim=rng.randrange(1, 256)
    )
    if extensions:
        for extension in v6_extensions(rng):
            header /= extension
    upper = rng.choice([payload(rng, size), ICMPv6EchoRequest(id=7, seq=9, data=rng.randbytes(size))])
    return bytes(header / upper)


def v6_extensions(rng, routing=True):
    """Hop-by-hop and destination options, some of which may change on the way, and a routing header that has been
    used up and has no addresses, which is the only one that is the same for the sender and the receiver."""

    def options():
        # 0x1e stays, 0x3e may change on the way.
        return [HBHOptUnknown(otype=rng.choice([0x1E, 0x3E]), optdata=rng.randbytes(4)), PadN(optdata=b"\0" * 6)]

    chosen = []
    if rng.random() < 0.4:
        chosen.append(IPv6ExtHdrHopByHop(options=options(), autopad=0))
    if rng.random() < 0.4:
        chosen.append(IPv6ExtHdrDestOpt(options=options(), autopad=0))
    if routing and rng.random() < 0.4:
        chosen.append(IPv6ExtHdrRouting(type=0, segleft=0, addresses=[]))
        if rng.random() < 0.5:
            chosen.append(IPv6ExtHdrDestOpt(options=options(), autopad=0))
    return chosen
