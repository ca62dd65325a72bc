# In the guest: probes the device, and runs C tests of the library whose only accelerator it is.
# shellcheck shell=sh
# shellcheck source=tests/vm/bind.sh
. /bin/bind.sh
pci_probe || exit 1
failed=0
for topic in $(parameter gipsec.topics | tr , ' '); do
    if GIPSEC_TEST_SMALL=1 timeout 60 "test_$topic"; then
        echo "guest: $topic passed"
    else
        echo "guest: $topic FAILED with status $?"
        failed=1
    fi
done
exit $failed
