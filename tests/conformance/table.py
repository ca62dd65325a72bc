"""Writes docs/conformance.md: what was tested against whom, and how often.

    table.py RESULTS LOG PAGE     RESULTS: what conftest.py wrote; LOG: what the Rust tests of published vectors said

Exit status 1 when a case failed. It says nothing that changes from run to run.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

import scapy
from cryptography.hazmat.backends.openssl import backend

import scapy_peer
import test_tshark
import test_vectors
import traffic
from kernel import guest, xfrm

PUBLISHED, OPENSSL, SCAPY, TSHARK, KERNEL = PEERS = ["published vectors", "OpenSSL", "scapy", "tshark", "Linux kernel"]
CANNOT = {SCAPY: scapy_peer.cannot, TSHARK: test_tshark.cannot, KERNEL: xfrm.cannot}
FEATURES = {
    "tunnel-4in4": "tunnel, IPv4 in IPv4",
    "tunnel-6in4": "tunnel, IPv6 in IPv4",
    "tunnel-4in6": "tunnel, IPv4 in IPv6",
    "tunnel-6in6": "tunnel, IPv6 in IPv6",
    "transport-4": "transport, IPv4",
    "transport-6": "transport, IPv6",
    "esn": "extended sequence numbers, about 2^32 and multiples",
    "udp": "UDP encapsulation, IPv4 and IPv6",
    "UDP encapsulation": "what else comes to an ESP port: IKE, keepalives",
    "forged, repeated and malformed packets refused": None,
    "padding of traffic flow, dummy packets": None,
    "outer header: DSCP, DF, ECN": None,
    "IPv4 options, IPv6 extension headers": None,
    "IPComp with DEFLATE, alone and inside ESP": None,
    "byte for byte, IV given": None,
}
NO_FEATURE = {(TSHARK, "esn"): "tshark 4.0 has no ESN"}

HEAD = """# Conformance

What the library makes and takes, against independent implementations and published vectors. `scripts/conformance.sh`
runs every case and writes this page anew; it fails when a case fails.

- **published vectors**: those of the RFCs, of NIST's validation programs (from the package cryptography-vectors) and of
  Project Wycheproof, valid and forged, on every backend of the kernels. Where a transform is two algorithms the number is
  the sum of both.
- **OpenSSL** {openssl}: packets recomputed by `tests/conformance/reference.py`, ESP and AH written from the RFCs upon the
  cryptography package and hashlib; both ways with random packets, and byte for byte with the IV given.
- **scapy** {scapy}: its own ESP and AH, both ways.
- **tshark** {tshark}: decrypts and authenticates a capture of what the library made. Of AH it shows the fields, and does not
  check the ICV.
- **Linux kernel** {kernel}: answers echo requests that the library protected; the library takes the answers. Each case of ESP
  and AH also sends a repeated and a forged packet each way, which the other end has to refuse.

A number is of cases that passed; a case is several packets. – is where there is nothing to test.
"""


def published(log):
    """How many vectors were run, by name of an algorithm."""
    count = collections.Counter()
    for name, number in re.findall(r"^published vectors: [^:]+: ([^:]+): (\d+)$", log, re.M):
        count[name] += int(number)
    # Of our own file, what is not among those: the engine's and the reference's tests run all of it.
    for parameter in test_vectors.VECTORS:
        vector = parameter.values[0]
        kind, algorithm = vector["kind"], vector.get("algorithm")
        if kind == "mac" and algorithm == "xcbc" or kind == "cipher" and algorithm != "aes-ctr" or kind == "esp":
            count[_name(algorithm, vector["key"])] += 1
    return count


def _name(algorithm, key):
    if algorithm == "gcm":
        return f"aes{(len(key) - 4) * 8}-gcm-128"
    if algorithm in ("aes-cbc", "aes-ctr"):
        return f"aes{(len(key) - 4 * (algorithm == 'aes-ctr')) * 8}-{algorithm[4:]}"
    return algorithm


def parts(name, fields):
    """What of a transform vectors are published of."""
    if fields.get("combined"):
        return [name.removeprefix("ah-")]
    cipher = name.split("+")[0] if fields.get("cipher") else None
    return [part for part in (cipher, fields["auth"]) if part not in (None, "null", "none")]


class Notes:
    """Reasons, lettered in the order in which they are first needed."""

    def __init__(self):
        self.reasons = []

    def mark(self, reason):
        if reason not in self.reasons:
            self.reasons.append(reason)
        return f"<sup>{self.reasons.index(reason) + 1}</sup>"

    def text(self):
        return "\n".join(f"{number}. {reason}" for number, reason in enumerate(self.reasons, 1))


def cell(cases, notes, reason):
    """`cases`: the outcomes, with why of those that were skipped."""
    outcomes = collections.Counter(outcome for outcome, _ in cases)
    if outcomes["failed"]:
        return f"**{outcomes['failed']} of {len(cases)} failed**"
    if outcomes["passed"]:
        return f"{outcomes['passed']:,}"
    if outcomes["skipped"]:
        return "skipped" + notes.mark(next(why for outcome, why in cases if outcome == "skipped"))
    return "–" + (notes.mark(reason) if reason else "")


def row(title, cells):
    return "| " + " | ".join([title, *cells]) + " |"


def head(title, peers):
    return [row(title, peers), "|---|" + "---:|" * len(peers)]


def transforms(results, vectors, skipped, notes):
    yield from head("", PEERS)
    by = collections.defaultdict(list)
    for result in results:
        by[result["peer"], result["transform"]].append((result["outcome"], result["why"]))
    for name, fields in [*traffic.esp_transforms(), *traffic.ah_transforms()]:
        counts = [vectors[part] for part in parts(name, fields)]
        if any(counts):
            cells = [f"{sum(counts):,}"]
        elif skipped:
            cells = ["skipped" + notes.mark(skipped)]
        else:
            cells = ["–" + notes.mark("no vectors are published with ESP's 11-byte nonce and this ICV")]
        cells += [cell(by[peer, name], notes, CANNOT.get(peer, lambda _: None)(fields)) for peer in PEERS[1:]]
        yield row(name, cells)


def features(results, notes):
    yield from head("", PEERS[1:])
    by = collections.defaultdict(list)
    for result in results:
        for feature in result["features"]:
            by[result["peer"], feature].append((result["outcome"], result["why"]))
    unknown = {feature for _, feature in by} - set(FEATURES)
    assert not unknown, unknown
    for feature, title in FEATURES.items():
        cells = [cell(by[peer, feature], notes, NO_FEATURE.get((peer, feature))) for peer in PEERS[1:]]
        yield row(title or feature, cells)


def short(version):
    return ".".join(version.split(".")[:2])


def versions():
    def output(*command):
        try:
            return subprocess.run(command, capture_output=True, text=True).stdout
        except OSError:
            return ""

    tshark = re.search(r"TShark \(Wireshark\) (\S+?)\.? ", output("tshark", "--version"))
    kernel = re.search(r"(\d\S+)", output(guest.SCRIPT, "VERSION"))
    return dict(
        openssl=short(backend.openssl_version_text().split()[1]),
        scapy=short(scapy.__version__),
        tshark=short(tshark[1]) if tshark else "",
        kernel=short(kernel[1]) if kernel else "",
    )


def main(results, log, page):
    results, log = json.loads(pathlib.Path(results).read_text()), pathlib.Path(log).read_text()
    skipped = re.search(r"SKIPPED: (NIST's vectors: .*)", log)
    notes = Notes()
    lines = [HEAD.format(**versions()), "## Transforms\n"]
    lines += transforms(results, published(log), skipped and skipped[1], notes)
    lines += ["\n## Features\n", *features(results, notes)]
    if skipped:
        lines.append(f"\nNot all published vectors were run: {skipped[1]}")
    lines += ["\n## Notes\n", notes.text()]
    pathlib.Path(page).write_text("\n".join(lines) + "\n")
    failed = sum(result["outcome"] == "failed" for result in results)
    if failed:
        sys.exit(f"{failed} cases failed: see {page}")


if __name__ == "__main__":
    main(*sys.argv[1:])
