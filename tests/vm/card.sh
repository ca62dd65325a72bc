# In the guest: the transport with a network card of QEMU's.
# shellcheck shell=sh
# shellcheck source=tests/vm/bind.sh
. /bin/bind.sh
timeout 60 pci_bus --ignored --nocapture || exit 1
[ "$driver" = vfio-pci ] || exit 0
# Behind an IOMMU any memory does.
echo 0 >/proc/sys/vm/nr_hugepages
timeout 60 pci_bus --ignored --nocapture
