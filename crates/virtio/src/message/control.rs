//! Control requests and their answers.

mod modify;

use gipsec_engine::{BundleEntry, Change, Direction, MAX_ENTRIES};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};
use zeroize::Zeroizing;

use super::{Malformed, VERSION, direction, direction_code, entry, reserved, take};
use modify::ModifyBody;

/// Bytes of a body at most.
pub const MAX_BODY: usize = 65_536;
/// Bytes of an application's or a group's name.
pub const NAME_SIZE: usize = 64;
/// SAs of an SA_READ at most.
pub const MAX_READ: u16 = 1024;

const ATTACH: u16 = 0x0001;
const STATISTICS: u16 = 0x0002;
const DETACH: u16 = 0x0003;
const GROUP_CREATE: u16 = 0x0100;
const GROUP_DELETE: u16 = 0x0101;
const SA_ADD: u16 = 0x0200;
const SA_DELETE: u16 = 0x0201;
const SA_MODIFY: u16 = 0x0202;
const SA_READ: u16 = 0x0203;
const SA_STATISTICS: u16 = 0x0204;
const SA_INNER_LENGTH: u16 = 0x0205;
const FLUSH: u16 = 0x0206;

/// How a control request begins, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ControlHeader {
    command: U16,
    reserved: U16,
    /// Bytes of the body.
    pub length: U32,
    group: U32,
    unused: U32,
}

/// How its answer begins, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ControlAnswer {
    /// [`super::RequestStatus`].
    pub status: U32,
    /// Bytes of the answer that follow.
    pub length: U32,
    /// 0.
    pub reserved: U64,
}

const _: () = assert!(size_of::<ControlHeader>() == 16 && size_of::<ControlAnswer>() == 16);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct AttachBody {
    mode: U32,
    version: U32,
    name: [u8; NAME_SIZE],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct AddBody {
    direction: u8,
    count: u8,
    reserved: [u8; 6],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ReadBody {
    sa: U64,
    operation: u8,
    direction: u8,
    count: U16,
    reserved: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct InnerLengthBody {
    sa: U64,
    limit: U32,
    reserved: U32,
}

const _: () = assert!(
    size_of::<AttachBody>() == 72
        && size_of::<AddBody>() == 8
        && size_of::<ReadBody>() == 16
        && size_of::<InnerLengthBody>() == 16
);

/// The answer to SA_DELETE and SA_STATISTICS: packets that came all the way, and their payload bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Done {
    /// Packets.
    pub packets: U64,
    /// Payload bytes.
    pub bytes: U64,
}

/// The answer to STATISTICS, of one driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Totals {
    pub sas: U64,
    pub groups: U64,
    pub packets_in: U64,
    pub bytes_in: U64,
    pub packets_out: U64,
    pub bytes_out: U64,
    pub packets_refused: U64,
    pub requests_refused: U64,
    pub events_lost: U64,
}

/// How a driver attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// Alone.
    Exclusive,
    /// Beside others.
    Shared,
}

/// Which SAs are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// The oldest.
    First,
    /// Those after this one.
    After(u64),
    /// This one.
    Exact(u64),
}

/// A command, with what it is about.
pub enum Command {
    /// Takes the device.
    Attach {
        /// How.
        mode: AttachMode,
        /// Who, padded with zeros.
        name: [u8; NAME_SIZE],
    },
    /// Leaves the device, with all SAs and groups.
    Detach,
    /// Reads [`Totals`].
    Statistics,
    /// Makes a group.
    GroupCreate {
        /// Its name, padded with zeros.
        name: [u8; NAME_SIZE],
    },
    /// Deletes the group.
    GroupDelete,
    /// Adds an SA.
    SaAdd {
        /// Its direction.
        direction: Direction,
        /// Its entries.
        entries: Vec<BundleEntry>,
    },
    /// Deletes an SA.
    SaDelete(u64),
    /// Changes an SA.
    SaModify(u64, Change),
    /// Reads SAs.
    SaRead {
        /// Which.
        from: ReadFrom,
        /// In which direction.
        direction: Direction,
        /// How many at most.
        count: u16,
    },
    /// Reads [`Done`] of an SA.
    SaStatistics(u64),
    /// The longest packet that an outbound SA makes no longer than a limit.
    SaInnerLength {
        /// The SA.
        sa: u64,
        /// Bytes.
        limit: u32,
    },
    /// Deletes the SAs of the group, or all.
    Flush {
        /// All of this driver.
        all: bool,
    },
}

/// Why a control request is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A message that cannot be.
    Malformed(Malformed),
    /// A command that is not known.
    Unknown,
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Command {
    fn number(&self) -> u16 {
        match self {
            Self::Attach { .. } => ATTACH,
            Self::Detach => DETACH,
            Self::Statistics => STATISTICS,
            Self::GroupCreate { .. } => GROUP_CREATE,
            Self::GroupDelete => GROUP_DELETE,
            Self::SaAdd { .. } => SA_ADD,
            Self::SaDelete(_) => SA_DELETE,
            Self::SaModify(..) => SA_MODIFY,
            Self::SaRead { .. } => SA_READ,
            Self::SaStatistics(_) => SA_STATISTICS,
            Self::SaInnerLength { .. } => SA_INNER_LENGTH,
            Self::Flush { .. } => FLUSH,
        }
    }

    /// The readable part of the request, `group` included. It may hold keys. Errors: an SA whose lengths do not fit.
    pub fn encode(&self, group: u32) -> Result<Zeroizing<Vec<u8>>, Malformed> {
        // Long enough for any: it must not move while keys are in it.
        let mut message = Zeroizing::new(Vec::with_capacity(match self {
            Self::SaAdd { entries, .. } => {
                let keys = |entry: &BundleEntry| entry.keys.cipher.len() + entry.keys.integrity.len() + 256;
                entries.iter().map(|entry| entry::ENTRY_SIZE + keys(entry)).sum::<usize>() + 64
            }
            _ => 128,
        }));
        message.extend_from_slice(&[0; size_of::<ControlHeader>()]);
        self.encode_body(&mut message)?;
        let length = message.len() - size_of::<ControlHeader>();
        if length > MAX_BODY {
            return Err(Malformed("the SA does not fit a message"));
        }
        let header = ControlHeader {
            command: self.number().into(),
            reserved: 0.into(),
            length: u32::try_from(length).unwrap_or(u32::MAX).into(),
            group: group.into(),
            unused: 0.into(),
        };
        message[..size_of::<ControlHeader>()].copy_from_slice(header.as_bytes());
        Ok(message)
    }

    fn encode_body(&self, message: &mut Zeroizing<Vec<u8>>) -> Result<(), Malformed> {
        match self {
            Self::Detach | Self::Statistics | Self::GroupDelete => {}
            Self::Attach { mode, name } => {
                let mode = match mode {
                    AttachMode::Exclusive => 1,
                    AttachMode::Shared => 2,
                };
                let body = AttachBody { mode: U32::new(mode), version: VERSION.into(), name: *name };
                message.extend_from_slice(body.as_bytes());
            }
            Self::GroupCreate { name } => message.extend_from_slice(name),
            Self::SaAdd { direction, entries } => {
                let count = u8::try_from(entries.len()).map_err(|_| Malformed("an SA has 1 to 4 entries"))?;
                let body = AddBody { direction: direction_code(*direction), count, reserved: [0; 6] };
                message.extend_from_slice(body.as_bytes());
                entries.iter().try_for_each(|each| entry::encode(each, message))?;
            }
            Self::SaDelete(sa) | Self::SaStatistics(sa) => message.extend_from_slice(&sa.to_le_bytes()),
            Self::SaModify(sa, change) => message.extend_from_slice(ModifyBody::of(*sa, change).as_bytes()),
            Self::SaRead { from, direction, count } => {
                let (operation, sa) = match *from {
                    ReadFrom::First => (0, 0),
                    ReadFrom::After(sa) => (1, sa),
                    ReadFrom::Exact(sa) => (2, sa),
                };
                let body = ReadBody {
                    sa: sa.into(),
                    operation,
                    direction: direction_code(*direction),
                    count: (*count).into(),
                    reserved: 0.into(),
                };
                message.extend_from_slice(body.as_bytes());
            }
            Self::SaInnerLength { sa, limit } => {
                let body = InnerLengthBody { sa: (*sa).into(), limit: (*limit).into(), reserved: 0.into() };
                message.extend_from_slice(body.as_bytes());
            }
            Self::Flush { all } => {
                message.extend_from_slice(&u32::from(*all).to_le_bytes());
                message.extend_from_slice(&[0; 4]);
            }
        }
        Ok(())
    }

    /// What a request's readable part says, and for which group.
    pub fn decode(mut message: &[u8]) -> Result<(Self, u32), Refused> {
        let header: ControlHeader = take(&mut message)?;
        if header.reserved.get() != 0 || header.unused.get() != 0 {
            return Err(Malformed("reserved bytes are not 0").into());
        }
        let length = usize::try_from(header.length.get()).ok().filter(|length| *length <= MAX_BODY);
        let body = length.and_then(|length| message.get(..length)).ok_or(Malformed("the body is cut, or too long"))?;
        Ok((Self::decode_body(header.command.get(), body)?, header.group.get()))
    }

    fn decode_body(command: u16, mut body: &[u8]) -> Result<Self, Refused> {
        let rest = &mut body;
        let command = match command {
            ATTACH => {
                let AttachBody { mode, version, name } = take(rest)?;
                if version.get() != VERSION {
                    return Err(Refused::Unknown);
                }
                let mode = match mode.get() {
                    1 => AttachMode::Exclusive,
                    2 => AttachMode::Shared,
                    _ => return Err(Malformed("an unknown mode").into()),
                };
                Self::Attach { mode, name }
            }
            DETACH => Self::Detach,
            STATISTICS => Self::Statistics,
            GROUP_CREATE => Self::GroupCreate { name: take(rest)? },
            GROUP_DELETE => Self::GroupDelete,
            SA_ADD => {
                let AddBody { direction: code, count, reserved: zeros } = take(rest)?;
                reserved(&zeros)?;
                if !(1..=MAX_ENTRIES).contains(&usize::from(count)) {
                    return Err(Malformed("an SA has 1 to 4 entries").into());
                }
                let direction = direction(code)?;
                let entries = (0..count).map(|_| entry::decode(direction, rest)).collect::<Result<_, _>>()?;
                Self::SaAdd { direction, entries }
            }
            SA_DELETE => Self::SaDelete(take::<U64>(rest)?.get()),
            SA_STATISTICS => Self::SaStatistics(take::<U64>(rest)?.get()),
            SA_MODIFY => {
                let body: ModifyBody = take(rest)?;
                Self::SaModify(body.sa.get(), body.change()?)
            }
            SA_READ => {
                let ReadBody { sa, operation, direction: code, count, reserved: zeros } = take(rest)?;
                reserved(zeros.as_bytes())?;
                let from = match (operation, sa.get(), count.get()) {
                    (0, 0, 1..=MAX_READ) => ReadFrom::First,
                    (1, sa, 1..=MAX_READ) => ReadFrom::After(sa),
                    (2, sa, 1) => ReadFrom::Exact(sa),
                    _ => return Err(Malformed("an unknown operation, or a count out of range").into()),
                };
                Self::SaRead { from, direction: direction(code)?, count: count.get() }
            }
            SA_INNER_LENGTH => {
                let InnerLengthBody { sa, limit, reserved: zeros } = take(rest)?;
                reserved(zeros.as_bytes())?;
                Self::SaInnerLength { sa: sa.get(), limit: limit.get() }
            }
            FLUSH => match take::<[U32; 2]>(rest)?.map(U32::get) {
                [scope @ (0 | 1), 0] => Self::Flush { all: scope == 1 },
                _ => return Err(Malformed("an unknown scope").into()),
            },
            _ => return Err(Refused::Unknown),
        };
        if !rest.is_empty() {
            return Err(Malformed("the body is too long for its command").into());
        }
        Ok(command)
    }
}
