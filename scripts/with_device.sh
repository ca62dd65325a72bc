#!/bin/sh
# Runs a command whose only accelerators are those of a device daemon, soft0 to soft3, which take the places of the software
# ones: what a test says of one it says of the other.
#
#   with_device.sh DAEMON COMMAND [ARGUMENT ...]
set -eu
daemon=$1
shift
directory=$(mktemp -d)
pid=
finish() {
    status=$?
    if [ -n "$pid" ] && ! kill "$pid" 2>/dev/null; then
        echo "with_device: the daemon has ended" >&2
        status=1
    fi
    wait 2>/dev/null || true
    if grep -q ' \(WARN\|ERROR\)' "$directory/log"; then
        sed 's/^/with_device: /' "$directory/log" >&2
    fi
    rm -rf "$directory"
    exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM
{
    echo "directory = \"$directory\""
    for number in 0 1 2 3; do
        printf '[[accelerator]]\nname = "soft%s"\nmode = "shared"\nexclusive = true\nmax_clients = 64\nmax_sas = 262144\n' "$number"
    done
} >"$directory/config.toml"
"$daemon" --log-level warn --config "$directory/config.toml" 2>"$directory/log" &
pid=$!
for _ in $(seq 500); do
    if grep -q '^ready' "$directory/log"; then break; fi
    sleep 0.01
done
if ! grep -q '^ready' "$directory/log"; then
    cat "$directory/log" >&2
    echo "with_device: the daemon does not start" >&2
    exit 1
fi
export G_IPSEC_LA_SOCKET_DIR="$directory" G_IPSEC_LA_SOFT_ACCELERATORS=0
"$@"
