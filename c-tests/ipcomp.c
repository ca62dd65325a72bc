/*
 * IPComp alone (RFC 3173): what shrinks is sent compressed and what does not as it is; both are taken. What arrives corrupt,
 * cut, with another CPI, or larger than it may be.
 */
#include "check.h"
#include "support.h"

enum { MOST = 65535, GIVEN = 0x4321 };

static struct g_ipsec_la_handle handle;
static uint8_t packet[ROOM], sealed[ROOM + 100], opened[ROOM + 100];
static uint32_t length, back;

static struct g_ipsec_la_sa ipcomp(int lzs, int transport, int outer6, uint32_t cpi) {
    struct g_ipsec_la_sa sa = gcm_sa(0);
    memset(&sa.crypto_params, 0, sizeof sa.crypto_params);
    if (outer6) tunnel_v6(&sa);
    sa.proto = G_IPSEC_LA_PROTOCOL_IPCOMP;
    sa.cmn_flags = SA_FLAGS(transport ? (int)G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE : 0);
    sa.ipcomp_info.algo = lzs ? G_IPSEC_LA_IPCOMP_LZS : G_IPSEC_LA_IPCOMP_DEFLATE;
    sa.ipcomp_info.cpi = cpi;
    return sa;
}

enum filling { NOISE, TEXT, ZEROS };

static void make(int inner6, uint32_t size, enum filling filling) {
    if (inner6)
        make_packet_v6(packet, size);
    else
        make_packet_v4(packet, size);
    for (uint32_t i = inner6 ? 48 : 28; i < size && filling != NOISE; i++)
        packet[i] =
            filling == ZEROS ? 0 : (uint8_t)("the quick brown fox jumps over the lazy dog "[i % 44] + i / 997 % 3);
}

/* Where the IPComp header is, or 0 when the packet is sent as it is. */
static uint32_t header_at(void) {
    int v6 = sealed[0] >> 4 == 6;
    if ((v6 ? sealed[6] : sealed[9]) != G_IPSEC_LA_PROTOCOL_IPCOMP) return 0;
    return v6 ? 40 : 20;
}

static void round_trips(int lzs, int transport, int outer6, int inner6, uint32_t cpi) {
    static const uint32_t sizes[] = {40, 41, 90, 109, 110, 111, 129, 130, 131, 150, 200, 576, 1400, 9000, 65000};
    struct g_ipsec_la_sa sa = ipcomp(lzs, transport, outer6, cpi);
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa), in = add_sa(&handle, INBOUND, &sa);
    uint32_t front = transport ? 0 : outer6 ? 40 : 20;
    uint64_t packets = 0, bytes = 0;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int filling = NOISE; filling <= ZEROS; filling++) {
            uint32_t size = sizes[i];
            make(inner6, size, (enum filling)filling);
            CHECK_OK(encap(&handle, out, packet, size, sealed, sizeof sealed, &length));
            CHECK(length <= size + front);
            int v6 = sealed[0] >> 4 == 6;
            CHECK_EQ(v6, transport ? inner6 : outer6);
            CHECK_EQ(v6 ? 40 + (sealed[4] << 8 | sealed[5]) : sealed[2] << 8 | sealed[3], length);
            if (!v6) CHECK_EQ(internet_sum(sealed, 20, 0), 0xffff);
            uint32_t at = header_at();
            if (filling == NOISE && transport) CHECK_EQ(at, 0);
            if (filling != NOISE && size >= 576) CHECK(at != 0);
            if (at == 0) {
                CHECK_EQ(length, size + front);
                CHECK_BYTES(sealed + front, packet, size);
                if (!transport) CHECK_EQ(v6 ? sealed[6] : sealed[9], inner6 ? 41 : 4);
            } else {
                CHECK(length < size + front);
                CHECK_EQ(sealed[at], transport ? 17 : inner6 ? 41 : 4);
                CHECK_EQ(sealed[at + 1], 0);
                CHECK_EQ(sealed[at + 2] << 8 | sealed[at + 3], cpi != 0 ? cpi : lzs ? 3u : 2u);
            }
            CHECK_OK(decap(&handle, in, sealed, length, opened, size, &back)); /* room to the byte */
            CHECK_EQ(back, size);
            CHECK_BYTES(opened, packet, size);
            /* In place. */
            memcpy(opened, packet, size);
            uint32_t made = length;
            CHECK_OK(encap(&handle, out, opened, size, opened, sizeof opened, &length));
            CHECK_EQ(length, made);
            if (transport) CHECK_BYTES(opened, sealed, made);
            CHECK_OK(decap(&handle, in, opened, length, opened, sizeof opened, &back));
            CHECK_EQ(back, size);
            CHECK_BYTES(opened, packet, size);
            /* A byte too little, either way: no length, and no plaintext inbound. */
            CHECK_RESULT(encap(&handle, out, packet, size, sealed, made - 1, &length), -EMSGSIZE);
            CHECK_OK(encap(&handle, out, packet, size, sealed, made, &length));
            memset(opened, 0xee, size + 1);
            CHECK_RESULT(decap(&handle, in, sealed, length, opened, size - 1, &back), -EMSGSIZE);
            for (uint32_t b = 0; b <= size; b++) CHECK(opened[b] == 0xee || opened[b] == 0);
            CHECK_OK(decap(&handle, in, sealed, length, opened, size, &back)); /* there is no replay to check */
            packets += 3, bytes += 3 * (uint64_t)(size - (transport ? (inner6 ? 40 : 20) : 0));
        }
    struct g_ipsec_la_sa_stats sent = statistics(&handle, OUTBOUND, out), received = statistics(&handle, INBOUND, in);
    CHECK_EQ(sent.packets_processed, packets);
    CHECK_EQ(received.packets_processed, packets);
    CHECK_EQ(sent.bytes_processed, bytes);
    CHECK_EQ(received.bytes_processed, bytes);
    CHECK_EQ(sent.process_errors.no_tail_room, packets / 3);
    CHECK_EQ(errors_counted(&received), received.process_errors.no_tail_room);
    CHECK_OK(del_sa(&handle, OUTBOUND, out));
    CHECK_OK(del_sa(&handle, INBOUND, in));
}

/* Every cut and thousands of changes of a compressed packet: refused or, rarely, another packet; never anything else. */
static void corrupt(int lzs, int transport) {
    struct g_ipsec_la_sa sa = ipcomp(lzs, transport, 0, GIVEN);
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa), in = add_sa(&handle, INBOUND, &sa);
    static uint8_t forged[2000];
    make(0, 1400, TEXT);
    CHECK_OK(encap(&handle, out, packet, 1400, sealed, sizeof sealed, &length));
    CHECK(header_at() == 20 && length < sizeof forged);
    uint64_t refused = 0;
    for (uint32_t cut = 21; cut < length; cut++) {
        memcpy(forged, sealed, cut);
        forged[2] = (uint8_t)(cut >> 8), forged[3] = (uint8_t)cut;
        fix_header(forged);
        /* LZS may end early where an end marker happens to be; a cut in front of the end of DEFLATE never passes. */
        int32_t result = decap(&handle, in, forged, cut, opened, 2000, &back);
        if (result == 0)
            CHECK(lzs && cut == length - 1);
        else
            CHECK_RESULT(result, -EPROTO);
        refused += result != 0;
    }
    CHECK_EQ(statistics(&handle, INBOUND, in).protocol_violation_errors.invalid_ipsec_pkt, refused);
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, "corrupt_compression"),
             refused - dropped(&handle, INBOUND, in, 0, "truncated"));
    uint64_t expected = refused, too_long = 0;
    for (unsigned i = 0; i < loops(20000, 500); i++) {
        memcpy(forged, sealed, length);
        forged[24 + random_number() % (length - 24)] ^= (uint8_t)(1 + random_number() % 255);
        memset(opened, 0xee, 2000);
        int32_t result = decap(&handle, in, forged, length, opened, 2000, &back);
        if (result == 0) continue;
        CHECK(result == -EPROTO || result == -EMSGSIZE);
        if (result == -EPROTO)
            expected++;
        else
            too_long++;
        for (uint32_t b = 0; b < 2000; b++) CHECK(opened[b] == 0xee || opened[b] == 0);
    }
    struct g_ipsec_la_sa_stats stats = statistics(&handle, INBOUND, in);
    CHECK_EQ(stats.protocol_violation_errors.invalid_ipsec_pkt, expected);
    CHECK_EQ(stats.process_errors.no_tail_room, too_long);
    CHECK_EQ(errors_counted(&stats), expected + too_long);
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, NULL), expected + too_long);

    /* Another CPI, and not even a header. */
    for (int bit = 0; bit < 16; bit++) {
        memcpy(forged, sealed, length);
        forged[22 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_RESULT(decap(&handle, in, forged, length, opened, 2000, &back), -EPROTO);
    }
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, "other_spi"), 16);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* Writes an IPv4 packet of IPComp around `stream`. */
static uint32_t wrap(const uint8_t *stream, uint32_t count, uint8_t next_header) {
    make_packet_v4(sealed, 24 + count);
    sealed[9] = G_IPSEC_LA_PROTOCOL_IPCOMP;
    sealed[20] = next_header, sealed[21] = 0, sealed[22] = GIVEN >> 8, sealed[23] = GIVEN & 0xff;
    memcpy(sealed + 24, stream, count);
    fix_header(sealed);
    return 24 + count;
}

static void put_bits(uint8_t *to, uint32_t *at, uint32_t value, uint32_t count) {
    for (uint32_t i = 0; i < count; i++, (*at)++)
        if (value >> i & 1) to[*at / 8] |= (uint8_t)(1 << *at % 8);
}

/* DEFLATE by hand, with the fixed codes: one zero, then runs of 258 of them. As long as they say in all. */
static uint32_t bomb(uint8_t *stream, uint32_t runs) {
    uint32_t at = 0;
    memset(stream, 0, 4000);
    put_bits(stream, &at, 3, 3);    /* the last block, fixed codes */
    put_bits(stream, &at, 0x0c, 8); /* literal 0: 00110000, the first bit first */
    for (uint32_t i = 0; i < runs; i++) {
        put_bits(stream, &at, 0xa3, 8); /* length 258: 11000101 */
        put_bits(stream, &at, 0, 5);    /* distance 1 */
    }
    put_bits(stream, &at, 0, 7); /* the end */
    return (at + 7) / 8;
}

static void bombs(int transport) {
    struct g_ipsec_la_sa sa = ipcomp(0, transport, 0, GIVEN);
    struct g_ipsec_la_sa_handle in = add_sa(&handle, INBOUND, &sa);
    static uint8_t stream[4000];
    uint64_t too_long = 0;
    /* In transport mode, 20 + 1 + 253 * 258 = 65,295 bytes are a packet, and 65,553 are none. */
    for (uint32_t runs = 250; runs < 2000; runs += runs < 260 ? 1 : 97) {
        uint32_t size = wrap(stream, bomb(stream, runs), 17), total = 20 + 1 + runs * 258;
        for (int small = 0; small < 2; small++) {
            uint32_t room = small ? 3000 : (uint32_t)sizeof opened;
            memset(opened, 0xee, sizeof opened);
            int32_t expected = total - (transport ? 0 : 20) > (small ? room : (uint32_t)MOST) ? -EMSGSIZE
                               : transport                                                    ? 0
                                                                                              : -EPROTO;
            CHECK_RESULT(decap(&handle, in, sealed, size, opened, room, &back), expected);
            too_long += expected == -EMSGSIZE;
            if (expected == 0) {
                CHECK_EQ(back, total);
                CHECK_EQ(opened[9], 17);
            }
            for (uint32_t b = small ? room : (uint32_t)MOST; b < sizeof opened; b++) CHECK(opened[b] == 0xee);
        }
    }
    struct g_ipsec_la_sa_stats stats = statistics(&handle, INBOUND, in);
    CHECK_EQ(stats.process_errors.no_tail_room, too_long);
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, "no_room"), too_long);

    /* Nothing at all, nothing but an end, a block of type 3, a distance before the beginning, a stored block that lies. */
    static const struct {
        uint8_t bytes[8];
        uint32_t count;
    } streams[] = {{{0}, 0},
                   {{0x07}, 1},
                   {{0x03, 0x02, 0, 0}, 4},
                   {{1, 5, 0, 0xfa, 0xfe, 1, 2, 3}, 8},
                   {{1, 5, 0, 0xfa, 0xff, 1, 2}, 7},
                   {{0xff, 0xff, 0xff}, 3}};
    uint64_t before = dropped(&handle, INBOUND, in, 0, "corrupt_compression");
    for (unsigned i = 0; i < sizeof streams / sizeof *streams; i++) {
        uint32_t size = wrap(streams[i].bytes, streams[i].count, 17);
        CHECK_RESULT(decap(&handle, in, sealed, size, opened, sizeof opened, &back), -EPROTO);
    }
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, "corrupt_compression"), before + sizeof streams / sizeof *streams);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

static void refused(const struct g_ipsec_la_sa *sa, const char *why) {
    check_context = why;
    CHECK_RESULT(try_sa(&handle, OUTBOUND, sa, NULL), -EINVAL);
    CHECK_RESULT(try_sa(&handle, INBOUND, sa, NULL), -EINVAL);
    check_context = "";
}

static void what_it_takes(void) {
    static uint8_t key[32];
    struct g_ipsec_la_sa good = ipcomp(0, 0, 0, 0), sa = good;
    static const int flags[] = {G_IPSEC_LA_SA_USE_ESN, G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK,
                                G_IPSEC_LA_SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL};
    for (int i = 0; i < 3; i++) {
        sa.cmn_flags = SA_FLAGS(flags[i]);
        sa.nat_info.src_port = sa.nat_info.dest_port = 4500;
        refused(&sa, "a flag of ESP");
    }
    sa = good, sa.crypto_params.comb_algo = G_IPSEC_LA_COMB_AES_GCM, sa.crypto_params.comb_key = key,
    sa.crypto_params.comb_key_len_bits = 160;
    refused(&sa, "GCM");
    sa = good, sa.crypto_params.auth_algo = G_IPSEC_LA_AUTH_ALG_SHA1_HMAC, sa.crypto_params.auth_key = key,
    sa.crypto_params.auth_key_len_bits = 160;
    refused(&sa, "an integrity algorithm");
    sa.crypto_params.auth_algo = (enum g_ipsec_la_auth_alg)0;
    refused(&sa, "an integrity key");
    sa = good, sa.crypto_params.cipher_key = key, sa.crypto_params.cipher_key_len_bits = 128;
    refused(&sa, "an encryption key");
    static const uint32_t unknown[] = {0, 3, 4, 0x80000000, 0xffffffff};
    for (int i = 0; i < 5; i++) {
        sa = good;
        memcpy(&sa.ipcomp_info.algo, &unknown[i], 4);
        refused(&sa, "an unknown algorithm");
    }
    sa = good;
    for (uint32_t cpi = 65536; cpi != 0; cpi = cpi << 1 | cpi >> 31 << 16) {
        sa.ipcomp_info.cpi = cpi;
        refused(&sa, "a CPI of more than 16 bits");
        if (cpi >> 31) break;
    }
    sa = good, sa.te_addr.dest_ip.version = (enum g_ip_version)0;
    refused(&sa, "a tunnel to nowhere");
    struct g_ipsec_la_ext_sa_options options[7];
    for (int i = 0; i < 7; i++) options[i] = no_options();
    options[0].auth_algo = G_IPSEC_LA_EXT_AUTH_AES_CMAC, options[1].comb_algo = G_IPSEC_LA_EXT_COMB_CHACHA20_POLY1305;
    options[2].icv_len_bits = 128, options[3].flags = G_IPSEC_LA_EXT_SA_IMPLICIT_IV;
    options[4].anti_replay_window_size = 64, options[5].tfc_pad_to = 100, options[6].tfc_pad_multiple = 100;
    for (int i = 0; i < 7; i++) CHECK_RESULT(try_bundle(&handle, OUTBOUND, &good, 1, &options[i], NULL), -EINVAL);
    for (int i = 0; i < 7; i++) CHECK_RESULT(try_bundle(&handle, INBOUND, &good, 1, &options[i], NULL), -EINVAL);
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &good);
    CHECK_RESULT(set_sequence(&handle, OUTBOUND, out, 0, 5), -EINVAL);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* Kilobytes count before compression, and either way. */
static void lifetimes(void) {
    struct g_ipsec_la_sa sa = ipcomp(1, 0, 0, 0);
    sa.cmn_flags = G_IPSEC_LA_SA_LIFETIME_IN_KB;
    sa.hard_kilobytes_limit = 3;
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa), in = add_sa(&handle, INBOUND, &sa);
    make(0, 1024, TEXT);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(encap(&handle, out, packet, 1024, sealed, sizeof sealed, &length));
        CHECK(length < 1024);
        CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
    }
    CHECK_RESULT(decap(&handle, in, sealed, length, opened, sizeof opened, &back), -EKEYEXPIRED);
    CHECK_RESULT(encap(&handle, out, packet, 1024, sealed, sizeof sealed, &length), -EKEYEXPIRED);
    CHECK_EQ(statistics(&handle, OUTBOUND, out).protocol_violation_errors.crypto_op_failed, 1);
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, "lifetime_expired"), 1);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

int main(void) {
    handle = open_shared("ipcomp");
    char name[100];
    for (int i = 0; i < 32; i += (int)loops(1, 7)) {
        int lzs = i & 1, transport = i >> 1 & 1, outer6 = i >> 2 & 1, inner6 = i >> 3 & 1;
        snprintf(name, sizeof name, "%s %s, outer %d, inner %d", lzs ? "LZS" : "DEFLATE",
                 transport ? "transport" : "tunnel", outer6 ? 6 : 4, inner6 ? 6 : 4);
        check_context = name;
        round_trips(lzs, transport, outer6, inner6, i >> 4 ? GIVEN : 0);
    }
    for (int i = 0; i < 4; i++) {
        check_context = i & 1 ? "LZS, corrupt" : "DEFLATE, corrupt";
        corrupt(i & 1, i >> 1);
    }
    check_context = "bombs";
    bombs(1);
    bombs(0);
    check_context = "";
    what_it_takes();
    lifetimes();
    close_all(&handle);
    return 0;
}
