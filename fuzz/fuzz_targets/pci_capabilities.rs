//! Any bytes as the configuration space of a device on the PCI bus: every window that is found lies within its BAR.

#![no_main]

use gipsec_virtio::transport::pci::read_capabilities;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: ([u32; 6], &[u8])| {
    let (bars, space) = input;
    let bars = bars.map(u64::from);
    if let Ok(layout) = read_capabilities(space, &bars) {
        for window in [layout.common, layout.notify, layout.isr, layout.device] {
            assert!(window.length > 0 && window.offset + window.length <= bars[usize::from(window.bar)]);
        }
        assert!(layout.common.offset % 4 == 0 && layout.device.offset % 4 == 0);
        assert!(layout.notify.offset % 2 == 0 && layout.multiplier % 2 == 0);
    }
});
