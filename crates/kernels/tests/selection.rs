//! The choice of a backend by processor, environment and cargo feature.

mod support;

use gipsec_kernels::gcm::{Backend, GcmKey};
use support::available;

const VARIABLE: &str = "G_IPSEC_LA_PORTABLE_CRYPTO";

/// Set in the child processes of this test.
const EXPECTED: &str = "GIPSEC_KERNELS_TEST_EXPECTED_BACKEND";

#[test]
fn environment() {
    if let Ok(expected) = std::env::var(EXPECTED) {
        assert_eq!(gipsec_kernels::backend(), expected);
        assert_eq!(GcmKey::new(&[1; 16]).unwrap().backend().name(), expected);
        return;
    }
    let fastest = available()[0].name();
    let portable = Backend::Portable.name();
    let cases =
        [(None, fastest), (Some(""), fastest), (Some("0"), fastest), (Some("1"), portable), (Some("yes"), portable)];
    for (value, expected) in cases {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "environment"]).env(EXPECTED, expected).env_remove(VARIABLE);
        if let Some(value) = value {
            child.env(VARIABLE, value);
        }
        assert!(child.output().unwrap().status.success(), "{value:?} should select {expected}");
    }
}

#[test]
fn portable_is_always_available() {
    assert!(available().contains(&Backend::Portable));
    if cfg!(feature = "portable") {
        assert_eq!(available(), [Backend::Portable]);
    }
}
