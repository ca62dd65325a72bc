//! What a client says over its socket: vhost-user messages, decoded by the `vhost` crate, and what each does to the rings,
//! the memory and the client. One thread for each connection. An error ends the connection.

use std::{fs::File, io, sync::Arc};

use gipsec_virtio::message::{CONTROL_QUEUE, feature};
use vhost::{
    VhostUserMemoryRegionBase,
    vhost_user::{
        Error, GpuBackend, Result, VhostUserBackendReqHandlerMut,
        message::{
            VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
            VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserSharedMsg,
            VhostUserSingleMemoryRegion, VhostUserVirtioFeatures, VhostUserVringAddrFlags, VhostUserVringState,
        },
    },
};
use virtio_queue::QueueT;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use crate::{
    backend::{Backend, QUEUE_SIZE},
    memory::{self, MAX_REGIONS},
    ring::{Event, Ring},
};

const PROTOCOL_FEATURES: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
/// What the device can do.
const OFFERED: u64 =
    feature::ALL | feature::INDIRECT_DESC | feature::EVENT_IDX | feature::VERSION_1 | PROTOCOL_FEATURES;

/// Memory of the driver: where it is for the driver's program and for its rings.
struct Mapping {
    user: u64,
    guest: u64,
    size: u64,
}

/// A connection's messages.
pub struct Messages {
    backend: Arc<Backend>,
    features: u64,
    mappings: Vec<Mapping>,
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::ReqHandlerError(io::Error::other(error))
}

/// What was not offered is not asked for.
fn not_offered<T>() -> Result<T> {
    Err(Error::InvalidOperation("not supported"))
}

fn map(region: &VhostUserMemoryRegion, file: File) -> Result<(GuestRegionMmap, Mapping)> {
    let mapping = Mapping { user: region.user_addr, guest: region.guest_phys_addr, size: region.memory_size };
    let mapped = GuestRegionMmap::new(region.mmap_region(file)?, GuestAddress(mapping.guest));
    Ok((mapped.ok_or(Error::InvalidParam)?, mapping))
}

impl Messages {
    /// Of a connection.
    pub fn new(backend: Arc<Backend>) -> Self {
        Self { backend, features: 0, mappings: Vec::new() }
    }

    fn ring(&self, index: u32) -> Result<(usize, &Ring)> {
        let index = usize::try_from(index).map_err(|_| Error::InvalidParam)?;
        Ok((index, self.backend.rings().get(index).ok_or(Error::InvalidParam)?))
    }

    /// Has the workers use other memory; when this returns, none uses what there was before.
    fn use_memory(&mut self, memory: GuestMemoryMmap, mappings: Vec<Mapping>) -> Result<()> {
        let checked = memory::check(&memory, self.backend.offer().memory, self.backend.client().limits().memory);
        // Nobody touches what was refused, nor what was there before.
        let (used, mappings) = if checked.is_ok() { (memory, mappings) } else { Default::default() };
        self.backend.set_memory(used);
        self.mappings = mappings;
        if let Err(error) = &checked {
            self.backend.end_after(&format_args!("its memory cannot be used: {error}"));
        }
        self.backend.wait_for_workers().map_err(Error::ReqHandlerError)?;
        checked.map_err(failed)
    }

    fn address(&self, user: u64) -> Result<GuestAddress> {
        let found = self.mappings.iter().find_map(|mapping| {
            let offset = user.checked_sub(mapping.user).filter(|offset| *offset < mapping.size)?;
            mapping.guest.checked_add(offset)
        });
        found.map(GuestAddress).ok_or(Error::InvalidParam)
    }

    fn event(&self, file: Option<File>) -> Result<Option<Event>> {
        file.map(Event::of_driver).transpose().map_err(|error| {
            self.backend.end_after(&error);
            failed(error)
        })
    }

    /// Starts a ring that has what it needs.
    fn start(&self, index: usize, ring: &Ring) {
        if ring.kick().is_some() {
            if index == CONTROL_QUEUE {
                self.backend.controlq_starts();
            }
            ring.lock().queue.set_ready(true);
            self.backend.wake(index / 2);
        }
    }
}

impl VhostUserBackendReqHandlerMut for Messages {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.features = 0;
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        self.backend.rings().iter().for_each(|ring| ring.lock().enabled = false);
        // What was taken is completed.
        self.backend.wait_for_workers().map_err(Error::ReqHandlerError)?;
        self.features = 0;
        self.backend.client().set_features(0);
        self.backend.client().detach();
        self.backend.wake_all();
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        self.backend.spoke();
        Ok(OFFERED)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & !OFFERED != 0 {
            return Err(Error::InvalidParam);
        }
        self.features = features;
        for (index, ring) in self.backend.rings().iter().enumerate() {
            let mut state = ring.lock();
            state.queue.set_event_idx(features & feature::EVENT_IDX != 0);
            // Otherwise VHOST_USER_SET_VRING_ENABLE says.
            if features & PROTOCOL_FEATURES == 0 {
                state.enabled = true;
                drop(state);
                self.backend.wake(index / 2);
            }
        }
        self.backend.client().set_features(features);
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let mapped = regions.iter().zip(files).map(|(region, file)| map(region, file)).collect::<Result<Vec<_>>>()?;
        let (mapped, mappings): (Vec<_>, Vec<_>) = mapped.into_iter().unzip();
        self.use_memory(GuestMemoryMmap::from_regions(mapped).map_err(failed)?, mappings)?;
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, size: u32) -> Result<()> {
        let (_, ring) = self.ring(index)?;
        let size = u16::try_from(size).ok().filter(|size| (1..=QUEUE_SIZE).contains(&usize::from(*size)));
        ring.lock().queue.set_size(size.ok_or(Error::InvalidParam)?);
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptors: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let (_, ring) = self.ring(index)?;
        let (descriptors, available, used) =
            (self.address(descriptors)?, self.address(available)?, self.address(used)?);
        let memory = self.backend.memory();
        let mut state = ring.lock();
        let queue = &mut state.queue;
        let set = queue
            .try_set_desc_table_address(descriptors)
            .and_then(|()| queue.try_set_avail_ring_address(available))
            .and_then(|()| queue.try_set_used_ring_address(used))
            // SET_VRING_BASE says where to go on taking; where to go on giving back is in the ring.
            .and_then(|()| queue.used_idx(&*memory, std::sync::atomic::Ordering::Relaxed));
        queue.set_next_used(set.map_err(|_| Error::InvalidParam)?.0);
        Ok(())
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let (_, ring) = self.ring(index)?;
        ring.lock().queue.set_next_avail(u16::try_from(base).map_err(|_| Error::InvalidParam)?);
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let (number, ring) = self.ring(index)?;
        ring.lock().queue.set_ready(false);
        self.backend.wake(number / 2);
        // What was taken is completed.
        self.backend.wait_for_worker(number / 2).map_err(Error::ReqHandlerError)?;
        ring.set_kick(None);
        ring.set_call(None);
        if number == CONTROL_QUEUE {
            self.backend.controlq_stopped();
        }
        let base = ring.lock().queue.next_avail();
        Ok(VhostUserVringState::new(index, u32::from(base)))
    }

    fn set_vring_kick(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let (number, ring) = self.ring(u32::from(index))?;
        if ring.lock().runs() {
            let why = "the eventfd of a ring that runs was replaced";
            self.backend.end_after(&why);
            return Err(Error::InvalidOperation(why));
        }
        ring.set_kick(self.event(file)?);
        self.start(number, ring);
        Ok(())
    }

    fn set_vring_call(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let (number, ring) = self.ring(u32::from(index))?;
        ring.set_call(self.event(file)?);
        self.start(number, ring);
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, _file: Option<File>) -> Result<()> {
        // A broken ring ends the connection, which says more.
        self.ring(u32::from(index)).map(drop)
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::RESET_DEVICE
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS)
    }

    fn set_protocol_features(&mut self, _features: u64) -> Result<()> {
        // The `vhost` crate looks at them.
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.backend.rings().len() as u64)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        if self.features & PROTOCOL_FEATURES == 0 {
            return Err(Error::InactiveFeature(VhostUserVirtioFeatures::PROTOCOL_FEATURES));
        }
        let (number, ring) = self.ring(index)?;
        ring.lock().enabled = enable;
        self.backend.wake(number / 2);
        Ok(())
    }

    fn get_config(&mut self, offset: u32, size: u32, _flags: VhostUserConfigFlags) -> Result<Vec<u8>> {
        Ok(self.backend.config(offset, size))
    }

    fn set_config(&mut self, _offset: u32, _bytes: &[u8], _flags: VhostUserConfigFlags) -> Result<()> {
        Err(Error::InvalidOperation("the configuration space is read-only"))
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Ok(MAX_REGIONS as u64)
    }

    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        file: File,
        _postcopy: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        let (mapped, mapping) = map(region, file)?;
        let memory = self.backend.memory().insert_region(Arc::new(mapped)).map_err(failed)?;
        let mut mappings = std::mem::take(&mut self.mappings);
        mappings.push(mapping);
        self.use_memory(memory, mappings)?;
        Ok(None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        let at = GuestAddress(region.guest_phys_addr);
        let (memory, _) = self.backend.memory().remove_region(at, region.memory_size).map_err(failed)?;
        let mut mappings = std::mem::take(&mut self.mappings);
        mappings.retain(|mapping| mapping.guest != at.0);
        self.use_memory(memory, mappings)
    }

    fn set_gpu_socket(&mut self, _socket: GpuBackend) -> Result<()> {
        not_offered()
    }

    fn get_shared_object(&mut self, _object: VhostUserSharedMsg) -> Result<File> {
        not_offered()
    }

    fn get_inflight_fd(&mut self, _inflight: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        not_offered()
    }

    fn set_inflight_fd(&mut self, _inflight: &VhostUserInflight, _file: File) -> Result<()> {
        not_offered()
    }

    fn set_device_state_fd(
        &mut self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _file: File,
    ) -> Result<Option<File>> {
        not_offered()
    }

    fn check_device_state(&mut self) -> Result<()> {
        not_offered()
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        not_offered()
    }

    fn set_log_base(&mut self, _log: &VhostUserLog, _file: File) -> Result<()> {
        not_offered()
    }
}
