"""scapy's SecurityAssociation as the other end of an SA, and what it cannot do."""

from unittest import mock

import scapy.layers.ipsec as ipsec
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

import gipsec
import reference
import traffic

CRYPT = {"null": "NULL", "des": "DES", "3des": "3DES", "aes-cbc": "AES-CBC", "aes-ctr": "AES-CTR"}
COMBINED = {"gcm": "AES-GCM", "ccm": "AES-CCM", "gmac": "AES-NULL-GMAC", "chacha20-poly1305": "CHACHA20-POLY1305"}
AUTH = {
    "md5": "HMAC-MD5-96",
    "sha1": "HMAC-SHA1-96",
    "sha256": "SHA2-256-128",
    "sha384": "SHA2-384-192",
    "sha512": "SHA2-512-256",
    "cmac": "AES-CMAC-96",
}
# scapy's own algorithm with another length of ICV.
for _name, _bits in [(name, bits) for name, others in traffic.OTHER_ICVS.items() for bits in others]:
    _algorithm = ipsec.AUTH_ALGOS[AUTH[_name]]
    ipsec.AUTH_ALGOS[f"{_name}-{_bits}"] = ipsec.AuthAlgo(
        f"{_name}-{_bits}", mac=_algorithm.mac, digestmod=_algorithm.digestmod, icv_size=_bits // 8
    )

# A tunnel's payload behind AH is bound to protocol 0 in scapy, not to 4 (IPv4 in IP); so it stays Raw, which does no harm.


def cannot(fields):
    """Why scapy cannot do a transform; None when it can."""
    if fields.get("auth") == "xcbc":
        return "scapy has no AES-XCBC"
    if fields.get("combined") == "gcm" and fields["icv_bits"] != 128:
        return "scapy's AES-GCM always has an ICV of 16 bytes"
    if fields.get("combined") == "gmac" and fields.get("proto") == gipsec.AH:
        return "scapy has no GMAC for AH"
    return None


class Peer:
    """The same calls as reference.Peer."""

    def __init__(self, config, _random):
        self.config = config
        arguments = {}
        if config.combined:
            salt = 3 if config.combined == "ccm" else 4
            # scapy keeps the salt behind the key.
            key = config.combined_key[salt:] + config.combined_key[:salt]
            arguments.update(crypt_algo=COMBINED[config.combined], crypt_key=key)
            if config.combined == "ccm":
                arguments.update(crypt_icv_size=reference.icv_len(config))
        if config.cipher:
            arguments.update(crypt_algo=CRYPT[config.cipher], crypt_key=config.cipher_key or None)
        if config.auth not in (None, "none"):
            name = f"{config.auth}-{config.icv_bits}" if config.icv_bits else AUTH[config.auth]
            arguments.update(auth_algo=name, auth_key=config.auth_key)
        if config.tunnel:
            header = IP if "." in config.tunnel[0] else IPv6
            arguments.update(tunnel_header=header(src=config.tunnel[0], dst=config.tunnel[1]))
        if config.udp:
            arguments.update(nat_t_header=UDP(sport=config.udp[0], dport=config.udp[1]))
        proto = ipsec.AH if config.proto == gipsec.AH else ipsec.ESP
        self.sa = ipsec.SecurityAssociation(proto, spi=config.spi, esn_en=config.esn, **arguments)

    def _at(self, sequence):
        # As attributes, not as arguments: there, scapy takes 0 for "not given".
        self.sa.seq_num, self.sa.esn = sequence & 0xFFFFFFFF, sequence >> 32

    @staticmethod
    def _dissect(packet):
        return (IP if packet[0] >> 4 == 4 else IPv6)(packet)

    def protect(self, packet, sequence):
        self._at(sequence)
        if self.config.proto == gipsec.AH:
            # Where it sees ESP, scapy computes the ICV of that, also for AH around it.
            with mock.patch.object(ipsec.ESP, "dispatch_hook", lambda *_, **__: Raw):
                return bytes(self.sa.encrypt(self._dissect(packet)))
        return bytes(self.sa.encrypt(self._dissect(packet)))

    def unprotect(self, packet, sequence):
        self._at(sequence)
        dissected = self._dissect(packet)
        if self.config.udp:
            # scapy knows ESP behind UDP by port 4500 alone.
            datagram = dissected[UDP]
            data = bytes(datagram.payload)
            datagram.remove_payload()
            datagram.add_payload(ipsec.ESP(data))
        protocol = ipsec.AH if self.config.proto == gipsec.AH else ipsec.ESP
        assert dissected[protocol].seq == sequence & 0xFFFFFFFF
        # Behind IPv6 extension headers scapy takes the payload for what the first next header says, and may change it.
        with mock.patch.object(IPv6, "guess_payload_class", lambda *_: Raw):
            return bytes(self.sa.decrypt(dissected))
