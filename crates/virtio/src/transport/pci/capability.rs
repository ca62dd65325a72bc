//! The capabilities by which a virtio device says where its registers are (VIRTIO 1.2, section 4.1.4). The bytes are the
//! device's own, so that nothing in them is believed: loops end, and a structure that is not wholly within a BAR is as if it
//! were not there.
//!
//! ```text
//! 0         1         2         3
//! cap_vndr  cap_next  cap_len   cfg_type
//! bar       id        padding
//! offset
//! length
//! notify_off_multiplier              (of the notification structure alone)
//! ```

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

use crate::{message::Config, transport::TransportError};

/// Bytes of the configuration space that capabilities lie in.
pub(super) const SPACE: usize = 256;
const STATUS: usize = 0x06;
const STATUS_CAPABILITIES: u16 = 0x10;
const FIRST: usize = 0x34;
const VENDOR_SPECIFIC: u8 = 0x09;
/// Bytes of the common configuration up to the last register of VIRTIO 1.0.
const COMMON_LENGTH: usize = 56;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Capability {
    vendor: u8,
    next: u8,
    length: u8,
    kind: u8,
    bar: u8,
    id: u8,
    padding: [u8; 2],
    offset: U32,
    bytes: U32,
}

/// A piece of a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which BAR, 0 to 5.
    pub bar: u8,
    /// Where it begins in the BAR.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
}

/// Where a device's registers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The common configuration: 56 bytes at least, 4-aligned.
    pub common: Window,
    /// Notifications: 2-aligned.
    pub notify: Window,
    /// Bytes between the notification addresses of queues: even, or 0.
    pub multiplier: u32,
    /// The interrupt status: one byte at least.
    pub isr: Window,
    /// The device configuration: as long as [`Config`] at least, 4-aligned.
    pub device: Window,
}

/// What a structure must be like: its name, its least length, its alignment.
const KINDS: [(&str, usize, u64); 4] = [
    ("common configuration", COMMON_LENGTH, 4),
    ("notification structure", 2, 2),
    ("interrupt status", 1, 1),
    ("device configuration", size_of::<Config>(), 4),
];

/// Reads where the registers are from the first 256 bytes of the configuration space. `bars`: bytes that can be mapped of
/// each BAR. Of several structures of a kind, the first that can be used counts.
pub fn read(space: &[u8], bars: &[u64; 6]) -> Result<Layout, TransportError> {
    let status =
        space.get(STATUS..).and_then(|rest| U16::ref_from_prefix(rest).ok()).map_or(0, |(status, _)| status.get());
    if status == 0xffff {
        return Err(TransportError("the device does not answer".into()));
    }
    if status & STATUS_CAPABILITIES == 0 {
        return Err(TransportError("the device has no capabilities, so that it is no modern virtio device".into()));
    }
    let mut found = [None; KINDS.len()];
    let mut multiplier = 0;
    let mut reasons = [const { None }; KINDS.len()];
    let mut at = usize::from(space.get(FIRST).copied().unwrap_or(0) & !3);
    // Each is 4-aligned: who has seen this many has gone in a circle.
    for _ in 0..SPACE / 4 {
        let Some((capability, rest)) =
            space.get(at..).filter(|_| at != 0).and_then(|bytes| Capability::ref_from_prefix(bytes).ok())
        else {
            break;
        };
        let kind = usize::from(capability.kind).wrapping_sub(1);
        if let (VENDOR_SPECIFIC, Some(slot @ None)) = (capability.vendor, found.get_mut(kind)) {
            match check(capability, rest, kind, bars) {
                Ok((window, spacing)) => {
                    *slot = Some(window);
                    multiplier = if kind == 1 { spacing } else { multiplier };
                }
                Err(why) => reasons[kind] = Some(why),
            }
        }
        at = usize::from(capability.next & !3);
    }
    let window = |kind: usize| {
        found[kind]
            .ok_or_else(|| TransportError::new(KINDS[kind].0, reasons[kind].unwrap_or("there is no capability for it")))
    };
    Ok(Layout { common: window(0)?, notify: window(1)?, multiplier, isr: window(2)?, device: window(3)? })
}

/// The window of a capability, and the multiplier if it is the notifications'.
fn check(capability: &Capability, rest: &[u8], kind: usize, bars: &[u64; 6]) -> Result<(Window, u32), &'static str> {
    let (_, least, alignment) = KINDS[kind];
    let multiplier = if kind == 1 { size_of::<U32>() } else { 0 };
    if usize::from(capability.length) < size_of::<Capability>() + multiplier {
        return Err("the capability is cut");
    }
    let size = *bars.get(usize::from(capability.bar)).ok_or("the capability names a BAR that cannot be")?;
    let (offset, length) = (u64::from(capability.offset.get()), u64::from(capability.bytes.get()));
    if size == 0 {
        return Err("it is in a BAR that cannot be mapped");
    }
    if offset + length > size {
        return Err("it goes beyond its BAR");
    }
    if length < least as u64 {
        return Err("it is too short");
    }
    if offset % alignment != 0 {
        return Err("it is not aligned");
    }
    let spacing = if kind == 1 { U32::read_from_prefix(rest).map_err(|_| "the capability is cut")?.0.get() } else { 0 };
    if spacing % 2 != 0 {
        return Err("the notification addresses are not aligned");
    }
    Ok((Window { bar: capability.bar, offset, length }, spacing))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BARS: [u64; 6] = [0, 0x1000, 0, 0, 0x4000, 0];

    /// A capability at `at`.
    fn put(space: &mut [u8], at: usize, next: u8, kind: u8, (bar, offset, length): (u8, u32, u32)) {
        space[at..at + 8].copy_from_slice(&[VENDOR_SPECIFIC, next, 20, kind, bar, 0, 0, 0]);
        space[at + 8..at + 12].copy_from_slice(&offset.to_le_bytes());
        space[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
        space[at + 16..at + 20].copy_from_slice(&4u32.to_le_bytes());
    }

    /// What QEMU shows.
    fn good() -> [u8; SPACE] {
        let mut space = [0; SPACE];
        space[STATUS] = 0x10;
        space[FIRST] = 0xdc;
        space[0xdc..0xdf].copy_from_slice(&[0x11, 0xc8, 0]); // MSI-X
        put(&mut space, 0xc8, 0xb4, 5, (0, 0, 0)); // PCI configuration access
        put(&mut space, 0xb4, 0xa0, 2, (4, 0x3000, 0x1000));
        put(&mut space, 0xa0, 0x8c, 4, (4, 0x2000, 0x1000));
        put(&mut space, 0x8c, 0x78, 3, (4, 0x1000, 0x1000));
        put(&mut space, 0x78, 0, 1, (4, 0, 0x1000));
        space
    }

    fn window(offset: u64) -> Window {
        Window { bar: 4, offset, length: 0x1000 }
    }

    #[test]
    fn all_structures_are_found() {
        let layout = read(&good(), &BARS).unwrap();
        let expected = Layout {
            common: window(0),
            notify: window(0x3000),
            multiplier: 4,
            isr: window(0x1000),
            device: window(0x2000),
        };
        assert_eq!(layout, expected);
    }

    #[test]
    fn what_a_device_must_not_show_is_refused() {
        let why = |change: &dyn Fn(&mut [u8; SPACE])| {
            let mut space = good();
            change(&mut space);
            read(&space, &BARS).unwrap_err().0
        };
        assert!(why(&|space| space[STATUS] = 0).contains("no capabilities"));
        assert!(why(&|space| space[STATUS..STATUS + 2].fill(0xff)).contains("does not answer"));
        assert!(why(&|space| space[FIRST] = 0).contains("common configuration: there is no capability"));
        assert!(
            why(&|space| space[0x8c + 1] = 0xdc).contains("common configuration: there is no capability"),
            "a circle"
        );
        assert!(
            why(&|space| space[0x8c + 1] = 0x8c).contains("common configuration: there is no capability"),
            "itself"
        );
        assert!(why(&|space| space[0x78 + 2] = 15).contains("cut"));
        assert!(why(&|space| space[0xb4 + 2] = 16).contains("cut"), "no room for the multiplier");
        assert!(why(&|space| space[0xb4 + 16] = 3).contains("not aligned"), "an odd multiplier");
        assert!(why(&|space| space[0x78 + 4] = 6).contains("cannot be"));
        assert!(why(&|space| space[0x78 + 4] = 0).contains("cannot be mapped"));
        assert!(why(&|space| put(space, 0x78, 0, 1, (4, 2, 0x1000))).contains("not aligned"));
        assert!(why(&|space| put(space, 0x78, 0, 1, (4, 0, 55))).contains("too short"));
        assert!(why(&|space| put(space, 0xa0, 0x8c, 4, (4, 0x2000, 63))).contains("too short"));
        assert!(why(&|space| put(space, 0xb4, 0xa0, 2, (4, 0x3000, 0x1001))).contains("beyond"));
        assert!(why(&|space| put(space, 0xb4, 0xa0, 2, (4, u32::MAX, u32::MAX))).contains("beyond"));
        assert!(why(&|space| put(space, 0x8c, 0x78, 3, (4, 0x1000, 0))).contains("too short"));
        assert!(why(&|space| space[0x78] = 0).contains("no capability"));
    }

    #[test]
    fn the_first_that_can_be_used_counts() {
        let mut space = good();
        put(&mut space, 0x40, 0x54, 1, (0, 0, 0x1000)); // in a BAR that cannot be mapped
        put(&mut space, 0x54, 0xdc, 1, (1, 0x10, 56));
        space[FIRST] = 0x40;
        assert_eq!(read(&space, &BARS).unwrap().common, Window { bar: 1, offset: 0x10, length: 56 });
    }

    #[test]
    fn a_cut_space_is_refused() {
        for length in 0..SPACE {
            let _ = read(&good()[..length], &BARS);
        }
        assert!(read(&[], &BARS).is_err());
        assert!(read(&good()[..0x78], &BARS).is_err());
    }

    proptest! {
        /// Whatever the device shows: it ends, and every window is wholly within its BAR.
        #[test]
        fn windows_are_within_their_bars(
            mut space in prop_oneof![prop::collection::vec(any::<u8>(), SPACE), Just(good().to_vec())],
            changes in prop::collection::vec((0..SPACE, any::<u8>()), 0..12),
            bars in any::<[u16; 6]>(),
        ) {
            space[STATUS] |= 0x10;
            for (at, byte) in changes {
                space[at] = byte;
            }
            let bars = bars.map(u64::from);
            if let Ok(layout) = read(&space, &bars) {
                for window in [layout.common, layout.notify, layout.isr, layout.device] {
                    prop_assert!(window.offset + window.length <= bars[usize::from(window.bar)]);
                }
                prop_assert!(layout.common.length >= 56 && layout.common.offset % 4 == 0);
                prop_assert!(layout.device.length >= 64 && layout.device.offset % 4 == 0);
                prop_assert!(layout.notify.length >= 2 && layout.notify.offset % 2 == 0 && layout.multiplier % 2 == 0);
                prop_assert!(layout.isr.length >= 1);
            }
        }
    }
}
