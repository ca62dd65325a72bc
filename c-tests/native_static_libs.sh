#!/bin/sh
# What rustc says a program with libgipsec.a needs is what gipsec.pc and the CMake package say, except for libgcc_s and
# libc, which the compiler driver adds by itself.   native_static_libs.sh FILE "LIBRARIES"
set -eu
said=$(tr ' ' '\n' <"$1" | grep -v -x -e -lgcc_s -e -lc -e '' | sort -u)
ours=$(echo "$2" | tr ' ' '\n' | sort -u)
[ -n "$said" ] || { echo "rustc said nothing in $1" >&2; exit 1; }
[ "$said" = "$ours" ] || { printf 'rustc says:\n%s\ncmake/GipsecLibraries.cmake says:\n%s\n' "$said" "$ours" >&2; exit 1; }
