#!/bin/sh
# Records examples/data/traffic.pcap: real HTTP, DNS and ICMP between two network namespaces, over IPv4 and IPv6, with
# small and full-size packets. Addresses are from the documentation ranges.
#
#   sudo scripts/record_traffic.sh [output.pcap]
#
# Needs root (for the namespaces) and ip, ethtool, tcpdump, dnsmasq, dig, ping, curl, python3.
set -eu
output=${1:-$(dirname "$0")/../examples/data/traffic.pcap}
left=gipsec-left right=gipsec-right
work=$(mktemp -d)

[ "$(id -u)" = 0 ] || { echo "record_traffic: needs root, for network namespaces" >&2; exit 1; }
for tool in ip ethtool tcpdump dnsmasq dig ping curl python3; do
    command -v "$tool" >/dev/null || { echo "record_traffic: $tool is missing" >&2; exit 1; }
done

pids=
cleanup() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    ip netns del $left 2>/dev/null || true
    ip netns del $right 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT INT TERM

in_left() { ip netns exec $left "$@"; }
in_right() { ip netns exec $right "$@"; }

ip netns add $left
ip netns add $right
ip link add veth0 netns $left type veth peer name veth0 netns $right
for side in $left $right; do
    # Otherwise the kernel hands over segments larger than the MTU, with checksums that nobody has computed.
    ip netns exec $side ethtool -K veth0 tso off gso off gro off tx off rx off >/dev/null
    # Duplicate address detection would delay IPv6 by a second.
    ip netns exec $side sh -c 'echo 0 >/proc/sys/net/ipv6/conf/veth0/accept_dad'
done
in_left ip addr add 192.0.2.1/24 dev veth0
in_left ip addr add 2001:db8::1/64 dev veth0 nodad
in_right ip addr add 192.0.2.2/24 dev veth0
in_right ip addr add 2001:db8::2/64 dev veth0 nodad
for side in $left $right; do
    ip -n $side link set lo up
    ip -n $side link set veth0 up
done
sleep 2

# Pages to fetch: a short one and one of many full-size segments (text, so that the capture compresses well).
mkdir "$work/www"
echo '<!DOCTYPE html><title>gipsec</title><p>A short page.</p>' >"$work/www/index.html"
seq 1 8000 | sed 's/^/line /' >"$work/www/lines.txt"

in_right python3 -m http.server --directory "$work/www" --bind :: 80 >/dev/null 2>&1 &
pids="$pids $!"
in_right dnsmasq --keep-in-foreground --no-resolv --no-hosts --conf-file=/dev/null --user=root --pid-file= \
    --host-record=www.example.org,192.0.2.2,2001:db8::2 --txt-record=example.org,"recorded for libgipsec" \
    --mx-host=example.org,mail.example.org,10 2>/dev/null &
pids="$pids $!"
in_left tcpdump -i veth0 -s 0 -U -w "$work/traffic.pcap" 2>"$work/tcpdump.log" &
tcpdump_pid=$!
pids="$pids $tcpdump_pid"
sleep 2

for server in 192.0.2.2 2001:db8::2; do
    in_left ping -q -c 5 -i 0.1 $server >/dev/null                   # 84 bytes in all over IPv4
    in_left ping -q -c 3 -i 0.1 -s 0 $server >/dev/null              # no payload
    in_left ping -q -c 3 -i 0.1 -M do -s 1452 $server >/dev/null     # the MTU over IPv6, nearly over IPv4
    for kind in A AAAA; do in_left dig +tries=1 @$server www.example.org $kind >/dev/null; done
    in_left dig +tries=1 @$server example.org TXT >/dev/null
    in_left dig +tries=1 @$server example.org MX >/dev/null
    in_left dig +tries=1 @$server missing.example.org A >/dev/null
    in_left dig +tcp +tries=1 @$server www.example.org A >/dev/null
done
in_left ping -q -c 3 -i 0.1 -M do -s 1472 192.0.2.2 >/dev/null       # the MTU over IPv4
for host in 192.0.2.2 '[2001:db8::2]'; do
    in_left curl -sS -o /dev/null "http://$host/"
    in_left curl -sS -o /dev/null "http://$host/lines.txt"
    in_left curl -sS -o /dev/null "http://$host/not-there"
    in_left curl -sS -o /dev/null -X POST --data-binary "@$work/www/lines.txt" "http://$host/" || true
done
sleep 1
kill "$tcpdump_pid"
wait "$tcpdump_pid" 2>/dev/null || true

cp "$work/traffic.pcap" "$output"
echo "$output: $(wc -c <"$output") bytes"
