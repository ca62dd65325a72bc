//! Packets in memory that somebody else may change at any time, as a driver's is to a device. What decides anything is
//! copied once and looked at in the copy: headers, SPI, sequence number, IV, ICV, trailer. Payloads go through the cipher
//! from where they are to where they belong. So whoever changes a packet meanwhile changes his own packet, and nothing else.
//!
//! That is for the usual SA, ESP in a tunnel with AES-GCM, and the usual packet of it. Others have to be copied.

use gipsec_kernels::gcm::are_apart;
use gipsec_wire::{esp, ip, protocol};
use vm_memory::VolatileSlice;

use crate::{Events, Sa, Verdict, stage::Stage};

/// Where such a packet is, and where its result goes. Both begin at the IP header.
#[derive(Clone, Copy)]
pub struct VolatileBuffers<'m> {
    /// The packet; bytes after its IP length are ignored.
    pub input: VolatileSlice<'m>,
    /// Room for the result.
    pub output: VolatileSlice<'m>,
}

/// The first bytes of a packet, copied once.
pub(crate) struct Front([u8; Front::LEN]);

impl Front {
    /// The longest header of IPv4, SPI, sequence number, and IV.
    const LEN: usize = ip::LONGEST_HEADER + esp::HEADER + 8;

    /// Of no packet.
    pub(crate) const EMPTY: Self = Self([0; Self::LEN]);

    /// Reads that of another packet: [`Front::LEN`] bytes, or all.
    #[inline(always)]
    pub(crate) fn read(&mut self, packet: &VolatileSlice<'_>) -> &[u8] {
        match packet.subslice(0, Self::LEN) {
            Ok(start) => {
                start.copy_to(&mut self.0);
                &self.0
            }
            Err(_) => {
                let len = packet.copy_to(&mut self.0);
                &self.0[..len]
            }
        }
    }
}

impl VolatileBuffers<'_> {
    /// Whether ESP follows the IP header, and whatever is decrypted has room: a packet that becomes another one before it
    /// is looked at again is refused then.
    #[inline]
    pub(crate) fn is_usual_esp(&self) -> bool {
        const BYTES: usize = 10;
        const V4_PROTOCOL: usize = 9;
        const V6_NEXT_HEADER: usize = 6;
        let mut bytes = [0; BYTES];
        let read = self.input.copy_to(&mut bytes);
        let next = if bytes[0] >> 4 == 4 { bytes[V4_PROTOCOL] } else { bytes[V6_NEXT_HEADER] };
        read == BYTES && next == protocol::ESP && self.input.len() <= self.output.len()
    }

    /// Whether packet and room are apart.
    #[inline]
    fn is_apart(&self) -> bool {
        are_apart(&self.input, &self.output)
    }
}

impl Sa {
    /// Whether packets can be processed where they are at all.
    #[inline]
    pub fn takes_volatile(&self) -> bool {
        match self.only_stage() {
            Some(Stage::Outbound(sa)) => sa.takes_volatile(),
            Some(Stage::Inbound(sa)) => sa.takes_volatile(),
            _ => false,
        }
    }

    /// As [`Sa::process`], where the packets are. None: they have to be copied, and nothing was done.
    #[inline]
    pub fn process_volatile(&self, packets: &[VolatileBuffers<'_>], verdicts: &mut [Verdict]) -> Option<Events> {
        self.prefetch();
        if !packets.iter().all(VolatileBuffers::is_apart) {
            return None;
        }
        match self.only_stage()? {
            Stage::Outbound(sa) => sa.encapsulate_volatile(packets, verdicts),
            Stage::Inbound(sa) => sa.decapsulate_volatile(packets, verdicts),
            Stage::IpComp(_) => None,
        }
    }
}
