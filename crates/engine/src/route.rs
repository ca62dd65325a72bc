//! Where an SA's tunnel runs, which may change while packets flow (MOBIKE, a new NAT mapping).

use std::{
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
            fence,
        },
    },
};

use gipsec_wire::outer::{Endpoints, Ports, TEMPLATE_WORDS, Template};

use crate::{Direction, Mode, SaError};

/// A change to an SA (R31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Our end moved: the source of an outbound SA, the destination of an inbound one.
    Local {
        /// New address.
        address: IpAddr,
        /// New UDP port; None leaves it.
        port: Option<u16>,
    },
    /// The peer's end moved.
    Peer {
        /// New address.
        address: IpAddr,
        /// New UDP port; None leaves it.
        port: Option<u16>,
    },
    /// New replay information.
    Replay {
        /// New window size in packets.
        window: Option<u32>,
        /// New sequence number, and the bit map of those before it.
        sequence: Option<(u64, u32)>,
    },
}

/// What packets need of the outer addresses and ports as they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub udp: Option<Ports>,
    /// Outer headers of a tunnel; None in transport mode.
    pub template: Option<Template>,
}

/// A tunnel's ends and ports.
#[derive(Clone, Copy)]
struct Ends {
    mode: Mode,
    udp: Option<Ports>,
}

/// Words of a route.
const WORDS: usize = TEMPLATE_WORDS + 1;
/// Says that there are ports, in the last word.
const HAS_PORTS: u64 = 1 << 32;

/// An SA's route while packets read it and calls change it. Reading writes nothing, so that threads which share an SA do
/// not meet here, and never waits: of two copies one stays as it is while the other one is written.
pub(crate) struct Routing {
    /// How often the route was changed. The lowest bit says which copy is the present one.
    version: AtomicU64,
    copies: [[AtomicU64; WORDS]; 2],
    /// The number of the protocol that the SA adds, for IP headers in front of it.
    protocol: u8,
    /// Held by whoever changes the route, so that no change is lost.
    ends: Mutex<Ends>,
}

impl Routing {
    /// `protocol` is the number of the protocol that the SA adds.
    pub(crate) fn new(protocol: u8, mode: Mode, udp: Option<Ports>) -> Self {
        let ends = Ends { mode, udp };
        let words = ends.route(protocol).to_words();
        let copies = [words.map(AtomicU64::new), words.map(AtomicU64::new)];
        Self { version: AtomicU64::new(0), copies, protocol, ends: Mutex::new(ends) }
    }

    /// The route as it is now.
    #[inline]
    pub(crate) fn load(&self) -> Route {
        loop {
            let version = self.version.load(Acquire);
            let words = self.copies[(version & 1) as usize].each_ref().map(|word| word.load(Relaxed));
            // If anything of a later change was read, its version is seen, too.
            fence(Acquire);
            if self.version.load(Relaxed) == version {
                return Route::from_words(words);
            }
        }
    }

    /// Mode and ports, with addresses as they are now.
    pub(crate) fn ends(&self) -> (Mode, Option<Ports>) {
        let Ends { mode, udp } = *self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        (mode, udp)
    }

    /// Moves one end (R31).
    pub(crate) fn move_end(
        &self,
        direction: Direction,
        local: bool,
        address: IpAddr,
        port: Option<u16>,
    ) -> Result<(), SaError> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        *ends = ends.moved(direction, local, address, port)?;
        let version = self.version.load(Relaxed) + 1;
        fence(Release);
        for (word, new) in self.copies[(version & 1) as usize].iter().zip(ends.route(self.protocol).to_words()) {
            word.store(new, Relaxed);
        }
        self.version.store(version, Release);
        Ok(())
    }
}

impl Route {
    /// Whether there is a tunnel.
    #[inline]
    pub(crate) fn is_tunnel(&self) -> bool {
        self.template.is_some()
    }

    /// Whether a packet, which passed the gate, runs between the tunnel's ends.
    pub(crate) fn runs(&self, packet: &[u8]) -> bool {
        self.template.is_none_or(|template| template.runs(packet))
    }

    fn to_words(self) -> [u64; WORDS] {
        let ports =
            self.udp.map_or(0, |ports| HAS_PORTS | u64::from(ports.source) << 16 | u64::from(ports.destination));
        let [a, b, c, d, e, f] = self.template.map_or([0; TEMPLATE_WORDS], |template| template.to_words());
        [a, b, c, d, e, f, ports]
    }

    #[inline]
    fn from_words(words: [u64; WORDS]) -> Self {
        let [template @ .., ports] = words;
        let [d, c, b, a, ..] = ports.to_le_bytes();
        let udp = (ports & HAS_PORTS != 0)
            .then(|| Ports { source: u16::from_be_bytes([a, b]), destination: u16::from_be_bytes([c, d]) });
        Self { udp, template: Template::from_words(template, udp) }
    }
}

impl Ends {
    fn route(&self, protocol: u8) -> Route {
        let template = match &self.mode {
            Mode::Tunnel(endpoints) => Some(Template::new(endpoints, protocol, self.udp)),
            Mode::Transport => None,
        };
        Route { udp: self.udp, template }
    }

    /// With one end moved.
    fn moved(&self, direction: Direction, local: bool, address: IpAddr, port: Option<u16>) -> Result<Self, SaError> {
        const FAMILY: SaError = SaError::Invalid("the new address is of another family than the other end's");
        let is_source = local == (direction == Direction::Outbound);
        let mut udp = self.udp;
        if let Some(port) = port {
            let ports = udp.as_mut().ok_or(SaError::Invalid("a port for an SA without UDP encapsulation"))?;
            *(if is_source { &mut ports.source } else { &mut ports.destination }) = port;
        }
        let mode = match (self.mode, address) {
            (Mode::Transport, _) => Mode::Transport,
            (Mode::Tunnel(Endpoints::V4 { destination, .. }), IpAddr::V4(source)) if is_source => {
                Mode::Tunnel(Endpoints::V4 { source, destination })
            }
            (Mode::Tunnel(Endpoints::V4 { source, .. }), IpAddr::V4(destination)) => {
                Mode::Tunnel(Endpoints::V4 { source, destination })
            }
            (Mode::Tunnel(Endpoints::V6 { destination, .. }), IpAddr::V6(source)) if is_source => {
                Mode::Tunnel(Endpoints::V6 { source, destination })
            }
            (Mode::Tunnel(Endpoints::V6 { source, .. }), IpAddr::V6(destination)) => {
                Mode::Tunnel(Endpoints::V6 { source, destination })
            }
            _ => return Err(FAMILY),
        };
        Ok(Self { mode, udp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// A tunnel from 192.0.2.`last`.
    fn tunnel(last: u8) -> Mode {
        let (source, destination) = (Ipv4Addr::new(192, 0, 2, last), Ipv4Addr::new(198, 51, 100, 1));
        Mode::Tunnel(Endpoints::V4 { source, destination })
    }

    #[test]
    fn a_route_is_read_as_it_was_written() {
        let ports = Some(Ports { source: 4500, destination: 0xfedc });
        let v6 = Endpoints::V6 { source: Ipv6Addr::LOCALHOST, destination: Ipv6Addr::from(u128::MAX) };
        for mode in [Mode::Transport, tunnel(7), Mode::Tunnel(v6)] {
            for udp in [None, ports] {
                let routing = Routing::new(50, mode, udp);
                assert_eq!(routing.load(), Ends { mode, udp }.route(50));
                assert_eq!(routing.ends(), (mode, udp));
            }
        }
    }

    #[test]
    fn a_route_that_is_read_while_it_changes_is_the_old_one_or_the_new_one() {
        let routes: Vec<Route> = (0..=255).map(|last| Ends { mode: tunnel(last), udp: None }.route(50)).collect();
        let routing = Routing::new(50, tunnel(0), None);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| (0..300_000).all(|_| routes.contains(&routing.load())));
            for round in 0..20_000_u32 {
                let address = Ipv4Addr::new(192, 0, 2, round.to_le_bytes()[0]);
                routing.move_end(Direction::Outbound, true, address.into(), None).unwrap();
            }
            assert!(reader.join().unwrap());
        });
    }
}
