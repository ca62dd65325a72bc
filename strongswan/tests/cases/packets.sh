# SPDX-License-Identifier: GPL-2.0-or-later
# What becomes of packets: their headers, their length, and many of them. Sourced by case.sh.
# shellcheck shell=bash
# Variables of lib.sh are read there.
# shellcheck disable=SC2034,SC2154

tfc() {
    child_extra='tfc_padding = 900'
    charons
    in_b timeout 3 tcpdump -ni e0 -c 2 'ip proto 50' >"$dir/seen" 2>/dev/null & watcher=$!
    sleep .7
    pings "padded"
    wait "$watcher"
    grep -q 'length 9[0-9][0-9]' "$dir/seen" || fail "not padded: $(cat "$dir/seen")"
}

dscp_and_df() {
    child_extra='copy_dscp = out'
    charons
    in_b timeout 4 tcpdump -vni e0 -c 2 'ip proto 50' >"$dir/seen" 2>/dev/null & watcher=$!
    sleep .7
    in_a ping -c 2 -Q 0xb8 -M "do" -I "$from" "$to" >/dev/null || fail "with DSCP EF"
    wait "$watcher"
    grep -q 'tos 0xb8.*flags \[DF\]' "$dir/seen" || fail "DSCP or DF is not outside: $(cat "$dir/seen")"
}

# The narrow place is not the local link: a router says so.
remote_mtu() {
    nat=yes
    command -v nft >/dev/null || skip "nft is not installed"
    command -v iperf3 >/dev/null || skip "iperf3 is not installed"
    charons
    ip -n "${tag}r" link set e1 mtu 1300
    ip -n "${tag}b" link set e0 mtu 1300
    pings "short packets"
    in_b iperf3 -s -1 -D -B "$to" --pidfile "$dir/iperf.pid"
    sleep .5
    in_a timeout 20 iperf3 -c "$to" -B "$from" -n 2M >"$dir/out" 2>&1 || fail "TCP: $(cat "$dir/out")"
}

path_mtu() {
    charons
    ip -n "${tag}a" link set e0 mtu 1200
    ip -n "${tag}b" link set e0 mtu 1200
    in_a ping -c 2 -s 1300 -W 1 -M "do" -I "$from" "$to" >"$dir/out" 2>&1
    eventually 5 "path MTU" sh -c "ip netns exec ${tag}a ping -c 1 -s 1300 -W 1 -M do -I $from $to 2>&1 | grep -Eq 'Frag needed|message too long'"
    in_a ping -c 3 -s 1300 -W 2 -M dont -I "$from" "$to" >"$dir/out" || fail "what may be cut is lost: $(cat "$dir/out")"
}

# Transport mode, and packets longer than any link: this system has cut them before the plugin sees them (RFC 4303 section
# 3.1.1: they are protected whole, and cut afterwards).
long_packets() {
    mode=transport
    charons
    pings "short ones"
    for size in 1372 1373 1500 5000 20001 60000; do
        in_a ping -c 3 -i .05 -W 2 -s "$size" -M dont -I "$from" "$to" >"$dir/out" || fail "$size bytes: $(cat "$dir/out")"
    done
    protected
    # The path gets narrower while all packets are cut already.
    for mtu in 1450 1400 1320; do
        for side in a b; do ip -n "$tag$side" link set e0 mtu "$mtu"; done
        for _ in 1 2; do in_a ping -c 1 -W 1 -s 5000 -M dont -I "$from" "$to" >/dev/null 2>&1; done
        in_a ping -c 3 -i .05 -W 2 -s 5000 -M dont -I "$from" "$to" >"$dir/out" || fail "5000 bytes and an MTU of $mtu: $(cat "$dir/out")"
    done
    [ "$(in_b cat /proc/net/snmp /proc/net/snmp6 | awk '/^Ip: F/{for (i = 2; i <= NF; i++) if ($i == "ReasmOKs") at = i}
        /^Ip: [0-9]/{all += $at} /^Ip6ReasmOKs/{all += $2} END {print all}')" -gt 0 ] || fail "nothing was cut on the way"
}

long_transport() { long_packets; }
long_transport6() { ip=6; long_packets; }
long_transport_udp() { a_plugin_extra='force_udp = yes' b_plugin_extra='force_udp = yes'; long_packets; }
long_transport_udp6() { ip=6; long_transport_udp; }

# IPv6 packets of 1280 bytes have to get through, also where the path leaves less to them.
narrow_path6() {
    ip=6
    charons
    pings "before"
    for side in a b; do ip -n "$tag$side" link set e0 mtu 1280; done
    in_a ping -c 2 -s 1232 -W 1 -I "$from" "$to" >/dev/null 2>&1
    for size in 1150 1200 1232; do
        in_a ping -c 3 -i .05 -s "$size" -W 2 -I "$from" "$to" >"$dir/out" || fail "$size bytes: $(cat "$dir/out")"
    done
    in_a ping -c 2 -s 1300 -W 1 -M "do" -I "$from" "$to" >"$dir/out" 2>&1 && fail "more than the path takes: $(cat "$dir/out")"
    grep -Eq 'too (big|long)' "$dir/out" || fail "nobody was told: $(cat "$dir/out")"
    protected
}

narrow_path6_udp() { a_plugin_extra='force_udp = yes' b_plugin_extra='force_udp = yes'; narrow_path6; }

# Four pairs of threads: TCP streams and SAs are spread over them, and keep their order.
workers() {
    command -v iperf3 >/dev/null || skip "iperf3 is not installed"
    a_plugin_extra='workers = 4
      force_udp = yes' b_plugin_extra='workers = 4
      force_udp = yes'
    charons
    pings "with four workers" 20
    in_b iperf3 -s -1 -D -B "$to" --pidfile "$dir/iperf.pid"
    sleep .5
    in_a iperf3 -c "$to" -B "$from" -P 8 -n 80M -J >"$dir/out" 2>&1 || fail "eight streams: $(tail -n 5 "$dir/out")"
    protected
}

# A flood of 600 Mbit/s of UDP for 8 seconds: memory stays flat, and others get through.
flood() {
    command -v iperf3 >/dev/null || skip "iperf3 is not installed"
    a_plugin_extra='force_udp = yes' b_plugin_extra='force_udp = yes'
    charons
    pings "before"
    in_b iperf3 -s -1 -D -B "$to" --pidfile "$dir/iperf.pid"
    sleep .5
    in_a iperf3 -u -c "$to" -B "$from" -b 600M -l 1300 -t 8 >"$dir/flood" 2>&1 & local flooding=$!
    sleep 1
    in_a ping -c 60 -i .1 -W 3 -I "$from" "$to" >"$dir/pings" 2>&1
    local most=0
    for side in a b; do
        local now
        now=$(awk '/VmHWM/{print $2}' "/proc/$(charon_pid "$side")/status")
        [ "$now" -gt "$most" ] && most=$now
    done
    wait "$flooding"
    local median
    median=$(sed -n 's/.*time=\([0-9.]*\).*/\1/p' "$dir/pings" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}')
    echo "resident at most $((most / 1024)) MB, ping median $median ms, $(tail -n 4 "$dir/flood" | head -n 2 | tail -n 1)"
    [ "$most" -lt 65536 ] || fail "resident memory: $most kB"
    awk -v m="${median:-99999}" 'BEGIN {exit !(m < 20)}' || fail "ping under the flood: $median ms"
}

charon_pid() { pgrep -P "${pid[$1]}" -x charon || echo "${pid[$1]}"; }

# A message of IKE behind ESP packets, which a network card joined to them: here the sender does it.
joined_ike() {
    a_plugin_extra='force_udp = yes' b_plugin_extra='force_udp = yes'
    charons
    pings "before"
    local spi spis
    spi=$(swan a --list-sas | awk '/^ +out /{print $2}' | tr -d ,)
    spis=$(swan a --list-sas | sed -n 's/.* \([0-9a-f]\{16\}\)_i\*\{0,1\} \([0-9a-f]\{16\}\)_r.*/\1\2/p')
    in_a python3 - "$a_ip" "$b_ip" "$spi" "$spis" <<'PY' || fail "cannot send"
import os, socket, struct, sys
own, peer, spi, spis = sys.argv[1], sys.argv[2], int(sys.argv[3], 16), bytes.fromhex(sys.argv[4])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, 15, 1)               # SO_REUSEPORT
udp.setsockopt(socket.SOL_SOCKET, 36, 0x67697000)      # SO_MARK
udp.bind((own, 4500))
udp.setsockopt(socket.IPPROTO_UDP, 103, 1000)          # UDP_SEGMENT
esp = struct.pack("!II", spi, 1) + os.urandom(992)
ike = spis + struct.pack("!BBBBII", 46, 0x20, 37, 8, 77, 88) + os.urandom(60)
udp.sendto(esp + esp + bytes(4) + ike, (peer, 4500))
udp.sendto(esp + esp + bytes(4) + b"no message", (peer, 4500))
udp.sendto(esp + esp + bytes(4) + bytes(16) + ike[16:18] + bytes([34]) + ike[19:], (peer, 4500))
PY
    eventually 5 "charon has it" log_has b 'received packet: from .* \(88 bytes\)'
    [ "$(count_log b 'received packet: from .* \(88 bytes\)')" = 1 ] || fail "charon got what begins an IKE_SA"
    pings "afterwards"
}
