"""tshark, given the keys, decrypts and authenticates what the library made: one capture for all, a test for each SA.

tshark 4.0 knows no ESN, and for ESP no CCM, GMAC or ICV of 160 bits. It decrypts without checking the ICV where it has no
code for that. Of AH it shows the fields.
"""

import shutil
import struct
import subprocess

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

import gipsec
import reference
import traffic

TSHARK = shutil.which("tshark")

ESP = dict(traffic.esp_transforms())
AH = dict(traffic.ah_transforms())
CIPHERS = {
    "null": "NULL",
    "des": "DES-CBC [RFC2405]",
    "3des": "TripleDES-CBC [RFC2451]",
    "aes-cbc": "AES-CBC [RFC3602]",
    "aes-ctr": "AES-CTR [RFC3686]",
}
# By algorithm and bits of ICV where they are not the usual ones: tshark's name, and whether it checks the ICV.
AUTHS = {
    ("none", 0): ("NULL", False),
    ("md5", 0): ("HMAC-MD5-96 [RFC2403]", True),
    ("md5", 128): ("ANY 128 bit authentication [no checking]", False),
    ("sha1", 0): ("HMAC-SHA-1-96 [RFC2404]", True),
    ("sha256", 0): ("HMAC-SHA-256-128 [RFC4868]", True),
    ("sha256", 96): ("HMAC-SHA-256-96 [draft-ietf-ipsec-ciph-sha-256-00]", True),
    ("sha384", 0): ("HMAC-SHA-384-192 [RFC4868]", True),
    ("sha512", 0): ("HMAC-SHA-512-256 [RFC4868]", True),
    ("sha256", 256): ("ANY 256 bit authentication [no checking]", False),
    ("sha384", 96): ("ANY 96 bit authentication [no checking]", False),
    ("sha512", 96): ("ANY 96 bit authentication [no checking]", False),
    ("xcbc", 0): ("ANY 96 bit authentication [no checking]", False),
    ("cmac", 0): ("ANY 96 bit authentication [no checking]", False),
}
GCM = "AES-GCM with {} octet ICV [RFC4106]"
RAW_IP = 101  # LINKTYPE_RAW
PACKETS = 3
PORT = 4500
FIELDS = [
    "esp.spi", "esp.sequence", "esp.icv_good", "esp.icv_bad", "ah.spi", "ah.sequence", "ah.icv", "udp.payload",
    "_ws.malformed",
]


def cannot(fields):
    """Why tshark does not decrypt a transform, or None."""
    if fields.get("proto") == gipsec.AH:
        return None
    if fields.get("combined"):
        return None if fields["combined"] == "gcm" else "tshark 4.0 does not decrypt it"
    known = fields["cipher"] in CIPHERS and (fields["auth"], fields["icv_bits"]) in AUTHS
    return None if known else "tshark 4.0 has no such ICV"


def cases():
    for name, fields in {**ESP, **AH}.items():
        if cannot(fields):
            continue
        for shape in traffic.SHAPES:
            yield name, shape, False
        if name in ESP:
            yield name, "tunnel-4in4", True
            yield name, "tunnel-4in6", True


CASES = list(cases())


def covers(item):
    """For the table in docs/conformance.md: the peer, the transform and features."""
    name, shape, udp = item.callspec.params["case"]
    return "tshark", name, [shape] + (["udp"] if udp else [])


def identity(case):
    name, shape, udp = case
    return f"{name}/{shape}" + ("/udp" if udp else "")


def algorithms(config):
    """tshark's names, and whether it checks the ICV."""
    if config.combined:
        return GCM.format(config.icv_bits // 8), "NULL", True
    return CIPHERS[config.cipher], *AUTHS[config.auth, config.icv_bits]


def row(config, ends):
    """One line of tshark's table of SAs."""

    def key(data):
        return f"0x{data.hex()}" if data else ""

    encryption, authentication, _ = algorithms(config)
    secret = config.cipher_key
    if config.combined:
        secret = config.combined_key[4:] + config.combined_key[:4]  # the salt goes behind the key
    family = "IPv4" if "." in ends[0] else "IPv6"
    values = [family, *ends, f"0x{config.spi:08x}", encryption, key(secret), authentication, key(config.auth_key)]
    return "uat:esp_sa:" + ",".join(f'"{value}"' for value in values)


def made_by_the_library(accelerator, case):
    """An SA's line for tshark, and packets with the data in them; the last has been changed."""
    name, shape, udp = case
    rng = traffic.generator("tshark", *case)
    config = traffic.config(rng, {**ESP, **AH}[name], shape, udp=(PORT, PORT) if udp else None)
    inner = traffic.INNER_V4 if traffic.SHAPES[shape][1] == 4 else traffic.INNER_V6
    header = (IP if "." in inner[0] else IPv6)(src=inner[0], dst=inner[1])
    packets = []
    with accelerator.add(config) as outbound:
        for _ in range(PACKETS):
            data = rng.randbytes(rng.randrange(1, 200))
            packets.append((outbound.encap(bytes(header / UDP(sport=50_001, dport=50_002) / data)), data))
    changed = packets[-1][0]
    packets.append((changed[:-1] + bytes([changed[-1] ^ 1]), None))
    return config, config.tunnel or inner, packets


def dissect(directory, frames, sas, fields):
    """For each frame the fields that tshark shows, given the SAs that `row` describes."""
    capture = directory / "ipsec.pcap"
    with capture.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, RAW_IP))
        for frame in frames:
            file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
    run = subprocess.run(
        [TSHARK, "-n", "-r", str(capture), "-T", "fields", "-E", "separator=;"]
        # The payloads are random: let no heuristic take one for something else, and fail.
        + ["-d", "udp.port==50001,data"]
        + [argument for field in fields for argument in ("-e", field)]
        + ["-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE"]
        + [argument for sa in sas for argument in ("-o", sa)],
        capture_output=True, text=True, timeout=120,
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == len(frames)
    return [dict(zip(fields, line.split(";"))) for line in lines]


@pytest.fixture(scope="session")
def seen(accelerator, request, tmp_path_factory):
    """By case the SA, what is in its packets, and what tshark saw in them."""
    if not TSHARK:
        pytest.skip("SKIPPED: tshark is not installed")
    items = [item for item in request.session.items if "seen" in getattr(item, "fixturenames", ())]
    made = {case: made_by_the_library(accelerator, case) for case in (item.callspec.params["case"] for item in items)}
    frames = [packet for _, _, packets in made.values() for packet, _ in packets]
    sas = [row(config, ends) for config, ends, _ in made.values() if config.proto == gipsec.ESP]
    lines = iter(dissect(tmp_path_factory.mktemp("tshark"), frames, sas, FIELDS))
    saw = {}
    for case, (config, _, packets) in made.items():
        saw[case] = config, packets, [next(lines) for _ in packets]
    assert next(lines, None) is None
    return saw


@pytest.mark.parametrize("case", CASES, ids=identity)
def test_tshark_reads_what_the_library_made(seen, case):
    config, packets, shown = seen[case]
    ah = config.proto == gipsec.AH
    for number, ((packet, data), line) in enumerate(zip(packets, shown), 1):
        number = min(number, PACKETS)
        assert not line["_ws.malformed"] or data is None
        if ah:
            assert (line["ah.spi"], line["ah.sequence"]) == (f"0x{config.spi:08x}", str(number))
            icv = reference.split(packet)[2][12:]
            assert icv.startswith(bytes.fromhex(line["ah.icv"]))
            assert len(line["ah.icv"]) // 2 >= reference.iv_len(config) + reference.icv_len(config)
        else:
            # In the changed packet, what was decrypted may say that it is ESP, too: the outer one is first.
            first = tuple(line[name].split(",")[0] for name in ("esp.spi", "esp.sequence"))
            assert first == (f"0x{config.spi:08x}", str(number))
            if algorithms(config)[2]:
                verdict = [line[name] in ("1", "True") for name in ("esp.icv_good", "esp.icv_bad")]
                assert verdict == [data is not None, data is None], f"tshark says of the ICV: {line}"
        assert data is None or line["udp.payload"].split(",")[-1] == data.hex(), "not decrypted"
