//! Any packets of any SA, whole and damaged, against private copies.

use proptest::sample::Index;

use super::{packets::*, *};

fn limits() -> impl Strategy<Value = Limits> {
    let rare = prop::bool::weighted(0.1);
    (proptest::option::weighted(0.2, 1u32..60), proptest::option::weighted(0.1, 0u64..90), any::<bool>(), rare)
        .prop_map(|(hard_kilobytes, numbers, check_outer, copy_flow_label)| Limits {
            hard_kilobytes,
            numbers,
            check_outer,
            copy_flow_label,
        })
}

/// AES-GCM in a tunnel, in every way there is.
fn usual() -> impl Strategy<Value = Case> {
    let key = prop_oneof![Just(16), Just(24), Just(32)];
    let icv = prop_oneof![Just(None), Just(Some(8)), Just(Some(12)), Just(Some(16))];
    let key = (key, proptest::collection::vec(any::<u8>(), 36));
    (cases(sizes()), key, icv, any::<bool>(), any::<bool>(), prop::bool::weighted(0.9)).prop_map(
        |(case, (key, mut cipher_key), icv_len, implicit_iv, six, is_plain)| {
            cipher_key.truncate(key + 4);
            Case {
                transform: TransformCase {
                    protocol: Protocol::Esp,
                    algorithms: Algorithms::Combined(Combined::Gcm),
                    icv_len,
                    cipher_key,
                    integrity_key: Vec::new(),
                    implicit_iv,
                },
                tunnel: Some(ends(six)),
                udp: None,
                wrapped: false,
                flow_padding: if is_plain { FlowPadding::default() } else { FlowPadding { to: 500, multiple: 64 } },
                ..case
            }
        },
    )
}

/// What is done to a packet before it is processed.
#[derive(Clone, Debug)]
struct Fate {
    which: Index,
    kind: u8,
    at: Index,
    byte: u8,
    /// Bytes of room beyond what surely is enough; below 8, less than that.
    room: u8,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = (any::<Index>(), 0u8..40, any::<Index>(), any::<u8>(), any::<u8>())
        .prop_map(|(which, kind, at, byte, room)| Fate { which, kind, at, byte, room });
    proptest::collection::vec(fate, 1..=70)
}

impl Fate {
    /// Damages a packet, or has it followed by others' bytes.
    fn damage(&self, packet: &mut Vec<u8>) {
        let at = self.at.index(packet.len().max(1));
        match self.kind {
            0 => packet.truncate(at),
            1 => packet.truncate(at.min(70)),
            2 if !packet.is_empty() => packet[at] ^= self.byte | 1,
            // Where headers are.
            3 if !packet.is_empty() => packet[at % 64] ^= self.byte | 1,
            4 => packet.extend(vec![self.byte; usize::from(self.byte)]),
            _ => {}
        }
    }

    /// Bytes of room for a packet whose result surely fits into so many.
    fn room(&self, enough: usize) -> usize {
        match self.room {
            0..4 => self.at.index(enough),
            4..8 => enough.saturating_sub(usize::from(self.byte)),
            more => enough + usize::from(more),
        }
    }
}

fn to_encapsulate(case: &Case, others: &[Vec<u8>], fates: &[Fate]) -> Vec<Job> {
    fates
        .iter()
        .map(|fate| {
            let which = fate.which.index(others.len() + 1);
            let mut packet = others.get(which).unwrap_or(&case.packet).clone();
            fate.damage(&mut packet);
            let room = fate.room(packet.len() + 700);
            (packet, room)
        })
        .collect()
}

/// Packets for the inbound SA of a case. Unless they are to be `wild`, all can be processed where they are if some can.
fn to_decapsulate(case: &Case, others: &[Vec<u8>], fates: &[Fate], wild: bool) -> Vec<Job> {
    let sealer = outbound(case, &NO_LIMITS);
    let mut number = case.start;
    let mut jobs: Vec<Job> = Vec::new();
    for fate in fates {
        let which = fate.which.index(others.len() + 1);
        let payload = others.get(which).unwrap_or(&case.packet);
        let family = if payload[0] >> 4 == 4 { protocol::IPV4 } else { protocol::IPV6 };
        // As far as the next one, sometimes back, or a leap.
        number = match fate.kind {
            5 => number.saturating_sub(u64::from(fate.byte)),
            6 => number + u64::from(fate.byte),
            _ => number + 1,
        };
        let mut packet = if is_usual(case) && fate.kind >= 7 {
            let usual = Handmade {
                number,
                payload,
                padding: &padding(fate.byte % 8),
                next_header: family,
                class: fate.byte >> 6,
                options: 0,
            };
            let padded = [&payload[..], &vec![0; usize::from(fate.byte)]].concat();
            let wrong = vec![fate.byte | 0x80; 1 + fate.at.index(20)];
            let handmade = match fate.kind {
                7 => Handmade { padding: &padding(fate.byte), ..usual },
                8 => Handmade { padding: &wrong, ..usual },
                9 => Handmade { next_header: protocol::NO_NEXT_HEADER, ..usual },
                10 => Handmade { next_header: fate.byte, ..usual },
                11 => Handmade { payload: &padded, ..usual },
                12 => Handmade { options: fate.at.index(11), ..usual },
                13 => Handmade { payload: &payload[..fate.at.index(payload.len())], ..usual },
                // Padding that is said to be longer than everything.
                14 => Handmade { payload: &[], padding: &[], next_header: 2, ..usual },
                _ => usual,
            };
            handmade.make(case)
        } else {
            let outcome = copied(&sealer, &[(payload.clone(), payload.len() + 2500)], 0);
            let mut sealed = outcome.rooms[0].clone();
            sealed.truncate(outcome.verdicts[0].unwrap());
            sealed
        };
        if fate.kind < 5 {
            fate.damage(&mut packet);
        }
        if wild && fate.kind == 15 {
            packet = fate.byte.to_be_bytes().repeat(fate.at.index(200));
        }
        if !wild && is_usual(case) {
            name_esp(&mut packet);
        }
        let room = if wild { fate.room(packet.len()) } else { packet.len() + usize::from(fate.room / 4) };
        if fate.kind == 16 {
            jobs.push((packet.clone(), room));
        }
        jobs.push((packet, room));
    }
    jobs
}

proptest! {
    #![proptest_config(config(1200))]

    #[test]
    fn packets_are_encapsulated_where_they_are_as_in_copies(
        case in prop_oneof![4 => usual().boxed(), 1 => cases(sizes()).boxed()],
        limits in limits(),
        others in proptest::collection::vec(packets(0usize..600), 0..4),
        fates in fates(),
        fill in prop_oneof![3 => Just(0), 1 => any::<u8>()],
    ) {
        let (sa, twin) = (outbound(&case, &limits), outbound(&case, &limits));
        let is_plain = is_usual(&case) && case.flow_padding == FlowPadding::default() && !limits.copy_flow_label;
        let jobs = to_encapsulate(&case, &others, &fates);
        for jobs in [&jobs[..], &jobs[..1]] {
            let (_, is_there) = compare(&sa, &twin, jobs, fill, is_repeatable(&case))?;
            prop_assert_eq!(is_there, is_plain);
        }
    }

    #[test]
    fn packets_are_decapsulated_where_they_are_as_in_copies(
        case in prop_oneof![4 => usual().boxed(), 1 => cases(sizes()).boxed()],
        limits in limits(),
        others in proptest::collection::vec(packets(0usize..600), 0..4),
        fates in fates(),
        wild in prop::bool::weighted(0.2),
        fill in prop_oneof![3 => Just(0), 1 => any::<u8>()],
    ) {
        let (sa, twin) = (inbound(&case, &limits), inbound(&case, &limits));
        let jobs = to_decapsulate(&case, &others, &fates, wild);
        // The second time, what was accepted is a replay.
        for _ in 0..2 {
            let (_, is_there) = compare(&sa, &twin, &jobs, fill, true)?;
            prop_assert!(is_there || wild || !is_usual(&case));
            prop_assert!(!is_there || is_usual(&case));
        }
    }
}
