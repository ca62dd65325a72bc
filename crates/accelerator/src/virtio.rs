//! Virtio IPsec devices as accelerators: how they are found, and what the driver says in the words of this crate.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrayvec::ArrayVec;
use gipsec_engine::{Buffers, BundleEntry, Change, Direction, Events, MAX_BATCH, PacketError, Reading, Verdict};
use gipsec_virtio::{
    driver::{Device, DeviceSa, DriverError, Options, Process, SharedBuffer},
    message::{
        RequestStatus,
        config::{OPEN_EXCLUSIVE, OPEN_SHARED},
        control::AttachMode,
        feature,
    },
    transport::{
        Transport, TransportError,
        pci::{self, PciDevice},
        vhost_user::{VhostUser, probe},
    },
};

use crate::{
    Accelerator, Association, Call, Capabilities, CipherAlgorithms, CombinedAlgorithms, Discovery, Error, Features,
    Found, IntegrityAlgorithms, OpenError, OpenMode, Provider, deferral::Backlog, error::GONE, queue::CLASSES,
    seam::OnLost,
};

/// Devices behind Unix sockets: each `NAME.sock` of a directory is one.
pub struct Sockets {
    /// The directory.
    pub directory: PathBuf,
    /// PCI vendor and device that they answer to.
    pub identity: (u16, u16),
    /// Bytes of memory that is shared with each.
    pub pool_bytes: usize,
    /// How they are used.
    pub options: Options,
}

impl Discovery for Sockets {
    fn find(&self) -> Vec<Found> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return Vec::new() };
        let mut sockets: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| is_socket(path)).collect();
        sockets.sort();
        let found = |path: PathBuf| {
            let name = path.file_stem()?.to_str()?.to_owned();
            let provider = Socket { name: name.clone(), path, pool_bytes: self.pool_bytes, options: self.options };
            Some(Found { name, identity: self.identity, provider: Box::new(provider) })
        };
        sockets.into_iter().filter_map(found).collect()
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.extension() == Some(OsStr::new("sock"))
        && path.metadata().is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// A device behind a socket.
struct Socket {
    name: String,
    path: PathBuf,
    pool_bytes: usize,
    options: Options,
}

impl Provider for Socket {
    fn is_available(&self) -> bool {
        probe(&self.path).is_ok_and(|config| config.open_modes & (OPEN_EXCLUSIVE | OPEN_SHARED) != 0)
    }

    fn open(&self, mode: OpenMode, application: &str, on_lost: OnLost) -> Result<Arc<dyn Accelerator>, OpenError> {
        open(&self.name, mode, application, self.options, on_lost, || {
            Ok(Box::new(VhostUser::open(&self.path, self.pool_bytes)?))
        })
    }
}

/// Devices on the PCI bus that uio_pci_generic or vfio-pci holds; each is one process's at a time.
pub struct PciDevices {
    /// Bytes of memory that is shared with each.
    pub pool_bytes: usize,
    /// How they are used.
    pub options: Options,
}

impl Discovery for PciDevices {
    fn find(&self) -> Vec<Found> {
        let found = |device: PciDevice| Found {
            name: device.name.clone(),
            identity: device.id,
            provider: Box::new(OnBus { device, pool_bytes: self.pool_bytes, options: self.options }),
        };
        PciDevice::all().into_iter().map(found).collect()
    }
}

/// A device on the PCI bus.
struct OnBus {
    device: PciDevice,
    pool_bytes: usize,
    options: Options,
}

impl Provider for OnBus {
    fn is_available(&self) -> bool {
        self.device.is_free()
    }

    fn open(&self, mode: OpenMode, application: &str, on_lost: OnLost) -> Result<Arc<dyn Accelerator>, OpenError> {
        if self.device.is_present() && !self.device.is_free() {
            return Err(Error::Busy.into());
        }
        open(&self.device.name, mode, application, self.options, on_lost, || {
            Ok(Box::new(pci::open(&self.device, self.pool_bytes)?))
        })
    }
}

/// Takes a device; an error says which one, and why.
fn open(
    name: &str,
    mode: OpenMode,
    application: &str,
    options: Options,
    on_lost: OnLost,
    reach: impl FnOnce() -> Result<Box<dyn Transport>, TransportError>,
) -> Result<Arc<dyn Accelerator>, OpenError> {
    let mode = match mode {
        OpenMode::Exclusive => AttachMode::Exclusive,
        OpenMode::Shared => AttachMode::Shared,
    };
    let device = reach().map_err(DriverError::from).and_then(|transport| {
        let options = Options { line: || Box::<Backlog>::default(), ..options };
        Device::open(transport, mode, application, options, on_lost)
    });
    match device {
        Ok(device) => Ok(Arc::new(Virtio(device))),
        Err(DriverError::Refused(status @ (RequestStatus::Busy | RequestStatus::Full))) => {
            let why = match status {
                RequestStatus::Full => "it has as many clients as it takes",
                _ => "somebody has it open in a mode that conflicts, or it is not opened in this one",
            };
            Err(OpenError { error: Error::Busy, why: Some(format!("{name}: {why}")) })
        }
        Err(DriverError::System(what)) => Err(Error::System(what).into()),
        Err(why) => Err(OpenError { error: UNREACHED, why: Some(format!("{name}: {why}")) }),
    }
}

/// Nobody is there, or does not answer as a virtio IPsec device does.
const UNREACHED: Error = Error::NoDevice("the accelerator cannot be reached");

/// A device that this process has open.
struct Virtio(Arc<Device>);

impl From<DriverError> for Error {
    fn from(error: DriverError) -> Self {
        match error {
            DriverError::Gone | DriverError::Transport(_) => GONE,
            DriverError::Sa(error) => error.into(),
            DriverError::System(what) => Self::System(what),
            DriverError::Refused(status) => match status {
                RequestStatus::Invalid => Self::Invalid("the device takes this for invalid"),
                RequestStatus::Unsupported => Self::Unsupported("the device lacks this"),
                RequestStatus::NotFound => Self::NotFound("the device knows no such SA"),
                RequestStatus::Full => Self::Full("SAs of the device"),
                RequestStatus::Busy => Self::Busy,
                RequestStatus::NotAttached => GONE,
                RequestStatus::Ok | RequestStatus::NoRoom | RequestStatus::Failed => Self::Packet(PacketError::Crypto),
            },
        }
    }
}

/// What of a device's features works with what was negotiated (R36).
fn usable(features: u16, negotiated: u64) -> Features {
    let needed = [
        (Features::SCATTER_GATHER, feature::SG),
        (Features::AH, feature::AH),
        (Features::WESP, feature::WESP),
        (Features::IPCOMP, feature::IPCOMP),
        (Features::MULTI_SEC, feature::SA_BUNDLES),
        (Features::UDP_ENCAP, feature::UDP_ENCAPSULATION),
        (Features::ESN, feature::ESN),
        (Features::TFC, feature::TFC),
        (Features::ECN, feature::ECN),
        (Features::DF, feature::DF),
        (Features::ANTI_REPLAY, feature::ANTI_REPLAY),
        (Features::IPV6, feature::IPV6),
        (Features::SOFT_LIFETIME_NOTIFY, feature::NOTIFY_LIFETIME),
        (Features::SEQUENCE_OVERFLOW_NOTIFY, feature::NOTIFY_SEQNUM_OVERFLOW),
        (Features::SEQUENCE_PERIODIC_NOTIFY, feature::NOTIFY_SEQNUM_PERIODIC),
    ];
    let lacking: Features = needed.into_iter().filter(|(_, bit)| negotiated & bit == 0).map(|(name, _)| name).collect();
    Features::from_bits_truncate(features) - lacking
}

impl Accelerator for Virtio {
    fn capabilities(&self) -> Capabilities {
        let config = self.0.config();
        Capabilities {
            features: usable(config.features.get(), self.0.features()),
            // Classes are this side's own.
            dscp_queues: u8::try_from(CLASSES).unwrap_or(u8::MAX),
            integrity: IntegrityAlgorithms::from_bits_truncate(config.integrity.get()),
            cipher: CipherAlgorithms::from_bits_truncate(config.cipher.get()),
            combined: CombinedAlgorithms::from_bits_truncate(config.combined.get()),
        }
    }

    fn add_sa(&self, entries: Vec<BundleEntry>) -> Result<Box<dyn Association>, Error> {
        Ok(Box::new(self.0.add_sa(entries)?))
    }

    fn is_lost(&self) -> bool {
        self.0.is_lost()
    }

    fn device(&self) -> Option<&Device> {
        Some(&self.0)
    }

    fn allocate(&self, len: usize) -> Option<SharedBuffer> {
        self.0.allocate(len)
    }

    fn process_together(&self, calls: &mut [Call<'_, '_>]) {
        let mut together: ArrayVec<Process<'_, '_>, MAX_BATCH> = ArrayVec::new();
        for Call { association, packets, verdicts, events } in calls {
            match association.device() {
                Some(sa) if !together.is_full() => together.push(Process { sa, packets, verdicts }),
                // Not reached: the SAs are this accelerator's, and no call is without a packet.
                _ => **events = association.process(packets, verdicts),
            }
        }
        DeviceSa::process_together(&mut together);
    }
}

impl Association for DeviceSa {
    fn direction(&self) -> Direction {
        self.direction()
    }

    fn device(&self) -> Option<&DeviceSa> {
        Some(self)
    }

    fn listen(&self, listener: Arc<dyn Fn(&Events) + Send + Sync>) {
        self.listen(&listener);
    }

    /// One request takes packets of many SAs.
    fn works_abreast(&self) -> bool {
        true
    }

    fn process(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events {
        self.process(packets, verdicts);
        // What there is to tell comes through the device's events.
        Events::default()
    }

    fn make_dummy(&self, len: usize, output: &mut [u8]) -> Result<(Verdict, Events), Error> {
        Ok((self.make_dummy(len, output)?, Events::default()))
    }

    fn largest_inner(&self, limit: usize) -> Result<Option<usize>, Error> {
        Ok(self.largest_inner(limit)?)
    }

    fn modify(&self, change: &Change) -> Result<(), Error> {
        Ok(self.modify(change)?)
    }

    fn read(&self) -> Result<Vec<Reading>, Error> {
        Ok(self.read()?)
    }

    fn done(&self) -> (u64, u64) {
        self.done()
    }

    fn refuse(&self, error: PacketError) {
        self.refuse(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_shown_when_it_was_negotiated() {
        assert_eq!(usable(u16::MAX, feature::ALL), Features::all());
        assert_eq!(usable(u16::MAX, 0), Features::ESP);
        assert_eq!(usable(0, feature::ALL), Features::empty());
        assert_eq!(usable(u16::MAX, feature::ESN | feature::IPCOMP), Features::ESP | Features::ESN | Features::IPCOMP);
    }

    #[test]
    fn an_error_says_which_device_cannot_be_opened_and_why() {
        let directory = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(directory.path().join("ipsec7.sock")).unwrap());
        let sockets = Sockets {
            directory: directory.path().to_owned(),
            identity: (0, 0),
            pool_bytes: 1 << 20,
            options: Options::default(),
        };
        let found = sockets.find();
        let why = found[0].provider.open(OpenMode::Shared, "test", Box::new(|| ())).err().unwrap();
        assert_eq!(why.error, UNREACHED);
        let path = directory.path().join("ipsec7.sock");
        assert_eq!(why.to_string(), format!("ipsec7: nobody listens at {}", path.display()));
    }
}
