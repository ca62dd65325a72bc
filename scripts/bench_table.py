#!/usr/bin/env python3
"""Prints what scripts/bench.sh measured as a table: minimum over all rounds, and the ratio to the peer."""

import csv
import sys
from collections import defaultdict

NAMES = {"gcm128": "AES-GCM-128", "gcm256": "AES-GCM-256", "cbcsha1": "AES-CBC-128 + SHA1", "cbcsha256": "AES-CBC-128 + SHA256"}

best = defaultdict(lambda: float("inf"))
with open(sys.argv[1], newline="", encoding="ascii") as file:
    for who, transform, operation, batch, size, minimum, _median in csv.reader(file):
        key = (who, transform, operation, int(batch), int(size))
        best[key] = min(best[key], float(minimum))

sizes = sorted({key[4] for key in best})
for batch in sorted({key[3] for key in best}, reverse=True):
    print(f"\nns a packet, batch of {batch}: libgipsec / librte_ipsec (ratio)\n")
    print("| | " + " | ".join(f"{size} B" for size in sizes) + " |")
    print("|---" * (len(sizes) + 1) + "|")
    for transform, name in NAMES.items():
        for operation in ("encap", "encap+decap"):
            cells = []
            for size in sizes:
                ours = best[("gipsec", transform, operation, batch, size)]
                peer = best[("librte_ipsec", transform, operation, batch, size)]
                cells.append(f"{ours:.0f} / {peer:.0f} ({ours / peer:.2f})")
            print(f"| {name}, {operation} | " + " | ".join(cells) + " |")
