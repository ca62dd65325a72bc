#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A real Linux 6.1 kernel's ESP, AH and IPComp as an independent peer, in an ordinary process (Debian's user-mode-linux):
# no KVM, about 9 s from boot to shutdown. The host's own kernel has no ESP.
#
#   uml-kernel.sh GUEST.sh COMMAND [ARG...]
#
# Boots the kernel with a tap into a fresh network namespace, sources GUEST.sh in the guest (set up `ip xfrm state`
# there; end it with the counters you want to see), and when GUEST.sh prints GUEST-READY runs COMMAND in the namespace.
#   namespace side: 192.168.50.1/24 on ut0      guest side: 192.168.50.2/24 on vec0, 10.2.0.1/24 on lo
# The guest sees this machine's files read-only; it may write under /run. Prints the guest's output after GUEST-READY;
# its exit status is COMMAND's. Facts: AH with a 128-bit ICV needs `flag align4` on the kernel's SA.
# env: W work directory (kept between runs: the kernel is unpacked there), LIMIT seconds for the guest (60)
set -eu
guest=$(readlink -f "$1"); shift
W=$(readlink -f "${W:-${XDG_CACHE_HOME:-$HOME/.cache}/uml-kernel}"); mkdir -p "$W"
if [ ! -x "$W/x/usr/bin/linux.uml" ]; then
  (cd "$W" && apt-get download -qq user-mode-linux kmod libkmod2 libzstd1 >/dev/null 2>&1 && for d in *.deb; do dpkg -x "$d" x; done
   ln -sf ../bin/kmod x/sbin/modprobe; mkdir -p modroot/lib/modules)
  mods=$(find "$W/x" -type d -path '*modules*' -name '6.*' | head -1); ln -sfn "$mods" "$W/modroot/lib/modules/$(basename "$mods")"
fi
mkdir -p "$W/scratch"
cat > "$W/modprobe.sh" <<M
#!/bin/bash
export LD_LIBRARY_PATH=$W/x/lib/x86_64-linux-gnu:$W/x/usr/lib/x86_64-linux-gnu
exec $W/x/sbin/modprobe -d $W/modroot "\$@"
M
cat > "$W/init.sh" <<I
#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys 2>/dev/null; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs $W/scratch
mount -t devtmpfs dev /dev 2>/dev/null
echo $W/modprobe.sh > /proc/sys/kernel/modprobe
for m in xfrm_user af_key esp4 ah4 ipcomp esp6 ah6 ipcomp6 authenc authencesn gcm ccm ctr cbc chacha20poly1305 seqiv echainiv deflate cmac xcbc des_generic md5; do $W/modprobe.sh \$m 2>/dev/null || echo "no module \$m"; done
ip link set lo up; ip link set vec0 up 2>/dev/null; ip addr add 192.168.50.2/24 dev vec0; ip addr add 10.2.0.1/24 dev lo
. $guest
echo UML-DONE; echo o > /proc/sysrq-trigger; sleep 1; halt -f
I
chmod +x "$W/modprobe.sh" "$W/init.sh"
ns=umlk$$; log=$(mktemp); uml=
ip netns add $ns
cleanup() { [ -z "$uml" ] || { kill $uml 2>/dev/null || true; wait $uml 2>/dev/null || true; }; ip netns del $ns 2>/dev/null || true; rm -f "$log"; }
trap cleanup EXIT
ip -n $ns link set lo up; ip -n $ns tuntap add ut0 mode tap; ip -n $ns addr add 192.168.50.1/24 dev ut0; ip -n $ns addr add 10.1.0.1/24 dev lo; ip -n $ns link set ut0 up
ip netns exec $ns timeout "${LIMIT:-60}" "$W/x/usr/bin/linux.uml" mem=256M root=/dev/root rootfstype=hostfs hostfs=/ ro \
  init="$W/init.sh" vec0:transport=tap,ifname=ut0,depth=64 con=null con0=fd:0,fd:1 quiet </dev/null >"$log" 2>&1 & uml=$!
for _ in $(seq 200); do grep -q GUEST-READY "$log" && break; sleep .2; done
grep -q GUEST-READY "$log" || { echo "guest did not come up:"; tail -20 "$log"; exit 1; }
rc=0; ip netns exec $ns "$@" || rc=$?
wait $uml || true; uml=
sed -n '/GUEST-READY/,$p' "$log"
exit $rc
