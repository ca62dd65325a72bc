"""WESP (RFC 5840), both ways: its header against wesp.py, which is written from the RFC, and what is inside against scapy
and the reference. No other implementation of it can be installed.
"""

import errno

import pytest

import gipsec
import reference
import scapy_peer
import traffic
import wesp

ESP = dict(traffic.esp_transforms())
ENCRYPTED = [
    "aes128-gcm-128", "aes256-gcm-64", "aes192-ccm-96", "chacha20-poly1305", "aes128-cbc+sha1", "aes256-cbc+sha256",
    "aes128-ctr+cmac", "3des+md5",
]
READABLE = [
    "null+md5", "null+sha1", "null+sha256", "null+sha384", "null+sha512", "null+xcbc", "aes128-gmac", "aes256-gmac",
]
PACKETS = 4


def cases():
    for name in ENCRYPTED + READABLE:
        for shape in traffic.SHAPES:
            for esn in (False, True):
                for udp in (False, True):
                    for peer in (reference.Peer, scapy_peer.Peer):
                        if peer is reference.Peer or not scapy_peer.cannot(ESP[name]):
                            yield name, shape, esn, udp, peer


def identity(value):
    return value.__module__ if isinstance(value, type) else None


def covers(item):
    """For the table in docs/conformance.md: the peer, the transform and features."""
    params = item.callspec.params
    peer = "scapy" if params.get("peer_class") is scapy_peer.Peer else "OpenSSL"
    return peer, None, ["wesp readable" if params["name"] in READABLE else "wesp encrypted"]


def config_of(rng, name, shape, esn, udp, **more):
    ports = (rng.choice([4500, rng.randrange(1024, 2**16)]), rng.choice([4500, rng.randrange(1024, 2**16)]))
    return traffic.config(rng, {**ESP[name], "proto": gipsec.WESP}, shape, esn=esn, udp=ports if udp else None, **more)


@pytest.mark.parametrize("name, shape, esn, udp, peer_class", list(cases()), ids=identity)
def test_both_ways(accelerator, name, shape, esn, udp, peer_class):
    rng = traffic.generator("wesp", name, shape, esn, udp, peer_class.__module__)
    config = config_of(rng, name, shape, esn, udp)
    peer = wesp.Peer(peer_class, config, rng)
    packets = [traffic.packet(rng, traffic.SHAPES[shape][1], size) for size in traffic.sizes(rng, PACKETS)]
    first = traffic.first_sequence(rng, esn)
    numbers = range(first + 1, first + 1 + PACKETS)
    with accelerator.add(config) as outbound:
        outbound.set_sequence(first)
        for packet, sent, number in zip(packets, outbound.encap_many(packets), numbers):
            assert isinstance(sent, bytes), f"encapsulation: {errno.errorcode[-sent]}"
            assert peer.unprotect(sent, number).hex() == packet.hex()
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        inbound.set_sequence(first)
        received = [peer.protect(packet, number) for packet, number in zip(packets, numbers)]
        for packet, taken in zip(packets, inbound.decap_many(received)):
            assert isinstance(taken, bytes), f"decapsulation: {errno.errorcode[-taken]}"
            assert taken.hex() == packet.hex()
        assert inbound.statistics().refusals() == {}


def lies(config, ipv6, header, esp):
    """WESP headers that are wrong in one thing, with what follows them."""
    number, length, icv, flags = header[:4]
    padding = header[4:]

    def with_(number=number, length=length, icv=icv, flags=flags, padding=padding):
        return bytes([number, length, icv, flags]) + padding + esp

    yield "next header", with_(number=number ^ 4)
    for wrong in {4, 8, 12, 13, 16, 20, 24, 255, length + 4, length - 4, length + 8, 0 if length else 16} - {length}:
        yield f"HdrLen {wrong}", with_(length=wrong % 256)
    for wrong in {8, 12, 16, 255, icv + 1, icv - 1, 0 if icv else 16} - {icv}:
        yield f"TrailerLen {wrong}", with_(icv=wrong % 256)
    for version in (1, 2, 3):
        yield f"version {version}", with_(flags=flags | version << 6)
    yield "encrypted or not", with_(flags=flags ^ wesp.ENCRYPTED)
    yield "the whole other kind", with_(0, 0, 0, flags | wesp.ENCRYPTED) if wesp.readable(config) else with_(
        4, 12 + reference.iv_len(config), reference.icv_len(config), flags & ~wesp.ENCRYPTED
    )
    yield "padded or not", with_(flags=flags ^ wesp.PADDED)
    if not ipv6:
        moved = length + 4 if length else 0
        yield "padding under IPv4", with_(flags=flags | wesp.PADDED, padding=bytes(4), length=moved)
    if padding:
        moved = length - 4 if length else 0
        yield "no padding under IPv6", with_(flags=flags & ~wesp.PADDED, padding=b"", length=moved)


@pytest.mark.parametrize("udp", [False, True], ids=["", "udp"])
@pytest.mark.parametrize("shape", traffic.SHAPES)
@pytest.mark.parametrize("name", ENCRYPTED + READABLE)
def test_a_header_that_lies_is_refused(accelerator, name, shape, udp):
    """RFC 5840 section 2: the receiver checks every field. Reserved bits are the exception: it ignores them."""
    rng = traffic.generator("wesp", name, shape, udp)
    config = config_of(rng, name, shape, False, udp, replay=True)
    peer = wesp.Peer(reference.Peer, config, rng)
    packet = traffic.packet(rng, traffic.SHAPES[shape][1], 60)
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        good = peer.protect(packet, 1)
        headers, header, esp = _parts(config, good)
        count = 0
        for what, payload in lies(config, headers[0] >> 4 == 6, header, esp):
            with pytest.raises(gipsec.Error) as caught:
                inbound.decap(wesp.datagram(config, headers, payload))
            count += 1
            assert (what, caught.value.errno) == (what, errno.EPROTO)
            assert (what, inbound.drops()) == (what, {"bad_wesp_header": count})
        assert inbound.statistics().refusals() == {"invalid_ipsec_pkt": count}
        # None of them used up the number: anybody on the way could have made them.
        assert inbound.decap(good) == packet
        # Section 2: "The reserved bits MUST be sent as 0, and ignored by the receiver."
        headers, header, esp = _parts(config, peer.protect(packet, 2))
        reserved = header[:3] + bytes([header[3] | 15]) + header[4:]
        assert inbound.decap(wesp.datagram(config, headers, reserved + esp)) == packet


def _parts(config, packet):
    """Headers, the WESP header and the rest of what the peer made, whose UDP checksum is 0 also over IPv6."""
    if not config.udp:
        return wesp.parts(config, packet)
    headers, _, rest = reference.split(packet)
    return headers, rest[12:16], rest[16:]


@pytest.mark.parametrize("shape", traffic.SHAPES)
@pytest.mark.parametrize("name", ["aes128-gcm-128", "null+sha256"])
def test_plain_esp_and_wesp_are_not_taken_for_each_other(accelerator, name, shape):
    rng = traffic.generator("wesp", name, shape)
    config = config_of(rng, name, shape, False, False)
    packet = traffic.packet(rng, traffic.SHAPES[shape][1], 60)
    inside = wesp.plain(config)
    for one, other in [(config, reference.Peer(inside, rng)), (inside, wesp.Peer(reference.Peer, config, rng))]:
        with accelerator.add(one.as_(gipsec.INBOUND)) as inbound:
            with pytest.raises(gipsec.Error) as caught:
                inbound.decap(other.protect(packet, 1))
            assert caught.value.errno == errno.EPROTO
