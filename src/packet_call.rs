//! One packet call, single or multi, at once or later (R25, R26).

use std::sync::Arc;

use gipsec_accelerator::{
    Class, Entry, Error, Key, Outcome, Packets, Parts, SaEntry, Work,
    engine::{Buffers, Direction, MAX_BATCH, PacketError, Verdict},
};

use crate::{
    answer::{Callback, Manner},
    errno,
    guard::{caught, guarded},
    pointers::{NULL, required},
    process::registry,
    segments::{Job, lay_out, process_all},
    types::{ControlFlags, Data, Handle, Packet, PacketOutArgs, ResponseArgs, SaHandle},
    values::CTRL_FLAG_NO_RESP_EXPECTED,
};

/// Packets of a call at most.
const MAX_PACKETS: u32 = 65_536;

/// The packets of a call, as C describes them.
#[derive(Clone, Copy)]
pub(crate) enum Jobs {
    Single { count: u32, input: *mut Data, output: *mut Data },
    Multi { count: u32, input: *mut Packet, output: *mut Packet },
}

impl Jobs {
    /// How many packets there are.
    fn count(&self) -> u32 {
        match *self {
            Self::Single { .. } => 1,
            Self::Multi { count, .. } => count,
        }
    }

    /// What can be checked before a packet is looked at.
    fn check(&self) -> Result<(), Error> {
        let (null, count) = match *self {
            Self::Single { count, input, output } => (input.is_null() || output.is_null(), count),
            Self::Multi { count, input, output } => (input.is_null() || output.is_null(), count),
        };
        if null {
            return Err(NULL);
        }
        if count == 0 || self.count() > MAX_PACKETS {
            return Err(Error::Invalid("no packets or segments, or more than 65,536 packets"));
        }
        Ok(())
    }

    /// Each packet in turn.
    ///
    /// # Safety
    /// The header's contract: multi-packet arrays have as many entries as was said.
    unsafe fn iter(self) -> impl Iterator<Item = Job> {
        (0..self.count() as usize).map(move |index| match self {
            Self::Single { count, input, output } => Job::single(count, input, output),
            // SAFETY: this function's contract; `check` has seen that they are not NULL.
            Self::Multi { input, output, .. } => unsafe { Job::of(input.add(index), output.add(index)) },
        })
    }
}

/// A packet call as C makes it. It is not copied on its way: a structure that is copied while it is being written costs a
/// stalled load.
pub(crate) struct PacketCall<'a> {
    pub direction: Direction,
    pub handle: *const Handle,
    pub flags: ControlFlags,
    pub sa: *const SaHandle,
    pub jobs: Jobs,
    pub response: &'a ResponseArgs,
    /// Where the caller of a synchronous call wants each packet's result, or NULL.
    pub results: *mut i32,
}

impl PacketCall<'_> {
    /// Checks handles, flags and arrays, and processes the packets or queues them; 0 or minus an errno.
    ///
    /// # Safety
    /// The header's contract.
    pub(crate) unsafe fn run(&self) -> i32 {
        guarded(|| {
            // SAFETY: this function's contract.
            let (handle, sa) = unsafe { (required(self.handle)?, required(self.sa)?) };
            self.jobs.check()?;
            let callback = self.callback()?;
            let (client, group, sa) = (handle.client()?, handle.group()?, sa.sa()?);
            match callback {
                // SAFETY: the same.
                None => unsafe { self.process(client, group, sa) },
                // SAFETY: the same.
                Some(callback) => unsafe { self.queue(client, group, sa, callback) },
            }
        })
    }

    /// Whom to call back, of an asynchronous call.
    #[inline]
    fn callback(&self) -> Result<Option<Callback>, Error> {
        if self.flags == 0 {
            return Ok(None);
        }
        match Manner::new(self.flags, Some(*self.response))? {
            // The buffers would never come back.
            _ if self.flags & CTRL_FLAG_NO_RESP_EXPECTED != 0 => {
                Err(Error::Invalid("a packet call always has a response"))
            }
            Manner::Later(callback) => Ok(Some(callback)),
            Manner::Now | Manner::NowUnheard => Ok(None),
        }
    }

    /// # Safety
    /// The header's contract.
    #[inline]
    unsafe fn process(&self, client: Key, group: Option<Key>, sa: Key) -> Result<i32, Error> {
        let mut first = None;
        registry().with_sa(client, group, sa, self.direction, |sa| {
            // SAFETY: this function's contract.
            let jobs = unsafe { self.jobs.iter() };
            // SAFETY: the same.
            unsafe {
                process_all(
                    jobs,
                    |buffers, verdicts| sa.process(buffers, verdicts),
                    |place, verdict| {
                        if !self.results.is_null() {
                            let result = verdict.map_or_else(errno::of_packet, |_| 0);
                            self.results.add(place).write_unaligned(result);
                        }
                        if let Err(error) = verdict {
                            first = first.or(Some(error));
                        }
                    },
                );
            }
        })?;
        first.map_or(Ok(0), |error| Err(Error::Packet(error)))
    }

    /// # Safety
    /// The header's contract.
    #[cold]
    unsafe fn queue(&self, client: Key, group: Option<Key>, sa: Key, callback: Callback) -> Result<i32, Error> {
        let sa = registry().sa(client, group, sa, self.direction)?;
        // SAFETY: this function's contract.
        let jobs: Vec<Job> = unsafe { self.jobs.iter() }.collect();
        let count = jobs.len();
        // SAFETY: the same.
        let class = jobs.first().map_or_else(Class::default, |job| unsafe { job.class() });
        // SAFETY: the header's contract: segments and buffers are ours until the callback, before which these end.
        let whole = unsafe { lay_out(&jobs) };
        // What is not overwritten was not reached, because of a defect that was caught.
        let verdicts = vec![Err(PacketError::Crypto); count];
        let work = Queued { sa: sa.clone(), jobs, whole, verdicts, callback };
        match sa.value.group().submit(sa.lane(), class, Box::new(work)) {
            Ok(()) => Ok(0),
            Err((error, _)) => {
                if error == Error::QueueFull {
                    (0..count).for_each(|_| sa.refuse(PacketError::QueueFull));
                }
                Err(error)
            }
        }
    }
}

/// Packets that wait for a worker or a device, and then for their callback.
struct Queued {
    sa: Arc<Entry<SaEntry>>,
    jobs: Vec<Job>,
    /// Where they lie, if each lies in one piece.
    whole: Option<Vec<Buffers<'static>>>,
    verdicts: Vec<Verdict>,
    callback: Callback,
}

impl Packets for Queued {
    fn parts(&mut self) -> Option<Parts<'_>> {
        let Self { sa, whole, verdicts, .. } = self;
        whole.as_mut().map(|packets| Parts { sa, packets, verdicts })
    }

    fn settle(&mut self) {
        for (job, verdict) in self.jobs.iter().zip(&self.verdicts) {
            // SAFETY: the header's contract.
            unsafe { job.finish(verdict.unwrap_or(0)) };
        }
    }
}

impl Work for Queued {
    fn weight(&self) -> usize {
        self.jobs.len()
    }

    fn gains_together(&self) -> bool {
        self.sa.works_abreast()
    }

    fn packets(&mut self) -> Option<&mut dyn Packets> {
        Some(self)
    }

    fn run(&mut self, outcome: Outcome) {
        let Self { sa, jobs, whole, verdicts, .. } = self;
        let process = |buffers: &mut [Buffers<'_>], verdicts: &mut [Verdict]| match outcome {
            Outcome::Run => sa.process(buffers, verdicts),
            Outcome::Gone => verdicts.fill(Err(PacketError::Gone)),
        };
        let run = || {
            if let Some(packets) = whole {
                for (packets, verdicts) in packets.chunks_mut(MAX_BATCH).zip(verdicts.chunks_mut(MAX_BATCH)) {
                    process(packets, verdicts);
                }
                return Ok(());
            }
            // SAFETY: the header's contract: segments and buffers are ours until the callback.
            unsafe { process_all(jobs.iter().copied(), process, |place, verdict| verdicts[place] = verdict) };
            Ok(())
        };
        let _ = caught(run);
        if self.whole.is_some() {
            self.settle();
        }
    }

    fn deliver(mut self: Box<Self>) {
        // The buffers are the caller's again.
        self.whole = None;
        let results: Vec<i32> =
            self.verdicts.iter().map(|verdict| verdict.map_or_else(errno::of_packet, |_| 0)).collect();
        let mut outargs = PacketOutArgs {
            result: results.iter().copied().find(|result| *result != 0).unwrap_or(0),
            num_packets: u32::try_from(results.len()).unwrap_or(u32::MAX),
            results: results.as_ptr(),
        };
        self.callback.call((&raw mut outargs).cast());
    }
}
