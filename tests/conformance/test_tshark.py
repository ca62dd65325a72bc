"""tshark, given the keys, decrypts and authenticates what the library made.

tshark 4.0 knows no ESN, no CCM, GMAC or XCBC for ESP, and does not check HMAC-SHA-256-128 and -384-192.
"""

import shutil
import struct
import subprocess

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

import traffic

TSHARK = shutil.which("tshark")
pytestmark = pytest.mark.skipif(not TSHARK, reason="SKIPPED: tshark is not installed")

CIPHERS = {
    "null": "NULL",
    "des": "DES-CBC [RFC2405]",
    "3des": "TripleDES-CBC [RFC2451]",
    "aes-cbc": "AES-CBC [RFC3602]",
    "aes-ctr": "AES-CTR [RFC3686]",
    None: "NULL",
}
AUTHS = {
    "none": "NULL",
    "md5": "HMAC-MD5-96 [RFC2403]",
    "sha1": "HMAC-SHA-1-96 [RFC2404]",
    "sha512": "HMAC-SHA-512-256 [RFC4868]",
}
RAW_IP = 101  # LINKTYPE_RAW
PACKETS = 3


def transforms():
    for name, fields in traffic.esp_transforms():
        if fields.get("combined") == "gcm":
            yield name, fields, f"AES-GCM with {fields['icv_bits'] // 8} octet ICV [RFC4106]", "NULL"
        elif fields.get("auth") in AUTHS and not fields["icv_bits"]:
            # Without integrity there is an ICV of no bytes, which tshark does not judge.
            yield name, fields, CIPHERS[fields["cipher"]], AUTHS[fields["auth"]]


def row(config, encryption, authentication):
    """One line of tshark's table of SAs."""

    def key(data):
        return f"0x{data.hex()}" if data else ""

    if config.combined:
        secret = config.combined_key[4:] + config.combined_key[:4]  # the salt goes behind the key
    else:
        secret = config.cipher_key
    family = "IPv4" if "." in config.tunnel[0] else "IPv6"
    values = [family, *config.tunnel, f"0x{config.spi:08x}", encryption, key(secret), authentication, key(config.auth_key)]
    return "uat:esp_sa:" + ",".join(f'"{value}"' for value in values)


def test_tshark_reads_what_the_library_made(accelerator, tmp_path):
    rng = traffic.generator("tshark")
    arguments, records, expected = [], [], []
    for name, fields, encryption, authentication in transforms():
        for shape in ("tunnel-4in4", "tunnel-6in4", "tunnel-4in6", "tunnel-6in6"):
            config = traffic.config(rng, fields, shape)
            arguments += ["-o", row(config, encryption, authentication)]
            with accelerator.add(config) as outbound:
                for number in range(1, PACKETS + 1):
                    data = rng.randbytes(rng.randrange(1, 200))
                    if traffic.SHAPES[shape][1] == 4:
                        header = IP(src=traffic.INNER_V4[0], dst=traffic.INNER_V4[1])
                    else:
                        header = IPv6(src=traffic.INNER_V6[0], dst=traffic.INNER_V6[1])
                    records.append(outbound.encap(bytes(header / UDP(sport=50_001, dport=50_002) / data)))
                    judged = config.combined or config.auth != "none"
                    expected.append((f"{name} {shape} {number}", f"0x{config.spi:08x}", number, judged, data.hex()))
                # And one that tshark must find wrong.
                records.append(records[-1][:-1] + bytes([records[-1][-1] ^ 1]))
                expected.append((f"{name} {shape} changed", f"0x{config.spi:08x}", PACKETS, judged, None))

    capture = tmp_path / "esp.pcap"
    with capture.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, RAW_IP))
        for record in records:
            file.write(struct.pack("<IIII", 0, 0, len(record), len(record)) + record)
    fields = ["esp.spi", "esp.sequence", "esp.icv_good", "udp.payload"]
    run = subprocess.run(
        [TSHARK, "-n", "-r", str(capture), "-T", "fields", "-E", "separator=;"]
        # The payloads are random: let no heuristic take one for something else, and fail.
        + ["-d", "udp.port==50001,data"]
        + [argument for field in fields for argument in ("-e", field)]
        + ["-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE"]
        + arguments,
        capture_output=True, text=True, timeout=60,
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == len(expected)
    for line, (name, spi, number, judged, data) in zip(lines, expected):
        seen = line.split(";")
        assert seen[:2] == [spi, str(number)], name
        assert data is None or seen[3] == data, f"{name}: not decrypted"
        right = ("1", "True") if data is not None else ("0", "False")
        assert not judged or seen[2] in right, f"{name}: tshark says of the ICV: {seen[2]!r}"
