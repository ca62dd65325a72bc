#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# One test of the plugin kernel-gipsec: case.sh NAME. Exit status 77: it cannot run here, and says why.
set -u
here=$(dirname "$(readlink -f "$0")")
name=${1:?which test}
# shellcheck source=strongswan/tests/lib.sh
. "$here/lib.sh"
needs

# Traffic that misses nothing: 200 packets a second, while something goes on.
traffic() { in_a ping -q -i .005 -c "$1" -W 2 -I "$from" "$to" >"$dir/traffic" 2>&1 & traffic_pid=$!; }
no_loss() {
    wait "$traffic_pid"
    grep -q ' 0% packet loss' "$dir/traffic" || fail "packets were lost: $(cat "$dir/traffic")"
}

rekey() {
    charons
    pings "before"
    traffic 1200
    for round in 1 2 3 4; do
        sleep 1
        swan a --rekey --child net >/dev/null || fail "rekey $round"
    done
    sleep .5
    swan b --rekey --ike t >/dev/null || fail "rekey of the IKE_SA"
    no_loss
    protected
    [ "$(swan a --list-sas | grep -c 'net: #.*INSTALLED')" = 1 ] || fail "not one CHILD_SA: $(swan a --list-sas)"
    stop a && [ "$stopped" = 0 ] || fail "charon ended with $stopped"
}

libipsec() { b_plugin=kernel-libipsec; charons; pings "against libipsec" 20; protected; }
certificate() { command -v pki >/dev/null || skip "pki is not installed"; auth=cert; charons; pings "certificates"; protected; }
transport() { mode=transport; charons; pings "transport mode"; protected; }
ipv6() { ip=6; charons; pings "IPv6"; protected; }
ipv6_transport() { ip=6; mode=transport; charons; pings "IPv6, transport mode"; protected; }

# Everything that both charon and libgipsec have, one after the other over one IKE_SA.
proposals() {
    local all=(aes128gcm16 aes256gcm16 aes192gcm8 aes128gcm12 aes128ccm16 aes256ccm8 aes128gmac aes256gmac
        aes128-sha1 aes256-sha256 aes192-sha384 aes256-sha512 aes128-md5 aes128-aesxcbc aes128-aescmac 3des-sha1
        aes128ctr-sha256 aes256ctr-sha1 chacha20poly1305 null-sha256 aes128gcm16-esn aes256-sha256-esn aes128gcm16-esn-noesn)
    start=no
    child_extra='replay_window = 1024'
    charons
    for proposal in "${all[@]}"; do
        for side in a b; do
            sed -i "s/esp_proposals = .*/esp_proposals = $proposal/" "$dir/$side/swanctl.conf"
            swan "$side" --load-conns --file "$dir/$side/swanctl.conf" >/dev/null || fail "$proposal: configuration"
        done
        initiate net
        pings "$proposal"
        protected
        swan a --terminate --ike t >/dev/null || fail "$proposal: terminate"
    done
    echo "${#all[@]} proposals"
}

ah() {
    start=no props='ah_proposals = sha256'
    charons
    for proposal in sha1 sha256 sha384 sha512 aesxcbc aescmac sha256-esn; do
        for side in a b; do
            sed -i "s/ah_proposals = .*/ah_proposals = $proposal/" "$dir/$side/swanctl.conf"
            swan "$side" --load-conns --file "$dir/$side/swanctl.conf" >/dev/null || fail "$proposal: configuration"
        done
        initiate net
        pings "AH with $proposal"
        protected
        swan a --terminate --ike t >/dev/null || fail "$proposal: terminate"
    done
}

ah_transport() { mode=transport props='ah_proposals = sha256'; charons; pings "AH, transport mode"; protected; }
ipcomp() {
    child_extra='ipcomp = yes'
    charons
    in_a ping -c 5 -i .05 -W 2 -s 1000 -p 00 -I "$from" "$to" >"$dir/out" || fail "IPComp: $(cat "$dir/out")"
    pings "IPComp, short packets"
    swan a --list-sas | grep -Eq '^ +in +[0-9a-f]{8}/[0-9a-f]{4},' || fail "no CPI: $(swan a --list-sas)"
    protected
}

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

nat() {
    nat=yes
    command -v nft >/dev/null || skip "nft is not installed"
    charons
    swan a --list-sas | grep -q 'net: .*TUNNEL-in-UDP' || fail "not in UDP: $(swan a --list-sas)"
    pings "through a NAT" 20
    protected
    # The NAT forgets: another port outside, which b has to follow.
    in_r nft flush ruleset
    in_r nft -f - <<'NFT' || fail "nft"
table ip nat {
    chain out { type nat hook postrouting priority 100; oifname "e1" udp sport 4500 masquerade to :5000-5100; oifname "e1" masquerade; }
}
NFT
    in_r ip link set e1 down
    in_r ip link set e1 up
    for _ in 1 2 3 4 5 6 7 8; do in_a ping -c 1 -W 1 -I "$from" "$to" >/dev/null && break; done
    pings "after the mapping changed"
    log_has b 'NAT mappings of CHILD_SA' || fail "charon was not told of the new mapping"
}

nat_transport() {
    nat=yes mode=transport
    command -v nft >/dev/null || skip "nft is not installed"
    command -v iperf3 >/dev/null || skip "iperf3 is not installed"
    charons
    pings "transport mode through a NAT"
    in_b iperf3 -s -1 -D --pidfile "$dir/iperf.pid"
    sleep .5
    in_a iperf3 -c "$b_ip" -n 2M >"$dir/out" 2>&1 || fail "TCP through a NAT: $(cat "$dir/out")"
    protected
}

mobike() {
    a_own=%any
    charons
    pings "before"
    in_a sysctl -qw net.ipv4.conf.all.promote_secondaries=1 net.ipv4.conf.e0.promote_secondaries=1
    ip -n "${tag}a" addr add 192.168.50.77/24 dev e0
    sleep 1
    ip -n "${tag}a" addr del "$a_ip/24" dev e0
    eventually 10 "the SA moves" in_a ping -c 1 -W 1 -I "$from" "$to"
    pings "after" 10
    swan b --list-sas | grep -q "@ 192.168.50.77" || fail "b does not know: $(swan b --list-sas)"
}

hundred() {
    children="$(seq 1 100)" start=no
    charons
    for number in $(seq 1 100); do
        ip -n "${tag}a" addr add "10.1.$number.1/32" dev inner
        ip -n "${tag}b" addr add "10.2.$number.1/32" dev inner
    done
    for number in $(seq 1 100); do initiate "c$number"; done
    for number in $(seq 1 100); do
        in_a ping -c 1 -W 2 -I "10.1.$number.1" "10.2.$number.1" >/dev/null || fail "CHILD_SA $number"
    done
    [ "$(swan a --list-sas | grep -c INSTALLED)" = 100 ] || fail "not 100: $(swan a --list-sas | grep -c INSTALLED)"
    in_a ping -c 1 -W 1 -I 10.1.1.1 10.2.2.1 >/dev/null && fail "between two nets without a policy"
    swan a --terminate --ike t >/dev/null
    eventually 5 "no routes are left" sh -c "[ -z \"\$(ip netns exec ${tag}a ip route show table 220)\" ]"
}

killed() {
    charons
    pings "before"
    stop b KILL
    launch b
    eventually 20 "a has noticed" initiate_again
    pings "after b was killed"
    stop a KILL
    launch a
    initiate net
    pings "after a was killed"
}
initiate_again() { swan a --terminate --ike t --force >/dev/null 2>&1; swan a --initiate --child net --timeout 5; }

device() {
    [ -x "${DEVICE:-}" ] || skip "gipsec-device was not built"
    mkdir "$dir/sockets"
    "$DEVICE" --socket "$dir/sockets/dev0.sock" --mode shared 2>"$dir/device.log" & local daemon=$!
    eventually 5 "the device's daemon" grep -q ready "$dir/device.log"
    a_plugin_extra="accelerator = dev0
      socket_dir = $dir/sockets"
    charons
    log_has a 'accelerator dev0' || fail "not on the device"
    pings "through the device" 20
    protected
    traffic 1000
    sleep 1
    kill -KILL "$daemon"
    eventually 10 "packets again" in_a ping -c 1 -W 1 -I "$from" "$to"
    pings "after the device was lost" 10
    log_has a 'accelerator soft0' || fail "not in software"
    log_has a 'accelerator is gone' || fail "the loss is not in the log"
    wait "$traffic_pid"
}

trap_policy() {
    start=no child_extra='start_action = trap'
    charons
    eventually 5 "the trap" sh -c "ip netns exec ${tag}a ip route show table 220 | grep -q 10.2"
    in_a ping -c 1 -W 1 -I "$from" "$to" >/dev/null
    eventually 5 "the SA" sh -c "$(declare -f swan); dir=$dir; swan a --list-sas | grep -q INSTALLED"
    pings "after acquire"
    swan a --terminate --ike t >/dev/null
    in_a ping -c 1 -W 1 -I "$from" "$to" >/dev/null
    eventually 5 "a second SA" sh -c "$(declare -f swan); dir=$dir; swan a --list-sas | grep -q INSTALLED"
    pings "after acquire again"
}

shunts() {
    # b has no such policies.
    start=no b_plugin_extra='drop_plain = no'
    charons
    cat >"$dir/a/shunts.conf" <<CONF
connections { s {
  children {
    pass {
      mode = pass
      local_ts = 10.1.0.0/16[icmp]
      remote_ts = 10.2.7.0/24[icmp]
      start_action = trap
    }
    drop {
      mode = drop
      local_ts = 10.1.0.0/16
      remote_ts = 10.3.8.0/24
      start_action = trap
    }
  }
} }
CONF
    ip -n "${tag}b" addr add 10.2.7.1/32 dev inner
    ip -n "${tag}b" addr add 10.3.8.1/32 dev inner
    ip -n "${tag}a" route add 10.2.0.0/16 via "$b_ip"
    ip -n "${tag}a" route add 10.3.0.0/16 via "$b_ip"
    ip -n "${tag}b" route add 10.1.0.0/16 via "$a_ip"
    in_a ping -c 1 -W 1 -I "$from" 10.3.8.1 >/dev/null || fail "there is no way without policies"
    swan a --load-conns --file "$dir/a/swanctl.conf" --file "$dir/a/shunts.conf" >/dev/null 2>&1
    cat "$dir/a/shunts.conf" >>"$dir/a/swanctl.conf"
    swan a --load-conns --file "$dir/a/swanctl.conf" >"$dir/out" 2>&1 || fail "shunts: $(cat "$dir/out")"
    initiate net
    pings "beside shunts"
    in_a ping -c 2 -i .1 -W 1 -I "$from" 10.2.7.1 >/dev/null || fail "what passes does not"
    in_a ping -c 1 -W 1 -I "$from" 10.3.8.1 >/dev/null && fail "what is dropped is not"
    # TCP to where only ICMP passes is protected as before.
    in_b timeout 2 tcpdump -ni e0 'ip proto 6 or ip proto 50' >"$dir/seen" 2>/dev/null & local watcher=$!
    sleep .5
    in_a timeout 1 bash -c 'exec 3<>/dev/tcp/10.2.7.1/7' 2>/dev/null
    wait "$watcher"
    grep -q 'ESP(' "$dir/seen" || fail "TCP was not seen: $(cat "$dir/seen")"
    grep -v 'ESP(' "$dir/seen" | grep -q 'IP' && fail "TCP went out plain: $(cat "$dir/seen")"
    true
}

# A drop policy without an address of ours, then an SA for the same destinations: its route outlives the drop policy.
overlapping() {
    start=no
    charons
    cat >>"$dir/a/swanctl.conf" <<'CONF'
connections { s {
  children {
    drop {
      mode = drop
      local_ts = 10.9.0.0/16
      remote_ts = 10.2.0.0/16
      start_action = trap
    }
  }
} }
CONF
    swan a --load-conns --file "$dir/a/swanctl.conf" >"$dir/out" 2>&1 || fail "shunts: $(cat "$dir/out")"
    in_a sysctl -qw net.ipv4.ip_forward=1
    eventually 3 "the route of the drop policy" in_a ip route get 10.2.0.1 from 10.9.0.5 iif inner
    in_a ip route get 10.2.0.1 from 10.9.0.5 iif inner 2>/dev/null | grep -q ipsec || fail "what comes from elsewhere is not dropped"
    initiate net
    pings "with both"
    swan a --uninstall drop >/dev/null 2>&1 || swan a --uninstall --child drop >/dev/null || fail "uninstall"
    in_a ip route show table 220 | grep -q "10.2.0.0/16 dev $(tun a).* src 10.1.0.1" || fail "no route: $(in_a ip route show table 220)"
    pings "with the SA alone" 5
    protected
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

# Packets that come unprotected where a policy wants protection, from a stranger in the middle.
plain() {
    command -v nft >/dev/null || skip "nft is not installed"
    /sbin/ldconfig -p | grep -q libnftables.so.1 || skip "libnftables is not installed"
    charons
    pings "before"
    in_b sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.e0.rp_filter=0
    # UDP to b's inner address, with a's inner one as its source, past a's plugin.
    in_b python3 - "$b_in" "$a_in" >"$dir/heard" <<'PY' &
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 7777))
s.settimeout(4)
try:
    while True:
        print(s.recvfrom(100)[0].decode(), flush=True)
except socket.timeout:
    pass
PY
    local listener=$!
    sleep .5
    in_a python3 - "$a_in" "$b_in" "$a_ip" "$(in_b cat /sys/class/net/e0/address)" <<'PY' || fail "cannot send"
import socket, struct, sys
def csum(b):
    t = sum(struct.unpack('!%dH' % (len(b) // 2), b)); t = (t >> 16) + (t & 0xffff); return ~(t + (t >> 16)) & 0xffff
def packet(src, dst, text):
    udp = struct.pack('!HHHH', 5555, 7777, 8 + len(text), 0) + text
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, socket.inet_aton(src), socket.inet_aton(dst))
    return head[:10] + struct.pack('!H', csum(head)) + head[12:] + udp
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
mac = bytes.fromhex(sys.argv[4].replace(':', ''))
def send(bytes): s.sendto(bytes, ('e0', 0x0800, 0, 0, mac))
def cut(packet, offset, more):
    head = packet[:4] + struct.pack('!HH', 77, offset // 8 | more) + packet[8:10] + b'\0\0' + packet[12:20]
    head = struct.pack('!BBH', 0x45, 0, 20 + len(packet) - 20) + head[4:]
    return head[:10] + struct.pack('!H', csum(head)) + head[12:] + packet[20:]
for src, text in ((sys.argv[1], b'spoofed'), (sys.argv[3], b'plain')):
    send(packet(src, sys.argv[2], text))
# A later fragment, which ought to complete what came through the tunnel.
whole = packet(sys.argv[1], sys.argv[2], b'first-part-of-24-bytes.!rest')
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
raw.sendto(cut(whole[:20 + 32], 0, 0x2000), (sys.argv[2], 0))
send(cut(whole[:20] + whole[20 + 32:], 32, 0))
PY
    # Through the tunnel it arrives.
    in_a python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('$a_in', 0))
s.sendto(b'protected', ('$b_in', 7777))"
    wait "$listener"
    grep -q '^protected' "$dir/heard" || fail "what is protected is lost: $(cat "$dir/heard")"
    grep -q '^spoofed' "$dir/heard" && fail "what is not protected got through"
    grep -q '^first-part' "$dir/heard" && fail "what is not protected completed what is"
    # No policy is for that address.
    grep -q '^plain' "$dir/heard" || fail "what need not be protected is lost: $(cat "$dir/heard")"
    in_b nft list table inet "gipsec_$(tun b)" | grep -q 'counter packets 2 .*drop' || fail "not counted: $(in_b nft list ruleset)"
    # Whoever loads a firewall anew begins so.
    in_b nft flush ruleset
    eventually 10 "the table is back" sh -c "ip netns exec ${tag}b nft list table inet gipsec_ipsec0 | grep -q drop"
    log_has b 'was removed; it is there again' || fail "not said"
    stop b KILL
    in_b nft list table inet gipsec_ipsec0 | grep -q drop || fail "the table goes with charon"
    launch b
    in_b nft list table inet gipsec_ipsec0 2>/dev/null | grep -q drop && fail "an old table is left"
    eventually 20 "a has noticed" initiate_again
    pings "after b was killed"
    in_b nft list table inet gipsec_ipsec0 | grep -q drop || fail "no new table"
    stop b
    in_b nft list table inet gipsec_ipsec0 2>/dev/null && fail "the table is left"
    return 0
}

# What a tunnel is for takes no other way when charon or the TUN device is gone.
unreachable() {
    charons
    pings "before"
    ip -n "${tag}a" route add default via "$b_ip"
    in_a ip route show table 220 | grep -q '^unreachable 10.2.0.0/16' || fail "no such route: $(in_a ip route show table 220)"
    stop a KILL
    in_a ping -c 1 -W 1 "$to" >"$dir/out" 2>&1 && fail "unprotected"
    grep -Eiq 'unreachable|no route' "$dir/out" || fail "not said: $(cat "$dir/out")"
    in_a ip route get 10.2.0.1 >"$dir/out" 2>&1 && fail "there is another way: $(cat "$dir/out")"
    launch a
    in_a ip route show table 220 | grep -q unreachable && fail "an old route is left: $(in_a ip route show table 220)"
    log_has a 'removed 1 unreachable routes' || fail "not said"
    initiate net
    pings "after"
    stop a
    [ -z "$(in_a ip route show table 220)" ] || fail "routes are left: $(in_a ip route show table 220)"
    a_plugin_extra='unreachable = no'
    configure a "$a_plugin" "$a_ip" "$a_to" "$a_net" "$b_net" b
    launch a
    initiate net
    pings "without"
    in_a ip route show table 220 | grep -q unreachable && fail "not wanted: $(in_a ip route show table 220)"
    return 0
}

# Routes for all but another mark, which the operator chose.
other_mark() {
    mode=transport charon_extra='plugins {
    kernel-netlink {
      fwmark = !0x42
    }
  }'
    charons
    pings "with a mark of the operator's"
    protected
}

limits() {
    child_extra='rekey_packets = 40
      life_packets = 60
      rand_packets = 0'
    charons
    for _ in 1 2 3 4 5 6; do pings "rekeyed by packets" 20; sleep .3; done
    [ "$(count_log a 'creating rekey job')" -ge 2 ] || fail "not rekeyed by packets"
    for side in a b; do
        sed -i 's/rekey_packets.*/rekey_time = 2s/; s/life_packets.*/life_time = 30s/; s/rand_packets.*/rand_time = 0/' "$dir/$side/swanctl.conf"
        swan "$side" --load-conns --file "$dir/$side/swanctl.conf" >/dev/null
    done
    swan a --terminate --ike t >/dev/null
    initiate net
    local before
    before=$(count_log a 'creating rekey job')
    sleep 3
    [ "$(count_log a 'creating rekey job')" -gt "$before" ] || fail "not rekeyed by time"
    pings "after"
}

path_mtu() {
    charons
    ip -n "${tag}a" link set e0 mtu 1200
    ip -n "${tag}b" link set e0 mtu 1200
    in_a ping -c 2 -s 1300 -W 1 -M "do" -I "$from" "$to" >"$dir/out" 2>&1
    eventually 5 "path MTU" sh -c "ip netns exec ${tag}a ping -c 1 -s 1300 -W 1 -M do -I $from $to 2>&1 | grep -Eq 'Frag needed|message too long'"
    in_a ping -c 3 -s 1300 -W 2 -M dont -I "$from" "$to" >"$dir/out" || fail "what may be cut is lost: $(cat "$dir/out")"
}

hostile() {
    charons
    pings "before"
    # Unknown SPIs, a known one with rubbish, from a stranger's address, and inside of the tunnel what does not belong there.
    local spi
    spi=$(swan a --list-sas | awk '/^ +out /{print $2}' | tr -d ,)
    in_a python3 - "$b_ip" "$a_ip" "$spi" <<'PY' || fail "cannot send"
import os, socket, struct, sys
peer, own, spi = sys.argv[1], sys.argv[2], int(sys.argv[3], 16)
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def send(payload, source=own, protocol=50):
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, socket.inet_aton(source), socket.inet_aton(peer))
    raw.sendto(header + payload, (peer, 0))
for length in (0, 1, 7, 8, 9, 16, 40, 1400):
    for number in (0, 1, spi, 0xffffffff):
        send((struct.pack("!II", number, 7) + os.urandom(1400))[:length])
        send((struct.pack("!II", number, 7) + os.urandom(1400))[:length], "192.168.50.99")
        send((b"\4\4\0\0" + struct.pack("!II", number, 7) + os.urandom(1400))[:length], protocol=51)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for length in range(0, 64):
    udp.sendto((struct.pack("!II", spi, 1) + os.urandom(64))[:length], (peer, 4500))
PY
    pings "afterwards"
    kill -0 "${pid[b]}" || fail "charon b is gone"
    [ "$(count_log b 'there is no SA')" -le 1 ] || fail "more than one line in the log: $(count_log b 'there is no SA')"
}

# A peer that has the keys, and sends through its SA what the policies do not let it: without encryption, and with the key
# that charon logs when it is told to, such packets can be made by hand.
spoofed() {
    props='esp_proposals = null-sha256' log_extra='chd = 4'
    charons
    pings "before"
    local spi key device
    spi=$(swan a --list-sas | awk '/^ +out /{print $2}' | tr -d ,)
    key=$(grep -A 2 'integrity initiator key' "$dir/a/charon.log" | sed -n 's/.*: \(\([0-9A-F]\{2\} \)\{16\}\).*/\1/p' | tr -d ' \n')
    device=$(tun b)
    in_b timeout 3 tcpdump -lni "$device" icmp >"$dir/seen" 2>/dev/null & local watcher=$!
    sleep .7
    in_a python3 - "$b_ip" "$a_ip" "$spi" "$key" <<'PY' || fail "cannot send"
import hashlib, hmac, socket, struct, sys
peer, own, spi, key = sys.argv[1], sys.argv[2], int(sys.argv[3], 16), bytes.fromhex(sys.argv[4])
def total(data):
    words = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    words = (words & 0xffff) + (words >> 16)
    return ~((words & 0xffff) + (words >> 16)) & 0xffff
def ip(source, to, protocol, payload):
    def header(sum):
        return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, sum,
                           socket.inet_aton(source), socket.inet_aton(to))
    return header(total(header(0))) + payload
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for number, source, to in ((1000, "10.1.0.1", "10.2.0.1"), (1001, "10.9.9.9", "10.2.0.1"), (1002, "10.1.0.1", "10.9.9.9")):
    echo = lambda sum: struct.pack("!BBHHH", 8, 0, sum, number, 1) + bytes(8)
    inner = ip(source, to, 1, echo(total(echo(0))))
    esp = struct.pack("!II", spi, number) + inner + b"\1\2\2\4"
    raw.sendto(ip(own, peer, 50, esp + hmac.new(key, esp, hashlib.sha256).digest()[:16]), (peer, 0))
PY
    wait "$watcher"
    grep -q '10.1.0.1 > 10.2.0.1: ICMP echo request, id 1000' "$dir/seen" || fail "a good packet is not let in: $(cat "$dir/seen")"
    grep -q '10.9.9.9' "$dir/seen" && fail "what no policy lets in is let in: $(cat "$dir/seen")"
    [ "$(count_log b "are not of that SA's policies")" = 1 ] || fail "not in the log, once"
}
tun() { ip -n "$tag$1" -o link show | sed -n 's/^[0-9]*: \(ipsec[0-9]*\).*/\1/p' | head -n 1; }

tun_removed() {
    charons
    pings "before"
    ip -n "${tag}a" link del "$(tun a)" || fail "no TUN device"
    eventually 10 "the device is there again" sh -c "ip netns exec ${tag}a ping -c 1 -W 1 -I $from $to"
    pings "afterwards"
    log_has a 'TUN device .* is gone' || fail "not in the log"
}

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

typos() {
    start=no a_plugin_extra='acelerator = soft0
      mtu = 1300'
    charons
    log_has a 'no setting "acelerator"' || fail "a typo is not in the log"
    initiate net
    pings "with a typo"
    [ "$(in_a cat "/sys/class/net/$(tun a)/mtu" 2>/dev/null || ip -n "${tag}a" link show "$(tun a)" | grep -o 'mtu [0-9]*' | cut -d' ' -f2)" = 1300 ] || fail "mtu"
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

"$name"
echo "passed: $name"
