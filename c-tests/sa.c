/* sa_add with every algorithm and every wrong field (R18, R20, R37); sa_get (R32); sa_mod (R31); sa_del; sa_flush. */
#include "check.h"
#include "support.h"

static struct g_ipsec_la_handle handle;

static unsigned count(enum g_ipsec_la_sa_direction direction) {
    static struct g_ipsec_la_sa sas[300];
    struct g_ipsec_la_sa_get_inargs in = {direction, NULL, G_IPSEC_LA_SA_GET_FIRST_N, 300,
                                          G_IPSEC_LA_SA_GET_INFORMATION};
    struct g_ipsec_la_sa_get_outargs out = {0, sas, NULL, NULL};
    int32_t result = g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL);
    if (result == -ENOENT) return 0;
    CHECK_OK(result);
    unsigned n = 0;
    while (n < 300 && sas[n].spi != 0) n++;
    return n;
}

static void every_algorithm(void) {
    for (unsigned i = 0; i < algorithm_count; i++) {
        const struct algorithm *a = &algorithms[i];
        check_context = a->name;
        for (int direction = 0; direction < 2; direction++) {
            enum g_ipsec_la_sa_direction dir = direction ? OUTBOUND : INBOUND;
            struct g_ipsec_la_sa sa = make_sa(a, 0x7000 + i);
            CHECK_OK(del_sa(&handle, dir, add_sa(&handle, dir, &sa)));
            /* Keys one byte longer or shorter than the algorithm has them. */
            for (int change = -8; change <= 8; change += 16) {
                sa = make_sa(a, 0x7000 + i);
                if (a->cipher_bits != 0) {
                    sa.crypto_params.cipher_key_len_bits = (uint32_t)((int)a->cipher_bits + change);
                    CHECK_RESULT(try_sa(&handle, dir, &sa, NULL), -EINVAL);
                }
                if (a->comb_bits != 0) {
                    sa.crypto_params.comb_key_len_bits = (uint32_t)((int)a->comb_bits + change);
                    CHECK_RESULT(try_sa(&handle, dir, &sa, NULL), -EINVAL);
                }
                sa = make_sa(a, 0x7000 + i);
                if (a->auth == G_IPSEC_LA_AUTH_AESXCBC) {
                    sa.crypto_params.auth_key_len_bits = (uint32_t)((int)a->auth_bits + change);
                    CHECK_RESULT(try_sa(&handle, dir, &sa, NULL), -EINVAL);
                }
            }
            /* Key lengths that are no whole bytes; keys that are not there. */
            sa = make_sa(a, 0x7000 + i);
            if (a->cipher_bits != 0) {
                sa.crypto_params.cipher_key_len_bits++;
                CHECK_RESULT(try_sa(&handle, dir, &sa, NULL), -EINVAL);
                sa.crypto_params.cipher_key_len_bits--;
                sa.crypto_params.cipher_key = NULL;
                CHECK_RESULT(try_sa(&handle, dir, &sa, NULL), -EINVAL);
            }
            sa = make_sa(a, 0x7000 + i);
            if (a->auth_bits != 0) {
                sa.crypto_params.auth_key = NULL;
                CHECK_RESULT(try_sa(&handle, dir, &sa, NULL), -EINVAL);
                sa.crypto_params.auth_key_len_bits = 0;
                CHECK_RESULT(try_sa(&handle, dir, &sa, NULL), -EINVAL);
            }
            sa = make_sa(a, 0x7000 + i);
            if (a->comb_bits != 0) {
                sa.crypto_params.comb_key = NULL;
                CHECK_RESULT(try_sa(&handle, dir, &sa, NULL), -EINVAL);
            }
            static const uint8_t icvs[] = {1, 8, 16, 32, 97, 120, 255};
            for (size_t k = 0; k < sizeof icvs; k++) {
                sa = make_sa(a, 0x7000 + i);
                sa.crypto_params.icv_len_bits = icvs[k];
                int32_t result = try_sa(&handle, dir, &sa, NULL);
                if (result != -EINVAL && result != -ENOTSUP)
                    FAIL_AT("an ICV of %u bits: %s", icvs[k], errno_name(result));
            }
        }
    }
    check_context = "";
    CHECK_EQ(count(INBOUND) + count(OUTBOUND), 0); /* what was refused left nothing */
}

/* Applies a change to a good SA; the result must be `expected`. */
#define WRONG_IN(direction, change, expected) \
    do { \
        struct g_ipsec_la_sa sa = gcm_sa(0x7101); \
        change; \
        int32_t wrong_result = try_sa(&handle, direction, &sa, NULL); \
        if (wrong_result != (expected)) \
            FAIL_AT("%s: %s, not %s", #change, errno_name(wrong_result), errno_name(expected)); \
    } while (0)
#define WRONG(change, expected) \
    do { \
        WRONG_IN(OUTBOUND, change, expected); \
        WRONG_IN(INBOUND, change, expected); \
    } while (0)
#define AS(type, value) ((enum type)(value))

static void every_wrong_field(void) {
    WRONG(sa.spi = 0, -EINVAL);
    WRONG(sa.proto = 0, -EINVAL);
    WRONG(sa.proto = 17, -EINVAL);
    WRONG(sa.proto = 255, -EINVAL);
    WRONG(sa.cmn_flags = SA_FLAGS(1), -EINVAL);
    WRONG(sa.cmn_flags = SA_FLAGS(1u << 11), -EINVAL);
    WRONG(sa.cmn_flags = SA_FLAGS(1u << 31), -EINVAL);
    WRONG(sa.crypto_params.comb_algo = AS(g_ipsec_la_comb_alg, 4), -EINVAL);
    WRONG(sa.crypto_params.comb_algo = AS(g_ipsec_la_comb_alg, -1), -EINVAL);
    WRONG(sa.crypto_params.cipher_algo = AS(g_ipsec_la_cipher_alg, 6), -EINVAL);
    WRONG(sa.crypto_params.auth_algo = AS(g_ipsec_la_auth_alg, 8), -EINVAL);
    /* Two ciphers, or a second integrity algorithm, for one SA. */
    WRONG((sa.crypto_params.cipher_algo = G_IPSEC_LA_ALG_AES_CBC,
           sa.crypto_params.cipher_key = sa.crypto_params.comb_key, sa.crypto_params.cipher_key_len_bits = 128),
          -EINVAL);
    WRONG((sa.crypto_params.auth_algo = G_IPSEC_LA_AUTH_ALG_SHA1_HMAC,
           sa.crypto_params.auth_key = sa.crypto_params.comb_key, sa.crypto_params.auth_key_len_bits = 160),
          -EINVAL);
    /* AH without integrity, and AH that encrypts. */
    WRONG((sa.proto = G_IPSEC_LA_PROTOCOL_AH), -EINVAL);
    WRONG((sa.proto = G_IPSEC_LA_PROTOCOL_AH, sa.crypto_params.comb_algo = AS(g_ipsec_la_comb_alg, 0)), -EINVAL);
    /* Tunnel ends (R37). */
    WRONG(sa.te_addr.src_ip.version = AS(g_ip_version, 0), -EINVAL);
    WRONG(sa.te_addr.dest_ip.version = AS(g_ip_version, 5), -EINVAL);
    WRONG(sa.te_addr.dest_ip = address_v6("2001:db8::1"), -EINVAL);
    WRONG((memset(&sa.te_addr, 0, sizeof sa.te_addr)), -EINVAL);
    /* Fields of one direction. */
    WRONG_IN(OUTBOUND, sa.outb.df_bit_handle = AS(g_ipsec_la_df_handle, 4), -EINVAL);
    WRONG_IN(OUTBOUND, sa.outb.dscp_handle = AS(g_ipsec_la_dscp_handle, 4), -EINVAL);
    WRONG_IN(OUTBOUND, (sa.outb.dscp_handle = G_IPSEC_DSCP_SET, sa.outb.dscp = 64), -EINVAL);
    WRONG_IN(OUTBOUND, (sa.outb.iv = sa.crypto_params.comb_key, sa.outb.iv_len_bits = 96), -EINVAL);
    WRONG_IN(OUTBOUND, (sa.outb.iv = sa.crypto_params.comb_key, sa.outb.iv_len_bits = 0), -EINVAL);
    WRONG_IN(INBOUND, sa.inb.flags = AS(g_ipsec_la_inb_sa_flags, 2), -EINVAL);

    struct g_ipsec_la_sa sa = gcm_sa(0x7102);
    struct g_ipsec_la_sa_add_inargs in;
    struct g_ipsec_la_sa_add_outargs out;
    memset(&in, 0, sizeof in);
    in.dir = OUTBOUND, in.sa_params = &sa;
    CHECK_RESULT(g_ipsec_la_sa_add(&handle, &in, SYNC, &out, no_response), -EINVAL); /* no SA */
    in.num_sas = 1, in.dir = AS(g_ipsec_la_sa_direction, 2);
    CHECK_RESULT(g_ipsec_la_sa_add(&handle, &in, SYNC, &out, no_response), -EINVAL);
    in.dir = OUTBOUND;
    CHECK_RESULT(g_ipsec_la_sa_add(&handle, &in, CTRL(4), &out, no_response), -EINVAL);
    CHECK_EQ(count(INBOUND) + count(OUTBOUND), 0);

    /* These look odd and are right. */
    WRONG(sa.spi = 255, 0);
    WRONG(sa.spi = 1, 0);
    WRONG(sa.spi = 0xffffffff, 0);
    WRONG(sa.cmn_flags = SA_FLAGS(2046 & ~(uint32_t)G_IPSEC_LA_SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL), 0);
    WRONG((sa.cmn_flags = G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE, memset(&sa.te_addr, 0, sizeof sa.te_addr)), 0);
    WRONG((sa.crypto_params.auth_algo = G_IPSEC_LA_AUTH_ALG_NONE), 0);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
    CHECK_EQ(count(INBOUND) + count(OUTBOUND), 0);
}

/* ---- sa_get ---- */

enum { SAS = 10 };

static void get_in_order(void) {
    struct g_ipsec_la_sa_handle handles[SAS], last;
    for (uint32_t i = 0; i < SAS; i++) {
        struct g_ipsec_la_sa sa = gcm_sa(0x7200 + i);
        sa.soft_kilobytes_limit = 1000 + i;
        sa.hard_kilobytes_limit = 2000 + i;
        sa.cmn_flags = SA_FLAGS(G_IPSEC_LA_SA_LIFETIME_IN_KB | G_IPSEC_LA_SA_USE_ECN);
        if (i % 2) tunnel_v6(&sa);
        handles[i] = add_sa(&handle, INBOUND, &sa);
    }
    CHECK_EQ(count(OUTBOUND), 0);

    struct g_ipsec_la_sa sas[SAS];
    struct g_ipsec_la_sa_stats stats[SAS];
    struct g_ipsec_la_sa_handle *storage = &last;
    struct g_ipsec_la_sa_get_inargs in = {INBOUND, NULL, G_IPSEC_LA_SA_GET_FIRST_N, 3, 0};
    struct g_ipsec_la_sa_get_outargs out = {1, sas, stats, &storage};
    uint32_t seen = 0;
    for (;;) {
        memset(sas, 0xff, sizeof sas);
        memset(stats, 0xff, sizeof stats);
        int32_t result = g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL);
        CHECK_EQ(out.result, result);
        if (seen == SAS) {
            CHECK_RESULT(result, -ENOENT);
            break;
        }
        CHECK_OK(result);
        for (uint32_t i = 0; i < in.num_sas; i++, seen++) {
            if (seen >= SAS) {                    /* fewer were left: the rest is zero */
                static struct g_ipsec_la_sa none; /* all zero */
                CHECK(memcmp(&sas[i], &none, sizeof none) == 0);
                CHECK_EQ(stats[i].packets_processed, 0);
                seen--;
                continue;
            }
            CHECK_EQ(sas[i].spi, 0x7200 + seen);
            CHECK_EQ(sas[i].proto, G_IPSEC_LA_PROTOCOL_ESP);
            CHECK_EQ(sas[i].cmn_flags, G_IPSEC_LA_SA_LIFETIME_IN_KB | G_IPSEC_LA_SA_USE_ECN);
            CHECK_EQ(sas[i].soft_kilobytes_limit, 1000 + seen);
            CHECK_EQ(sas[i].hard_kilobytes_limit, 2000 + seen);
            CHECK_EQ(sas[i].crypto_params.comb_algo, G_IPSEC_LA_COMB_AES_GCM);
            CHECK_EQ(sas[i].crypto_params.comb_key_len_bits, 160);
            CHECK(sas[i].crypto_params.comb_key == NULL); /* keys never leave */
            CHECK(sas[i].crypto_params.cipher_key == NULL && sas[i].crypto_params.auth_key == NULL);
            CHECK_EQ(sas[i].te_addr.src_ip.version, seen % 2 ? G_IPSEC_LA_IPV6 : G_IPSEC_LA_IPV4);
            struct g_ip_addr from = seen % 2 ? address_v6("2001:db8:ffff::1") : address_v4("198.51.100.1");
            CHECK(memcmp(&sas[i].te_addr.src_ip, &from, seen % 2 ? 20 : 8) == 0);
            CHECK_EQ(stats[i].packets_processed, 0);
        }
        CHECK(memcmp(&last, &handles[seen - 1], sizeof last) == 0);
        in.operation = G_IPSEC_LA_SET_GET_NEXT_N;
        in.handle = &last;
    }

    /* The order is that of creation, also after deletions and additions. */
    CHECK_OK(del_sa(&handle, INBOUND, handles[4]));
    struct g_ipsec_la_sa sa = gcm_sa(0x7300);
    add_sa(&handle, INBOUND, &sa);
    in.operation = G_IPSEC_LA_SA_GET_FIRST_N, in.handle = NULL, in.num_sas = SAS;
    out.handle = NULL, out.stats = NULL;
    CHECK_OK(g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL));
    CHECK_EQ(sas[3].spi, 0x7203);
    CHECK_EQ(sas[4].spi, 0x7205);
    CHECK_EQ(sas[SAS - 1].spi, 0x7300);

    /* Exact; statistics alone, information alone. */
    in.operation = G_IPSEC_LA_SA_GET_EXACT, in.handle = &handles[7], in.num_sas = 1;
    out.stats = stats;
    memset(stats, 0xff, sizeof stats);
    in.flags = G_IPSEC_LA_SA_GET_INFORMATION;
    CHECK_OK(g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL));
    CHECK_EQ(sas[0].spi, 0x7207);
    CHECK_EQ(stats[0].packets_processed, UINT64_MAX);
    in.flags = G_IPSEC_LA_SA_GET_STATISTICS;
    sas[0].spi = 99;
    CHECK_OK(g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL));
    CHECK_EQ(sas[0].spi, 99);
    CHECK_EQ(stats[0].packets_processed, 0);

    in.flags = 0, in.handle = &handles[4];
    CHECK_RESULT(g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL), -EBADF);
    in.handle = &handles[7], in.dir = OUTBOUND;
    CHECK_RESULT(g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL), -ENOENT);
    in.dir = AS(g_ipsec_la_sa_direction, 7);
    CHECK_RESULT(g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL), -EINVAL);
    in.dir = INBOUND, in.operation = AS(g_ipsec_la_sa_get_op, 3);
    CHECK_RESULT(g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL), -EINVAL);
    in.operation = G_IPSEC_LA_SA_GET_EXACT, in.flags = 4;
    CHECK_RESULT(g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL), -EINVAL);
    in.flags = 0, in.num_sas = 0;
    CHECK_RESULT(g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL), -EINVAL);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
    CHECK_EQ(count(INBOUND), 0);
}

int main(void) {
    handle = open_shared("sa");
    every_algorithm();
    every_wrong_field();
    get_in_order();
    close_all(&handle);
    return 0;
}
