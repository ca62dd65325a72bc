# SPDX-License-Identifier: GPL-2.0-or-later
# Policies, and what goes past them. Sourced by case.sh.
# shellcheck shell=bash
# Variables of lib.sh are read there.
# shellcheck disable=SC2034,SC2154

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

# shunt SIDE MODE LOCAL REMOTE [LINE...]: one more policy without an SA, in a connection of its own, not loaded yet.
shunt() {
    local side=$1 kind=$2 local_ts=$3 remote_ts=$4
    shift 4
    cat >>"$dir/$side/swanctl.conf" <<CONF
connections { s {
  children {
    shunt {
      mode = $kind
      $(printf '%s\n' "$@")
      local_ts = $local_ts
      remote_ts = $remote_ts
      start_action = trap
    }
  }
} }
CONF
}
load() { swan "$1" --load-conns --file "$dir/$1/swanctl.conf" >"$dir/out" 2>&1 || fail "loading connections: $(cat "$dir/out")"; }

# A drop policy is there before the system has addresses; later they come, and a way past it.
drop_before_network() {
    start=no b_plugin_extra='drop_plain = no'
    charons
    stop a
    shunt a drop 10.1.0.0/16 10.3.8.0/24
    ip -n "${tag}b" addr add 10.3.8.1/32 dev inner
    ip -n "${tag}b" route add 10.1.0.0/16 via "$a_ip"
    for device in e0 inner; do ip -n "${tag}a" addr flush dev $device; done
    launch a
    eventually 3 "it is said" log_has a 'no route to 10.3.8.0/24.* yet'
    ip -n "${tag}a" addr add "$a_ip/24" dev e0
    ip -n "${tag}a" addr add "$a_in/16" dev inner
    ip -n "${tag}a" route add 10.3.0.0/16 via "$b_ip"
    in_b timeout 8 tcpdump -lni e0 icmp >"$dir/seen" 2>/dev/null & local watcher=$!
    for _ in $(seq 1 20); do
        in_a ping -c 1 -W .2 -I "$a_in" 10.3.8.1 >/dev/null && fail "not dropped"
        sleep .05
    done
    eventually 10 "the route" sh -c "ip netns exec ${tag}a ip route show table 220 | grep -q '10.3.8.0/24 dev'"
    in_a ping -c 1 -W 1 -I "$a_in" 10.3.8.1 >/dev/null && fail "not dropped with the route"
    wait "$watcher"
    grep -q 10.3.8.1 "$dir/seen" && fail "seen outside: $(cat "$dir/seen")"
    sed -i '/^connections { s {/,$d' "$dir/a/swanctl.conf"
    load a
    eventually 3 "the route goes" sh -c "[ -z \"\$(ip netns exec ${tag}a ip route show table 220)\" ]"
    in_a ping -c 1 -W 1 -I "$a_in" 10.3.8.1 >/dev/null || fail "dropped without a policy"
}

# A policy that has no route, for lack of an address, goes again like others.
no_address() {
    command -v nft >/dev/null || skip "nft is not installed"
    start=no
    charons
    in_a sysctl -qw net.ipv6.conf.all.disable_ipv6=1
    shunt a drop fd77::/64 fd78::/64
    load a
    eventually 3 "the rule" sh -c "ip netns exec ${tag}a nft list ruleset | grep -q fd77"
    sed -i '/^connections { s {/,$d' "$dir/a/swanctl.conf"
    load a
    eventually 3 "the rule goes" sh -c "! ip netns exec ${tag}a nft list ruleset | grep -q fd77"
}

# A drop policy that comes first is for packets out of an SA, too.
inbound_drop() {
    start=no b_plugin_extra='drop_plain = no'
    charons
    shunt b drop '10.2.0.0/16[udp/7777]' '10.1.0.0/16[udp]' 'priority = 1'
    load b
    initiate net
    pings "what is not dropped"
    in_b timeout 5 python3 -c "
import socket
def bound(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('$b_in', port)); s.settimeout(3); return s
dropped, other = bound(7777), bound(7778)
print(other.recv(100).decode(), flush=True)
dropped.settimeout(.5)
try: print(dropped.recv(100).decode())
except socket.timeout: pass" >"$dir/heard" 2>&1 & local listener=$!
    sleep .7
    in_a python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('$a_in', 0))
for port in (7777, 7778, 7777): s.sendto(b'to %d' % port, ('$b_in', port))"
    wait "$listener"
    grep -q 'to 7778' "$dir/heard" || fail "what is not dropped is: $(cat "$dir/heard")"
    grep -q 'to 7777' "$dir/heard" && fail "what is dropped is not"
    return 0
}
