"""OpenSSL as a second opinion on every transform: through the cryptography package and hashlib, which is what the
reference is made of. With the IV given, all that follows the IP header is determined, byte for byte.
"""

import hashlib
import random

import pytest
from cryptography.hazmat.backends.openssl import backend

import gipsec
import reference
import traffic

TRANSFORMS = {**dict(traffic.esp_transforms()), **dict(traffic.ah_transforms())}
PACKETS = 24


def covers(item):
    return "OpenSSL", item.callspec.params["name"], ["byte for byte, IV given"]


def sizes(rng: random.Random):
    """The lengths about one block, and others up to what no longer fits into a frame."""
    return [*range(18), *(rng.randrange(18, 2000) for _ in range(PACKETS - 18))]


def test_it_is_openssl():
    assert backend.openssl_version_text().startswith("OpenSSL")
    assert all("openssl" in getattr(hashlib, name).__name__ for name in ("md5", "sha1", "sha256", "sha384", "sha512"))


@pytest.mark.parametrize("esn", [False, True], ids=["seq32", "esn"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_ciphertext_is_openssls_byte_for_byte(accelerator, name, esn):
    rng = traffic.generator(name, esn)
    fields = TRANSFORMS[name]
    without_keys = {field: value for field, value in fields.items() if not field.endswith("_key")}
    ivs = reference.iv_len(gipsec.Config(gipsec.OUTBOUND, 1, **without_keys))
    protect = reference.protect_ah if fields.get("proto") == gipsec.AH else reference.protect_esp
    for size in sizes(rng):
        shape = rng.choice(["transport-4", "transport-6"])
        config = traffic.config(rng, fields, shape, esn=esn, iv=rng.randbytes(ivs))
        packet = traffic.packet(rng, traffic.SHAPES[shape][1], size, False)
        first = traffic.first_sequence(rng, esn)
        expected = protect(config, packet, first + 1, config.iv)
        with accelerator.add(config) as outbound:
            outbound.set_sequence(first)
            assert outbound.encap(packet).hex() == expected.hex(), f"{size} bytes above UDP, TCP or ICMP"
        with accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
            inbound.set_sequence(first)
            assert inbound.decap(expected) == packet
