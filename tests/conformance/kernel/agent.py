"""Runs in the guest: sets it up, then answers on UDP port 9 until told to stop. Python's own library alone.

    agent.py OWN_MAC PEER_MAC BATCH      BATCH: lines for `ip -batch`, which may fail one by one
"""

import socket
import subprocess
import sys

OWN_MAC, PEER_MAC, BATCH = sys.argv[1:]
SETUP = f"""
link set lo up
link set vec0 address {OWN_MAC}
link set vec0 up
addr add 192.168.50.2/24 dev vec0
addr add fd50::2/64 dev vec0 nodad
neigh add 192.168.50.1 lladdr {PEER_MAC} dev vec0 nud permanent
neigh add fd50::1 lladdr {PEER_MAC} dev vec0 nud permanent
route add 10.1.0.0/16 via 192.168.50.1 src 192.168.50.2
route add fd01::/16 via fd50::1
route add local 10.2.0.0/16 dev lo
route add local fd02::/16 dev lo
"""
UDP_ENCAP, UDP_ENCAP_ESPINUDP = 100, 2
IDLE_SECONDS = 60
PART = 100


def ip(arguments, text):
    return subprocess.run(["ip", *arguments, "-batch", "-"], input=text, capture_output=True, text=True)


def statistics():
    with open("/proc/net/xfrm_stat") as file:
        return file.read()


with open("/proc/sys/net/ipv6/conf/default/accept_dad", "w") as file:
    file.write("0")
assert ip([], SETUP.strip()).returncode == 0
with open(BATCH) as file:
    lines = file.read().splitlines()
# What the kernel says of each line that it refuses. The first one ends `ip`; so the lines of its part go one by one.
refused = ""
for start in range(0, len(lines), PART):
    part = lines[start : start + PART]
    if ip([], "\n".join(part)).returncode == 0:
        continue
    for number, line in enumerate(part, start):
        said = ip([], line).stderr.strip().splitlines()
        if said and "File exists" not in said[0]:
            refused += f"{number} {said[0]}\n"

encapsulated = []
for family in (socket.AF_INET, socket.AF_INET6):
    encapsulated.append(socket.socket(family, socket.SOCK_DGRAM))
    if family == socket.AF_INET6:
        encapsulated[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    encapsulated[-1].setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
    encapsulated[-1].bind(("", 4500))

control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
control.bind(("192.168.50.2", 9))
control.settimeout(IDLE_SECONDS)
while True:
    try:
        request, peer = control.recvfrom(2048)
    except TimeoutError:
        break
    number, command = request.split(b" ", 1)
    if command == b"stop":
        break
    if command == b"statistics":
        answer = statistics()
    elif command.startswith(b"refused "):
        start = int(command.split()[1])
        answer = refused[start : start + 1000]
    else:
        done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        answer = done.stdout[:1300]
    control.sendto(number + b" " + answer.encode(), peer)
