//! The accelerators and applications of this process, found on first use.

use std::sync::OnceLock;

use gipsec_accelerator::Registry;

use crate::values;

/// How many software accelerators there are unless the environment says otherwise.
const DEFAULT_SOFT: usize = 4;
/// PCI vendor and device of the virtio-ipsec device (R15), which software accelerators answer to.
const IDENTITY: (u16, u16) = (values::PCI_VENDOR_ID, values::PCI_DEVICE_ID);

/// The one registry of this process.
pub(crate) fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let soft = std::env::var("G_IPSEC_LA_SOFT_ACCELERATORS").ok().and_then(|number| number.trim().parse().ok());
        Registry::new(soft.unwrap_or(DEFAULT_SOFT), IDENTITY)
    })
}
