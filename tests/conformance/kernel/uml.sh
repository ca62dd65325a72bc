#!/bin/bash
# Boots a Linux kernel as an ordinary process (Debian's user-mode-linux) and runs a command in it. Needs no privileges.
#
#   uml.sh CHECK                   obtains the kernel, if it is not there yet; exit status 3 and why when it cannot
#   uml.sh VERSION                 says which kernel it is
#   uml.sh BOOT COMMAND [ARG...]   the guest runs COMMAND and stops when it ends
#
# The guest's interface vec0 is file descriptor 3, which must be a packet socket of Ethernet frames (one of a
# socketpair is enough); its console is standard output. It sees the files of this machine read-only.
#
# GIPSEC_UML_CACHE   where the kernel is kept between runs (the user's cache directory)
# GIPSEC_UML_LIMIT   seconds after which the guest is ended whatever it does (180)
set -euo pipefail
cache=${GIPSEC_UML_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gipsec/uml}
linux=$cache/root/usr/bin/linux.uml
packages="user-mode-linux kmod libkmod2 libzstd1"
modules="xfrm_user xfrm4_tunnel xfrm6_tunnel esp4 ah4 ipcomp esp6 ah6 ipcomp6 authenc authencesn gcm ccm ctr cbc ecb
    chacha20poly1305 seqiv echainiv deflate hmac cmac xcbc des_generic md5 sha512_generic ghash-generic chacha_generic
    poly1305_generic drbg jitterentropy_rng"

cannot() { echo "$1"; exit 3; }

obtain() {
    [ ! -e "$cache/complete" ] || return 0
    [ "$(uname -sm)" = "Linux x86_64" ] || cannot "the packaged kernel is for Linux on x86-64"
    for tool in apt-get dpkg ip; do
        command -v $tool >/dev/null || cannot "no $tool on this machine"
    done
    mkdir -p "$cache"
    fresh=$(mktemp -d "$cache/fresh.XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    # shellcheck disable=SC2086 # a list
    (cd "$fresh" && apt-get download -qq $packages) >"$fresh/log" 2>&1 ||
        cannot "apt-get download: $(grep '^E:' "$fresh/log" | head -1)"
    for package in "$fresh"/*.deb; do
        dpkg -x "$package" "$fresh/root"
    done
    release=$(basename "$fresh"/root/usr/lib/uml/modules/*)
    mkdir -p "$fresh/root/lib/modules"
    ln -s "../../usr/lib/uml/modules/$release" "$fresh/root/lib/modules/$release"
    ln -sf ../bin/kmod "$fresh/root/sbin/modprobe"
    rm -rf "$cache/root"
    mv "$fresh/root" "$cache/root"
    touch "$cache/complete"
}

case $1 in
CHECK)
    obtain
    ;;
VERSION)
    [ ! -e "$cache/complete" ] || basename "$cache"/root/usr/lib/uml/modules/*
    ;;
BOOT)
    shift
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    modprobe="$work/modprobe"
    cat >"$modprobe" <<SCRIPT
#!/bin/bash
export LD_LIBRARY_PATH=$cache/root/lib/x86_64-linux-gnu:$cache/root/usr/lib/x86_64-linux-gnu
exec $cache/root/sbin/modprobe -d $cache/root "\$@"
SCRIPT
    cat >"$work/init" <<SCRIPT
#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
$modprobe -a $(echo $modules) 2>&1
# Else the kernel starts a process for each SA, to look for a better implementation.
echo >/proc/sys/kernel/modprobe
$(printf '%q ' "$@")
echo o >/proc/sysrq-trigger
sleep 9
SCRIPT
    chmod +x "$modprobe" "$work/init"
    timeout -k 5 "${GIPSEC_UML_LIMIT:-180}" "$linux" mem=256M root=/dev/root rootfstype=hostfs hostfs=/ ro quiet \
        init="$work/init" vec0:transport=fd,fd=3,depth=64 con=null con0=fd:0,fd:1 </dev/null
    ;;
esac
