/*
 * Every transform in every mode, inner and outer family, with and without ESN: packets of all sizes go through a pair
 * of SAs and come back byte for byte, are counted, and look on the way as RFC 4303 and RFC 4302 say.
 */
#include "check.h"
#include "support.h"

static uint8_t packet[ROOM], sealed[ROOM], opened[ROOM];

struct combination {
    int transport, outer6, inner6, esn;
};

/* Sequence number in the packet, protocol number, SPI, lengths in the outer header. */
static void check_headers(const struct algorithm *a, const struct combination *c, uint32_t inner_length,
                          uint32_t length, uint32_t expected_sequence) {
    int v6 = c->transport ? c->inner6 : c->outer6;
    CHECK_EQ(sealed[0] >> 4, v6 ? 6 : 4);
    CHECK_EQ(v6 ? sealed[6] : sealed[9], a->proto);
    CHECK_EQ(v6 ? 40 + (sealed[4] << 8 | sealed[5]) : (sealed[2] << 8 | sealed[3]), length);
    if (!v6) {
        uint32_t sum = 0;
        for (int i = 0; i < 20; i += 2) sum += (uint32_t)sealed[i] << 8 | sealed[i + 1];
        CHECK_EQ((sum & 0xffff) + (sum >> 16), 0xffff);
    }
    const uint8_t *ipsec = sealed + ipsec_offset(sealed, 0);
    CHECK_EQ(read_u32(ipsec + (a->proto == G_IPSEC_LA_PROTOCOL_AH ? 4 : 0)), 0x01020304);
    CHECK_EQ(sequence_of(sealed, a->proto), expected_sequence);
    CHECK(length > inner_length);
    if (a->proto == G_IPSEC_LA_PROTOCOL_ESP && a->cipher != G_IPSEC_LA_CIPHER_ALGO_NULL &&
        a->comb != G_IPSEC_LA_COMB_AES_GMAC && inner_length >= 100) {
        /* Encrypted: the last 40 bytes of the packet are nowhere in the result. */
        for (uint32_t at = 0; at + 40 <= length; at++) CHECK(memcmp(sealed + at, packet + inner_length - 40, 40) != 0);
    }
}

static void one_packet(struct g_ipsec_la_handle *handle, const struct algorithm *a, const struct combination *c,
                       struct g_ipsec_la_sa_handle out, struct g_ipsec_la_sa_handle in, uint32_t inner_length,
                       uint32_t expected_sequence) {
    uint32_t length, back;
    if (c->inner6) make_packet_v6(packet, inner_length);
    else make_packet_v4(packet, inner_length);
    memset(opened, 0xa5, inner_length + 1);
    CHECK_OK(encap(handle, out, packet, inner_length, sealed, ROOM, &length));
    check_headers(a, c, inner_length, length, expected_sequence);
    CHECK_OK(decap(handle, in, sealed, length, opened, ROOM, &back));
    CHECK_EQ(back, inner_length);
    CHECK_BYTES(opened, packet, inner_length);
}

static void pair_of_sas(struct g_ipsec_la_handle *handle, const struct algorithm *a, const struct combination *c) {
    struct g_ipsec_la_sa sa = make_sa(a, 0x01020304);
    uint32_t flags = (c->transport ? G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE : 0) | (c->esn ? G_IPSEC_LA_SA_USE_ESN : 0);
    if (c->outer6) tunnel_v6(&sa);
    sa.cmn_flags = SA_FLAGS(flags);
    struct g_ipsec_la_sa_handle out = add_sa(handle, OUTBOUND, &sa);
    sa.cmn_flags = SA_FLAGS(flags | G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK);
    struct g_ipsec_la_sa_handle in = add_sa(handle, INBOUND, &sa);

    uint32_t header = c->inner6 ? 40 : 20, count = 0;
    uint64_t bytes = 0;
    static const uint32_t payloads[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 255, 256, 1000, 1380, 8960, 65000};
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        uint32_t payload = payloads[i];
        /* The largest once for an algorithm: it is slow with the slowest ciphers. */
        if (payload > 60000 && (c->inner6 || c->outer6 || c->esn)) continue;
        if (payload > 2000 && loops(0, 1)) continue;
        one_packet(handle, a, c, out, in, header + payload, ++count);
        bytes += header + payload;
    }
    for (unsigned i = 0; i < loops(8, 1); i++) {
        uint32_t payload = random_number() % 1500;
        one_packet(handle, a, c, out, in, header + payload, ++count);
        bytes += header + payload;
    }
    if (c->esn) { /* across the 2^32 boundary: the high half is in the ICV and not in the packet */
        CHECK_OK(set_sequence(handle, OUTBOUND, out, 0, 0xfffffffd));
        CHECK_OK(set_sequence(handle, INBOUND, in, 0, 0xfffffffd));
        for (uint32_t i = 0; i < 4; i++, count++) {
            one_packet(handle, a, c, out, in, header + 100, 0xfffffffe + i);
            bytes += header + 100;
        }
    }

    if (c->transport) bytes -= (uint64_t)count * header;
    struct g_ipsec_la_sa_stats stats = statistics(handle, OUTBOUND, out);
    CHECK_EQ(stats.packets_processed, count);
    CHECK_EQ(stats.bytes_processed, bytes);
    CHECK_EQ(errors_counted(&stats), 0);
    stats = statistics(handle, INBOUND, in);
    CHECK_EQ(stats.packets_processed, count);
    CHECK_EQ(stats.bytes_processed, bytes);
    CHECK_EQ(errors_counted(&stats), 0);
    CHECK_OK(del_sa(handle, OUTBOUND, out));
    CHECK_OK(del_sa(handle, INBOUND, in));
}

int main(void) {
    struct g_ipsec_la_handle handle = open_shared("roundtrip");
    static char context[200];
    check_context = context;
    unsigned pairs = 0;
    for (unsigned i = 0; i < algorithm_count; i++) {
        for (int bits = 0; bits < 16; bits++) {
            struct combination c = {bits & 1, bits >> 1 & 1, bits >> 2 & 1, bits >> 3 & 1};
            if (c.transport && c.outer6) continue; /* no outer header */
            if (loops(0, 1) && (i + (unsigned)bits) % 12 != 0) continue;
            snprintf(context, sizeof context, "%s, %s, outer IPv%d, inner IPv%d%s", algorithms[i].name,
                     c.transport ? "transport" : "tunnel", c.outer6 ? 6 : 4, c.inner6 ? 6 : 4, c.esn ? ", ESN" : "");
            pair_of_sas(&handle, &algorithms[i], &c);
            pairs++;
        }
    }
    close_all(&handle);
    printf("%u pairs of SAs, %u algorithms\n", pairs, algorithm_count);
    return 0;
}
