//! The committed headers are what the sources say.

use std::{env, fs, path::Path};

/// Compares `include/<name>` with what `build.rs` wrote; `GIPSEC_UPDATE_HEADERS=1` writes it there instead.
fn is_current(name: &str, fresh: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include").join(name);
    if env::var_os("GIPSEC_UPDATE_HEADERS").is_some() {
        fs::write(&path, fresh).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    assert!(committed == fresh, "include/{name} is out of date: run GIPSEC_UPDATE_HEADERS=1 cargo test --test headers");
}

#[test]
fn the_documents_header_is_current() {
    is_current("g_ipsec_la.h", include_str!(concat!(env!("OUT_DIR"), "/g_ipsec_la.h")));
}

#[test]
fn the_extension_header_is_current() {
    is_current("g_ipsec_la_ext.h", include_str!(concat!(env!("OUT_DIR"), "/g_ipsec_la_ext.h")));
}
