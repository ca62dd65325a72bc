"""SA bundles, both ways: each entry's work is done, or undone, by a peer of its own, one after the other."""

import errno
from dataclasses import dataclass

import pytest

import gipsec
import ipcomp
import reference
import scapy_peer
import test_compression
import test_kernel
import traffic
import wesp
from kernel import guest, xfrm

FIELDS = {**dict(traffic.esp_transforms()), **dict(traffic.ah_transforms())}
V4 = [traffic.V4, ("203.0.113.5", "203.0.113.9")]
V6 = [traffic.V6, ("2001:db8:5::1", "2001:db8:9::2")]
# Entries as outbound processing applies them: a transform or an algorithm of IPComp, and "transport" or the family of
# a tunnel; "+udp" and "+wesp" for ESP.
GCM, CBC, SHA, CMAC = "aes128-gcm-128", "aes256-cbc+sha256", "ah-sha256", "ah-cmac"
BUNDLES = {
    "ESP, AH": [(GCM, "transport"), (SHA, "transport")],
    "ESP, AH, with ciphers of old": [("3des+md5", "transport"), ("ah-sha1", "transport")],
    "ESP in ESP": [(CBC, "transport"), (GCM, "4")],
    "ESP in ESP over IPv6 and UDP": [(GCM, "transport"), ("chacha20-poly1305", "6+udp")],
    "AH in ESP": [(CMAC, "transport"), ("aes128-ctr+sha1", "4")],
    "AH in ESP, both transport": [(SHA, "transport"), ("aes192-ccm-96", "transport")],
    "ESP tunnel, AH": [(CBC, "4"), (SHA, "transport")],
    "ESP tunnel over IPv6, AH": [(GCM, "6"), ("ah-sha512", "transport")],
    "tunnel in tunnel": [(GCM, "4"), (CBC, "6")],
    "AH tunnel around ESP tunnel": [(GCM, "6"), (SHA, "4")],
    "IPComp, ESP": [("deflate", "transport"), (GCM, "transport")],
    "IPComp, ESP, AH": [("deflate", "transport"), (CBC, "transport"), (SHA, "transport")],
    "IPComp with LZS, ESP, AH": [("lzs", "transport"), (GCM, "transport"), (CMAC, "transport")],
    "IPComp tunnel, ESP, AH": [("lzs", "6"), (GCM, "transport"), (SHA, "transport")],
    "WESP, AH": [("null+sha256", "transport+wesp"), (SHA, "transport")],
    "four": [("deflate", "transport"), (CBC, "transport"), (SHA, "transport"), (GCM, "4+udp")],
    "four, two tunnels": [(GCM, "transport"), (SHA, "transport"), (CBC, "4"), (CMAC, "6")],
}
PACKETS = 6


def covers(item):
    """For the table in docs/conformance.md: the peer, the transform and features."""
    params = item.callspec.params
    if "case" in params:
        return "Linux kernel", None, ["bundles"]
    return "scapy" if params.get("peer_class") is scapy_peer.Peer else "OpenSSL", None, ["bundles"]


def configs(rng, bundle):
    made, tunnels = [], {"4": iter(V4), "6": iter(V6)}
    for number, (name, mode) in enumerate(bundle):
        where, *more = mode.split("+")
        ends = dict(transport=True) if where == "transport" else dict(tunnel=next(tunnels[where]))
        if name in ("deflate", "lzs"):
            cpi = rng.choice([0, rng.randrange(256, 61_440)])
            made.append(gipsec.Config(gipsec.OUTBOUND, 0, proto=gipsec.IPCOMP, compression=name, cpi=cpi, **ends))
            continue
        config = traffic.config(rng, FIELDS[name], "transport-4", esn=number % 2 == 1)
        config = gipsec.replace(config, spi=0x1000 + number, **{"transport": False, **ends})
        if "udp" in more:
            config = gipsec.replace(config, udp=(4500, 40_000))
        if "wesp" in more:
            config = gipsec.replace(config, proto=gipsec.WESP)
        made.append(config)
    return made


def chain(peer_class, bundle, rng):
    def peer(config):
        if config.proto == gipsec.IPCOMP:
            return ipcomp.Peer(config, rng)
        if config.proto == gipsec.WESP:
            return wesp.Peer(peer_class, config, rng)
        return peer_class(config, rng)

    return [peer(config) for config in bundle]


def protect(peers, packet, sequence):
    for peer in peers:
        packet = peer.protect(packet, sequence)
    return packet


def unprotect(peers, packet, sequence):
    for peer in reversed(peers):
        packet = peer.unprotect(packet, sequence)
    return packet


def packets(rng, family):
    """Those that shrink and those that do not."""
    data = [b"", bytes(900), test_compression.SENTENCE * 25]
    made = [test_compression.packet(rng, family, one) for one in data]
    return made + [traffic.packet(rng, family, size) for size in traffic.sizes(rng, PACKETS - len(data))]


@pytest.mark.parametrize("peer_class", [reference.Peer, scapy_peer.Peer], ids=["reference", "scapy"])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("name", BUNDLES)
def test_both_ways(accelerator, name, family, peer_class):
    rng = traffic.generator("bundles", name, family, peer_class.__module__)
    bundle = configs(rng, BUNDLES[name])
    peers = chain(peer_class, bundle, rng)
    with accelerator.add(*bundle) as outbound:
        for number, packet in enumerate(packets(rng, family), 1):
            assert unprotect(peers, outbound.encap(packet), number).hex() == packet.hex()
        assert outbound.statistics().refusals() == {}
    with accelerator.add(*[config.as_(gipsec.INBOUND) for config in bundle]) as inbound:
        for number, packet in enumerate(packets(rng, family), 1):
            assert inbound.decap(protect(peers, packet, number)).hex() == packet.hex()
        assert inbound.statistics().refusals() == {}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("name", BUNDLES)
def test_no_layer_may_be_missing_or_forged(accelerator, name, family):
    """What was not protected by all SAs is not taken, nor what is forged in any layer."""
    rng = traffic.generator("bundles missing", name, family)
    bundle = configs(rng, BUNDLES[name])
    peers = chain(reference.Peer, bundle, rng)
    packet = test_compression.packet(rng, family, bytes(500))

    def refused(inbound, bad, numbers):
        with pytest.raises(gipsec.Error) as caught:
            inbound.decap(bad)
        assert caught.value.errno in numbers

    with accelerator.add(*[config.as_(gipsec.INBOUND) for config in bundle]) as inbound:
        for missing, config in enumerate(bundle):
            if config.proto == gipsec.IPCOMP and config.transport:
                continue  # a packet that would not shrink has none
            others = peers[:missing] + peers[missing + 1 :]
            refused(inbound, protect(others, packet, 1 + missing), {errno.EPROTO, errno.EBADMSG})
        for forged, config in enumerate(bundle):
            if config.proto == gipsec.IPCOMP:
                continue
            inner = protect(peers[: forged + 1], packet, 101 + forged)
            inner = inner[:-1] + bytes([inner[-1] ^ 1])
            refused(inbound, protect(peers[forged + 1 :], inner, 101 + forged), {errno.EBADMSG})
            assert sum(inbound.drops(forged).values()) >= 1
        assert inbound.decap(protect(peers, packet, 200)) == packet


@dataclass(frozen=True)
class Case:
    """For the kernel: ESP in transport or tunnel mode, AH in transport mode around it."""

    esp: str
    ah: str
    shape: str

    def __str__(self):
        return "/".join([self.esp, self.ah, self.shape])

    def lines(self):
        return Plan(self).lines


CASES = [
    Case(esp, ah, shape) for shape in traffic.SHAPES
    for esp, ah in [(GCM, SHA), (CBC, "ah-sha1"), ("null+sha256", "ah-xcbc"), ("chacha20-poly1305", "ah-sha512")]
]


class Plan:
    def __init__(self, case):
        self.case, rng = case, traffic.generator("kernel bundles", case)
        self.rng, number = rng, CASES.index(case)
        outer, inner = traffic.SHAPES[case.shape]
        prefix = ("10.{}.201.{}", "fd0{}::b0:{:x}")[inner == 6]
        self.ends = tuple(prefix.format(side, number + 1) for side in (1, 2))
        tunnel = {None: None, 4: guest.V4, 6: guest.V6}[outer]
        self.there, self.back = (self._bundle(way, tunnel) for way in (1, -1))
        self.lines = [*self._lines(self.there, True), *self._lines(self.back, False)]

    def _bundle(self, way, tunnel):
        direction = gipsec.OUTBOUND if way == 1 else gipsec.INBOUND
        esp = traffic.config(self.rng, FIELDS[self.case.esp], self.case.shape)
        ah = traffic.config(self.rng, FIELDS[self.case.ah], "transport-4")
        return [
            gipsec.replace(esp, direction=direction, tunnel=tunnel and tunnel[::way], replay=way == -1),
            gipsec.replace(ah, direction=direction, replay=way == -1),
        ]

    def _lines(self, bundle, incoming):
        """The states, and a policy of both in the order of outbound processing."""
        ends = self.ends if incoming else self.ends[::-1]
        esp, ah = bundle
        carrier = esp.tunnel or ends
        mixed = ("." in carrier[0]) != ("." in ends[0])
        lines, templates = [], []
        for config, between in ((esp, ends), (ah, carrier)):
            state, policy = xfrm.lines(config, between, incoming, 0, 32)
            if mixed and "af-unspec" not in state:
                state = state.replace(" flag ", " flag af-unspec ") if " flag " in state else state + " flag af-unspec"
            lines.append(state)
            templates.append(policy[policy.index("tmpl") :])
        upper = "icmp" if "." in ends[0] else "ipv6-icmp"
        selector = f"src {ends[0]} dst {ends[1]} proto {upper} dir {'in' if incoming else 'out'}"
        return [*lines, f"xfrm policy add {selector} " + " ".join(templates)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernel_both_ways(accelerator, kernel, case):
    plan = Plan(case)
    assert not [kernel.refused[line] for line in plan.lines if line in kernel.refused]
    data = [plan.rng.randbytes(size) for size in (0, 1, 15, 200, 1300)]
    asked = [test_kernel.echo(plan.ends, number, one, 0, [], []) for number, one in enumerate(data)]
    with accelerator.add(*plan.there) as outbound:
        sent = [outbound.encap(packet) for packet in asked]
        answers, errors = kernel.exchange(sent, len(asked))
        assert (len(answers), errors) == (len(asked), {})
        # Without its AH, or forged within it, nothing is taken.
        good = outbound.encap(asked[0])
        headers, _, rest = reference.split(good)
        following, length = rest[0], (rest[1] + 2) * 4
        naked = reference.join(headers, following, rest[length:])
        forged = good[:-1] + bytes([good[-1] ^ 1])
        answers_to_bad, errors = kernel.exchange([naked, forged], 0)
        # What is inside it may put aside until more comes.
        again, later = kernel.exchange([outbound.encap(asked[0])], 1)
        assert (answers_to_bad, len(again)) == ([], 1)
        # It does not always count what the policy's templates refuse.
        assert {**errors, **later}.keys() - {"XfrmInTmplMismatch"} == {"XfrmInStateProtoError"}
    with accelerator.add(*plan.back) as inbound:
        for number, (answer, one) in enumerate(zip(answers, data)):
            assert reference.split(answer)[1] == gipsec.AH
            test_kernel.check_answer(plan, inbound.decap(answer), number, one)
            with pytest.raises(gipsec.Error) as caught:
                inbound.decap(answer)
            assert caught.value.errno == errno.EALREADY
