#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What goes through two charons on this machine: kernel-gipsec beside strongSwan's kernel-libipsec, in one run of two minutes.
# Prints "plugin,what,value" for TCP (Mbit/s), and for a flood of 600 Mbit/s of UDP resident memory and a ping's median.
#
#   PLUGIN_FILE=... LIBRARY_DIR=... [STRONGSWAN_PREFIX=...] bench.sh [SECONDS]
set -u
here=$(dirname "$(readlink -f "$0")")
seconds=${1:-8}
once() { # plugin its_settings name charons_settings
    # shellcheck source=strongswan/tests/lib.sh
    . "$here/lib.sh"
    needs iperf3
    # shellcheck disable=SC2034 # lib.sh reads them
    a_plugin=$1 b_plugin=$1 a_plugin_extra=$2 b_plugin_extra=$2 charon_extra=${4:-}
    charons
    pings "$1"
    in_b iperf3 -s -1 -D -B "$to" --pidfile "$dir/iperf.pid"
    sleep .5
    in_a iperf3 -c "$to" -B "$from" -t "$seconds" -f m >"$dir/tcp" 2>&1
    echo "$3,TCP in Mbit/s,$(awk '/receiver/{print $7}' "$dir/tcp")"
    in_b iperf3 -s -1 -D -B "$to" --pidfile "$dir/iperf.pid"
    sleep .5
    in_a iperf3 -u -c "$to" -B "$from" -b 600M -l 1300 -t 8 >"$dir/flood" 2>&1 & local flooding=$!
    sleep 1
    in_a ping -c 60 -i .1 -W 3 -I "$from" "$to" >"$dir/pings" 2>&1
    wait "$flooding"
    for side in a b; do
        echo "$3,resident memory of $side in MB,$(awk '/VmHWM/{print int($2 / 1024)}' "/proc/$(pgrep -P "${pid[$side]}" -x charon || echo "${pid[$side]}")/status")"
    done
    echo "$3,ping in ms,$(sed -n 's/.*time=\([0-9.]*\).*/\1/p' "$dir/pings" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}')"
    echo "$3,UDP lost of 600 Mbit/s,$(awk '/receiver/{print $NF == "receiver" ? $(NF - 1) : $NF}' "$dir/flood")"
}
(once kernel-libipsec '' 'kernel-libipsec, in UDP')
(once kernel-gipsec 'force_udp = yes' 'kernel-gipsec, in UDP')
# Versions before 5.9.11 know only UDP.
if grep -q raw_esp "${STRONGSWAN_PREFIX:-/usr}/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so"; then
    (once kernel-libipsec 'raw_esp = yes' 'kernel-libipsec, in IP')
fi
(once kernel-gipsec '' 'kernel-gipsec, in IP')
(once kernel-gipsec '' 'kernel-gipsec, in IP, routes in the main table' 'routing_table = 0')
