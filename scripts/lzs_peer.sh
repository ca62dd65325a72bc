#!/bin/sh
# Builds the LZS of OpenConnect (its lzs.c, LGPL-2.1) from Debian's source package into a program that answers records,
# and runs the tests that compare ours with it. Nothing of it is kept in this project or linked to it.
#
#   scripts/lzs_peer.sh [DIR]      DIR: where to build, build/lzs-peer if not given
#
# Fetches with apt, by lists and a cache of its own: the machine's set-up stays as it is. What cannot be fetched or
# compiled here prints "SKIPPED: why" and ends with success.
set -eu
cd "$(dirname "$0")/.."
mkdir -p "${1:-build/lzs-peer}"
dir=$(cd "${1:-build/lzs-peer}" && pwd)

skip() { echo "SKIPPED: the LZS of OpenConnect: $*"; exit 0; }

# Leaves lzs.c in the folder.
fetch() {
    command -v apt-get >/dev/null || skip "no apt-get to fetch its source with"
    mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/apt/sources"
    uri=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list 2>/dev/null |
        grep -v '^ *#' | grep -o 'https*://[^ ]*/debian/*' | head -n 1)
    [ -n "$uri" ] || skip "this system names no Debian mirror"
    cat >"$dir/apt/sources/peer.sources" <<EOF
Types: deb-src
URIs: $uri
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
    cat >"$dir/apt.conf" <<EOF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$dir/apt/sources";
Dir::State::lists "$dir/apt/lists";
Dir::Cache "$dir/apt/cache";
APT::Sandbox::User "";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::Retries "1";
EOF
    APT_CONFIG=$dir/apt.conf
    export APT_CONFIG
    # A mirror may lack the signature beside the archive, which apt has checked by the index: the archive is what counts.
    (cd "$dir" && apt-get -qq update && apt-get -qq source --download-only openconnect) >"$dir/apt.log" 2>&1 ||
        ls "$dir"/openconnect_*.orig.tar.gz >/dev/null 2>&1 ||
        skip "apt could not fetch its source: $(tail -n 1 "$dir/apt.log")"
    unset APT_CONFIG
    rm -rf "$dir/apt" "$dir/apt.conf"
    (cd "$dir" && tar xf openconnect_*.orig.tar.gz --wildcards --strip-components=1 '*/lzs.c') ||
        skip "its source has no lzs.c"
}

# The headers that lzs.c includes hold far more than it uses.
compile() {
    : >"$dir/config.h"
    cat >"$dir/openconnect-internal.h" <<'EOF'
#include <stdint.h>
struct oc_packed_uint16_t {
    uint16_t d;
} __attribute__((packed));
int lzs_decompress(unsigned char *dst, int dstlen, const unsigned char *src, int srclen);
int lzs_compress(unsigned char *dst, int dstlen, const unsigned char *src, int srclen);
EOF
    cat >"$dir/peer.c" <<'EOF'
/* Reads records: 'c' or 'd', room, length, bytes. Answers: result (negative: refused), and so many bytes. */
#include <stdio.h>
#include <stdlib.h>
#include "openconnect-internal.h"
int main(void)
{
    for (int what; (what = getchar()) != EOF;) {
        uint32_t size[2];
        if (fread(size, sizeof size, 1, stdin) != 1)
            return 1;
        unsigned char *dst = malloc(size[0] + 1), *src = malloc(size[1] + 1);
        if (!dst || !src || fread(src, 1, size[1], stdin) != size[1])
            return 1;
        int32_t result = (what == 'c' ? lzs_compress : lzs_decompress)(dst, (int)size[0], src, (int)size[1]);
        fwrite(&result, sizeof result, 1, stdout);
        if (result > 0)
            fwrite(dst, 1, (size_t)result, stdout);
        free(dst);
        free(src);
    }
    return fflush(stdout) != 0;
}
EOF
    cc -O2 -w -I "$dir" -o "$dir/peer" "$dir/peer.c" "$dir/lzs.c" || skip "it does not compile here"
}

[ -x "$dir/peer" ] || { fetch; compile; }
GIPSEC_LZS_PEER=$dir/peer cargo test --locked -p gipsec-compression --test lzs_peer -- --ignored
