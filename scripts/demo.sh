#!/bin/sh
# Shows libgipsec at work: builds it, sends a capture of real traffic through IPsec and back, and lets tshark, which knows
# nothing of this project, decrypt what came out. Exit status 0 means that everything shown was also checked.
#
#   scripts/demo.sh [build directory]
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
capture=examples/data/traffic.pcap
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

step() { printf '\n== %s\n' "$*"; }
fail() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }

# ---- what is needed ----

. scripts/need.sh
need 'command -v cc' gcc "compiles the example and links the shared library"
need 'command -v cmake' cmake "builds the C side of the library"
need 'command -v make || command -v ninja' make "does the work for cmake"
need 'command -v pkg-config' pkg-config "finds an installed libgipsec"
need 'echo "#include <pcap/pcap.h>" | cc -E -' libpcap-dev "reads and writes captures in the example"
need 'command -v tshark' tshark "decrypts the result, as an independent witness"
install_needed

step "Building (log: $build/demo.log)"
mkdir -p "$build"
{ cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DGIPSEC_BUILD_EXAMPLES=ON -DGIPSEC_BUILD_TESTS=OFF &&
    cmake --build "$build"; } >"$build/demo.log" 2>&1 || { tail -40 "$build/demo.log" >&2; fail "the build failed"; }
ls -l "$build"/libgipsec.* | sed 's/^/  /'
esp_pcap=$build/examples/esp_pcap

step "The shortest program: examples/hello.c"
hello=$("$build/examples/hello") || fail "examples/hello failed"
printf '  %s\n' "$hello"

# ---- algorithms ----

step "$capture through IPsec and back, packet by packet compared"
for algorithm in aes128gcm16 aes256gcm16 aes128ccm16 aes128cbc-sha256 aes128ctr-sha256 3des-sha1 null-sha256; do
    "$esp_pcap" -a $algorithm "$capture" || fail "$algorithm: not every packet came back identical"
done

# ---- the independent witness ----

# One line for each packet: what tshark reads in the innermost IP, TCP, UDP, ICMP and DNS headers.
inner_packets() {
    file=$1 filter=$2
    shift 2
    tshark -r "$file" "$@" -Y "$filter" -T fields -E occurrence=l -E separator=' ' \
        -e tcp.seq_raw -e tcp.ack_raw -e tcp.len -e tcp.checksum -e icmp.seq -e icmp.checksum -e icmpv6.checksum \
        -e dns.id -e dns.qry.name -e dns.count.answers -e http.request.uri -e http.response.code 2>"$work/tshark.log"
}
inner_packets "$capture" 'ip || ipv6' >"$work/expected"
expected=$(wc -l <"$work/expected")

# Sends the capture through IPsec and leaves the ESP capture and what tshark needs to decrypt it.
encapsulate() {
    "$esp_pcap" "$@" -k -w "$work/esp.pcap" "$capture" >"$work/esp_pcap.log" || { cat "$work/esp_pcap.log" >&2; fail "esp_pcap $*"; }
    grep '^uat:' "$work/esp_pcap.log" >"$work/sas" || fail "esp_pcap printed no SA for tshark"
}

# Calls a command with the options that make tshark decrypt.
with_keys() {
    set -- "$@" -o esp.enable_encryption_decode:TRUE
    while IFS= read -r sa; do set -- "$@" -o "$sa"; done <"$work/sas"
    "$@"
}

witness() {
    title=$1
    shift
    encapsulate "$@"
    sent=$(tshark -r "$work/esp.pcap" -Y esp 2>/dev/null | wc -l)
    hidden=$(inner_packets "$work/esp.pcap" 'tcp || dns || icmp || icmpv6' | wc -l)
    with_keys inner_packets "$work/esp.pcap" 'esp && (tcp || dns || icmp || icmpv6)' >"$work/decrypted"
    decrypted=$(wc -l <"$work/decrypted")
    printf '  %-37s %d ESP packets; tshark reads %d without the keys, %d with them\n' "$title" "$sent" "$hidden" "$decrypted"
    [ "$sent" = "$expected" ] || fail "$sent ESP packets for $expected IP packets"
    [ "$hidden" = 0 ] || fail "the ESP capture can be read without the keys"
    [ "$decrypted" = "$expected" ] || fail "tshark decrypted $decrypted packets of $expected"
    cmp -s "$work/expected" "$work/decrypted" || fail "tshark decrypted something else: $(diff "$work/expected" "$work/decrypted" | head -5)"
}

step "tshark decrypts the ESP captures, given the keys"
witness "aes128gcm16, IPv4 tunnel" -a aes128gcm16
witness "aes256gcm16, IPv6 tunnel" -a aes256gcm16 -6
witness "aes128cbc-sha256, IPv4 tunnel in UDP" -a aes128cbc-sha256 -u
witness "aes128ctr-sha256, transport mode" -a aes128ctr-sha256 -t
witness "3des-sha1, IPv4 tunnel" -a 3des-sha1

encapsulate -a aes256gcm16
verified=$(with_keys tshark -r "$work/esp.pcap" -o esp.enable_authentication_check:TRUE -Y esp.icv_good 2>/dev/null | wc -l)
[ "$verified" = "$expected" ] || fail "tshark found $verified good ICVs in $expected packets"
printf '  and verifies the ICV of all %d packets of aes256gcm16\n' "$verified"

step "Some packets of the last capture, without the keys and with them"
for filter in icmp dns 'ipv6 && tcp.len > 1000' http.request; do
    number=$(with_keys tshark -r "$work/esp.pcap" -Y "$filter" -T fields -e frame.number 2>/dev/null | sed -n 1p)
    tshark -r "$work/esp.pcap" -Y "frame.number == $number" 2>/dev/null | sed 's/^/  /'
    with_keys tshark -r "$work/esp.pcap" -Y "frame.number == $number" 2>/dev/null | sed 's/^/  /'
done

printf '\nAll %d packets came back identical with every algorithm, and tshark read all of them inside the ESP.\n' "$expected"
