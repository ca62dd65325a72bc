#!/bin/sh
# Measures a device daemon on the second processor beside the software accelerator in the calling process, in one run; two
# minutes, in which nothing else should run. Prints "what,bytes,software,device,ratio", in nanoseconds a packet.
set -eu
cd "$(dirname "$0")/.."
build=build/bench
directory=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || kill "$daemon" 2>/dev/null; wait; rm -rf "$directory"' EXIT
trap 'exit 130' INT TERM

. scripts/need.sh
need 'command -v cc' gcc "compiles the program"
need 'command -v cmake' cmake "builds the library"
need 'command -v make' make "does the work for cmake"
install_needed
[ "$(nproc)" -ge 2 ] || { echo "bench_device: SKIPPED: one processor cannot be both sides" >&2; exit 0; }

mkdir -p "$build"
{
    cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DGIPSEC_BUILD_TESTS=OFF -DGIPSEC_BUILD_EXAMPLES=OFF &&
        cmake --build "$build" &&
        cc -std=gnu11 -O3 -Wall -Wextra -pthread -Iinclude -Ibenches -o "$build/device" benches/gipsec/device.c \
            benches/gipsec/batch.c -L"$build" -lgipsec -Wl,-rpath,"$PWD/$build"
} >"$build/log" 2>&1 || { tail -40 "$build/log" >&2; exit 1; }

taskset -c 1 "$build/gipsec-device" --socket "$directory/ipsec0.sock" --mode shared 2>"$directory/log" &
daemon=$!
for _ in $(seq 500); do
    if grep -q '^ready' "$directory/log"; then break; fi
    sleep 0.01
done
before=$(sed 's/.*) //' "/proc/$daemon/stat" | cut -d' ' -f12,13)
sleep 2
[ "$before" = "$(sed 's/.*) //' "/proc/$daemon/stat" | cut -d' ' -f12,13)" ] && echo "idle for 2 s: no processor time"
export G_IPSEC_LA_SOCKET_DIR="$directory"
for what in latency sas rates; do
    taskset -c 0 "$build/device" "$what"
done
