"""Outer headers, and what AH does not protect."""

import errno

import pytest
from scapy.layers.inet import IP, UDP, IPOption, IPOption_LSRR
from scapy.layers.inet6 import IPv6, IPv6ExtHdrRouting
from scapy.packet import Raw

import gipsec
import reference
import scapy_peer
import traffic

GCM = dict(combined="gcm", combined_key=20, icv_bits=128)
AH_SHA256 = dict(proto=gipsec.AH, auth="sha256", auth_key=32, icv_bits=0)


def covers(item):
    """For the table in docs/conformance.md: the peer, the transform and features."""
    params = getattr(item, "callspec", None) and item.callspec.params or {}
    peer = "scapy" if params.get("peer_class") is scapy_peer.Peer else "OpenSSL"
    if item.originalname in ("test_outer_header", "test_congestion_on_the_way"):
        return peer, None, ["outer header: DSCP, DF, ECN"]
    if item.originalname in ("test_flow_label", "test_outer_addresses_are_checked"):
        return peer, None, ["outer header: flow label, addresses checked"]
    if "test_ah" in item.originalname or "ipv4_option" in item.originalname:
        return peer, params.get("name"), ["IPv4 options, IPv6 extension headers"]
    return peer, None, []


def traffic_class(packet):
    return packet[1] if packet[0] >> 4 == 4 else (packet[0] << 4 | packet[1] >> 4) & 0xFF


def with_traffic_class(packet, value):
    if packet[0] >> 4 == 6:
        return bytes([0x60 | value >> 4, (value & 15) << 4 | packet[1] & 15]) + packet[2:]
    changed = bytes([packet[0], value]) + packet[2:10] + b"\0\0" + packet[12:]
    header = (packet[0] & 15) * 4
    return changed[:10] + reference.checksum(changed[:header]).to_bytes(2, "big") + changed[12:]


@pytest.mark.parametrize("fields", [GCM, AH_SHA256], ids=["esp", "ah"])
@pytest.mark.parametrize("shape", [name for name in traffic.SHAPES if name.startswith("tunnel")])
@pytest.mark.parametrize("ecn", [False, True])
def test_outer_header(accelerator, fields, shape, ecn):
    """R28; RFC 4301 section 5.1.2, RFC 6040 section 4.1."""
    rng = traffic.generator(shape, ecn, fields.get("proto"))
    outer, inner = traffic.SHAPES[shape]
    for dscp_rule in (0, gipsec.COPY, gipsec.CLEAR, gipsec.SET):
        for df_rule in (0, gipsec.COPY, gipsec.CLEAR, gipsec.SET):
            config = traffic.config(rng, fields, shape, ecn=ecn, dscp=46, dscp_rule=dscp_rule, df_rule=df_rule)
            with accelerator.add(config) as outbound:
                for _ in range(3):
                    packet = traffic.packet(rng, inner, 40)
                    sent = outbound.encap(packet)
                    before = traffic_class(packet)
                    dscp = {0: before >> 2, gipsec.COPY: before >> 2, gipsec.CLEAR: 0, gipsec.SET: 46}[dscp_rule]
                    assert traffic_class(sent) == dscp << 2 | (before & 3 if ecn else 0)
                    header = (IP if outer == 4 else IPv6)(sent)
                    assert (header.src, header.dst) == config.tunnel
                    protocol = config.proto
                    if outer == 4:
                        inner_df = inner == 6 or packet[6] & 0x40 != 0
                        df = {0: inner_df, gipsec.COPY: inner_df, gipsec.CLEAR: False, gipsec.SET: True}[df_rule]
                        assert (header.ttl, header.proto, header.len, header.ihl) == (64, protocol, len(sent), 5)
                        assert (bool(header.flags.DF), bool(header.flags.MF), header.frag) == (df, False, 0)
                        assert reference.checksum(sent[:20]) == 0
                    else:
                        assert (header.hlim, header.nh, header.plen, header.fl) == (64, protocol, len(sent) - 40, 0)


@pytest.mark.parametrize("fields", [GCM, AH_SHA256], ids=["esp", "ah"])
@pytest.mark.parametrize("shape", ["tunnel-6in6", "tunnel-4in6"])
@pytest.mark.parametrize("copied", [False, True])
def test_flow_label(accelerator, fields, shape, copied):
    """RFC 6438: the flow label of a tunnel."""
    rng = traffic.generator("flow", shape, copied, fields.get("proto"))
    inner = traffic.SHAPES[shape][1]
    config = traffic.config(rng, fields, shape, copy_flow_label=copied)
    with accelerator.add(config) as outbound:
        for _ in range(20):
            packet = traffic.packet(rng, inner, 40)
            expected = IPv6(packet).fl if copied and inner == 6 else 0
            assert IPv6(outbound.encap(packet)).fl == expected


@pytest.mark.parametrize("fields", [GCM, AH_SHA256], ids=["esp", "ah"])
@pytest.mark.parametrize("shape", [name for name in traffic.SHAPES if name.startswith("tunnel")])
def test_outer_addresses_are_checked(accelerator, fields, shape):
    rng = traffic.generator("outer", shape, fields.get("proto"))
    config = traffic.config(rng, fields, shape, check_outer=True, replay=True)
    outer, inner = traffic.SHAPES[shape]
    source, destination = config.tunnel
    others = [("203.0.113.1", destination), (source, "203.0.113.1"), (destination, source)]
    if outer == 6:
        others = [("2001:db8::2", destination), (source, "2001:db8::1"), (destination, source)]
    packet = traffic.packet(rng, inner, 40)
    unchecked = gipsec.replace(config, check_outer=False)
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound, accelerator.add(unchecked.as_(gipsec.INBOUND)) as lax:
        for count, other in enumerate(others, 1):
            stray = reference.Peer(gipsec.replace(config, tunnel=other), rng).protect(packet, count)
            with pytest.raises(gipsec.Error) as caught:
                inbound.decap(stray)
            assert caught.value.errno == errno.EPROTO
            assert inbound.statistics().refusals() == {"invalid_ipsec_pkt": count}
            assert lax.decap(stray) == packet
        # They took no sequence number.
        for number in range(1, len(others) + 1):
            assert inbound.decap(reference.Peer(config, rng).protect(packet, number)) == packet


# RFC 6040 figure 4. Rows: inner; columns: outer Not-ECT, ECT(1), ECT(0), CE. None is "drop".
FIGURE_4 = {0: (0, 0, 0, None), 1: (1, 1, 1, 3), 2: (2, 1, 2, 3), 3: (3, 3, 3, 3)}


@pytest.mark.parametrize("shape", [name for name in traffic.SHAPES if name.startswith("tunnel")])
@pytest.mark.parametrize("propagate", [False, True])
def test_congestion_on_the_way(accelerator, shape, propagate):
    rng = traffic.generator(shape, propagate)
    config = traffic.config(rng, GCM, shape, ecn=propagate)
    peer = reference.Peer(config, rng)
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        sequence = 0
        for inner, row in FIGURE_4.items():
            for outer, result in enumerate(row):
                sequence += 1
                packet = with_traffic_class(traffic.packet(rng, traffic.SHAPES[shape][1], 40), 0xB8 | inner)
                sent = with_traffic_class(peer.protect(packet, sequence), outer)
                if propagate and result is None:
                    with pytest.raises(gipsec.Error) as caught:
                        inbound.decap(sent)
                    assert caught.value.errno == errno.EPROTO
                else:
                    expected = with_traffic_class(packet, 0xB8 | result) if propagate else packet
                    assert inbound.decap(sent) == expected
        assert inbound.statistics().refusals() == ({"invalid_ipsec_pkt": 1} if propagate else {})


def changed_on_the_way(packet):
    """What routers may do to an IPv4 or IPv6 header under AH (RFC 4302 appendix A)."""
    if packet[0] >> 4 == 6:
        return with_traffic_class(packet, 0xFF)[:1] + bytes([0xFF, 0xFF, 0xFF]) + packet[4:7] + b"\1" + packet[8:]
    header = (packet[0] & 15) * 4
    changed = bytearray(packet)
    changed[1], changed[6], changed[8], changed[10:12] = 0xFF, changed[6] ^ 0x40, 1, b"\0\0"
    changed[10:12] = reference.checksum(bytes(changed[:header])).to_bytes(2, "big")
    return bytes(changed)


@pytest.mark.parametrize("name", dict(traffic.ah_transforms()))
@pytest.mark.parametrize("shape", traffic.SHAPES)
def test_ah_survives_routers_and_nothing_else(accelerator, name, shape):
    rng = traffic.generator(name, shape)
    config = traffic.config(rng, dict(traffic.ah_transforms())[name], shape)
    outer, inner = traffic.SHAPES[shape]
    packet = traffic.packet(rng, inner, 60)
    with accelerator.add(config) as outbound:
        sent = outbound.encap(packet)
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        received = inbound.decap(changed_on_the_way(sent))
        assert received == (packet if outer else changed_on_the_way(packet))
        source = 12 if (outer or inner) == 4 else 8
        for at in (source, len(sent) - 1, len(reference.split(sent)[0]) + 12):
            bad = bytearray(sent)
            bad[at] ^= 1
            with pytest.raises(gipsec.Error) as caught:
                inbound.decap(bytes(bad))
            assert caught.value.errno == errno.EBADMSG
        assert inbound.statistics().refusals() == {"invalid_icv": 3}


HOPS = ["2001:db8:a::1", "2001:db8:b::2", "2001:db8:c::3"]


@pytest.mark.parametrize("peer_class", [scapy_peer.Peer, reference.Peer])
@pytest.mark.parametrize("esn", [False, True])
def test_ah_with_an_ipv6_routing_header(accelerator, peer_class, esn):
    """RFC 4302 section 3.3.3.1.2.3: the sender computes the ICV over the header as the receiver will see it."""
    rng = traffic.generator(esn)
    config = traffic.config(rng, AH_SHA256, "transport-6", esn=esn)
    source, *visited = traffic.INNER_V6[0], *HOPS
    upper = traffic.payload(rng, 50)
    route = dict(type=0)
    at_sender = bytes(
        IPv6(src=source, dst=HOPS[0]) / IPv6ExtHdrRouting(**route, segleft=2, addresses=HOPS[1:]) / upper
    )
    at_receiver = bytes(
        IPv6(src=source, dst=HOPS[2]) / IPv6ExtHdrRouting(**route, segleft=0, addresses=HOPS[:2]) / upper
    )
    # The upper checksum is over the final destination in both.
    headers = len(reference.split(at_sender)[0])
    at_sender = at_sender[:headers] + at_receiver[headers:]

    def travel(packet):
        """A packet as it arrives."""
        route_end = headers
        arrived = reference.join(at_receiver[:route_end], gipsec.AH, packet[route_end:])
        return arrived[:7] + packet[7:8] + arrived[8:]

    peer = peer_class(config, rng)
    with accelerator.add(config) as outbound:
        sent = outbound.encap(at_sender)
        assert peer.unprotect(travel(sent), 1) == at_receiver
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        received = peer.protect(at_sender, 1)
        assert inbound.decap(travel(received)) == at_receiver
        assert inbound.decap(received) == at_sender  # the same ICV, as a host that is not the last would see it


def test_ah_with_an_ipv4_source_route(accelerator):
    """RFC 4302 section 3.3.3.1.1.1: the destination is predictable with a source route. scapy leaves it alone, which is
    wrong for a packet that is not at its end; so this is against the reference."""
    rng = traffic.generator()
    config = traffic.config(rng, AH_SHA256, "transport-4")
    options = [IPOption(b"\1"), IPOption_LSRR(length=11, pointer=4, routers=["192.0.2.8", "192.0.2.9"])]
    sender = bytes(IP(src="10.0.0.1", dst="10.0.0.2", options=options) / UDP(sport=50001, dport=50002) / Raw(b"x" * 9))
    peer = reference.Peer(config, rng)
    with accelerator.add(config) as outbound:
        sent = outbound.encap(sender)
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        assert peer.unprotect(sent, 1) == sender
        arrived = bytearray(sent)
        arrived[16:20] = bytes([192, 0, 2, 9])
        arrived[23], arrived[24:32] = 12, bytes([10, 0, 0, 2, 192, 0, 2, 8])
        # At its end the destination is the real one, and the list holds the routers passed.
        final = reference.join(bytes(arrived[:32]), gipsec.AH, bytes(arrived[32:]))
        assert inbound.decap(sent) == sender
        assert inbound.decap(final)[32:] == sender[32:]


# scapy fails on the fields of the others, which are random here, or on kinds that it has no name for.
SCAPY_OPTIONS = {130, 133, 134}


@pytest.mark.parametrize("fields", [GCM, AH_SHA256], ids=["esp", "ah"])
def test_every_ipv4_option_is_carried(accelerator, fields):
    rng = traffic.generator(str(fields))
    config = traffic.config(rng, fields, "transport-4")
    scapy, own = scapy_peer.Peer(config, rng), reference.Peer(config, rng)
    kinds = [7, 68, 82, 130, 133, 134, 136, 148, 149, 94, 222]
    with accelerator.add(config) as outbound, accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        for number, kind in enumerate(kinds, 1):
            # Bytes of our own behind the header, since scapy gives some options fields of their own.
            option = bytes([kind, 8]) + rng.randbytes(6)
            packet = reference.join(
                bytes([0x47]) + bytes(IP(src="10.0.0.1", dst="10.0.0.2", id=5))[1:20] + option, 17, rng.randbytes(40)
            )
            sent = outbound.encap(packet)
            assert own.unprotect(sent, number) == packet
            assert inbound.decap(own.protect(packet, number)) == packet
            if kind in SCAPY_OPTIONS:
                assert scapy.unprotect(sent, number) == packet


def test_the_identification_differs_from_packet_to_packet(accelerator):
    rng = traffic.generator()
    config = traffic.config(rng, GCM, "tunnel-4in4", df_rule=gipsec.CLEAR)
    with accelerator.add(config) as outbound:
        packets = outbound.encap_many([traffic.packet(rng, 4, 10)] * 500)
    assert len({packet[4:6] for packet in packets}) == 500


def test_random_ivs_and_counters(accelerator):
    """R29."""
    rng = traffic.generator()
    packet = traffic.packet(rng, 4, 10)
    for name, fields in traffic.esp_transforms():
        config = traffic.config(rng, fields, "transport-4")
        length = reference.iv_len(config)
        if not length:
            continue
        with accelerator.add(config) as outbound:
            sent = outbound.encap_many([packet] * 100)
        at = len(reference.split(sent[0])[0]) + 8
        ivs = [int.from_bytes(one[at : at + length], "big") for one in sent]
        steps = {(b - a) % 2 ** (8 * length) for a, b in zip(ivs, ivs[1:])}
        counter = config.combined or config.cipher == "aes-ctr"
        assert len(set(ivs)) == 100 and (steps == {1}) == bool(counter), name


def test_sizes_and_offsets():
    """R10."""
    import ctypes

    for structure, size in gipsec.SIZES.items():
        assert ctypes.sizeof(structure) == size, structure
    for (structure, field), offset in gipsec.OFFSETS.items():
        assert getattr(structure, field).offset == offset, (structure, field)
    assert gipsec.api_version() == "1.0"
