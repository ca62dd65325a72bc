#!/bin/sh
# What the shared library is called, and what it exports.   symbols.sh COMPILER BUILD VERSION INCLUDE
set -eu
compiler=$1 build=$2 version=$3 include=$4
major=${version%%.*}
fail() { echo "symbols: $*" >&2; exit 1; }

[ "$(readlink "$build/libgipsec.so")" = "libgipsec.so.$major" ] || fail "libgipsec.so does not lead to libgipsec.so.$major"
[ "$(readlink "$build/libgipsec.so.$major")" = "libgipsec.so.$version" ] ||
    fail "libgipsec.so.$major does not lead to libgipsec.so.$version"
library=$build/libgipsec.so.$version
[ -f "$library" ] && [ ! -L "$library" ] || fail "$library is no file"

dynamic=$(readelf --wide --dynamic "$library")
echo "$dynamic" | grep -q "SONAME.*\[libgipsec.so.$major\]" || fail "the SONAME is not libgipsec.so.$major"
for flag in NOW NODELETE; do
    echo "$dynamic" | grep -q "FLAGS_1.*$flag" || fail "the flag $flag is missing"
done
readelf --wide --program-headers "$library" | grep -q GNU_RELRO || fail "not linked with -z relro"
if echo "$dynamic" | grep -q TEXTREL; then fail "text relocations"; fi

# Defined dynamic symbols with their versions; the version node itself is absolute.
nm --dynamic --defined-only --with-symbol-versions "$library" | awk '$2 != "A" { print $3 }' | sort >"$build/exported.txt"
if grep -v '^g_ipsec_la_[a-z0-9_]*@@GIPSEC_1\.0$' "$build/exported.txt" >&2; then
    fail "exported, and not g_ipsec_la_*@@GIPSEC_1.0"
fi
# Functions of the headers: a name and a parenthesis; the names of function types are followed by ")".
echo '#include <g_ipsec_la_ext.h>' | "$compiler" -E -P -I"$include" - | grep -o '\<g_ipsec_la_[a-z0-9_]*(' |
    sed 's/($/@@GIPSEC_1.0/' | sort >"$build/declared.txt"
[ "$(wc -l <"$build/declared.txt")" -ge 26 ] || fail "too few functions in the headers: $(cat "$build/declared.txt")"
diff "$build/declared.txt" "$build/exported.txt" >&2 || fail "headers (<) and library (>) have different functions"
echo "$(wc -l <"$build/exported.txt") functions"
