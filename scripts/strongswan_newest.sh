#!/bin/bash
# Builds Debian's newest strongSwan, and kernel-gipsec for it, and runs tests of the plugin in that charon: its structures
# grow from version to version. Nothing is installed. Two minutes, and the time of the tests.
#
#   scripts/strongswan_newest.sh DIR CARGO_DIR [CASE...]      CARGO_DIR: where the library has been built, or is to be
set -eu
cd "$(dirname "$0")/.."
dir=${1:?where to} cargo=${2:?where cargo builds}
shift 2
mkdir -p "$dir" "$cargo"
dir=$(readlink -f "$dir") cargo=$(readlink -f "$cargo")
fail() { echo "strongswan_newest: FAILED: $*" >&2; exit 1; }
step() { echo "== $*"; }
skip() { [ -n "$*" ] || fail "nothing says why"; echo "SKIPPED: kernel-gipsec with the newest strongSwan: $*"; exit 0; }

. scripts/need.sh
need 'echo "#include <openssl/evp.h>" | cc -E -' libssl-dev "is charon's crypto"
install_needed

source=$(scripts/strongswan_headers.sh "$dir/source" sid 2>"$dir/log") || skip "$(tail -n 1 "$dir/log")"
version=${source##*-} prefix=$dir/strongswan
build_strongswan() {
    cd "$source"
    # As Debian has it, where that changes structures (mediation), and what the tests' daemons load. A DIR that is kept stays
    # at its version.
    ./configure --prefix="$prefix" --sysconfdir="$prefix/etc" --disable-gmp --disable-stroke --enable-mediation \
        --enable-openssl --enable-aesni --enable-gcm --enable-ccm --enable-ctr --enable-chapoly --enable-cmac --enable-kdf \
        --enable-curve25519 --enable-vici --enable-swanctl --enable-kernel-libipsec --enable-libipsec &&
        make -j2 && make install
}
if [ ! -x "$prefix/libexec/ipsec/charon" ]; then
    echo "building strongSwan $version"
    (build_strongswan) >"$dir/log" 2>&1 || skip "strongSwan $version does not build here: $(tail -n 1 "$dir/log")"
fi

cmake -S . -B "$dir/build" -DCMAKE_BUILD_TYPE=Release -DGIPSEC_WERROR=ON -DGIPSEC_CARGO_TARGET_DIR="$cargo" \
    -DGIPSEC_BUILD_TESTS=OFF -DGIPSEC_BUILD_EXAMPLES=OFF -DSTRONGSWAN_SRC="$source" >"$dir/log" 2>&1 &&
    cmake --build "$dir/build" -j2 >>"$dir/log" 2>&1 || { tail -n 40 "$dir/log" >&2; fail "the plugin's build for $version"; }

export STRONGSWAN_PREFIX=$prefix LIBRARY_DIR=$dir/build PLUGIN_FILE=$dir/build/libstrongswan-kernel-gipsec.so
[ $# -gt 0 ] || set -- rekey trap_policy killed proposals
for case in "$@"; do
    status=0
    timeout 240 strongswan/tests/case.sh "$case" || status=$?
    [ "$status" -eq 0 ] || [ "$status" -eq 77 ] || fail "$case"
done
echo "kernel-gipsec works in charon $version"
