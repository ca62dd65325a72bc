#!/bin/sh
# Installs into a staging folder and builds programs against what is there, the ways people do it: pkg-config (shared,
# --static and fully static) and find_package, in C and C++; then moves the folder and does it again.
#
#   install.sh BUILD SOURCES VERSION
set -eu
build=$1 sources=$2 version=$3
: "${CC:=cc}" "${CMAKE:=cmake}"
CXX=${CXX:-c++}
command -v "$CXX" >/dev/null || { echo "SKIPPED: the programs in C++ cannot be built without a C++ compiler"; exit 0; }
stage=$build/stage
fail() { echo "install: $*" >&2; exit 1; }
command -v pkg-config >/dev/null || { echo "SKIPPED: pkg-config is not installed"; exit 0; }

rm -rf "$stage" "$build/moved" "$build/consumer"
DESTDIR=$stage "$CMAKE" --install "$build" --prefix /opt/gipsec >/dev/null
prefix=$stage/opt/gipsec
pc=$(find "$prefix" -name gipsec.pc)
[ -n "$pc" ] || fail "no gipsec.pc"
libdir=$(dirname "$(dirname "$pc")")
for file in include/g_ipsec_la.h include/g_ipsec_la_ext.h; do [ -f "$prefix/$file" ] || fail "no $file"; done
for file in libgipsec.a "libgipsec.so.$version" cmake/gipsec/gipsecConfig.cmake cmake/gipsec/gipsecConfigVersion.cmake; do
    [ -f "$libdir/$file" ] || fail "no $file"
done
for link in libgipsec.so "libgipsec.so.${version%%.*}"; do [ -L "$libdir/$link" ] || fail "no link $link"; done
# Nothing that was installed as text may know where it was built.
if grep -rIl -e "$build" "$prefix/include" "$libdir/pkgconfig" "$libdir/cmake" >&2; then fail "the build folder is in these files"; fi

run() {
    output=$("$@") || fail "$* failed"
    [ "$output" = "gipsec: 100 bytes came back" ] || fail "$* says: $output"
}

with_pkg_config() {
    root=$1 out=$2
    mkdir -p "$out"
    PKG_CONFIG_PATH=$(dirname "$(find "$root" -name gipsec.pc)")
    export PKG_CONFIG_PATH
    unset PKG_CONFIG_SYSROOT_DIR || true
    [ "$(pkg-config --modversion gipsec)" = "$version" ] || fail "pkg-config says version $(pkg-config --modversion gipsec)"
    shared=$(pkg-config --cflags --libs gipsec)
    static=$(pkg-config --static --cflags --libs gipsec)
    libs=$(pkg-config --variable=libdir gipsec)
    case "$shared" in *-lpthread*) fail "a shared link needs no -lpthread: $shared" ;; esac

    # shellcheck disable=SC2086 # flags are words
    {
        "$CC" -std=c11 "$sources/consumer.c" $shared -o "$out/shared-c"
        "$CXX" -std=c++17 "$sources/consumer.cpp" $shared -o "$out/shared-cxx"
        # The linker prefers libgipsec.so; -l:libgipsec.a asks for the other one.
        archive=$(echo "$static" | sed 's/-lgipsec/-l:libgipsec.a/')
        "$CC" -std=c11 "$sources/consumer.c" $archive -o "$out/static-c"
        "$CXX" -std=c++17 "$sources/consumer.cpp" $archive -o "$out/static-cxx"
    }
    programs='static-c static-cxx'
    if echo 'int main(void) { return 0; }' | "$CC" -static -x c - -o "$out/can-link-statically" 2>/dev/null; then
        # shellcheck disable=SC2086
        "$CC" -std=c11 -static "$sources/consumer.c" $static -o "$out/fully-static-c"
        programs="$programs fully-static-c"
    else
        echo "without a fully static program: there is no static C library here"
    fi
    for program in shared-c shared-cxx; do
        readelf --dynamic "$out/$program" | grep -q "NEEDED.*libgipsec.so.${version%%.*}" || fail "$program does not need libgipsec.so"
        run env LD_LIBRARY_PATH="$libs" "$out/$program"
    done
    for program in $programs; do
        if readelf --dynamic "$out/$program" | grep -q 'NEEDED.*libgipsec'; then fail "$program needs libgipsec.so"; fi
        run "$out/$program"
    done
}

with_cmake() {
    root=$1 out=$2
    { "$CMAKE" -S "$sources" -B "$out" -DCMAKE_PREFIX_PATH="$root" -DGIPSEC_EXPECTED_VERSION="$version" &&
        "$CMAKE" --build "$out"; } >"$out.log" 2>&1 || { cat "$out.log" >&2; fail "find_package"; }
    for program in default-c default-cxx shared-c static-c static-cxx; do run "$out/$program"; done
    for program in default-c default-cxx shared-c; do
        readelf --dynamic "$out/$program" | grep -q 'NEEDED.*libgipsec' || fail "$program does not need libgipsec.so"
    done
    for program in static-c static-cxx; do
        if readelf --dynamic "$out/$program" | grep -q 'NEEDED.*libgipsec'; then fail "$program needs libgipsec.so"; fi
    done
}

mkdir -p "$build/consumer"
with_pkg_config "$prefix" "$build/consumer/pkg-config"
with_cmake "$prefix" "$build/consumer/cmake"
mv "$stage" "$build/moved"
with_pkg_config "$build/moved/opt/gipsec" "$build/consumer/moved-pkg-config"
with_cmake "$build/moved/opt/gipsec" "$build/consumer/moved-cmake"
echo "pkg-config and find_package, C and C++, shared and static, in place and moved"
