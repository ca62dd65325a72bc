# Sourced in the guest: gives the device to the kernel's driver that the command line names (`gipsec.driver=NAME`), and
# says which C tests to run (`gipsec.topics=NAME,...`). The device is the IPsec device, or QEMU's network card.
# shellcheck shell=sh

# parameter NAME: its value on the kernel's command line.
parameter() { tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p"; }

# The id that stands in for the IPsec device's: QEMU's generic vhost-user device cannot have a type as high as 62.
G_IPSEC_LA_PCI_IDS=1af4:1066
G_IPSEC_LA_SOFT_ACCELERATORS=0
export G_IPSEC_LA_PCI_IDS G_IPSEC_LA_SOFT_ACCELERATORS

driver=$(parameter gipsec.driver)
address=
for directory in /sys/bus/pci/devices/*; do
    case $(cat "$directory/vendor"):$(cat "$directory/device") in
    0x1af4:0x1066 | 0x1af4:0x1041) address=${directory##*/} ;;
    esac
done
[ -n "$address" ] || { echo "guest: there is no device" && exit 1; }
device=/sys/bus/pci/devices/$address
[ ! -e "$device/driver" ] || echo "$address" >"$device/driver/unbind"
echo "$driver" >"$device/driver_override"
echo "$address" >/sys/bus/pci/drivers_probe
echo "guest: $address is bound to $(basename "$(readlink "$device/driver")")"
