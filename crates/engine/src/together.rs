//! Calls of several SAs processed in one step, so that their packets share the lanes of a transform: one packet of an SA
//! alone waits for every block of AES-CBC and every round of a hash, and many packets wait no longer.

use std::ptr;

use arrayvec::ArrayVec;

use crate::{
    Buffers, Events, MAX_BATCH, Sa, Verdict,
    inbound::{Admitted, Inbound, Received},
    outbound::{Framed, Outbound, Payload},
    transform::{Forged, Opens, Seals, Transform, open_together, seal_together},
};

/// Packets for one SA.
pub struct Call<'a, 'b> {
    /// The SA.
    pub sa: &'a Sa,
    /// Its packets.
    pub packets: &'a mut [Buffers<'b>],
    /// As many: what became of each.
    pub verdicts: &'a mut [Verdict],
    /// What is worth telling.
    pub events: &'a mut Events,
}

/// Does the same as [`Sa::process`] for each call in turn; two calls with one SA are processed in order.
pub fn process_together(calls: &mut [Call<'_, '_>]) {
    let packets: usize = calls.iter().map(|call| call.packets.len()).sum();
    if packets > MAX_BATCH || !(2..=MAX_BATCH).contains(&calls.len()) || shares_a_limit(calls) {
        for call in calls {
            *call.events = call.sa.process(call.packets, call.verdicts);
        }
        return;
    }
    encapsulate(calls);
    decapsulate(calls);
    for call in calls.iter_mut().filter(|call| outbound(call.sa).is_none() && inbound(call.sa).is_none()) {
        *call.events = call.sa.process(call.packets, call.verdicts);
    }
}

/// Whether two calls are for one SA with a hard lifetime: what one of them uses up is no longer left for the other.
fn shares_a_limit(calls: &[Call<'_, '_>]) -> bool {
    calls
        .iter()
        .enumerate()
        .any(|(at, call)| call.sa.has_hard_lifetime() && calls[..at].iter().any(|other| ptr::eq(other.sa, call.sa)))
}

/// The only entry of an outbound SA whose packets go abreast.
fn outbound(sa: &Sa) -> Option<&Outbound> {
    sa.outbound().filter(|sa| sa.works_abreast())
}

/// The only entry of an inbound SA whose packets go abreast.
fn inbound(sa: &Sa) -> Option<&Inbound> {
    sa.inbound().filter(|sa| sa.works_abreast())
}

fn encapsulate(calls: &mut [Call<'_, '_>]) {
    let mut seals = Seals::new();
    let mut owners: ArrayVec<(&Transform, usize), MAX_BATCH> = ArrayVec::new();
    let mut framed: ArrayVec<Framed, MAX_BATCH> = ArrayVec::new();
    for call in calls.iter_mut() {
        let Some(sa) = outbound(call.sa) else { continue };
        let before = seals.len();
        framed.push(sa.frame(Payload::Packet, call.packets, call.verdicts, &mut seals));
        owners.push((sa.transform(), seals.len() - before));
    }
    seal_together(&owners, &mut seals);
    drop(seals);
    let mut framed = framed.iter();
    for call in calls {
        if let Some(sa) = outbound(call.sa)
            && let Some(framed) = framed.next()
        {
            *call.events = sa.finish(framed, call.packets, call.verdicts);
        }
    }
}

fn decapsulate(calls: &mut [Call<'_, '_>]) {
    let mut opens = Opens::new();
    let mut owners: ArrayVec<(&Transform, usize), MAX_BATCH> = ArrayVec::new();
    let mut admitted: ArrayVec<Admitted, MAX_BATCH> = ArrayVec::new();
    let mut received: ArrayVec<Received, MAX_BATCH> = ArrayVec::new();
    for call in calls.iter_mut() {
        let Some(sa) = inbound(call.sa) else { continue };
        let before = opens.len();
        received.push(sa.receive(call.packets, call.verdicts, &mut admitted, &mut opens));
        owners.push((sa.transform(), opens.len() - before));
    }
    let mut results = [Err(Forged); MAX_BATCH];
    open_together(&owners, &mut opens, &mut results);
    drop(opens);
    let mut received = received.into_iter();
    for call in calls {
        if let Some(sa) = inbound(call.sa)
            && let Some(received) = received.next()
        {
            *call.events = sa.deliver(received, call.packets, call.verdicts, &admitted, &results);
        }
    }
}
