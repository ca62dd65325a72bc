#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# One packaged charon with a user-space kernel-ipsec plugin  <->  one packaged charon with kernel-netlink and the real
# kernel ESP/AH of uml-kernel.sh. IKEv2 PSK, one CHILD_SA, ping, SA counters of both ends.
# env: A_PLUGIN (kernel-libipsec), PLUGINDIR bind-mounted over charon's plugin directory, PROPS (esp_proposals = aes128gcm16),
#      MODE tunnel|transport, CONN_EXTRA, CHILD_EXTRA (swanctl lines), PLUGIN_EXTRA (strongswan.conf lines), SIZE of a ping, LIFE (12 s)
set -eu
here=$(dirname "$(readlink -f "$0")"); C=$(mktemp -d); trap 'rm -rf $C' EXIT; chmod 755 "$C"; mkdir -p "$C/a" "$C/b"
A_PLUGIN=${A_PLUGIN:-kernel-libipsec}; PROPS=${PROPS:-esp_proposals = aes128gcm16}; MODE=${MODE:-tunnel}
CR="random nonce openssl aesni aes sha1 sha2 hmac gcm ccm ctr chapoly cmac xcbc kdf curve25519 pem x509 pubkey"
conf() { # side plugin local remote lts rts vici log      (strongswan.conf values run to the end of the line)
  { echo "charon {
  load = $CR $2 kernel-netlink socket-default vici updown
  plugins {
    vici {
      socket = unix://$7
    }"
    [ -z "$2" ] || echo "    $2 {
      allow_peer_ts = yes
      ${PLUGIN_EXTRA:-}
    }"
    echo "  }
  filelog {
    log {
      path = $8
      default = 1
      flush_line = yes
    }
  }
}"; } > "$C/$1/strongswan.conf"
  local ts=; [ "$MODE" = transport ] || ts="local_ts = $5
  remote_ts = $6"
  cat > "$C/$1/swanctl.conf" <<S
connections { t {
  version = 2
  local_addrs = $3
  remote_addrs = $4
  proposals = aes128-sha256-curve25519
  ${CONN_EXTRA:-}
  local {
   auth = psk
   id = $3
  }
  remote {
   auth = psk
   id = $4
  }
  children { net {
  $ts
  mode = $MODE
  $PROPS
  ${CHILD_EXTRA:-}
  } } } }
secrets { ike-1 {
 id-1 = $3
 id-2 = $4
 secret = "two charons"
} }
S
}
conf a "$A_PLUGIN" 192.168.50.1 192.168.50.2 10.1.0.0/16 10.2.0.0/16 "$C/a/vici" "$C/a/log"
conf b "" 192.168.50.2 192.168.50.1 10.2.0.0/16 10.1.0.0/16 /run/vici /run/log
cat > "$C/guest.sh" <<G
STRONGSWAN_CONF=$C/b/strongswan.conf /usr/lib/ipsec/charon >/dev/null 2>&1 &
for i in \$(seq 60); do [ -S /run/vici ] && break; sleep .1; done
STRONGSWAN_CONF=$C/b/strongswan.conf SWANCTL_DIR=$C/b swanctl --load-all --noprompt --file $C/b/swanctl.conf --uri unix:///run/vici
echo GUEST-READY
sleep ${LIFE:-12}
swanctl --list-sas --uri unix:///run/vici; ip -s xfrm state | grep -vE '0x[0-9a-f]{30}'; grep -v '[^0-9]0\$' /proc/net/xfrm_stat
grep -E 'CHILD_SA|selected|NO_PROP|error|fail' /run/log | tail -12
G
cat > "$C/host.sh" <<H
exec 3>&1
unshare --mount bash -c 'mount -t tmpfs none /run; [ -z "${PLUGINDIR:-}" ] || mount --bind "${PLUGINDIR:-}" /usr/lib/ipsec/plugins; STRONGSWAN_CONF=$C/a/strongswan.conf exec /usr/lib/ipsec/charon' >$C/a/stdout 2>&1 & P=\$!
trap 'kill \$P 2>/dev/null; wait \$P 2>/dev/null' EXIT
for i in \$(seq 60); do [ -S $C/a/vici ] && break; sleep .1; done
sw() { STRONGSWAN_CONF=$C/a/strongswan.conf SWANCTL_DIR=$C/a swanctl "\$@" --uri unix://$C/a/vici; }
sw --load-all --noprompt --file $C/a/swanctl.conf >/dev/null 2>&1
sw --initiate --child net --timeout 8 2>&1 | tail -3
R=10.2.0.1; L=10.1.0.1; [ $MODE = transport ] && { R=192.168.50.2; L=192.168.50.1; }
ping ${SIZE:+-s $SIZE -M dont} -c 4 -i .2 -W 2 -I \$L \$R | tail -4; rc=\${PIPESTATUS[0]}
sw --list-sas
exit \$rc
H
"$here/uml-kernel.sh" "$C/guest.sh" bash "$C/host.sh"
