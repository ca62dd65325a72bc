//! The software accelerator: the engine, in the caller's own threads.

use std::sync::Arc;

use arrayvec::ArrayVec;
use gipsec_engine::{
    self as engine, Buffers, BundleEntry, Change, Direction, Events, MAX_BATCH, PacketError, Reading, Sa, Verdict,
};

use crate::{
    Accelerator, Association, Call, Capabilities, CipherAlgorithms, CombinedAlgorithms, Error, Features,
    IntegrityAlgorithms, OpenError, OpenMode, Provider, queue::CLASSES, seam::OnLost,
};

/// The engine as an accelerator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Soft;

impl Provider for Soft {
    fn is_available(&self) -> bool {
        true
    }

    fn open(&self, _: OpenMode, _: &str, _: OnLost) -> Result<Arc<dyn Accelerator>, OpenError> {
        Ok(Arc::new(*self))
    }
}

impl Accelerator for Soft {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            features: Features::all(),
            dscp_queues: u8::try_from(CLASSES).unwrap_or(u8::MAX),
            integrity: IntegrityAlgorithms::all(),
            cipher: CipherAlgorithms::all(),
            combined: CombinedAlgorithms::all(),
        }
    }

    fn add_sa(&self, entries: Vec<BundleEntry>) -> Result<Box<dyn Association>, Error> {
        Ok(Sa::new(entries)?)
    }

    fn process_together(&self, calls: &mut [Call<'_, '_>]) {
        let mut software: ArrayVec<engine::Call<'_, '_>, MAX_BATCH> = ArrayVec::new();
        for Call { association, packets, verdicts, events } in calls {
            match association.software() {
                Some(sa) if !software.is_full() => software.push(engine::Call { sa, packets, verdicts, events }),
                // Not reached: the SAs are this accelerator's, and no call is without a packet.
                _ => **events = association.process(packets, verdicts),
            }
        }
        engine::process_together(&mut software);
    }
}

impl Association for Sa {
    fn direction(&self) -> Direction {
        self.direction()
    }

    fn software(&self) -> Option<&Sa> {
        Some(self)
    }

    fn works_abreast(&self) -> bool {
        self.works_abreast()
    }

    fn process(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events {
        self.process(packets, verdicts)
    }

    fn make_dummy(&self, len: usize, output: &mut [u8]) -> Result<(Verdict, Events), Error> {
        Ok(self.make_dummy(len, output)?)
    }

    fn largest_inner(&self, limit: usize) -> Result<Option<usize>, Error> {
        Ok(self.largest_inner(limit)?)
    }

    fn modify(&self, change: &Change) -> Result<(), Error> {
        Ok(self.modify(change)?)
    }

    fn read(&self) -> Result<Vec<Reading>, Error> {
        Ok(self.read())
    }

    fn done(&self) -> (u64, u64) {
        self.done()
    }

    fn refuse(&self, error: PacketError) {
        self.refuse(error);
    }
}
