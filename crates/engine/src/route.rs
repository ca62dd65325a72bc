//! Where an SA's tunnel runs, which may change while packets flow (MOBIKE, a new NAT mapping).

use arc_swap::{ArcSwap, Guard};
use gipsec_wire::{
    ip::{self, Family},
    outer::{Endpoints, Ports, Template},
};
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

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

/// Outer addresses and ports as they are now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub mode: Mode,
    pub udp: Option<Ports>,
    /// The number of the protocol that the SA adds, for IP headers in front of it.
    protocol: u8,
    /// Outer headers of an outbound SA; without a tunnel, the UDP header alone if there is one.
    pub template: Option<Template>,
}

/// An SA's route while packets read it and calls change it.
pub(crate) struct Routing {
    now: ArcSwap<Route>,
    /// Held by whoever changes the route, so that no change is lost.
    changing: Mutex<()>,
}

impl Routing {
    /// `protocol` is the number of the protocol that the SA adds.
    pub(crate) fn new(protocol: u8, mode: Mode, udp: Option<Ports>) -> Self {
        Self { now: ArcSwap::from_pointee(Route::new(protocol, mode, udp)), changing: Mutex::new(()) }
    }

    /// The route as it is now.
    #[inline]
    pub(crate) fn load(&self) -> Guard<Arc<Route>> {
        self.now.load()
    }

    /// Moves one end (R31).
    pub(crate) fn move_end(
        &self,
        direction: Direction,
        local: bool,
        address: IpAddr,
        port: Option<u16>,
    ) -> Result<(), SaError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = self.now.load().moved(direction, local, address, port)?;
        self.now.store(moved.into());
        Ok(())
    }
}

impl Route {
    fn new(protocol: u8, mode: Mode, udp: Option<Ports>) -> Self {
        let template = match &mode {
            Mode::Tunnel(endpoints) => Some(Template::new(endpoints, protocol, udp)),
            Mode::Transport => None,
        };
        Self { mode, udp, protocol, template }
    }

    /// Whether a packet, which passed the gate, runs between the tunnel's ends.
    pub(crate) fn runs(&self, packet: &[u8], family: Family) -> bool {
        match &self.mode {
            Mode::Tunnel(endpoints) => ip::addresses(packet, family) == Some(endpoints.addresses()),
            Mode::Transport => true,
        }
    }

    /// The route with one end moved.
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
        Ok(Self::new(self.protocol, mode, udp))
    }
}
