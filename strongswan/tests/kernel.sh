#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# kernel-gipsec against the ESP, AH and IPComp of a real Linux kernel, which charon's kernel-netlink controls: the kernel
# runs as a process (user-mode-linux). Exit status 77: it cannot run here, and says why.
set -u
here=$(dirname "$(readlink -f "$0")")
skip() { echo "SKIPPED: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
for program in swanctl ping ip unshare; do command -v $program >/dev/null || skip "$program is not installed"; done
[ -x /usr/lib/ipsec/charon ] || skip "charon is not installed"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp -a /usr/lib/ipsec/plugins "$dir/plugins"
cp "$PLUGIN_FILE" "$dir/plugins"
export A_PLUGIN=kernel-gipsec PLUGINDIR=$dir/plugins LD_LIBRARY_PATH=$LIBRARY_DIR LIFE=6 W=${UML_CACHE:-$dir/uml}
chmod 755 "$dir"
echo 'echo GUEST-READY' >"$dir/guest.sh"
"$here/uml-kernel.sh" "$dir/guest.sh" true >"$dir/first" 2>&1 || skip "user-mode-linux does not run here: $(tail -n 1 "$dir/first")"

passed=0
try() { # name [NAME=VALUE...]
    name=$1
    shift
    if env "$@" timeout 100 "$here/uml-charon.sh" >"$dir/out" 2>&1 &&
        grep -q ' 0% packet loss' "$dir/out" && awk '/^ +in /{i += $3} /^ +out /{o += $3} END {exit !(i > 0 && o > 0)}' "$dir/out"; then
        passed=$((passed + 1))
        echo "passed: $name"
    else
        cat "$dir/out"
        echo "FAILED: $name"
        exit 1
    fi
}
try "ESP, AES-GCM"
try "ESP, AES-CBC and SHA-256, ESN" PROPS='esp_proposals = aes256-sha256-esn'
try "ESP, ChaCha20-Poly1305" PROPS='esp_proposals = chacha20poly1305'
try "ESP, transport mode" MODE=transport
try "ESP, transport mode, packets longer than the link takes" MODE=transport SIZE=5000
try "ESP in UDP" CONN_EXTRA='encap = yes'
try "AH" PROPS='ah_proposals = sha256'
try "AH, transport mode" MODE=transport PROPS='ah_proposals = sha1'
try "IPComp and ESP" CHILD_EXTRA='ipcomp = yes'
echo "$passed ways passed"
