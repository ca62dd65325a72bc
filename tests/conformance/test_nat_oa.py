"""RFC 3948 section 3.1.2: behind a NAT, transport checksums are over addresses that the receiver does not see; with the
peer's original address they are put right. scapy is the peer, and computes what is right.
"""

import errno

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, PadN
from scapy.packet import Raw

import gipsec
import reference
import scapy_peer
import traffic

ESP = dict(traffic.esp_transforms())
ORIGINAL = {4: "192.168.7.9", 6: "fd07::9"}
NAT = {4: "203.0.113.77", 6: "2001:db8:77::1"}
OWN = {4: "198.51.100.7", 6: "2001:db8:ffff::7"}
UPPER = {
    "tcp": lambda data: TCP(sport=50_001, dport=443, seq=7) / Raw(data),
    "udp": lambda data: UDP(sport=50_001, dport=50_002) / Raw(data),
    "icmp": lambda data: ICMP(id=7, seq=9) / Raw(data),
    "icmpv6": lambda data: ICMPv6EchoRequest(id=7, seq=9, data=data),
}


def covers(item):
    """For the table in docs/conformance.md: the peer, the transform and features."""
    return "scapy", None, ["NAT-OA"]


def header(rng, family, source, extensions):
    if family == 4:
        options = traffic.v4_options(rng) if extensions else []
        return IP(src=source, dst=OWN[4], id=9, options=options)
    built = IPv6(src=source, dst=OWN[6])
    if extensions:
        options = [PadN(optdata=b"\0" * 4)]
        built /= IPv6ExtHdrHopByHop(options=options) / IPv6ExtHdrDestOpt(options=options)
    return built


def translated(packet, source):
    """What a NAT makes of the outer header."""
    if packet[0] >> 4 == 6:
        return packet[:8] + bytes(IPv6(src=source))[8:24] + packet[24:]
    changed = packet[:10] + b"\0\0" + bytes(IP(src=source))[12:16] + packet[16:]
    length = (packet[0] & 15) * 4
    return changed[:10] + reference.checksum(changed[:length]).to_bytes(2, "big") + changed[12:]


def config_of(rng, name, **more):
    return traffic.config(rng, ESP[name], "transport-4", udp=(40_000, 4500), **more)


@pytest.mark.parametrize(
    "family, upper", [(4, "tcp"), (4, "udp"), (4, "icmp"), (6, "tcp"), (6, "udp"), (6, "icmpv6")]
)
@pytest.mark.parametrize("name", ["aes128-gcm-128", "aes128-cbc+sha256"])
def test_checksums_are_put_right(accelerator, name, family, upper):
    rng = traffic.generator("nat", name, family, upper)
    config = config_of(rng, name, nat_oa=ORIGINAL[family])
    peer = scapy_peer.Peer(config, rng)
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        for number, size in enumerate([0, 1, 2, 3, 40, 1001, *(rng.randrange(1400) for _ in range(30))], 1):
            data = UPPER[upper](rng.randbytes(size))
            # scapy puts UDP encapsulation wrongly behind extension headers: those go through the reference.
            extensions = number % 5 == 0
            sender = reference.Peer(config, rng) if extensions else peer
            before = bytes(header(rng, family, ORIGINAL[family], extensions) / data)
            after = translated(before, NAT[family])
            # What scapy computes over the addresses that the receiver sees.
            upper_at = len(reference.split(before)[0])
            right = bytes(header(rng, family, NAT[family], False) / data)
            expected = after[:upper_at] + right[20 if family == 4 else 40 :]
            if extensions and family == 6:
                # The destination options are not split off.
                expected = after[: len(after) - len(bytes(data))] + right[40:]
            arrived = translated(sender.protect(before, number), NAT[family])
            assert inbound.decap(arrived).hex() == expected.hex()
        assert inbound.statistics().refusals() == {}


def test_a_udp_checksum_of_zero_stays(accelerator):
    """RFC 3948 section 3.1.2: zero over IPv4 is none."""
    rng = traffic.generator("nat zero")
    config = config_of(rng, "aes128-gcm-128", nat_oa=ORIGINAL[4])
    before = bytes(IP(src=ORIGINAL[4], dst=OWN[4]) / UDP(sport=50_001, dport=50_002, chksum=0) / Raw(b"data"))
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        arrived = translated(scapy_peer.Peer(config, rng).protect(before, 1), NAT[4])
        assert inbound.decap(arrived) == translated(before, NAT[4])


def test_a_udp_checksum_never_becomes_zero(accelerator):
    """RFC 768: a checksum that comes out as zero is sent as all ones."""
    rng = traffic.generator("nat ones")
    config = config_of(rng, "aes128-gcm-128", nat_oa=ORIGINAL[4])
    ports = dict(sport=50_001, dport=50_002)
    # The data that makes the sum over the new addresses come out so.
    empty = bytes(IP(src=NAT[4], dst=OWN[4]) / UDP(**ports) / Raw(b"\0\0"))
    data = Raw(empty[26:28])
    right = bytes(IP(src=NAT[4], dst=OWN[4]) / UDP(**ports) / data)
    assert right[26:28] == b"\xff\xff"
    before = bytes(IP(src=ORIGINAL[4], dst=OWN[4]) / UDP(**ports) / data)
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        arrived = translated(scapy_peer.Peer(config, rng).protect(before, 1), NAT[4])
        assert inbound.decap(arrived) == right


@pytest.mark.parametrize("family", [4, 6])
def test_the_other_family_is_refused(accelerator, family):
    rng = traffic.generator("nat family", family)
    config = config_of(rng, "aes128-gcm-128", nat_oa=ORIGINAL[10 - family])
    before = bytes(header(rng, family, ORIGINAL[family], False) / UPPER["udp"](b"data"))
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        with pytest.raises(gipsec.Error) as caught:
            inbound.decap(translated(scapy_peer.Peer(config, rng).protect(before, 1), NAT[family]))
        assert caught.value.errno == errno.EPROTO
