//! What will become of each packet of a batch: every check is made here, before anything is taken or written.

use arrayvec::ArrayVec;
use gipsec_wire::{
    MAX_PACKET, Malformed, ah, esp,
    ip::{Header, Upper},
    udp,
};

use super::Outbound;
use crate::{Buffers, PacketError, Protocol, Verdict, batch::MAX_BATCH, route::Route};

/// IP header, options and extension headers in front of AH: the most that is processed, in bytes.
pub(super) const MAX_HEADERS: usize = 2048;

/// What will become of one packet; all checks are done.
pub(super) struct Plan {
    /// Its place in the batch.
    pub index: usize,
    /// The packet's own header.
    pub header: Header,
    /// In transport mode, where the protected part begins.
    pub upper: Option<Upper>,
    /// Where the packet's protected part begins, and how long it is.
    pub payload_start: usize,
    pub payload_len: usize,
    pub next_header: u8,
    /// Where ESP or AH will begin.
    pub ipsec_start: usize,
    /// Where the payload will begin.
    pub body_start: usize,
    /// Length of the result.
    pub total_len: usize,
}

/// The plans of a batch, in the order of its packets.
pub(super) type Plans = ArrayVec<Plan, MAX_BATCH>;

impl Outbound {
    /// Looks at every packet once; what cannot be encapsulated gets its verdict here and takes no sequence number.
    pub(super) fn plan(&self, route: &Route, packets: &[Buffers<'_>], verdicts: &mut [Verdict], plans: &mut Plans) {
        let mut left = self.limits.left(&self.counters);
        for (index, packet) in packets.iter().enumerate() {
            match self.plan_one(route, index, packet, left) {
                Ok(plan) => {
                    left = left.saturating_sub(plan.payload_len as u64);
                    plans.push(plan);
                }
                Err(error) => verdicts[index] = Err(self.refused(error)),
            }
        }
    }

    #[inline]
    fn plan_one(&self, route: &Route, index: usize, packet: &Buffers<'_>, left: u64) -> Result<Plan, PacketError> {
        if left == 0 {
            return Err(PacketError::LifetimeExpired);
        }
        let input = packet.input();
        let header = Header::parse(input)?;
        let (upper, payload_start, next_header, front, family) = match &route.template {
            Some(template) => (None, 0, header.family().protocol(), template.len(), template.family()),
            None => {
                let upper = header.upper(input)?;
                let front = upper.offset + if route.udp.is_some() { udp::HEADER } else { 0 };
                (Some(upper), upper.offset, upper.protocol, front, header.family())
            }
        };
        let payload_len = header.total_len() - payload_start;
        let (body_start, total_len) = match self.attributes.protocol {
            Protocol::Esp => {
                let padded = payload_len + esp::pad_len(payload_len, self.transform.alignment) + esp::TRAILER;
                (front + esp::HEADER + self.transform.iv.len(), front + self.transform.overhead() + padded)
            }
            Protocol::Ah => {
                if front > MAX_HEADERS {
                    return Err(Malformed::BadExtension.into());
                }
                let body_start = front + ah::header_len(self.transform.iv.len() + self.transform.icv_len, family);
                (body_start, body_start + payload_len)
            }
        };
        if total_len > MAX_PACKET || total_len > packet.capacity() {
            return Err(PacketError::NoRoom);
        }
        Ok(Plan {
            index,
            header,
            upper,
            payload_start,
            payload_len,
            next_header,
            ipsec_start: front,
            body_start,
            total_len,
        })
    }
}

impl Plan {
    /// The packet's payload where it is apart from the result, and the result's room. In place, the payload is moved to
    /// where it will be encrypted; in transport mode, the packet's headers are where they belong.
    #[inline]
    pub(super) fn split<'b>(&self, packet: &'b mut Buffers<'_>) -> (Option<&'b [u8]>, &'b mut [u8]) {
        let payload = self.payload_start..self.payload_start + self.payload_len;
        match packet {
            Buffers::Apart { input, output } => {
                let output = &mut output[..self.total_len];
                if self.upper.is_some() {
                    output[..self.payload_start].copy_from_slice(&input[..self.payload_start]);
                }
                (Some(&input[payload]), output)
            }
            Buffers::InPlace { buffer, .. } => {
                buffer.copy_within(payload, self.body_start);
                (None, &mut buffer[..self.total_len])
            }
        }
    }

    /// The whole result.
    pub(super) fn output<'b>(&self, packet: &'b mut Buffers<'_>) -> &'b mut [u8] {
        match packet {
            Buffers::Apart { output, .. } => &mut output[..self.total_len],
            Buffers::InPlace { buffer, .. } => &mut buffer[..self.total_len],
        }
    }
}
