#!/bin/bash
# Fetches the sources of Debian's strongSwan, whose headers the plugin kernel-gipsec is compiled with. The machine's own
# apt settings stay as they are. Prints the folder.
#
#   scripts/strongswan_headers.sh DIR [SUITE]      of this Debian, or of another suite: sid has the newest
set -eu
dir=${1:?where to}
mkdir -p "$dir"
dir=$(readlink -f "$dir")
found() { for folder in "$dir"/strongswan-[0-9]*/; do [ -d "$folder" ] && printf '%s\n' "${folder%/}" && return 0; done; return 1; }
found && exit 0

. /etc/os-release
suite=${2:-${VERSION_CODENAME:?not Debian}}
address=$(grep -hom1 '^URIs: .*' /etc/apt/sources.list.d/*.sources 2>/dev/null | cut -d' ' -f2)
[ -n "$address" ] || address=$(awk '/^deb /{for (i = 2; i <= NF; i++) if ($i ~ /^http/) {print $i; exit}}' /etc/apt/sources.list)
[ -n "$address" ] || { echo "no address of a Debian archive in this machine's apt settings" >&2; exit 1; }
mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/apt/etc"
cat >"$dir/apt/etc/sources.sources" <<SOURCES
Types: deb-src
URIs: $address
Suites: $suite
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
cat >"$dir/apt.conf" <<CONF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$dir/apt/etc";
Dir::State::lists "$dir/apt/lists";
Dir::Cache "$dir/apt/cache";
APT::Sandbox::User "root";
CONF
export APT_CONFIG=$dir/apt.conf
apt-get -qq update >&2
(cd "$dir" && apt-get -qq source --download-only strongswan >/dev/null 2>&1 && tar xf strongswan_*.orig.tar.*[2z]) ||
    { echo "Debian's sources of strongSwan cannot be fetched" >&2; exit 1; }
rm -rf "$dir/apt" "$dir/apt.conf"
found
