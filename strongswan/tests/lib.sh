# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by the tests: two strongSwan daemons, a and b, each in a network namespace and a mount namespace of its own, and
# between them a cable, or a router that changes addresses. Nothing outside of the namespaces is changed.
# shellcheck shell=bash
#
#   PLUGIN_FILE         the plugin to test; LIBRARY_DIR where libgipsec.so.1 is
#   STRONGSWAN_PREFIX   where another strongSwan than the system's is installed
set -u

charon=/usr/lib/ipsec/charon plugins=/usr/lib/ipsec/plugins
if [ -n "${STRONGSWAN_PREFIX:-}" ]; then
    charon=$STRONGSWAN_PREFIX/libexec/ipsec/charon plugins=$STRONGSWAN_PREFIX/lib/ipsec/plugins
    PATH=$STRONGSWAN_PREFIX/sbin:$STRONGSWAN_PREFIX/bin:$PATH
fi

tag=g$BASHPID
dir=$(mktemp -d)
chmod 755 "$dir"
a_plugin=kernel-gipsec b_plugin=kernel-gipsec
props='esp_proposals = aes128gcm16' mode=tunnel
child_extra='' conn_extra='' log_extra='' a_plugin_extra='' b_plugin_extra='' charon_extra=''
auth=psk nat=no ip=4 children=net start=yes
# The crypto that is fast first: the order decides what libipsec uses.
crypto='random nonce openssl aesni aes sha1 sha2 hmac gcm ccm ctr chapoly cmac xcbc kdf curve25519 pem x509 pubkey pkcs1 pkcs8'
declare -gA pid=()

fail() { echo "FAILED: $*"; show_logs; exit 1; }
skip() { echo "SKIPPED: $*"; exit 77; }
show_logs() {
    for side in a b; do
        echo "-- the end of the log of $side"
        tail -n 25 "$dir/$side/charon.log" 2>/dev/null
        tail -n 5 "$dir/$side/stdout" 2>/dev/null
    done
}
clean_up() {
    for side in a b; do stop "$side"; done
    jobs -p | xargs -r kill 2>/dev/null
    for space in a b r; do ip netns del "$tag$space" 2>/dev/null; done
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

in_a() { ip netns exec "${tag}a" "$@"; }
in_b() { ip netns exec "${tag}b" "$@"; }
in_r() { ip netns exec "${tag}r" "$@"; }
swan() { side=$1; shift; STRONGSWAN_CONF=$dir/$side/strongswan.conf SWANCTL_DIR=$dir/$side \
    swanctl "$@" --uri "unix://$dir/$side/charon.vici"; }
log_has() { grep -Eq -- "$2" "$dir/$1/charon.log"; }
count_log() { grep -Ec -- "$2" "$dir/$1/charon.log"; }

# eventually SECONDS WHAT COMMAND...: until it succeeds.
eventually() {
    local left=$(($1 * 10)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || fail "not within the time: $what"
        sleep .1
    done
}

needs() {
    [ "$(id -u)" = 0 ] || skip "network namespaces need root"
    for program in ip swanctl ping "$@"; do
        command -v "$program" >/dev/null || skip "$program is not installed"
    done
    [ -x "$charon" ] || skip "charon is not installed"
    ip netns add "${tag}a" 2>/dev/null || skip "no network namespaces here"
    in_a ip tuntap add dev probe mode tun 2>/dev/null || skip "no TUN devices here"
    in_a ip link del probe
}

addresses() {
    if [ "$ip" = 6 ]; then
        a_ip=fd00:50::1 b_ip=fd00:50::2 a_net=fd00:1::/64 b_net=fd00:2::/64 a_in=fd00:1::1 b_in=fd00:2::1 width=64 inner_width=64
    else
        a_ip=192.168.50.1 b_ip=192.168.50.2 a_net=10.1.0.0/16 b_net=10.2.0.0/16 a_in=10.1.0.1 b_in=10.2.0.1 width=24 inner_width=16
    fi
    if [ "$nat" = yes ]; then b_ip=192.168.60.2; fi
    a_to=$b_ip b_to=$a_ip
    [ "$nat" = yes ] && b_to=%any
    if [ "$mode" = transport ]; then from=$a_ip to=$b_ip; else from=$a_in to=$b_in; fi
}

# A cable, or a router with a cable to each side that hides a behind its own address.
network() {
    ip netns add "${tag}b"
    for space in a b; do
        ip -n "$tag$space" link set lo up
        ip netns exec "$tag$space" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
    done
    if [ "$nat" = yes ]; then
        ip netns add "${tag}r"
        ip link add e0 netns "${tag}a" type veth peer name e0 netns "${tag}r"
        ip link add e1 netns "${tag}r" type veth peer name e0 netns "${tag}b"
        ip -n "${tag}r" addr add 192.168.50.254/24 dev e0
        ip -n "${tag}r" addr add 192.168.60.254/24 dev e1
        for link in lo e0 e1; do ip -n "${tag}r" link set "$link" up; done
        in_r sysctl -qw net.ipv4.ip_forward=1
        in_r nft -f - <<NFT || skip "no NAT here"
table ip nat {
    chain out { type nat hook postrouting priority 100; oifname "e1" masquerade; }
}
NFT
    else
        ip link add e0 netns "${tag}a" type veth peer name e0 netns "${tag}b"
    fi
    for space in a b; do
        local own="${space}_ip" inner="${space}_in"
        ip -n "$tag$space" addr add "${!own}/$width" dev e0 nodad 2>/dev/null || ip -n "$tag$space" addr add "${!own}/$width" dev e0
        ip -n "$tag$space" link set e0 up
        ip -n "$tag$space" link add inner type dummy 2>/dev/null || ip -n "$tag$space" link add inner type bridge
        ip -n "$tag$space" addr add "${!inner}/$inner_width" dev inner nodad 2>/dev/null || ip -n "$tag$space" addr add "${!inner}/$inner_width" dev inner
        ip -n "$tag$space" link set inner up
    done
    if [ "$nat" = yes ]; then
        ip -n "${tag}a" route add default via 192.168.50.254
        ip -n "${tag}b" route add default via 192.168.60.254
    fi
}

child() { # name local remote
    local selectors=''
    [ "$mode" = tunnel ] && selectors="local_ts = $2
      remote_ts = $3"
    echo "    $1 {
      $selectors
      mode = $mode
      $props
      $child_extra
    }"
}

authentication() { # id
    if [ "$auth" = psk ]; then echo "auth = psk
    id = $1"; else echo "auth = pubkey
    id = CN=$1"; fi
}

configure() { # side plugin local remote local_net remote_net other
    local name side=$1 plugin=$2 extra="${1}_plugin_extra" own=$1 other=$7 load=$2
    mkdir -p "$dir/$side"
    [ "$plugin" = kernel-netlink ] && load=
    cat >"$dir/$side/strongswan.conf" <<CONF
charon {
  load = $crypto $load kernel-netlink socket-default vici updown
  retransmit_timeout = 1
  retransmit_tries = 3
  $charon_extra
  plugins {
    vici {
      socket = unix://$dir/$side/charon.vici
    }
    $plugin {
      ${!extra}
    }
    kernel-libipsec {
      allow_peer_ts = yes
    }
  }
  filelog {
    log {
      path = $dir/$side/charon.log
      default = 1
      $log_extra
      flush_line = yes
      time_format = %H:%M:%S
    }
  }
}
swanctl {
  load = random nonce pem x509 pubkey openssl pkcs1 pkcs8
}
CONF
    {
        echo "connections { t {
  version = 2
  local_addrs = $3
  remote_addrs = $4
  proposals = aes128-sha256-curve25519
  $conn_extra
  local {
    $(authentication "$own")
  }
  remote {
    $(authentication "$other")
  }
  children {"
        for name in $children; do
            case $name in
            net) child net "$5" "$6" ;;
            *) child "c$name" "${5%.*.*}.$name.0/24" "${6%.*.*}.$name.0/24" ;;
            esac
        done
        echo "  }
} }
secrets { ike-1 {
  id-1 = $own
  id-2 = $other
  secret = two charons
} }"
    } >"$dir/$side/swanctl.conf"
}

launch() { # side
    local side=$1
    rm -f "$dir/$side/charon.vici"
    ip netns exec "$tag$side" unshare --mount --propagation private bash -c "
        mount -t tmpfs none /run
        mkdir '$dir/plugins.$side'
        cp -a '$plugins'/. '$dir/plugins.$side'
        cp '$PLUGIN_FILE' '$dir/plugins.$side'
        mount --bind '$dir/plugins.$side' '$plugins'
        export LD_LIBRARY_PATH='$LIBRARY_DIR' STRONGSWAN_CONF='$dir/$side/strongswan.conf'
        exec ${wrap:-} '$charon'" >"$dir/$side/stdout" 2>&1 &
    pid[$side]=$!
    eventually 10 "charon $side starts" test -S "$dir/$side/charon.vici"
    swan "$side" --load-all --noprompt --file "$dir/$side/swanctl.conf" >"$dir/$side/load.log" 2>&1 ||
        fail "the configuration of $side: $(cat "$dir/$side/load.log")"
}

stop() { # side [signal]
    [ -n "${pid[$1]:-}" ] || return 0
    kill "-${2:-TERM}" "${pid[$1]}" 2>/dev/null
    wait "${pid[$1]}" 2>/dev/null
    stopped=$?
    unset "pid[$1]"
    rm -rf "$dir/plugins.$1"
}

# A plain way for tests that have one: both daemons up, and the SA between them.
charons() {
    addresses
    network
    configure a "$a_plugin" "${a_own:-$a_ip}" "$a_to" "$a_net" "$b_net" b
    configure b "$b_plugin" "$b_ip" "$b_to" "$b_net" "$a_net" a
    [ "$auth" = psk ] || certificates
    launch a
    launch b
    [ "$start" = yes ] || return 0
    initiate net
}

initiate() { swan a --initiate --child "$1" --timeout 10 >"$dir/initiate.log" 2>&1 || fail "initiate $1: $(tail -n 5 "$dir/initiate.log")"; }

certificates() {
    for side in a b; do mkdir -p "$dir/$side/x509ca" "$dir/$side/x509" "$dir/$side/private"; done
    (
        cd "$dir" || exit 1
        pki --gen --type ecdsa --size 256 --outform pem >ca.key &&
            pki --self --ca --in ca.key --type ecdsa --dn CN=ca --outform pem >ca.crt || exit 1
        for side in a b; do
            cp ca.crt $side/x509ca/
            pki --gen --type ecdsa --size 256 --outform pem >$side/private/$side.pem &&
                pki --pub --in $side/private/$side.pem --type ecdsa |
                pki --issue --cacert ca.crt --cakey ca.key --dn CN=$side --outform pem >$side/x509/$side.crt || exit 1
        done
    ) || fail "certificates"
}

# pings WHAT [COUNT]: all of them come back.
pings() {
    local said
    said=$(in_a ping -c "${2:-3}" -i .05 -W 2 -I "$from" "$to") || fail "$1: $said"
    grep -q ' 0% packet loss' <<<"$said" || fail "$1: $said"
}

# Bytes of SAs have gone both ways, so that what was seen was protected.
protected() {
    local said
    said=$(swan a --list-sas)
    awk '/^ +in /{i += $3} /^ +out /{o += $3} END {exit !(i > 0 && o > 0)}' <<<"$said" || fail "nothing went through an SA: $said"
}
