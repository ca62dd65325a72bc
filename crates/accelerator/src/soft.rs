//! The software accelerator: the engine, in the caller's own threads.

use gipsec_engine::{Buffers, BundleEntry, Change, Direction, Events, PacketError, Reading, Sa, SaError, Verdict};

use crate::{
    Accelerator, Association, Capabilities, CipherAlgorithms, CombinedAlgorithms, Features, IntegrityAlgorithms,
    queue::CLASSES,
};

/// The engine as an accelerator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Soft;

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

    fn add_sa(&self, entries: Vec<BundleEntry>) -> Result<Box<dyn Association>, SaError> {
        Ok(Box::new(Sa::new(entries)?))
    }
}

impl Association for Sa {
    fn direction(&self) -> Direction {
        self.direction()
    }

    fn process(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events {
        self.process(packets, verdicts)
    }

    fn make_dummy(&self, len: usize, output: &mut [u8]) -> Result<(Verdict, Events), SaError> {
        self.make_dummy(len, output)
    }

    fn largest_inner(&self, limit: usize) -> Result<Option<usize>, SaError> {
        self.largest_inner(limit)
    }

    fn modify(&self, change: &Change) -> Result<(), SaError> {
        self.modify(change)
    }

    fn read(&self) -> Vec<Reading> {
        self.read()
    }

    fn done(&self) -> (u64, u64) {
        self.done()
    }

    fn refuse(&self, error: PacketError) {
        self.refuse(error);
    }
}
