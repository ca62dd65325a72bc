#include "support.h"

#include "check.h"
#include <arpa/inet.h>
#include <time.h>

const struct g_ipsec_la_resp_args no_response = {NULL, NULL, 0};

/* ---- time, callbacks, chance ---- */

struct g_ipsec_la_resp_args respond(g_ipsec_la_resp_cbfn cbfn, void *cb_arg) {
    struct g_ipsec_la_resp_args resp;
    memset(&resp, 0, sizeof resp);
    resp.cbfn = cbfn;
    resp.cb_arg = cb_arg;
    resp.cb_arg_len = 7; /* the library passes both on unread */
    return resp;
}

void sleep_ms(int milliseconds) {
    struct timespec t = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    nanosleep(&t, NULL);
}

double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void wait_for(const int *counter, int target, const char *what) {
    double deadline = seconds_now() + 30;
    while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < target) {
        if (seconds_now() > deadline)
            FAIL_AT("%s: %d of %d after 30 seconds", what, __atomic_load_n(counter, __ATOMIC_ACQUIRE), target);
        sleep_ms(1);
    }
}

unsigned loops(unsigned full, unsigned small_number) {
    const char *set = getenv("GIPSEC_TEST_SMALL");
    return set != NULL && *set != '\0' && *set != '0' ? small_number : full;
}

static uint64_t random_state = 0x9e3779b97f4a7c15u;

uint32_t random_number(void) { /* xorshift64* */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545f4914f6cdd1du) >> 32);
}

void random_bytes(uint8_t *to, size_t length) {
    for (size_t i = 0; i < length; i++) to[i] = (uint8_t)random_number();
}

/* ---- accelerators ---- */

int32_t open_named(enum g_ipsec_la_mode mode, const char *accelerator, const char *application,
                   struct g_ipsec_la_handle *handle) {
    struct g_ipsec_la_open_inargs in;
    struct g_ipsec_la_open_outargs out;
    memset(&in, 0, sizeof in);
    in.accl_name = (char *)accelerator;
    in.app_identity = (char *)application;
    out.handle = handle;
    return g_ipsec_la_open(mode, &in, &out);
}

struct g_ipsec_la_handle open_shared(const char *application) {
    struct g_ipsec_la_handle handle;
    CHECK_OK(open_named(G_IPSEC_LA_INSTANCE_SHARED, NULL, application, &handle));
    return handle;
}

void close_all(struct g_ipsec_la_handle *handle) {
    CHECK_OK(g_ipsec_la_sa_flush(handle, SYNC, NULL));
    CHECK_OK(g_ipsec_la_close(handle));
}

/* ---- Security Associations ---- */

static uint8_t test_keys[128];

struct g_ip_addr address_v4(const char *text) {
    struct g_ip_addr a;
    memset(&a, 0, sizeof a);
    a.version = G_IPSEC_LA_IPV4;
    CHECK(inet_pton(AF_INET, text, &a.ipv4) == 1);
    return a;
}

struct g_ip_addr address_v6(const char *text) {
    struct g_ip_addr a;
    memset(&a, 0, sizeof a);
    a.version = G_IPSEC_LA_IPV6;
    CHECK(inet_pton(AF_INET6, text, a.ipv6.b_addr) == 1);
    return a;
}

struct g_ipsec_la_sa make_sa(const struct algorithm *algorithm, uint32_t spi) {
    for (unsigned i = 0; i < sizeof test_keys; i++) test_keys[i] = (uint8_t)(i * 37 + 11);
    struct g_ipsec_la_sa sa;
    memset(&sa, 0, sizeof sa);
    sa.spi = spi;
    sa.proto = algorithm->proto;
    sa.crypto_params.cipher_algo = algorithm->cipher;
    sa.crypto_params.cipher_key = algorithm->cipher_bits != 0 ? test_keys : NULL;
    sa.crypto_params.cipher_key_len_bits = algorithm->cipher_bits;
    sa.crypto_params.auth_algo = algorithm->auth;
    sa.crypto_params.auth_key = algorithm->auth_bits != 0 ? test_keys + 40 : NULL;
    sa.crypto_params.auth_key_len_bits = algorithm->auth_bits;
    sa.crypto_params.comb_algo = algorithm->comb;
    sa.crypto_params.comb_key = algorithm->comb_bits != 0 ? test_keys + 3 : NULL;
    sa.crypto_params.comb_key_len_bits = algorithm->comb_bits;
    sa.crypto_params.icv_len_bits = algorithm->icv_bits;
    sa.te_addr.src_ip = address_v4("198.51.100.1");
    sa.te_addr.dest_ip = address_v4("198.51.100.2");
    return sa;
}

struct g_ipsec_la_sa gcm_sa(uint32_t spi) {
    struct algorithm gcm;
    memset(&gcm, 0, sizeof gcm);
    gcm.proto = G_IPSEC_LA_PROTOCOL_ESP;
    gcm.comb = G_IPSEC_LA_COMB_AES_GCM;
    gcm.comb_bits = 160;
    return make_sa(&gcm, spi);
}

void tunnel_v6(struct g_ipsec_la_sa *sa) {
    sa->te_addr.src_ip = address_v6("2001:db8:ffff::1");
    sa->te_addr.dest_ip = address_v6("2001:db8:ffff::2");
}

int32_t try_sa(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction, const struct g_ipsec_la_sa *sa,
               struct g_ipsec_la_sa_handle *sa_handle) {
    struct g_ipsec_la_sa_add_inargs in;
    struct g_ipsec_la_sa_add_outargs out;
    memset(&in, 0, sizeof in);
    memset(&out, 0, sizeof out);
    in.dir = direction;
    in.num_sas = 1;
    in.sa_params = (struct g_ipsec_la_sa *)sa;
    int32_t result = g_ipsec_la_sa_add(handle, &in, SYNC, &out, no_response);
    if (result == 0) CHECK_EQ(out.result, 0);
    if (result == 0 && sa_handle != NULL) *sa_handle = out.sa_handle;
    return result;
}

struct g_ipsec_la_sa_handle add_sa(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
                                   const struct g_ipsec_la_sa *sa) {
    struct g_ipsec_la_sa_handle sa_handle;
    CHECK_OK(try_sa(handle, direction, sa, &sa_handle));
    return sa_handle;
}

int32_t try_bundle(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
                   const struct g_ipsec_la_sa *sas, unsigned count, const struct g_ipsec_la_ext_sa_options *options,
                   struct g_ipsec_la_sa_handle *sa_handle) {
    struct g_ipsec_la_sa_add_inargs in;
    struct g_ipsec_la_sa_add_outargs out;
    memset(&in, 0, sizeof in);
    memset(&out, 0, sizeof out);
    in.dir = direction;
    in.num_sas = (uint8_t)count;
    in.sa_params = (struct g_ipsec_la_sa *)sas;
    int32_t result = options == NULL ? g_ipsec_la_sa_add(handle, &in, SYNC, &out, no_response)
                                     : g_ipsec_la_ext_sa_add(handle, &in, options, SYNC, &out, no_response);
    CHECK_EQ(out.result, result);
    if (result == 0 && sa_handle != NULL) *sa_handle = out.sa_handle;
    return result;
}

struct g_ipsec_la_sa_handle add_bundle(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
                                       const struct g_ipsec_la_sa *sas, unsigned count,
                                       const struct g_ipsec_la_ext_sa_options *options) {
    struct g_ipsec_la_sa_handle sa_handle;
    CHECK_OK(try_bundle(handle, direction, sas, count, options, &sa_handle));
    return sa_handle;
}

struct g_ipsec_la_ext_sa_options no_options(void) {
    struct g_ipsec_la_ext_sa_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}

int32_t del_sa(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
               struct g_ipsec_la_sa_handle sa_handle) {
    struct g_ipsec_la_sa_del_inargs in;
    struct g_ipsec_la_sa_del_outargs out = {1};
    memset(&in, 0, sizeof in);
    in.dir = direction;
    in.handle = &sa_handle;
    int32_t result = g_ipsec_la_sa_del(handle, &in, SYNC, &out, no_response);
    if (result == 0) CHECK_EQ(out.result, 0);
    return result;
}

struct g_ipsec_la_sa_stats statistics(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
                                      struct g_ipsec_la_sa_handle sa_handle) {
    struct g_ipsec_la_sa_stats stats;
    struct g_ipsec_la_sa_get_inargs in;
    struct g_ipsec_la_sa_get_outargs out;
    memset(&in, 0, sizeof in);
    memset(&out, 0, sizeof out);
    in.dir = direction;
    in.handle = &sa_handle;
    in.operation = G_IPSEC_LA_SA_GET_EXACT;
    in.num_sas = 1;
    in.flags = G_IPSEC_LA_SA_GET_STATISTICS;
    out.stats = &stats;
    CHECK_OK(g_ipsec_la_sa_get(handle, &in, SYNC, &out, NULL));
    return stats;
}

uint64_t errors_counted(const struct g_ipsec_la_sa_stats *s) {
    return (uint64_t)s->protocol_violation_errors.invalid_ipsec_pkt + s->protocol_violation_errors.invalid_pad_length +
           s->protocol_violation_errors.invalid_seq_num + s->protocol_violation_errors.anti_replay_late_pkt +
           s->protocol_violation_errors.anti_replay_replay_pkt + s->protocol_violation_errors.invalid_icv +
           s->protocol_violation_errors.seq_num_over_flow + s->protocol_violation_errors.crypto_op_failed +
           s->process_errors.no_tail_room + s->process_errors.submit_to_accl_failed;
}

uint64_t dropped(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
                 struct g_ipsec_la_sa_handle sa_handle, uint32_t entry, const char *name) {
    uint64_t counts[64], sum = 0;
    int32_t reasons = g_ipsec_la_ext_sa_drops_get(handle, direction, &sa_handle, entry, counts, 64);
    CHECK(reasons > 0 && reasons <= 64);
    for (uint32_t i = 0; i < (uint32_t)reasons; i++) {
        sum += counts[i];
        if (name != NULL && strcmp(g_ipsec_la_ext_drop_reason_name(i), name) == 0) return counts[i];
    }
    if (name != NULL) FAIL_AT("there is no drop reason \"%s\"", name);
    return sum;
}

int32_t set_sequence(struct g_ipsec_la_handle *handle, enum g_ipsec_la_sa_direction direction,
                     struct g_ipsec_la_sa_handle sa_handle, uint32_t high, uint32_t low) {
    struct g_ipsec_la_sa_mod_inargs in;
    struct g_ipsec_la_sa_modify_outargs out = {1};
    memset(&in, 0, sizeof in);
    in.dir = direction;
    in.handle = &sa_handle;
    in.flags = G_IPSEC_LA_SA_MODIFY_REPLAY_INFO;
    in.replay.flags = G_IPSEC_LA_SA_MODIFY_SEQ_NUM;
    in.replay.seq_num = low;
    in.replay.hi_seq_num = high;
    int32_t result = g_ipsec_la_sa_mod(handle, &in, SYNC, &out, no_response);
    if (result == 0) CHECK_EQ(out.result, 0);
    return result;
}

/* ---- packets ---- */

static void put_u16(uint8_t *to, uint32_t value) {
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

uint32_t read_u32(const uint8_t *from) {
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

uint32_t internet_sum(const uint8_t *from, uint32_t count, uint32_t sum) {
    for (uint32_t i = 0; i < count; i++) sum += i % 2 ? from[i] : (uint32_t)from[i] << 8;
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

void fix_header(uint8_t *ip) {
    if (ip[0] >> 4 != 4) return;
    put_u16(ip + 10, 0);
    put_u16(ip + 10, ~internet_sum(ip, (uint32_t)(ip[0] & 15) * 4, 0));
}

/* What follows the IP header: UDP with random payload, or, when that does not fit, a few bytes of protocol 253. */
enum { EXPERIMENTAL = 253 };

static void fill_payload(uint8_t *payload, uint32_t length) {
    random_bytes(payload, length);
    if (length < 8) return;
    put_u16(payload, 4000);
    put_u16(payload + 2, 5000);
    put_u16(payload + 4, length);
    put_u16(payload + 6, 0); /* no checksum: nobody verifies it */
}

void make_packet_v4(uint8_t *packet, uint32_t length) {
    CHECK(length >= 20 && length <= MAX_PACKET);
    static const uint8_t header[20] = {0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
    memcpy(packet, header, 20);
    put_u16(packet + 2, length);
    if (length < 28) packet[9] = EXPERIMENTAL;
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2) sum += (uint32_t)packet[i] << 8 | packet[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    put_u16(packet + 10, ~((sum & 0xffff) + (sum >> 16)));
    fill_payload(packet + 20, length - 20);
}

void make_packet_v6(uint8_t *packet, uint32_t length) {
    CHECK(length >= 40 && length <= MAX_PACKET);
    memset(packet, 0, 40);
    packet[0] = 0x60;
    put_u16(packet + 4, length - 40);
    packet[6] = length < 48 ? EXPERIMENTAL : 17;
    packet[7] = 64;
    struct g_ip_addr from = address_v6("2001:db8::1"), to = address_v6("2001:db8::2");
    memcpy(packet + 8, from.ipv6.b_addr, 16);
    memcpy(packet + 24, to.ipv6.b_addr, 16);
    fill_payload(packet + 40, length - 40);
}

/* R21 is about packets; a call that is refused as a whole need not have looked at its segments. */
static void check_failed_length(int32_t result, uint32_t length) {
    static const int32_t packet_results[] = {EMSGSIZE, EPROTO,  EILSEQ,    ERANGE,      ESTALE,
                                             EALREADY, EBADMSG, EOVERFLOW, EKEYEXPIRED, EIO};
    for (size_t i = 0; i < sizeof packet_results / sizeof *packet_results; i++)
        if (result == -packet_results[i]) CHECK_EQ(length, 0);
}

int32_t encap(struct g_ipsec_la_handle *handle, struct g_ipsec_la_sa_handle sa, const uint8_t *packet,
              uint32_t packet_length, uint8_t *output, uint32_t capacity, uint32_t *length) {
    struct g_ipsec_la_data in = {(uint8_t *)packet, packet_length}, out = {output, capacity};
    int32_t result = g_ipsec_la_packet_encap(handle, SYNC, &sa, 1, &in, &out, no_response);
    check_failed_length(result, out.length);
    *length = result == 0 ? out.length : 0;
    return result;
}

int32_t decap(struct g_ipsec_la_handle *handle, struct g_ipsec_la_sa_handle sa, const uint8_t *packet,
              uint32_t packet_length, uint8_t *output, uint32_t capacity, uint32_t *length) {
    struct g_ipsec_la_data in = {(uint8_t *)packet, packet_length}, out = {output, capacity};
    int32_t result = g_ipsec_la_packet_decap(handle, SYNC, &sa, 1, &in, &out, no_response);
    check_failed_length(result, out.length);
    *length = result == 0 ? out.length : 0;
    return result;
}

uint32_t ipsec_offset(const uint8_t *packet, int in_udp) {
    uint32_t header = packet[0] >> 4 == 4 ? (uint32_t)(packet[0] & 15) * 4 : 40;
    return header + (in_udp ? 8 : 0);
}

uint32_t sequence_of(const uint8_t *packet, uint8_t proto) {
    return read_u32(packet + ipsec_offset(packet, 0) + (proto == G_IPSEC_LA_PROTOCOL_AH ? 8 : 4));
}
