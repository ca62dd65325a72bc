"""The header of RFC 5840 around what a peer protected with plain ESP: what is inside is for the peer to judge."""

import struct

import gipsec
import reference

PROTOCOL_IDENTIFIER = b"\0\0\0\2"  # section 2.1: between UDP and WESP
ENCRYPTED, PADDED = 0x20, 0x10


def readable(config):
    """Whether what is on the way can be read: ESP with integrity only."""
    return config.combined == "gmac" or config.cipher == "null"


def header(config, ipv6, esp):
    """Section 2. What is encrypted has zeros for the fields that tell where the payload is."""
    # RFC 5840 section 2.1: over UDP the identifier does what the padding does under IPv6.
    padding = bytes(4) if ipv6 and not config.udp else b""
    flags = PADDED if padding else 0
    if not readable(config):
        return bytes([0, 0, 0, flags | ENCRYPTED]) + padding
    icv = reference.icv_len(config)
    length = 4 + len(padding) + 8 + reference.iv_len(config)
    # Nothing is encrypted: the next header is the byte before the ICV.
    return bytes([esp[len(esp) - icv - 1], length, icv, flags]) + padding


def plain(config):
    """The SA that is inside."""
    return gipsec.replace(config, proto=gipsec.ESP, udp=None)


def datagram(config, headers, payload):
    """What follows the IP header: `payload` begins with the WESP header."""
    if not config.udp:
        return reference.join(headers, gipsec.WESP, payload)
    udp = struct.pack("!HHHH", *config.udp, len(payload) + 12, 0) + PROTOCOL_IDENTIFIER
    return reference.join(headers, reference.UDP, udp + payload)


def parts(config, packet):
    """Headers, the WESP header and the ESP packet of what the library made; all of it is checked."""
    headers, number, rest = reference.split(packet)
    if config.udp:
        # The UDP header is that of ESP in UDP.
        headers, rest = reference.esp_of(gipsec.replace(config, proto=gipsec.ESP), packet)
        assert rest[:4] == PROTOCOL_IDENTIFIER
        rest = rest[4:]
    else:
        assert number == gipsec.WESP
    length = 8 if rest[3] & PADDED else 4
    found, esp = rest[:length], rest[length:]
    assert found == header(config, packet[0] >> 4 == 6, esp), "the WESP header"
    return headers, found, esp


class Peer:
    """The same calls as reference.Peer."""

    def __init__(self, inner_class, config, random):
        self.config, self.inner = config, inner_class(plain(config), random)

    def protect(self, packet, sequence):
        headers, number, esp = reference.split(self.inner.protect(packet, sequence))
        assert number == gipsec.ESP
        return datagram(self.config, headers, header(self.config, headers[0] >> 4 == 6, esp) + esp)

    def unprotect(self, packet, sequence):
        headers, _, esp = parts(self.config, packet)
        return self.inner.unprotect(reference.join(headers, gipsec.ESP, esp), sequence)
