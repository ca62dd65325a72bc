/* Notifications (R13, R34): soft and hard lifetime, the end of the sequence numbers, and periodic ones. */
#include "check.h"
#include "support.h"

enum { INNER = 1024 };

static struct g_ipsec_la_handle handle;
static struct g_ipsec_la_sa_handle watched;
static uint8_t packet[INNER], sealed[INNER + 100];
static uint32_t length;
static int overflows, periodics, softs;
static uint64_t overflow_at[8], periodic_at[64];
static uint32_t soft_kilobytes;

static void overflow(struct g_ipsec_la_handle from, struct g_ipsec_seq_number_notification *in) {
    CHECK(memcmp(&from, &handle, sizeof from) == 0);
    CHECK(memcmp(in->handle, &handle, sizeof handle) == 0);
    CHECK(memcmp(in->sa_handle, &watched, sizeof watched) == 0);
    CHECK(overflows < 8);
    overflow_at[overflows] = (uint64_t)in->hi_seq_num << 32 | in->seq_num;
    __atomic_add_fetch(&overflows, 1, __ATOMIC_RELEASE);
}

static void periodic(struct g_ipsec_la_handle from, struct g_ipsec_seq_number_notification *in) {
    CHECK(memcmp(&from, &handle, sizeof from) == 0);
    CHECK(memcmp(in->sa_handle, &watched, sizeof watched) == 0);
    CHECK(periodics < 64);
    periodic_at[periodics] = (uint64_t)in->hi_seq_num << 32 | in->seq_num;
    __atomic_add_fetch(&periodics, 1, __ATOMIC_RELEASE);
}

static void soft(struct g_ipsec_la_handle from, struct g_ipsec_la_lifetime_in_bytes_notification *in) {
    CHECK(memcmp(&from, &handle, sizeof from) == 0);
    CHECK(memcmp(&in->sa_handle, &watched, sizeof watched) == 0);
    soft_kilobytes = in->ipsec_lifetime_in_kbytes;
    __atomic_add_fetch(&softs, 1, __ATOMIC_RELEASE);
}

static void seal(int32_t expected) {
    CHECK_RESULT(encap(&handle, watched, packet, INNER, sealed, sizeof sealed, &length), expected);
}

static struct g_ipsec_la_sa_handle add_with(const struct g_ipsec_la_sa *sa, uint64_t margin, uint64_t interval) {
    struct g_ipsec_la_ext_sa_options options;
    struct g_ipsec_la_sa_add_inargs in;
    struct g_ipsec_la_sa_add_outargs out;
    memset(&options, 0, sizeof options);
    memset(&in, 0, sizeof in);
    options.size = sizeof options;
    options.seq_num_overflow_margin = margin;
    options.seq_num_periodic_interval = interval;
    in.dir = OUTBOUND, in.num_sas = 1, in.sa_params = (struct g_ipsec_la_sa *)sa;
    CHECK_OK(g_ipsec_la_ext_sa_add(&handle, &in, &options, SYNC, &out, no_response));
    return out.sa_handle;
}

/* 16 KiB: told once at 8 KiB; at 16 KiB it is over. Outbound counts and inbound counts. */
static void lifetimes(void) {
    struct g_ipsec_la_sa sa = gcm_sa(0x9001);
    sa.cmn_flags = SA_FLAGS(G_IPSEC_LA_SA_LIFETIME_IN_KB | G_IPSEC_LA_NOTIFY_LIFETIME_KB_EXPIRY);
    sa.soft_kilobytes_limit = 8;
    sa.hard_kilobytes_limit = 16;
    watched = add_sa(&handle, OUTBOUND, &sa);
    for (int i = 0; i < 7; i++) seal(0);
    sleep_ms(30);
    CHECK_EQ(softs, 0);
    seal(0);
    wait_for(&softs, 1, "soft lifetime");
    CHECK_EQ(soft_kilobytes, 8);
    for (int i = 8; i < 16; i++) seal(0);
    for (int i = 0; i < 3; i++) seal(-EKEYEXPIRED);
    sleep_ms(30);
    CHECK_EQ(softs, 1);
    struct g_ipsec_la_sa_stats stats = statistics(&handle, OUTBOUND, watched);
    CHECK_EQ(stats.packets_processed, 16);
    CHECK_EQ(stats.bytes_processed, 16 * 1024);
    CHECK_EQ(stats.protocol_violation_errors.crypto_op_failed, 3);
    CHECK_EQ(errors_counted(&stats), 3);

    struct g_ipsec_la_sa plain = gcm_sa(0x9001);
    struct g_ipsec_la_sa_handle sender = add_sa(&handle, OUTBOUND, &plain);
    sa.soft_kilobytes_limit = 1;
    sa.hard_kilobytes_limit = 2;
    watched = add_sa(&handle, INBOUND, &sa);
    uint8_t opened[INNER];
    uint32_t back;
    for (int i = 0; i < 4; i++) {
        CHECK_OK(encap(&handle, sender, packet, INNER, sealed, sizeof sealed, &length));
        CHECK_RESULT(decap(&handle, watched, sealed, length, opened, sizeof opened, &back), i < 2 ? 0 : -EKEYEXPIRED);
    }
    wait_for(&softs, 2, "soft lifetime of an inbound SA");
    CHECK_EQ(soft_kilobytes, 1);

    /* Without LIFETIME_IN_KB the limits mean nothing; the limit 0 is no limit. */
    sa.cmn_flags = G_IPSEC_LA_NOTIFY_LIFETIME_KB_EXPIRY;
    watched = add_sa(&handle, OUTBOUND, &sa);
    for (int i = 0; i < 5; i++) seal(0);
    sa.cmn_flags = SA_FLAGS(G_IPSEC_LA_SA_LIFETIME_IN_KB | G_IPSEC_LA_NOTIFY_LIFETIME_KB_EXPIRY);
    sa.soft_kilobytes_limit = sa.hard_kilobytes_limit = 0;
    watched = add_sa(&handle, OUTBOUND, &sa);
    for (int i = 0; i < 5; i++) seal(0);
    sleep_ms(30);
    CHECK_EQ(softs, 2);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* Told once 2^20 numbers before the end, and once at the end. */
static void overflow_of(int esn, uint64_t margin) {
    struct g_ipsec_la_sa sa = gcm_sa(0x9002);
    uint32_t high = esn ? 0xffffffff : 0;
    uint64_t last = esn ? UINT64_MAX : UINT32_MAX, at = last - (margin != 0 ? margin : 1u << 20);
    sa.cmn_flags = SA_FLAGS(G_IPSEC_LA_NOTIFY_SEQNUM_OVERFLOW | (esn ? G_IPSEC_LA_SA_USE_ESN : 0));
    watched = margin != 0 ? add_with(&sa, margin, 0) : add_sa(&handle, OUTBOUND, &sa);
    overflows = 0;
    CHECK_OK(set_sequence(&handle, OUTBOUND, watched, high, (uint32_t)(at - 3)));
    seal(0);
    seal(0);
    sleep_ms(30);
    CHECK_EQ(overflows, 0);
    for (int i = 0; i < 4; i++) seal(0);
    wait_for(&overflows, 1, "the warning");
    sleep_ms(30);
    CHECK_EQ(overflows, 1);
    CHECK(overflow_at[0] >= at - 1 && overflow_at[0] <= at + 1);
    CHECK_OK(set_sequence(&handle, OUTBOUND, watched, high, 0xfffffffe));
    seal(0);
    CHECK_EQ(sequence_of(sealed, G_IPSEC_LA_PROTOCOL_ESP), 0xffffffff);
    seal(-EOVERFLOW);
    wait_for(&overflows, 2, "the end");
    seal(-EOVERFLOW);
    sleep_ms(30);
    CHECK_EQ(overflows, 2);
    CHECK_EQ(overflow_at[1], last);
    CHECK_OK(del_sa(&handle, OUTBOUND, watched));
}

static void periodic_ones(void) {
    struct g_ipsec_la_sa sa = gcm_sa(0x9003);
    sa.cmn_flags = G_IPSEC_LA_NOTIFY_SEQNUM_PERIODIC;
    watched = add_with(&sa, 0, 100);
    for (int i = 0; i < 550; i++) seal(0);
    wait_for(&periodics, 5, "periodic notifications");
    sleep_ms(30);
    CHECK_EQ(periodics, 5);
    for (int i = 0; i < 5; i++) CHECK_EQ(periodic_at[i], (i + 1) * 100);
    CHECK_OK(del_sa(&handle, OUTBOUND, watched));
    if (loops(1, 0)) { /* the interval of R34: 65,536 */
        watched = add_sa(&handle, OUTBOUND, &sa);
        for (int i = 0; i < 65535; i++) seal(0);
        sleep_ms(30);
        CHECK_EQ(periodics, 5);
        seal(0);
        wait_for(&periodics, 6, "a periodic notification");
        CHECK_EQ(periodic_at[5], 65536);
        CHECK_OK(del_sa(&handle, OUTBOUND, watched));
    }
}

/* An SA without its flag is silent, and so is a handle without hooks. */
static void silence(const struct g_ipsec_la_notification_hooks *hooks) {
    struct g_ipsec_la_sa sa = gcm_sa(0x9004);
    int before = softs + overflows + periodics;
    watched = add_with(&sa, 0, 1);
    for (int i = 0; i < 10; i++) seal(0);
    CHECK_OK(del_sa(&handle, OUTBOUND, watched));
    sa.cmn_flags = G_IPSEC_LA_NOTIFY_SEQNUM_PERIODIC;
    watched = add_with(&sa, 0, 1);
    CHECK_OK(g_ipsec_la_notifications_hook_deregister(handle));
    for (int i = 0; i < 10; i++) seal(0);
    sleep_ms(50);
    CHECK_EQ(softs + overflows + periodics, before);
    CHECK_OK(g_ipsec_la_notification_hooks_register(handle, hooks));
    seal(0);
    wait_for(&periodics, before - softs - overflows + 1, "a notification after registering again");
    CHECK_OK(del_sa(&handle, OUTBOUND, watched));
}

/* A hook may use the library: the usual answer to a soft lifetime is another SA and the deletion of the old one. */
static struct g_ipsec_la_sa_handle replacement;
static int replaced;

static void replace(struct g_ipsec_la_handle from, struct g_ipsec_la_lifetime_in_bytes_notification *in) {
    struct g_ipsec_la_sa sa = gcm_sa(0x9006);
    replacement = add_sa(&from, OUTBOUND, &sa);
    CHECK_OK(del_sa(&from, OUTBOUND, in->sa_handle));
    __atomic_add_fetch(&replaced, 1, __ATOMIC_RELEASE);
}

static void rekeying(const struct g_ipsec_la_notification_hooks *hooks) {
    struct g_ipsec_la_notification_hooks rekeying_hooks = {NULL, NULL, replace};
    CHECK_OK(g_ipsec_la_notification_hooks_register(handle, &rekeying_hooks));
    for (int round = 1; round <= 20; round++) {
        struct g_ipsec_la_sa sa = gcm_sa(0x9005);
        sa.cmn_flags = SA_FLAGS(G_IPSEC_LA_SA_LIFETIME_IN_KB | G_IPSEC_LA_NOTIFY_LIFETIME_KB_EXPIRY);
        sa.soft_kilobytes_limit = 1;
        watched = add_sa(&handle, OUTBOUND, &sa);
        seal(0);
        wait_for(&replaced, round, "rekeying");
        seal(-EBADF);
        CHECK_OK(encap(&handle, replacement, packet, INNER, sealed, sizeof sealed, &length));
    }
    CHECK_OK(g_ipsec_la_notification_hooks_register(handle, hooks));
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

int main(void) {
    struct g_ipsec_la_notification_hooks hooks = {overflow, periodic, soft};
    handle = open_shared("notifications");
    CHECK_OK(g_ipsec_la_notification_hooks_register(handle, &hooks));
    make_packet_v4(packet, INNER);
    lifetimes();
    overflow_of(0, 0);
    overflow_of(1, 0);
    overflow_of(0, 1000);
    periodic_ones();
    silence(&hooks);
    rekeying(&hooks);
    close_all(&handle);
    return 0;
}
