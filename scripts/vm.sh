#!/bin/bash
# Boots a Linux VM, runs a script in it as root, and powers it off: ten seconds or so. QEMU (11 or later, for its generic
# vhost-user device) and the kernel are Debian's, unpacked into a cache: nothing is installed, and no KVM is needed, since
# all instructions are emulated.
#
#   scripts/vm.sh SCRIPT [FILE[:/PATH] ...] [-- QEMU ARGUMENTS]
#   scripts/vm.sh --fetch     only fetches what a VM needs
#
# Each FILE comes to /PATH in the guest, /bin/NAME unless given, with the libraries that it needs. What the guest says on its
# console is printed; the status is that of SCRIPT, and 77 when there can be no VM here, after a line that says why.
#
#   GIPSEC_VM_CACHE    where QEMU and the kernel are kept, 120 MB to fetch at first [build/vm]
#   GIPSEC_VM_MODULES  kernel modules to load [uio_pci_generic vfio-pci vfio_iommu_type1]
#   GIPSEC_VM_APPEND   more of the kernel's command line
#   GIPSEC_VM_MEMORY   MiB [1024]
#   GIPSEC_VM_LIMIT    seconds that the VM may take [180]
set -eu
cd "$(dirname "$0")/.."

skip() { echo "no VM: $*"; exit 77; }

[ $# -ge 1 ] || { echo "usage: scripts/vm.sh SCRIPT [FILE[:/PATH] ...] [-- QEMU ARGUMENTS]" >&2; exit 2; }
script=$1
shift
files=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    files+=("$1")
    shift
done
[ $# -eq 0 ] || shift

[ "$(uname -m)" = x86_64 ] || skip "the guest is x86-64, this machine is not"
for tool in apt-get dpkg xz ldd timeout; do
    command -v $tool >/dev/null || skip "$tool is missing"
done
mkdir -p "${GIPSEC_VM_CACHE:=build/vm}"
cache=$(cd "$GIPSEC_VM_CACHE" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fetch NAME SUITES RELEASE PACKAGE...: unpacks packages of Debian, and all that they need, into a folder of the cache.
# apt works with lists of its own, as if nothing were installed: the machine's set-up stays as it is.
fetch() {
    local name=$1 suites=$2 release=$3 uri apt
    shift 3
    [ ! -e "$cache/$name/.done" ] || return 0
    uri=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list 2>/dev/null |
        grep -v '^ *#' | grep -o 'https*://[^ ]*/debian/*' | head -n 1)
    [ -n "$uri" ] || skip "this system names no Debian mirror to fetch $name from"
    rm -rf "${cache:?}/$name"
    apt=$cache/$name/apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/sources" "$cache/$name/root"
    : >"$apt/status"
    cat >"$apt/sources/vm.sources" <<END
Types: deb
URIs: $uri
Suites: $suites
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
    cat >"$apt/conf" <<END
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$apt/sources";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
APT::Default-Release "$release";
APT::Sandbox::User "";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::Retries "1";
END
    echo "fetching $*"
    { APT_CONFIG=$apt/conf apt-get -qq update &&
        APT_CONFIG=$apt/conf apt-get -qq -y --no-install-recommends --download-only install "$@"; } >"$work/apt.log" 2>&1 ||
        skip "apt could not fetch $*: $(tail -n 1 "$work/apt.log")"
    for package in "$apt"/cache/archives/*.deb; do
        dpkg -x "$package" "$cache/$name/root" || skip "$package cannot be unpacked"
    done
    rm -rf "$apt"
    touch "$cache/$name/.done"
}
fetch qemu "trixie trixie-backports" trixie-backports qemu-system-x86
fetch kernel "bookworm bookworm-backports" bookworm-backports linux-image-cloud-amd64 busybox-static kmod
[ "$script" != --fetch ] || exit 0
qemu=$cache/qemu/root kernel=$cache/kernel/root
for modules in "$kernel"/lib/modules/*; do :; done
version=${modules##*/}
busybox=$(find "$kernel" -path '*bin/busybox' -type f | head -n 1)
if [ ! -f "$modules/modules.dep" ]; then
    mkdir -p "$cache/tool"
    ln -sf "$(find "$kernel" -name kmod -type f -path '*bin*' | head -n 1)" "$cache/tool/depmod"
    "$cache/tool/depmod" -b "$kernel" "$version"
fi

# The guest's files.
guest=$work/guest
mkdir -p "$guest"/{bin,sbin,dev,proc,sys,tmp,run,etc,lib/modules}
cp "$busybox" "$guest/bin/"
"$busybox" --list | while read -r applet; do
    [ "$applet" = busybox ] || ln -s busybox "$guest/bin/$applet"
done

# copy FILE PATH: a file, and the libraries it needs where they are here.
copy() {
    mkdir -p "$guest$(dirname "$2")"
    cp -L "$1" "$guest$2"
    { ldd "$1" 2>/dev/null || true; } | { grep -oE '/[^ ]+' || true; } | while read -r library; do
        [ -e "$guest$library" ] || { mkdir -p "$guest$(dirname "$library")" && cp -L "$library" "$guest$library"; }
    done
}
for file in ${files[@]+"${files[@]}"}; do
    case $file in
    *:*) copy "${file%%:*}" "${file#*:}" ;;
    *) copy "$file" "/bin/$(basename "$file")" ;;
    esac
done

# Modules in the order in which they are to be loaded.
: >"$guest/etc/modules"
for module in ${GIPSEC_VM_MODULES-uio_pci_generic vfio-pci vfio_iommu_type1}; do
    line=$(grep -E "/${module//[-_]/[-_]}\.ko(\.xz)?:" "$modules/modules.dep") || continue # compiled in
    for file in $(echo "${line#*:}" | tr ' ' '\n' | tac) "${line%%:*}"; do
        name=$(basename "$file" .xz)
        [ ! -e "$guest/lib/modules/$name" ] || continue
        case $file in
        *.xz) xz -dc "$modules/$file" >"$guest/lib/modules/$name" ;;
        *) cp "$modules/$file" "$guest/lib/modules/$name" ;;
        esac
        echo "$name" >>"$guest/etc/modules"
    done
done
cp "$script" "$guest/script"
echo 'root:x:0:0:root:/:/bin/sh' >"$guest/etc/passwd"
echo 'root:x:0:' >"$guest/etc/group"
cat >"$guest/init" <<'END'
#!/bin/sh
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm && mount -t tmpfs tmpfs /dev/shm
while read -r module; do
    insmod "/lib/modules/$module" || echo "guest: $module could not be loaded"
done </etc/modules
echo "guest: Linux $(uname -r)"
sh /script
echo "guest: status $?"
sync
poweroff -f
END
chmod +x "$guest/init"
(cd "$guest" && find . | "$busybox" cpio -o -H newc 2>/dev/null) >"$work/initramfs"
rm -rf "$guest"

memory=${GIPSEC_VM_MEMORY:-1024}
libraries=$qemu/usr/lib/x86_64-linux-gnu
machine=(
    -M q35 -accel "tcg,thread=multi" -cpu max -smp 1 -m "$memory"
    -object "memory-backend-memfd,id=memory,size=${memory}M,share=on" -numa "node,memdev=memory"
    -nodefaults -no-user-config -display none -no-reboot -serial stdio
    -kernel "$kernel/boot/vmlinuz-$version" -initrd "$work/initramfs"
    -append "console=ttyS0 panic=-1 quiet ${GIPSEC_VM_APPEND:-}"
)
mkfifo "$work/fifo"
sed -u 's/\r//g' "$work/fifo" | tee "$work/console" &
timeout "${GIPSEC_VM_LIMIT:-180}" "$qemu/usr/lib64/ld-linux-x86-64.so.2" \
    --library-path "$libraries:$libraries/pulseaudio:$qemu/lib/x86_64-linux-gnu" "$qemu/usr/bin/qemu-system-x86_64" \
    -L "$qemu/usr/share/qemu" -L "$qemu/usr/share/seabios" -L "$qemu/usr/lib/ipxe/qemu" "${machine[@]}" "$@" \
    </dev/null >"$work/fifo" 2>&1 &
vm=$!
trap 'kill $vm 2>/dev/null || true; exit 130' INT TERM
wait $vm || true
wait
status=$(sed -n 's/.*guest: status \([0-9]*\)$/\1/p' "$work/console" | tail -n 1)
[ -n "$status" ] || { echo "the VM ended, or was ended, before its script did"; exit 1; }
exit "$status"
