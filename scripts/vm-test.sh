#!/bin/sh
# Runs the library in a VM against gipsec-device, over the PCI bus: with uio_pci_generic, with vfio-pci, and with the device
# unplugged in the midst of traffic. No KVM, no privilege, and nothing installed; scripts/vm.sh says more.
#
#   scripts/vm-test.sh [BUILD]    BUILD: a build of CMakeLists.txt with the C tests, build/vm/release if not given
#
#   GIPSEC_VM_PARTS     only these of its parts: card-uio card-vfio uio vfio vfio-line unplug-uio unplug-vfio
#   GIPSEC_VM_TOPICS    the C tests to run, with commas between them
#   GIPSEC_VM_CACHE     where QEMU and the kernel are kept
#
# Prints PASS or FAIL for each part. What a machine cannot run prints "SKIPPED: why" and ends with success.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build/vm
build=${1:-build/vm/release}
cache=${GIPSEC_VM_CACHE:-build/vm}
log=build/vm/log
target=${GIPSEC_CARGO_TARGET_DIR:-$build/cargo}
# What runs with an accelerator of any name; one device at a time is enough for it.
topics=${GIPSEC_VM_TOPICS:-roundtrip,sa,sa_mod,buffers,outer,async,bundles,ipcomp,wesp,padding,drops,shared_buffers,hostile}

step() { printf '\n== %s\n' "$*"; }
fail() { printf '\nvm-test: %s\n' "$*" >&2; exit 1; }

step "Fetching QEMU and a kernel, unless they are here"
mkdir -p "$log"
status=0
GIPSEC_VM_CACHE=$cache scripts/vm.sh --fetch >"$log/fetch" 2>&1 || status=$?
case $status in
0) ;;
77) echo "SKIPPED: the PCI bus, in a VM: $(tail -n 1 "$log/fetch")" && exit 0 ;;
*) cat "$log/fetch" >&2 && fail "QEMU and a kernel could not be made ready" ;;
esac

step "Building"
{ { [ -f "$build/CMakeCache.txt" ] || cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DGIPSEC_WERROR=ON; } &&
    cmake --build "$build" -j2 &&
    cargo build --release --locked -p gipsec-virtio --example pci_probe --target-dir "$target" &&
    cargo test --release --locked -p gipsec-virtio --test pci_bus --no-run --target-dir "$target"; } >"$log/build" 2>&1 ||
    { tail -40 "$log/build" >&2; fail "the build failed"; }
probe=$target/release/examples/pci_probe
bus_test=$(sed -n 's|.*Executable tests/pci_bus.rs (\(.*\))$|\1|p' "$log/build" | tail -n 1)
daemon=$build/gipsec-device

work=$(mktemp -d)
daemon_pid='' vm_pid='' qmp_pid=''
finish() {
    for pid in $vm_pid $daemon_pid $qmp_pid; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

start_daemon() {
    rm -f "$work/device.sock"
    "$daemon" --log-level warn --socket "$work/device.sock" --mode shared --exclusive --max-clients 64 --pairs 1 2>"$work/daemon.log" &
    daemon_pid=$!
    for _ in $(seq 500); do
        if [ -S "$work/device.sock" ] && grep -q '^ready' "$work/daemon.log"; then return; fi
        sleep 0.02
    done
    cat "$work/daemon.log" >&2
    fail "gipsec-device does not start"
}

# boot NAME DRIVER SCRIPT [PARAMETER]: a VM with the device, whose console goes to the log of that name.
boot() {
    name=$1 driver=$2 script=$3
    through_iommu=
    [ "$driver" != vfio-pci ] || through_iommu=,iommu_platform=on
    append="${4:-} hugepages=48 gipsec.driver=$driver gipsec.topics=$topics"
    # virtio-id 38 stands in: QEMU knows no type as high as 62.
    case $script in
    */card.sh)
        set -- -device "virtio-net-pci,id=ipsec,bus=slot1,disable-legacy=on,vectors=4,romfile=$through_iommu"
        ;;
    *)
        set -- -chardev "socket,id=device,path=$work/device.sock" \
            -device "vhost-user-test-device-pci,id=ipsec,bus=slot1,chardev=device,virtio-id=38,num_vqs=4,vq_size=256,config_size=64"
        ;;
    esac
    set -- -device pcie-root-port,id=slot1,chassis=1,slot=1 "$@" -qmp "pipe:$work/qmp"
    if [ "$driver" = vfio-pci ]; then
        append="$append intel_iommu=on"
        set -- -device intel-iommu,intremap=on "$@"
    fi
    rm -f "$work/qmp.in" "$work/qmp.out"
    mkfifo "$work/qmp.in" "$work/qmp.out"
    cat "$work/qmp.out" >"$log/$name.qmp" &
    qmp_pid=$!
    files="$probe $bus_test:/bin/pci_bus tests/vm/bind.sh $build/c-tests/test_unplug"
    for topic in $(echo "$topics" | tr , ' '); do files="$files $build/c-tests/test_$topic"; done
    # shellcheck disable=SC2086 # a list of files
    GIPSEC_VM_CACHE=$cache GIPSEC_VM_APPEND=$append GIPSEC_VM_LIMIT=${GIPSEC_VM_LIMIT:-240} \
        scripts/vm.sh "$script" $files -- "$@" >"$log/$name" 2>&1 &
    vm_pid=$!
}

# part NAME TITLE DRIVER SCRIPT [PARAMETER]: boots, unplugs the device if packets are said to be on their way, and waits.
passed=0 failed=0
part() {
    name=$1 title=$2
    case " ${GIPSEC_VM_PARTS:-$name} " in *" $name "*) ;; *) return ;; esac
    step "$title"
    start_daemon
    boot "$name" "$3" "$4" "${5:-}"
    turn=0 greet='{"execute":"qmp_capabilities"}'
    while kill -0 "$vm_pid" 2>/dev/null; do
        if grep -q 'packets are on their way' "$log/$name" && ! grep -q 'is gone' "$log/$name"; then
            # A guest may miss it, and QEMU takes it again after five seconds. <>: who opens so does not wait for QEMU.
            if [ $((turn % 40)) = 0 ]; then
                printf '%s\n' "$greet" '{"execute":"device_del","arguments":{"id":"ipsec"}}' 1<>"$work/qmp.in"
                greet=''
            fi
            turn=$((turn + 1))
        fi
        sleep 0.2
    done
    status=0
    wait "$vm_pid" || status=$?
    kill "$qmp_pid" 2>/dev/null || true
    vm_pid='' qmp_pid=''
    kill "$daemon_pid" 2>/dev/null || status=daemon
    wait "$daemon_pid" 2>/dev/null || true
    daemon_pid=''
    sed -n 's/^guest: /  /p' "$log/$name"
    # A device that is unplugged leaves its SAs behind, and nothing to warn of.
    if grep ' \(WARN\|ERROR\)' "$work/daemon.log"; then status=daemon; fi
    case $status in
    0) echo "PASS: $title" && passed=$((passed + 1)) ;;
    *)
        tail -n 40 "$log/$name"
        sed 's/^/qmp: /' "$log/$name.qmp"
        sed 's/^/daemon: /' "$work/daemon.log"
        echo "FAIL: $title (status $status; all of it is in $log/$name)"
        failed=$((failed + 1))
        ;;
    esac
}

part card-uio "PCI, in a VM: QEMU's network card over uio_pci_generic" uio_pci_generic tests/vm/card.sh
part card-vfio "PCI, in a VM: QEMU's network card over vfio-pci, through the IOMMU" vfio-pci tests/vm/card.sh
part uio "PCI, in a VM: uio_pci_generic" uio_pci_generic tests/vm/roundtrip.sh
part vfio "PCI, in a VM: vfio-pci" vfio-pci tests/vm/roundtrip.sh
part vfio-line "PCI, in a VM: vfio-pci without MSI-X" vfio-pci tests/vm/probe.sh pci=nomsi
part unplug-uio "PCI, in a VM: unplugged under uio_pci_generic" uio_pci_generic tests/vm/unplug.sh
part unplug-vfio "PCI, in a VM: unplugged under vfio-pci" vfio-pci tests/vm/unplug.sh

printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
