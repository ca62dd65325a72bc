//! Opening, sharing and losing accelerators, without C in between.

mod support;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use gipsec_accelerator::{
    Class, Error, Lane, OpenMode, Outcome, Registry, Remark, Selection,
    engine::{Buffers, Direction, PacketError, Parameters},
};
use support::*;

#[test]
fn exclusive_and_shared_exclude_each_other() {
    let registry = Registry::new(1, (1, 2), Vec::new());
    let shared = open(&registry, OpenMode::Shared, None).unwrap();
    assert_eq!(open(&registry, OpenMode::Exclusive, None), Err(Error::Busy));
    let second = open(&registry, OpenMode::Shared, Some("soft0")).unwrap();
    registry.close(shared).unwrap();
    registry.close(second).unwrap();
    let exclusive = open(&registry, OpenMode::Exclusive, None).unwrap();
    assert_eq!(open(&registry, OpenMode::Shared, None), Err(Error::Busy));
    assert!(registry.available().is_empty());
    registry.close(exclusive).unwrap();
    assert_eq!(registry.close(exclusive), Err(Error::BadHandle("accelerator")));
    assert_eq!(registry.available().len(), 1);
    assert!(matches!(open(&registry, OpenMode::Shared, Some("soft9")), Err(Error::NoDevice(_))));
}

#[test]
fn a_groups_sas_are_its_own_and_counted_after_they_are_gone() {
    let registry = Registry::new(1, (1, 2), Vec::new());
    let client = open(&registry, OpenMode::Shared, None).unwrap();
    let group = registry.create_group(client, "blue").unwrap();
    let sa = registry.group(client, Some(group)).unwrap().add_sa(gcm_sa(), Remark::default(), false).unwrap();
    assert_eq!(
        registry.group(client, Some(group)).unwrap().read_sa(Direction::Outbound, sa).unwrap().remark,
        Remark::default()
    );
    assert!(matches!(registry.sa(client, None, sa, Direction::Outbound), Err(Error::NotFound(_))));
    assert!(matches!(registry.sa(client, Some(group), sa, Direction::Inbound), Err(Error::NotFound(_))));

    let mut packet = [0u8; 28];
    packet[..10].copy_from_slice(&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17]);
    let mut output = [0u8; 128];
    let mut verdict = [Err(PacketError::Crypto)];
    registry
        .with_sa(client, Some(group), sa, Direction::Outbound, |sa| {
            sa.process(&mut [Buffers::Apart { input: &packet, output: &mut output }], &mut verdict);
        })
        .unwrap();
    assert!(verdict[0].is_ok());
    registry.group(client, Some(group)).unwrap().delete_sa(Direction::Outbound, sa).unwrap();
    let rows = registry.active();
    let blue = rows.iter().find(|row| row.group == "blue").unwrap().activity;
    assert_eq!((blue.packets_out, blue.bytes_out, blue.created, blue.deleted, blue.active), (1, 8, 1, 1, 0));
    registry.delete_group(client, group).unwrap();
    assert!(matches!(registry.group(client, Some(group)), Err(Error::BadHandle("group"))));
    registry.close(client).unwrap();
    assert!(registry.active().is_empty());
}

#[test]
fn removal_is_told_once_and_ends_what_waits() {
    let registry = Registry::new(1, (1, 2), Vec::new());
    let told_of_it = Arc::new(AtomicUsize::new(0));
    let selection = Selection::default();
    let client = registry
        .open(OpenMode::Shared, selection, "test", |_| {
            let told_of_it = told_of_it.clone();
            Box::new(move || {
                told_of_it.fetch_add(1, SeqCst);
            })
        })
        .unwrap();
    let group = registry.group(client, None).unwrap();
    let gone = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = mpsc::channel::<()>();
    let wait = move |_| {
        let _ = receiver.recv_timeout(Duration::from_secs(20));
    };
    let first = told(wait, || {});
    assert!(group.submit(Lane::Control, Class::default(), first).is_ok());
    let counted = gone.clone();
    let count = move |outcome| {
        counted.fetch_add(usize::from(outcome == Outcome::Gone), SeqCst);
    };
    let second = told(count, || {});
    assert!(group.submit(Lane::Control, Class::default(), second).is_ok());
    registry.remove("soft0").unwrap();
    sender.send(()).unwrap();
    assert!(matches!(registry.group(client, None), Err(Error::NoDevice(_))));
    assert!(matches!(registry.remove("soft0"), Err(Error::NoDevice(_))));
    registry.close(client).unwrap();
    assert_eq!((told_of_it.load(SeqCst), gone.load(SeqCst)), (1, 1));
    assert_eq!(registry.add("soft0", Box::new(gipsec_accelerator::Soft)), Ok(1));
}

#[test]
fn handles_of_one_application_share_a_row() {
    let registry = Registry::new(1, (1, 2), Vec::new());
    let clients = [(); 2].map(|()| open(&registry, OpenMode::Shared, None).unwrap());
    for client in clients {
        registry.group(client, None).unwrap().add_sa(gcm_sa(), Remark::default(), false).unwrap();
    }
    let rows = registry.active();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].activity.active, 2);
}

#[test]
fn a_notification_that_comes_once_is_not_lost_among_many_calls() {
    let registry = Registry::new(1, (1, 2), Vec::new());
    let client = open(&registry, OpenMode::Shared, None).unwrap();
    let group = registry.group(client, None).unwrap();
    let mut entries = gcm_sa();
    let Some(Parameters::Ipsec(attributes)) = entries.first_mut().map(|entry| &mut entry.parameters) else {
        unreachable!("an SA of GCM is one of ESP")
    };
    attributes.lifetime.soft_kilobytes = Some(NonZeroU32::MIN);
    attributes.notify.soft_lifetime = true;
    let sa = group.add_sa(entries, Remark::default(), false).unwrap();
    let (sender, receiver) = mpsc::channel();
    group.set_hooks(Some(gipsec_accelerator::Hooks::new(move |notification| {
        sender.send(notification.what).unwrap();
    })));
    let (release, blocked) = mpsc::channel::<()>();
    let wait = move |_| {
        let _ = blocked.recv_timeout(Duration::from_secs(20));
    };
    assert!(group.submit(Lane::Control, Class::default(), told(wait, || {})).is_ok());
    while group.submit(Lane::Control, Class::default(), told(|_| {}, || {})).is_ok() {}
    let mut packet = [0u8; 1300];
    packet[..10].copy_from_slice(&[0x45, 0, 0x05, 0x14, 0, 0, 0, 0, 64, 17]);
    let mut output = [0u8; 1400];
    let mut verdict = [Err(PacketError::Crypto)];
    registry
        .with_sa(client, None, sa, Direction::Outbound, |sa| {
            sa.process(&mut [Buffers::Apart { input: &packet, output: &mut output }], &mut verdict);
        })
        .unwrap();
    release.send(()).unwrap();
    let what = receiver.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(what, gipsec_accelerator::What::SoftLifetime(1));
    registry.close(client).unwrap();
}
