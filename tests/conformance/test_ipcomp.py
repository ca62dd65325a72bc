"""IPComp (RFC 3173) with DEFLATE, alone and inside ESP, with a Linux kernel as the other end. The kernel has no LZS:
test_compression.py has it."""

from dataclasses import dataclass
from typing import Optional

import pytest

import gipsec
import reference
import test_kernel
import traffic
from kernel import guest, xfrm

# Of the IPComp SA; the ESP SA around it is in transport mode, or in tunnel mode where IPComp is in transport mode.
SHAPES = ["tunnel-4in4", "tunnel-6in4", "tunnel-4in6", "tunnel-6in6", "transport-4", "transport-6"]
CIPHERS = [None, "aes128-gcm-128", "aes128-cbc+sha256", "chacha20-poly1305"]
IPCOMP_PROTOCOL = 108


@dataclass(frozen=True)
class Case:
    shape: str
    esp: Optional[str]
    esp_tunnel: bool = False

    def __str__(self):
        around = [] if not self.esp else [self.esp, "esp-tunnel" if self.esp_tunnel else "esp-transport"]
        return "/".join(["deflate", self.shape, *around])

    def lines(self):
        return Plan(self).lines


CASES = [Case(shape, esp) for shape in SHAPES for esp in CIPHERS]
CASES += [Case(shape, esp, True) for shape in SHAPES[4:] for esp in CIPHERS[1:]]


def covers(item):
    """For the table in docs/conformance.md: the peer, the transform and features."""
    return "Linux kernel", None, ["IPComp with DEFLATE, alone and inside ESP"]


class Plan:
    def __init__(self, case):
        self.case, rng = case, traffic.generator("ipcomp", case)
        self.rng, number = rng, CASES.index(case)
        outer, inner = traffic.SHAPES[case.shape]
        prefix = ("10.{}.200.{}", "fd0{}::c0:{:x}")[inner == 6]
        self.ends = tuple(prefix.format(side, number + 1) for side in (1, 2))
        self.there, self.back = (self._bundle(way, outer, inner) for way in (1, -1))
        self.lines = [*self._lines(self.there, True), *self._lines(self.back, False)]

    def _bundle(self, way, outer, inner):
        """IPComp first, as outbound processing has it."""
        tunnel = {None: None, 4: guest.V4, 6: guest.V6}[outer]
        direction = gipsec.OUTBOUND if way == 1 else gipsec.INBOUND
        bundle = [gipsec.Config(
            direction, 0, proto=gipsec.IPCOMP, compression="deflate", cpi=self.rng.randrange(256, 61_440),
            transport=outer is None, tunnel=tunnel and tunnel[::way],
        )]
        if self.case.esp:
            fields = dict(traffic.esp_transforms())[self.case.esp]
            config = traffic.config(self.rng, fields, "tunnel-4in4" if self.case.esp_tunnel else "transport-4")
            tunnel = (guest.V4 if inner == 4 else guest.V6)[::way] if self.case.esp_tunnel else None
            bundle.append(gipsec.replace(config, direction=direction, tunnel=tunnel))
        return bundle

    def _lines(self, bundle, incoming):
        """States, and a policy of them all. What does not shrink goes without IPComp (RFC 3173 section 2.2)."""
        ends = self.ends if incoming else self.ends[::-1]
        comp, *esp = bundle
        families = {"." in end for end in (ends[0], (comp.tunnel or ends)[0])}
        carrier, mode = comp.tunnel or ends, "transport" if comp.transport else "tunnel"
        identity = f"src {carrier[0]} dst {carrier[1]} proto comp spi 0x{comp.cpi:x}"
        flag = " flag af-unspec" if len(families) > 1 else ""
        lines = [f"xfrm state add {identity} mode {mode} comp deflate{flag}"]
        templates = [f"tmpl {identity} mode {mode}" + (" level use" if incoming else "")]
        for config in esp:
            state, policy = xfrm.lines(config, carrier, incoming, 0, 32)
            lines.append(state + flag)
            templates.append(policy[policy.index("tmpl") :])
        upper = "icmp" if "." in ends[0] else "ipv6-icmp"
        selector = f"src {ends[0]} dst {ends[1]} proto {upper} dir {'in' if incoming else 'out'}"
        return [*lines, f"xfrm policy add {selector} " + " ".join(templates)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernel_decompresses_and_compresses(accelerator, kernel, case):
    plan = Plan(case)
    assert not [kernel.refused[line] for line in plan.lines if line in kernel.refused]
    # One that is too short to shrink, two that shrink, and one that no one can compress.
    payloads = [b"x" * 20, bytes(1000), b"to be, or not to be, that is the question: " * 30, plan.rng.randbytes(1200)]
    asked = [test_kernel.echo(plan.ends, number, data, 0, [], []) for number, data in enumerate(payloads)]
    with accelerator.add(*plan.there) as outbound:
        sent = outbound.encap_many(asked)
        assert all(isinstance(packet, bytes) for packet in sent)
        answers, errors = kernel.exchange(sent, len(asked))
        assert (len(answers), errors) == (len(asked), {})
    # The kernel may answer what came as it is before what it had to decompress.
    shrunk = [len(packet) < len(data) for packet, data in zip(sent, payloads)]
    assert shrunk == [False, True, True, False]
    assert sum(len(answer) < 1000 for answer in answers) == 3, "the kernel compresses too"
    if not case.esp:
        assert [reference.split(packet)[1] == IPCOMP_PROTOCOL for packet in sent] == shrunk
        assert sum(reference.split(packet)[1] == IPCOMP_PROTOCOL for packet in answers) == sum(shrunk)
    with accelerator.add(*plan.back) as inbound:
        taken = [inbound.decap(answer) for answer in answers]
    for answer in taken:
        number = int.from_bytes(reference.split(answer)[2][6:8], "big")
        test_kernel.check_answer(plan, answer, number, payloads[number])
    assert len(set(taken)) == len(payloads)
