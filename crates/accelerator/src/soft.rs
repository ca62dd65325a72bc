//! The software accelerator: the engine, in the caller's own threads.

use gipsec_engine::{
    Attributes, Buffers, Change, Direction, Events, Inbound, Keys, Outbound, PacketError, SaError, Statistics, Verdict,
};

use crate::{
    Accelerator, Association, Capabilities, CipherAlgorithms, CombinedAlgorithms, Features, IntegrityAlgorithms,
};

/// The engine as an accelerator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Soft;

impl Accelerator for Soft {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            features: Features::all() - Features::WESP - Features::IPCOMP - Features::MULTI_SEC - Features::TFC,
            dscp_queues: 0,
            integrity: IntegrityAlgorithms::all(),
            cipher: CipherAlgorithms::all(),
            combined: CombinedAlgorithms::all(),
        }
    }

    fn add_sa(&self, attributes: Attributes, keys: &Keys) -> Result<Box<dyn Association>, SaError> {
        Ok(match attributes.direction() {
            Direction::Outbound => Box::new(Outbound::new(attributes, keys)?),
            Direction::Inbound => Box::new(Inbound::new(attributes, keys)?),
        })
    }
}

/// Lets an engine SA be an accelerator's; the two differ in what they do to packets alone.
macro_rules! associate {
    ($sa:ty, $process:ident) => {
        impl Association for $sa {
            fn process(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events {
                self.$process(packets, verdicts)
            }

            fn modify(&self, change: &Change) -> Result<(), SaError> {
                self.modify(change)
            }

            fn attributes(&self) -> Attributes {
                self.attributes()
            }

            fn statistics(&self) -> Statistics {
                self.statistics()
            }

            fn refuse(&self, error: PacketError) {
                self.refuse(error);
            }
        }
    };
}

associate!(Outbound, encapsulate);
associate!(Inbound, decapsulate);
