# In the guest: the transport with a network card of QEMU's.
# shellcheck shell=sh
# shellcheck source=tests/vm/bind.sh
. /bin/bind.sh
# Behind an IOMMU any memory does.
[ "$driver" != vfio-pci ] || echo 0 >/proc/sys/vm/nr_hugepages
timeout 60 pci_bus --ignored --nocapture
