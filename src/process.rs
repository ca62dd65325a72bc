//! The accelerators and applications of this process, found on first use.

use std::{path::PathBuf, sync::OnceLock, time::Duration};

use gipsec_accelerator::{DeviceOptions, Discovery, PciDevices, Registry, Sockets};

use crate::values;

/// How many software accelerators there are unless the environment says otherwise.
const DEFAULT_SOFT: usize = 4;
/// PCI vendor and device of the virtio-ipsec device (R15), which software accelerators answer to.
const IDENTITY: (u16, u16) = (values::PCI_VENDOR_ID, values::PCI_DEVICE_ID);
/// Where devices have their sockets unless the environment says otherwise.
const SOCKETS: &str = "/run/gipsec";
/// Bytes of memory that are shared with each device, unless the environment says otherwise; they are taken as they are used.
const POOL_BYTES: usize = 64 << 20;

/// A number of the environment.
fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.trim().parse().ok()
}

/// The one registry of this process.
pub(crate) fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let soft = number("G_IPSEC_LA_SOFT_ACCELERATORS").unwrap_or(DEFAULT_SOFT);
        Registry::new(soft, IDENTITY, sources())
    })
}

/// Where devices are looked for.
fn sources() -> Vec<Box<dyn Discovery>> {
    let mut options = DeviceOptions::default();
    if let Some(milliseconds) = number("G_IPSEC_LA_DEVICE_DEADLINE_MS") {
        options.deadline = Duration::from_millis(milliseconds as u64);
    }
    if let Some(microseconds) = number("G_IPSEC_LA_DEVICE_POLL_US") {
        options.poll = Duration::from_micros(microseconds as u64);
    }
    let pool_bytes =
        number("G_IPSEC_LA_DEVICE_MEMORY_MIB").map_or(POOL_BYTES, |mebibytes| mebibytes.saturating_mul(1 << 20));
    let directory = std::env::var_os("G_IPSEC_LA_SOCKET_DIR").map_or_else(|| SOCKETS.into(), PathBuf::from);
    vec![
        Box::new(PciDevices { pool_bytes, options }),
        Box::new(Sockets { directory, identity: IDENTITY, pool_bytes, options }),
    ]
}
