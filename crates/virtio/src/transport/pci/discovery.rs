//! Which devices of a kind the bus has, from sysfs. What is there is the kernel's word, and may be gone at the next look.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::message::DEVICE_ID;

/// Where the kernel lists the devices of the bus.
const ROOT: &str = "/sys/bus/pci/devices";
/// Names further ids, as `1af4:1066,...`.
pub const IDS_VARIABLE: &str = "G_IPSEC_LA_PCI_IDS";
/// Vendor and device of the IPsec device.
pub const DEFAULT_ID: (u16, u16) = (0x1af4, 0x107e);
const _: () = assert!(DEFAULT_ID.1 as u32 == 0x1040 + DEVICE_ID);

/// The kernel's driver that lets us reach a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundDriver {
    /// `uio_pci_generic`.
    Uio,
    /// `vfio-pci`.
    Vfio,
}

/// A device that we could open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciDevice {
    /// Its address, as `0000:01:00.0`.
    pub name: String,
    /// Its directory in sysfs.
    pub directory: PathBuf,
    /// What it is bound to.
    pub driver: BoundDriver,
    /// Vendor and device.
    pub id: (u16, u16),
}

/// Reads a list of ids, as `1af4:107e,1af4:1066`; what is no id is left out.
pub fn parse_ids(list: &str) -> Vec<(u16, u16)> {
    let number = |text: &str| u16::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok();
    list.split(',').filter_map(|id| id.trim().split_once(':').and_then(|(v, d)| number(v).zip(number(d)))).collect()
}

/// The ids to look for: the default one, and those of the environment.
pub fn ids() -> Vec<(u16, u16)> {
    let mut ids = vec![DEFAULT_ID];
    ids.extend(parse_ids(&std::env::var(IDS_VARIABLE).unwrap_or_default()));
    ids.dedup();
    ids
}

/// A device's attribute that is a hexadecimal number.
fn number(directory: &Path, name: &str) -> Option<u16> {
    let text = fs::read_to_string(directory.join(name)).ok()?;
    u16::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

/// The driver that a device is bound to.
fn bound(directory: &Path) -> Option<String> {
    Some(fs::read_link(directory.join("driver")).ok()?.file_name()?.to_str()?.to_owned())
}

/// All devices with one of these ids, in the order of their addresses, and why one cannot be opened.
fn all(root: &Path, ids: &[(u16, u16)]) -> io::Result<Vec<Result<PciDevice, String>>> {
    let mut directories: Vec<_> = fs::read_dir(root)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    directories.sort();
    let seen = |directory: PathBuf| {
        let id = number(&directory, "vendor").zip(number(&directory, "device")).filter(|id| ids.contains(id))?;
        let name = directory.file_name()?.to_str()?.to_owned();
        let driver = match bound(&directory).as_deref() {
            Some("uio_pci_generic") => BoundDriver::Uio,
            Some("vfio-pci") => BoundDriver::Vfio,
            Some(other) => return Some(Err(format!("{name}: bound to {other}, not to vfio-pci or uio_pci_generic"))),
            None => return Some(Err(format!("{name}: bound to no driver; vfio-pci or uio_pci_generic is needed"))),
        };
        Some(Ok(PciDevice { name, directory, driver, id }))
    };
    Ok(directories.into_iter().filter_map(seen).collect())
}

/// The devices under `root` with one of these ids that we could open, in the order of their addresses.
pub fn find(root: &Path, ids: &[(u16, u16)]) -> Vec<PciDevice> {
    all(root, ids).unwrap_or_default().into_iter().flatten().collect()
}

/// The devices of this machine with one of these ids, and why one cannot be opened.
pub fn look(ids: &[(u16, u16)]) -> Vec<Result<PciDevice, String>> {
    all(Path::new(ROOT), ids).unwrap_or_default()
}

impl PciDevice {
    /// The devices of this machine that we could open: those of [`ids`].
    pub fn all() -> Vec<Self> {
        find(Path::new(ROOT), &ids())
    }

    /// Whether we may have it, and nobody else has it open. The device itself is not touched.
    pub fn is_free(&self) -> bool {
        match self.driver {
            BoundDriver::Uio => super::uio::claim(self).is_ok(),
            BoundDriver::Vfio => super::vfio::group(self).is_ok(),
        }
    }

    /// Whether it is still on the bus.
    pub fn is_present(&self) -> bool {
        self.directory.join("vendor").exists()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::{BoundDriver, all, find, parse_ids};

    /// A device of a made-up bus.
    fn device(root: &Path, name: &str, vendor: &str, device: &str, driver: Option<&str>) {
        let directory = root.join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("vendor"), vendor).unwrap();
        fs::write(directory.join("device"), device).unwrap();
        if let Some(driver) = driver {
            symlink(Path::new("../../../../bus/pci/drivers").join(driver), directory.join("driver")).unwrap();
        }
    }

    #[test]
    fn only_bound_devices_with_the_ids_are_found() {
        let root = std::env::temp_dir().join(format!("gipsec-pci-{}", std::process::id()));
        device(&root, "0000:02:00.0", "0x1af4\n", "0x107e\n", Some("vfio-pci"));
        device(&root, "0000:01:00.0", "0x1af4\n", "0x1066\n", Some("uio_pci_generic"));
        device(&root, "0000:00:01.0", "0x1af4\n", "0x1041\n", Some("uio_pci_generic"));
        device(&root, "0000:03:00.0", "0x1af4\n", "0x107e\n", Some("virtio-pci"));
        device(&root, "0000:04:00.0", "0x1af4\n", "0x107e\n", None);
        device(&root, "0000:05:00.0", "nonsense", "0x107e\n", Some("vfio-pci"));
        fs::create_dir_all(root.join("0000:06:00.0")).unwrap();

        let ids = [super::DEFAULT_ID, (0x1af4, 0x1066)];
        let found: Vec<_> = find(&root, &ids).into_iter().map(|device| (device.name, device.driver)).collect();
        let expected = [("0000:01:00.0", BoundDriver::Uio), ("0000:02:00.0", BoundDriver::Vfio)];
        assert_eq!(found, expected.map(|(name, driver)| (name.to_owned(), driver)));
        assert_eq!(find(&root, &[(1, 2)]), []);
        let whys: Vec<_> = all(&root, &ids).unwrap().into_iter().filter_map(Result::err).collect();
        assert_eq!(whys.len(), 2);
        assert!(whys[0].starts_with("0000:03:00.0: bound to virtio-pci"));
        assert!(whys[1].starts_with("0000:04:00.0: bound to no driver"));
        assert!(find(&root, &ids)[0].is_present());

        fs::remove_dir_all(&root).unwrap();
        assert_eq!(find(&root, &ids), []);
    }

    #[test]
    fn ids_are_read_and_nonsense_is_left_out() {
        assert_eq!(parse_ids("1af4:1066"), [(0x1af4, 0x1066)]);
        assert_eq!(parse_ids(" 1AF4:107E , 0x8086:0x10"), [(0x1af4, 0x107e), (0x8086, 0x10)]);
        assert_eq!(parse_ids("1af4:1066,,x:y,1af4,12345:1,1:2:3,:"), [(0x1af4, 0x1066)]);
        assert_eq!(parse_ids(""), []);
    }
}
