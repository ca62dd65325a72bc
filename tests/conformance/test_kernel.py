"""A Linux kernel as the other end: it decapsulates what the library made, answers the echo request within, and the
library decapsulates the answer. The kernel is a process of its own (kernel/uml.sh); one boot for all cases.
"""

import errno
import struct
from dataclasses import dataclass
from typing import Optional

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import (
    HBHOptUnknown,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.packet import Raw

import gipsec
import reference
import traffic
from kernel import guest, xfrm

ESP = dict(traffic.esp_transforms())
AH = dict(traffic.ah_transforms())
SIZES = [0, 1, 13, 14, 15, 16, 17, 200, 1300]
PACKETS = 4
PORT = 4500


@dataclass(frozen=True)
class Case:
    name: str
    shape: str
    variant: Optional[str] = None

    def __str__(self):
        return "/".join(filter(None, [self.name, self.shape, self.variant]))

    def lines(self):
        """What the kernel is told."""
        return Plan(self).lines


def cases():
    for name, fields in {**ESP, **AH}.items():
        if xfrm.cannot(fields):
            continue
        for shape in traffic.SHAPES:
            yield Case(name, shape)
        for shape in ("tunnel-4in4", "tunnel-6in4", "transport-6"):
            yield Case(name, shape, "esn")
        if fields.get("proto") != gipsec.AH:
            for shape in ("tunnel-4in4", "tunnel-4in6", "transport-4"):
                yield Case(name, shape, "udp")
        if fields.get("proto") == gipsec.AH or name in ("aes128-gcm-128", "aes128-cbc+sha1"):
            for shape in ("transport-4", "transport-6"):
                yield Case(name, shape, "headers")


CASES = list(cases())


def covers(item):
    """For the table in docs/conformance.md: the peer, the transform and features."""
    case = item.callspec.params["case"]
    variant = {"headers": "IPv4 options, IPv6 extension headers"}.get(case.variant, case.variant)
    refused = "forged, repeated and malformed packets refused"
    return "Linux kernel", case.name, [case.shape, refused] + ([variant] if variant else [])


class Plan:
    """The two SAs of a case, and how the kernel is told of them."""

    def __init__(self, case):
        self.case = case
        rng = self.rng = traffic.generator("kernel", case)
        number = CASES.index(case)
        fields = {**ESP, **AH}[case.name]
        outer, inner = traffic.SHAPES[case.shape]
        if inner == 4:
            self.ends = tuple(f"10.{side}.{number >> 8}.{number & 255}" for side in (1, 2))
        else:
            self.ends = tuple(f"fd{side:02x}::{number + 1:x}" for side in (1, 2))
        esn, port = case.variant == "esn", rng.choice([PORT, 40_000])
        udp = case.variant == "udp"
        ours, theirs = (traffic.config(rng, fields, case.shape, esn=esn) for _ in ("there", "back"))
        tunnel = {None: None, 4: guest.V4, 6: guest.V6}[outer]
        self.there = gipsec.replace(ours, tunnel=tunnel, udp=(port, PORT) if udp else None)
        self.back = gipsec.replace(
            theirs, tunnel=tunnel and tunnel[::-1], udp=(PORT, port) if udp else None,
            direction=gipsec.INBOUND, replay=True, window=128,
        )
        self.firsts = [self._first(esn) for _ in ("there", "back")]
        window = 128 if esn else 32
        self.lines = [
            *xfrm.lines(self.there, self.ends, True, self.firsts[0], window),
            *xfrm.lines(self.back, self.ends[::-1], False, self.firsts[1], window),
        ]

    def _first(self, esn):
        if not esn:
            return traffic.first_sequence(self.rng, False)
        # The low half wraps on the way.
        return (self.rng.choice([1, self.rng.randrange(1, 2**31)]) << 32) - 3

    def request(self, number, size):
        """An echo request, and what the answer's payload has to be."""
        data, more = self.rng.randbytes(size), self.case.variant == "headers"
        options = traffic.v4_options(self.rng) if more else []
        extensions = v6_extensions(self.rng) if more else []
        return echo(self.ends, number, data, self.rng.randrange(256), options, extensions), data


def echo(ends, number, data, traffic_class, options, extensions):
    if "." in ends[0]:
        header = IP(src=ends[0], dst=ends[1], tos=traffic_class, id=number, flags="DF", options=options)
        return bytes(header / ICMP(id=7, seq=number) / Raw(data))
    header = IPv6(src=ends[0], dst=ends[1], tc=traffic_class)
    for extension in extensions:
        header /= extension
    return bytes(header / ICMPv6EchoRequest(id=7, seq=number, data=data))


def v6_extensions(rng):
    """Of what traffic.v6_extensions has, that which the kernel takes: it wants padding to be short."""

    def options():
        # 0x1e stays, 0x3e may change on the way.
        return [HBHOptUnknown(otype=rng.choice([0x1E, 0x3E]), optdata=rng.randbytes(4))]

    chosen = [IPv6ExtHdrHopByHop(options=options(), autopad=0), IPv6ExtHdrDestOpt(options=options(), autopad=0)]
    chosen += [IPv6ExtHdrRouting(type=0, segleft=0, addresses=[]), IPv6ExtHdrDestOpt(options=options(), autopad=0)]
    return [extension for extension in chosen if rng.random() < 0.5]


def check_answer(plan, packet, number, data):
    headers, protocol, message = reference.split(packet)
    if packet[0] >> 4 == 4:
        answer, upper, kind, pseudo = IP(packet), 1, 0, b""
        assert reference.checksum(headers) == 0
    else:
        answer, upper, kind = IPv6(packet), 58, 129
        pseudo = headers[8:40] + struct.pack("!II", len(message), upper)
    assert ((answer.src, answer.dst), protocol, message[0]) == (plan.ends[::-1], upper, kind)
    assert reference.checksum(pseudo + message) == 0
    assert struct.unpack("!HH", message[4:8]) == (7, number)
    assert message[8:] == data


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernel_both_ways(accelerator, kernel, case):
    plan = Plan(case)
    assert not [kernel.refused[line] for line in plan.lines if line in kernel.refused]
    judged = plan.there.combined or plan.there.auth != "none"
    asked = [plan.request(number, size) for number, size in enumerate(plan.rng.sample(SIZES, PACKETS))]
    with accelerator.add(plan.there) as outbound:
        outbound.set_sequence(plan.firsts[0])
        sent = [outbound.encap(packet) for packet, _ in asked]
        answers, errors = kernel.exchange(sent, PACKETS)
        assert (len(answers), errors) == (PACKETS, {}), "the kernel took the packets"

        # It refuses what it has seen, and what was changed on the way; and goes on.
        answers_to_old, errors = kernel.exchange([sent[1]], 0)
        assert (answers_to_old, errors) == ([], {"XfrmInStateSeqError": 1})
        packet, data = plan.request(PACKETS, 40)
        if judged:
            good = outbound.encap(packet)
            answers_to_bad, errors = kernel.exchange([changed(good)], 0)
            assert (answers_to_bad, errors) == ([], {"XfrmInStateProtoError": 1})
            again, errors = kernel.exchange([good], 1)
            assert (len(again), errors) == (1, {})
            answers, asked = answers + again, asked + [(packet, data)]

    with accelerator.add(plan.back) as inbound:
        inbound.set_sequence(plan.firsts[1])
        for number, (answer, (_, data)) in enumerate(zip(answers, asked)):
            if judged:
                with pytest.raises(gipsec.Error) as caught:
                    inbound.decap(changed(answer))
                assert caught.value.errno == errno.EBADMSG
            check_answer(plan, inbound.decap(answer), number, data)
            with pytest.raises(gipsec.Error) as caught:
                inbound.decap(answer)
            assert caught.value.errno == errno.EALREADY
        assert inbound.statistics().packets_processed == len(answers)


def changed(packet):
    """The last byte, which an ICV covers or is part of; any checksum of UDP over IPv6 made right again."""
    packet = packet[:-1] + bytes([packet[-1] ^ 1])
    headers, number, rest = reference.split(packet)
    if number == reference.UDP and headers[0] >> 4 == 6:
        rest = rest[:6] + b"\0\0" + rest[8:]
        pseudo = headers[8:40] + struct.pack("!II", len(rest), reference.UDP)
        return headers + rest[:6] + struct.pack("!H", reference.checksum(pseudo + rest)) + rest[8:]
    return packet
