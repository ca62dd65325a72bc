# SPDX-License-Identifier: GPL-2.0-or-later
# What others send, remove or misspell. Sourced by case.sh.
# shellcheck shell=bash
# Variables of lib.sh are read there.
# shellcheck disable=SC2034,SC2154

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

tun_removed() {
    charons
    pings "before"
    ip -n "${tag}a" link del "$(tun a)" || fail "no TUN device"
    eventually 10 "the device is there again" sh -c "ip netns exec ${tag}a ping -c 1 -W 1 -I $from $to"
    pings "afterwards"
    log_has a 'TUN device .* is gone' || fail "not in the log"
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

# The same with an address on it that the peer gave.
tun_removed_virtual_ip() {
    start=no
    charons
    stop a
    stop b
    cat >>"$dir/b/swanctl.conf" <<'CONF'
pools { p {
  addrs = 10.99.0.0/24
} }
CONF
    sed -i 's/^  version = 2/&\n  pools = p/; s/remote_ts = .*/remote_ts = dynamic/' "$dir/b/swanctl.conf"
    sed -i 's/^  version = 2/&\n  vips = 0.0.0.0/; s/local_ts = .*/local_ts = dynamic/' "$dir/a/swanctl.conf"
    launch b
    launch a
    initiate net
    in_a ping -c 2 -i .1 -W 1 "$b_in" >/dev/null || fail "from a virtual IP"
    ip -n "${tag}a" link del "$(tun a)"
    eventually 10 "packets again" in_a ping -c 1 -W 1 "$b_in"
    in_a ip addr show dev "$(tun a)" | grep -q 10.99.0.1 || fail "without the virtual IP"
    [ "$(count_log a 'netlink error')" -le 2 ] || fail "the log: $(grep -c 'netlink error' "$dir/a/charon.log")"
}

tun_renamed() {
    charons
    pings "before"
    local device
    device=$(tun a)
    ip -n "${tag}a" link set "$device" down
    ip -n "${tag}a" link set "$device" name other
    ip -n "${tag}a" link set other up
    eventually 5 "it is said" log_has a 'has another name'
    ip -n "${tag}a" link set other down
    ip -n "${tag}a" link set other name "$device"
    ip -n "${tag}a" link set "$device" up
    eventually 10 "packets again" in_a ping -c 1 -W 1 -I "$from" "$to"
}

# A link that takes nothing: packets are dropped, and charon can be stopped.
stalled() {
    command -v tc >/dev/null || skip "tc is not installed"
    charons
    pings "before"
    in_a tc qdisc add dev e0 root tbf rate 1kbit burst 3000 limit 100mb 2>/dev/null || skip "no token bucket here"
    in_a python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('$a_in', 0))
for i in range(4000): s.sendto(bytes(1200), ('$b_in', 9))"
    sleep 1
    local charon_a=${pid[a]}
    kill "$charon_a"
    eventually 10 "charon ends" sh -c "! kill -0 $charon_a 2>/dev/null"
    unset "pid[a]"
}

stalled_udp() { a_plugin_extra='force_udp = yes' b_plugin_extra='force_udp = yes'; stalled; }

# charon would take the default for what it does not understand.
values() {
    start=no
    for wrong in 'mtu = 13oo' 'workers = four' 'fallback = never' 'drop_plain = maybe' 'tun = a-very-long-name'; do
        a_plugin_extra=$wrong
        [ -n "${pid[b]:-}" ] || charons
        stop a
        configure a "$a_plugin" "$a_ip" "$a_to" "$a_net" "$b_net" b
        launch a
        log_has a "${wrong%% *} of kernel-gipsec is \"${wrong#*= }\"" || fail "$wrong: $(grep KNL "$dir/a/charon.log")"
        log_has a 'packets are processed' && fail "$wrong: the plugin loads"
    done
    return 0
}

load_order() {
    start=no
    charons
    stop a
    rm "$dir/a/charon.log"
    sed -i 's/ kernel-gipsec kernel-netlink/ kernel-netlink kernel-gipsec/' "$dir/a/strongswan.conf"
    launch a
    log_has a 'kernel-gipsec carries nothing' || fail "not said"
    log_has a 'packets are processed' && fail "the log says that it works"
    return 0
}

# Settings that are read again do not change what the threads have room for.
reloaded() {
    child_extra='tfc_padding = mtu'
    charons
    pings "padded"
    sed -i '/^    kernel-gipsec {/a mtu = 3000' "$dir/a/strongswan.conf"
    swan a --reload-settings >/dev/null || fail "reload"
    swan a --rekey --child net >/dev/null || fail "rekey"
    sleep 1
    pings "after a reload"
}
