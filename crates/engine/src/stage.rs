//! One entry of an SA: ESP or AH in one of the directions, or IPComp.

use crate::{
    Buffers, BundleEntry, Change, Direction, Events, Inbound, Mode, Outbound, PacketError, Parameters, Reading,
    SaError, Statistics, Verdict, content::Front, ipcomp::IpComp, outbound::Payload,
};

/// What a stage needs to take a packet back.
pub(crate) struct Trace {
    /// The sequence number of one that is decapsulated.
    number: Option<u64>,
    /// Bytes of its own headers that stay outside of the payload.
    headers: usize,
    /// Bytes of payload before it was processed.
    payload: usize,
}

/// One entry.
pub(crate) enum Stage {
    Outbound(Outbound),
    Inbound(Inbound),
    IpComp(IpComp),
}

/// Does the same with an SA of any kind.
macro_rules! each {
    ($stage:expr, $sa:ident => $body:expr) => {
        match $stage {
            Self::Outbound($sa) => $body,
            Self::Inbound($sa) => $body,
            Self::IpComp($sa) => $body,
        }
    };
}

impl Stage {
    pub(crate) fn new(BundleEntry { parameters, keys }: BundleEntry) -> Result<Self, SaError> {
        Ok(match parameters {
            Parameters::Compression(compression) => Self::IpComp(IpComp::new(compression)?),
            Parameters::Ipsec(attributes) => match attributes.direction() {
                Direction::Outbound => Self::Outbound(Outbound::new(attributes, &keys)?),
                Direction::Inbound => Self::Inbound(Inbound::new(attributes, &keys)?),
            },
        })
    }

    /// Has packets processed; `payload` says what they are where that makes a difference.
    #[inline]
    pub(crate) fn process(&self, payload: Payload, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events {
        match self {
            Self::Outbound(sa) => sa.encapsulate_as(payload, packets, verdicts),
            Self::Inbound(sa) => sa.decapsulate(packets, verdicts),
            Self::IpComp(sa) => sa.process(packets, verdicts),
        }
    }

    /// What is to be known of a packet that it is about to see, to take it back.
    pub(crate) fn trace(&self, packet: &[u8]) -> Trace {
        let number = match self {
            Self::Inbound(sa) => sa.number(packet),
            Self::Outbound(_) | Self::IpComp(_) => None,
        };
        let front = Front::read(packet);
        let headers = front.map_or(0, |front| front.kept(self.mode() != Mode::Transport));
        Trace { number, headers, payload: front.map_or(0, |front| front.header.total_len() - headers) }
    }

    /// Takes a packet back, of which it made `written` bytes, and which a later stage refused: nothing of it was counted,
    /// and it may come again.
    pub(crate) fn take_back(&self, trace: &Trace, written: usize) {
        match self {
            Self::Outbound(sa) => sa.take_back(trace.payload as u64),
            Self::Inbound(sa) => sa.take_back(trace.number, written.saturating_sub(trace.headers) as u64),
            Self::IpComp(sa) => sa.take_back(trace.payload as u64),
        }
    }

    /// Bytes that a packet may grow by; None: to any length.
    pub(crate) fn growth(&self) -> Option<usize> {
        /// More than the longest outer headers, header, IV, padding, trailer and ICV of ESP or AH together.
        const MOST: usize = 256;
        match self {
            Self::Outbound(sa) if sa.pads() => None,
            Self::Outbound(_) | Self::IpComp(_) => Some(MOST),
            Self::Inbound(_) => Some(0),
        }
    }

    pub(crate) fn read(&self) -> Reading {
        each!(self, sa => Reading {
            parameters: sa.attributes().into(),
            statistics: sa.statistics(),
            drops: sa.drops(),
        })
    }

    pub(crate) fn statistics(&self) -> Statistics {
        each!(self, sa => sa.statistics())
    }

    /// Transport or tunnel; the addresses may have changed since.
    pub(crate) fn mode(&self) -> Mode {
        each!(self, sa => sa.mode())
    }

    pub(crate) fn modify(&self, change: &Change) -> Result<(), SaError> {
        each!(self, sa => sa.modify(change))
    }

    pub(crate) fn refuse(&self, error: PacketError) {
        each!(self, sa => sa.refuse(error));
    }

    /// Whether the change concerns it: numbers are those of ESP and AH, addresses those of tunnels.
    pub(crate) fn takes(&self, change: &Change) -> bool {
        match change {
            Change::Replay { .. } => !matches!(self, Self::IpComp(_)),
            Change::Local { .. } | Change::Peer { .. } => self.mode() != Mode::Transport,
        }
    }

    pub(crate) fn makes_dummies(&self) -> bool {
        matches!(self, Self::Outbound(sa) if sa.makes_dummies())
    }
}
