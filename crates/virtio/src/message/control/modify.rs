//! The body of SA_MODIFY.

use std::net::IpAddr;

use gipsec_engine::Change;
use zerocopy::{
    FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

use crate::message::{Malformed, entry};

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ModifyBody {
    pub(super) sa: U64,
    what: u8,
    family: u8,
    present: u8,
    reserved: u8,
    port: U16,
    unused: U16,
    address: [u8; 16],
    window: U32,
    bit_map: U32,
    sequence: U64,
}

const _: () = assert!(size_of::<ModifyBody>() == 48);

const OUR_END: u8 = 1;
const PEERS_END: u8 = 2;
const REPLAY: u8 = 3;
const PORT_PRESENT: u8 = 1 << 0;
const WINDOW_PRESENT: u8 = 1 << 1;
const SEQUENCE_PRESENT: u8 = 1 << 2;

impl ModifyBody {
    pub(super) fn of(sa: u64, change: &Change) -> Self {
        let mut body = Self::new_zeroed();
        body.sa = sa.into();
        match *change {
            Change::Local { address, port } => body.set_end(OUR_END, address, port),
            Change::Peer { address, port } => body.set_end(PEERS_END, address, port),
            Change::Replay { window, sequence } => {
                body.what = REPLAY;
                if let Some(window) = window {
                    body.present |= WINDOW_PRESENT;
                    body.window = window.into();
                }
                if let Some((sequence, bit_map)) = sequence {
                    body.present |= SEQUENCE_PRESENT;
                    (body.sequence, body.bit_map) = (sequence.into(), bit_map.into());
                }
            }
        }
        body
    }

    fn set_end(&mut self, what: u8, address: IpAddr, port: Option<u16>) {
        self.what = what;
        (self.family, self.address) = entry::address_bytes(address);
        if let Some(port) = port {
            self.present = PORT_PRESENT;
            self.port = port.into();
        }
    }

    pub(super) fn change(&self) -> Result<Change, Malformed> {
        let given = |bit: u8| self.present & bit != 0;
        let known = if self.what == REPLAY { WINDOW_PRESENT | SEQUENCE_PRESENT } else { PORT_PRESENT };
        if self.reserved != 0 || self.unused.get() != 0 || self.present & !known != 0 {
            return Err(Malformed("reserved bits are not 0"));
        }
        if self.what == REPLAY {
            let replaced = (self.family, self.address, self.port.get()) == (0, [0; 16], 0);
            let unsaid = (given(WINDOW_PRESENT) || self.window.get() == 0)
                && (given(SEQUENCE_PRESENT) || self.sequence.get() == 0 && self.bit_map.get() == 0);
            if !replaced || !unsaid {
                return Err(Malformed("a value that is not present"));
            }
            return Ok(Change::Replay {
                window: given(WINDOW_PRESENT).then(|| self.window.get()),
                sequence: given(SEQUENCE_PRESENT).then(|| (self.sequence.get(), self.bit_map.get())),
            });
        }
        let others = (self.window.get(), self.bit_map.get(), self.sequence.get()) == (0, 0, 0);
        if !others || !given(PORT_PRESENT) && self.port.get() != 0 {
            return Err(Malformed("a value that is not present"));
        }
        let (address, port) =
            (entry::address_of(self.family, &self.address)?, given(PORT_PRESENT).then(|| self.port.get()));
        match self.what {
            OUR_END => Ok(Change::Local { address, port }),
            PEERS_END => Ok(Change::Peer { address, port }),
            _ => Err(Malformed("an unknown change")),
        }
    }
}
