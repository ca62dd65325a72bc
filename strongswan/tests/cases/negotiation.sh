# SPDX-License-Identifier: GPL-2.0-or-later
# What is negotiated: modes, algorithms, addresses, and what becomes of it. Sourced by case.sh.
# shellcheck shell=bash
# Variables of lib.sh are read there.
# shellcheck disable=SC2034,SC2154

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

# each PROTOCOL PROPOSAL...: negotiates them one after the other over one IKE_SA.
each() {
    local protocol=$1 proposal side
    shift
    for proposal in "$@"; do
        for side in a b; do
            sed -i "s/${protocol}_proposals = .*/${protocol}_proposals = $proposal/" "$dir/$side/swanctl.conf"
            swan "$side" --load-conns --file "$dir/$side/swanctl.conf" >/dev/null || fail "$proposal: configuration"
        done
        initiate net
        pings "$protocol with $proposal"
        protected
        swan a --terminate --ike t >/dev/null || fail "$proposal: terminate"
    done
    echo "$# proposals"
}

# Everything that both charon and libgipsec have, one after the other over one IKE_SA.
proposals() {
    local all=(aes128gcm16 aes256gcm16 aes192gcm8 aes128gcm12 aes128ccm16 aes256ccm8 aes128gmac aes256gmac
        aes128-sha1 aes256-sha256 aes192-sha384 aes256-sha512 aes128-md5 aes128-aesxcbc aes128-aescmac 3des-sha1
        aes128ctr-sha256 aes256ctr-sha1 chacha20poly1305 null-sha256 aes128gcm16-esn aes256-sha256-esn aes128gcm16-esn-noesn)
    start=no
    child_extra='replay_window = 1024'
    charons
    each esp "${all[@]}"
}

ah() {
    start=no props='ah_proposals = sha256'
    charons
    each ah sha1 sha256 sha384 sha512 aesxcbc aescmac sha256-esn
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
