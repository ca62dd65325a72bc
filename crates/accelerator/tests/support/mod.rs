//! An accelerator's users without C in between: opening, an SA, and work that does what it is told.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::num::NonZeroU32;

use gipsec_accelerator::{
    Error, Key, OpenMode, Outcome, Registry, Selection, Work,
    engine::{
        Algorithms, Attributes, BundleEntry, Combined, Intervals, KeyLengths, Keys, Lifetime, Mode, Notify,
        OutboundRules, Parameters, Protocol, Rules,
    },
};

pub(crate) fn silent(_: Key) -> Box<dyn FnOnce() + Send> {
    Box::new(|| {})
}

pub(crate) fn open(registry: &Registry, mode: OpenMode, name: Option<&str>) -> Result<Key, Error> {
    registry.open(mode, Selection { name, vendor: 0, device: 0 }, "test", silent).map_err(|refused| refused.error)
}

pub(crate) fn gcm_sa() -> Vec<BundleEntry> {
    let keys = Keys { cipher: vec![7; 20].into(), ..Keys::default() };
    let attributes = Attributes {
        spi: NonZeroU32::MIN,
        protocol: Protocol::Esp,
        wrapped: false,
        mode: Mode::Transport,
        algorithms: Algorithms::Combined(Combined::Gcm),
        key_lengths: KeyLengths::default(),
        icv_len: None,
        implicit_iv: false,
        extended_sequence: false,
        udp: None,
        lifetime: Lifetime::default(),
        notify: Notify::default(),
        intervals: Intervals::default(),
        rules: Rules::Outbound(OutboundRules::default()),
    };
    vec![BundleEntry { parameters: Parameters::Ipsec(attributes), keys }]
}

/// Work that does what it is told.
pub(crate) struct Told<R, D> {
    run: R,
    deliver: Option<D>,
}

impl<R: FnMut(Outcome) + Send, D: FnOnce() + Send> Work for Told<R, D> {
    fn run(&mut self, outcome: Outcome) {
        (self.run)(outcome);
    }

    fn deliver(mut self: Box<Self>) {
        if let Some(deliver) = self.deliver.take() {
            deliver();
        }
    }
}

pub(crate) fn told(
    run: impl FnMut(Outcome) + Send + 'static,
    deliver: impl FnOnce() + Send + 'static,
) -> Box<dyn Work> {
    Box::new(Told { run, deliver: Some(deliver) })
}
