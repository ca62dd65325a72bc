/*
 * What is outside of the ciphertext: outer headers (R28, RFC 6040), UDP encapsulation (RFC 3948), IPv4 options and IPv6
 * extension headers, and whole packets against ones that another implementation made (R29).
 */
#include "check.h"
#include "support.h"

enum { INNER = 200 };

static struct g_ipsec_la_handle handle;
static uint8_t packet[INNER], sealed[INNER + 200], opened[INNER];
static uint32_t length, back;

static uint32_t checksum(const uint8_t *from, uint32_t count, uint32_t sum) {
    for (uint32_t i = 0; i < count; i++) sum += i % 2 ? from[i] : (uint32_t)from[i] << 8;
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static void fix_checksum(uint8_t *ip) {
    if (ip[0] >> 4 != 4) return;
    uint32_t header = (uint32_t)(ip[0] & 15) * 4;
    ip[10] = ip[11] = 0;
    uint32_t sum = ~checksum(ip, header, 0);
    ip[10] = (uint8_t)(sum >> 8);
    ip[11] = (uint8_t)sum;
}

static uint8_t traffic_class(const uint8_t *ip) { return ip[0] >> 4 == 4 ? ip[1] : (uint8_t)(ip[0] << 4 | ip[1] >> 4); }

static void set_traffic_class(uint8_t *ip, uint8_t value) {
    if (ip[0] >> 4 == 4) {
        ip[1] = value;
        fix_checksum(ip);
    } else {
        ip[0] = (uint8_t)(0x60 | value >> 4);
        ip[1] = (uint8_t)((ip[1] & 15) | value << 4);
    }
}

static void make(int inner6, uint8_t class_of_inner) {
    if (inner6) make_packet_v6(packet, INNER);
    else make_packet_v4(packet, INNER);
    set_traffic_class(packet, class_of_inner);
}

static int32_t seal(struct g_ipsec_la_sa_handle out) {
    return encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length);
}

/* DSCP, DF, ECN and TTL of the outer header, for every rule and pair of families. */
static void outer_fields(int outer6, int inner6) {
    static const uint8_t rules[] = {0, G_IPSEC_DSCP_COPY, G_IPSEC_DSCP_CLEAR, G_IPSEC_DSCP_SET};
    for (int ecn = 0; ecn < 2; ecn++)
        for (int rule = 0; rule < 4; rule++)
            for (int df = 0; df < 2; df++) {
                struct g_ipsec_la_sa sa = gcm_sa(0xe001);
                if (outer6) tunnel_v6(&sa);
                sa.cmn_flags = SA_FLAGS(ecn ? G_IPSEC_LA_SA_USE_ECN : 0);
                sa.outb.dscp_handle = (enum g_ipsec_la_dscp_handle)rules[rule];
                sa.outb.df_bit_handle = (enum g_ipsec_la_df_handle)rules[rule]; /* the same three, and 0 for copy */
                sa.outb.dscp = 10;
                struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa);
                make(inner6, 46 << 2 | 2); /* EF, ECT(0) */
                if (!inner6) {
                    packet[6] = df ? 0x40 : 0;
                    fix_checksum(packet);
                }
                CHECK_OK(seal(out));
                uint8_t dscp = rule < 2 ? 46 : rule == 2 ? 0 : 10;
                CHECK_EQ(traffic_class(sealed), dscp << 2 | (ecn ? 2 : 0));
                CHECK_EQ(outer6 ? sealed[7] : sealed[8], 64);
                if (!outer6) {
                    CHECK_EQ(checksum(sealed, 20, 0), 0xffff);
                    if (!inner6 || rule >= 2) CHECK_EQ(sealed[6] & 0x40, (rule < 2 ? df : rule == 3) ? 0x40 : 0);
                }
                CHECK_OK(del_sa(&handle, OUTBOUND, out));
            }
}

/* RFC 6040, figure 4. Rows: inner; columns: outer Not-ECT, ECT(1), ECT(0), CE, by their codepoints. */
static void congestion(int outer6, int inner6) {
    static const int8_t expected[4][4] = {
        {0, 0, 0, -1}, /* Not-ECT: nobody could be told, so CE is a drop */
        {1, 1, 1, 3},  /* ECT(1) */
        {2, 1, 2, 3},  /* ECT(0) */
        {3, 3, 3, 3},  /* CE */
    };
    for (int propagate = 0; propagate < 2; propagate++) {
        struct g_ipsec_la_sa sa = gcm_sa(0xe002);
        if (outer6) tunnel_v6(&sa);
        struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa);
        if (propagate) sa.inb.flags = G_IPSEC_INB_SA_PROPOGATE_ECN;
        struct g_ipsec_la_sa_handle in = add_sa(&handle, INBOUND, &sa);
        for (uint8_t inner = 0; inner < 4; inner++)
            for (uint8_t outer = 0; outer < 4; outer++) {
                make(inner6, (uint8_t)(46 << 2 | inner));
                CHECK_OK(seal(out));
                set_traffic_class(sealed, (uint8_t)(12 << 2 | outer));
                int want = propagate ? expected[inner][outer] : inner;
                int32_t result = decap(&handle, in, sealed, length, opened, sizeof opened, &back);
                CHECK_RESULT(result, want < 0 ? -EPROTO : 0);
                if (want < 0) continue;
                CHECK_EQ(back, INNER);
                CHECK_EQ(traffic_class(opened), 46 << 2 | want); /* the DSCP stays the inner one */
                if (!inner6) CHECK_EQ(checksum(opened, 20, 0), 0xffff);
                set_traffic_class(opened, (uint8_t)(46 << 2 | inner));
                CHECK_BYTES(opened, packet, INNER);
            }
        CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
    }
}

/* Ports of nat_info; the UDP length; the checksum 0, or one that is right. */
static void udp_encapsulation(int transport, int outer6, int inner6) {
    struct g_ipsec_la_sa sa = gcm_sa(0xe003);
    if (outer6) tunnel_v6(&sa);
    sa.cmn_flags =
        SA_FLAGS(G_IPSEC_LA_SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL | (transport ? G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE : 0));
    sa.nat_info.src_port = 4500;
    sa.nat_info.dest_port = 61000;
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa), in = add_sa(&handle, INBOUND, &sa);
    make(inner6, 0);
    CHECK_OK(seal(out));
    int v6 = sealed[0] >> 4 == 6;
    uint32_t header = v6 ? 40 : 20;
    const uint8_t *udp = sealed + header;
    CHECK_EQ(v6, transport ? inner6 : outer6);
    CHECK_EQ(v6 ? sealed[6] : sealed[9], 17);
    CHECK_EQ(udp[0] << 8 | udp[1], 4500);
    CHECK_EQ(udp[2] << 8 | udp[3], 61000);
    CHECK_EQ(udp[4] << 8 | udp[5], length - header);
    if (udp[6] != 0 || udp[7] != 0) {
        uint32_t pseudo = checksum(v6 ? sealed + 8 : sealed + 12, v6 ? 32 : 8, 17 + length - header);
        CHECK_EQ(checksum(udp, length - header, pseudo), 0xffff);
    }
    CHECK_EQ(read_u32(udp + 8), 0xe003);
    CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
    CHECK_EQ(back, INNER);
    CHECK_BYTES(opened, packet, INNER);
    /* A NAT on the way changes ports and address; the packet is still the peer's. */
    CHECK_OK(seal(out));
    sealed[header + 1] ^= 0x55;
    sealed[v6 ? 8 : 12] ^= 0x55;
    sealed[header + 6] = sealed[header + 7] = 0;
    if (!v6) fix_checksum(sealed);
    CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
    CHECK_EQ(back, INNER);
    /* An IKE message on the same port has the SPI 0, a keepalive is one byte. */
    memset(sealed + header + 8, 0, 4);
    CHECK_RESULT(decap(&handle, in, sealed, length, opened, sizeof opened, &back), -ENOMSG);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* Transport mode leaves IPv4 options, and the extension headers that routers read, in front of ESP and AH. */
static void headers_in_front(const struct algorithm *a) {
    static const uint8_t options[8] = {7, 7, 4, 0, 0, 0, 0, 0}; /* record route, empty, and the end of the list */
    struct g_ipsec_la_sa sa = make_sa(a, 0xe004);
    sa.cmn_flags = G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE;
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa), in = add_sa(&handle, INBOUND, &sa);
    make_packet_v4(packet, INNER);
    packet[0] = 0x47;
    memcpy(packet + 20, options, sizeof options);
    fix_checksum(packet);
    CHECK_OK(seal(out));
    CHECK_EQ(sealed[0], 0x47);
    CHECK_BYTES(sealed + 20, options, sizeof options);
    CHECK_EQ(sealed[9], a->proto);
    CHECK_EQ(read_u32(sealed + 28 + (a->proto == G_IPSEC_LA_PROTOCOL_AH ? 4 : 0)), 0xe004);
    CHECK_EQ(checksum(sealed, 28, 0), 0xffff);
    CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
    CHECK_EQ(back, INNER);
    CHECK_BYTES(opened, packet, INNER);

    /* Hop-by-hop options, then a routing header, then UDP. */
    static const uint8_t extensions[16] = {43, 0, 1, 4, 0, 0, 0, 0, 17, 0, 253, 0, 0, 0, 0, 0};
    make_packet_v6(packet, INNER);
    packet[6] = 0;
    memcpy(packet + 40, extensions, sizeof extensions);
    CHECK_OK(seal(out));
    CHECK_EQ(sealed[6], 0);
    CHECK_EQ(sealed[40], 43);
    CHECK_EQ(sealed[48], a->proto);
    CHECK_EQ(read_u32(sealed + 56 + (a->proto == G_IPSEC_LA_PROTOCOL_AH ? 4 : 0)), 0xe004);
    CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
    CHECK_EQ(back, INNER);
    CHECK_BYTES(opened, packet, INNER);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* ---- packets made by python's cryptography, from the ESP header on ---- */

static const uint8_t inner[] =
    "\x45\x00\x00\x28\x00\x01\x40\x00\x40\x11\x26\xc2\x0a\x00\x00\x01\x0a\x00\x00\x02"
    "\x00\x07\x00\x07\x00\x14\xab\x69hello, world";
static const uint8_t gcm_packet[] = "\x00\x00\x10\x01\x00\x00\x00\x01\x01\x02\x03\x04\x05\x06\x07\x08"
                                    "\x77\x79\x19\xaf\x41\xc9\x49\xe0\xe4\xf5\x7e\x0b\x02\x49\xe3\xec"
                                    "\xb7\x08\xa4\x93\x2f\x69\x24\x18\xd3\x71\x02\xf0\x7e\x6d\xdd\x02"
                                    "\xbb\x86\x5d\xc9\x70\x6d\x5d\xba\x5c\xe7\x8e\x5c\xad\x79\x8a\xc1"
                                    "\xee\x1e\x53\x86\xa1\xbb\x42\x72\x0b\x33\x04\x20";
static const uint8_t cbc_packet[] = "\x00\x00\x10\x01\x00\x00\x00\x01\x10\x11\x12\x13\x14\x15\x16\x17"
                                    "\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\xe3\x8d\xda\xde\x14\x08\xae\x1f"
                                    "\x45\x87\x3e\x0c\x09\xb0\x9e\x59\x81\x06\x09\x9a\xd9\xa9\x93\x59"
                                    "\xb7\x6e\x64\xd1\xea\x79\x0d\xe1\x8a\xee\xf7\xeb\x0f\x19\x8f\xa0"
                                    "\x00\xe2\x2c\xbb\x69\x7f\xfd\xf9\x94\x0a\x2f\x06\xc8\x7c\x42\xea"
                                    "\x46\xb8\x5f\x9f\x12\x95\xf1\x2b";

static void known_answers(void) {
    uint8_t key[20], auth_key[32], iv[16];
    memcpy(key, "salt", 4);
    for (int i = 0; i < 16; i++) key[4 + i] = (uint8_t)i;
    for (int i = 0; i < 32; i++) auth_key[i] = (uint8_t)(0x40 + i);
    for (int i = 0; i < 8; i++) iv[i] = (uint8_t)(i + 1);
    struct g_ipsec_la_sa sa = gcm_sa(0x1001);
    sa.crypto_params.comb_key = key;
    sa.outb.iv = iv;
    sa.outb.iv_len_bits = 64;
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa);
    CHECK_OK(encap(&handle, out, inner, sizeof inner - 1, sealed, sizeof sealed, &length));
    CHECK_EQ(length, 20 + sizeof gcm_packet - 1);
    CHECK_BYTES(sealed + 20, gcm_packet, sizeof gcm_packet - 1);
    /* The IV of a counter mode goes up from the first one. */
    CHECK_OK(encap(&handle, out, inner, sizeof inner - 1, sealed, sizeof sealed, &length));
    CHECK_BYTES(sealed + 28, "\x01\x02\x03\x04\x05\x06\x07\x09", 8);

    for (int i = 0; i < 16; i++) iv[i] = (uint8_t)(0x10 + i);
    sa.crypto_params.comb_algo = (enum g_ipsec_la_comb_alg)0;
    sa.crypto_params.comb_key_len_bits = 0;
    sa.crypto_params.cipher_algo = G_IPSEC_LA_ALG_AES_CBC;
    sa.crypto_params.cipher_key = key + 4;
    sa.crypto_params.cipher_key_len_bits = 128;
    sa.crypto_params.auth_algo = G_IPSEC_LA_AUTH_ALG_SHA2_256_HMAC;
    sa.crypto_params.auth_key = auth_key;
    sa.crypto_params.auth_key_len_bits = 256;
    sa.outb.iv_len_bits = 128;
    out = add_sa(&handle, OUTBOUND, &sa);
    CHECK_OK(encap(&handle, out, inner, sizeof inner - 1, sealed, sizeof sealed, &length));
    CHECK_EQ(length, 20 + sizeof cbc_packet - 1);
    CHECK_BYTES(sealed + 20, cbc_packet, sizeof cbc_packet - 1);
    /* CBC goes on at random: neither the same IV nor the next number. */
    CHECK_OK(encap(&handle, out, inner, sizeof inner - 1, sealed, sizeof sealed, &length));
    CHECK(memcmp(sealed + 28, iv, 15) != 0);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

int main(void) {
    handle = open_shared("outer");
    for (int families = 0; families < 4; families++) {
        static const char *const names[] = {"4 in 4", "4 in 6", "6 in 4", "6 in 6"};
        check_context = names[families];
        outer_fields(families & 1, families >> 1);
        congestion(families & 1, families >> 1);
        udp_encapsulation(0, families & 1, families >> 1);
        if (!(families & 1)) udp_encapsulation(1, 0, families >> 1);
    }
    for (unsigned i = 0; i < algorithm_count; i += loops(1, 25)) {
        check_context = algorithms[i].name;
        headers_in_front(&algorithms[i]);
    }
    check_context = "";
    known_answers();
    close_all(&handle);
    return 0;
}
