//! Writes both C headers (into `OUT_DIR`, where `tests/headers.rs` compares them with `include/`) and gives the shared
//! library its SONAME.

use std::{env, fs, path::Path};

/// Says of a generated header how it is made and what holds for all of its functions.
fn banner(guard: &str, contract: &str) -> String {
    format!(
        "#ifndef {guard}\n#define {guard}\n\n/* Generated from the Rust sources; do not edit. */\n\n/*\n{contract} */\n"
    )
}

fn write_header(name: &str, guard: &str, sources: &[&str], contract: &str, after_includes: &str, system: &[&str]) {
    let mut config = cbindgen::Config::from_file("cbindgen.toml").expect("cbindgen.toml");
    config.header = Some(banner(guard, contract));
    config.no_includes = true;
    config.sys_includes = system.iter().map(ToString::to_string).collect();
    config.after_includes = Some(after_includes.to_owned());
    config.trailer = Some(format!("#endif /* {guard} */"));
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in sources {
        println!("cargo::rerun-if-changed={source}");
        builder = builder.with_src(source);
    }
    let mut text = Vec::new();
    builder.generate().expect("a header").write(&mut text);
    let path = Path::new(&env::var_os("OUT_DIR").expect("cargo sets it")).join(name);
    fs::write(path, text).expect("OUT_DIR is writable");
}

fn text(path: &str) -> String {
    println!("cargo::rerun-if-changed={path}");
    fs::read_to_string(path).expect(path)
}

fn main() {
    println!("cargo::rerun-if-changed=cbindgen.toml");
    write_header(
        "g_ipsec_la.h",
        "G_IPSEC_LA_H",
        &[
            "src/types/handles.rs",
            "src/types/management.rs",
            "src/types/notifications.rs",
            "src/types/sa.rs",
            "src/types/packets.rs",
            "src/api/management.rs",
            "src/api/control.rs",
            "src/api/sa.rs",
            "src/api/packets.rs",
        ],
        &text("src/header/contract.txt"),
        &text("src/header/spec_types.h"),
        &["stdint.h"],
    );
    write_header(
        "g_ipsec_la_ext.h",
        "G_IPSEC_LA_EXT_H",
        &["src/api/extensions.rs", "src/api/buffers.rs"],
        &text("src/header/contract_ext.txt"),
        "#include \"g_ipsec_la.h\"",
        &["stdint.h"],
    );
    // What CMake does for the installed library; this is for programs that use cargo's own output.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libgipsec.so.1");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
