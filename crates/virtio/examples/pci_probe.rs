//! What virtio IPsec devices this machine has on its PCI bus, and why one cannot be opened.
//!
//!     pci_probe [--watch SECONDS]
//!
//! Each device is attached to as a driver attaches, with no SA and no packet. With `--watch` it stays attached, until it is
//! lost or the time is over. Ends with 0 when every device could be attached to and, with `--watch`, none was lost.

use std::{
    path::Path,
    process::ExitCode,
    sync::mpsc,
    time::{Duration, Instant},
};

use gipsec_virtio::{
    driver::{Device, Options},
    message::{config::OPEN_SHARED, control::AttachMode},
    transport::{
        Transport,
        pci::{self, PciDevice},
    },
};

/// Bytes of memory to share: what the rings and requests of a few queues take.
const POOL: usize = 8 << 20;

/// The number in one of the machine's files, as text.
fn first_line(path: &str) -> String {
    std::fs::read_to_string(path).ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or("none".into())
}

/// Attaches to a device, and says what it is; it stays attached for `watch`.
fn probe(device: &PciDevice, watch: Option<Duration>) -> Result<(), String> {
    let begun = Instant::now();
    let transport = pci::open(device, POOL).map_err(|why| why.to_string())?;
    let config = transport.config();
    println!("  features {:#x}, {} pairs of data queues", transport.features(), config.data_pairs);
    let sizes: Vec<_> =
        (0..2 + 2 * config.data_pairs.get().min(64) as usize).map(|queue| transport.max_queue_size(queue)).collect();
    println!("  descriptors of its queues at most: {sizes:?}");
    println!(
        "  SAs at most: {}, packets of a request: {}, instance {:#x}",
        config.max_sas, config.max_batch, config.instance
    );
    let memory = transport.memory();
    println!("  memory: {} bytes, the first at {:#x} to the device", memory.len(), memory.device_address(0));
    let (tell, told) = mpsc::channel();
    let lost = move || tell.send(()).unwrap_or(());
    // Beside others, if the device can be shared.
    let mode = if config.open_modes & OPEN_SHARED != 0 { AttachMode::Shared } else { AttachMode::Exclusive };
    let attached = Device::open(Box::new(transport), mode, "pci_probe", Options::default(), Box::new(lost));
    let attached = attached.map_err(|why| format!("attaching: {why}"))?;
    println!("  attached after {} ms", begun.elapsed().as_millis());
    if let Some(time) = watch {
        println!("  watching");
        let begun = Instant::now();
        if told.recv_timeout(time).is_ok() {
            return Err(format!("lost after {} ms", begun.elapsed().as_millis()));
        }
    }
    if attached.is_lost() { Err("lost".into()) } else { Ok(()) }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let watch = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => None,
        ["--watch", seconds] => Some(Duration::from_secs(seconds.parse().unwrap_or(10))),
        _ => {
            eprintln!("usage: pci_probe [--watch SECONDS]");
            return ExitCode::from(2);
        }
    };
    let ids = pci::ids();
    let named: Vec<_> = ids.iter().map(|(vendor, device)| format!("{vendor:04x}:{device:04x}")).collect();
    println!("looking for {} ({} names more)", named.join(", "), pci::IDS_VARIABLE);
    println!("free huge pages of 2 MiB: {}", first_line("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"));
    println!("VFIO: {}", if Path::new("/dev/vfio/vfio").exists() { "there" } else { "not there" });
    let found = pci::look(&ids);
    println!("devices: {}", found.len());
    let mut failed = found.is_empty();
    for device in found {
        let said = device.and_then(|device| {
            println!("{} ({:?})", device.name, device.driver);
            probe(&device, watch)
        });
        match said {
            Ok(()) => println!("  it can be used"),
            Err(why) => {
                println!("  NOT USABLE: {why}");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
