//! The answer to SA_READ.

use gipsec_engine::{Direction, DropReason, Drops, KeyLengths, Parameters, Reading, Statistics};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

use super::{
    Malformed, direction, direction_code,
    entry::{self, EntryRecord},
    take, take_bytes,
};

/// How the answer begins: how many SAs follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReadingsHeader {
    /// SAs.
    pub count: U32,
    /// 0.
    pub reserved: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SaHeader {
    sa: U64,
    length: U32,
    direction: u8,
    count: u8,
    reserved: U16,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct StatisticsHeader {
    packets: U64,
    bytes: U64,
    reasons: U32,
    reserved: U32,
}

const _: () =
    assert!(size_of::<ReadingsHeader>() == 8 && size_of::<SaHeader>() == 16 && size_of::<StatisticsHeader>() == 24);

/// One SA as it was read.
#[derive(Clone, Debug)]
pub struct SaRead {
    /// Its number.
    pub sa: u64,
    /// Its direction.
    pub direction: Direction,
    /// What each entry is, without its keys, and has done.
    pub entries: Vec<Reading>,
}

/// Appends one SA to an answer.
pub fn encode(sa: u64, direction: Direction, entries: &[Reading], message: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut body = Vec::with_capacity(entries.len() * 384);
    for Reading { parameters, statistics, drops } in entries {
        let lengths = match parameters {
            Parameters::Ipsec(attributes) => attributes.key_lengths,
            Parameters::Compression(_) => KeyLengths::default(),
        };
        body.extend_from_slice(EntryRecord::of(parameters, lengths)?.as_bytes());
        let header = StatisticsHeader {
            packets: statistics.packets_processed.into(),
            bytes: statistics.bytes_processed.into(),
            reasons: u32::try_from(drops.len()).unwrap_or(u32::MAX).into(),
            reserved: 0.into(),
        };
        body.extend_from_slice(header.as_bytes());
        drops.iter().for_each(|count| body.extend_from_slice(&count.to_le_bytes()));
    }
    let header = SaHeader {
        sa: sa.into(),
        length: u32::try_from(body.len()).map_err(|_| Malformed("the reading is too long"))?.into(),
        direction: direction_code(direction),
        count: u8::try_from(entries.len()).map_err(|_| Malformed("too many entries"))?,
        reserved: 0.into(),
    };
    message.extend_from_slice(header.as_bytes());
    message.extend_from_slice(&body);
    Ok(())
}

/// Takes one SA off the front of an answer. Reasons that are not known here are passed over.
pub fn decode(message: &mut &[u8]) -> Result<SaRead, Malformed> {
    let header: SaHeader = take(message)?;
    let length = usize::try_from(header.length.get()).map_err(|_| Malformed("the reading is too long"))?;
    let mut body = take_bytes(message, length)?;
    let direction = direction(header.direction)?;
    let entries = (0..header.count).map(|_| decode_entry(direction, &mut body)).collect::<Result<_, _>>()?;
    Ok(SaRead { sa: header.sa.get(), direction, entries })
}

fn decode_entry(direction: Direction, body: &mut &[u8]) -> Result<Reading, Malformed> {
    let parameters = entry::decode_parameters(direction, body)?;
    let StatisticsHeader { packets, bytes, reasons, .. } = take(body)?;
    let mut drops: Drops = [0; DropReason::ALL.len()];
    for reason in 0..usize::try_from(reasons.get()).map_err(|_| Malformed("too many reasons"))? {
        let count: U64 = take(body)?;
        if let Some(place) = drops.get_mut(reason) {
            *place = count.get();
        }
    }
    let statistics = Statistics::new(packets.get(), bytes.get(), &drops);
    Ok(Reading { parameters, statistics, drops })
}
