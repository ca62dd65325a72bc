# In the guest, which uses no messages for interrupts: what is said of a device that nobody can open, and of one that
# somebody has open; and C tests over the interrupt line.
# shellcheck shell=sh
# shellcheck source=tests/vm/bind.sh
. /bin/bind.sh

# refused WHY: the device cannot be opened, for that reason.
refused() {
    if pci_probe >/tmp/said; then cat /tmp/said && exit 1; fi
    grep 'NOT USABLE' /tmp/said
    grep -q "NOT USABLE.*$1" /tmp/said || exit 1
    echo "guest: refused: $1"
}

echo "$address" >"$device/driver/unbind"
refused 'bound to no driver'
echo "$address" >/sys/bus/pci/drivers_probe
pci_probe --watch 3 &
sleep 2
grep -q vfio-intx /proc/interrupts || exit 1
refused 'somebody else has it open'
wait $! || exit 1
echo 0 >/proc/sys/vm/nr_hugepages
refused 'huge pages of 2 MiB are needed'
echo 48 >/proc/sys/vm/nr_hugepages
for topic in roundtrip async; do
    GIPSEC_TEST_SMALL=1 timeout 60 "test_$topic" || exit 1
    echo "guest: $topic passed"
done
