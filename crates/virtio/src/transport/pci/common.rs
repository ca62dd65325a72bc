//! The common configuration of a virtio device (VIRTIO 1.2, section 4.1.4.3), and what is done with it alone. Nothing that
//! it shows is trusted, and nothing waited for without a bound. Called by one thread at a time, but for [`reset`].

use std::time::{Duration, Instant};

use zerocopy::FromBytes;

use super::{Bus, Mapped};
use crate::{message::Config, transport::TransportError};

/// Registers of the common configuration.
pub(super) mod register {
    pub(in super::super) const DEVICE_FEATURE_SELECT: usize = 0;
    pub(in super::super) const DEVICE_FEATURE: usize = 4;
    pub(in super::super) const DRIVER_FEATURE_SELECT: usize = 8;
    pub(in super::super) const DRIVER_FEATURE: usize = 12;
    pub(in super::super) const CONFIG_VECTOR: usize = 16;
    pub(in super::super) const NUM_QUEUES: usize = 18;
    pub(in super::super) const STATUS: usize = 20;
    pub(in super::super) const CONFIG_GENERATION: usize = 21;
    pub(in super::super) const QUEUE_SELECT: usize = 22;
    pub(in super::super) const QUEUE_SIZE: usize = 24;
    pub(in super::super) const QUEUE_VECTOR: usize = 26;
    pub(in super::super) const QUEUE_ENABLE: usize = 28;
    pub(in super::super) const QUEUE_NOTIFY_OFF: usize = 30;
    pub(in super::super) const QUEUE_DESCRIPTORS: usize = 32;
    pub(in super::super) const QUEUE_AVAILABLE: usize = 40;
    pub(in super::super) const QUEUE_USED: usize = 48;
}

/// Bits of the status.
pub(super) mod status {
    pub(in super::super) const ACKNOWLEDGE: u8 = 1;
    pub(in super::super) const DRIVER: u8 = 2;
    pub(in super::super) const DRIVER_OK: u8 = 4;
    pub(in super::super) const FEATURES_OK: u8 = 8;
    pub(in super::super) const NEEDS_RESET: u8 = 64;
}

/// How long a reset may take.
const RESET_PATIENCE: Duration = Duration::from_secs(2);
/// How often the configuration may change under our eyes.
const CONFIG_ATTEMPTS: usize = 16;

/// Resets the device, and waits until it has done so; whether it has, or is gone.
pub(super) fn reset(common: &Mapped, bus: &dyn Bus) -> bool {
    common.store(register::STATUS, 0u8);
    let begun = Instant::now();
    loop {
        match common.load::<u8>(register::STATUS) {
            0 | 0xff => return true,
            _ if bus.is_gone() => return true,
            _ if begun.elapsed() > RESET_PATIENCE => return false,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Adds bits to the status.
pub(super) fn add_status(common: &Mapped, bits: u8) {
    let status: u8 = common.load(register::STATUS);
    common.store(register::STATUS, status | bits);
}

/// The features that the device offers.
pub(super) fn offered(common: &Mapped) -> u64 {
    [0u32, 1].into_iter().fold(0, |features, half| {
        common.store(register::DEVICE_FEATURE_SELECT, half);
        features | u64::from(common.load::<u32>(register::DEVICE_FEATURE)) << (32 * half)
    })
}

/// The device's configuration, of one moment.
pub(super) fn read_config(common: &Mapped, device: &Mapped) -> Result<Config, TransportError> {
    for _ in 0..CONFIG_ATTEMPTS {
        let before: u8 = common.load(register::CONFIG_GENERATION);
        // Each field by its own width: all are of 32 bits, or halves of 64, but those of the word at 20.
        let mut bytes = [0; size_of::<Config>()];
        for (word, at) in bytes.chunks_exact_mut(4).zip((0..).step_by(4)) {
            let value = match at {
                20 => {
                    let features = device.load::<u16>(at).to_le_bytes();
                    [features[0], features[1], device.load(at + 2), device.load(at + 3)]
                }
                _ => device.load::<u32>(at).to_le_bytes(),
            };
            word.copy_from_slice(&value);
        }
        if common.load::<u8>(register::CONFIG_GENERATION) == before {
            return Config::read_from_bytes(&bytes).map_err(|_| TransportError("the configuration is cut".into()));
        }
    }
    Err(TransportError("its configuration never stops changing".into()))
}

/// Chooses the queue that the registers speak of.
pub(super) fn select(common: &Mapped, queue: usize) {
    common.store(register::QUEUE_SELECT, u16::try_from(queue).unwrap_or(u16::MAX));
}
