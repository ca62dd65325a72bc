//! An SA of a device.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use arrayvec::ArrayVec;
use gipsec_engine::{
    Buffers, BundleEntry, Change, Direction, DropReason, Events, FlowPadding, MAX_BATCH, OutboundRules, PacketError,
    Parameters, Reading, Rules, Sa, SaError, Statistics, Verdict,
};
use parking_lot::Mutex;
use zerocopy::FromBytes;

use super::{Device, DriverError, Item, listeners::Asked};
use crate::message::{
    RequestStatus,
    control::{Command, Done, ReadFrom},
    data::{DUMMY, MAX_ROOM},
    reading,
};

/// What one entry of an SA adds to a packet at most, without traffic flow padding: an IPv6 header, UDP, WESP, the longest
/// ESP header, IV, padding, trailer and ICV, with room to spare.
const MOST_ADDED: usize = 256;

/// Packets for an SA.
pub struct Process<'a, 'b> {
    /// The SA.
    pub sa: &'a DeviceSa,
    /// Its packets.
    pub packets: &'a mut [Buffers<'b>],
    /// As many: what became of each.
    pub verdicts: &'a mut [Verdict],
}

/// An SA, or a bundle, of a device. It is deleted there when it is dropped.
pub struct DeviceSa {
    device: Arc<Device>,
    number: u64,
    direction: Direction,
    /// How many entries it has.
    count: usize,
    /// What a result is longer than its packet at most; None: no limit.
    growth: Option<usize>,
    /// Packets that never reached the device.
    refused: AtomicU64,
    /// What the SA had done when it was last asked.
    done: Mutex<Done>,
}

impl DeviceSa {
    pub(super) fn add(device: Arc<Device>, entries: Vec<BundleEntry>) -> Result<Self, DriverError> {
        let direction = entries.first().map_or(Direction::Outbound, |entry| entry.parameters.direction());
        let (count, growth) = (entries.len(), growth(&entries));
        // Before anything is written for one direction that is meant for the other.
        if entries.iter().any(|entry| entry.parameters.direction() != direction) {
            return Err(SaError::Invalid("the entries of a bundle are of two directions").into());
        }
        let asked = Asked::of(&entries);
        let command = Command::SaAdd { direction, entries };
        let listeners = &device.inner.listeners;
        listeners.adding();
        let added = device.exchange(&command).map_err(|error| why_not(error, command)).and_then(|answer| {
            let number = <[u8; 8]>::read_from_prefix(&answer);
            number.map(|(number, _)| u64::from_le_bytes(number)).map_err(|_| RequestStatus::Failed.into())
        });
        if !listeners.added(added.as_ref().ok().map(|number| (*number, asked))) {
            // Two SAs of one number.
            return Err(device.inner.lose().into());
        }
        Ok(Self {
            number: added?,
            direction,
            count,
            growth,
            refused: AtomicU64::new(0),
            done: Mutex::default(),
            device,
        })
    }

    /// The SA's direction.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Has `listener` told what the SA has to say, from now on and from before.
    pub fn listen(&self, listener: &Arc<dyn Fn(&Events) + Send + Sync>) {
        self.device.inner.listeners.listen(self.number, listener);
    }

    /// Bytes that the result of a packet has at most.
    fn most(&self, packet: &Buffers<'_>) -> usize {
        self.growth.map_or(MAX_ROOM, |growth| packet.input().len() + growth)
    }

    /// A packet on its way.
    pub(super) fn item<'a, 'b>(&self, buffers: &'a mut Buffers<'b>, verdict: &'a mut Verdict) -> Item<'a, 'b> {
        Item::new(self.number, self.most(buffers), buffers, verdict)
    }

    /// Has packets processed.
    pub fn process(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) {
        Self::process_together(&mut [Process { sa: self, packets, verdicts }]);
    }

    /// Has packets of several SAs processed, as if each call came in turn.
    pub fn process_together(calls: &mut [Process<'_, '_>]) {
        let mut left = calls;
        while let [first, ..] = &*left {
            let (device, direction) = (first.sa.device.clone(), first.sa.direction);
            let alike =
                |call: &Process<'_, '_>| Arc::ptr_eq(&call.sa.device, &device) && call.sa.direction == direction;
            let count = left.iter().take_while(|call| alike(call)).count();
            let (now, later) = left.split_at_mut(count);
            left = later;
            let mut items: ArrayVec<Item<'_, '_>, MAX_BATCH> = ArrayVec::new();
            for Process { sa, packets, verdicts } in now {
                for (buffers, verdict) in packets.iter_mut().zip(verdicts.iter_mut()) {
                    if items.is_full() {
                        device.run(direction, 0, &mut items);
                        items.clear();
                    }
                    items.push(sa.item(buffers, verdict));
                }
            }
            device.run(direction, 0, &mut items);
        }
    }

    /// Makes a dummy packet as long as one that carries `len` bytes.
    pub fn make_dummy(&self, len: usize, output: &mut [u8]) -> Result<Verdict, DriverError> {
        const WRONG: SaError =
            SaError::Invalid("dummy packets stand for 20 to 65,535 bytes, and are made by outbound ESP in tunnel mode");
        if self.direction == Direction::Inbound || !(20..=65_535).contains(&len) {
            return Err(WRONG.into());
        }
        let mut buffers = Buffers::Apart { input: &[], output };
        let mut verdict = Err(PacketError::Crypto);
        self.device.run(self.direction, DUMMY, &mut [Item::dummy(self.number, len, &mut buffers, &mut verdict)]);
        match verdict {
            Err(PacketError::Gone) => Err(DriverError::Gone),
            Err(PacketError::Segments) => Err(WRONG.into()),
            verdict => Ok(verdict),
        }
    }

    /// The longest packet that is encapsulated to at most `limit` bytes; None: there is none.
    pub fn largest_inner(&self, limit: usize) -> Result<Option<usize>, DriverError> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        match self.device.exchange(&Command::SaInnerLength { sa: self.number, limit }) {
            Ok(answer) => {
                let (length, _) = <[u8; 4]>::read_from_prefix(&answer).map_err(|_| RequestStatus::Failed)?;
                Ok(usize::try_from(u32::from_le_bytes(length)).ok())
            }
            Err(DriverError::Refused(RequestStatus::NotFound)) => Ok(None),
            Err(DriverError::Refused(RequestStatus::Invalid)) => {
                Err(SaError::Invalid("an inbound SA makes no packets longer").into())
            }
            Err(error) => Err(error),
        }
    }

    /// Changes the SA.
    pub fn modify(&self, change: &Change) -> Result<(), DriverError> {
        if matches!(change, Change::Replay { sequence: Some(_), .. }) {
            self.device.inner.listeners.renumbered(self.number);
        }
        match self.device.exchange(&Command::SaModify(self.number, *change)) {
            Ok(_) => Ok(()),
            Err(DriverError::Refused(RequestStatus::Invalid)) => {
                Err(SaError::Invalid("the SA has no such end, window or number, or not in that range").into())
            }
            Err(error) => Err(error),
        }
    }

    /// What each entry is and has done.
    pub fn read(&self) -> Result<Vec<Reading>, DriverError> {
        let command = Command::SaRead { from: ReadFrom::Exact(self.number), direction: self.direction, count: 1 };
        let answer = self.device.exchange(&command)?;
        let mut readings = answer.get(size_of::<reading::ReadingsHeader>()..).ok_or(RequestStatus::Failed)?;
        let mut entries = reading::decode(&mut readings).map_err(|_| RequestStatus::Failed)?.entries;
        if entries.len() != self.count {
            return Err(RequestStatus::Failed.into());
        }
        let first_met = match self.direction {
            Direction::Outbound => entries.first_mut(),
            Direction::Inbound => entries.last_mut(),
        };
        if let Some(Reading { statistics, drops, .. }) = first_met {
            let refused = &mut drops[DropReason::QueueFull as usize];
            *refused = refused.saturating_add(self.refused.load(Relaxed));
            *statistics = Statistics::new(statistics.packets_processed, statistics.bytes_processed, drops);
        }
        Ok(entries)
    }

    /// Packets that came all the way, and their payload bytes; what was last known when the device is gone.
    pub fn done(&self) -> (u64, u64) {
        let mut known = self.done.lock();
        if let Some(done) =
            self.device.exchange(&Command::SaStatistics(self.number)).ok().and_then(|answer| read_done(&answer))
        {
            *known = done;
        }
        (known.packets.get(), known.bytes.get())
    }

    /// Counts a packet that never reached the SA.
    pub fn refuse(&self, error: PacketError) {
        if error == PacketError::QueueFull {
            self.refused.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for DeviceSa {
    fn drop(&mut self) {
        self.device.inner.listeners.remove(self.number);
        // A device that is gone has forgotten it.
        let _ = self.device.exchange(&Command::SaDelete(self.number));
    }
}

fn read_done(answer: &[u8]) -> Option<Done> {
    Done::read_from_prefix(answer).ok().map(|(done, _)| done)
}

/// What results are longer than packets at most.
fn growth(entries: &[BundleEntry]) -> Option<usize> {
    let of_entry = |entry: &BundleEntry| match (&entry.parameters, entry.parameters.rules()) {
        // What is decompressed may be of any length.
        (Parameters::Compression(_), Rules::Inbound(_)) => None,
        (_, Rules::Outbound(OutboundRules { flow_padding, .. })) if *flow_padding != FlowPadding::default() => None,
        (_, Rules::Outbound(_)) => Some(MOST_ADDED),
        (Parameters::Ipsec(_), Rules::Inbound(_)) => Some(0),
    };
    entries.iter().map(of_entry).sum()
}

/// Why the device refuses an SA. It says no more than that: the engine, which is the same here, has the sentence.
#[cold]
fn why_not(error: DriverError, command: Command) -> DriverError {
    let DriverError::Refused(status) = error else { return error };
    let Command::SaAdd { entries, .. } = command else { return error };
    match (status, Sa::new(entries)) {
        (RequestStatus::Invalid | RequestStatus::Unsupported, Err(why)) => why.into(),
        (RequestStatus::Invalid, Ok(_)) => SaError::Invalid("the device takes this SA for invalid").into(),
        (RequestStatus::Unsupported, Ok(_)) => SaError::Unsupported("the device lacks what this SA needs").into(),
        _ => error,
    }
}
