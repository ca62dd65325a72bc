/*
 * SA bundles (R33): what is not packets. What may stand together, statistics and drops of each entry, reading, changing and
 * deleting a bundle.
 */
#include "check.h"
#include "support.h"

enum { INNER = 500, ROUNDS = 20 };

static struct g_ipsec_la_handle handle;
static uint8_t packet[INNER], sealed[INNER + 300], opened[INNER + 300];
static uint32_t length, back;

static struct g_ipsec_la_sa compression(int transport) {
    struct g_ipsec_la_sa sa = gcm_sa(0);
    memset(&sa.crypto_params, 0, sizeof sa.crypto_params);
    sa.proto = G_IPSEC_LA_PROTOCOL_IPCOMP;
    sa.cmn_flags = SA_FLAGS(transport ? (int)G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE : 0);
    sa.ipcomp_info.algo = G_IPSEC_LA_IPCOMP_DEFLATE;
    return sa;
}

static struct g_ipsec_la_sa esp(uint32_t spi, int transport) {
    struct g_ipsec_la_sa sa = gcm_sa(spi);
    sa.cmn_flags =
        SA_FLAGS(G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK | (transport ? (int)G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE : 0));
    return sa;
}

static struct g_ipsec_la_sa ah(uint32_t spi) {
    struct g_ipsec_la_sa sa = esp(spi, 1);
    sa.proto = G_IPSEC_LA_PROTOCOL_AH;
    sa.crypto_params.auth_algo = G_IPSEC_LA_AUTH_ALG_SHA2_256_HMAC;
    sa.crypto_params.auth_key = sa.crypto_params.comb_key;
    sa.crypto_params.auth_key_len_bits = 256;
    sa.crypto_params.comb_algo = (enum g_ipsec_la_comb_alg)0;
    sa.crypto_params.comb_key = NULL;
    sa.crypto_params.comb_key_len_bits = 0;
    return sa;
}

/* ---- what may stand together ---- */

static uint64_t active_sas(void) {
    static struct g_ipsec_la_active_entry rows[100];
    struct g_ipsec_la_active_list_get_inargs in = {0, 100};
    struct g_ipsec_la_active_list_get_outargs out;
    memset(&out, 0, sizeof out);
    out.entries = rows;
    CHECK_OK(g_ipsec_la_active_list_get(&in, &out));
    uint64_t sum = 0;
    for (uint32_t i = 0; i < out.num_entries; i++) sum += rows[i].active_sas;
    return sum;
}

/* Refused as a whole, in both directions: not one entry is added. */
static void refused(const struct g_ipsec_la_sa *sas, unsigned count, const char *why) {
    uint64_t before = active_sas();
    check_context = why;
    CHECK_RESULT(try_bundle(&handle, OUTBOUND, sas, count, NULL, NULL), -EINVAL);
    CHECK(*g_ipsec_la_ext_last_error() != '\0');
    CHECK_RESULT(try_bundle(&handle, INBOUND, sas, count, NULL, NULL), -EINVAL);
    CHECK_EQ(active_sas(), before);
    check_context = "";
}

static void accepted(const struct g_ipsec_la_sa *sas, unsigned count, const char *why) {
    uint64_t before = active_sas();
    check_context = why;
    struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, sas, count, NULL);
    struct g_ipsec_la_sa_handle in = add_bundle(&handle, INBOUND, sas, count, NULL);
    CHECK_EQ(active_sas(), before + 2);
    CHECK_OK(del_sa(&handle, OUTBOUND, out));
    CHECK_OK(del_sa(&handle, INBOUND, in));
    CHECK_RESULT(del_sa(&handle, INBOUND, in), -EBADF);
    CHECK_EQ(active_sas(), before);
    check_context = "";
}

static void combinations(void) {
    struct g_ipsec_la_sa sas[256];
    for (uint32_t i = 0; i < 256; i++) sas[i] = esp(i + 1, 1);
    refused(sas, 0, "no entries");
    refused(sas, 5, "five entries");
    refused(sas, 255, "255 entries");
    refused(NULL, 0, "no array, no entries");
    for (unsigned count = 1; count <= 4; count++) {
        refused(NULL, count, "no array");
        accepted(sas, count, "as many as there may be");
    }
    for (unsigned at = 1; at < 4; at++) {
        struct g_ipsec_la_sa kept = sas[at];
        sas[at] = compression(1);
        refused(sas, 4, "IPComp after ESP");
        sas[at] = kept, sas[at].spi = 1;
        refused(sas, 4, "a protocol and SPI twice");
        sas[at].proto = G_IPSEC_LA_EXT_PROTOCOL_WESP;
        refused(sas, 4, "WESP is ESP");
        sas[at] = ah(1);
        accepted(sas, 4, "the SPI of another protocol");
        sas[at] = kept;
    }
    for (unsigned at = 0; at < 4; at++) {
        struct g_ipsec_la_sa kept = sas[at];
        sas[at].spi = 0;
        refused(sas, 4, "an SPI of 0");
        sas[at] = kept, sas[at].crypto_params.comb_key_len_bits = 168;
        refused(sas, 4, "a key of a wrong length");
        sas[at] = kept, sas[at].crypto_params.comb_key = NULL;
        refused(sas, 4, "no key");
        sas[at] = kept, sas[at].proto = 52;
        refused(sas, 4, "an unknown protocol");
        sas[at] = kept, sas[at].cmn_flags = SA_FLAGS(1);
        refused(sas, 4, "an unknown flag");
        sas[at] = kept, sas[at].cmn_flags = SA_FLAGS(0), sas[at].te_addr.src_ip = address_v6("::1");
        refused(sas, 4, "a tunnel of two families");
        sas[at] = kept, sas[at].ipcomp_info.algo = G_IPSEC_LA_IPCOMP_LZS;
        refused(sas, 4, "compression in an entry of ESP");
        sas[at] = kept;
        sas[at].cmn_flags = SA_FLAGS(kept.cmn_flags | G_IPSEC_LA_SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL);
        sas[at].nat_info.src_port = sas[at].nat_info.dest_port = 4500;
        if (at < 3)
            refused(sas, 4, "UDP encapsulation before the last entry");
        else
            accepted(sas, 4, "UDP encapsulation in the last entry");
        sas[at] = kept;
    }
    sas[0] = compression(1), sas[0].ipcomp_info.cpi = 2;
    sas[1] = esp(2, 0);
    accepted(sas, 2, "a CPI like an SPI");
    sas[0].spi = 2;
    accepted(sas, 2, "an IPComp entry as it is read back");
    sas[0].spi = 3;
    refused(sas, 2, "a CPI where the SPI is");
    sas[0].spi = 0;
    sas[1] = compression(0), sas[1].ipcomp_info.cpi = 9;
    refused(sas, 2, "IPComp twice");

    /* A packet would arrive where it set out from. */
    struct g_ipsec_la_tunnel_end_addr there = esp(1, 0).te_addr, back_again;
    back_again.src_ip = there.dest_ip, back_again.dest_ip = there.src_ip;
    for (unsigned at = 0; at < 4; at++) sas[at] = esp(at + 1, at % 2 != 0);
    sas[2].te_addr = back_again;
    refused(sas, 4, "a tunnel that runs back");
    sas[2].te_addr = there;
    accepted(sas, 4, "the same tunnel twice");
    sas[2].te_addr.dest_ip = address_v4("198.51.100.9");
    accepted(sas, 4, "a longer tunnel");
    for (unsigned at = 0; at < 2; at++) sas[at] = esp(at + 1, 0), sas[at].te_addr.dest_ip = sas[at].te_addr.src_ip;
    accepted(sas, 2, "tunnels within a host");
}

/* ---- reading ---- */

static int32_t get(enum g_ipsec_la_sa_get_op operation, enum g_ipsec_la_sa_direction direction,
                   struct g_ipsec_la_sa_handle *sa, uint32_t rows, struct g_ipsec_la_sa *params,
                   struct g_ipsec_la_sa_stats *stats) {
    struct g_ipsec_la_sa_get_inargs in;
    struct g_ipsec_la_sa_get_outargs out;
    memset(&in, 0, sizeof in);
    memset(&out, 0, sizeof out);
    in.dir = direction, in.handle = sa, in.operation = operation, in.num_sas = rows;
    out.sa_params = params, out.stats = stats, out.handle = &sa;
    return g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL);
}

static void check_no_keys(const struct g_ipsec_la_sa *sa) {
    CHECK(sa->crypto_params.auth_key == NULL);
    CHECK(sa->crypto_params.cipher_key == NULL);
    CHECK(sa->crypto_params.comb_key == NULL);
}

static void reading(void) {
    struct g_ipsec_la_sa sas[3] = {compression(1), esp(0x51, 0), ah(0x52)}, single = esp(0x53, 0), rows[6];
    struct g_ipsec_la_sa_stats stats[6];
    for (int direction = 0; direction < 2; direction++) {
        enum g_ipsec_la_sa_direction dir = direction == 0 ? INBOUND : OUTBOUND;
        add_bundle(&handle, dir, &single, 1, NULL);
        struct g_ipsec_la_sa_handle bundle = add_bundle(&handle, dir, sas, 3, NULL), cursor;
        add_bundle(&handle, dir, &single, 1, NULL);
        memset(rows, 0xee, sizeof rows);
        CHECK_OK(get(G_IPSEC_LA_SA_GET_FIRST_N, dir, &cursor, 6, rows, stats));
        CHECK_EQ(rows[0].spi, 0x53);
        CHECK_EQ(rows[1].proto, G_IPSEC_LA_PROTOCOL_IPCOMP); /* entry 0 stands for the bundle */
        CHECK_EQ(rows[2].spi, 0x53);
        for (int i = 0; i < 3; i++) check_no_keys(&rows[i]);
        for (int i = 3; i < 6; i++) CHECK_EQ(rows[i].spi, 0);
        /* One at a time: first, the bundle, the other, and no more. */
        CHECK_OK(get(G_IPSEC_LA_SA_GET_FIRST_N, dir, &cursor, 1, rows, stats));
        CHECK_OK(get(G_IPSEC_LA_SA_GET_NEXT_N, dir, &cursor, 1, rows, stats));
        CHECK_EQ(rows[0].proto, G_IPSEC_LA_PROTOCOL_IPCOMP);
        CHECK_BYTES(&cursor, &bundle, sizeof cursor);
        CHECK_OK(get(G_IPSEC_LA_SA_GET_NEXT_N, dir, &cursor, 1, rows, stats));
        CHECK_EQ(rows[0].spi, 0x53);
        CHECK_RESULT(get(G_IPSEC_LA_SA_GET_NEXT_N, dir, &cursor, 1, rows, stats), -ENOENT);
        /* Exactly this one, with as many rows as entries, fewer, and more. */
        for (uint32_t count = 1; count <= 6; count++) {
            memset(rows, 0xee, sizeof rows);
            memset(stats, 0xee, sizeof stats);
            CHECK_OK(get(G_IPSEC_LA_SA_GET_EXACT, dir, &bundle, count, rows, stats));
            static const uint8_t protocols[] = {108, 50, 51, 0, 0, 0};
            static const uint32_t spis[] = {2, 0x51, 0x52, 0, 0, 0};
            for (uint32_t i = 0; i < count; i++) {
                CHECK_EQ(rows[i].proto, protocols[i]);
                CHECK_EQ(rows[i].spi, spis[i]);
                CHECK_EQ(rows[i].cmn_flags, i < 3 ? sas[i].cmn_flags : 0);
                CHECK_EQ(stats[i].packets_processed, 0);
                check_no_keys(&rows[i]);
            }
            if (count < 6) CHECK_EQ(stats[count].packets_processed, 0xeeeeeeeeeeeeeeee);
        }
        CHECK_OK(get(G_IPSEC_LA_SA_GET_EXACT, dir, &bundle, 3, rows, NULL));
        CHECK_EQ(rows[0].ipcomp_info.algo, G_IPSEC_LA_IPCOMP_DEFLATE);
        CHECK_EQ(rows[0].ipcomp_info.cpi, 2);
        CHECK_EQ(rows[1].crypto_params.comb_key_len_bits, 160);
        CHECK_EQ(rows[2].crypto_params.auth_algo, G_IPSEC_LA_AUTH_ALG_SHA2_256_HMAC);
        CHECK_RESULT(get(G_IPSEC_LA_SA_GET_EXACT, direction == 0 ? OUTBOUND : INBOUND, &bundle, 3, rows, NULL),
                     -ENOENT);
    }
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* ---- statistics ---- */

static void counted(enum g_ipsec_la_sa_direction direction, struct g_ipsec_la_sa_handle sa, unsigned entries,
                    const uint64_t *processed, const uint64_t *errors) {
    struct g_ipsec_la_sa_stats stats[4];
    CHECK_OK(get(G_IPSEC_LA_SA_GET_EXACT, direction, &sa, entries, NULL, stats));
    for (unsigned i = 0; i < entries; i++) {
        CHECK_EQ(stats[i].packets_processed, processed[i]);
        CHECK_EQ(errors_counted(&stats[i]), errors[i]);
        CHECK_EQ(dropped(&handle, direction, sa, i, NULL), errors[i]);
    }
}

static void entries_count_for_themselves(void) {
    struct g_ipsec_la_sa sas[2] = {esp(0x61, 0), ah(0x62)}, wrong = sas[0];
    uint8_t other_key[20] = {1};
    wrong.crypto_params.comb_key = other_key;
    struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, sas, 2, NULL);
    struct g_ipsec_la_sa_handle in = add_bundle(&handle, INBOUND, sas, 2, NULL);
    make_packet_v4(packet, INNER);
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
        CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
    }
    uint64_t processed[2] = {ROUNDS, ROUNDS}, none[2] = {0, 0}, errors[2] = {0, 0};
    counted(OUTBOUND, out, 2, processed, none);
    counted(INBOUND, in, 2, processed, none);
    struct g_ipsec_la_sa_stats sent[2], received[2];
    CHECK_OK(get(G_IPSEC_LA_SA_GET_EXACT, OUTBOUND, &out, 2, NULL, sent));
    CHECK_OK(get(G_IPSEC_LA_SA_GET_EXACT, INBOUND, &in, 2, NULL, received));
    CHECK_EQ(sent[0].bytes_processed, ROUNDS * INNER);
    CHECK(sent[1].bytes_processed > ROUNDS * INNER); /* what ESP made of them */
    for (int i = 0; i < 2; i++) CHECK_EQ(received[i].bytes_processed, sent[i].bytes_processed);

    /* Refused by the outermost entry, which is the last: the other one never sees it. */
    CHECK_RESULT(decap(&handle, in, sealed, length, opened, sizeof opened, &back), -EALREADY);
    CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
    sealed[length - 1] ^= 1;
    CHECK_RESULT(decap(&handle, in, sealed, length, opened, sizeof opened, &back), -EBADMSG);
    errors[1] = 2;
    counted(INBOUND, in, 2, processed, errors);
    CHECK_EQ(dropped(&handle, INBOUND, in, 1, "replayed"), 1);
    CHECK_EQ(dropped(&handle, INBOUND, in, 1, "bad_icv"), 1);

    /* Refused by the inner one, after the outer one took it: processed by neither, and it may come again. */
    CHECK_OK(del_sa(&handle, OUTBOUND, out));
    sas[0] = wrong;
    out = add_bundle(&handle, OUTBOUND, sas, 2, NULL);
    struct g_ipsec_la_sa_handle after_in = in;
    for (int i = 0; i < ROUNDS + 2; i++) CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
    for (int i = 0; i < 2; i++)
        CHECK_RESULT(decap(&handle, after_in, sealed, length, opened, sizeof opened, &back), -EBADMSG);
    errors[0] = 2;
    counted(INBOUND, in, 2, processed, errors);

    /* Outbound: what is no packet, and what does not fit at the end. */
    uint64_t made[2] = {ROUNDS + 2, ROUNDS + 2}, refused_out[2] = {1, 1};
    packet[0] = 0x15;
    CHECK_RESULT(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length), -EPROTO);
    make_packet_v4(packet, INNER);
    CHECK_RESULT(encap(&handle, out, packet, INNER, sealed, INNER, &length), -EMSGSIZE);
    /* What the first entry had done is taken back. */
    counted(OUTBOUND, out, 2, made, refused_out);
    CHECK_EQ(dropped(&handle, OUTBOUND, out, 1, "no_room"), 1);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* Limits are those of the entry that has them. */
static void lifetimes(void) {
    for (int limited = 0; limited < 3; limited++) {
        struct g_ipsec_la_sa sas[3] = {compression(1), esp(0x71, 0), ah(0x72)};
        sas[limited].cmn_flags = SA_FLAGS(sas[limited].cmn_flags | G_IPSEC_LA_SA_LIFETIME_IN_KB);
        sas[limited].hard_kilobytes_limit = 1;
        struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, sas, 3, NULL);
        make_packet_v4(packet, INNER);
        int32_t result = 0;
        for (int i = 0; i < 10 && result == 0; i++) {
            result = encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length);
            if (result != 0) CHECK(i >= 2 && i <= 3);
        }
        CHECK_RESULT(result, -EKEYEXPIRED);
        for (uint32_t entry = 0; entry < 3; entry++)
            CHECK_EQ(dropped(&handle, OUTBOUND, out, entry, NULL), (uint32_t)limited == entry);
        CHECK_EQ(dropped(&handle, OUTBOUND, out, (uint32_t)limited, "lifetime_expired"), 1);
        CHECK_OK(del_sa(&handle, OUTBOUND, out));
    }
}

/* ---- changing ---- */

static int32_t move_peer(enum g_ipsec_la_sa_direction direction, struct g_ipsec_la_sa_handle sa, struct g_ip_addr to) {
    struct g_ipsec_la_sa_mod_inargs in;
    struct g_ipsec_la_sa_modify_outargs out = {1};
    memset(&in, 0, sizeof in);
    in.dir = direction, in.handle = &sa, in.flags = G_IPSEC_LA_SA_MODIFY_PEER_GW_INFO, in.addr_info.addr = to;
    return g_ipsec_la_sa_mod(&handle, &in, SYNC, &out, no_response);
}

static void changing(void) {
    struct g_ip_addr elsewhere = address_v4("203.0.113.77");
    for (int shape = 0; shape < 3;
         shape++) { /* the outermost tunnel is the last entry, or within AH, or outside of another */
        struct g_ipsec_la_sa sas[2] = {shape == 0 ? compression(1) : esp(0x81, 0),
                                       shape == 1 ? ah(0x82) : esp(0x83, 0)},
                             rows[2];
        unsigned moved = shape == 1 ? 0 : 1;
        struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, sas, 2, NULL);
        CHECK_OK(move_peer(OUTBOUND, out, elsewhere));
        make_packet_v4(packet, INNER);
        CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
        CHECK_BYTES(sealed + 16, &elsewhere.ipv4, 4);
        CHECK_OK(get(G_IPSEC_LA_SA_GET_EXACT, OUTBOUND, &out, 2, rows, NULL));
        CHECK_EQ(rows[moved].te_addr.dest_ip.ipv4, elsewhere.ipv4);
        if (shape == 2) CHECK_EQ(rows[0].te_addr.dest_ip.ipv4, sas[0].te_addr.dest_ip.ipv4);
        struct g_ipsec_la_sa_handle in = add_bundle(&handle, INBOUND, sas, 2, NULL);
        CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
        CHECK_OK(move_peer(INBOUND, in, elsewhere));
        CHECK_OK(get(G_IPSEC_LA_SA_GET_EXACT, INBOUND, &in, 2, rows, NULL));
        CHECK_EQ(rows[moved].te_addr.src_ip.ipv4, elsewhere.ipv4);

        int numbers = shape == 0 ? 0 : -EINVAL; /* whose would it be? */
        CHECK_RESULT(set_sequence(&handle, OUTBOUND, out, 0, 1000), numbers);
        CHECK_RESULT(set_sequence(&handle, INBOUND, in, 0, 1000), numbers);
        CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
        CHECK_EQ(sequence_of(sealed, sas[1].proto), shape == 0 ? 1001 : 2);
    }
    struct g_ipsec_la_sa transport[2] = {esp(0x91, 1), ah(0x92)};
    struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, transport, 2, NULL);
    CHECK_RESULT(move_peer(OUTBOUND, out, elsewhere), -EINVAL);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

int main(void) {
    handle = open_shared("bundle management");
    combinations();
    reading();
    entries_count_for_themselves();
    lifetimes();
    changing();
    CHECK_EQ(active_sas(), 0);
    close_all(&handle);
    return 0;
}
