//! Which parameters of one SA contradict each other.

use super::{
    Algorithms, Attributes, Cipher, Combined, DscpRule, FlowPadding, InboundRules, Integrity, Lifetime, Mode,
    OutboundRules, Protocol, Rules,
};
use crate::{SaError, replay};

impl Attributes {
    /// Whether ESP encrypts.
    pub(crate) fn encrypts(&self) -> bool {
        !matches!(
            self.algorithms,
            Algorithms::Separate { cipher: Cipher::Null, .. } | Algorithms::Combined(Combined::Gmac)
        )
    }

    /// Checks what the type cannot say. Keys, ICV and IV lengths are checked where the transform is made.
    pub(crate) fn check(&self) -> Result<(), SaError> {
        self.check_protocol()?;
        self.lifetime.check()?;
        if self.intervals.periodic == 0 {
            return Err(SaError::Invalid("the periodic notification interval is 0"));
        }
        match &self.rules {
            Rules::Outbound(rules) => self.check_outbound(rules),
            Rules::Inbound(rules) => rules.check(self.mode),
        }
    }

    fn check_protocol(&self) -> Result<(), SaError> {
        const NOTHING: Algorithms = Algorithms::Separate { cipher: Cipher::Null, integrity: Integrity::None };
        match self.protocol {
            Protocol::Ah if self.udp.is_some() => Err(SaError::Invalid("AH cannot be encapsulated in UDP")),
            Protocol::Ah if self.wrapped => Err(SaError::Invalid("WESP wraps ESP, not AH")),
            Protocol::Ah if self.algorithms == NOTHING => Err(SaError::Invalid("AH needs an integrity algorithm")),
            Protocol::Ah if self.encrypts() => Err(SaError::Invalid("AH does not encrypt")),
            Protocol::Esp if self.algorithms == NOTHING => {
                Err(SaError::Invalid("ESP needs encryption or integrity (RFC 4303 section 1)"))
            }
            _ => Ok(()),
        }
    }

    fn check_outbound(&self, rules: &OutboundRules) -> Result<(), SaError> {
        rules.check()?;
        if rules.flow_padding == FlowPadding::default() {
            return Ok(());
        }
        // RFC 4303 section 2.7: the receiver must be able to tell the payload's own length.
        match (self.protocol, self.mode) {
            (Protocol::Esp, Mode::Tunnel(_)) => Ok(()),
            _ => Err(SaError::Invalid("traffic flow padding needs ESP in tunnel mode")),
        }
    }
}

impl InboundRules {
    /// Checks what the type cannot say.
    pub(crate) fn check(&self, mode: Mode) -> Result<(), SaError> {
        if self.replay_window.is_some_and(|size| !(replay::MIN_WINDOW..=replay::MAX_WINDOW).contains(&size)) {
            return Err(SaError::Invalid("the anti-replay window is not 32 to 65,536 packets"));
        }
        if self.check_outer && mode == Mode::Transport {
            return Err(SaError::Invalid("transport mode has no outer addresses to check"));
        }
        Ok(())
    }
}

impl OutboundRules {
    /// Checks what the type cannot say.
    pub(crate) fn check(&self) -> Result<(), SaError> {
        if let DscpRule::Set(64..) = self.dscp {
            return Err(SaError::Invalid("the DSCP exceeds 63"));
        }
        Ok(())
    }
}

impl Lifetime {
    /// Checks what the type cannot say.
    pub(crate) fn check(&self) -> Result<(), SaError> {
        match (self.soft_kilobytes, self.hard_kilobytes) {
            (Some(soft), Some(hard)) if soft > hard => Err(SaError::Invalid("the soft lifetime exceeds the hard one")),
            _ => Ok(()),
        }
    }
}
