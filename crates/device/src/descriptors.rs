//! Whether the process may have the file descriptors that its clients can make it need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{accelerator::SPARE, memory::MAX_REGIONS, settings::Settings};

/// Standard streams, signals, libraries, and for each accelerator its socket and its eventfd.
const OTHERS: usize = 64;

/// What may be open at once.
fn needed(settings: &Settings) -> u64 {
    let of = |accelerator: &crate::settings::Accelerator| {
        let workers = 1 + accelerator.pairs;
        // The socket twice; for each worker an eventfd and those of two rings; memory, and the memory that replaces it.
        let connection = 2 + 5 * workers + 2 * MAX_REGIONS;
        2 + (accelerator.clients + 2 * SPARE) * connection
    };
    (OTHERS + settings.accelerators.iter().map(of).sum::<usize>()) as u64
}

/// Takes what it may have, and warns when that is too few.
pub fn provide(settings: &Settings) {
    let needed = needed(settings);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if enough(current) {
        return;
    }
    let raised = current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let limit = if raised { maximum } else { current };
    if !enough(limit) {
        tracing::warn!(
            "The clients may need {needed} file descriptors, and {} are allowed: when there are none left, nobody can \
             connect (RLIMIT_NOFILE, LimitNOFILE=).",
            limit.unwrap_or(u64::MAX)
        );
    }
}
