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
tun() { ip -n "$tag$1" -o link show | sed -n 's/^[0-9]*: \(ipsec[0-9]*\).*/\1/p' | head -n 1; }

for file in "$here"/cases/*.sh; do
    # shellcheck disable=SC1090
    . "$file"
done

"$name"
echo "passed: $name"
