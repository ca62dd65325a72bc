/*
 * Wrapped ESP (RFC 5840): the header on the wire, and what becomes of packets when any bit of it changes on the way. It is
 * not covered by the ICV, so that every field must be held against the SA.
 */
#include "check.h"
#include "support.h"

enum { INNER = 200 };

static struct g_ipsec_la_handle handle;
static uint8_t packet[INNER], sealed[INNER + 200], opened[INNER + 200];
static uint32_t length, back;

static struct g_ipsec_la_sa wrapped(int readable, int transport, int outer6, int udp, uint32_t spi) {
    struct algorithm null_hmac = {"null",
                                  G_IPSEC_LA_EXT_PROTOCOL_WESP,
                                  G_IPSEC_LA_CIPHER_ALGO_NULL,
                                  0,
                                  G_IPSEC_LA_AUTH_ALG_SHA2_256_HMAC,
                                  256,
                                  (enum g_ipsec_la_comb_alg)0,
                                  0,
                                  0};
    struct g_ipsec_la_sa sa = readable ? make_sa(&null_hmac, spi) : gcm_sa(spi);
    sa.proto = G_IPSEC_LA_EXT_PROTOCOL_WESP;
    if (outer6) tunnel_v6(&sa);
    sa.cmn_flags =
        SA_FLAGS(G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK | (transport ? (int)G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE : 0) |
                 (udp ? (int)G_IPSEC_LA_SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL : 0));
    sa.nat_info.src_port = sa.nat_info.dest_port = 4500;
    return sa;
}

static void on_the_wire(int readable, int transport, int outer6, int inner6, int udp) {
    struct g_ipsec_la_sa sa = wrapped(readable, transport, outer6, udp, 0xd001), bare = sa;
    bare.proto = G_IPSEC_LA_PROTOCOL_ESP;
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa), in = add_sa(&handle, INBOUND, &sa);
    struct g_ipsec_la_sa_handle esp_out = add_sa(&handle, OUTBOUND, &bare), esp_in = add_sa(&handle, INBOUND, &bare);
    if (inner6)
        make_packet_v6(packet, INNER);
    else
        make_packet_v4(packet, INNER);
    CHECK_OK(encap(&handle, esp_out, packet, INNER, sealed, sizeof sealed, &length));
    uint32_t esp_length = length;
    CHECK_RESULT(decap(&handle, in, sealed, length, opened, sizeof opened, &back), -EPROTO); /* ESP is not WESP */
    CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
    CHECK_RESULT(decap(&handle, esp_in, sealed, length, opened, sizeof opened, &back), -EPROTO); /* nor the reverse */

    int v6 = sealed[0] >> 4 == 6;
    uint32_t at = (v6 ? 40 : 20) + (udp ? 8 : 0), front = udp || v6 ? 8 : 4;
    CHECK_EQ(length, esp_length + front);
    CHECK_EQ(v6 ? sealed[6] : sealed[9], udp ? 17 : 141);
    if (udp) {
        CHECK_EQ(sealed[at - 4] << 8 | sealed[at - 3], length - at + 8);
        CHECK_EQ(read_u32(sealed + at), 2);
    }
    const uint8_t *wesp = sealed + at + (udp ? 4 : 0);
    int padded = v6 && !udp;
    CHECK_EQ(wesp[0], !readable ? 0 : transport ? 17 : inner6 ? 41 : 4);
    CHECK_EQ(wesp[1], readable ? 4 + (padded ? 4 : 0) + 8 : 0); /* to the payload: NULL has no IV */
    CHECK_EQ(wesp[2], readable ? 16 : 0);
    CHECK_EQ(wesp[3], (readable ? 0 : 0x20) | (padded ? 0x10 : 0));
    if (padded) CHECK_EQ(read_u32(wesp + 4), 0);
    CHECK_EQ(read_u32(sealed + at + front), 0xd001);
    if (readable) { /* what is on the way finds the payload */
        const uint8_t *payload = wesp + wesp[1];
        uint32_t hidden = transport ? (inner6 ? 40 : 20) : 0;
        CHECK_BYTES(payload, packet + hidden, INNER - hidden);
    }

    /* Every bit in front of ESP, for packets of their own. */
    uint64_t lies = 0, others = 0;
    for (uint32_t bit = 0; bit < front * 8; bit++) {
        CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
        uint32_t byte = bit / 8;
        sealed[at + byte] ^= (uint8_t)(1 << bit % 8);
        int32_t result = decap(&handle, in, sealed, length, opened, sizeof opened, &back);
        uint32_t field = udp ? byte - 4 : byte; /* of the identifier, far beyond 8 */
        int ignored = (field == 3 && bit % 8 < 4) || (field >= 4 && field < 8);
        if (ignored) {
            CHECK_OK(result);
            CHECK_BYTES(opened, packet, INNER);
        } else if (field < 4) {
            CHECK_RESULT(result, -EPROTO);
            lies++;
        } else { /* an identifier of 0 is IKE's */
            CHECK_RESULT(result, read_u32(sealed + at) == 0 ? -ENOMSG : -EPROTO);
            others++;
        }
    }
    CHECK_EQ(lies, 8 * 3 + 4);
    CHECK_EQ(others, udp ? 32 : 0);
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, "bad_wesp_header"), lies);
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, NULL), lies + others + 1);

    /* Every length that is too short. */
    for (uint32_t cut = (v6 ? 40 : 20); cut < at + front + 8; cut++) {
        CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
        if (v6)
            sealed[4] = 0, sealed[5] = (uint8_t)(cut - 40);
        else
            sealed[2] = 0, sealed[3] = (uint8_t)cut;
        if (udp) sealed[at - 4] = 0, sealed[at - 3] = (uint8_t)(cut - at + 8);
        fix_header(sealed);
        CHECK(decap(&handle, in, sealed, cut, opened, sizeof opened, &back) == -EPROTO);
    }
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* Integrity without encryption is readable; what has an IV says where the payload begins. */
static void lengths_for_every_algorithm(void) {
    for (unsigned i = 0; i < algorithm_count; i++) {
        const struct algorithm *a = &algorithms[i];
        struct g_ipsec_la_sa sa = make_sa(a, 0xd002);
        sa.proto = G_IPSEC_LA_EXT_PROTOCOL_WESP;
        check_context = a->name;
        if (a->proto != G_IPSEC_LA_PROTOCOL_ESP) continue;
        struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa), in = add_sa(&handle, INBOUND, &sa);
        make_packet_v4(packet, INNER);
        CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
        int gmac = a->comb == G_IPSEC_LA_COMB_AES_GMAC;
        int readable = gmac || (a->comb == 0 && a->cipher <= G_IPSEC_LA_CIPHER_ALGO_NULL);
        CHECK_EQ(sealed[23], readable ? 0 : 0x20);
        CHECK_EQ(sealed[20], readable ? 4 : 0);
        CHECK_EQ(sealed[21], readable ? 12 + (gmac ? 8 : 0) : 0);
        if (readable) {
            CHECK_BYTES(sealed + 20 + sealed[21], packet, INNER);
            CHECK_EQ(sealed[length - sealed[22] - 1], 4); /* the trailer ends in the next header */
        } else {
            CHECK_EQ(sealed[22], 0);
        }
        CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
        CHECK_BYTES(opened, packet, INNER);
        CHECK_OK(del_sa(&handle, OUTBOUND, out));
        CHECK_OK(del_sa(&handle, INBOUND, in));
    }
    check_context = "";
    struct g_ipsec_la_sa sa = wrapped(1, 0, 0, 0, 0);
    CHECK_RESULT(try_sa(&handle, OUTBOUND, &sa, NULL), -EINVAL); /* no SPI */
}

/* Dummies, padding and bundles within the wrapping. */
static void together(int readable) {
    struct g_ipsec_la_sa sas[2] = {wrapped(readable, 0, 0, 0, 0xd003), wrapped(readable, 0, 1, 1, 0xd004)};
    struct g_ipsec_la_ext_sa_options options[2] = {no_options(), no_options()};
    options[0].tfc_pad_to = INNER + 100;
    struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, sas, 2, options);
    struct g_ipsec_la_sa_handle in = add_bundle(&handle, INBOUND, sas, 2, NULL);
    static uint8_t large[INNER + 600];
    make_packet_v4(packet, INNER);
    for (int i = 0; i < 10; i++) {
        CHECK_OK(encap(&handle, out, packet, INNER, large, sizeof large, &length));
        CHECK_OK(decap(&handle, in, large, length, opened, sizeof opened, &back));
        CHECK_EQ(back, INNER);
        CHECK_BYTES(opened, packet, INNER);
        struct g_ipsec_la_data dummy = {large, sizeof large};
        CHECK_OK(g_ipsec_la_ext_dummy_packet(&handle, &out, INNER, 1, &dummy));
        CHECK(dummy.length > INNER);
        CHECK_OK(decap(&handle, in, large, dummy.length, opened, sizeof opened, &back));
        CHECK_EQ(back, 0);
    }
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

int main(void) {
    handle = open_shared("wesp");
    char name[100];
    for (int i = 0; i < 32; i++) {
        int readable = i & 1, transport = i >> 1 & 1, outer6 = i >> 2 & 1, inner6 = i >> 3 & 1, udp = i >> 4;
        snprintf(name, sizeof name, "%s %s, outer %d, inner %d%s", readable ? "readable" : "encrypted",
                 transport ? "transport" : "tunnel", outer6 ? 6 : 4, inner6 ? 6 : 4, udp ? ", UDP" : "");
        check_context = name;
        on_the_wire(readable, transport, outer6, inner6, udp);
    }
    check_context = "";
    lengths_for_every_algorithm();
    together(0);
    together(1);
    close_all(&handle);
    return 0;
}
