/*
 * Packets that an attacker, a broken peer or a broken network sends. Each gets the errno of R20, is counted in exactly
 * one statistic, and leaves nothing behind in the output (R21).
 */
#include "check.h"
#include "support.h"

enum { INNER = 300, SENTINEL = 0x5a };

static struct g_ipsec_la_handle handle;
static uint8_t packet[ROOM], sealed[ROOM], opened[ROOM], forged[ROOM];

struct pair {
    struct g_ipsec_la_sa_handle out, in;
};

static struct pair add_pair(const struct algorithm *a, uint32_t flags, uint8_t window) {
    struct g_ipsec_la_sa sa = make_sa(a, 0x3001);
    struct pair pair;
    sa.cmn_flags = SA_FLAGS(flags & ~(uint32_t)G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK);
    pair.out = add_sa(&handle, OUTBOUND, &sa);
    sa.cmn_flags = SA_FLAGS(flags);
    sa.inb.anti_replay_window_size = window;
    pair.in = add_sa(&handle, INBOUND, &sa);
    return pair;
}

static void del_pair(struct pair pair) {
    CHECK_OK(del_sa(&handle, OUTBOUND, pair.out));
    CHECK_OK(del_sa(&handle, INBOUND, pair.in));
}

static struct algorithm gcm(void) {
    struct algorithm a;
    memset(&a, 0, sizeof a);
    a.proto = G_IPSEC_LA_PROTOCOL_ESP;
    a.comb = G_IPSEC_LA_COMB_AES_GCM;
    a.comb_bits = 160;
    return a;
}

/* Which counter belongs to an errno (R20). */
static uint32_t counter_of(const struct g_ipsec_la_sa_stats *s, int32_t result) {
    switch (-result) {
    case EMSGSIZE: return s->process_errors.no_tail_room;
    case EPROTO: return s->protocol_violation_errors.invalid_ipsec_pkt;
    case EILSEQ: return s->protocol_violation_errors.invalid_pad_length;
    case ERANGE: return s->protocol_violation_errors.invalid_seq_num;
    case ESTALE: return s->protocol_violation_errors.anti_replay_late_pkt;
    case EALREADY: return s->protocol_violation_errors.anti_replay_replay_pkt;
    case EBADMSG: return s->protocol_violation_errors.invalid_icv;
    case EOVERFLOW: return s->protocol_violation_errors.seq_num_over_flow;
    case EKEYEXPIRED:
    case EIO: return s->protocol_violation_errors.crypto_op_failed;
    default: FAIL_AT("%s is no packet's result", errno_name(result));
    }
}

/* Decapsulates; the result must have been counted once, in its own field, and no decrypted byte may be in the output.
 */
static int32_t refused(struct pair pair, const uint8_t *from, uint32_t length) {
    struct g_ipsec_la_sa_stats before = statistics(&handle, INBOUND, pair.in);
    uint32_t back;
    memset(opened, SENTINEL, INNER + 100);
    int32_t result = decap(&handle, pair.in, from, length, opened, ROOM, &back);
    struct g_ipsec_la_sa_stats after = statistics(&handle, INBOUND, pair.in);
    CHECK(result != 0);
    CHECK_EQ(counter_of(&after, result), counter_of(&before, result) + 1);
    CHECK_EQ(errors_counted(&after), errors_counted(&before) + 1);
    CHECK_EQ(after.packets_processed, before.packets_processed);
    CHECK_EQ(after.bytes_processed, before.bytes_processed);
    for (uint32_t i = 0; i < INNER; i++) CHECK(opened[i] == SENTINEL || opened[i] == 0);
    return result;
}

static uint32_t seal(struct pair pair) {
    uint32_t length;
    make_packet_v4(packet, INNER);
    memset(packet + 28, 0x77, INNER - 28); /* never SENTINEL, never 0 */
    CHECK_OK(encap(&handle, pair.out, packet, INNER, sealed, ROOM, &length));
    return length;
}

static void accepted(struct pair pair, const uint8_t *from, uint32_t length) {
    uint32_t back;
    CHECK_OK(decap(&handle, pair.in, from, length, opened, ROOM, &back));
    CHECK_EQ(back, INNER);
    CHECK_BYTES(opened, packet, INNER);
}

/* The packet is longer than the buffer says, or the headers say less than there is. */
static void truncation(const struct algorithm *a, int outer6) {
    struct g_ipsec_la_sa sa = make_sa(a, 0x3001);
    if (outer6) tunnel_v6(&sa);
    struct pair pair = {add_sa(&handle, OUTBOUND, &sa), add_sa(&handle, INBOUND, &sa)};
    uint32_t length = seal(pair), length_at = outer6 ? 4 : 2, header = outer6 ? 40 : 20;
    for (uint32_t cut = 0; cut < length; cut++) {
        uint8_t *exact = (uint8_t *)malloc(cut + 1); /* so that sanitizers see a byte too many being read */
        memcpy(exact, sealed, cut);
        CHECK_RESULT(refused(pair, exact, cut), -EPROTO);
        if (cut >= header) { /* the same, with an IP length that fits */
            uint32_t ip_length = outer6 ? cut - 40 : cut;
            exact[length_at] = (uint8_t)(ip_length >> 8);
            exact[length_at + 1] = (uint8_t)ip_length;
            int32_t result = refused(pair, exact, cut);
            if (result != -EPROTO && result != -EBADMSG) FAIL_AT("cut to %" PRIu32 ": %s", cut, errno_name(result));
        }
        free(exact);
    }
    accepted(pair, sealed, length);
    del_pair(pair);
}

/* Every bit that is protected, and every bit of the headers that the library reads. */
static void flipped_bits(const struct algorithm *a) {
    struct pair pair = add_pair(a, 0, 0);
    uint32_t length = seal(pair), ipsec = ipsec_offset(sealed, 0);
    for (uint32_t bit = ipsec * 8; bit < length * 8; bit += loops(1, 61)) {
        memcpy(forged, sealed, length);
        forged[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        int32_t result = refused(pair, forged, length);
        int in_spi = a->proto == G_IPSEC_LA_PROTOCOL_ESP ? bit / 8 < ipsec + 4 : bit / 8 < ipsec + 8;
        CHECK(result == -EBADMSG || (in_spi && result == -EPROTO));
    }
    accepted(pair, sealed, length);
    del_pair(pair);
}

/* Random bytes with and without a plausible beginning; bytes of no packet at all. */
static void garbage(void) {
    struct algorithm a = gcm();
    struct pair pair = add_pair(&a, G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK, 0);
    for (unsigned i = 0; i < loops(20000, 300); i++) {
        uint32_t length = random_number() % 400;
        random_bytes(forged, length);
        if (i % 2 && length >= 40) forged[0] = i % 4 == 1 ? 0x45 : 0x60;
        if (i % 4 == 1 && length >= 40) {
            forged[2] = (uint8_t)(length >> 8), forged[3] = (uint8_t)length;
            forged[6] = forged[7] = 0;
            forged[9] = G_IPSEC_LA_PROTOCOL_ESP;
            if (i % 8 == 5) memcpy(forged + 20, "\x00\x00\x30\x01", 4);
        }
        int32_t result = refused(pair, forged, length);
        CHECK(result == -EPROTO || result == -EBADMSG || result == -ERANGE);
        uint32_t sealed_length;
        result = encap(&handle, pair.out, forged, length, sealed, ROOM, &sealed_length);
        CHECK(result == 0 || result == -EPROTO);
    }
    del_pair(pair);
}

static void replay_and_late(void) {
    struct algorithm a = gcm();
    enum { COUNT = 200, WINDOW = 64 };
    static uint8_t kept[COUNT + 1][INNER + 100];
    uint32_t length = 0;
    struct pair pair = add_pair(&a, G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK, WINDOW);
    for (int i = 1; i <= COUNT; i++) {
        length = seal(pair);
        memcpy(kept[i], sealed, length);
    }
    accepted(pair, kept[1], length);
    CHECK_RESULT(refused(pair, kept[1], length), -EALREADY);
    accepted(pair, kept[150], length);
    for (int i = 1; i <= 150; i++) {
        if (i <= 150 - WINDOW) CHECK_RESULT(refused(pair, kept[i], length), -ESTALE);
        else if (i == 150) CHECK_RESULT(refused(pair, kept[i], length), -EALREADY);
        else accepted(pair, kept[i], length);
    }
    /* A forgery far ahead must not move the window. */
    memcpy(forged, kept[200], length);
    forged[length - 1] ^= 1;
    CHECK_RESULT(refused(pair, forged, length), -EBADMSG);
    accepted(pair, kept[151], length);
    CHECK_RESULT(refused(pair, kept[140], length), -EALREADY);
    /* Sequence number 0 is never sent. */
    memcpy(forged, kept[160], length);
    memset(forged + ipsec_offset(forged, 0) + 4, 0, 4);
    CHECK_RESULT(refused(pair, forged, length), -ERANGE);
    del_pair(pair);

    /* Without the check, all of them pass, any number of times. */
    pair = add_pair(&a, 0, 0);
    for (int i = 1; i <= COUNT; i += 50) accepted(pair, kept[i], length), accepted(pair, kept[i], length);
    del_pair(pair);

    /* A size below 32 is raised to 32 (R30). */
    pair = add_pair(&a, G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK, 1);
    accepted(pair, kept[100], length);
    accepted(pair, kept[100 - 31], length);
    CHECK_RESULT(refused(pair, kept[100 - 32], length), -ESTALE);
    del_pair(pair);
}

/* The extension's large window (R30, R35). */
static void large_window(void) {
    struct g_ipsec_la_sa sa = gcm_sa(0x3001);
    struct g_ipsec_la_ext_sa_options options;
    struct g_ipsec_la_sa_add_inargs in;
    struct g_ipsec_la_sa_add_outargs out;
    memset(&options, 0, sizeof options);
    memset(&in, 0, sizeof in);
    options.size = sizeof options;
    options.anti_replay_window_size = 4096;
    struct pair pair;
    pair.out = add_sa(&handle, OUTBOUND, &sa);
    sa.cmn_flags = G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK;
    in.dir = INBOUND, in.num_sas = 1, in.sa_params = &sa;
    CHECK_OK(g_ipsec_la_ext_sa_add(&handle, &in, &options, SYNC, &out, no_response));
    pair.in = out.sa_handle;
    static uint8_t first[INNER + 100], second[INNER + 100];
    uint32_t length = seal(pair);
    memcpy(first, sealed, length);
    length = seal(pair);
    memcpy(second, sealed, length);
    CHECK_OK(set_sequence(&handle, OUTBOUND, pair.out, 0, 4096));
    length = seal(pair);
    CHECK_EQ(sequence_of(sealed, G_IPSEC_LA_PROTOCOL_ESP), 4097);
    accepted(pair, sealed, length);
    accepted(pair, second, length);
    CHECK_RESULT(refused(pair, first, length), -ESTALE);
    del_pair(pair);
    options.anti_replay_window_size = 65537;
    CHECK_RESULT(g_ipsec_la_ext_sa_add(&handle, &in, &options, SYNC, &out, no_response), -EINVAL);
}

/* Packets that are right for somebody else. */
static void misdirected(void) {
    struct algorithm a = gcm();
    struct pair pair = add_pair(&a, 0, 0);
    uint32_t length = seal(pair), back;
    memcpy(forged, sealed, length);
    forged[20 + 3] ^= 2; /* another SPI */
    CHECK_RESULT(refused(pair, forged, length), -EPROTO);
    memcpy(forged, sealed, length);
    forged[9] = 17; /* another protocol */
    CHECK_RESULT(refused(pair, forged, length), -EPROTO);
    memcpy(forged, sealed, length);
    forged[6] |= 0x20; /* more fragments */
    CHECK_RESULT(refused(pair, forged, length), -EPROTO);
    memcpy(forged, sealed, length);
    forged[7] |= 1; /* fragment offset */
    CHECK_RESULT(refused(pair, forged, length), -EPROTO);
    accepted(pair, sealed, length);

    /* An SA works in its own direction alone. */
    CHECK(encap(&handle, pair.in, packet, INNER, opened, ROOM, &back) != 0);
    CHECK(decap(&handle, pair.out, sealed, length, opened, ROOM, &back) != 0);
    del_pair(pair);

    /* Transport mode cannot protect a fragment, and tunnel mode can. */
    pair = add_pair(&a, G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE, 0);
    make_packet_v4(packet, INNER);
    packet[6] = 0x20; /* the checksum is of no interest here */
    CHECK_RESULT(encap(&handle, pair.out, packet, INNER, sealed, ROOM, &length), -EPROTO);
    struct g_ipsec_la_sa_stats stats = statistics(&handle, OUTBOUND, pair.out);
    CHECK_EQ(stats.protocol_violation_errors.invalid_ipsec_pkt, 1);
    CHECK_EQ(errors_counted(&stats), 1);
    del_pair(pair);
    pair = add_pair(&a, 0, 0);
    CHECK_OK(encap(&handle, pair.out, packet, INNER, sealed, ROOM, &length));
    accepted(pair, sealed, length);
    del_pair(pair);
}

/* NULL encryption without integrity lets a test forge what a peer with the keys could send. */
static void bad_padding(void) {
    struct algorithm a;
    memset(&a, 0, sizeof a);
    a.proto = G_IPSEC_LA_PROTOCOL_ESP;
    a.cipher = G_IPSEC_LA_ALG_AES_CTR;
    a.cipher_bits = 160;
    a.auth = G_IPSEC_LA_AUTH_ALG_NONE; /* CTR without ICV: a flipped bit is a flipped bit of the plaintext */
    struct pair pair = add_pair(&a, 0, 0);
    uint32_t length = seal(pair);
    memcpy(forged, sealed, length);
    forged[length - 2] ^= 0xff; /* the padding length */
    CHECK_RESULT(refused(pair, forged, length), -EILSEQ);
    memcpy(forged, sealed, length);
    forged[length - 1] ^= 4 ^ 99; /* the next header: 99 instead of IPv4 */
    CHECK_RESULT(refused(pair, forged, length), -EPROTO);
    memcpy(forged, sealed, length);
    forged[length - 1] ^= 4 ^ 59; /* a dummy packet: taken, and there is nothing to deliver */
    uint32_t back = 1;
    CHECK_OK(decap(&handle, pair.in, forged, length, opened, ROOM, &back));
    CHECK_EQ(back, 0);
    accepted(pair, sealed, length);
    del_pair(pair);
}

/* The last sequence number is used, and then no other. */
static void sequence_end(void) {
    struct algorithm a = gcm();
    struct pair pair = add_pair(&a, 0, 0);
    CHECK_OK(set_sequence(&handle, OUTBOUND, pair.out, 0, 0xfffffffe));
    uint32_t length = seal(pair);
    CHECK_EQ(sequence_of(sealed, G_IPSEC_LA_PROTOCOL_ESP), 0xffffffff);
    for (int i = 0; i < 3; i++)
        CHECK_RESULT(encap(&handle, pair.out, packet, INNER, sealed, ROOM, &length), -EOVERFLOW);
    struct g_ipsec_la_sa_stats stats = statistics(&handle, OUTBOUND, pair.out);
    CHECK_EQ(stats.protocol_violation_errors.seq_num_over_flow, 3);
    CHECK_EQ(stats.packets_processed, 1);
    CHECK_EQ(errors_counted(&stats), 3);
    del_pair(pair);
}

int main(void) {
    handle = open_shared("hostile");
    for (unsigned i = 0; i < algorithm_count; i++) {
        if (i % loops(1, 12) != 0) continue;
        check_context = algorithms[i].name;
        int has_icv =
            algorithms[i].comb != 0 || (algorithms[i].auth != 0 && algorithms[i].auth != G_IPSEC_LA_AUTH_ALG_NONE);
        if (!has_icv) continue; /* nothing tells a forgery from a packet */
        truncation(&algorithms[i], 0);
        truncation(&algorithms[i], 1);
        flipped_bits(&algorithms[i]);
    }
    check_context = "";
    garbage();
    replay_and_late();
    large_window();
    misdirected();
    bad_padding();
    sequence_end();
    close_all(&handle);
    return 0;
}
