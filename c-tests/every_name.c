/*
 * Every name of the document and of its resolutions: functions with their aliases (R2) and exact types (R4), types with
 * and without keyword (R1), stray type names (R3), enumerators and macros with their values, sizes and offsets (R10).
 * The program also calls everything.
 */
#include "check.h"
#include "support.h"

/* ---- functions: each pointer has the prototype of R4 ---- */

typedef struct g_ipsec_la_handle H;
typedef enum g_ipsec_la_control_flags F;
typedef struct g_ipsec_la_resp_args R;
typedef struct g_ipsec_la_sa_handle S;
typedef struct g_ipsec_la_data D;
typedef struct g_ipsec_la_packet P;
typedef int32_t (*available_list_fn)(const struct g_ipsec_la_available_list_get_inargs *,
                                     struct g_ipsec_la_available_list_get_outargs *);
typedef int32_t (*active_list_fn)(const struct g_ipsec_la_active_list_get_inargs *,
                                  struct g_ipsec_la_active_list_get_outargs *);
typedef int32_t (*capabilities_fn)(H *, F, struct g_ipsec_cap_get_outargs *, R *);
typedef int32_t (*sa_mod_fn)(H *, const struct g_ipsec_la_sa_mod_inargs *, F, struct g_ipsec_la_sa_modify_outargs *, R);
typedef int32_t (*sa_del_fn)(H *, const struct g_ipsec_la_sa_del_inargs *, F, struct g_ipsec_la_sa_del_outargs *, R);
typedef int32_t (*packet_fn)(H *, F, S *, uint32_t, D *, D *, R);
typedef int32_t (*multi_packet_fn)(H *, F, S *, uint32_t, P *, P *, R);

static int32_t (*const get_api_version)(char *) = g_ipsec_la_get_api_version;
static int32_t (*const open_fn)(enum g_ipsec_la_mode, struct g_ipsec_la_open_inargs *,
                                struct g_ipsec_la_open_outargs *) = g_ipsec_la_open;
static int32_t (*const create_group)(H *, struct g_ipsec_la_create_group_inargs *, F,
                                     struct g_ipsec_la_create_group_outargs *, R) = g_ipsec_la_create_group;
static int32_t (*const delete_group)(H *) = g_ipsec_la_delete_group;
static int32_t (*const close_fn)(H *) = g_ipsec_la_close;
static const available_list_fn available_list[] = {g_ipsec_la_available_list_get, g_ipsec_la_get_available_list};
static const active_list_fn active_list[] = {g_ipsec_la_active_list_get, g_ipsec_la_get_active_list};
static const capabilities_fn capabilities[] = {g_ipsec_la_capabilities_get, g_ipsec_la_get_capabilities};
static int32_t (*const hooks_register)(H, const struct g_ipsec_la_notification_hooks *) =
    g_ipsec_la_notification_hooks_register;
static int32_t (*const hook_deregister)(H) = g_ipsec_la_notifications_hook_deregister;
static int32_t (*const sa_add)(H *, const struct g_ipsec_la_sa_add_inargs *, F, struct g_ipsec_la_sa_add_outargs *,
                               R) = g_ipsec_la_sa_add;
static const sa_mod_fn sa_mod[] = {g_ipsec_la_sa_mod, g_ipsec_la_sa_modify};
static const sa_del_fn sa_del[] = {g_ipsec_la_sa_del, g_ipsec_la_sa_delete};
static int32_t (*const sa_flush)(H *, F, R *) = g_ipsec_la_sa_flush;
static int32_t (*const sa_get)(H *, const struct g_ipsec_la_sa_get_inargs *, F, struct g_ipsec_la_sa_get_outargs *,
                               R *) = g_ipsec_la_sa_get;
static const packet_fn packet_encap[] = {g_ipsec_la_packet_encap, g_ipsec_la_encap_packet};
static const packet_fn packet_decap[] = {g_ipsec_la_packet_decap, g_ipsec_la_decap_packet};
static const multi_packet_fn multi_packet_encap = g_ipsec_la_multi_packet_encap;
static const multi_packet_fn multi_packet_decap = g_ipsec_la_multi_packet_decap;

/* ---- sizes and offsets (R10), with and without the keyword (R1) ---- */

#define SIZE(name, size) STATIC_ASSERT(sizeof(struct name) == (size)); STATIC_ASSERT(sizeof(name) == (size))
#define OFFSET(name, field, offset) STATIC_ASSERT(offsetof(struct name, field) == (offset))

SIZE(g_ipsec_la_handle, 64);
SIZE(g_ipsec_la_sa_handle, 32);
SIZE(g_ipsec_la_create_group_inargs, 8);
SIZE(g_ipsec_la_create_group_outargs, 32);
SIZE(g_ipsec_la_open_inargs, 48);
OFFSET(g_ipsec_la_open_inargs, cb_fn, 24);
OFFSET(g_ipsec_la_open_inargs, cb_arg_len, 40);
SIZE(g_ipsec_la_open_outargs, 8);
SIZE(g_ipsec_la_resp_args, 24);
SIZE(g_ipsec_la_auth_algo_cap, 4);
SIZE(g_ipsec_la_cipher_algo_cap, 4);
SIZE(g_ipsec_la_comb_algo_cap, 4);
SIZE(g_ipsec_la_capabilities, 16);
OFFSET(g_ipsec_la_capabilities, num_dscp_based_queues, 2);
OFFSET(g_ipsec_la_capabilities, auth_algo_caps, 4);
OFFSET(g_ipsec_la_capabilities, cipher_algo_caps, 8);
OFFSET(g_ipsec_la_capabilities, comb_algo_caps, 12);
SIZE(g_ipsec_cap_get_outargs, 16);
SIZE(g_ipsec_seq_number_notification, 24);
SIZE(g_ipsec_la_lifetime_in_bytes_notification, 36);
SIZE(g_ipsec_la_notification_hooks, 24);
SIZE(g_ipsec_la_sa_crypto_params, 56);
OFFSET(g_ipsec_la_sa_crypto_params, icv_len_bits, 52);
SIZE(g_ipsec_la_ipcomp_info, 8);
SIZE(g_ip_addr, 20);
SIZE(g_ipsec_la_tunnel_end_addr, 40);
SIZE(g_ipsec_la_nat_traversal_info, 24);
SIZE(g_ipsec_la_sa, 184);
OFFSET(g_ipsec_la_sa, cmn_flags, 8);
OFFSET(g_ipsec_la_sa, outb, 16);
OFFSET(g_ipsec_la_sa, inb, 16);
OFFSET(g_ipsec_la_sa, outb.iv, 32);
OFFSET(g_ipsec_la_sa, crypto_params, 48);
OFFSET(g_ipsec_la_sa, ipcomp_info, 104);
OFFSET(g_ipsec_la_sa, soft_kilobytes_limit, 112);
OFFSET(g_ipsec_la_sa, nat_info, 120);
OFFSET(g_ipsec_la_sa, te_addr, 144);
SIZE(g_ipsec_la_sa_add_inargs, 16);
SIZE(g_ipsec_la_sa_add_outargs, 68);
OFFSET(g_ipsec_la_sa_add_outargs, handle, 4);
OFFSET(g_ipsec_la_sa_add_outargs, sa_handle, 4);
SIZE(g_ipsec_la_sa_mod_inargs, 48);
OFFSET(g_ipsec_la_sa_mod_inargs, addr_info, 20);
OFFSET(g_ipsec_la_sa_mod_inargs, replay, 20);
SIZE(g_ipsec_la_sa_modify_outargs, 4);
SIZE(g_ipsec_la_sa_del_inargs, 16);
SIZE(g_ipsec_la_sa_del_outargs, 4);
SIZE(g_ipsec_la_sa_stats, 56);
SIZE(g_ipsec_la_sa_get_outargs, 32);
SIZE(g_ipsec_la_sa_get_inargs, 32);
SIZE(g_ipsec_la_data, 16);
SIZE(g_ipsec_la_packet, 16);
SIZE(g_ipsec_la_packet_outargs, 16);
SIZE(g_ipsec_la_available_entry, 20);
SIZE(g_ipsec_la_active_entry, 216);
SIZE(g_ipsec_la_available_list_get_inargs, 8);
SIZE(g_ipsec_la_available_list_get_outargs, 16);
SIZE(g_ipsec_la_active_list_get_inargs, 8);
SIZE(g_ipsec_la_active_list_get_outargs, 16);

/* Stray names of R3 are the canonical types. */
SIZE(g_ipsec_resp_args, 24);
SIZE(g_api_resp_args, 24);
SIZE(g_ipsec_la_api_resp_args, 24);
SIZE(g_ipsec_la_sa_mod_outargs, 4);
SIZE(g_ipsec_sa_get_outargs, 32);
SIZE(g_ipsec_la_cap_get_outargs, 16);
SIZE(g_api_ipsec_nat_info, 24);
SIZE(g_api_ipsec_tunnel_end_addr, 40);
SIZE(g_ipsec_la_autho_algo_cap, 4);

/* Enumerations are as wide as int. */
#define ENUM(name) STATIC_ASSERT(sizeof(enum name) == 4); STATIC_ASSERT(sizeof(name) == 4)
ENUM(g_ipsec_la_mode);
ENUM(g_ipsec_la_control_flags);
ENUM(g_ipsec_la_auth_alg);
ENUM(g_ipsec_la_cipher_alg);
ENUM(g_ipsec_la_comb_alg);
ENUM(g_ipsec_la_ipcomp_alg);
ENUM(g_ipsec_la_dscp_handle);
ENUM(g_ipsec_la_df_handle);
ENUM(g_ipsec_la_sa_direction);
ENUM(g_ipsec_la_sa_flags);
ENUM(g_ipsec_la_inb_sa_flags);
ENUM(g_ipsec_la_sa_modify_flags);
ENUM(g_ipsec_la_sa_modify_replay_info_flags);
ENUM(g_ipsec_la_sa_get_op);
ENUM(g_ip_version);
ENUM(g_ipsec_auth_alg);
ENUM(g_ipsec_sa_flags);
ENUM(g_ipsec_df_bit_handle);
ENUM(g_ipsec_dscp_handle);
ENUM(g_api_control_flags);
ENUM(g_ipsec_la_api_control_flags);

/* ---- values ---- */

#define VALUE(name, value) STATIC_ASSERT((long long)(name) == (value))
VALUE(G_IPSEC_LA_HANDLE_SIZE, 8);
VALUE(G_IPSEC_LA_GROUP_HANDLE_SIZE, 8);
VALUE(G_IPSEC_LA_SA_HANDLE_SIZE, 8);
VALUE(G_IPSEC_LA_SUCCESS, 0);
VALUE(G_IPSEC_LA_FAILURE, -1);
VALUE(G_IPSEC_LA_MAX_VERSION_LENGTH, 32);
VALUE(G_IPSEC_LA_NAME_SIZE, 16);
VALUE(G_IPSEC_LA_IDENTITY_SIZE, 64);
VALUE(G_IPSEC_LA_PROTOCOL_ESP, 50);
VALUE(G_IPSEC_LA_PROTOCOL_AH, 51);
VALUE(G_IPSEC_LA_PROTOCOL_IPCOMP, 108);
VALUE(G_IPSEC_LA_PCI_VENDOR_ID, 0x1AF4);
VALUE(G_IPSEC_LA_PCI_DEVICE_ID, 0x107E);
VALUE(G_IPSEC_LA_INSTANCE_EXCLUSIVE, 1);
VALUE(G_IPSEC_LA_INSTANCE_SHARED, 2);
VALUE(G_IPSEC_LA_CTRL_FLAG_ASYNC, 1);
VALUE(G_IPSEC_LA_CTRL_FLAG_NO_RESP_EXPECTED, 2);
VALUE(G_IPSEC_LA_AUTH_ALG_NONE, 1);
VALUE(G_IPSEC_LA_AUTH_ALG_MD5_HMAC, 2);
VALUE(G_IPSEC_LA_AUTH_ALG_SHA1_HMAC, 3);
VALUE(G_IPSEC_LA_AUTH_AESXCBC, 4);
VALUE(G_IPSEC_LA_AUTH_ALG_SHA2_256_HMAC, 5);
VALUE(G_IPSEC_LA_AUTH_ALG_SHA2_384_HMAC, 6);
VALUE(G_IPSEC_LA_AUTH_ALG_SHA2_512_HMAC, 7);
VALUE(G_IPSEC_LA_AUTH_ALGO_NONE, 1);
VALUE(G_IPSEC_LA_AUTH_ALGO_MD5_HMAC, 2);
VALUE(G_IPSEC_LA_AUTH_ALGO_SHA1_HMAC, 3);
VALUE(G_IPSEC_LA_AUTH_ALGO_AESXCBC, 4);
VALUE(G_IPSEC_LA_AUTH_ALGO_SHA2_256_HMAC, 5);
VALUE(G_IPSEC_LA_AUTH_ALGO_SHA2_384_HMAC, 6);
VALUE(G_IPSEC_LA_AUTH_ALGO_SHA2_512_HMAC, 7);
VALUE(G_IPSEC_LA_CIPHER_ALGO_NULL, 1);
VALUE(G_IPSEC_LA_ALG_DES_CBC, 2);
VALUE(G_IPSEC_LA_ALG_3DES_CBC, 3);
VALUE(G_IPSEC_LA_ALG_AES_CBC, 4);
VALUE(G_IPSEC_LA_ALG_AES_CTR, 5);
VALUE(G_IPSEC_LA_ALGO_DES_CBC, 2);
VALUE(G_IPSEC_LA_ALGO_3DES_CBC, 3);
VALUE(G_IPSEC_LA_ALGO_AES_CBC, 4);
VALUE(G_IPSEC_LA_ALGO_AES_CTR, 5);
VALUE(G_IPSEC_LA_COMB_AES_CCM, 1);
VALUE(G_IPSEC_LA_COMB_AES_GCM, 2);
VALUE(G_IPSEC_LA_COMB_AES_GMAC, 3);
VALUE(G_IPSEC_LA_IPCOMP_DEFLATE, 1);
VALUE(G_IPSEC_LA_IPCOMP_LZS, 2);
VALUE(G_IPSEC_DSCP_COPY, 1);
VALUE(G_IPSEC_DSCP_CLEAR, 2);
VALUE(G_IPSEC_DSCP_SET, 3);
VALUE(G_IPSEC_LA_DSCP_COPY, 1);
VALUE(G_IPSEC_LA_DSCP_CLEAR, 2);
VALUE(G_IPSEC_LA_DSCP_SET, 3);
VALUE(G_IPSEC_DF_COPY, 1);
VALUE(G_IPSEC_DF_CLEAR, 2);
VALUE(G_IPSEC_DF_SET, 3);
VALUE(G_IPSEC_LA_DF_COPY, 1);
VALUE(G_IPSEC_LA_DF_CLEAR, 2);
VALUE(G_IPSEC_LA_DF_SET, 3);
VALUE(G_IPSEC_LA_IPSEC_INBOUND, 0);
VALUE(G_IPSEC_LA_IPSEC_OUTBOUND, 1);
VALUE(G_IPSEC_LA_SA_INBOUND, 0);
VALUE(G_IPSEC_LA_SA_OUTBOUND, 1);
VALUE(G_IPSEC_LA_SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL, 1 << 1);
VALUE(G_IPSEC_LA_SA_USE_ECN, 1 << 2);
VALUE(G_IPSEC_LA_SA_LIFETIME_IN_KB, 1 << 3);
VALUE(G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK, 1 << 4);
VALUE(G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE, 1 << 5);
VALUE(G_IPSEC_LA_SA_USE_ESN, 1 << 6);
VALUE(G_IPSEC_LA_SA_USE_IPv6, 1 << 7);
VALUE(G_IPSEC_LA_NOTIFY_LIFETIME_KB_EXPIRY, 1 << 8);
VALUE(G_IPSEC_LA_NOTIFY_SEQNUM_OVERFLOW, 1 << 9);
VALUE(G_IPSEC_LA_NOTIFY_SEQNUM_PERIODIC, 1 << 10);
VALUE(NF_IPSEC_INB_SA_PROPOGATE_ECN, 1);
VALUE(G_IPSEC_INB_SA_PROPOGATE_ECN, 1);
VALUE(G_IPSEC_LA_SA_MODIFY_LOCAL_GW_INFO, 1);
VALUE(G_IPSEC_LA_SA_MODIFY_PEER_GW_INFO, 2);
VALUE(G_IPSEC_LA_SA_MODIFY_REPLAY_INFO, 3);
VALUE(G_IPSEC_LA_SA_MODIFY_SEQ_NUM, 1 << 1);
VALUE(G_IPSEC_LA_SA_MODIFY_ANTI_REPLAY_WINDOW, 1 << 2);
VALUE(G_IPSEC_LA_SA_GET_FIRST_N, 0);
VALUE(G_IPSEC_LA_SET_GET_NEXT_N, 1);
VALUE(G_IPSEC_LA_SA_GET_NEXT_N, 1);
VALUE(G_IPSEC_LA_SA_GET_EXACT, 2);
VALUE(G_IPSEC_LA_IPV4, 4);
VALUE(G_IPSEC_LA_IPV6, 6);

/* ---- every bit-field, where GCC and Clang put it (R9) ---- */

static int answers;

static void answered(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    (void)cb_arg, (void)cb_arg_len, (void)outargs;
    __atomic_add_fetch(&answers, 1, __ATOMIC_RELEASE);
}
static void broken(struct g_ipsec_la_handle *handle, void *cb_arg) { (void)handle, (void)cb_arg; }
static void sequence_note(struct g_ipsec_la_handle handle, struct g_ipsec_seq_number_notification *in) {
    (void)handle, (void)in;
}
static void lifetime_note(struct g_ipsec_la_handle handle, struct g_ipsec_la_lifetime_in_bytes_notification *in) {
    (void)handle, (void)in;
}

#define BIT_AT(field, byte, bit)                                                      \
    do {                                                                              \
        memset(&c, 0, sizeof c);                                                      \
        c.field = 1;                                                                  \
        for (unsigned b = 0; b < sizeof c; b++)                                       \
            CHECK_EQ(((uint8_t *)&c)[b], b == (byte) ? 1u << (bit) : 0u);             \
    } while (0)

static void bit_fields(void) {
    struct g_ipsec_la_capabilities c;
    BIT_AT(sg_features, 0, 0); BIT_AT(ah_protocol, 0, 1); BIT_AT(esp_protocol, 0, 2); BIT_AT(wesp_protocol, 0, 3);
    BIT_AT(ipcomp_protocol, 0, 4); BIT_AT(multi_sec_protocol, 0, 5); BIT_AT(udp_encap, 0, 6); BIT_AT(esn, 0, 7);
    BIT_AT(tfc, 1, 0); BIT_AT(ecn, 1, 1); BIT_AT(df, 1, 2); BIT_AT(anti_replay_check, 1, 3);
    BIT_AT(ipv6_support, 1, 4); BIT_AT(soft_lifetime_bytes_notify, 1, 5); BIT_AT(seqnum_overflow_notify, 1, 6);
    BIT_AT(seqnum_periodic_notify, 1, 7); BIT_AT(num_dscp_based_queues, 2, 0);
    BIT_AT(auth_algo_caps.md5, 4, 0); BIT_AT(auth_algo_caps.sha1, 4, 1); BIT_AT(auth_algo_caps.sha2, 4, 2);
    BIT_AT(auth_algo_caps.aes_xcbc, 4, 3); BIT_AT(auth_algo_caps.none, 4, 4); BIT_AT(auth_algo_caps.des, 4, 5);
    BIT_AT(cipher_algo_caps.des, 8, 0); BIT_AT(cipher_algo_caps.des_c, 8, 1); BIT_AT(cipher_algo_caps.aes, 8, 2);
    BIT_AT(cipher_algo_caps.aes_ctr, 8, 3); BIT_AT(cipher_algo_caps.null, 8, 4);
    BIT_AT(comb_algo_caps.aes_ccm, 12, 0); BIT_AT(comb_algo_caps.aes_gcm, 12, 1);
    BIT_AT(comb_algo_caps.aes_gmac, 12, 2);
}

/* ---- every function does its work under both of its names ---- */

int main(void) {
    bit_fields();

    char version[G_IPSEC_LA_MAX_VERSION_LENGTH];
    CHECK_OK(get_api_version(version));
    H handle, group;
    struct g_ipsec_la_open_inargs open_in;
    struct g_ipsec_la_open_outargs open_out = {&handle};
    memset(&open_in, 0, sizeof open_in);
    open_in.pci_vendor_id = G_IPSEC_LA_PCI_VENDOR_ID;
    open_in.device_id = G_IPSEC_LA_PCI_DEVICE_ID;
    open_in.accl_name = (char *)"soft0";
    open_in.app_identity = (char *)"every name";
    open_in.cb_fn = broken;
    open_in.cb_arg = &handle;
    open_in.cb_arg_len = sizeof handle;
    CHECK_OK(open_fn(G_IPSEC_LA_INSTANCE_EXCLUSIVE, &open_in, &open_out));
    struct g_ipsec_la_create_group_inargs group_in = {(char *)"group"};
    struct g_ipsec_la_create_group_outargs group_out;
    CHECK_OK(create_group(&handle, &group_in, SYNC, &group_out, no_response));
    group = handle;
    memcpy(group.group_handle, group_out.g_ipsec_la_group_handle, sizeof group.group_handle);
    struct g_ipsec_la_notification_hooks hooks;
    hooks.seq_num_overflow_fn = sequence_note;
    hooks.seq_num_periodic_update_fn = sequence_note;
    hooks.soft_lifetimeout_expiry_fn = lifetime_note;
    CHECK_OK(hooks_register(handle, &hooks));
    CHECK_OK(hook_deregister(handle));

    for (int name = 0; name < 2; name++) {
        struct g_ipsec_la_available_entry spare[8];
        struct g_ipsec_la_available_list_get_inargs available_in = {0, 8};
        struct g_ipsec_la_available_list_get_outargs available_out = {0, 0, spare};
        CHECK_OK(available_list[name](&available_in, &available_out));
        CHECK_EQ(available_out.total, 3);
        struct g_ipsec_la_active_entry rows[8];
        struct g_ipsec_la_active_list_get_inargs active_in = {0, 8};
        struct g_ipsec_la_active_list_get_outargs active_out = {0, 0, rows};
        CHECK_OK(active_list[name](&active_in, &active_out));
        CHECK_EQ(active_out.total, 2);
        struct g_ipsec_cap_get_outargs caps;
        CHECK_OK(capabilities[name](&handle, SYNC, &caps, NULL));
        CHECK(caps.caps.esp_protocol);

        struct g_ipsec_la_sa sa = gcm_sa(0xd001);
        struct g_ipsec_la_sa_add_inargs add_in;
        struct g_ipsec_la_sa_add_outargs out_sa, in_sa;
        memset(&add_in, 0, sizeof add_in);
        add_in.dir = G_IPSEC_LA_IPSEC_OUTBOUND, add_in.num_sas = 1, add_in.sa_params = &sa;
        CHECK_OK(sa_add(&group, &add_in, SYNC, &out_sa, no_response));
        /* Both readings of the document (R8). */
        CHECK(memcmp(out_sa.handle.handle, &out_sa.sa_handle, 32) == 0);
        CHECK(memcmp(out_sa.handle.group_handle, group.group_handle, 32) == 0);
        add_in.dir = G_IPSEC_LA_IPSEC_INBOUND;
        CHECK_OK(sa_add(&group, &add_in, SYNC, &in_sa, no_response));

        struct g_ipsec_la_sa_mod_inargs mod_in;
        struct g_ipsec_la_sa_mod_outargs mod_out;
        memset(&mod_in, 0, sizeof mod_in);
        mod_in.dir = OUTBOUND, mod_in.handle = &out_sa.sa_handle, mod_in.flags = G_IPSEC_LA_SA_MODIFY_PEER_GW_INFO;
        mod_in.addr_info.addr = address_v4("198.51.100.77");
        CHECK_OK(sa_mod[name](&group, &mod_in, SYNC, &mod_out, no_response));

        uint8_t packet[100], esp[200], plain[100];
        make_packet_v4(packet, sizeof packet);
        D in = {packet, sizeof packet}, mid = {esp, sizeof esp}, back = {plain, sizeof plain};
        CHECK_OK(packet_encap[name](&group, SYNC, &out_sa.sa_handle, 1, &in, &mid, no_response));
        CHECK_OK(packet_decap[name](&group, SYNC, &in_sa.sa_handle, 1, &mid, &back, no_response));
        CHECK_BYTES(plain, packet, sizeof packet);
        mid.length = sizeof esp, back.length = sizeof plain;
        P in_packet = {1, &in}, mid_packet = {1, &mid}, back_packet = {1, &back};
        CHECK_OK(multi_packet_encap(&group, SYNC, &out_sa.sa_handle, 1, &in_packet, &mid_packet, no_response));
        CHECK_OK(multi_packet_decap(&group, SYNC, &in_sa.sa_handle, 1, &mid_packet, &back_packet, no_response));
        CHECK_BYTES(plain, packet, sizeof packet);

        struct g_ipsec_la_sa_stats stats;
        S last, *last_at = &last;
        struct g_ipsec_la_sa_get_inargs get_in = {OUTBOUND, NULL, G_IPSEC_LA_SA_GET_FIRST_N, 1, 0};
        struct g_ipsec_la_sa_get_outargs get_out = {0, &sa, &stats, &last_at};
        CHECK_OK(sa_get(&group, &get_in, SYNC, &get_out, NULL));
        CHECK_EQ(stats.packets_processed, 2);
        CHECK(memcmp(&last, &out_sa.sa_handle, sizeof last) == 0);

        struct g_ipsec_la_sa_del_inargs del_in = {OUTBOUND, &out_sa.sa_handle};
        struct g_ipsec_la_sa_del_outargs del_out;
        CHECK_OK(sa_del[name](&group, &del_in, SYNC, &del_out, no_response));
        struct g_ipsec_la_api_resp_args resp = respond(answered, NULL);
        CHECK_OK(sa_flush(&group, ASYNC, &resp));
        wait_for(&answers, name + 1, "the flush");
    }
    CHECK_OK(delete_group(&group));
    CHECK_OK(close_fn(&handle));
    return 0;
}
