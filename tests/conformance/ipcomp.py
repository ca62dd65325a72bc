"""IPComp (RFC 3173) once more: DEFLATE by zlib, LZS by a codec written from the description in RFC 1967 and RFC 2395."""

import struct
import zlib

import gipsec
import reference

WELL_KNOWN = {"deflate": 2, "lzs": 3}
WINDOW, LONGEST_SHORT = 2047, 127
END_MARKER = "110000000"


def lzs_length(length):
    """The bits of a match's length: 2, 3, 4 have two bits, 5, 6, 7 four; then sixteen steps at a time."""
    if length < 5:
        return f"{length - 2:02b}"
    if length < 8:
        return f"{length - 5 + 12:04b}"
    more, rest = divmod(length - 8, 15)
    return "1111" * (more + 1) + f"{rest:04b}"


def lzs_match(offset, length):
    return "1" + (f"1{offset:07b}" if offset <= LONGEST_SHORT else f"0{offset:011b}") + lzs_length(length)


def bits_to_bytes(bits):
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def lzs_compress(data, random):
    """Matches are as long as they can be, or shorter, and near or far: whatever the format allows."""
    bits, at, seen = [], 0, {}
    while at < len(data):
        places = [place for place in seen.get(data[at : at + 2], ()) if at - place <= WINDOW]
        if len(data) - at < 2 or not places or random.random() < 0.02:
            bits.append(f"0{data[at]:08b}")
            step = 1
        else:
            place, step = random.choice(places), 2
            while at + step < len(data) and data[place + step] == data[at + step]:
                step += 1
            if random.random() < 0.1:
                step = random.randrange(2, step + 1)
            bits.append(lzs_match(at - place, step))
        for end in range(at, at + step):
            seen.setdefault(data[end : end + 2], []).append(end)
            del seen[data[end : end + 2]][:-8]
        at += step
    return bits_to_bytes("".join(bits) + END_MARKER)


def lzs_decompress(data):
    bits = "".join(f"{byte:08b}" for byte in data)
    at, out = 0, bytearray()

    def take(count):
        nonlocal at
        if at + count > len(bits):
            raise reference.Refused("LZS ends without its marker")
        at += count
        return int(bits[at - count : at], 2)

    while True:
        if not take(1):
            out.append(take(8))
            continue
        offset = take(7) if take(1) else take(11)
        if offset == 0:
            if bits[at - 9 : at] != END_MARKER or len(bits) - at >= 8:
                raise reference.Refused("an offset of 0, or something behind the end of LZS")
            return bytes(out)
        length = take(2) + 2
        if length == 5:
            length += take(2)
            if length == 8:
                while (more := take(4)) == 15:
                    length += 15
                length += more
        if offset > len(out):
            raise reference.Refused("an LZS match before the beginning")
        for _ in range(length):
            out.append(out[-offset])


def deflate(data, random):
    """Any level, window and strategy, and blocks that end early."""
    strategy = random.choice([zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE])
    context = zlib.compressobj(random.randrange(1, 10), zlib.DEFLATED, -random.randrange(9, 16), 9, strategy)
    cut = random.randrange(len(data) + 1)
    flushed = context.flush(random.choice([zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH])) if random.random() < 0.3 else b""
    return flushed + context.compress(data[:cut]) + context.compress(data[cut:]) + context.flush()


def inflate(data):
    context = zlib.decompressobj(-15)
    plain = context.decompress(data)
    if not context.eof or context.unused_data:
        raise reference.Refused("DEFLATE has no end, or something behind it")
    return plain


def cpi(config):
    return config.cpi or WELL_KNOWN[config.compression]


class Peer:
    """The same calls as reference.Peer."""

    def __init__(self, config, random):
        self.config, self.random = config, random

    def protect(self, packet, _sequence=0):
        headers, number, payload = reference.wrap(self.config, packet)
        compress = {"deflate": deflate, "lzs": lzs_compress}[self.config.compression]
        shrunk = struct.pack("!BBH", number, 0, cpi(self.config)) + compress(payload, self.random)
        # Section 2.2: what does not shrink goes as it is.
        if len(shrunk) >= len(payload):
            return reference.join(headers, number, payload)
        return reference.join(headers, gipsec.IPCOMP, shrunk)

    def unprotect(self, packet, _sequence=0):
        headers, number, rest = reference.split(packet)
        if number == gipsec.IPCOMP:
            number, flags, index = struct.unpack("!BBH", rest[:4])
            if (flags, index) != (0, cpi(self.config)):
                raise reference.Refused("flags or CPI")
            decompress = {"deflate": inflate, "lzs": lzs_decompress}[self.config.compression]
            compressed, rest = len(rest), decompress(rest[4:])
            if compressed >= len(rest):
                raise reference.Refused("RFC 3173 section 2.2: it did not shrink")
        return reference.unwrap(self.config, headers, number, rest)
