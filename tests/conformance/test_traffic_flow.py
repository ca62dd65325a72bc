"""Traffic flow confidentiality (RFC 4303 sections 2.6 and 2.7): payloads padded to a length or a multiple, and dummy
packets, ours and the kernel's.
"""

import errno
from dataclasses import dataclass

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Padding, Raw

import gipsec
import reference
import scapy_peer
import test_kernel
import test_tshark
import traffic
from kernel import guest, xfrm

ESP = dict(traffic.esp_transforms())
NAMES = ["aes128-gcm-128", "aes256-cbc+sha256", "null+sha1", "chacha20-poly1305", "3des+md5", "aes128-ctr+none"]
TUNNELS = [name for name in traffic.SHAPES if name.startswith("tunnel")]
NO_NEXT_HEADER = 59
# To a length, and beyond it to a multiple.
RULES = [(500, 0), (0, 64), (300, 128), (1400, 0), (0, 1)]


def covers(item):
    """For the table in docs/conformance.md: the peer, the transform and features."""
    params = item.callspec.params
    peer = "scapy" if params.get("judge") == "scapy" else "OpenSSL"
    if "kernel" in item.originalname:
        peer = "Linux kernel"
    if "tshark" in item.originalname:
        peer = "tshark"
    return peer, None, ["tfc"]


def padded(length, rule):
    to, multiple = rule
    if length <= to:
        return to
    return -(-length // multiple) * multiple if multiple else length


def by_reference(config, packet, sequence):
    """The payload and the next header of an ESP packet in a tunnel."""
    return reference.take_trailer(reference.unseal(config, sequence, reference.esp_of(config, packet)[1]))


def by_scapy(config, packet, sequence):
    peer = scapy_peer.Peer(config, None)
    dissected = peer._dissect(packet)
    peer.sa.seq_num = sequence
    payload = bytes(peer.sa.decrypt(dissected))
    return payload, dissected.proto if dissected.version == 4 else dissected.nh


JUDGES = {"reference": by_reference, "scapy": by_scapy}


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("shape", TUNNELS)
@pytest.mark.parametrize("name", NAMES)
def test_payloads_are_padded(accelerator, name, shape, rule, judge):
    rng = traffic.generator("tfc", name, shape, rule)
    config = traffic.config(rng, ESP[name], shape, tfc_pad_to=rule[0], tfc_pad_multiple=rule[1])
    family = traffic.SHAPES[shape][1]
    with accelerator.add(config) as outbound, accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        for sequence, size in enumerate([0, 1, 200, 400, 1372, *traffic.sizes(rng, 3)], 1):
            packet = traffic.packet(rng, family, size)
            sent = outbound.encap(packet)
            payload, number = JUDGES[judge](config, sent, sequence)
            assert (len(payload), number) == (padded(len(packet), rule), {4: 4, 6: 41}[family])
            assert payload[: len(packet)] == packet
            if judge == "scapy":
                # By its length field, scapy too knows where the packet ends.
                inner = (IP if family == 4 else IPv6)(payload)
                padding = bytes(inner[Padding]) if Padding in inner else b""
                assert payload[: len(payload) - len(padding)] == packet
            assert inbound.decap(sent) == packet


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("shape", TUNNELS)
@pytest.mark.parametrize("name", NAMES)
def test_dummy_packets(accelerator, name, shape, judge):
    """As long as a packet of that length; next header 59; and dropped without an error."""
    rng = traffic.generator("dummies", name, shape)
    config = traffic.config(rng, ESP[name], shape, replay=True, tfc_pad_to=rng.choice([0, 300]))
    with accelerator.add(config) as outbound, accelerator.add(config.as_(gipsec.INBOUND)) as inbound:
        packet = traffic.packet(rng, traffic.SHAPES[shape][1], 100)
        for sequence, length in enumerate([20, 21, 40, 1000, 1400], 1):
            sent = outbound.dummy(length)
            payload, number = JUDGES[judge](config, sent, sequence)
            assert (number, len(payload)) == (NO_NEXT_HEADER, padded(length, (config.tfc_pad_to, 0)))
            assert inbound.decap(sent) == b""
        dummy = outbound.dummy(len(packet))
        assert len(dummy) == len(outbound.encap(packet)), "an observer could tell"
        assert inbound.statistics().refusals() == {}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.skipif(not test_tshark.TSHARK, reason="SKIPPED: tshark is not installed")
def test_tshark_reads_padded_packets_and_dummies(accelerator, family, tmp_path):
    rng = traffic.generator("tfc tshark", family)
    shape = "tunnel-4in4" if family == 4 else "tunnel-4in6"
    fields = ["esp.sequence", "esp.icv_good", "esp.protocol", "udp.payload", "_ws.malformed", "esp.decrypted_data"]
    frames, sas, expected = [], [], []
    for name in ("aes128-gcm-128", "aes256-cbc+sha256", "null+sha1"):
        config = traffic.config(rng, ESP[name], shape, tfc_pad_to=600, tfc_pad_multiple=256)
        with accelerator.add(config) as outbound:
            for sequence, size in enumerate((1, 100, 700), 1):
                data = rng.randbytes(size)
                header = IP(src=traffic.INNER_V4[0], dst=traffic.INNER_V4[1])
                frames.append(outbound.encap(bytes(header / UDP(sport=50_001, dport=50_002) / Raw(data))))
                expected.append((sequence, "0x04", data.hex()))
            frames.append(outbound.dummy(600))
            expected.append((4, "", ""))
        sas.append(test_tshark.row(config, config.tunnel))
    for (sequence, protocol, data), line in zip(expected, test_tshark.dissect(tmp_path, frames, sas, fields)):
        assert (line["esp.sequence"], line["esp.icv_good"]) in {(str(sequence), "1"), (str(sequence), "True")}
        assert (line["esp.protocol"], line["udp.payload"]) == (protocol, data)
        assert not line["_ws.malformed"]
        # Where there is no next header it shows what it decrypted, trailer and all.
        assert protocol or line["esp.decrypted_data"].endswith(f"{NO_NEXT_HEADER:02x}")


@pytest.mark.parametrize("mode", ["transport", "AH"])
def test_what_has_no_dummies(accelerator, mode):
    """RFC 4303 section 2.7: only in tunnel mode does the packet within say where it ends."""
    rng = traffic.generator("no dummies", mode)
    config = traffic.config(rng, ESP["aes128-gcm-128"], "transport-4" if mode == "transport" else "tunnel-4in4")
    if mode == "AH":
        config = traffic.config(rng, dict(traffic.ah_transforms())["ah-sha256"], "tunnel-4in4")
    with accelerator.add(config) as sa:
        with pytest.raises(gipsec.Error) as caught:
            sa.dummy(100)
        assert caught.value.errno == errno.EINVAL


@dataclass(frozen=True)
class Case:
    """An SA each way with the kernel, both padded."""

    name: str
    shape: str

    def __str__(self):
        return f"{self.name}/{self.shape}"

    def lines(self):
        return Plan(self).lines


CASES = [Case(name, shape) for name in ("aes128-gcm-128", "aes128-cbc+sha256", "chacha20-poly1305") for shape in TUNNELS]
PAD = 500


class Plan:
    def __init__(self, case):
        self.case, rng = case, traffic.generator("kernel tfc", case)
        self.rng, number = rng, CASES.index(case)
        outer, inner = traffic.SHAPES[case.shape]
        prefix = ("10.{}.202.{}", "fd0{}::7f:{:x}")[inner == 6]
        self.ends = tuple(prefix.format(side, number + 1) for side in (1, 2))
        tunnel = guest.V4 if outer == 4 else guest.V6
        self.there, self.back = (
            gipsec.replace(traffic.config(rng, ESP[case.name], case.shape), tunnel=tunnel[::way]) for way in (1, -1)
        )
        self.there = gipsec.replace(self.there, tfc_pad_to=PAD)
        self.back = gipsec.replace(self.back, direction=gipsec.INBOUND, replay=True)
        back = xfrm.lines(self.back, self.ends[::-1], False, 0, 32)
        self.lines = [*xfrm.lines(self.there, self.ends, True, 0, 32), f"{back[0]} tfcpad {PAD}", back[1]]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernel_pads_and_takes_padding(accelerator, kernel, case):
    plan = Plan(case)
    assert not [kernel.refused[line] for line in plan.lines if line in kernel.refused]
    data = [plan.rng.randbytes(size) for size in (0, 1, 15, 200, 900)]
    asked = [test_kernel.echo(plan.ends, number, one, 0, [], []) for number, one in enumerate(data)]
    with accelerator.add(plan.there) as outbound:
        sent = [outbound.encap(packet) for packet in asked]
        assert len({len(packet) for packet in sent}) == 2
        answers, errors = kernel.exchange(sent, len(asked))
        assert (len(answers), errors) == (len(asked), {})
        # Linux drops a dummy, as it should, and counts it as an error of its state, which it should not.
        answers_to_dummy, errors = kernel.exchange([outbound.dummy(400)], 0)
        assert (answers_to_dummy, errors) == ([], {"XfrmInStateProtoError": 1})
        answers_after, errors = kernel.exchange([outbound.encap(asked[0])], 1)
        assert (len(answers_after), errors) == (1, {})
    with accelerator.add(plan.back) as inbound:
        lengths = []
        for number, (answer, one) in enumerate(zip(answers, data), 1):
            lengths.append(len(by_reference(plan.back, answer, number)[0]))
            test_kernel.check_answer(plan, inbound.decap(answer), number - 1, one)
        assert min(lengths) > 400, "the kernel padded nothing"
        assert inbound.statistics().refusals() == {}
