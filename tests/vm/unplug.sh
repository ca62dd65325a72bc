# In the guest: packets go through the device, which is unplugged meanwhile.
# shellcheck shell=sh
# shellcheck source=tests/vm/bind.sh
. /bin/bind.sh
timeout 90 test_unplug || { dmesg | tail -n 15 && exit 1; }
# The kernel lets go of it, now that nobody has it open.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -e "$device" ] || break
    sleep 1
done
if [ -e "$device" ]; then
    echo "guest: the kernel still has the device"
    exit 1
fi
echo "guest: the kernel has let go of it"
