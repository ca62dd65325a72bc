//! Capabilities and notifications (document 8.8 to 8.10).

use gipsec_accelerator::{Capabilities as Abilities, Error, Hooks, Lane, Notification, What};

use crate::{
    answer::{Answer, Manner, answer, answered, heard},
    guard::guarded,
    pointers::required,
    process::registry,
    types::{
        CapGetOutArgs, Capabilities, ControlFlags, Handle, LifetimeInBytesNotification, NotificationHooks,
        ResponseArgs, SaHandle, SeqNumberNotification,
    },
};

impl Answer<Abilities> for CapGetOutArgs {
    fn empty() -> Self {
        Self::default()
    }

    unsafe fn write(&mut self, result: &Result<Abilities, Error>) {
        let able = result.unwrap_or_default();
        self.caps = Capabilities {
            features: able.features.bits(),
            num_dscp_based_queues: able.dscp_queues,
            reserved: 0,
            auth_algo_caps: able.integrity.bits(),
            cipher_algo_caps: able.cipher.bits(),
            comb_algo_caps: able.combined.bits(),
        };
    }
}

/// Says what the accelerator can do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_capabilities_get(
    handle: *mut Handle,
    flags: ControlFlags,
    out: *mut CapGetOutArgs,
    resp: *mut ResponseArgs,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract.
        let (handle, resp) = unsafe { (required(handle)?, resp.as_ref()) };
        let group = registry().group(handle.client()?, handle.group()?)?;
        let manner = Manner::new(flags, resp.copied())?;
        let out = heard(&manner, out)?;
        let asked = group.clone();
        // SAFETY: the same.
        unsafe { answer(&group, Lane::Control, &manner, out, move || Ok(asked.accelerator().capabilities())) }
    };
    // SAFETY: the header's contract.
    unsafe { answered(out, body) }
}

/// Registers functions for the notifications of the SAs of this handle's group; with a handle without a group, of all
/// SAs whose group has registered none. Replaces what was registered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_notification_hooks_register(handle: Handle, r#in: *const NotificationHooks) -> i32 {
    guarded(|| {
        // SAFETY: the header's contract.
        let hooks = unsafe { required(r#in) }?;
        let group = registry().group(handle.client()?, handle.group()?)?;
        group.set_hooks(Some(Hooks::new(move |notification| notify(&hooks, notification))));
        Ok(0)
    })
}

/// Takes back what g_ipsec_la_notification_hooks_register registered. Notifications that wait may still be called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_notifications_hook_deregister(handle: Handle) -> i32 {
    guarded(|| {
        registry().group(handle.client()?, handle.group()?)?.set_hooks(None);
        Ok(0)
    })
}

fn notify(hooks: &NotificationHooks, notification: &Notification) {
    let mut handle = Handle::new(notification.client, notification.group);
    let mut sa_handle = SaHandle::new(notification.sa);
    let mut sequence = |number: u64| SeqNumberNotification {
        handle: &raw mut handle,
        sa_handle: &raw mut sa_handle,
        seq_num: u32::try_from(number & 0xffff_ffff).unwrap_or(0),
        hi_seq_num: u32::try_from(number >> 32).unwrap_or(0),
    };
    match notification.what {
        What::SequenceOverflow(number) => {
            if let Some(function) = hooks.seq_num_overflow_fn {
                let mut information = sequence(number);
                // SAFETY: the application registered the function; what it gets lives until it returns.
                unsafe { function(handle, &raw mut information) };
            }
        }
        What::SequencePeriodic(number) => {
            if let Some(function) = hooks.seq_num_periodic_update_fn {
                let mut information = sequence(number);
                // SAFETY: the same.
                unsafe { function(handle, &raw mut information) };
            }
        }
        What::SoftLifetime(ipsec_lifetime_in_kbytes) => {
            if let Some(function) = hooks.soft_lifetimeout_expiry_fn {
                let mut information = LifetimeInBytesNotification { sa_handle, ipsec_lifetime_in_kbytes };
                // SAFETY: the same.
                unsafe { function(handle, &raw mut information) };
            }
        }
    }
}

/// Another name of g_ipsec_la_capabilities_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn g_ipsec_la_get_capabilities(
    handle: *mut Handle,
    flags: ControlFlags,
    out: *mut CapGetOutArgs,
    resp: *mut ResponseArgs,
) -> i32 {
    // SAFETY: the same contract.
    unsafe { g_ipsec_la_capabilities_get(handle, flags, out, resp) }
}
