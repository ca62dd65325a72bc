"""Implicit IVs (RFC 8750), both ways, against OpenSSL: the nonce is made from the sequence number, and not sent."""

import errno

import pytest

import gipsec
import reference
import traffic

ESP = dict(traffic.esp_transforms())
NAMES = [name for name, fields in ESP.items() if fields.get("combined") in ("gcm", "ccm", "chacha20-poly1305")]
PACKETS = 5


def covers(item):
    """For the table in docs/conformance.md: the peer, the transform and features."""
    return "OpenSSL", item.callspec.params["name"], ["implicit IV (RFC 8750)"]


@pytest.mark.parametrize("udp", [False, True], ids=["", "udp"])
@pytest.mark.parametrize("esn", [False, True], ids=["seq32", "esn"])
@pytest.mark.parametrize("shape", traffic.SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_both_ways_byte_for_byte(accelerator, name, shape, esn, udp):
    rng = traffic.generator("implicit", name, shape, esn, udp)
    config = traffic.config(
        rng, ESP[name], shape, esn=esn, implicit_iv=True, replay=True, udp=(4500, 40_000) if udp else None
    )
    peer, family = reference.Peer(config, rng), traffic.SHAPES[shape][1]
    packets = [traffic.packet(rng, family, size) for size in traffic.sizes(rng, PACKETS)]
    # About 2^32 as often as not.
    first = rng.choice([2**32 - 3, rng.randrange(2**60)]) if esn else rng.choice([0, 2**32 - 20])
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        inbound.set_sequence(first)
        with accelerator.add(config) as outbound:
            outbound.set_sequence(first)
            for number, packet in enumerate(packets, first + 1):
                sent = outbound.encap(packet)
                assert peer.unprotect(sent, number).hex() == packet.hex()
                if config.transport and not udp:
                    # Nothing of it is left to chance but where padding is the sender's choice.
                    assert sent == reference.protect_esp(config, packet, number, b"")
                received = peer.protect(packet, number)
                assert inbound.decap(received).hex() == packet.hex()
                with pytest.raises(gipsec.Error) as caught:
                    inbound.decap(received)
                assert caught.value.errno == errno.EALREADY
            # RFC 8750 section 6: a nonce never comes again. The number of an outbound SA does not go back.
            with pytest.raises(gipsec.Error) as caught:
                outbound.set_sequence(first)
            assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("name", NAMES)
def test_an_iv_that_is_sent_is_not_taken_for_none(accelerator, name):
    rng = traffic.generator("explicit", name)
    config = traffic.config(rng, ESP[name], "tunnel-4in4", implicit_iv=True)
    packet = traffic.packet(rng, 4, 100)
    explicit = gipsec.replace(config, implicit_iv=False)
    for one, other in ((config, explicit), (explicit, config)):
        with accelerator.add(one.as_(gipsec.INBOUND)) as inbound:
            with pytest.raises(gipsec.Error) as caught:
                inbound.decap(reference.Peer(other, rng).protect(packet, 1))
            assert caught.value.errno == errno.EBADMSG
