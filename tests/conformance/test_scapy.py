"""Every transform, mode, pair of families and sequence number size, both ways, against scapy and the reference."""

import errno

import pytest

import gipsec
import reference
import scapy_peer
import traffic

ESP = dict(traffic.esp_transforms())
AH = dict(traffic.ah_transforms())
PACKETS = 4


def cases():
    for name, fields in {**ESP, **AH}.items():
        for shape in traffic.SHAPES:
            for esn in (False, True):
                peers = [reference.Peer] + ([] if scapy_peer.cannot(fields) else [scapy_peer.Peer])
                for udp in (False, True) if fields.get("proto") != gipsec.AH else (False,):
                    for peer in peers:
                        label = [name, shape, "esn" if esn else "seq32"] + (["udp"] if udp else [])
                        label.append("scapy" if peer is scapy_peer.Peer else "reference")
                        yield pytest.param(fields, shape, esn, udp, peer, id="/".join(label))


def covers(item):
    """For the table in docs/conformance.md: the peer, the transform and features."""
    params = item.callspec.params
    peer = "scapy" if params.get("peer_class") is scapy_peer.Peer else "OpenSSL"
    name = params.get("name", item.callspec.id.split("/")[0])
    if "esn" not in params or "udp" not in params:
        features = {
            "test_refusals_are_counted_once": ["forged, repeated and malformed packets refused"],
            "test_padding_of_a_peer": ["padding of traffic flow, dummy packets"],
            "test_what_else_comes_to_an_esp_port": ["UDP encapsulation"],
        }
        return peer, name if name in ESP or name in AH else None, features.get(item.originalname, [])
    features = [params["shape"]] + [feature for feature in ("esn", "udp") if params[feature]]
    return peer, name, features


def payload_bytes(config, packets):
    """What bytes_processed counts."""
    return sum(len(reference.wrap(config, packet)[2]) for packet in packets)


@pytest.mark.parametrize("fields, shape, esn, udp, peer_class", list(cases()))
def test_both_ways(accelerator, request, fields, shape, esn, udp, peer_class):
    rng = traffic.generator(request.node.callspec.id)
    ports = (rng.choice([4500, rng.randrange(1024, 2**16)]), rng.choice([4500, rng.randrange(1024, 2**16)]))
    config = traffic.config(rng, fields, shape, esn=esn, udp=ports if udp else None)
    peer = peer_class(config, rng)
    # scapy rewrites the wrong next header when UDP goes behind IPv6 extension headers; the reference does it right.
    extensions = not (udp and peer_class is scapy_peer.Peer)
    family = traffic.SHAPES[shape][1]
    packets = [traffic.packet(rng, family, size, extensions) for size in traffic.sizes(rng, PACKETS)]
    first = traffic.first_sequence(rng, esn)
    numbers = range(first + 1, first + 1 + PACKETS)

    with accelerator.add(config) as outbound:
        outbound.set_sequence(first)
        protected = outbound.encap_many(packets)
        for packet, sent, number in zip(packets, protected, numbers):
            assert isinstance(sent, bytes), f"encapsulation: {errno.errorcode[-sent]}"
            assert peer.unprotect(sent, number).hex() == packet.hex()
        stats = outbound.statistics()
        assert (stats.packets_processed, stats.refusals()) == (PACKETS, {})
        assert stats.bytes_processed == payload_bytes(config, packets)

    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        inbound.set_sequence(first)
        received = [peer.protect(packet, number) for packet, number in zip(packets, numbers)]
        for packet, taken in zip(packets, inbound.decap_many(received)):
            assert isinstance(taken, bytes), f"decapsulation: {errno.errorcode[-taken]}"
            assert taken.hex() == packet.hex()
        stats = inbound.statistics()
        assert (stats.packets_processed, stats.refusals()) == (PACKETS, {})
        assert stats.bytes_processed == payload_bytes(config, packets)


@pytest.mark.parametrize("name", [*ESP, *AH])
@pytest.mark.parametrize("size", [9000, 65_300])
def test_large_packets(accelerator, name, size):
    rng = traffic.generator(name, size)
    fields = {**ESP, **AH}[name]
    config = traffic.config(rng, fields, rng.choice(["transport-4", "transport-6"]))
    peer = reference.Peer(config, rng)
    packet = traffic.packet(rng, 4 if config.transport and rng.random() < 0.5 else 6, size, False)
    with accelerator.add(config) as outbound:
        sent = outbound.encap(packet)
        assert peer.unprotect(sent, 1) == packet
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        assert inbound.decap(peer.protect(packet, 1)) == packet


@pytest.mark.parametrize("name", ["aes128-gcm-128", "aes128-cbc+sha1", "null+sha256", "ah-sha256", "ah-aes128-gmac"])
@pytest.mark.parametrize("esn", [False, True])
def test_refusals_are_counted_once(accelerator, name, esn):
    rng = traffic.generator(name, esn)
    config = traffic.config(rng, {**ESP, **AH}[name], "tunnel-4in4", esn=esn, replay=True, window=64)
    peer = reference.Peer(config, rng)
    packet = traffic.packet(rng, 4, 100)
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        inbound.set_sequence(1000)
        good = peer.protect(packet, 1100)
        assert inbound.decap(good) == packet
        refused = [
            (good, errno.EALREADY, "anti_replay_replay_pkt"),
            # With ESN, what looks older than the window is taken for the next high half (RFC 4303 appendix A2.1).
            (peer.protect(packet, 1100 - 64), *((errno.EBADMSG, "invalid_icv") if esn else (errno.ESTALE, "anti_replay_late_pkt"))),
            (_flip_last(peer.protect(packet, 1101)), errno.EBADMSG, "invalid_icv"),
            (reference.Peer(_other_spi(config), rng).protect(packet, 1102), errno.EPROTO, "invalid_ipsec_pkt"),
            (good[:-1], errno.EPROTO, "invalid_ipsec_pkt"),
            (packet, errno.EPROTO, "invalid_ipsec_pkt"),
        ]
        if not esn:
            refused.append((peer.protect(packet, 0), errno.ERANGE, "invalid_seq_num"))
        expected = {}
        for bad, number, counter in refused:
            with pytest.raises(gipsec.Error) as caught:
                inbound.decap(bad)
            assert caught.value.errno == number, counter
            expected[counter] = expected.get(counter, 0) + 1
            assert inbound.statistics().refusals() == expected
        assert inbound.decap(peer.protect(packet, 1103)) == packet
        assert inbound.statistics().packets_processed == 2


def _flip_last(packet):
    return packet[:-1] + bytes([packet[-1] ^ 1])


def _other_spi(config):
    return gipsec.replace(config, spi=config.spi ^ 1)


@pytest.mark.parametrize("name", ESP)
def test_padding_of_a_peer(accelerator, name):
    """RFC 4303 section 2.4, 2.6 and 2.7: up to 255 bytes of padding, dummy packets, padding of the traffic flow; and
    padding that is not 1, 2, 3, ..."""
    rng = traffic.generator(name)
    config = traffic.config(rng, ESP[name], "tunnel-4in4")
    align = reference.alignment(config)
    packet = traffic.packet(rng, 4, 77)
    header = reference.outer_header(config, gipsec.ESP)

    def sealed(sequence, plaintext):
        iv = rng.randbytes(reference.iv_len(config))
        return reference.join(header, gipsec.ESP, reference.seal(config, sequence, iv, plaintext))

    most = packet + reference.trailer(packet, 4, align, (255 - align + 1) // align)
    long_tail = packet + rng.randbytes(300)
    dummy = rng.randbytes(40)
    wrong = reference.trailer(packet, 4, align, 1)
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        assert inbound.decap(sealed(1, most)) == packet
        assert inbound.decap(sealed(2, long_tail + reference.trailer(long_tail, 4, align))) == packet
        assert inbound.decap(sealed(3, dummy + reference.trailer(dummy, 59, align))) == b""
        assert inbound.statistics().packets_processed == 3
        refused = [
            (packet + b"\0" + wrong[1:], errno.EILSEQ, {"invalid_pad_length": 1}),
            (b"\0" * (align - 2) + b"\xff\4", errno.EILSEQ, {"invalid_pad_length": 2}),
            (packet + reference.trailer(packet, 41, align), errno.EPROTO, None),
            (packet + reference.trailer(packet, 17, align), errno.EPROTO, None),
            (packet[:-1] + reference.trailer(packet[:-1], 4, align), errno.EPROTO, None),
        ]
        for sequence, (plaintext, number, counters) in enumerate(refused, 4):
            with pytest.raises(gipsec.Error) as caught:
                inbound.decap(sealed(sequence, plaintext))
            assert caught.value.errno == number
            assert counters is None or inbound.statistics().refusals() == counters
        assert inbound.statistics().refusals() == {"invalid_pad_length": 2, "invalid_ipsec_pkt": 3}
        assert inbound.statistics().packets_processed == 3


@pytest.mark.parametrize("shape", traffic.SHAPES)
def test_what_else_comes_to_an_esp_port(accelerator, shape):
    """RFC 3948 section 2: IKE behind the non-ESP marker and keepalives are not for the SA; any UDP checksum is taken."""
    rng = traffic.generator(shape)
    config = traffic.config(rng, ESP["aes128-gcm-128"], shape, udp=(4500, 4500))
    peer = reference.Peer(config, rng)
    packet = traffic.packet(rng, traffic.SHAPES[shape][1], 50)
    good = peer.protect(packet, 1)
    headers, _, udp = reference.split(good)
    esp = udp[8:]

    def datagram(payload, checksum=0):
        ports = (4500).to_bytes(2, "big") * 2
        lengths = (len(payload) + 8).to_bytes(2, "big") + checksum.to_bytes(2, "big")
        return reference.join(headers, reference.UDP, ports + lengths + payload)

    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        strays = {b"": errno.EPROTO, esp[:12]: errno.EPROTO}
        strays |= {b"\xff": errno.ENOMSG, b"\0\0\0\0" + rng.randbytes(100): errno.ENOMSG}
        for stray, number in strays.items():
            with pytest.raises(gipsec.Error) as caught:
                inbound.decap(datagram(stray))
            assert caught.value.errno == number
        assert inbound.statistics().refusals() == {"invalid_ipsec_pkt": 4}
        assert inbound.decap(datagram(esp, 0x1234)) == packet
