/*
 * Accelerators, handles and groups: open modes (R24), lists (R19), capabilities, close and delete_group (R23), and
 * handles that are stale, forged, NULL or somebody else's (R22).
 */
#include "check.h"
#include "support.h"

enum { INNER = 200 };

static struct g_ipsec_la_available_entry available[64];
static struct g_ipsec_la_active_entry active[64];

static uint32_t available_total(void) {
    struct g_ipsec_la_available_list_get_inargs in = {0, 0};
    struct g_ipsec_la_available_list_get_outargs out = {99, 99, NULL};
    CHECK_OK(g_ipsec_la_available_list_get(&in, &out));
    CHECK_EQ(out.num_entries, 0);
    return out.total;
}

static uint32_t list_active(void) {
    struct g_ipsec_la_active_list_get_inargs in = {0, 64};
    struct g_ipsec_la_active_list_get_outargs out = {99, 99, active};
    memset(active, 0xff, sizeof active);
    CHECK_OK(g_ipsec_la_active_list_get(&in, &out));
    CHECK_EQ(out.num_entries, out.total);
    return out.total;
}

static struct g_ipsec_la_active_entry *active_row(const char *application, const char *group) {
    uint32_t total = list_active();
    for (uint32_t i = 0; i < total; i++)
        if (strcmp(active[i].app_identity, application) == 0 && strcmp(active[i].group_identity, group) == 0)
            return &active[i];
    FAIL_AT("no row for %s/%s", application, group);
}

static void version(void) {
    char text[G_IPSEC_LA_MAX_VERSION_LENGTH];
    memset(text, 0x55, sizeof text);
    CHECK_OK(g_ipsec_la_get_api_version(text));
    CHECK(strcmp(text, "1.0") == 0);
    CHECK_RESULT(g_ipsec_la_get_api_version(NULL), -EINVAL);
}

/* ---- opening ---- */

static void open_modes(void) {
    struct g_ipsec_la_handle a, b, c;
    CHECK_EQ(available_total(), 4);
    CHECK_OK(open_named(G_IPSEC_LA_INSTANCE_EXCLUSIVE, "soft0", "a", &a));
    CHECK_EQ(available_total(), 3);
    CHECK_RESULT(open_named(G_IPSEC_LA_INSTANCE_EXCLUSIVE, "soft0", "b", &b), -EBUSY);
    CHECK_RESULT(open_named(G_IPSEC_LA_INSTANCE_SHARED, "soft0", "b", &b), -EBUSY);
    CHECK_OK(open_named(G_IPSEC_LA_INSTANCE_SHARED, "soft1", "b", &b));
    CHECK_OK(open_named(G_IPSEC_LA_INSTANCE_SHARED, "soft1", "c", &c));
    CHECK_EQ(available_total(), 3); /* soft1 can still be opened, shared */
    struct g_ipsec_la_handle d;
    CHECK_RESULT(open_named(G_IPSEC_LA_INSTANCE_EXCLUSIVE, "soft1", "d", &d), -EBUSY);
    CHECK_OK(g_ipsec_la_close(&b));
    CHECK_RESULT(open_named(G_IPSEC_LA_INSTANCE_EXCLUSIVE, "soft1", "d", &d), -EBUSY);
    CHECK_OK(g_ipsec_la_close(&c));
    CHECK_OK(open_named(G_IPSEC_LA_INSTANCE_EXCLUSIVE, "soft1", "d", &d));

    /* Without a name: the first that can serve the mode; all of them taken: busy. */
    struct g_ipsec_la_handle e, f, g;
    CHECK_OK(open_named(G_IPSEC_LA_INSTANCE_EXCLUSIVE, NULL, "e", &e));
    CHECK(strcmp(active_row("e", "")->name, "soft2") == 0);
    CHECK_EQ(active_row("e", "")->mode, G_IPSEC_LA_INSTANCE_EXCLUSIVE);
    CHECK_OK(open_named(G_IPSEC_LA_INSTANCE_EXCLUSIVE, NULL, "f", &f));
    CHECK_EQ(available_total(), 0);
    CHECK_RESULT(open_named(G_IPSEC_LA_INSTANCE_SHARED, NULL, "g", &g), -EBUSY);
    CHECK_OK(g_ipsec_la_close(&a));
    CHECK_OK(open_named(G_IPSEC_LA_INSTANCE_SHARED, NULL, "g", &g));
    CHECK(strcmp(active_row("g", "")->name, "soft0") == 0);
    CHECK_EQ(active_row("g", "")->mode, G_IPSEC_LA_INSTANCE_SHARED);
    CHECK_OK(g_ipsec_la_close(&d));
    CHECK_OK(g_ipsec_la_close(&e));
    CHECK_OK(g_ipsec_la_close(&f));
    CHECK_OK(g_ipsec_la_close(&g));
    CHECK_EQ(available_total(), 4);
}

static void bad_opens(void) {
    struct g_ipsec_la_handle h;
    struct g_ipsec_la_open_inargs in;
    struct g_ipsec_la_open_outargs out = {&h};
    memset(&in, 0, sizeof in);
    CHECK_RESULT(g_ipsec_la_open(G_IPSEC_LA_INSTANCE_SHARED, NULL, &out), -EINVAL);
    CHECK_RESULT(g_ipsec_la_open(G_IPSEC_LA_INSTANCE_SHARED, &in, NULL), -EINVAL);
    CHECK_RESULT(g_ipsec_la_open((enum g_ipsec_la_mode)0, &in, &out), -EINVAL);
    CHECK_RESULT(g_ipsec_la_open((enum g_ipsec_la_mode)3, &in, &out), -EINVAL);
    out.handle = NULL;
    CHECK_RESULT(g_ipsec_la_open(G_IPSEC_LA_INSTANCE_SHARED, &in, &out), -EINVAL);
    out.handle = &h;
    CHECK_RESULT(open_named(G_IPSEC_LA_INSTANCE_SHARED, "soft9", "x", &h), -ENODEV);
    CHECK_RESULT(open_named(G_IPSEC_LA_INSTANCE_SHARED, "", "x", &h), -ENODEV);
    CHECK_RESULT(open_named(G_IPSEC_LA_INSTANCE_SHARED, "a name that is longer than any accelerator's", "x", &h),
                 -ENODEV);
    in.pci_vendor_id = 0x8086;
    CHECK_RESULT(g_ipsec_la_open(G_IPSEC_LA_INSTANCE_SHARED, &in, &out), -ENODEV);
    in.pci_vendor_id = G_IPSEC_LA_PCI_VENDOR_ID;
    in.device_id = 1;
    CHECK_RESULT(g_ipsec_la_open(G_IPSEC_LA_INSTANCE_SHARED, &in, &out), -ENODEV);
    in.device_id = G_IPSEC_LA_PCI_DEVICE_ID;
    CHECK_OK(g_ipsec_la_open(G_IPSEC_LA_INSTANCE_SHARED, &in, &out));
    CHECK_OK(g_ipsec_la_close(&h));
    static char name[G_IPSEC_LA_IDENTITY_SIZE + 1];
    memset(name, 'n', G_IPSEC_LA_IDENTITY_SIZE);
    CHECK_RESULT(open_named(G_IPSEC_LA_INSTANCE_SHARED, NULL, name, &h), -EINVAL);
    name[G_IPSEC_LA_IDENTITY_SIZE - 1] = '\0';
    CHECK_OK(open_named(G_IPSEC_LA_INSTANCE_SHARED, NULL, name, &h));
    CHECK(strcmp(active_row(name, "")->app_identity, name) == 0);
    CHECK_OK(g_ipsec_la_close(&h));
    CHECK_EQ(list_active(), 0);
    CHECK(g_ipsec_la_ext_last_error() != NULL && *g_ipsec_la_ext_last_error() != '\0');
}

/* ---- lists ---- */

static void available_list(void) {
    struct g_ipsec_la_available_list_get_inargs in = {0, 64};
    struct g_ipsec_la_available_list_get_outargs out = {0, 0, available};
    CHECK_OK(g_ipsec_la_available_list_get(&in, &out));
    CHECK_EQ(out.total, 4);
    CHECK_EQ(out.num_entries, 4);
    for (unsigned i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "soft%u", i);
        CHECK(strcmp(available[i].name, name) == 0);
        for (unsigned k = 0; k < i; k++) CHECK(available[k].instance_id != available[i].instance_id);
    }
    in.start = 1, in.max_entries = 2;
    memset(available, 0xff, sizeof available);
    CHECK_OK(g_ipsec_la_available_list_get(&in, &out));
    CHECK_EQ(out.total, 4);
    CHECK_EQ(out.num_entries, 2);
    CHECK(strcmp(available[0].name, "soft1") == 0 && strcmp(available[1].name, "soft2") == 0);
    CHECK_EQ((unsigned char)available[2].name[0], 0xff); /* nothing is written past max_entries */
    in.start = 4;
    CHECK_OK(g_ipsec_la_available_list_get(&in, &out));
    CHECK_EQ(out.num_entries, 0);
    in.start = UINT32_MAX, in.max_entries = UINT32_MAX;
    CHECK_OK(g_ipsec_la_available_list_get(&in, &out));
    CHECK_EQ(out.num_entries, 0);
    in.start = 0, in.max_entries = 2, out.entries = NULL;
    CHECK_RESULT(g_ipsec_la_available_list_get(&in, &out), -EINVAL);
    CHECK_RESULT(g_ipsec_la_available_list_get(NULL, &out), -EINVAL);
    CHECK_RESULT(g_ipsec_la_available_list_get(&in, NULL), -EINVAL);
    struct g_ipsec_la_active_list_get_outargs active_out = {0, 0, NULL};
    struct g_ipsec_la_active_list_get_inargs active_in = {0, 2};
    CHECK_RESULT(g_ipsec_la_active_list_get(NULL, &active_out), -EINVAL);
    CHECK_RESULT(g_ipsec_la_active_list_get(&active_in, NULL), -EINVAL);
}

static struct g_ipsec_la_handle make_group(struct g_ipsec_la_handle handle, const char *name) {
    struct g_ipsec_la_create_group_inargs in = {(char *)name};
    struct g_ipsec_la_create_group_outargs out;
    CHECK_OK(g_ipsec_la_create_group(&handle, &in, SYNC, &out, no_response));
    memcpy(handle.group_handle, out.g_ipsec_la_group_handle, sizeof handle.group_handle);
    return handle;
}

/* The statistics of R19, which outlive the SAs they came from. */
static void active_list(void) {
    struct g_ipsec_la_handle app = open_shared("router"), group = make_group(app, "tenant"),
                             other = open_shared("other");
    CHECK_EQ(list_active(), 3);
    struct g_ipsec_la_sa sa = gcm_sa(0x5001);
    struct g_ipsec_la_sa_handle out = add_sa(&group, OUTBOUND, &sa), in = add_sa(&group, INBOUND, &sa);
    struct g_ipsec_la_sa_handle plain = add_sa(&app, OUTBOUND, &sa);
    CHECK_OK(set_sequence(&group, OUTBOUND, out, 0, 7));
    uint8_t packet[INNER], sealed[INNER + 100], opened[INNER];
    uint32_t length, back;
    for (int i = 0; i < 3; i++) {
        make_packet_v4(packet, INNER);
        CHECK_OK(encap(&group, out, packet, INNER, sealed, sizeof sealed, &length));
        if (i < 2) CHECK_OK(decap(&group, in, sealed, length, opened, sizeof opened, &back));
    }
    CHECK_OK(encap(&app, plain, packet, INNER, sealed, sizeof sealed, &length));
    for (int after = 0; after < 2; after++) {
        struct g_ipsec_la_active_entry *row = active_row("router", "tenant");
        CHECK_EQ(row->packets_out, 3);
        CHECK_EQ(row->bytes_out, 3 * INNER);
        CHECK_EQ(row->packets_in, 2);
        CHECK_EQ(row->bytes_in, 2 * INNER);
        CHECK_EQ(row->sas_created, 2);
        CHECK_EQ(row->sas_modified, 1);
        CHECK_EQ(row->sas_deleted, after ? 2 : 0);
        CHECK_EQ(row->active_sas, after ? 0 : 2);
        CHECK(row->name[0] == 's' && row->mode == G_IPSEC_LA_INSTANCE_SHARED);
        row = active_row("router", "");
        CHECK_EQ(row->packets_out, 1);
        CHECK_EQ(row->sas_created, 1);
        CHECK_EQ(row->active_sas, 1);
        row = active_row("other", "");
        CHECK_EQ(row->packets_out + row->packets_in + row->sas_created, 0);
        if (!after) {
            CHECK_OK(del_sa(&group, OUTBOUND, out));
            CHECK_OK(g_ipsec_la_sa_flush(&group, SYNC, NULL));
        }
    }
    CHECK_OK(g_ipsec_la_delete_group(&group));
    CHECK_EQ(list_active(), 2);
    CHECK_OK(g_ipsec_la_close(&app));
    CHECK_OK(g_ipsec_la_close(&other));
    CHECK_EQ(list_active(), 0);
}

/* ---- capabilities ---- */

static int capability_answers;
static struct g_ipsec_la_capabilities answered;

static void capabilities_answered(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    CHECK(cb_arg == &answered);
    CHECK_EQ(cb_arg_len, 7);
    answered = ((struct g_ipsec_cap_get_outargs *)outargs)->caps;
    __atomic_add_fetch(&capability_answers, 1, __ATOMIC_RELEASE);
}

/* R36: a bit is set when, and only when, the feature works. */
static void capabilities(void) {
    struct g_ipsec_la_handle h = open_shared("capabilities");
    struct g_ipsec_cap_get_outargs out;
    memset(&out, 0xff, sizeof out);
    CHECK_OK(g_ipsec_la_capabilities_get(&h, SYNC, &out, NULL));
    const struct g_ipsec_la_capabilities *c = &out.caps;
    CHECK(c->sg_features && c->ah_protocol && c->esp_protocol && c->udp_encap && c->esn && c->ecn && c->df);
    CHECK(c->anti_replay_check && c->ipv6_support && c->soft_lifetime_bytes_notify && c->seqnum_overflow_notify);
    CHECK(c->seqnum_periodic_notify && c->wesp_protocol && c->ipcomp_protocol);
    CHECK(c->multi_sec_protocol && c->tfc);
    CHECK_EQ(c->num_dscp_based_queues, 4);
    CHECK(c->auth_algo_caps.md5 && c->auth_algo_caps.sha1 && c->auth_algo_caps.sha2 && c->auth_algo_caps.aes_xcbc);
    CHECK(c->auth_algo_caps.none && !c->auth_algo_caps.des);
    CHECK(c->cipher_algo_caps.des && c->cipher_algo_caps.des_c && c->cipher_algo_caps.aes &&
          c->cipher_algo_caps.aes_ctr);
    CHECK(c->cipher_algo_caps.null);
    CHECK(c->comb_algo_caps.aes_ccm && c->comb_algo_caps.aes_gcm && c->comb_algo_caps.aes_gmac);

    struct g_ipsec_la_resp_args resp = respond(capabilities_answered, &answered);
    CHECK_OK(g_ipsec_la_capabilities_get(&h, ASYNC, NULL, &resp));
    wait_for(&capability_answers, 1, "capabilities");
    CHECK(memcmp(&answered, c, sizeof *c) == 0);
    struct g_ipsec_cap_get_outargs given;
    memset(&given, 0, sizeof given);
    CHECK_OK(g_ipsec_la_capabilities_get(&h, ASYNC, &given, &resp));
    wait_for(&capability_answers, 2, "capabilities");
    CHECK(memcmp(&given.caps, c, sizeof *c) == 0);
    CHECK_RESULT(g_ipsec_la_capabilities_get(&h, SYNC, NULL, NULL), -EINVAL);
    CHECK_RESULT(g_ipsec_la_capabilities_get(&h, ASYNC, &given, NULL), -EINVAL);
    CHECK_RESULT(g_ipsec_la_capabilities_get(&h, CTRL(4), &given, NULL), -EINVAL);
    close_all(&h);
}

int main(void) {
    version();
    open_modes();
    bad_opens();
    available_list();
    active_list();
    capabilities();
    return 0;
}
