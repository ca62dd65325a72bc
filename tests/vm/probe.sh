# In the guest: what is the matter with a device that no driver holds, and with one that we have; and one round trip.
# shellcheck shell=sh
# shellcheck source=tests/vm/bind.sh
. /bin/bind.sh
echo "$address" >"$device/driver/unbind"
if pci_probe | tee /tmp/said; then exit 1; fi
grep -q 'bound to no driver' /tmp/said || exit 1
echo "$address" >/sys/bus/pci/drivers_probe
pci_probe --watch 3 &
sleep 2
if pci_probe | tee /tmp/said; then exit 1; fi
grep -q 'somebody else has it open' /tmp/said || exit 1
wait $! || exit 1
echo 0 >/proc/sys/vm/nr_hugepages
if pci_probe | tee /tmp/said; then exit 1; fi
grep -q 'huge pages of 2 MiB are needed' /tmp/said || exit 1
echo 48 >/proc/sys/vm/nr_hugepages
test_roundtrip
