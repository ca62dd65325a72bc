"""IPComp alone, both ways: DEFLATE against zlib, LZS against a codec of our own; what does not shrink goes as it is."""

import errno
import random
import struct

import pytest

import gipsec
import ipcomp
import reference
import traffic

SENTENCE = b"to be, or not to be, that is the question: "


def covers(item):
    """For the table in docs/conformance.md: the peer, the transform and features."""
    features = {"deflate": "IPComp with DEFLATE, alone and inside ESP", "lzs": "IPComp with LZS"}
    return "OpenSSL", None, [features[item.callspec.params["algorithm"]]]


def contents(rng):
    """Payloads, and whether they shrink: None where that is for the compressor to say."""
    noise = rng.randbytes(1300)
    yield b"", None
    yield b"x" * 10, None
    yield bytes(1400), True
    yield SENTENCE * 30, True
    yield noise, False
    yield noise[:600] * 2, True  # DEFLATE and LZS both reach back so far
    yield noise[:1] * 3 + noise[:300] + noise[:300], True
    yield bytes(rng.choice(b"ab") for _ in range(1000)), True
    yield rng.randbytes(rng.randrange(1500)), None
    yield SENTENCE * 1400, True


def packet(rng, family, data):
    """With the data behind UDP, and options or extension headers in front of it at times."""
    whole = traffic.packet(rng, family, 0)
    headers = reference.split(whole)[0]
    udp = struct.pack("!HHHH", 50_001, 50_002, 8 + len(data), 0) + data
    return reference.join(headers, reference.UDP, udp)


def config_of(rng, algorithm, shape, well_known):
    tunnel = {None: None, 4: traffic.V4, 6: traffic.V6}[traffic.SHAPES[shape][0]]
    return gipsec.Config(
        gipsec.OUTBOUND, 0, proto=gipsec.IPCOMP, compression=algorithm, transport=tunnel is None, tunnel=tunnel,
        cpi=0 if well_known else rng.randrange(256, 61_440),
    )


@pytest.mark.parametrize("well_known", [False, True], ids=["given", "well-known"])
@pytest.mark.parametrize("shape", traffic.SHAPES)
@pytest.mark.parametrize("algorithm", ["deflate", "lzs"])
@pytest.mark.parametrize("part", range(4))
def test_both_ways(accelerator, algorithm, shape, well_known, part):
    rng = traffic.generator("compression", algorithm, shape, well_known, part)
    config, family = config_of(rng, algorithm, shape, well_known), traffic.SHAPES[shape][1]
    peer = ipcomp.Peer(config, rng)
    packets = [(packet(rng, family, data), shrinks) for data, shrinks in contents(rng)]
    with accelerator.add(config) as outbound, accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        for whole, shrinks in packets:
            sent = outbound.encap(whole)
            assert peer.unprotect(sent).hex() == whole.hex()
            if shrinks is not None:
                assert (reference.split(sent)[1] == gipsec.IPCOMP) == shrinks
            received = peer.protect(whole)
            assert inbound.decap(received).hex() == whole.hex()
        assert outbound.statistics().refusals() == inbound.statistics().refusals() == {}


@pytest.mark.parametrize("shape", traffic.SHAPES)
@pytest.mark.parametrize("algorithm", ["deflate", "lzs"])
def test_what_is_corrupt_is_refused(accelerator, algorithm, shape):
    rng = traffic.generator("corrupt", algorithm, shape)
    config = config_of(rng, algorithm, shape, False)
    whole = packet(rng, traffic.SHAPES[shape][1], SENTENCE * 20)
    good = ipcomp.Peer(config, rng).protect(whole)
    headers, _, rest = reference.split(good)
    before_the_beginning = {
        "deflate": bytes([0b011, 0b0000010, 0]),  # a fixed block that begins with a match
        "lzs": ipcomp.bits_to_bytes("0" + "01000101" + ipcomp.lzs_match(2, 30) + ipcomp.END_MARKER),
    }[algorithm]
    bad = {
        "CPI": rest[:2] + struct.pack("!H", config.cpi ^ 1) + rest[4:],
        "cut": rest[: len(rest) // 2],
        "header alone": rest[:4],
        "half a header": rest[:3],
        "match": rest[:4] + before_the_beginning,
    }
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        for count, (what, payload) in enumerate(bad.items(), 1):
            with pytest.raises(gipsec.Error) as caught:
                inbound.decap(reference.join(headers, gipsec.IPCOMP, payload))
            assert (what, caught.value.errno) == (what, errno.EPROTO)
            assert inbound.statistics().refusals() == {"invalid_ipsec_pkt": count}
        assert inbound.decap(good) == whole


@pytest.mark.parametrize("algorithm", ["lzs"])
def test_tokens(accelerator, algorithm):
    """Every length up to 300, at offsets on both sides of where their form changes."""
    rng = traffic.generator("tokens")
    config = config_of(rng, algorithm, "tunnel-4in4", False)
    headers = reference.outer_header(config, gipsec.IPCOMP)
    with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        for length in range(2, 300):
            offset = rng.choice([1, 2, 126, 127, 128, 129, 1000, 2046, 2047])
            history = packet(rng, 4, rng.randbytes(2047))
            plain = bytearray(history)
            for _ in range(length):
                plain.append(plain[-offset])
            # The header has to say how long the packet is now.
            header = (plain[0] & 15) * 4
            plain = reference.join(bytes(plain[:header]), reference.UDP, bytes(plain[header:]))
            bits = "".join(f"0{byte:08b}" for byte in plain[: len(history)])
            stream = ipcomp.bits_to_bytes(bits + ipcomp.lzs_match(offset, length) + ipcomp.END_MARKER)
            assert ipcomp.lzs_decompress(stream) == plain
            header = struct.pack("!BBH", 4, 0, config.cpi)
            assert inbound.decap(reference.join(headers, gipsec.IPCOMP, header + stream)) == plain


def test_the_codec_of_this_suite():
    rng = random.Random(1)
    for size in [*range(40), 3000]:
        data = bytes(rng.choice(b"abc") for _ in range(size))
        assert ipcomp.lzs_decompress(ipcomp.lzs_compress(data, rng)) == data
        assert ipcomp.inflate(ipcomp.deflate(data, rng)) == data
    # RFC 1967 and ANSI X3.241: a run of one byte is a literal and a match with offset 1.
    run = "0" + "01100001" + "1" + "1" + "0000001" + "1100" + "110000000"
    assert ipcomp.lzs_decompress(ipcomp.bits_to_bytes(run)) == b"aaaaaa"
