//! The seam between applications and what processes packets.

use std::sync::Arc;

use gipsec_engine::{Buffers, BundleEntry, Change, Direction, Events, PacketError, Reading, Sa, Verdict};
use gipsec_virtio::driver::{Device, DeviceSa, SharedBuffer};

use crate::{Capabilities, Error, OpenError, OpenMode};

/// Finds accelerators, each time it is asked.
pub trait Discovery: Send + Sync {
    /// Those that are there now.
    fn find(&self) -> Vec<Found>;
}

/// An accelerator that was found.
pub struct Found {
    /// Its name, 1 to 15 bytes.
    pub name: String,
    /// PCI vendor and device, or what stands for them.
    pub identity: (u16, u16),
    /// How it is reached.
    pub provider: Box<dyn Provider>,
}

/// What is called, once, when an accelerator is lost.
pub type OnLost = Box<dyn FnOnce() + Send>;

/// An accelerator that nobody in this process uses yet.
pub trait Provider: Send + Sync {
    /// Whether an open in some mode would succeed.
    fn is_available(&self) -> bool;

    /// Takes it, for all who open it in this process until it is dropped. `application` is the first of them.
    fn open(&self, mode: OpenMode, application: &str, on_lost: OnLost) -> Result<Arc<dyn Accelerator>, OpenError>;
}

/// Something that holds SAs and processes packets: the software engine, or a device.
pub trait Accelerator: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes an SA, or a bundle (R33). It lives until it is dropped.
    fn add_sa(&self, entries: Vec<BundleEntry>) -> Result<Box<dyn Association>, Error>;

    /// Whether it is lost, which its users may not have been told yet.
    fn is_lost(&self) -> bool {
        false
    }

    /// The device, if it is one.
    fn device(&self) -> Option<&Device> {
        None
    }

    /// Memory that packets travel in without being copied; None: it has none, or none left.
    fn allocate(&self, len: usize) -> Option<SharedBuffer> {
        let _ = len;
        None
    }

    /// Processes calls of several of its SAs as if each came in turn; together they may take less time. At most
    /// [`MAX_BATCH`](gipsec_engine::MAX_BATCH) packets.
    fn process_together(&self, calls: &mut [Call<'_, '_>]) {
        for call in calls {
            *call.events = call.association.process(call.packets, call.verdicts);
        }
    }
}

/// Packets for one SA.
pub struct Call<'a, 'b> {
    /// The SA.
    pub association: &'a dyn Association,
    /// Its packets.
    pub packets: &'a mut [Buffers<'b>],
    /// As many: what became of each.
    pub verdicts: &'a mut [Verdict],
    /// What is worth telling.
    pub events: &'a mut Events,
}

/// One SA or bundle of an accelerator, in its direction. Every method may be called from many threads at once.
pub trait Association: Send + Sync {
    /// Its direction.
    fn direction(&self) -> Direction;

    /// The engine's SA, if it is one.
    fn software(&self) -> Option<&Sa> {
        None
    }

    /// The device's SA, if it is one.
    fn device(&self) -> Option<&DeviceSa> {
        None
    }

    /// Has `listener` told what the SA has to say when it is not processing packets.
    fn listen(&self, listener: Arc<dyn Fn(&Events) + Send + Sync>) {
        let _ = listener;
    }

    /// Whether its packets take less time together with those of other SAs than alone.
    fn works_abreast(&self) -> bool {
        false
    }

    /// Encapsulates or decapsulates `packets` in order; `verdicts` has as many entries. Neither allocates nor blocks.
    fn process(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events;

    /// Makes a packet that the receiver drops without a word, as long as one that carries `len` bytes.
    fn make_dummy(&self, len: usize, output: &mut [u8]) -> Result<(Verdict, Events), Error>;

    /// The longest packet that is encapsulated to at most `limit` bytes; None: there is none.
    fn largest_inner(&self, limit: usize) -> Result<Option<usize>, Error>;

    /// Changes addresses, ports, sequence number or window (R31).
    fn modify(&self, change: &Change) -> Result<(), Error>;

    /// What each entry is now, without its keys, and what it has done.
    fn read(&self) -> Result<Vec<Reading>, Error>;

    /// Packets that came all the way, and the payload bytes in them.
    fn done(&self) -> (u64, u64);

    /// Counts a packet that never reached the SA.
    fn refuse(&self, error: PacketError);
}
