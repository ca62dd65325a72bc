/*
 * SA bundles (R33): the packets. Entry 0 is applied first outbound and undone last inbound, whatever the call, the pieces
 * and the families; what stands on the wire; room to the byte.
 */
#include "check.h"
#include "support.h"

enum { MOST = 9000, SLACK = 600, MANY = 40 };
enum kind { NOTHING, COMP_TUNNEL, COMP_TRANSPORT, ESP_TUNNEL, ESP_TRANSPORT, AH_TUNNEL, AH_TRANSPORT };

static const struct shape {
    const char *name;
    uint8_t entries[4]; /* enum kind; entry 0 first */
} shapes[] = {
    {"IPComp, ESP tunnel", {COMP_TRANSPORT, ESP_TUNNEL}},
    {"IPComp tunnel, ESP", {COMP_TUNNEL, ESP_TRANSPORT}},
    {"IPComp tunnel, ESP tunnel", {COMP_TUNNEL, ESP_TUNNEL}},
    {"IPComp, ESP", {COMP_TRANSPORT, ESP_TRANSPORT}},
    {"IPComp, AH tunnel", {COMP_TRANSPORT, AH_TUNNEL}},
    {"ESP tunnel, AH", {ESP_TUNNEL, AH_TRANSPORT}},
    {"ESP, AH", {ESP_TRANSPORT, AH_TRANSPORT}},
    {"ESP, AH tunnel", {ESP_TRANSPORT, AH_TUNNEL}},
    {"AH, ESP tunnel", {AH_TRANSPORT, ESP_TUNNEL}},
    {"IPComp, ESP tunnel, AH", {COMP_TRANSPORT, ESP_TUNNEL, AH_TRANSPORT}},
    {"ESP, ESP tunnel", {ESP_TRANSPORT, ESP_TUNNEL}},
    {"IPComp, ESP, ESP tunnel, AH tunnel", {COMP_TRANSPORT, ESP_TRANSPORT, ESP_TUNNEL, AH_TUNNEL}},
    {"four tunnels", {ESP_TUNNEL, AH_TUNNEL, ESP_TUNNEL, AH_TUNNEL}},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static struct g_ipsec_la_handle handle;
static uint8_t packet[MOST], sealed[MOST + SLACK], opened[MOST + SLACK];
static uint32_t length, back;

/* Entries of that shape; a tunnel is IPv6 when its bit of `families` is set. Returns how many. */
static unsigned make_entries(const struct shape *shape, unsigned families, unsigned variant,
                             struct g_ipsec_la_sa *sas) {
    static const struct algorithm esp[] = {
        {"gcm", 50, (enum g_ipsec_la_cipher_alg)0, 0, (enum g_ipsec_la_auth_alg)0, 0, G_IPSEC_LA_COMB_AES_GCM, 160, 0},
        {"cbc", 50, G_IPSEC_LA_ALG_AES_CBC, 128, G_IPSEC_LA_AUTH_ALG_SHA2_256_HMAC, 256, (enum g_ipsec_la_comb_alg)0, 0,
         0},
        {"ctr", 50, G_IPSEC_LA_ALG_AES_CTR, 288, G_IPSEC_LA_AUTH_ALG_SHA1_HMAC, 160, (enum g_ipsec_la_comb_alg)0, 0,
         0}};
    static const struct algorithm ah[] = {
        {"sha1", 51, (enum g_ipsec_la_cipher_alg)0, 0, G_IPSEC_LA_AUTH_ALG_SHA1_HMAC, 160, (enum g_ipsec_la_comb_alg)0,
         0, 0},
        {"xcbc", 51, (enum g_ipsec_la_cipher_alg)0, 0, G_IPSEC_LA_AUTH_AESXCBC, 128, (enum g_ipsec_la_comb_alg)0, 0, 0},
        {"sha2", 51, (enum g_ipsec_la_cipher_alg)0, 0, G_IPSEC_LA_AUTH_ALG_SHA2_512_HMAC, 512,
         (enum g_ipsec_la_comb_alg)0, 0, 0}};
    unsigned count = 0;
    for (; count < 4 && shape->entries[count] != NOTHING; count++) {
        struct g_ipsec_la_sa *sa = &sas[count];
        uint8_t kind = shape->entries[count];
        *sa = make_sa(kind >= AH_TUNNEL ? &ah[(variant + count) % 3] : &esp[(variant + count) % 3], 0xb000 + count);
        if (families >> count & 1) tunnel_v6(sa);
        if (kind == COMP_TUNNEL || kind == COMP_TRANSPORT) {
            struct g_ipsec_la_sa comp;
            memset(&comp, 0, sizeof comp);
            comp.proto = G_IPSEC_LA_PROTOCOL_IPCOMP;
            comp.te_addr = sa->te_addr;
            comp.ipcomp_info.algo = variant % 2 ? G_IPSEC_LA_IPCOMP_LZS : G_IPSEC_LA_IPCOMP_DEFLATE;
            *sa = comp;
        } else {
            sa->cmn_flags = G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK;
        }
        if (kind == COMP_TRANSPORT || kind == ESP_TRANSPORT || kind == AH_TRANSPORT)
            sa->cmn_flags = SA_FLAGS(sa->cmn_flags | G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE);
    }
    return count;
}

static void make(int inner6, uint32_t size, int compressible) {
    if (inner6)
        make_packet_v6(packet, size);
    else
        make_packet_v4(packet, size);
    uint32_t start = inner6 ? 48 : 28;
    for (uint32_t i = start; compressible && i < size; i++) packet[i] = (uint8_t)"all work and no play "[i % 21];
}

static int untouched(const uint8_t *from, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (from[i] != 0xee) return 0;
    return 1;
}

/* What the outermost header names is the last entry; IPComp never shows. */
static void check_wire(const struct shape *shape, const struct g_ipsec_la_sa *sas, unsigned count) {
    int v6 = sealed[0] >> 4 == 6;
    const struct g_ipsec_la_sa *last = &sas[count - 1];
    CHECK_EQ(v6 ? 40 + (sealed[4] << 8 | sealed[5]) : sealed[2] << 8 | sealed[3], length);
    CHECK_EQ(v6 ? sealed[6] : sealed[9], last->proto);
    const uint8_t *head = sealed + (v6 ? 40 : 20);
    CHECK_EQ(read_u32(head + (last->proto == 51 ? 4 : 0)), last->spi);
    if (!v6) CHECK_EQ(internet_sum(sealed, 20, 0), 0xffff);
    if (last->proto != 51) return;
    /* AH hides nothing: the entry before it can be seen. In tunnel mode that is a whole packet. */
    uint32_t ah_length = (uint32_t)(head[1] + 2) * 4;
    uint8_t before = shape->entries[count - 2];
    int shows_esp = before == ESP_TUNNEL || before == ESP_TRANSPORT;
    if (shape->entries[count - 1] == AH_TRANSPORT)
        CHECK_EQ(head[0], shows_esp ? 50 : 51);
    else
        CHECK(head[0] == 4 || head[0] == 41);
    if (shape->entries[count - 1] == AH_TRANSPORT && shows_esp)
        CHECK_EQ(read_u32(head + ah_length), sas[count - 2].spi);
}

static void round_trip(struct g_ipsec_la_sa_handle out, struct g_ipsec_la_sa_handle in, uint32_t size) {
    memset(sealed, 0xee, sizeof sealed);
    CHECK_OK(encap(&handle, out, packet, size, sealed, size + SLACK, &length));
    CHECK(untouched(sealed + length, (uint32_t)sizeof sealed - length));
    CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
    CHECK_EQ(back, size);
    CHECK_BYTES(opened, packet, size);
}

/* In place: the same buffers in and out, each with descriptions of its own. */
static void in_place(struct g_ipsec_la_sa_handle out, struct g_ipsec_la_sa_handle in, uint32_t size) {
    memcpy(opened, packet, size);
    CHECK_OK(encap(&handle, out, opened, size, opened, size + SLACK, &length));
    CHECK_OK(decap(&handle, in, opened, length, opened, size + SLACK, &back));
    CHECK_EQ(back, size);
    CHECK_BYTES(opened, packet, size);
}

/* Cuts `size` bytes into three pieces, one of which may be empty. */
static void cut(uint8_t *from, uint32_t size, struct g_ipsec_la_data *pieces) {
    uint32_t first = random_number() % (size + 1), second = random_number() % (size - first + 1);
    struct g_ipsec_la_data a = {from, first}, b = {from + first, second},
                           c = {from + first + second, size - first - second};
    pieces[0] = a, pieces[1] = b, pieces[2] = c;
}

static void in_pieces(struct g_ipsec_la_sa_handle out, struct g_ipsec_la_sa_handle in, uint32_t size) {
    struct g_ipsec_la_data from[3], to[3], again[3];
    cut(packet, size, from);
    cut(sealed, size + SLACK, to);
    cut(opened, size, again);
    CHECK_OK(g_ipsec_la_packet_encap(&handle, SYNC, &out, 3, from, to, no_response));
    CHECK_OK(g_ipsec_la_packet_decap(&handle, SYNC, &in, 3, to, again, no_response));
    CHECK_EQ(again[0].length + again[1].length + again[2].length, size);
    CHECK_BYTES(opened, packet, size);
}

/* Room for what comes out is enough, and a byte less is not; no plaintext is left then. */
static void to_the_byte(struct g_ipsec_la_sa_handle out, struct g_ipsec_la_sa_handle in, uint32_t size) {
    CHECK_OK(encap(&handle, out, packet, size, sealed, size + SLACK, &length));
    uint32_t needed = length;
    memset(sealed, 0xee, sizeof sealed);
    CHECK_RESULT(encap(&handle, out, packet, size, sealed, needed - 1, &length), -EMSGSIZE);
    CHECK(untouched(sealed, sizeof sealed));
    CHECK_OK(encap(&handle, out, packet, size, sealed, needed, &length));
    CHECK_EQ(length, needed);
    memset(opened, 0xee, sizeof opened);
    CHECK_RESULT(decap(&handle, in, sealed, length, opened, size - 1, &back), -EMSGSIZE);
    for (uint32_t i = 0; i < sizeof opened; i++) CHECK(opened[i] == 0xee || opened[i] == 0); /* no plaintext */
    memset(opened, 0xee, sizeof opened);
    CHECK_OK(encap(&handle, out, packet, size, sealed, needed, &length));
    CHECK_OK(decap(&handle, in, sealed, length, opened, size, &back));
    CHECK_BYTES(opened, packet, size);
    CHECK(untouched(opened + size, (uint32_t)sizeof opened - size));
}

static uint8_t many_packets[MANY][1400], many_sealed[MANY][1400 + SLACK], many_opened[MANY][1400];
static struct g_ipsec_la_data many_data[3][MANY];
static struct g_ipsec_la_packet many[3][MANY];

static void prepare_many(int inner6) {
    for (unsigned i = 0; i < MANY; i++) {
        uint32_t size = 60 + i * 33;
        make(inner6, size, (int)(i & 1));
        memcpy(many_packets[i], packet, size);
        struct g_ipsec_la_data data[3] = {
            {many_packets[i], size}, {many_sealed[i], sizeof many_sealed[i]}, {many_opened[i], sizeof many_opened[i]}};
        for (unsigned part = 0; part < 3; part++) {
            many_data[part][i] = data[part];
            many[part][i].num_sg = 1, many[part][i].data = &many_data[part][i];
        }
    }
}

static int answers, answer;
static void answered(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    (void)cb_arg, (void)cb_arg_len;
    answer = ((const struct g_ipsec_la_packet_outargs *)outargs)->result;
    __atomic_add_fetch(&answers, 1, __ATOMIC_RELEASE);
}

/* Forty packets in a call: plainly, with results, later; one that is no packet stops none of the others. */
static void multi(struct g_ipsec_la_sa_handle out, struct g_ipsec_la_sa_handle in, int inner6, int manner) {
    int32_t results[MANY];
    prepare_many(inner6);
    if (manner == 1) many_packets[7][0] = 0x15;
    if (manner == 0) {
        CHECK_OK(g_ipsec_la_multi_packet_encap(&handle, SYNC, &out, MANY, many[0], many[1], no_response));
        CHECK_OK(g_ipsec_la_multi_packet_decap(&handle, SYNC, &in, MANY, many[1], many[2], no_response));
    } else if (manner == 1) {
        CHECK_RESULT(
            g_ipsec_la_ext_multi_packet_encap(&handle, SYNC, &out, MANY, many[0], many[1], results, no_response),
            -EPROTO);
        for (unsigned i = 0; i < MANY; i++) CHECK_RESULT(results[i], i == 7 ? -EPROTO : 0);
        CHECK_EQ(many_data[1][7].length, 0);
        many_sealed[9][many_data[1][9].length - 1] ^= 1;
        CHECK_RESULT(
            g_ipsec_la_ext_multi_packet_decap(&handle, SYNC, &in, MANY, many[1], many[2], results, no_response),
            -EPROTO);
        for (unsigned i = 0; i < MANY; i++) CHECK_RESULT(results[i], i == 7 ? -EPROTO : i == 9 ? -EBADMSG : 0);
        CHECK_EQ(many_data[2][9].length, 0);
    } else {
        answers = 0;
        CHECK_OK(g_ipsec_la_multi_packet_encap(&handle, ASYNC, &out, MANY, many[0], many[1], respond(answered, NULL)));
        wait_for(&answers, 1, "a multi call");
        CHECK_OK(answer);
        CHECK_OK(g_ipsec_la_multi_packet_decap(&handle, ASYNC, &in, MANY, many[1], many[2], respond(answered, NULL)));
        wait_for(&answers, 2, "a multi call");
        CHECK_OK(answer);
    }
    for (unsigned i = 0; i < MANY; i++) {
        if (manner == 1 && (i == 7 || i == 9)) continue;
        CHECK_EQ(many_data[2][i].length, many_data[0][i].length);
        CHECK_BYTES(many_opened[i], many_packets[i], many_data[0][i].length);
    }
}

static void shape_works(const struct shape *shape, unsigned families, int inner6, unsigned variant) {
    static const uint32_t sizes[] = {40, 48, 64, 117, 118, 129, 130, 131, 200, 576, 1400, MOST};
    struct g_ipsec_la_sa sas[4];
    unsigned count = make_entries(shape, families, variant, sas);
    struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, sas, count, NULL);
    struct g_ipsec_la_sa_handle in = add_bundle(&handle, INBOUND, sas, count, NULL);
    if (!inner6)
        for (uint32_t size = 20; size < 40; size++) {
            make(0, size, 0);
            round_trip(out, in, size);
        }
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int compressible = 0; compressible < 2; compressible++) {
            make(inner6, sizes[i], compressible);
            round_trip(out, in, sizes[i]);
            check_wire(shape, sas, count);
            if (compressible && sizes[i] >= 576 && sas[0].proto == G_IPSEC_LA_PROTOCOL_IPCOMP) CHECK(length < sizes[i]);
            in_place(out, in, sizes[i]);
            in_pieces(out, in, sizes[i]);
            to_the_byte(out, in, sizes[i]);
        }
    for (int manner = 0; manner < 3; manner++) multi(out, in, inner6, manner);
    CHECK_OK(del_sa(&handle, OUTBOUND, out));
    CHECK_OK(del_sa(&handle, INBOUND, in));
}

int main(void) {
    handle = open_shared("bundles");
    char name[100];
    check_context = name;
    for (unsigned i = 0; i < SHAPES; i++)
        for (unsigned families = 0; families < 16; families += loops(1, 5))
            for (int inner6 = 0; inner6 < 2; inner6++) {
                snprintf(name, sizeof name, "%s; tunnels %x, inner %d", shapes[i].name, families, inner6 ? 6 : 4);
                shape_works(&shapes[i], families, inner6, families + i);
            }
    check_context = "";
    close_all(&handle);
    return 0;
}
