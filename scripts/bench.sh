#!/bin/sh
# Measures libgipsec and DPDK's librte_ipsec in turns on this machine, and prints the ratio of their times.
#
#   scripts/bench.sh [ROUNDS]      3 rounds unless told otherwise, about five minutes
#
# The raw numbers stay in build/bench/results.csv: who,transform,operation,batch,size,minimum,median (ns a packet).
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-3}
build=build/bench
core=$(($(nproc) - 1))

step() { printf '\n== %s\n' "$*"; }
fail() { printf '\nbench: %s\n' "$*" >&2; exit 1; }

. scripts/need.sh
need 'command -v cc' gcc "compiles the programs"
need 'command -v cmake' cmake "builds the library"
need 'command -v make' make "does the work for cmake"
need 'command -v pkg-config' pkg-config "finds DPDK"
need 'pkg-config --exists libdpdk' libdpdk-dev "is the peer"
need 'ls /usr/lib/*/dpdk/pmds-*/librte_crypto_ipsec_mb.so' dpdk-dev "drives intel-ipsec-mb for the peer"
install_needed

step "Building"
mkdir -p "$build"
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DGIPSEC_BUILD_TESTS=OFF -DGIPSEC_BUILD_EXAMPLES=OFF >"$build/log" 2>&1 &&
    cmake --build "$build" >>"$build/log" 2>&1 || { tail -40 "$build/log" >&2; fail "the build failed"; }
cc -O2 -Wall -Iinclude benches/peers/gipsec.c -o "$build/gipsec" -L"$build" -lgipsec -Wl,-rpath,"$PWD/$build"
# shellcheck disable=SC2046 # several options
cc -O3 -march=native benches/peers/librte_ipsec.c -o "$build/librte_ipsec" $(pkg-config --cflags --libs libdpdk) -lrte_ipsec

step "Measuring, $rounds rounds in turns"
: >"$build/results.csv"
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    for transform in gcm128 gcm256 cbcsha1 cbcsha256; do
        case $transform in gcm*) driver=aesni_gcm ;; *) driver=aesni_mb ;; esac
        taskset -c "$core" "$build/gipsec" $transform >>"$build/results.csv"
        taskset -c "$core" "$build/librte_ipsec" --lcores "0@$core" --no-huge -m 512 --no-pci --no-telemetry \
            --vdev "crypto_$driver" --log-level 1 -- $transform librte_ipsec 2>/dev/null | grep '^librte_ipsec,' >>"$build/results.csv"
    done
done
python3 scripts/bench_table.py "$build/results.csv"
