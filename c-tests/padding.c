/*
 * What hides how much there is to say (RFC 4303 sections 2.6 and 2.7): lengths on the wire with traffic flow padding, and
 * dummy packets.
 */
#include "check.h"
#include "support.h"

static struct g_ipsec_la_handle handle;
static uint8_t packet[ROOM], sealed[ROOM + 100], opened[ROOM + 100];
static uint32_t length, back;

/* Length of ESP in tunnel mode with AES-GCM around `payload` bytes. */
static uint32_t esp_length(uint32_t payload, int outer6) {
    return (outer6 ? 40 : 20) + 8 + 8 + (payload + 2 + 3) / 4 * 4 + 16;
}

static uint32_t padded(uint32_t size, uint32_t to, uint32_t multiple) {
    if (size <= to) return to;
    return multiple == 0 ? size : (size + multiple - 1) / multiple * multiple;
}

static void lengths(uint32_t to, uint32_t multiple, int outer6) {
    struct g_ipsec_la_sa sa = gcm_sa(0xf001);
    struct g_ipsec_la_ext_sa_options options = no_options();
    if (outer6) tunnel_v6(&sa);
    sa.cmn_flags = G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK;
    options.tfc_pad_to = to, options.tfc_pad_multiple = multiple;
    struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, &sa, 1, &options);
    struct g_ipsec_la_sa_handle in = add_bundle(&handle, INBOUND, &sa, 1, &options); /* of no meaning there */
    uint32_t most = 65535 - (outer6 ? 40 : 20) - 16 - 16 - 2, longest = esp_length(most / 4 * 4 + 2, outer6);
    for (uint32_t size = 20; size <= 65535; size += size < 160 ? 1 : size < 65300 ? 997 : 1) {
        if (size < 40 || size % 2)
            make_packet_v4(packet, size);
        else
            make_packet_v6(packet, size);
        int32_t result = encap(&handle, out, packet, size, sealed, sizeof sealed, &length);
        if (esp_length(size, outer6) > 65535) {
            CHECK_RESULT(result, -EMSGSIZE);
            continue;
        }
        CHECK_OK(result);
        uint32_t expected = esp_length(padded(size, to, multiple), outer6);
        CHECK(length <= 65535);
        if (expected <= 65535)
            CHECK_EQ(length, expected);
        else
            CHECK(length >= longest - 4 && length >= esp_length(size, outer6)); /* as far as packets go */
        uint32_t made = length;
        CHECK_OK(decap(&handle, in, sealed, length, opened, size, &back)); /* no room for padding is needed */
        CHECK_EQ(back, size);
        CHECK_BYTES(opened, packet, size);
        if (size % 3) continue;
        CHECK_RESULT(encap(&handle, out, packet, size, sealed, made - 1, &length), -EMSGSIZE);
        memcpy(opened, packet, size);
        CHECK_OK(encap(&handle, out, opened, size, opened, made, &length)); /* in place */
        CHECK_EQ(length, made);
        CHECK_OK(decap(&handle, in, opened, length, opened, made, &back));
        CHECK_BYTES(opened, packet, size);
    }
    struct g_ipsec_la_sa_stats sent = statistics(&handle, OUTBOUND, out), received = statistics(&handle, INBOUND, in);
    CHECK_EQ(received.packets_processed, sent.packets_processed);
    CHECK_EQ(received.bytes_processed, sent.bytes_processed); /* padding is not payload */
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* The padding is there before encryption, and is not what lay in the buffer. */
static void is_zero_and_authentic(void) {
    struct algorithm null_hmac = {
        "null", 50, G_IPSEC_LA_CIPHER_ALGO_NULL, 0, G_IPSEC_LA_AUTH_ALG_SHA1_HMAC, 160, (enum g_ipsec_la_comb_alg)0,
        0,      0};
    struct g_ipsec_la_sa sa = make_sa(&null_hmac, 0xf002);
    struct g_ipsec_la_ext_sa_options options = no_options();
    options.tfc_pad_to = 1000;
    struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, &sa, 1, &options),
                                in = add_sa(&handle, INBOUND, &sa);
    make_packet_v4(packet, 100);
    for (int in_place = 0; in_place < 2; in_place++) {
        memset(sealed, 0xee, sizeof sealed);
        if (in_place) memcpy(sealed, packet, 100);
        CHECK_OK(encap(&handle, out, in_place ? sealed : packet, 100, sealed, sizeof sealed, &length));
        CHECK_BYTES(sealed + 28, packet, 100);
        for (uint32_t i = 128; i < 1028; i++) CHECK_EQ(sealed[i], 0);
        CHECK_OK(decap(&handle, in, sealed, length, opened, 100, &back));
        sealed[900] ^= 1;
        CHECK_RESULT(decap(&handle, in, sealed, length, opened, 100, &back), -EBADMSG);
    }
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

static void where_it_is_not(void) {
    static const int32_t to[] = {1, 0, 65535}, multiple[] = {0, 1, 65535};
    for (int i = 0; i < 3; i++)
        for (int ah = 0; ah < 2; ah++) {
            struct g_ipsec_la_ext_sa_options options = no_options();
            options.tfc_pad_to = (uint32_t)to[i], options.tfc_pad_multiple = (uint32_t)multiple[i];
            struct g_ipsec_la_sa sa = gcm_sa(0xf003);
            sa.cmn_flags = SA_FLAGS(ah ? 0 : G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE);
            if (ah) sa.proto = G_IPSEC_LA_PROTOCOL_AH, sa.crypto_params.comb_algo = G_IPSEC_LA_COMB_AES_GMAC;
            CHECK_RESULT(try_bundle(&handle, OUTBOUND, &sa, 1, &options, NULL), -EINVAL);
        }
}

/* ---- dummies ---- */

static int32_t dummy(struct g_ipsec_la_sa_handle sa, uint32_t size, uint32_t capacity) {
    struct g_ipsec_la_data data = {sealed, capacity};
    memset(sealed, 0xee, capacity);
    int32_t result = g_ipsec_la_ext_dummy_packet(&handle, &sa, size, 1, &data);
    length = data.length;
    if (result == -EMSGSIZE) {
        CHECK_EQ(length, 0);
        for (uint32_t i = 0; i < capacity; i++) CHECK_EQ(sealed[i], 0xee);
    }
    return result;
}

static void dummies(int outer6, uint32_t pad_to) {
    struct g_ipsec_la_sa sa = gcm_sa(0xf004);
    struct g_ipsec_la_ext_sa_options options = no_options();
    if (outer6) tunnel_v6(&sa);
    sa.cmn_flags = G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK;
    options.tfc_pad_to = pad_to;
    struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, &sa, 1, &options),
                                in = add_sa(&handle, INBOUND, &sa);
    uint32_t number = 0, taken = 0;
    for (uint32_t size = 20; size < 65535 - 80; size += size < 100 ? 1 : 999) {
        CHECK_OK(dummy(out, size, sizeof sealed));
        uint32_t made = length;
        CHECK_EQ(sequence_of(sealed, 50), ++number);
        CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
        CHECK_EQ(back, 0);
        CHECK_RESULT(decap(&handle, in, sealed, length, opened, sizeof opened, &back), -EALREADY); /* and is seen */
        make_packet_v4(packet, size);
        CHECK_OK(encap(&handle, out, packet, size, sealed, sizeof sealed, &length));
        CHECK_EQ(length, made); /* nobody can tell them apart */
        CHECK_EQ(sequence_of(sealed, 50), ++number);
        CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
        CHECK_RESULT(dummy(out, size, made - 1), -EMSGSIZE);
        taken++;
        CHECK_OK(dummy(out, size, made));
        CHECK_EQ(sequence_of(sealed, 50), ++number);                        /* what did not fit took no number */
        CHECK_OK(decap(&handle, in, sealed, length, opened, 0 + 1, &back)); /* nothing to put anywhere */
        CHECK_EQ(back, 0);
    }
    CHECK_RESULT(dummy(out, 65535, sizeof sealed), -EMSGSIZE); /* it would not fit either */
    static const uint32_t none[] = {0, 1, 19, 65536, 65555, 0x10014, 0x7fffffff, 0x80000014, 0xffffffff};
    for (unsigned i = 0; i < sizeof none / sizeof *none; i++) CHECK_RESULT(dummy(out, none[i], sizeof sealed), -EINVAL);
    CHECK_EQ(dropped(&handle, OUTBOUND, out, 0, NULL), taken + 1);
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, NULL), dropped(&handle, INBOUND, in, 0, "replayed"));

    /* In pieces: empty ones, small ones; and what cannot be pieces. */
    for (int i = 0; i < 50; i++) {
        struct g_ipsec_la_data pieces[5];
        uint32_t at = 0, made = esp_length(padded(500, pad_to, 0), outer6);
        for (int p = 0; p < 5; p++) {
            uint32_t size = p == 4 ? made - at : random_number() % (made - at + 1);
            pieces[p].buffer = sealed + at, pieces[p].length = size;
            at += size;
        }
        struct g_ipsec_la_data kept[5];
        memcpy(kept, pieces, sizeof kept);
        CHECK_OK(g_ipsec_la_ext_dummy_packet(&handle, &out, 500, 5, pieces));
        CHECK_EQ(pieces[0].length + pieces[1].length + pieces[2].length + pieces[3].length + pieces[4].length, made);
        CHECK_OK(decap(&handle, in, sealed, made, opened, sizeof opened, &back));
        CHECK_EQ(back, 0);
        memcpy(pieces, kept, sizeof kept);
        pieces[4].length -= pieces[4].length > 0;
        int32_t result = g_ipsec_la_ext_dummy_packet(&handle, &out, 500, 5, pieces);
        CHECK_RESULT(result, kept[4].length > 0 ? -EMSGSIZE : 0);
    }
    struct g_ipsec_la_data piece = {sealed, sizeof sealed}, nowhere = {NULL, 100},
                           twice[2] = {{sealed, 400}, {sealed + 399, 400}};
    CHECK_RESULT(g_ipsec_la_ext_dummy_packet(&handle, &out, 500, 1, NULL), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_dummy_packet(&handle, &out, 500, 0, &piece), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_dummy_packet(&handle, &out, 500, 1025, &piece), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_dummy_packet(&handle, &out, 500, 1, &nowhere), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_dummy_packet(&handle, &out, 500, 2, twice), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_dummy_packet(NULL, &out, 500, 1, &piece), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_dummy_packet(&handle, NULL, 500, 1, &piece), -EINVAL);
    struct g_ipsec_la_sa_handle forged = out;
    forged.ipsec_sa_handle[2] ^= 1;
    CHECK_RESULT(g_ipsec_la_ext_dummy_packet(&handle, &forged, 500, 1, &piece), -EBADF);
    CHECK(g_ipsec_la_ext_dummy_packet(&handle, &in, 500, 1, &piece) < 0); /* inbound SAs make nothing */
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
    CHECK_RESULT(g_ipsec_la_ext_dummy_packet(&handle, &out, 500, 1, &piece), -EBADF);
}

static void no_dummies(void) {
    struct g_ipsec_la_sa transport = gcm_sa(0xf005), ah = transport, sas[2];
    transport.cmn_flags = G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE;
    ah.proto = G_IPSEC_LA_PROTOCOL_AH, ah.crypto_params.comb_algo = G_IPSEC_LA_COMB_AES_GMAC;
    sas[0] = transport, sas[1] = ah;
    for (unsigned count = 1; count <= 2; count++)
        for (unsigned first = 0; first + count <= 2; first++) {
            struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, sas + first, count, NULL);
            CHECK_RESULT(dummy(out, 500, 2000), -EINVAL);
            CHECK_EQ(statistics(&handle, OUTBOUND, out).packets_processed, 0);
        }
    /* Numbers run out for dummies, too. */
    struct g_ipsec_la_sa sa = gcm_sa(0xf006);
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa);
    CHECK_OK(set_sequence(&handle, OUTBOUND, out, 0, 0xfffffffe));
    CHECK_OK(dummy(out, 500, 2000));
    CHECK_RESULT(dummy(out, 500, 2000), -EOVERFLOW);
    CHECK_EQ(length, 0);
    CHECK_EQ(statistics(&handle, OUTBOUND, out).protocol_violation_errors.seq_num_over_flow, 1);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

int main(void) {
    handle = open_shared("padding");
    static const uint32_t rules[][2] = {{0, 0},   {1, 0},    {100, 0},   {1000, 0},  {65535, 0}, {0, 1},        {0, 4},
                                        {0, 100}, {0, 1000}, {0, 40000}, {0, 65535}, {500, 256}, {65535, 65535}};
    char name[60];
    check_context = name;
    for (unsigned i = 0; i < sizeof rules / sizeof *rules; i += loops(1, 4))
        for (int outer6 = 0; outer6 < 2; outer6++) {
            snprintf(name, sizeof name, "to %u, multiple %u, outer %d", rules[i][0], rules[i][1], outer6 ? 6 : 4);
            lengths(rules[i][0], rules[i][1], outer6);
        }
    is_zero_and_authentic();
    where_it_is_not();
    for (int outer6 = 0; outer6 < 2; outer6++)
        for (uint32_t pad_to = 0; pad_to < 2000; pad_to += 900) {
            snprintf(name, sizeof name, "dummies to %u, outer %d", pad_to, outer6 ? 6 : 4);
            dummies(outer6, pad_to);
        }
    check_context = "";
    no_dummies();
    close_all(&handle);
    return 0;
}
