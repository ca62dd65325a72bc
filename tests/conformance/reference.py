"""ESP and AH once more, on top of the `cryptography` package alone, for what scapy cannot do or gets wrong.

Written from RFC 4302, 4303, 4106, 4309, 4494, 4543, 3566, 3602, 3686, 7634, 8750 and 3948; slow and without state.
"""

import hashlib
import hmac
import ipaddress
import struct

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.cmac import CMAC

import gipsec

UDP = 17
HASHES = {
    "md5": (hashlib.md5, 12),
    "sha1": (hashlib.sha1, 12),
    "sha256": (hashlib.sha256, 16),
    "sha384": (hashlib.sha384, 24),
    "sha512": (hashlib.sha512, 32),
}


class Refused(Exception):
    """The packet is not authentic, or not well formed."""


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def xcbc(key, message):
    """AES-XCBC-MAC, RFC 3566 section 4, the whole 16 bytes."""

    def aes(aes_key, mode, data):
        encryptor = Cipher(algorithms.AES(aes_key), mode).encryptor()
        return encryptor.update(data) + encryptor.finalize()

    k1, k2, k3 = (aes(key, modes.ECB(), bytes([number]) * 16) for number in (1, 2, 3))
    split = max(0, (len(message) - 1) // 16 * 16)
    last, mask = message[split:], k2
    if len(last) != 16:
        last, mask = (last + b"\x80").ljust(16, b"\0"), k3
    last = bytes(a ^ b for a, b in zip(last, mask))
    return aes(k1, modes.CBC(bytes(16)), message[:split] + last)[-16:]


def integrity(config, message):
    """The ICV of a separate integrity algorithm, cut to its length."""
    if config.auth in (None, "none"):
        return b""
    if config.auth == "xcbc":
        return xcbc(config.auth_key, message)[:12]
    if config.auth == "cmac":
        context = CMAC(algorithms.AES(config.auth_key))
        context.update(message)
        return context.finalize()[:12]
    function, usual = HASHES[config.auth]
    return hmac.digest(config.auth_key, message, function)[: config.icv_bits // 8 or usual]


def icv_len(config):
    if config.combined:
        return config.icv_bits // 8 or 16
    return len(integrity(config, b""))


def iv_len(config):
    """Of what is sent."""
    if config.implicit_iv:
        return 0
    if config.combined or config.cipher == "aes-ctr":
        return 8
    return {"aes-cbc": 16, "des": 8, "3des": 8}.get(config.cipher, 0)


def alignment(config):
    return {"aes-cbc": 16, "des": 8, "3des": 8}.get(config.cipher, 4)


def _cipher(config, iv):
    """RFC 3602, 3686, 2405, 2451."""
    key = config.cipher_key
    if config.cipher == "aes-ctr":
        return Cipher(algorithms.AES(key[:-4]), modes.CTR(key[-4:] + iv + b"\0\0\0\1"))
    if config.cipher == "aes-cbc":
        return Cipher(algorithms.AES(key), modes.CBC(iv))
    # DES is 3DES with one key three times.
    return Cipher(TripleDES(key * 3 if config.cipher == "des" else key), modes.CBC(iv))


def _crypt(context, data):
    return context.update(data) + context.finalize()


def _additional_data(config, spi, sequence):
    """RFC 4106 section 5."""
    return struct.pack("!IQ", spi, sequence) if config.esn else struct.pack("!II", spi, sequence & 0xFFFFFFFF)


def _implicit(config, sequence, iv):
    """RFC 8750 section 3: the 64-bit sequence number, or 32 bits of zeros and the 32-bit one, where no IV is sent."""
    return struct.pack("!Q", sequence if config.esn else sequence & 0xFFFFFFFF) if config.implicit_iv else iv


def seal(config, sequence, iv, plaintext):
    """An ESP packet from its SPI to its ICV; `plaintext` has its trailer."""
    head = struct.pack("!II", config.spi, sequence & 0xFFFFFFFF) + iv
    iv = _implicit(config, sequence, iv)
    aad = _additional_data(config, config.spi, sequence)
    key, length = config.combined_key, icv_len(config)
    if config.combined == "gcm":
        sealed = AESGCM(key[4:]).encrypt(key[:4] + iv, plaintext, aad)
        return head + sealed[: len(plaintext) + length]
    if config.combined == "ccm":
        return head + AESCCM(key[3:], tag_length=length).encrypt(key[:3] + iv, plaintext, aad)
    if config.combined == "chacha20-poly1305":
        return head + ChaCha20Poly1305(key[4:]).encrypt(key[:4] + iv, plaintext, aad)
    if config.combined == "gmac":
        return head + plaintext + AESGCM(key[4:]).encrypt(key[:4] + iv, b"", aad + iv + plaintext)
    body = plaintext
    if config.cipher not in (None, "null"):
        body = _crypt(_cipher(config, iv).encryptor(), plaintext)
    high = struct.pack("!I", sequence >> 32) if config.esn else b""
    return head + body + integrity(config, head + body + high)


def unseal(config, sequence, packet):
    """The plaintext of an ESP packet, whose bytes must be exactly what `seal` gives for it."""
    ivs, icvs = iv_len(config), icv_len(config)
    iv, body = packet[8 : 8 + ivs], packet[8 + ivs : len(packet) - icvs]
    sent, iv = iv, _implicit(config, sequence, iv)
    key = config.combined_key
    if config.combined == "gcm":
        plaintext = _crypt(Cipher(algorithms.AES(key[4:]), modes.CTR(key[:4] + iv + b"\0\0\0\2")).decryptor(), body)
    elif config.combined == "ccm":
        # RFC 3610 section 2.3: flags, nonce, counter; L is 4.
        counter = b"\3" + key[:3] + iv + b"\0\0\0\1"
        plaintext = _crypt(Cipher(algorithms.AES(key[3:]), modes.CTR(counter)).decryptor(), body)
    elif config.combined == "chacha20-poly1305":
        # RFC 8439 section 2.8: block 0 makes the Poly1305 key.
        counter = b"\1\0\0\0" + key[:4] + iv
        plaintext = _crypt(Cipher(algorithms.ChaCha20(key[4:], counter), None).decryptor(), body)
    elif config.cipher in (None, "null"):
        plaintext = body
    else:
        plaintext = _crypt(_cipher(config, iv).decryptor(), body)
    if seal(config, sequence, sent, plaintext) != packet:
        raise Refused("the ESP packet is not what the reference makes of its plaintext")
    return plaintext


def split(packet):
    """Headers that stay outside in transport mode, the next header number, and the rest (RFC 4303 section 3.1.1)."""
    if packet[0] >> 4 == 4:
        length = (packet[0] & 15) * 4
        return packet[:length], packet[9], packet[length:]
    at, number, number_at, routed = 40, packet[6], 6, False
    while number in (0, 43) or number == 60 and not routed:
        routed |= number == 43
        number, number_at, at = packet[at], at, at + 8 + packet[at + 1] * 8
    assert number == packet[number_at]
    return packet[:at], number, packet[at:]


def join(headers, number, rest):
    """The reverse of `split`: corrects protocol, length and checksum."""
    headers = bytearray(headers)
    if headers[0] >> 4 == 4:
        headers[9] = number
        headers[2:4] = struct.pack("!H", len(headers) + len(rest))
        headers[10:12] = b"\0\0"
        headers[10:12] = struct.pack("!H", checksum(bytes(headers)))
    else:
        at, number_at = 40, 6
        while at < len(headers):
            number_at, at = at, at + 8 + headers[at + 1] * 8
        headers[number_at] = number
        headers[4:6] = struct.pack("!H", len(headers) - 40 + len(rest))
    return bytes(headers) + rest


def outer_header(config, number, identification=0, traffic_class=0, dont_fragment=False, ttl=64):
    """The outer IP header of a tunnel, with no payload yet."""
    source, destination = (ipaddress.ip_address(address) for address in config.tunnel)
    if source.version == 4:
        flags = 0x4000 if dont_fragment else 0
        fixed = struct.pack("!BBHHHBBH", 0x45, traffic_class, 20, identification, flags, ttl, number, 0)
    else:
        fixed = struct.pack("!IHBB", 0x60000000 | traffic_class << 20, 0, number, ttl)
    return fixed + source.packed + destination.packed


def trailer(payload, number, align, extra=0):
    """Padding 1, 2, 3, ..., its length, next header (RFC 4303 section 2.4)."""
    length = -(len(payload) + 2) % align + extra * align
    return bytes(range(1, length + 1)) + bytes([length, number])


def take_trailer(plaintext):
    length, number = plaintext[-2:]
    payload, padding = plaintext[: len(plaintext) - 2 - length], plaintext[len(plaintext) - 2 - length : -2]
    if padding != bytes(range(1, length + 1)):
        raise Refused("padding")
    return payload, number


def wrap(config, packet):
    """Headers, next header number and payload of what the SA protects."""
    if config.transport:
        return split(packet)
    return outer_header(config, 0), 4 if packet[0] >> 4 == 4 else 41, packet


def protect_esp(config, packet, sequence, iv, extra_padding=0):
    headers, number, payload = wrap(config, packet)
    esp = seal(config, sequence, iv, payload + trailer(payload, number, alignment(config), extra_padding))
    if config.udp:
        return join(headers, UDP, struct.pack("!HHHH", *config.udp, len(esp) + 8, 0) + esp)
    return join(headers, gipsec.ESP, esp)


def esp_of(config, packet):
    """Headers, and the ESP packet behind them; checks the UDP header."""
    headers, number, rest = split(packet)
    if not config.udp:
        if number != gipsec.ESP:
            raise Refused("protocol")
        return headers, rest
    source, destination, length, value = struct.unpack("!HHHH", rest[:8])
    if number != UDP or (source, destination) != config.udp or length != len(rest):
        raise Refused("UDP header")
    if headers[0] >> 4 == 4:
        if value != 0:
            raise Refused("RFC 3948 section 2.1: the UDP checksum over IPv4 is zero")
    elif checksum(headers[8:40] + struct.pack("!II", length, UDP) + rest) != 0:
        raise Refused("UDP checksum")
    return headers, rest[8:]


def unprotect_esp(config, packet, sequence):
    headers, esp = esp_of(config, packet)
    if struct.unpack("!II", esp[:8]) != (config.spi, sequence & 0xFFFFFFFF):
        raise Refused("SPI or sequence number")
    payload, number = take_trailer(unseal(config, sequence, esp))
    return unwrap(config, headers, number, payload)


def unwrap(config, headers, number, payload):
    if config.transport:
        return join(headers, number, payload)
    if number != {4: 4, 6: 41}[payload[0] >> 4]:
        raise Refused("next header")
    return payload


IMMUTABLE_V4_OPTIONS = {130, 133, 134, 148, 149}


def immutable(headers):
    """Headers with their mutable fields zeroed, and as they will be at the destination (RFC 4302 section 3.3.3.1)."""
    headers = bytearray(headers)
    if headers[0] >> 4 == 4:
        headers[1] = 0
        headers[6:9] = b"\0\0\0"
        headers[10:12] = b"\0\0"
        at = 20
        while at < len(headers) and headers[at] != 0:
            if headers[at] == 1:
                at += 1
                continue
            length = headers[at + 1]
            if headers[at] in (131, 137) and headers[at + 2] <= length:
                headers[16:20] = headers[at + length - 4 : at + length]
            if headers[at] not in IMMUTABLE_V4_OPTIONS:
                headers[at : at + length] = bytes(length)
            at += length
        return bytes(headers)
    headers[0], headers[1:4], headers[7] = 0x60, b"\0\0\0", 0
    at, number = 40, headers[6]
    while at < len(headers):
        end = at + 8 + headers[at + 1] * 8
        if number in (0, 60):
            option = at + 2
            while option < end:
                if headers[option] == 0:
                    option += 1
                    continue
                length = headers[option + 1]
                if headers[option] & 0x20:
                    headers[option + 2 : option + 2 + length] = bytes(length)
                option += 2 + length
        elif number == 43 and headers[at + 3]:
            # All addresses are still to be visited in these tests: each moves up by one behind the destination.
            route = bytes(headers[24:40]) + bytes(headers[at + 8 : end])
            headers[at + 8 : end], headers[24:40] = route[:-16], route[-16:]
            headers[at + 3] = 0
        number, at = headers[at], end
    return bytes(headers)


def ah_icv(config, headers, head, iv, padding, payload, sequence):
    """RFC 4302 section 3.3.3. GMAC: RFC 4543 section 4; of the field that holds IV and tag, the tag alone is zero."""
    high = struct.pack("!I", sequence >> 32) if config.esn else b""
    message = immutable(headers) + head + iv + bytes(icv_len(config)) + padding + payload + high
    if config.combined == "gmac":
        return AESGCM(config.combined_key[4:]).encrypt(config.combined_key[:4] + iv, b"", message)
    return integrity(config, message)


def protect_ah(config, packet, sequence, iv):
    headers, number, payload = wrap(config, packet)
    length = 12 + len(iv) + icv_len(config)
    padding = bytes(-length % (4 if headers[0] >> 4 == 4 else 8))
    length += len(padding)
    head = struct.pack("!BBHII", number, length // 4 - 2, 0, config.spi, sequence & 0xFFFFFFFF)
    headers = join(headers, gipsec.AH, bytes(length) + payload)[: len(headers)]
    icv = ah_icv(config, headers, head, iv, padding, payload, sequence)
    return headers + head + iv + icv + padding + payload


def unprotect_ah(config, packet, sequence):
    headers, number, rest = split(packet)
    if number != gipsec.AH:
        raise Refused("protocol")
    ivs, icvs = iv_len(config), icv_len(config)
    following, words, reserved, spi, low = struct.unpack("!BBHII", rest[:12])
    length = (words + 2) * 4
    if (spi, low, reserved) != (config.spi, sequence & 0xFFFFFFFF, 0):
        raise Refused("SPI, sequence number or reserved field")
    if length != -(-(12 + ivs + icvs) // (4 if headers[0] >> 4 == 4 else 8)) * (4 if headers[0] >> 4 == 4 else 8):
        raise Refused("payload length")
    iv, icv = rest[12 : 12 + ivs], rest[12 + ivs : 12 + ivs + icvs]
    padding, payload = rest[12 + ivs + icvs : length], rest[length:]
    if ah_icv(config, headers, rest[:12], iv, padding, payload, sequence) != icv:
        raise Refused("ICV")
    return unwrap(config, headers, following, payload)


class Peer:
    """The other end of an SA: protects and unprotects packets with sequence numbers that it is told."""

    def __init__(self, config, random):
        self.config, self.random = config, random

    def protect(self, packet, sequence):
        iv = self.random.randbytes(iv_len(self.config))
        if self.config.proto == gipsec.AH:
            return protect_ah(self.config, packet, sequence, iv)
        extra = self.random.choice([0, 0, 1, 3]) if self.config.cipher else 0
        return protect_esp(self.config, packet, sequence, iv, extra)

    def unprotect(self, packet, sequence):
        if self.config.proto == gipsec.AH:
            return unprotect_ah(self.config, packet, sequence)
        return unprotect_esp(self.config, packet, sequence)
