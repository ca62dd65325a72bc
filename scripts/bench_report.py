#!/usr/bin/env python3
"""Prints what scripts/bench.sh measured.

Usage: bench_report.py RESULTS MACHINE [--write]

With --write it also goes into docs/performance.md, docs/performance.svg and README.md. Prose is left alone: only what is
between the marks is replaced.
"""

import csv
import re
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

from bench_plot import plot

TRANSFORMS = {
    "gcm128": "AES-GCM-128",
    "gcm256": "AES-GCM-256",
    "cbcsha1": "AES-CBC-128 + SHA1",
    "cbcsha256": "AES-CBC-128 + SHA256",
}
# As scripts/bench.sh names what librte_ipsec ran on: driver, architecture of intel-ipsec-mb, session.
DRIVERS = {
    "aesni_gcm auto": "aesni_gcm",
    "aesni_mb avx512": "aesni_mb (AVX-512)",
    "aesni_mb avx2": "aesni_mb (AVX2)",
    "aesni_mb sse": "aesni_mb (SSE)",
    "openssl auto": "openssl",
}
SESSIONS = {"queue": "", "cpu": ", synchronous"}
CONFIGURATIONS = {
    f"{driver} {session}": label + suffix for driver, label in DRIVERS.items() for session, suffix in SESSIONS.items()
}
BATCH = 32
CALLS = ((BATCH, "Batches of 32"), (1, "One packet in a call"))
IN_README = (64, 512, 1420, 8192)
FASTEST, MEDIAN = 0, 1


class Results:
    """Nanoseconds a packet: the least of all rounds, and the median of their medians."""

    def __init__(self, path):
        rounds = defaultdict(list)
        with open(path, newline="", encoding="ascii") as file:
            for who, transform, operation, per_call, size, least, middle in csv.reader(file):
                rounds[who, transform, operation, int(per_call), int(size)].append((float(least), float(middle)))
        self.times = {
            key: (min(least for least, _ in values), median(middle for _, middle in values))
            for key, values in rounds.items()
        }
        self.sizes = sorted({key[4] for key in self.times if key[0] == "kernels"})

    def time(self, which, *key):
        return self.times[key][which]

    def best(self, which, names, *key):
        """The fastest of those that were measured, and its time."""
        return min(((name, self.time(which, name, *key)) for name in names if (name, *key) in self.times), key=lambda it: it[1])


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def bytes_(sizes):
    return [f"{size} B" for size in sizes]


def against(ours, *peers):
    """In packets a second: above 1 we are faster."""
    return f"**{min(peers) / ours:.2f}** (" + " / ".join(f"{time:.0f}" for time in (ours, *peers)) + ")"


def packets(results, which, per_call, sizes, name_best=True):
    rows = []
    for transform, title in TRANSFORMS.items():
        for operation in ("encap", "decap"):
            cells, winners = [], []
            for size in sizes:
                key = (transform, operation, per_call, size)
                name, peer = results.best(which, CONFIGURATIONS, *key)
                cells.append(against(results.time(which, "gipsec", *key), peer))
                winners.append(CONFIGURATIONS[name])
            named = ["; ".join(dict.fromkeys(winners))] if name_best else []
            rows.append([f"{title}, {operation}", *cells, *named])
    return table(["", *bytes_(sizes), *(["fastest driver"] if name_best else [])], rows)


def every_configuration(results):
    rows = []
    for transform, title in TRANSFORMS.items():
        for name, label in {"gipsec": "libgipsec", **CONFIGURATIONS}.items():
            if (name, transform, "encap", BATCH, results.sizes[0]) not in results.times:
                continue
            times = [results.time(FASTEST, name, transform, "encap", BATCH, size) for size in results.sizes]
            rows.append([title, label, *(f"{time:.0f}" for time in times)])
    return table(["", "", *bytes_(results.sizes)], rows)


def kernels(results):
    rows = []
    for transform, title in TRANSFORMS.items():
        for operation in ("seal", "open"):
            cells = []
            for size in results.sizes:
                key = (transform, operation, BATCH, size)
                _, multi_buffer = results.best(FASTEST, ("ipsec_mb-direct", "ipsec_mb-burst"), *key)
                openssl = results.time(FASTEST, "openssl", *key)
                cells.append(against(results.time(FASTEST, "kernels", *key), multi_buffer, openssl))
            rows.append([f"{title}, {operation}", *cells])
    return table(["", *bytes_(results.sizes)], rows)


def framing(results):
    rows = []
    for transform in ("gcm128", "gcm256"):
        for operation, bare in (("encap", "seal"), ("decap", "open")):
            for per_call, calls in ((BATCH, "batches of 32"), (1, "one packet in a call")):
                cells = []
                for size in results.sizes:
                    whole = results.time(FASTEST, "gipsec", transform, operation, per_call, size)
                    cells.append(f"{whole - results.time(FASTEST, 'kernels', transform, bare, BATCH, size):.0f}")
                rows.append([f"{TRANSFORMS[transform]}, {operation}, {calls}", *cells])
    return table(["", *bytes_(results.sizes)], rows)


def surroundings(results):
    def of(operation, per_call, size):
        return results.time(FASTEST, "gipsec", "gcm128", operation, per_call, size)

    rows = []
    for size in (64, 1420):
        if ("gipsec", "gcm128", "1 thread", BATCH, size) in results.times:
            for who, title in (("2 threads 2 SAs", "an SA each"), ("2 threads 1 SA", "one SA")):
                ratio = of("1 thread", BATCH, size) / of(who, BATCH, size)
                rows.append([f"Two threads on two cores, {title}: encap, {size} B", f"{ratio:.2f} x one thread"])
    for window in (64, 1024):
        more = of(f"window {window}", BATCH, 64) - of("window 0", BATCH, 64)
        rows.append([f"Anti-replay window of {window} packets: decap, 64 B", f"{more:+.0f} ns a packet"])
    for per_call, calls in ((BATCH, "batches of 32, each for one SA"), (1, "one packet in a call")):
        one, many = of("among 1 SAs", per_call, 64), of("among 100000 SAs", per_call, 64)
        rows.append([f"100,000 SAs at random instead of one: encap, 64 B, {calls}", f"{many:.0f} ns instead of {one:.0f}"])
    return table(["AES-GCM-128", ""], rows)


def replace(path, text):
    """Between the marks of the file, exactly once."""
    before = path.read_text(encoding="utf-8")
    marks = r"(<!-- measured -->\n).*?(<!-- end of measured -->)"
    after, count = re.subn(marks, lambda match: f"{match[1]}\n{text}\n\n{match[2]}", before, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{path}: {count} times between marks, not once")
    path.write_text(after, encoding="utf-8")


def page(results, machine):
    """All that docs/performance.md says of them."""
    ratio = "**ratio in packets a second** (libgipsec / peer, in ns a packet); above 1 libgipsec is faster"
    sections = [
        "\n".join(f"- {line}" for line in machine),
        "![Gbit/s of encapsulation against the size of packets](performance.svg)",
    ]
    for per_call, title in CALLS:
        sections += [
            f"## {title}",
            f"Each cell: {ratio}. The peer is\nlibrte_ipsec over the driver that is fastest in this cell.",
            f"The fastest round:\n\n{packets(results, FASTEST, per_call, results.sizes)}",
            f"The median:\n\n{packets(results, MEDIAN, per_call, results.sizes)}",
        ]
    sections += [
        "## Every driver of the peer\n\nEncapsulation in batches of 32, ns a packet, the fastest round. Drivers are DPDK's "
        "crypto_...; synchronous: without its queues\n(`RTE_SECURITY_ACTION_TYPE_CPU_CRYPTO`).\n\n"
        + every_configuration(results),
        "## Kernels alone\n\nWhat of 32 such packets is encrypted and authenticated, without framing: **ratio in packets a "
        "second to the better peer** (our\nkernels / intel-ipsec-mb / OpenSSL, in ns a packet).\n\n" + kernels(results),
        "## Framing\n\nWhat a packet takes beyond the kernels, ns: headers, sequence number, IV, trailer, checks, verdicts, "
        "the call.\n\n" + framing(results),
        f"## Threads, windows, many SAs\n\n{surroundings(results)}",
    ]
    return "\n\n".join(sections)


def write(results, machine):
    root = Path(__file__).resolve().parent.parent
    replace(root / "docs" / "performance.md", page(results, machine))
    where = "\n".join(line for line in machine if line.startswith(("Processor:", "Peers:")))
    replace(root / "README.md", f"{where}\n\n{packets(results, FASTEST, BATCH, IN_README, name_best=False)}")
    (root / "docs" / "performance.svg").write_text(plot(results, TRANSFORMS, DRIVERS, SESSIONS), encoding="utf-8")
    print("\ndocs/performance.md, docs/performance.svg and README.md: written anew")


def main(results_path, machine_path, *options):
    results = Results(results_path)
    for per_call, title in CALLS:
        print(f"\n{title}: ratio in packets a second (libgipsec / fastest librte_ipsec, ns)\n")
        print(packets(results, FASTEST, per_call, results.sizes))
    print(f"\n{surroundings(results)}")
    if "--write" in options:
        write(results, Path(machine_path).read_text(encoding="utf-8").splitlines())


if __name__ == "__main__":
    main(*sys.argv[1:])
