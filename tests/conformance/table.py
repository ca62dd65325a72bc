"""Writes docs/conformance.md: what was tested against whom, and how often.

    table.py RESULTS LOG PAGE     RESULTS: what conftest.py wrote; LOG: what the Rust tests of published vectors said

Exit status 1 when a case failed, or none passed for a capability that is set. It says nothing that changes from run to run.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

import scapy
from cryptography.hazmat.backends.openssl import backend

import gipsec
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
    "padding of traffic flow, dummy packets": "up to 255 bytes of padding of a peer's, its dummy packets, wrong padding",
    "tfc": "payloads padded for the traffic flow, dummy packets, of ours and of the kernel's",
    "outer header: DSCP, DF, ECN": None,
    "outer header: flow label, addresses checked": None,
    "IPv4 options, IPv6 extension headers": None,
    "IPComp with DEFLATE, alone and inside ESP": None,
    "IPComp with LZS": None,
    "bundles": "bundles of two to four: ESP, AH, IPComp and WESP in one another",
    "wesp encrypted": "WESP, encrypted",
    "wesp readable": "WESP, readable on the way",
    "implicit IV (RFC 8750)": None,
    "NAT-OA": "transport checksums behind a NAT (NAT-OA)",
    "pieces": "packets in pieces",
    "asynchronous": "asynchronous calls, in DSCP classes",
    "lifetimes": "soft and hard lifetimes in bytes",
    "overflow": "the end of the sequence numbers",
    "periodic": "periodic notifications of sequence numbers",
    "byte for byte, IV given": None,
}

SIZES = ("128", "192", "256")


def named(*starts):
    """The transforms that some word of their names begins with one of these."""
    names = [name for name, _ in [*traffic.esp_transforms(), *traffic.ah_transforms()]]
    return [name for name in names if any(part.startswith(starts) for part in name.removeprefix("ah-").split("+"))]


# By bit of g_ipsec_la_capabilities, what exercises it: rows of the table of features, or of that of transforms.
CAPABILITIES = {
    "sg_features": ["pieces"],
    "ah_protocol": [name for name, _ in traffic.ah_transforms()],
    "esp_protocol": [name for name, _ in traffic.esp_transforms()],
    "wesp_protocol": ["wesp encrypted", "wesp readable"],
    "ipcomp_protocol": ["IPComp with DEFLATE, alone and inside ESP", "IPComp with LZS"],
    "multi_sec_protocol": ["bundles"],
    "udp_encap": ["udp", "UDP encapsulation", "NAT-OA"],
    "esn": ["esn"],
    "tfc": ["tfc"],
    "ecn": ["outer header: DSCP, DF, ECN"],
    "df": ["outer header: DSCP, DF, ECN"],
    "anti_replay_check": ["forged, repeated and malformed packets refused"],
    "ipv6_support": ["tunnel-6in4", "tunnel-4in6", "tunnel-6in6", "transport-6"],
    "soft_lifetime_bytes_notify": ["lifetimes"],
    "seqnum_overflow_notify": ["overflow"],
    "seqnum_periodic_notify": ["periodic"],
    "num_dscp_based_queues": ["asynchronous"],
    "auth_algo_caps.md5": named("md5"),
    "auth_algo_caps.sha1": named("sha1"),
    "auth_algo_caps.sha2": named("sha256", "sha384", "sha512"),
    "auth_algo_caps.aes_xcbc": named("xcbc"),
    "auth_algo_caps.none": named("none"),
    "cipher_algo_caps.des": named("des"),
    "cipher_algo_caps.des_c": named("3des"),
    "cipher_algo_caps.aes": named(*(f"aes{bits}-cbc" for bits in SIZES)),
    "cipher_algo_caps.aes_ctr": named(*(f"aes{bits}-ctr" for bits in SIZES)),
    "cipher_algo_caps.null": named("null"),
    "comb_algo_caps.aes_ccm": named(*(f"aes{bits}-ccm" for bits in SIZES)),
    "comb_algo_caps.aes_gcm": named(*(f"aes{bits}-gcm" for bits in SIZES)),
    "comb_algo_caps.aes_gmac": named(*(f"aes{bits}-gmac" for bits in SIZES)),
}
NO_FEATURE = {
    (TSHARK, "esn"): "tshark 4.0 has no ESN",
    (KERNEL, "IPComp with LZS"): "the kernel has no LZS",
    **{(SCAPY, name): "scapy has no IPComp" for name in FEATURES if name.startswith("IPComp")},
    **{(TSHARK, name): "tshark 4.0 knows no WESP" for name in FEATURES if name.startswith("wesp")},
    **{(KERNEL, name): "the kernel has no WESP" for name in FEATURES if name.startswith("wesp")},
    **{(peer, "implicit IV (RFC 8750)"): f"{peer} has no implicit IVs" for peer in (SCAPY, TSHARK, KERNEL)},
}

HEAD = """# Conformance

What the library makes and takes, against independent implementations and published vectors. `scripts/conformance.sh`
runs every case and writes this page anew; it fails when a case fails.

- **published vectors**: those of the RFCs, of NIST's validation programs (from the package cryptography-vectors) and of
  Project Wycheproof, valid and forged, on every backend of the kernels. Where a transform is two algorithms the number is
  the sum of both.
- **OpenSSL** {openssl}: packets recomputed by `tests/conformance/reference.py`, ESP and AH written from the RFCs upon the
  cryptography package and hashlib; both ways with random packets, and byte for byte with the IV given. IPComp is
  `ipcomp.py`: zlib, and an LZS written from its description. The header of WESP is `wesp.py`, written from RFC 5840, since
  no other implementation can be installed; what is inside is judged by OpenSSL, or scapy.
- **scapy** {scapy}: its own ESP and AH, both ways.
- **tshark** {tshark}: decrypts and authenticates a capture of what the library made. Of AH it shows the fields, and does not
  check the ICV.
- **Linux kernel** {kernel}: answers echo requests that the library protected; the library takes the answers. Each case of ESP
  and AH also sends a repeated and a forged packet each way, which the other end has to refuse.
- **OpenConnect** has the only other LZS at hand: it reads what ours writes, and ours what it writes, and both refuse the same
  damaged streams (`scripts/lzs_peer.sh`, which `scripts/test.sh` runs; not counted here).

A number is of cases that passed; a case is several packets. – is where nothing was tested.
"""


CAPABILITIES_HEAD = """Every bit of `g_ipsec_la_capabilities`, and how many of the cases above are behind it. The
command fails when a bit is set and no case passed.
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


def capabilities(results, set_bits):
    """A row for each bit, and what is set without a case that passed."""
    passed = collections.Counter()
    for result in results:
        if result["outcome"] == "passed":
            for row_of in {result["transform"], *result["features"]} - {None}:
                passed[row_of, result["peer"]] += 1
    lines, missing = [row("", ["set", "exercised by", *PEERS[1:]]), "|---|---|---|" + "---:|" * len(PEERS[1:])], []
    for bit, rows in CAPABILITIES.items():
        counts = [sum(passed[name, peer] for name in rows) for peer in PEERS[1:]]
        titles = [FEATURES[name] or name for name in rows if name in FEATURES]
        by = "; ".join(titles) or f"{len(rows)} transforms"
        numbers = [f"{count:,}" if count else "–" for count in counts]
        lines.append(row(f"`{bit}`", ["yes" if bit in set_bits else "no", by, *numbers]))
        if bit in set_bits and not any(counts):
            missing.append(bit)
    missing += [bit for bit in set_bits if bit not in CAPABILITIES]
    return lines, missing


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
    with gipsec.Accelerator() as accelerator:
        rows, missing = capabilities(results, set(accelerator.capabilities().names()))
    lines += ["\n## Capabilities\n", CAPABILITIES_HEAD, *rows]
    if skipped:
        lines.append(f"\nNot all published vectors were run: {skipped[1]}")
    lines += ["\n## Notes\n", notes.text()]
    pathlib.Path(page).write_text("\n".join(lines) + "\n")
    failed = sum(result["outcome"] == "failed" for result in results)
    if missing:
        sys.exit(f"set, and exercised by no case that passed: {', '.join(sorted(missing))}")
    if failed:
        sys.exit(f"{failed} cases failed: see {page}")


if __name__ == "__main__":
    main(*sys.argv[1:])
