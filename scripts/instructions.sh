#!/bin/sh
# Counts the instructions a packet takes under valgrind, which no other work on the machine can change, and compares them
# with benches/instructions.txt: fails where a packet takes more than 3 % above its entry.
#
#   scripts/instructions.sh [DIRECTORY]            with the libgipsec.so in DIRECTORY; builds one unless told
#   scripts/instructions.sh --update [DIRECTORY]   writes what it counts into the table
#
# valgrind knows AES-NI, PCLMULQDQ and AVX2, but neither VAES nor AVX-512 nor SHA-NI: what is counted are the calls, the
# framing and the kernels of 128 and 256 bits. scripts/bench.sh measures the wider ones. `callgrind_annotate` shows where
# the instructions of build/instructions/*.callgrind are.
set -eu
cd "$(dirname "$0")/.."
table=benches/instructions.txt
work=build/instructions
few=4 many=24 # batches; the difference of two runs has no start-up in it
packets=$(((many - few) * 32))

step() { printf '\n== %s\n' "$*"; }
fail() { printf '\ninstructions: %s\n' "$*" >&2; exit 1; }

update=
[ "${1:-}" != --update ] || { update=yes && shift; }
case $(uname -m) in
x86_64) ;;
*) echo "SKIPPED: instructions a packet: the table is for x86-64" && exit 0 ;;
esac
for feature in aes pclmulqdq avx2; do
    grep -qw "$feature" /proc/cpuinfo || { echo "SKIPPED: instructions a packet: the table needs a processor with $feature" && exit 0; }
done

. scripts/need.sh
need 'command -v cc' gcc "compiles the program whose instructions are counted"
need 'command -v valgrind' valgrind "counts instructions"
[ -n "${1:-}" ] || {
    need 'command -v cmake' cmake "builds the library"
    need 'command -v make' make "does the work for cmake"
}
install_needed

mkdir -p "$work"
library=${1:-$work/release}
[ -n "${1:-}" ] || {
    step "Building the library"
    cmake -S . -B "$library" -DCMAKE_BUILD_TYPE=Release -DGIPSEC_BUILD_TESTS=OFF -DGIPSEC_BUILD_EXAMPLES=OFF >"$work/log" 2>&1 &&
        cmake --build "$library" >>"$work/log" 2>&1 || { tail -40 "$work/log" >&2; fail "the build failed"; }
}
library=$(cd "$library" && pwd)
cc -std=c11 -O2 -Wall -Wextra -pedantic -Iinclude benches/gipsec/instructions.c benches/gipsec/batch.c \
    -o "$work/instructions" -L"$library" -lgipsec -Wl,-rpath,"$library"

# Instructions of a whole run with $1 batches; the scenario is in $scenario.
count() {
    # shellcheck disable=SC2086 # several arguments
    valgrind --tool=callgrind --callgrind-out-file="$work/$file.$1.callgrind" "$work/instructions" $scenario "$1" \
        </dev/null >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; fail "the program failed: $scenario"; }
    awk '/^(summary|totals):/ { found = $2 } END { print found }' "$work/$file.$1.callgrind"
}

version=$(rustc --version | cut -d' ' -f2)
recorded=$(sed -n 's/^# rustc //p' "$table")
allowed=3
if [ "${version%.*}" != "${recorded%.*}" ]; then
    echo "The table is from rustc $recorded and this is $version: 10 % are allowed instead of 3 %."
    allowed=10
fi

grep '^[a-z]' "$table" >"$work/scenarios"
[ -s "$work/scenarios" ] || fail "$table names no scenario"
: >"$work/counted"
while read -r operation transform size per_call window entry; do
    scenario="$operation $transform $size $per_call $window"
    file=$(echo "$scenario" | tr ' ' '-')
    less=$(count "$few")
    more=$(count "$many")
    printf '%s %d %s\n' "$scenario" $(((more - less + packets / 2) / packets)) "$entry" >>"$work/counted"
done <"$work/scenarios"

if [ -n "$update" ]; then
    { sed -n '/^#/p' "$table" | sed "s/^# rustc .*/# rustc $version/"; cut -d' ' -f1-6 "$work/counted"; } >"$work/table"
    cp "$work/table" "$table"
    echo "$table: written anew"
fi
awk -v allowed="$allowed" -v update="$update" '
    BEGIN { print "operation transform  size in a call window   instructions    entry" }
    {
        change = $7 > 0 ? ($6 / $7 - 1) * 100 : 0
        said = ""
        if ($7 <= 0) said = "no entry"
        if (change > allowed) said = "more than the entry allows"
        worse += said != ""
        if (change < -allowed) said = "less: lower the entry with --update"
        printf "%-9s %-9s %6d %9d %6d %14d %8s %+6.1f %%  %s\n", $1, $2, $3, $4, $5, $6, $7, change, update ? "" : said
    }
    END { exit worse > 0 && !update }' "$work/counted" ||
    fail "a packet takes more instructions than its entry; when that is meant, scripts/instructions.sh --update"
