#!/bin/sh
# Runs the published vectors and the conformance suite, and writes docs/conformance.md: what was tested, against whom.
# Exit status 0 means that every case passed. Installs what it needs; about three minutes.
#
#   GIPSEC_LIBRARY   a shared library that is there already (built here)
set -eu
cd "$(dirname "$0")/.."
build=build/conformance
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

step() { printf '\n== %s\n' "$*"; }
fail() { printf '\nconformance: FAILED: %s\n' "$*" >&2; exit 1; }

. scripts/need.sh
need 'command -v cc' gcc "links the shared library"
need 'command -v tshark' tshark "decrypts what the library encrypts, as an independent witness"
need 'command -v ip' iproute2 "gives the Linux kernel that is a peer its SAs"
need 'python3 -c "import venv, ensurepip"' python3-venv "holds scapy and pytest"
install_needed

step "Python environment"
venv=$PWD/$build/venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/conformance/requirements.txt
GIPSEC_CAVP_DIR=$("$venv/bin/python" -c 'import cryptography_vectors as found; print(found.__path__[0])')
export GIPSEC_CAVP_DIR

step "The library"
if [ -z "${GIPSEC_LIBRARY:-}" ]; then
    cargo build --release --locked
    GIPSEC_LIBRARY=${CARGO_TARGET_DIR:-$PWD/target}/release/libgipsec.so
fi
export GIPSEC_LIBRARY GIPSEC_UML_CACHE="$PWD/$build/uml" GIPSEC_CONFORMANCE_RESULTS="$work/results"

step "Published vectors"
failed=
{
    cargo test --locked -p gipsec-kernels --test vectors --test published &&
        cargo test --locked -p gipsec-engine --lib transform:: && touch "$work/ok"
} >"$work/log" 2>&1 || true
grep -E '^published|^test |SKIPPED|panicked' "$work/log" || true
[ -e "$work/ok" ] || { tail -40 "$work/log" >&2; failed="published vectors"; }

step "Peers"
"$venv/bin/pytest" -q tests/conformance || failed="$failed peers"

step "docs/conformance.md"
(cd tests/conformance && "$venv/bin/python" table.py "$GIPSEC_CONFORMANCE_RESULTS" "$work/log" ../../docs/conformance.md) ||
    failed="$failed table"
[ -z "$failed" ] || fail "$failed"
grep -c '^| [a-z0-9]' docs/conformance.md | sed 's/$/ rows, no case failed/'
