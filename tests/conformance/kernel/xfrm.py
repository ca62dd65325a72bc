"""SAs of libgipsec, as lines for `ip -batch` on the kernel's side."""

import ipaddress

import gipsec

# A transform that traffic.py names is put to the kernel as soon as its algorithms are here.
AUTHS = {
    "md5": ("hmac(md5)", 96),
    "sha1": ("hmac(sha1)", 96),
    "sha256": ("hmac(sha256)", 128),
    "sha384": ("hmac(sha384)", 192),
    "sha512": ("hmac(sha512)", 256),
    "xcbc": ("xcbc(aes)", 96),
    "cmac": ("cmac(aes)", 96),
}
CIPHERS = {
    "null": "ecb(cipher_null)",
    "des": "cbc(des)",
    "3des": "cbc(des3_ede)",
    "aes-cbc": "cbc(aes)",
    "aes-ctr": "rfc3686(ctr(aes))",
}
COMBINED = {
    "gcm": "rfc4106(gcm(aes))",
    "ccm": "rfc4309(ccm(aes))",
    "gmac": "rfc4543(gcm(aes))",
    "chacha20-poly1305": "rfc7539esp(chacha20,poly1305)",
}
SALT_FIRST = {"gcm": 4, "gmac": 4, "ccm": 3, "chacha20-poly1305": 4}


def cannot(fields):
    """Why the kernel does not speak a transform, or None."""
    if fields.get("combined"):
        if fields.get("proto") == gipsec.AH:
            return "the kernel has no AES-GMAC for AH"
        return None if fields["combined"] in COMBINED else "the kernel does not name it"
    if fields.get("cipher") and fields["cipher"] not in CIPHERS:
        return "the kernel does not name it"
    return None if fields["auth"] == "none" or fields["auth"] in AUTHS else "the kernel does not name it"


def algorithms(config):
    def key(data):
        return "0x" + data.hex() if data else '""'

    if config.combined:
        salt = SALT_FIRST[config.combined]
        secret = config.combined_key[salt:] + config.combined_key[:salt]
        return f"aead {COMBINED[config.combined]} {key(secret)} {config.icv_bits or 128}"
    parts = []
    if config.cipher:
        parts.append(f"enc {CIPHERS[config.cipher]} {key(config.cipher_key)}")
    if config.auth != "none":
        name, usual = AUTHS[config.auth]
        parts.append(f"auth-trunc {name} {key(config.auth_key)} {config.icv_bits or usual}")
    return " ".join(parts)


def lines(config, ends, incoming, after, window):
    """The state and the policy of one direction.

    `ends` are the addresses within, from and to; `incoming` is the kernel's view; the sequence numbers go on after
    `after`.
    """
    proto = "ah" if config.proto == gipsec.AH else "esp"
    mode = "transport" if config.transport else "tunnel"
    source, destination = ends if config.transport else config.tunnel
    identity = f"src {source} dst {destination} proto {proto} spi 0x{config.spi:08x}"
    version = ipaddress.ip_address(source).version
    flags = []
    if ipaddress.ip_address(ends[0]).version != version:
        flags.append("af-unspec")
    if proto == "ah" and version == 4:
        # RFC 4302 section 3.3.3.2.1: a multiple of 4 bytes over IPv4. Without it, Linux pads to 8.
        flags.append("align4")
    if config.esn:
        flags.append("esn")
    field = "seq" if incoming else "oseq"
    state = [f"xfrm state add {identity} mode {mode} {algorithms(config)} replay-window {window}"]
    state.append(f"replay-{field} 0x{after & 0xFFFFFFFF:x}")
    if config.esn:
        state.append(f"replay-{field}-hi 0x{after >> 32:x}")
    if flags:
        state.append("flag " + " ".join(flags))
    if config.udp:
        state.append(f"encap espinudp {config.udp[0]} {config.udp[1]} " + ("0.0.0.0" if version == 4 else "::"))
    direction = "in" if incoming else "out"
    # The datagrams that carry ESP between the same ends are not for the policy.
    upper = "icmp" if ipaddress.ip_address(ends[0]).version == 4 else "ipv6-icmp"
    selector = f"src {ends[0]} dst {ends[1]} proto {upper}"
    return [" ".join(state), f"xfrm policy add {selector} dir {direction} tmpl {identity} mode {mode}"]
