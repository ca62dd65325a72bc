#!/bin/sh
# Runs every test of the project; installs what they need. Exit status 0 means that all passed.
#
#   scripts/test.sh            everything, less than half an hour on two cores
#
# What a machine truly cannot run prints a line "SKIPPED: why"; the last lines count them.
set -eu
cd "$(dirname "$0")/.."
build=${GIPSEC_TEST_BUILD:-build/test}
log=$(mktemp)
trap 'rm -f "$log" "$log.ok" "$log.cmake"' EXIT INT TERM
passed=0

step() { printf '\n== %s\n' "$*"; }
fail() { printf '\ntest: FAILED: %s\n' "$*" >&2; exit 1; }

# Runs a command and keeps what it says, to count what was skipped.
run() {
    title=$1
    shift
    step "$title"
    { "$@" 2>&1 && echo "$title: done" >>"$log.ok"; } | tee -a "$log"
    grep -qxF "$title: done" "$log.ok" 2>/dev/null || fail "$title"
    passed=$((passed + 1))
}

. scripts/need.sh
need 'command -v c++' g++ "compiles the C++ tests"
need 'command -v cc' gcc "compiles the C tests and links the shared library"
need 'command -v cmake' cmake "builds the C side of the library"
need 'command -v make' make "does the work for cmake"
need 'command -v pkg-config' pkg-config "finds an installed libgipsec"
need 'command -v valgrind' valgrind "looks for invalid memory accesses and leaks, and counts instructions"
need 'command -v tshark' tshark "decrypts what the library encrypts, as an independent witness"
need 'command -v ip' iproute2 "gives the Linux kernel that is a peer its SAs"
need 'echo "#include <pcap/pcap.h>" | cc -E -' libpcap-dev "reads and writes captures in the example"
need 'command -v xz' xz-utils "unpacks the modules of a VM's kernel"
need 'test -x /usr/lib/ipsec/charon' strongswan-charon "the IKE daemon that the plugin kernel-gipsec is tested in"
need 'command -v swanctl' strongswan-swanctl "controls it"
need 'test -e /usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so' libcharon-extra-plugins "kernel-libipsec, a peer"
need 'test -e /usr/lib/ipsec/plugins/libstrongswan-chapoly.so' libstrongswan-extra-plugins "ChaCha20-Poly1305 in charon"
need 'test -e /usr/lib/ipsec/plugins/libstrongswan-openssl.so' libstrongswan-standard-plugins "AES-GCM in charon"
need 'command -v pki' strongswan-pki "makes certificates"
need 'command -v nft' nftables "is the NAT between two daemons"
need 'command -v sysctl && command -v pgrep' procps "sets up namespaces, and finds processes in them"
need 'command -v iperf3' iperf3 "is traffic between them"
need 'command -v tcpdump' tcpdump "looks at what is between them"
need 'echo "#include <openssl/evp.h>" | cc -E -' libssl-dev "is the crypto of the newest strongSwan, which is built here"
need 'command -v ping' iputils-ping "asks whether packets get through"
need 'python3 -c "import venv, ensurepip"' python3-venv "holds scapy and pytest"
install_needed
# A disk that fills up in the midst of it looks like many other things.
free=$(df -Pk . | awk 'NR == 2 {print int($4 / 1024)}')
[ "$free" -ge 6000 ] || echo "test: $free MB are free here; the tests take about 6000"

step "Python environment for the conformance suite, with NIST's vectors"
venv=$PWD/$build/venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/conformance/requirements.txt
GIPSEC_CAVP_DIR=$("$venv/bin/python" -c 'import cryptography_vectors as found; print(found.__path__[0])')
export GIPSEC_CAVP_DIR

run "Rust: unit, property, layout and header tests" cargo test --workspace --locked
run "Rust: the engine and the kernels without any code of our own for the processor" \
    cargo test --locked -p gipsec-kernels -p gipsec-engine --features gipsec-kernels/portable
run "Fuzz: the targets compile" cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir "$build/fuzz"
run "Compression: LZS against OpenConnect's" scripts/lzs_peer.sh "$build/lzs-peer"

step "Building the C library and its tests"
cmake -S . -B "$build/release" -DCMAKE_BUILD_TYPE=Release -DGIPSEC_WERROR=ON >"$log.cmake" 2>&1 &&
    cmake --build "$build/release" -j2 >>"$log.cmake" 2>&1 || { tail -40 "$log.cmake" >&2; fail "the C build"; }
run "C and C++: ctest, with valgrind" ctest --test-dir "$build/release" -LE strongswan --output-on-failure -j2
run "Speed: instructions a packet takes, under valgrind" scripts/instructions.sh "$build/release"

run "C and C++: ctest, without any code of our own for the processor" \
    env G_IPSEC_LA_PORTABLE_CRYPTO=1 ctest --test-dir "$build/release" -LE 'valgrind|device|strongswan' --output-on-failure -j2

step "Building the C tests with AddressSanitizer and UndefinedBehaviorSanitizer"
cmake -S . -B "$build/sanitize" -DCMAKE_BUILD_TYPE=Release -DGIPSEC_WERROR=ON -DGIPSEC_SANITIZE=address,undefined \
    -DGIPSEC_CARGO_TARGET_DIR="$PWD/$build/release/cargo" >"$log.cmake" 2>&1 &&
    cmake --build "$build/sanitize" -j2 >>"$log.cmake" 2>&1 || { tail -40 "$log.cmake" >&2; fail "the sanitizer build"; }
run "C and C++: ctest, with sanitizers" ctest --test-dir "$build/sanitize" --output-on-failure -j2

library=$(ls "$PWD/$build/release/libgipsec.so.1")
run "Conformance: published vectors, scapy, tshark, the Linux kernel" \
    env GIPSEC_LIBRARY="$library" GIPSEC_UML_CACHE="$PWD/$build/uml" "$venv/bin/pytest" -q -rs tests/conformance

run "Conformance: the same through a device daemon" scripts/with_device.sh "$PWD/$build/release/gipsec-device" \
    env GIPSEC_LIBRARY="$library" GIPSEC_UML_CACHE="$PWD/$build/uml" "$venv/bin/pytest" -q tests/conformance

run "PCI: the library and its device in a VM" scripts/vm-test.sh "$build/release"

step "Building kernel-gipsec, the plugin for strongSwan's charon"
if strongswan=$(scripts/strongswan_headers.sh "$build/strongswan" 2>"$log.cmake"); then
    cmake -S . -B "$build/release" -DSTRONGSWAN_SRC="$strongswan" >"$log.cmake" 2>&1 &&
        cmake --build "$build/release" -j2 >>"$log.cmake" 2>&1 || { tail -40 "$log.cmake" >&2; fail "the plugin's build"; }
    run "strongSwan: two daemons, and a kernel's ESP" ctest --test-dir "$build/release" -L strongswan --output-on-failure
else
    echo "SKIPPED: strongSwan's headers: $(tail -n 1 "$log.cmake")" | tee -a "$log"
fi
run "strongSwan: the newest one" scripts/strongswan_newest.sh "$build/strongswan-newest" "$build/release/cargo"

run "README: its programs compile and run as they stand" python3 scripts/readme_programs.py "$PWD/$build/release"

printf '\n== Summary\n'
skipped=$(grep -c 'SKIPPED' "$log" || true)
grep 'SKIPPED' "$log" | sort | uniq -c | sort -rn | head -20 || true
printf '%d suites passed, 0 failed; %d lines say SKIPPED\n' "$passed" "$skipped"
