//! The modern virtio device behind the bus (VIRTIO 1.2, sections 3.1.1 and 4.1): reset, features, queues, notifications.
//!
//! The registers of a queue are reached through a selector, so that they are touched only while a device is opened and
//! started, which nobody else does at that time. Afterwards any thread kicks, takes interrupts, and reads the status.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Once,
        atomic::{Ordering::SeqCst, fence},
    },
};

use rustix::event::{EventfdFlags, epoll, eventfd};

use super::{
    Bus, Mapped, Vectors, capability,
    common::{add_status, offered, read_config, register, reset, select, status},
};
use crate::{
    memory::Memory,
    message::{Config, MAX_PAIRS, feature},
    transport::{QueuePlace, Transport, TransportError},
};

/// No vector.
const NO_VECTOR: u16 = 0xffff;
/// VIRTIO_F_ORDER_PLATFORM: stores reach the device in the order that the platform has for devices.
const ORDER_PLATFORM: u64 = 1 << 36;

/// A queue that is set up.
#[derive(Clone, Copy)]
struct Queue {
    vector: u16,
    /// Where it is notified.
    notify: usize,
}

/// A virtio device on the bus.
pub struct Pci {
    common: Mapped,
    notify: Mapped,
    /// Until the interrupts are set up.
    isr: Option<Mapped>,
    multiplier: usize,
    features: u64,
    config: Config,
    /// Descriptors of each queue at most.
    sizes: Vec<u16>,
    memory: Arc<Memory>,
    /// By number.
    queues: Vec<Option<Queue>>,
    shared: bool,
    config_vector: Option<u16>,
    /// Readable when one of what may announce a loss is.
    loss: OwnedFd,
    /// The device has said that its configuration, or its status, has changed.
    changed: OwnedFd,
    started: bool,
    stopped: Once,
    /// Goes last: the kernel waits for who holds a mapping.
    bus: Box<dyn Bus>,
}

impl Pci {
    /// Resets a device, and reads what it offers.
    pub(super) fn open(mut bus: Box<dyn Bus>, pool_bytes: usize) -> Result<Self, TransportError> {
        let layout = capability::read(&bus.config_space()?, &bus.bar_sizes())?;
        bus.set_mastering(true)?;
        let map = |window| Mapped::new(&*bus, window);
        let (common, notify, isr) = (map(layout.common)?, map(layout.notify)?, map(layout.isr)?);
        let device = map(layout.device)?;
        if !reset(&common, &*bus) {
            return Err(TransportError("it does not end its reset".into()));
        }
        add_status(&common, status::ACKNOWLEDGE);
        add_status(&common, status::DRIVER);
        if common.load::<u8>(register::STATUS) != status::ACKNOWLEDGE | status::DRIVER {
            return Err(TransportError("it does not take a status".into()));
        }
        let features = offered(&common);
        if features & feature::VERSION_1 == 0 {
            return Err(TransportError("it does not offer VIRTIO_F_VERSION_1".into()));
        }
        let config = read_config(&common, &device)?;
        let count = usize::from(common.load::<u16>(register::NUM_QUEUES)).min(2 + 2 * MAX_PAIRS);
        let sizes = (0..count)
            .map(|queue| {
                select(&common, queue);
                common.load(register::QUEUE_SIZE)
            })
            .collect();
        let memory = bus.memory(pool_bytes, features & feature::ACCESS_PLATFORM == 0)?;

        let failed = |why: rustix::io::Errno| TransportError::new("an event descriptor", why);
        let changed = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed)?;
        let loss = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
        let watch =
            |fd: BorrowedFd<'_>, flags| epoll::add(&loss, fd, epoll::EventData::new_u64(0), flags).map_err(failed);
        watch(changed.as_fd(), epoll::EventFlags::IN)?;
        for (fd, flags) in bus.loss() {
            watch(fd, flags)?;
        }
        Ok(Self {
            common,
            notify,
            isr: Some(isr),
            multiplier: layout.multiplier as usize,
            features,
            config,
            sizes,
            memory,
            queues: vec![None; count],
            shared: false,
            config_vector: None,
            loss,
            changed,
            started: false,
            stopped: Once::new(),
            bus,
        })
    }

    /// Accepts features; the device has to agree.
    fn accept(&self, features: u64) -> Result<(), TransportError> {
        // What says how the device reaches memory is not the driver's business. The order of a platform's stores is that of
        // this code where all stores are ordered.
        let platform = if cfg!(target_arch = "x86_64") { ORDER_PLATFORM } else { 0 } | feature::ACCESS_PLATFORM;
        let accepted = features | self.features & platform;
        if accepted & !self.features != 0 {
            return Err(TransportError("a feature that it does not offer".into()));
        }
        for half in [0u32, 1] {
            self.common.store(register::DRIVER_FEATURE_SELECT, half);
            #[expect(clippy::cast_possible_truncation, reason = "one half after the other")]
            self.common.store(register::DRIVER_FEATURE, (accepted >> (32 * half)) as u32);
        }
        add_status(&self.common, status::FEATURES_OK);
        match self.common.load::<u8>(register::STATUS) & status::FEATURES_OK {
            0 => Err(TransportError("it does not take the features".into())),
            _ => Ok(()),
        }
    }

    /// Hands the interrupts out.
    fn set_up_interrupts(&mut self, queues: usize) -> Result<Vectors, TransportError> {
        let isr = self.isr.take().ok_or_else(|| TransportError("it was started before".into()))?;
        let vectors = self.bus.interrupts(queues, isr)?;
        if vectors.messages {
            let vector = vectors.config.unwrap_or(NO_VECTOR);
            self.common.store(register::CONFIG_VECTOR, vector);
            if self.common.load::<u16>(register::CONFIG_VECTOR) != vector {
                return Err(TransportError("it does not take an interrupt vector".into()));
            }
        }
        if let Some(event) = vectors.config.and_then(|vector| self.bus.interrupt(vector)) {
            epoll::add(&self.loss, event, epoll::EventData::new_u64(0), epoll::EventFlags::IN)
                .map_err(|why| TransportError::new("watching an interrupt", why))?;
        }
        self.config_vector = vectors.config;
        self.shared = !vectors.messages || vectors.shared();
        Ok(vectors)
    }

    /// Checks that a piece of a queue is one piece to the device.
    fn address(&self, offset: usize, length: usize) -> Result<u64, TransportError> {
        let granule = self.memory.granule();
        if offset.checked_add(length).is_none_or(|end| end > self.memory.len()) || offset % granule + length > granule {
            return Err(TransportError("a queue does not lie in one piece".into()));
        }
        Ok(self.memory.device_address(offset))
    }

    /// Sets a queue up.
    fn set_up(&mut self, place: &QueuePlace, vector: u16, messages: bool) -> Result<(), TransportError> {
        let failed = |why: &str| TransportError(format!("queue {}: {why}", place.queue));
        if !place.size.is_power_of_two() || place.size > self.max_queue_size(place.queue) {
            return Err(failed("it takes fewer descriptors"));
        }
        let size = usize::from(place.size);
        let addresses = [
            (register::QUEUE_DESCRIPTORS, self.address(place.descriptors, 16 * size)?),
            (register::QUEUE_AVAILABLE, self.address(place.available, 6 + 2 * size)?),
            (register::QUEUE_USED, self.address(place.used, 6 + 8 * size)?),
        ];
        let common = &self.common;
        select(common, place.queue);
        let notify = usize::from(common.load::<u16>(register::QUEUE_NOTIFY_OFF)).saturating_mul(self.multiplier);
        if notify.saturating_add(size_of::<u16>()) > self.notify.len() {
            return Err(failed("it is notified where there is nothing"));
        }
        common.store(register::QUEUE_SIZE, place.size);
        if messages {
            common.store(register::QUEUE_VECTOR, vector);
            if common.load::<u16>(register::QUEUE_VECTOR) != vector {
                return Err(failed("it does not take an interrupt vector"));
            }
        }
        for (register, address) in addresses {
            // Two halves: a register of 64 bits need not take them at once.
            #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
            common.store(register, address as u32);
            common.store(register + 4, (address >> 32) as u32);
        }
        common.store(register::QUEUE_ENABLE, 1u16);
        if let Some(slot) = self.queues.get_mut(place.queue) {
            *slot = Some(Queue { vector, notify });
        }
        Ok(())
    }

    fn try_start(&mut self, features: u64, queues: &[QueuePlace]) -> Result<(), TransportError> {
        self.accept(features)?;
        let vectors = self.set_up_interrupts(queues.len())?;
        for (place, vector) in queues.iter().zip(&vectors.queues) {
            self.set_up(place, *vector, vectors.messages)?;
        }
        add_status(&self.common, status::DRIVER_OK);
        match self.common.load::<u8>(register::STATUS) {
            now if now & (status::DRIVER_OK | status::NEEDS_RESET) == status::DRIVER_OK && now != 0xff => Ok(()),
            now => Err(TransportError(format!("it does not start: its status is {now:#04x}"))),
        }
    }

    fn queue(&self, queue: usize) -> Option<&Queue> {
        self.queues.get(queue)?.as_ref()
    }

    /// What the status register says.
    fn has_failed(&self) -> bool {
        let now: u8 = self.common.load(register::STATUS);
        now == 0xff || now & status::NEEDS_RESET != 0 || self.started && now & status::DRIVER_OK == 0
    }
}

impl Transport for Pci {
    fn features(&self) -> u64 {
        self.features & !feature::ACCESS_PLATFORM & !ORDER_PLATFORM
    }

    fn config(&self) -> Config {
        self.config
    }

    fn max_queue_size(&self, queue: usize) -> u16 {
        self.sizes.get(queue).copied().unwrap_or(0)
    }

    fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    fn start(&mut self, features: u64, queues: &[QueuePlace]) -> Result<(), TransportError> {
        let started = self.try_start(features, queues);
        match started {
            Ok(()) => self.started = true,
            Err(_) => self.stop(),
        }
        started
    }

    fn kick(&self, queue: usize) {
        if let Some(known) = self.queue(queue) {
            // What was made available is in memory before the device hears of it.
            fence(SeqCst);
            self.notify.store(known.notify, u16::try_from(queue).unwrap_or(u16::MAX));
        }
    }

    fn interrupt(&self, queue: usize) -> Option<BorrowedFd<'_>> {
        self.queue(queue).and_then(|known| self.bus.interrupt(known.vector))
    }

    fn take_interrupt(&self, queue: usize) {
        if self.queue(queue).is_some_and(|known| self.bus.take_interrupt(known.vector)) {
            let _ = rustix::io::write(&self.changed, &1u64.to_ne_bytes());
        }
    }

    fn shares_interrupts(&self) -> bool {
        self.shared
    }

    fn loss(&self) -> BorrowedFd<'_> {
        self.loss.as_fd()
    }

    fn is_lost(&self) -> bool {
        // Taken before the look, so that a change after it is not lost.
        let _ = rustix::io::read(&self.changed, &mut [0; 8]);
        if let Some(vector) = self.config_vector {
            self.bus.take_interrupt(vector);
        }
        let lost = self.bus.is_gone() || self.has_failed();
        if lost {
            let _ = rustix::io::write(&self.changed, &1u64.to_ne_bytes());
        }
        lost
    }

    fn stop(&self) {
        self.stopped.call_once(|| {
            reset(&self.common, &*self.bus);
            // Even if it does not end its reset, it reaches no memory any more.
            self.bus.revoke();
            // Others sleep until there is an answer, or this.
            let _ = rustix::io::write(&self.changed, &1u64.to_ne_bytes());
        });
    }
}

impl Drop for Pci {
    fn drop(&mut self) {
        self.stop();
    }
}
