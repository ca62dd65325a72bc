# Sourced by the other scripts: installs Debian packages that are missing, and says which and why.
# shellcheck shell=sh

missing='' reasons=''

# need TEST PACKAGE REASON: the package is missing unless the test succeeds.
need() {
    sh -c "$1" >/dev/null 2>&1 && return
    missing="$missing $2"
    reasons="$reasons
    $2: $3"
}

# Installs what `need` found missing.
install_needed() {
    [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ] && PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    command -v cargo >/dev/null || fail "cargo is missing: libgipsec is written in Rust, see https://rustup.rs"
    [ -n "$missing" ] || return 0
    step "Installing what is missing"
    printf '%s\n' "${reasons#?}"
    as_root=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "not root and no sudo here; install these packages and run again:$missing"
        as_root=sudo
    fi
    command -v apt-get >/dev/null || fail "no apt-get here; install what these packages hold and run again:$missing"
    apt_log=$(mktemp)
    # shellcheck disable=SC2086 # a list of packages
    $as_root sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing" \
        >"$apt_log" 2>&1 || { cat "$apt_log" >&2; fail "apt-get could not install:$missing"; }
    rm -f "$apt_log"
}
