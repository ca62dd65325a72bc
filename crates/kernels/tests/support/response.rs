//! Response files of NIST's validation programs (CAVP), as the Python package
//! cryptography-vectors has them, and a count of the vectors that were run.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    io::Write,
    path::PathBuf,
};

/// One vector. Names are in upper case; what a section said is among them.
pub(crate) struct Record(HashMap<String, String>);

impl Record {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.0))
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let digits = self.text(name);
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    pub(crate) fn number(&self, name: &str) -> usize {
        self.text(name).parse().unwrap()
    }
}

/// Where the files are; says that the test is skipped when nobody says where.
pub(crate) fn directory() -> Option<PathBuf> {
    let directory = env::var_os("GIPSEC_CAVP_DIR").map(PathBuf::from);
    if directory.is_none() {
        say("SKIPPED: NIST's vectors: GIPSEC_CAVP_DIR does not name the directory of the package cryptography-vectors");
    }
    directory
}

/// The vectors of a file: the blocks that have a result. A block without one
/// holds for all that follow, as a section in brackets does.
pub(crate) fn records(file: &str) -> Vec<Record> {
    const RESULTS: [&str; 5] = ["CT", "MD", "CIPHERTEXT", "OUTPUT", "TAG"];
    let Some(directory) = directory() else { return Vec::new() };
    let path = directory.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut records, mut common, mut block) = (Vec::new(), HashMap::new(), HashMap::new());
    for line in text.lines().map(str::trim).chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            for part in section.trim_end_matches(']').split(',') {
                let (name, value) = part.split_once('=').unwrap_or(("MODE", part));
                common.insert(name.trim().to_uppercase(), value.trim().to_owned());
            }
        } else if line.is_empty() {
            let finished = std::mem::take(&mut block);
            if RESULTS.iter().any(|name| finished.contains_key(*name)) {
                let mut record = common.clone();
                record.extend(finished);
                records.push(Record(record));
            } else {
                common.extend(finished);
            }
        } else {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            block.insert(name.trim().to_uppercase(), value.trim().to_owned());
        }
    }
    assert!(!records.is_empty(), "{file} has no vectors");
    records
}

/// How many vectors were run, by what they are of.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<String, usize>);

impl Tally {
    pub(crate) fn add(&mut self, name: impl Into<String>) {
        *self.0.entry(name.into()).or_default() += 1;
    }

    /// Reports the counts, for the table in docs/conformance.md.
    pub(crate) fn report(&self, source: &str) {
        for (name, count) in &self.0 {
            say(&format!("published vectors: {source}: {name}: {count}"));
        }
    }
}

/// Says something that the test harness does not keep to itself.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
