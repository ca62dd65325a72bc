/* Handles and groups: what is reachable with which, and what happens to those that are stale, forged or NULL (R22,
 * R23). */
#include "check.h"
#include "support.h"

enum { INNER = 100 };

static uint8_t packet[INNER], sealed[INNER + 100];
static uint32_t length;

static int32_t create(struct g_ipsec_la_handle *handle, const char *name, struct g_ipsec_la_handle *group) {
    struct g_ipsec_la_create_group_inargs in = {(char *)name};
    struct g_ipsec_la_create_group_outargs out;
    int32_t result = g_ipsec_la_create_group(handle, &in, SYNC, &out, no_response);
    if (result != 0) return result;
    *group = *handle;
    memcpy(group->group_handle, out.g_ipsec_la_group_handle, sizeof group->group_handle);
    return 0;
}

/* How many SAs of a direction a handle sees. */
static unsigned count_sas(struct g_ipsec_la_handle *handle) {
    enum { MOST = 100 };
    static struct g_ipsec_la_sa sas[MOST];
    struct g_ipsec_la_sa_get_inargs in = {OUTBOUND, NULL, G_IPSEC_LA_SA_GET_FIRST_N, MOST,
                                          G_IPSEC_LA_SA_GET_INFORMATION};
    struct g_ipsec_la_sa_get_outargs out = {0, sas, NULL, NULL};
    int32_t result = g_ipsec_la_sa_get(handle, &in, SYNC, &out, NULL);
    if (result == -ENOENT) return 0;
    CHECK_OK(result);
    unsigned count = 0;
    while (count < MOST && sas[count].spi != 0) count++;
    return count;
}

/* Every call that takes an accelerator handle says `expected`. */
static void refused_everywhere(struct g_ipsec_la_handle handle, struct g_ipsec_la_sa_handle sa_handle,
                               int32_t expected) {
    struct g_ipsec_la_sa sa = gcm_sa(0x6001);
    struct g_ipsec_la_handle group;
    struct g_ipsec_cap_get_outargs caps;
    struct g_ipsec_la_sa_stats stats;
    struct g_ipsec_la_notification_hooks hooks = {NULL, NULL, NULL};
    struct g_ipsec_la_sa_get_inargs get = {OUTBOUND, &sa_handle, G_IPSEC_LA_SA_GET_EXACT, 1, 2};
    struct g_ipsec_la_sa_get_outargs got = {0, NULL, &stats, NULL};
    CHECK_RESULT(create(&handle, "g", &group), expected);
    CHECK_RESULT(g_ipsec_la_capabilities_get(&handle, SYNC, &caps, NULL), expected);
    CHECK_RESULT(g_ipsec_la_notification_hooks_register(handle, &hooks), expected);
    CHECK_RESULT(g_ipsec_la_notifications_hook_deregister(handle), expected);
    CHECK_RESULT(try_sa(&handle, OUTBOUND, &sa, NULL), expected);
    CHECK_RESULT(set_sequence(&handle, OUTBOUND, sa_handle, 0, 1), expected);
    CHECK_RESULT(del_sa(&handle, OUTBOUND, sa_handle), expected);
    CHECK_RESULT(g_ipsec_la_sa_flush(&handle, SYNC, NULL), expected);
    CHECK_RESULT(g_ipsec_la_sa_get(&handle, &get, SYNC, &got, NULL), expected);
    CHECK_RESULT(encap(&handle, sa_handle, packet, INNER, sealed, sizeof sealed, &length), expected);
    CHECK_RESULT(decap(&handle, sa_handle, packet, INNER, sealed, sizeof sealed, &length), expected);
    struct g_ipsec_la_data in = {packet, INNER}, out = {sealed, sizeof sealed};
    struct g_ipsec_la_packet in_packet = {1, &in}, out_packet = {1, &out};
    CHECK_RESULT(g_ipsec_la_multi_packet_encap(&handle, SYNC, &sa_handle, 1, &in_packet, &out_packet, no_response),
                 expected);
    out.length = sizeof sealed;
    CHECK_RESULT(g_ipsec_la_multi_packet_decap(&handle, SYNC, &sa_handle, 1, &in_packet, &out_packet, no_response),
                 expected);
}

static void groups(void) {
    struct g_ipsec_la_handle app = open_shared("app"), one, two, gone;
    CHECK_OK(create(&app, "one", &one));
    CHECK_OK(create(&app, "two", &two));
    CHECK(memcmp(one.group_handle, two.group_handle, sizeof one.group_handle) != 0);
    struct g_ipsec_la_sa sa = gcm_sa(0x6002);
    struct g_ipsec_la_sa_handle of_app = add_sa(&app, OUTBOUND, &sa), of_one = add_sa(&one, OUTBOUND, &sa);
    CHECK_EQ(count_sas(&app), 1);
    CHECK_EQ(count_sas(&one), 1);
    CHECK_EQ(count_sas(&two), 0);

    /* A group's SAs are reachable with that group's handle alone. */
    CHECK_OK(encap(&one, of_one, packet, INNER, sealed, sizeof sealed, &length));
    CHECK_RESULT(encap(&app, of_one, packet, INNER, sealed, sizeof sealed, &length), -ENOENT);
    CHECK_RESULT(encap(&two, of_one, packet, INNER, sealed, sizeof sealed, &length), -ENOENT);
    CHECK_RESULT(encap(&one, of_app, packet, INNER, sealed, sizeof sealed, &length), -ENOENT);
    CHECK_RESULT(del_sa(&two, OUTBOUND, of_one), -ENOENT);
    CHECK_RESULT(set_sequence(&app, OUTBOUND, of_one, 0, 1), -ENOENT);

    /* A flush is a group's own. */
    CHECK_OK(g_ipsec_la_sa_flush(&two, SYNC, NULL));
    CHECK_OK(g_ipsec_la_sa_flush(&app, SYNC, NULL));
    CHECK_EQ(count_sas(&one), 1);
    CHECK_EQ(count_sas(&app), 0);

    /* delete_group drops what is inside; the handle is then stale, also for another group in its place. */
    gone = one;
    CHECK_OK(g_ipsec_la_delete_group(&one));
    CHECK_RESULT(g_ipsec_la_delete_group(&gone), -EBADF);
    CHECK_RESULT(try_sa(&gone, OUTBOUND, &sa, NULL), -EBADF);
    CHECK_RESULT(g_ipsec_la_sa_flush(&gone, SYNC, NULL), -EBADF);
    CHECK_OK(create(&app, "three", &one));
    CHECK_RESULT(try_sa(&gone, OUTBOUND, &sa, NULL), -EBADF);
    CHECK_EQ(count_sas(&one), 0);

    /* Not a group; a forged one; another application's. */
    CHECK(g_ipsec_la_delete_group(&app) < 0);
    gone = app;
    memset(gone.group_handle, 0x77, sizeof gone.group_handle);
    CHECK_RESULT(try_sa(&gone, OUTBOUND, &sa, NULL), -EBADF);
    CHECK_RESULT(g_ipsec_la_delete_group(&gone), -EBADF);
    CHECK_RESULT(g_ipsec_la_delete_group(NULL), -EINVAL);
    struct g_ipsec_la_handle other = open_shared("other");
    memcpy(other.group_handle, two.group_handle, sizeof other.group_handle);
    CHECK_RESULT(try_sa(&other, OUTBOUND, &sa, NULL), -EBADF);
    memset(other.group_handle, 0, sizeof other.group_handle);

    struct g_ipsec_la_handle unnamed;
    CHECK_OK(create(&app, NULL, &unnamed));
    char long_name[G_IPSEC_LA_IDENTITY_SIZE + 1];
    memset(long_name, 'g', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    CHECK_RESULT(create(&app, long_name, &unnamed), -EINVAL);
    struct g_ipsec_la_create_group_outargs out;
    CHECK_RESULT(g_ipsec_la_create_group(&app, NULL, SYNC, &out, no_response), -EINVAL);
    CHECK_OK(g_ipsec_la_close(&other));
    CHECK_OK(g_ipsec_la_close(&app)); /* with groups and SAs left inside */
}

static void applications_are_apart(void) {
    struct g_ipsec_la_handle a = open_shared("a"), b = open_shared("b");
    struct g_ipsec_la_sa sa = gcm_sa(0x6003);
    struct g_ipsec_la_sa_handle of_a = add_sa(&a, OUTBOUND, &sa);
    CHECK_EQ(count_sas(&b), 0);
    CHECK_RESULT(encap(&b, of_a, packet, INNER, sealed, sizeof sealed, &length), -EBADF);
    CHECK_RESULT(del_sa(&b, OUTBOUND, of_a), -EBADF);
    CHECK_OK(g_ipsec_la_sa_flush(&b, SYNC, NULL));
    CHECK_EQ(count_sas(&a), 1);
    CHECK_OK(g_ipsec_la_close(&b));
    CHECK_OK(encap(&a, of_a, packet, INNER, sealed, sizeof sealed, &length));
    close_all(&a);
}

static void bad_handles(void) {
    struct g_ipsec_la_handle h = open_shared("handles"), stale, forged;
    struct g_ipsec_la_sa sa = gcm_sa(0x6004);
    struct g_ipsec_la_sa_handle sa_handle = add_sa(&h, OUTBOUND, &sa), stale_sa;

    /* An SA handle after its SA, and after another SA took the place. */
    stale_sa = sa_handle;
    CHECK_OK(del_sa(&h, OUTBOUND, sa_handle));
    for (int i = 0; i < 50; i++) {
        CHECK_RESULT(encap(&h, stale_sa, packet, INNER, sealed, sizeof sealed, &length), -EBADF);
        CHECK_RESULT(del_sa(&h, OUTBOUND, stale_sa), -EBADF);
        CHECK_RESULT(set_sequence(&h, OUTBOUND, stale_sa, 0, 1), -EBADF);
        sa_handle = add_sa(&h, OUTBOUND, &sa);
        CHECK(memcmp(&sa_handle, &stale_sa, sizeof stale_sa) != 0);
        CHECK_OK(encap(&h, sa_handle, packet, INNER, sealed, sizeof sealed, &length));
        CHECK_OK(del_sa(&h, OUTBOUND, sa_handle));
    }
    /* A flipped bit anywhere in it, and all kinds of numbers. */
    sa_handle = add_sa(&h, OUTBOUND, &sa);
    for (unsigned bit = 0; bit < sizeof sa_handle * 8; bit++) {
        struct g_ipsec_la_sa_handle flipped = sa_handle;
        flipped.ipsec_sa_handle[bit / 32] ^= 1u << (bit % 32);
        CHECK_RESULT(encap(&h, flipped, packet, INNER, sealed, sizeof sealed, &length), -EBADF);
    }
    for (unsigned bit = 0; bit < sizeof h.handle * 8; bit++) {
        forged = h;
        forged.handle[bit / 32] ^= 1u << (bit % 32);
        CHECK_RESULT(encap(&forged, sa_handle, packet, INNER, sealed, sizeof sealed, &length), -EBADF);
        CHECK_RESULT(g_ipsec_la_close(&forged), -EBADF);
    }
    for (int i = 0; i < 1000; i++) {
        random_bytes((uint8_t *)&forged, sizeof forged);
        random_bytes((uint8_t *)&stale_sa, sizeof stale_sa);
        CHECK_RESULT(encap(&forged, sa_handle, packet, INNER, sealed, sizeof sealed, &length), -EBADF);
        CHECK_RESULT(encap(&h, stale_sa, packet, INNER, sealed, sizeof sealed, &length), -EBADF);
    }
    memset(&forged, 0, sizeof forged);
    refused_everywhere(forged, sa_handle, -EBADF);
    memset(&forged, 0xff, sizeof forged);
    refused_everywhere(forged, sa_handle, -EBADF);

    /* A closed handle, and one that another open may have the place of. */
    stale = h;
    CHECK_OK(g_ipsec_la_close(&h));
    CHECK_RESULT(g_ipsec_la_close(&stale), -EBADF);
    refused_everywhere(stale, sa_handle, -EBADF);
    h = open_shared("handles");
    refused_everywhere(stale, sa_handle, -EBADF);
    CHECK_RESULT(g_ipsec_la_close(&stale), -EBADF);
    CHECK_RESULT(g_ipsec_la_close(NULL), -EINVAL);
    close_all(&h);
}

/* NULL in every place where a pointer is needed. */
static void nothing_given(void) {
    struct g_ipsec_la_handle h = open_shared("null");
    struct g_ipsec_la_sa sa = gcm_sa(0x6005);
    struct g_ipsec_la_sa_handle sa_handle = add_sa(&h, OUTBOUND, &sa);
    struct g_ipsec_la_sa_add_inargs add;
    struct g_ipsec_la_sa_add_outargs added;
    struct g_ipsec_la_sa_mod_inargs mod;
    struct g_ipsec_la_sa_modify_outargs modified;
    struct g_ipsec_la_sa_del_inargs del = {OUTBOUND, NULL};
    struct g_ipsec_la_sa_del_outargs deleted;
    struct g_ipsec_la_sa_get_inargs get = {OUTBOUND, NULL, G_IPSEC_LA_SA_GET_EXACT, 1, 0};
    struct g_ipsec_la_sa_get_outargs got = {0, NULL, NULL, NULL};
    struct g_ipsec_la_data in = {packet, INNER}, out = {sealed, sizeof sealed};
    memset(&add, 0, sizeof add);
    memset(&mod, 0, sizeof mod);
    add.dir = OUTBOUND, add.num_sas = 1;
    CHECK_RESULT(g_ipsec_la_sa_add(&h, NULL, SYNC, &added, no_response), -EINVAL);
    CHECK_RESULT(g_ipsec_la_sa_add(&h, &add, SYNC, &added, no_response), -EINVAL);
    add.sa_params = &sa;
    CHECK_RESULT(g_ipsec_la_sa_add(&h, &add, SYNC, NULL, no_response), -EINVAL);
    CHECK_RESULT(g_ipsec_la_sa_add(NULL, &add, SYNC, &added, no_response), -EINVAL);
    CHECK_RESULT(g_ipsec_la_sa_mod(&h, NULL, SYNC, &modified, no_response), -EINVAL);
    mod.dir = OUTBOUND, mod.flags = G_IPSEC_LA_SA_MODIFY_REPLAY_INFO, mod.replay.flags = G_IPSEC_LA_SA_MODIFY_SEQ_NUM;
    CHECK_RESULT(g_ipsec_la_sa_mod(&h, &mod, SYNC, &modified, no_response), -EINVAL);
    CHECK_RESULT(g_ipsec_la_sa_del(&h, NULL, SYNC, &deleted, no_response), -EINVAL);
    CHECK_RESULT(g_ipsec_la_sa_del(&h, &del, SYNC, &deleted, no_response), -EINVAL);
    CHECK_RESULT(g_ipsec_la_sa_get(&h, &get, SYNC, &got, NULL), -EINVAL);
    CHECK_RESULT(g_ipsec_la_sa_get(&h, NULL, SYNC, &got, NULL), -EINVAL);
    get.handle = &sa_handle;
    CHECK_RESULT(g_ipsec_la_sa_get(&h, &get, SYNC, NULL, NULL), -EINVAL);
    CHECK_RESULT(g_ipsec_la_packet_encap(&h, SYNC, NULL, 1, &in, &out, no_response), -EINVAL);
    CHECK_RESULT(g_ipsec_la_packet_encap(NULL, SYNC, &sa_handle, 1, &in, &out, no_response), -EINVAL);
    CHECK_RESULT(g_ipsec_la_packet_decap(&h, SYNC, NULL, 1, &in, &out, no_response), -EINVAL);
    CHECK_RESULT(g_ipsec_la_sa_flush(NULL, SYNC, NULL), -EINVAL);
    CHECK_RESULT(g_ipsec_la_capabilities_get(NULL, SYNC, NULL, NULL), -EINVAL);
    CHECK_RESULT(g_ipsec_la_notification_hooks_register(h, NULL), -EINVAL);
    CHECK_EQ(count_sas(&h), 1); /* nothing happened */
    close_all(&h);
}

int main(void) {
    make_packet_v4(packet, INNER);
    groups();
    applications_are_apart();
    bad_handles();
    nothing_given();
    return 0;
}
