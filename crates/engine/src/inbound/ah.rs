//! AH on the way in, in the order of RFC 4302 section 3.4.

use std::ops::Range;

use gipsec_wire::{Malformed, ah};

use super::{Inbound, Located, Tally, is_to_be_marked};
use crate::{
    Buffers, PacketError, Verdict,
    content::Delivered,
    outbound::{halves, with_cleared},
    route::Route,
    transform::matches,
};

/// The longest authentication header that is looked at: the longest ICV, an IV, and padding.
const MAX_AH: usize = 128;

impl Inbound {
    pub(super) fn open_ah(
        &self,
        route: &Route,
        packets: &mut [Buffers<'_>],
        verdicts: &mut [Verdict],
        tally: &mut Tally,
    ) {
        for (packet, verdict) in packets.iter_mut().zip(verdicts) {
            let delivered =
                if tally.left == 0 { Err(PacketError::LifetimeExpired) } else { self.open_ah_packet(route, packet) };
            *verdict = match delivered {
                Ok(delivered) => tally.accept(delivered),
                Err(error) => self.refused(error),
            };
        }
    }

    fn open_ah_packet(&self, route: &Route, packet: &mut Buffers<'_>) -> Result<Delivered, PacketError> {
        let input = packet.input();
        let located = &self.locate(route, input, input.len())?;
        let ipsec = &input[located.ipsec.clone()];
        let head = ah::Header::parse(ipsec)?;
        if head.spi != self.attributes.spi.get() {
            return Err(PacketError::OtherSpi);
        }
        let iv_end = ah::HEADER + self.transform.iv.len();
        let icv_end = iv_end + self.transform.icv_len;
        // Peers that align the header of IPv4 to 8 bytes have padding after the ICV; no peer has 8 bytes of it.
        if head.len < icv_end || head.len >= icv_end + 8 {
            return Err(Malformed::BadLength.into());
        }
        let sequence = self.progress.replay.check(head.sequence)?;
        self.verify_ah(located, input, iv_end..icv_end, head.len, sequence)?;

        let kept = located.front.kept(route.is_tunnel());
        let payload = located.ipsec.start + head.len..located.ipsec.end;
        let room = packet.capacity();
        let content = self.examine(route, located, &input[payload.clone()], payload.len(), head.next_header);
        let content = content
            .and_then(|content| if kept + content.len() > room { Err(PacketError::NoRoom) } else { Ok(content) });
        if is_to_be_marked(content) {
            self.progress.replay.accept(sequence)?;
        }
        let content = content?;
        let payload = payload.start..payload.start + content.len();
        let output = match packet {
            Buffers::Apart { input, output } => {
                output[..kept].copy_from_slice(&input[..kept]);
                output[kept..kept + content.len()].copy_from_slice(&input[payload]);
                &mut **output
            }
            Buffers::InPlace { buffer, .. } => {
                buffer.copy_within(payload, kept);
                &mut **buffer
            }
        };
        Ok(located.front.deliver(kept, content, self.corrects, output))
    }

    /// RFC 4302 section 3.4.4: the headers with their mutable fields cleared, AH with a zero ICV, the payload, and under
    /// ESN the high half of the sequence number.
    fn verify_ah(
        &self,
        located: &Located,
        input: &[u8],
        icv: Range<usize>,
        head_len: usize,
        sequence: u64,
    ) -> Result<(), PacketError> {
        let (front, rest) = input[..located.ipsec.end].split_at(located.ipsec.start);
        let (header, payload) = rest.split_at(head_len);
        let mut zeroed = [0; MAX_AH];
        let zeroed = zeroed.get_mut(..head_len).ok_or(Malformed::BadLength)?;
        zeroed.copy_from_slice(header);
        zeroed[icv.clone()].fill(0);
        let high = halves(sequence).1.to_be_bytes();
        let covered = if self.attributes.extended_sequence { &high[..] } else { &[] };
        let expected = with_cleared(front, located.front.header.family(), |cleared| {
            self.transform.authenticate(&header[ah::HEADER..icv.start], &[cleared, zeroed, payload, covered])
        })?;
        Ok(matches(&expected[..icv.len()], &header[icv])?)
    }
}
