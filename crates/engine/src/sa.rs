//! An SA as callers have it: one entry, or up to four that are applied one after the other (R33).

use std::{net::IpAddr, ops::Deref, slice};

use gipsec_kernels::prefetch;
use gipsec_wire::protocol;

use crate::{
    Attributes, Buffers, Change, Compression, Direction, Drops, Events, Inbound, Keys, Mode, Outbound, PacketError,
    Parameters, Protocol, SaError, Statistics, Verdict, bundle, outbound::Payload, scratch::leaving_nothing,
    stage::Stage,
};

/// Entries of a bundle at most.
pub const MAX_ENTRIES: usize = 4;

/// What one entry of an SA is made from.
pub struct BundleEntry {
    /// Everything but keys.
    pub parameters: Parameters,
    /// Keys; none for IPComp.
    pub keys: Keys,
}

/// What one entry of an SA is, and has done.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What it was made from, with addresses, ports and window as they are now.
    pub parameters: Parameters,
    /// What it has done.
    pub statistics: Statistics,
    /// Refused packets by reason.
    pub drops: Drops,
}

/// An SA, or a bundle of SAs, in one direction. Any number of threads may use it at once.
pub struct Sa {
    direction: Direction,
    stages: Stages,
}

/// In the order in which a packet meets them: as they were given outbound, the last one first inbound.
#[expect(clippy::large_enum_variant, reason = "one stage is the usual case, and a pointer to it another cache miss")]
enum Stages {
    One(Stage),
    Many(Box<[Stage]>),
}

impl Deref for Stages {
    type Target = [Stage];

    #[inline]
    fn deref(&self) -> &[Stage] {
        match self {
            Self::One(stage) => slice::from_ref(stage),
            Self::Many(stages) => stages,
        }
    }
}

impl Sa {
    /// An SA of these entries, in the order in which outbound processing applies them (R33), where it stays: what moves
    /// leaves keys behind. Errors: entries that contradict themselves, their algorithms, or each other.
    pub fn new(entries: Vec<BundleEntry>) -> Result<Box<Self>, SaError> {
        leaving_nothing(|| Self::make(entries))
    }

    fn make(mut entries: Vec<BundleEntry>) -> Result<Box<Self>, SaError> {
        check(&entries)?;
        let direction = entries.first().map_or(Direction::Outbound, |entry| entry.parameters.direction());
        if entries.len() == 1
            && let Some(only) = entries.pop()
        {
            return Ok(Box::new(Self { direction, stages: Stages::One(Stage::new(only)?) }));
        }
        // Never moved to a larger place.
        let mut stages = Vec::with_capacity(entries.len());
        for entry in entries {
            leaving_nothing(|| Stage::new(entry).map(|stage| stages.push(stage)))?;
        }
        if direction == Direction::Inbound {
            stages.reverse();
            hand_on_correction(&mut stages);
        }
        Ok(Box::new(Self { direction, stages: Stages::Many(stages.into_boxed_slice()) }))
    }

    /// The direction.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Encapsulates or decapsulates `packets` in order; `verdicts`, as many, say what became of each. Returns what is
    /// worth telling.
    #[inline]
    pub fn process(&self, packets: &mut [Buffers<'_>], verdicts: &mut [Verdict]) -> Events {
        self.prefetch();
        match &self.stages {
            Stages::One(only) => only.process(Payload::Packet, packets, verdicts),
            Stages::Many(stages) => bundle::process(stages, Payload::Packet, packets, verdicts),
        }
    }

    #[inline]
    pub(crate) fn prefetch(&self) {
        let for_long_packets = match &self.stages {
            Stages::One(Stage::Outbound(sa)) => sa.transform().for_long_packets(),
            Stages::One(Stage::Inbound(sa)) => sa.transform().for_long_packets(),
            _ => 0..0,
        };
        prefetch(self, for_long_packets);
    }

    /// The only entry, of an SA that is no bundle.
    #[inline]
    pub(crate) fn only_stage(&self) -> Option<&Stage> {
        match &self.stages {
            Stages::One(only) => Some(only),
            Stages::Many(_) => None,
        }
    }

    /// Whether its packets take less time together with those of other SAs than alone.
    pub fn works_abreast(&self) -> bool {
        self.outbound().is_some_and(Outbound::works_abreast) || self.inbound().is_some_and(Inbound::works_abreast)
    }

    /// Whether there is a number of bytes after which packets are refused.
    pub(crate) fn has_hard_lifetime(&self) -> bool {
        self.outbound().is_some_and(Outbound::has_hard_lifetime)
            || self.inbound().is_some_and(Inbound::has_hard_lifetime)
    }

    /// The only entry of an outbound SA.
    pub(crate) fn outbound(&self) -> Option<&Outbound> {
        match &self.stages {
            Stages::One(Stage::Outbound(sa)) => Some(sa),
            _ => None,
        }
    }

    /// The only entry of an inbound SA.
    pub(crate) fn inbound(&self) -> Option<&Inbound> {
        match &self.stages {
            Stages::One(Stage::Inbound(sa)) => Some(sa),
            _ => None,
        }
    }

    /// Makes a packet that the receiver drops without a word (RFC 4303 section 2.6), as long as one with a packet of
    /// `len` bytes in it: of a bundle, in the first entry that is ESP in tunnel mode. Errors: no entry is outbound ESP in
    /// tunnel mode, or `len` is no length of a packet.
    pub fn make_dummy(&self, len: usize, output: &mut [u8]) -> Result<(Verdict, Events), SaError> {
        let stages = match self.stages.iter().position(Stage::makes_dummies) {
            Some(first) => &self.stages[first..],
            None => return Err(SaError::Invalid("dummy packets are made by outbound ESP in tunnel mode")),
        };
        let mut verdict = [Err(PacketError::Crypto)];
        let events = bundle::with_blank_packet(len, |blank| {
            let mut packet = [Buffers::Apart { input: blank, output }];
            match stages {
                [only] => only.process(Payload::Dummy, &mut packet, &mut verdict),
                stages => bundle::process(stages, Payload::Dummy, &mut packet, &mut verdict),
            }
        })?;
        let [verdict] = verdict;
        Ok((verdict, events))
    }

    /// The longest packet that is encapsulated to at most `limit` bytes now; None: there is none. In transport mode, one
    /// without IPv4 options or IPv6 extension headers. Errors: an inbound SA.
    pub fn largest_inner(&self, limit: usize) -> Result<Option<usize>, SaError> {
        let mut limit = Some(limit);
        for (at, stage) in self.stages.iter().enumerate().rev() {
            // What comes from a tunnel has its family.
            let family = self.stages[..at].iter().rev().find_map(|inner| match inner.mode() {
                Mode::Tunnel(endpoints) => Some(endpoints.family()),
                Mode::Transport => None,
            });
            limit = match stage {
                Stage::Outbound(sa) => limit.and_then(|limit| sa.largest_inner(limit, family)),
                Stage::IpComp(sa) => limit.and_then(|limit| sa.largest_inner(limit)),
                Stage::Inbound(_) => None,
            };
        }
        match self.direction {
            Direction::Outbound => Ok(limit),
            Direction::Inbound => Err(SaError::Invalid("an inbound SA makes no packets longer")),
        }
    }

    /// Changes the SA (R31): of a bundle, the outermost tunnel, or the numbers of the only entry that has some.
    pub fn modify(&self, change: &Change) -> Result<(), SaError> {
        if let [only] = &*self.stages {
            return only.modify(change);
        }
        let mut outermost_last = self.stages.iter().filter(|stage| stage.takes(change));
        match (change, outermost_last.next(), self.direction) {
            (_, None, _) => Err(SaError::Invalid("no entry of the bundle has what is to be changed")),
            (Change::Replay { .. }, Some(stage), _) => match outermost_last.next() {
                None => stage.modify(change),
                Some(_) => Err(SaError::Invalid("more than one entry of the bundle has sequence numbers")),
            },
            (_, Some(first), Direction::Inbound) => first.modify(change),
            (_, Some(first), Direction::Outbound) => outermost_last.last().unwrap_or(first).modify(change),
        }
    }

    /// What each entry is and has done, in the order in which they were given.
    pub fn read(&self) -> Vec<Reading> {
        let mut readings: Vec<Reading> = self.stages.iter().map(Stage::read).collect();
        if self.direction == Direction::Inbound {
            readings.reverse();
        }
        readings
    }

    /// Packets that came all the way, and the payload bytes in them.
    pub fn done(&self) -> (u64, u64) {
        let statistics = |stage: Option<&Stage>| stage.map(Stage::statistics).unwrap_or_default();
        let innermost = match self.direction {
            Direction::Outbound => self.stages.first(),
            Direction::Inbound => self.stages.last(),
        };
        (statistics(self.stages.last()).packets_processed, statistics(innermost).bytes_processed)
    }

    /// Counts packets that never reached the SA.
    pub fn refuse(&self, error: PacketError) {
        if let Some(first) = self.stages.first() {
            first.refuse(error);
        }
    }
}

/// Behind a NAT, the innermost entry corrects the checksums of what it delivers (RFC 3948 section 3.1.2): to those before
/// it they are compressed, or encrypted. What comes out of a tunnel was no part of the packet that the NAT changed.
fn hand_on_correction(stages: &mut [Stage]) {
    let all_transport = stages.iter().all(|stage| stage.mode() == Mode::Transport);
    let [outermost @ .., innermost] = stages else { return };
    let original = outermost.iter_mut().find_map(|stage| match stage {
        Stage::Inbound(sa) => sa.take_correction(),
        _ => None,
    });
    match (original.filter(|_| all_transport), innermost) {
        (Some(original), Stage::Inbound(sa)) => sa.correct_for(original),
        (Some(original), Stage::IpComp(sa)) => sa.correct_for(original),
        _ => {}
    }
}

/// Checks what entries say together.
fn check(entries: &[BundleEntry]) -> Result<(), SaError> {
    if !(1..=MAX_ENTRIES).contains(&entries.len()) {
        return Err(SaError::Invalid("an SA has 1 to 4 entries"));
    }
    let directions = entries.iter().map(|entry| entry.parameters.direction());
    if directions.clone().any(|direction| Some(direction) != directions.clone().next()) {
        return Err(SaError::Invalid("the entries of a bundle are of two directions"));
    }
    for (at, entry) in entries.iter().enumerate() {
        match &entry.parameters {
            // RFC 3173 section 2: what is encrypted does not shrink, and is not what the receiver compressed.
            Parameters::Compression(_) if at > 0 => {
                return Err(SaError::Invalid("IPComp comes before ESP and AH, and once"));
            }
            Parameters::Ipsec(Attributes { udp: Some(_), .. }) if at + 1 < entries.len() => {
                return Err(SaError::Invalid("UDP encapsulation is for the last entry of a bundle"));
            }
            parameters if entries[..at].iter().any(|other| identity(&other.parameters) == identity(parameters)) => {
                return Err(SaError::Invalid("an entry of the bundle repeats another one's protocol and SPI"));
            }
            _ => {}
        }
    }
    if runs_in_a_circle(entries) {
        return Err(SaError::Invalid("the tunnels of the bundle run back to where one of them came from"));
    }
    Ok(())
}

/// Whether following the tunnels leads back to where one of them came from.
fn runs_in_a_circle(entries: &[BundleEntry]) -> bool {
    let tunnels: Vec<(IpAddr, IpAddr)> = entries
        .iter()
        .filter_map(|entry| match entry.parameters.mode() {
            Mode::Tunnel(endpoints) => Some(endpoints.addresses()),
            Mode::Transport => None,
        })
        // Both ends on one host: nowhere to go.
        .filter(|(source, destination)| source != destination)
        .collect();
    tunnels.iter().any(|(start, first)| {
        let mut reached = vec![*first];
        for _ in &tunnels {
            let next = tunnels.iter().filter(|(source, _)| reached.contains(source)).map(|(_, end)| *end);
            reached.extend(next.collect::<Vec<_>>());
        }
        reached.contains(start)
    })
}

/// What a receiver finds the SA by, beside the address.
fn identity(parameters: &Parameters) -> (u8, u32) {
    match parameters {
        Parameters::Ipsec(Attributes { protocol: Protocol::Ah, spi, .. }) => (protocol::AH, spi.get()),
        Parameters::Ipsec(Attributes { protocol: Protocol::Esp, spi, .. }) => (protocol::ESP, spi.get()),
        Parameters::Compression(Compression { cpi, .. }) => (protocol::IPCOMP, u32::from(cpi.get())),
    }
}
