"""What the API does around packets, with the reference as the other end: packets in pieces, asynchronous calls in
classes, notifications, lifetimes."""

import errno
import queue

import pytest

import gipsec
import reference
import traffic

TRANSFORMS = {**dict(traffic.esp_transforms()), **dict(traffic.ah_transforms())}
SAMPLE = ["aes128-gcm-128", "aes256-cbc+sha256", "aes128-ctr+sha1", "chacha20-poly1305", "null+cmac", "ah-sha256"]


def covers(item):
    """For the table in docs/conformance.md: the peer, the transform and features."""
    feature = {
        "test_pieces": "pieces",
        "test_asynchronous_calls": "asynchronous",
        "test_soft_and_hard_lifetime": "lifetimes",
        "test_sequence_numbers_that_run_out": "overflow",
        "test_periodic_notices": "periodic",
    }[item.originalname]
    return "OpenSSL", None, [feature]


def cut(rng, length, count):
    places = sorted(rng.randrange(length + 1) for _ in range(count - 1))
    return [end - start for start, end in zip([0, *places], [*places, length])]


@pytest.mark.parametrize("shape", traffic.SHAPES)
@pytest.mark.parametrize("name", SAMPLE)
def test_pieces(accelerator, name, shape):
    """Packets that come and go in up to nine pieces, some of them empty."""
    rng = traffic.generator("pieces", name, shape)
    config = traffic.config(rng, TRANSFORMS[name], shape)
    peer = reference.Peer(config, rng)
    with accelerator.add(config) as outbound, accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        for number in range(1, 25):
            packet, count = traffic.packet(rng, traffic.SHAPES[shape][1], rng.randrange(1400)), rng.randrange(2, 10)
            pieces = cut(rng, len(packet), count), cut(rng, len(packet) + 200, count)
            assert peer.unprotect(outbound.encap(packet, pieces=pieces), number).hex() == packet.hex()
            received = peer.protect(packet, number)
            pieces = cut(rng, len(received), count), cut(rng, len(received), count)
            assert inbound.decap(received, pieces=pieces).hex() == packet.hex()


@pytest.mark.parametrize("shape", ["tunnel-4in4", "tunnel-6in6", "transport-4", "transport-6"])
@pytest.mark.parametrize("name", SAMPLE)
def test_asynchronous_calls(accelerator, name, shape):
    """Of whatever DSCP the packets are."""
    rng = traffic.generator("asynchronous", name, shape)
    config = traffic.config(rng, TRANSFORMS[name], shape)
    peer = reference.Peer(config, rng)
    packets = [traffic.packet(rng, traffic.SHAPES[shape][1], size) for size in traffic.sizes(rng, 30)]
    assert accelerator.capabilities().num_dscp_based_queues > 1
    with accelerator.add(config) as outbound, accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        for number, (packet, sent) in enumerate(zip(packets, outbound.encap_later(packets)), 1):
            assert peer.unprotect(sent, number).hex() == packet.hex()
        assert inbound.decap_later([peer.protect(packet, number) for number, packet in enumerate(packets, 1)]) == packets


@pytest.mark.parametrize("direction", [gipsec.OUTBOUND, gipsec.INBOUND])
def test_soft_and_hard_lifetime(accelerator, direction):
    """R34: payload bytes through the SA; one notice, and then the end."""
    rng = traffic.generator("lifetime", direction)
    config = traffic.config(
        rng, TRANSFORMS["aes128-gcm-128"], "tunnel-4in4", soft_kilobytes=4, hard_kilobytes=8, notify=("soft_lifetime",)
    )
    peer = reference.Peer(config, rng)
    packet = traffic.packet(rng, 4, 900, False)
    with accelerator.notices() as notices, accelerator.add(config.as_(direction)) as sa:
        carried, number = 0, 0
        with pytest.raises(gipsec.Error) as caught:
            while True:
                number += 1
                if direction == gipsec.OUTBOUND:
                    assert peer.unprotect(sa.encap(packet), number) == packet
                else:
                    assert sa.decap(peer.protect(packet, number)) == packet
                carried += len(packet)
                assert carried < 9 * 1024
        assert caught.value.errno == errno.EKEYEXPIRED
        # The packet that reaches the limit is the last one.
        assert carried - len(packet) < 8 * 1024 <= carried
        assert notices.get(timeout=5) == ("soft_lifetime", 4)
        with pytest.raises(queue.Empty):
            notices.get(timeout=0.05)


@pytest.mark.parametrize("esn", [False, True], ids=["seq32", "esn"])
def test_sequence_numbers_that_run_out(accelerator, esn):
    """RFC 4303 section 3.3.3: the counter must not cycle."""
    rng = traffic.generator("overflow", esn)
    end = 2 ** (64 if esn else 32) - 1
    config = traffic.config(
        rng, TRANSFORMS["aes128-gcm-128"], "tunnel-4in4", esn=esn, notify=("overflow",), overflow_margin=10
    )
    peer = reference.Peer(config, rng)
    packet = traffic.packet(rng, 4, 20)
    with accelerator.notices() as notices, accelerator.add(config) as outbound:
        outbound.set_sequence(end - 20)
        for number in range(end - 19, end + 1):
            assert peer.unprotect(outbound.encap(packet), number) == packet
        what, first = notices.get(timeout=5)
        assert what == "overflow" and end - 11 <= first <= end - 9
        with pytest.raises(gipsec.Error) as caught:
            outbound.encap(packet)
        assert caught.value.errno == errno.EOVERFLOW
        what, last = notices.get(timeout=5)
        assert (what, last) == ("overflow", end)


@pytest.mark.parametrize("direction", [gipsec.OUTBOUND, gipsec.INBOUND])
def test_periodic_notices(accelerator, direction):
    rng = traffic.generator("periodic", direction)
    config = traffic.config(rng, TRANSFORMS["aes128-gcm-128"], "tunnel-4in4", notify=("periodic",), periodic_interval=50)
    peer = reference.Peer(config, rng)
    packet = traffic.packet(rng, 4, 20)
    with accelerator.notices() as notices, accelerator.add(config.as_(direction)) as sa:
        for number in range(1, 201):
            if direction == gipsec.OUTBOUND:
                assert peer.unprotect(sa.encap(packet), number) == packet
            else:
                assert sa.decap(peer.protect(packet, number)) == packet
        assert [notices.get(timeout=5) for _ in range(4)] == [("periodic", number) for number in (50, 100, 150, 200)]
