#!/bin/sh
# Measures libgipsec, DPDK's librte_ipsec, intel-ipsec-mb and OpenSSL in turns on this machine, and writes what comes out
# into docs/performance.md, docs/performance.svg and README.md, between their marks.
#
#   scripts/bench.sh            ten rounds, about four minutes; nothing else should run
#   scripts/bench.sh --quick    two rounds, whose tables are printed and not written
#
# The raw numbers stay in build/bench/results.csv, in the format of benches/measure.h.
set -eu
cd "$(dirname "$0")/.."
build=build/bench
core=$(($(nproc) - 1))
started=$(date +%s)

step() { printf '\n== %s\n' "$*"; }
fail() { printf '\nbench: %s\n' "$*" >&2; exit 1; }

case ${1:-} in
'') rounds=10 write=--write ;;
--quick) rounds=2 write= ;;
*) fail "usage: scripts/bench.sh [--quick]" ;;
esac
[ "$(uname -m)" = x86_64 ] || fail "the peers need an x86-64 processor"

. scripts/need.sh
need 'command -v cc' gcc "compiles the programs"
need 'command -v cmake' cmake "builds the library"
need 'command -v make' make "does the work for cmake"
need 'command -v pkg-config' pkg-config "finds DPDK"
need 'command -v python3' python3 "writes the tables"
need 'pkg-config --exists libdpdk' libdpdk-dev "is a peer"
need 'ls /usr/lib/*/dpdk/pmds-*/librte_crypto_ipsec_mb.so' dpdk-dev "drives intel-ipsec-mb and OpenSSL for librte_ipsec"
need 'echo "#include <intel-ipsec-mb.h>" | cc -E -' libipsec-mb-dev "is a peer"
need 'echo "#include <openssl/evp.h>" | cc -E -' libssl-dev "is a peer"
install_needed

step "Building"
mkdir -p "$build"
{
    cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DGIPSEC_BUILD_TESTS=OFF -DGIPSEC_BUILD_EXAMPLES=OFF &&
        cmake --build "$build" && cargo bench --locked --no-run -p gipsec-kernels --bench bare
} >"$build/log" 2>&1 || { tail -40 "$build/log" >&2; fail "the build failed"; }

# compile NAME SOURCES AND LIBRARIES...
compile() {
    name=$1
    shift
    cc -std=gnu11 -O3 -Wall -Wextra -pthread -Iinclude -o "$build/$name" "$@"
}
compile packets benches/gipsec/packets.c benches/gipsec/batch.c -L"$build" -lgipsec -Wl,-rpath,"$PWD/$build"
compile scaling benches/gipsec/scaling.c benches/gipsec/batch.c -L"$build" -lgipsec -Wl,-rpath,"$PWD/$build"
compile ipsec_mb benches/peers/ipsec_mb.c -lIPSec_MB
compile openssl benches/peers/openssl.c -lcrypto
# shellcheck disable=SC2046 # several options
compile librte_ipsec -march=native benches/peers/librte_ipsec.c -Wl,--export-dynamic-symbol=init_mb_mgr_auto \
    $(pkg-config --cflags --libs libdpdk) -lrte_ipsec -lIPSec_MB

has() { grep -qw "$1" /proc/cpuinfo; }
of_cpu() { sed -n "s/^$1[[:space:]]*: //p" /proc/cpuinfo | head -1; }
features=
for feature in aes pclmulqdq avx2 vaes vpclmulqdq avx512f sha_ni; do
    ! has "$feature" || features="$features $feature"
done
{
    echo "Processor: $(of_cpu 'model name') (family $(of_cpu 'cpu family'), model $(of_cpu model)), one core of $(nproc)"
    echo "Of its features:$features"
    echo "Compilers: rustc $(rustc --version | cut -d' ' -f2), $(cc --version | head -1)"
    echo "Peers: DPDK $(pkg-config --modversion libdpdk | cut -d. -f1-2)," \
        "intel-ipsec-mb $(echo IMB_VERSION_STR | cc -E -P -include intel-ipsec-mb.h - | tail -1 | tr -d '"')," \
        "OpenSSL $(echo OPENSSL_VERSION_STR | cc -E -P -include openssl/opensslv.h - | tail -1 | tr -d '"')"
    echo "Rounds: $rounds, $(date -u +%Y-%m-%d)"
} >"$build/machine.txt"
cat "$build/machine.txt"

architectures=sse
! has avx2 || architectures="$architectures avx2"
! has avx512f || architectures="$architectures avx512"
for architecture in avx2 avx512; do
    case " $architectures " in
    *" $architecture "*) ;;
    *) echo "SKIPPED: crypto_aesni_mb with $architecture: this processor has none" ;;
    esac
done
awk '$1 > 0.5 { print "The machine is not idle (load " $1 "): the medians will show it." }' /proc/loadavg

pinned() { taskset -c "$core" "$@" >>"$build/results.csv" 2>"$build/log" || { cat "$build/log" >&2; fail "failed: $*"; }; }

# librte_ipsec DRIVER TRANSFORM ARCHITECTURE queue|cpu
librte_ipsec() {
    pinned "$build/librte_ipsec" --lcores "0@$core" --no-huge -m 512 --no-pci --no-telemetry --log-level 1 \
        --vdev "crypto_$1" -- "$2" "$1 $3 $4" "$3" "$4"
}

step "Measuring, $rounds rounds in turns"
: >"$build/results.csv"
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    for transform in gcm128 gcm256 cbcsha1 cbcsha256; do
        pinned "$build/packets" "$transform"
        for mode in queue cpu; do
            case $transform in gcm*) librte_ipsec aesni_gcm "$transform" auto "$mode" ;; esac
            for architecture in $architectures; do
                librte_ipsec aesni_mb "$transform" "$architecture" "$mode"
            done
        done
        librte_ipsec openssl "$transform" auto queue # which is all it has
    done
    pinned cargo bench --quiet --locked -p gipsec-kernels --bench bare
    pinned "$build/ipsec_mb"
    pinned "$build/openssl"
    if [ "$(nproc)" -gt 1 ]; then
        "$build/scaling" "$((core - 1))" "$core" >>"$build/results.csv" || fail "failed: scaling"
    else
        pinned "$build/scaling" "$core"
    fi
    printf 'round %d of %d: %d s\n' "$round" "$rounds" "$(($(date +%s) - started))"
done
[ "$(nproc)" -gt 1 ] || echo "SKIPPED: two threads: one processor"

# shellcheck disable=SC2086 # an argument or none
python3 scripts/bench_report.py "$build/results.csv" "$build/machine.txt" $write
