/*
 * The options of g_ipsec_la_ext_sa_add: every size and version of the structure, algorithms and ICV lengths beyond the
 * document's, implicit IVs, flow labels, and the check of outer addresses.
 */
#include "check.h"
#include "support.h"

enum { INNER = 300 };

static struct g_ipsec_la_handle handle;
static uint8_t packet[INNER], sealed[INNER + 300], opened[INNER + 300], keys[128];
static uint32_t length, back;

static struct g_ipsec_la_sa plain_esp(uint32_t spi) {
    struct g_ipsec_la_sa sa = gcm_sa(spi);
    memset(&sa.crypto_params, 0, sizeof sa.crypto_params);
    return sa;
}

static struct g_ipsec_la_sa hmac_sa(uint32_t spi, uint8_t proto, enum g_ipsec_la_auth_alg algorithm, uint32_t bits) {
    struct g_ipsec_la_sa sa = plain_esp(spi);
    sa.proto = proto;
    sa.crypto_params.auth_algo = algorithm;
    sa.crypto_params.auth_key = keys;
    sa.crypto_params.auth_key_len_bits = bits;
    return sa;
}

/* ---- the structure ---- */

static int32_t add_raw(const void *options) {
    struct g_ipsec_la_sa sa = gcm_sa(0xa000);
    struct g_ipsec_la_sa_handle added;
    int32_t result = try_bundle(&handle, OUTBOUND, &sa, 1, (const struct g_ipsec_la_ext_sa_options *)options, &added);
    if (result == 0)
        CHECK_OK(del_sa(&handle, OUTBOUND, added));
    else
        CHECK(*g_ipsec_la_ext_last_error() != '\0');
    return result;
}

/* Exactly as long as it says, so that a byte too far is found by valgrind and sanitizers. */
static int32_t add_sized(uint32_t size, uint32_t place, uint8_t value) {
    uint8_t *options = (uint8_t *)calloc(1, size < 4 ? 4 : size);
    CHECK(options != NULL);
    memcpy(options, &size, 4);
    if (place != 0) options[place] = value;
    int32_t result = add_raw(options);
    free(options);
    return result;
}

static void versions(void) {
    for (uint32_t size = 0; size <= 5000; size++) {
        static const uint32_t former[] = {4, 8, 16, 24, 28, 32, 36, 40, 44};
        int good = size >= sizeof(struct g_ipsec_la_ext_sa_options) && size <= 4096 && size % 8 == 0;
        for (unsigned i = 0; i < sizeof former / sizeof *former; i++) good |= size == former[i];
        CHECK_RESULT(add_sized(size, 0, 0), good ? 0 : -EINVAL);
    }
    static const uint32_t wild[] = {0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff0, 0x10004, 0x30000000};
    for (unsigned i = 0; i < sizeof wild / sizeof *wild; i++) {
        struct g_ipsec_la_ext_sa_options options = no_options();
        options.size = wild[i];
        CHECK_RESULT(add_raw(&options), -EINVAL);
    }
    /* What a later version says and this one does not know. */
    for (uint32_t place = sizeof(struct g_ipsec_la_ext_sa_options); place < 104; place++)
        for (int bit = 0; bit < 8; bit += 7) CHECK_RESULT(add_sized(104, place, (uint8_t)(1 << bit)), -EINVAL);
    for (int bit = 4; bit < 32; bit++) {
        struct g_ipsec_la_ext_sa_options options = no_options();
        options.flags = (uint32_t)1 << bit;
        CHECK_RESULT(add_raw(&options), -EINVAL);
    }
    struct g_ipsec_la_ext_sa_options options = no_options();
    options.tfc_pad_to = 65536;
    CHECK_RESULT(add_raw(&options), -EINVAL);
    options = no_options(), options.tfc_pad_multiple = 0xffffffff;
    CHECK_RESULT(add_raw(&options), -EINVAL);
    options = no_options(), options.icv_len_bits = 127;
    CHECK_RESULT(add_raw(&options), -EINVAL);
    options = no_options(), options.icv_len_bits = 0xfffffff8;
    CHECK_RESULT(add_raw(&options), -EINVAL);
    for (uint32_t unknown = 1; unknown != 0; unknown <<= 1) {
        options = no_options(), options.auth_algo = unknown;
        CHECK_RESULT(add_raw(&options), -EINVAL); /* 1 is known, and GCM authenticates already */
        options = no_options(), options.comb_algo = unknown;
        CHECK_RESULT(add_raw(&options), -EINVAL);
    }
    struct g_ipsec_la_sa sa = gcm_sa(0xa001);
    struct g_ipsec_la_sa_add_inargs in = {INBOUND, 1, &sa};
    struct g_ipsec_la_sa_add_outargs out;
    CHECK_RESULT(g_ipsec_la_ext_sa_add(&handle, &in, NULL, SYNC, &out, no_response), -EINVAL);
}

/* One entry for each SA, all of one size, whatever that is. */
static void arrays(void) {
    static const uint32_t sizes[] = {24, 32, sizeof(struct g_ipsec_la_ext_sa_options), 200};
    struct g_ipsec_la_sa sas[3] = {gcm_sa(1), gcm_sa(2), gcm_sa(3)};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (unsigned odd = 0; odd < 4; odd++) {
            uint8_t *options = (uint8_t *)calloc(3, sizes[i]);
            CHECK(options != NULL);
            for (unsigned entry = 0; entry < 3; entry++) memcpy(options + entry * sizes[i], &sizes[i], 4);
            uint32_t other = sizes[i] + 4, bad_window = 65537;
            if (odd == 1) memcpy(options + sizes[i], &other, 4); /* another size than the first */
            if (odd == 2) memcpy(options + 2 * sizes[i] + 4, &bad_window, 4);
            if (odd == 3) options[sizes[i] - 1] = 0x80; /* of the first entry: too many, a flag, or padding */
            const struct g_ipsec_la_ext_sa_options *given =
                (const struct g_ipsec_la_ext_sa_options *)(const void *)options;
            int32_t expected = odd == 0 || (odd == 3 && sizes[i] == 24) ? 0 : -EINVAL;
            CHECK_RESULT(try_bundle(&handle, INBOUND, sas, 3, given, NULL), expected);
            free(options);
        }
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* ---- algorithms ---- */

/* A pair of SAs that talk to each other, and not to what changed a bit; returns the length of a packet. */
static uint32_t talk(const struct g_ipsec_la_sa *sa, const struct g_ipsec_la_ext_sa_options *options) {
    struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, sa, 1, options);
    struct g_ipsec_la_sa_handle in = add_bundle(&handle, INBOUND, sa, 1, options);
    int transport = (sa->cmn_flags & G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE) != 0;
    uint32_t first = 0;
    for (int inner6 = 0; inner6 < 2; inner6++)
        for (int i = 0; i < 40; i++) { /* more than a batch has lanes */
            uint32_t size = i == 0 ? (uint32_t)INNER : (inner6 ? 40 : 20) + random_number() % (INNER - 40);
            if (inner6)
                make_packet_v6(packet, size);
            else
                make_packet_v4(packet, size);
            CHECK_OK(encap(&handle, out, packet, size, sealed, sizeof sealed, &length));
            if (first == 0) first = length;
            CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
            CHECK_EQ(back, size);
            CHECK_BYTES(opened, packet, size);
            uint32_t start = ipsec_offset(sealed, 0) + 8;
            sealed[start + random_number() % (length - start)] ^= (uint8_t)(1 << random_number() % 8);
            int32_t result = decap(&handle, in, sealed, length, opened, sizeof opened, &back);
            CHECK(result == -EBADMSG || (sa->proto == 51 && result == -EPROTO));
        }
    (void)transport;
    CHECK_OK(del_sa(&handle, OUTBOUND, out));
    CHECK_OK(del_sa(&handle, INBOUND, in));
    return first;
}

static void chacha(void) {
    struct g_ipsec_la_sa sa = plain_esp(0xa100);
    struct g_ipsec_la_ext_sa_options options = no_options();
    options.comb_algo = G_IPSEC_LA_EXT_COMB_CHACHA20_POLY1305;
    sa.crypto_params.comb_key = keys;
    for (uint32_t bits = 0; bits <= 1032; bits += bits < 280 || bits > 300 ? 8 : 1) {
        sa.crypto_params.comb_key_len_bits = bits;
        CHECK_RESULT(try_bundle(&handle, OUTBOUND, &sa, 1, &options, NULL), bits == 288 ? 0 : -EINVAL);
    }
    sa.crypto_params.comb_key_len_bits = 288;
    CHECK_EQ(talk(&sa, &options), 20 + 8 + 8 + INNER + 2 + 2 + 16);
    sa.cmn_flags = G_IPSEC_LA_SA_USE_ESN;
    talk(&sa, &options);
    sa.cmn_flags = G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE;
    talk(&sa, &options);
    sa.cmn_flags = SA_FLAGS(0);
    for (uint32_t icv = 8; icv <= 256; icv += 8) { /* RFC 7634: 16 bytes, and nothing else */
        options.icv_len_bits = icv;
        CHECK_RESULT(try_bundle(&handle, INBOUND, &sa, 1, &options, NULL), icv == 128 ? 0 : -EINVAL);
    }
    options.icv_len_bits = 0;
    for (int comb = 1; comb <= 3; comb++) {
        sa.crypto_params.comb_algo = (enum g_ipsec_la_comb_alg)comb;
        CHECK_RESULT(try_bundle(&handle, OUTBOUND, &sa, 1, &options, NULL), -EINVAL);
    }
    sa.crypto_params.comb_algo = (enum g_ipsec_la_comb_alg)0;
    sa.crypto_params.cipher_algo = G_IPSEC_LA_ALG_AES_CBC, sa.crypto_params.cipher_key = keys,
    sa.crypto_params.cipher_key_len_bits = 128;
    CHECK_RESULT(try_bundle(&handle, OUTBOUND, &sa, 1, &options, NULL), -EINVAL);
    sa = plain_esp(0xa101), sa.crypto_params.comb_key = keys, sa.crypto_params.comb_key_len_bits = 288;
    sa.proto = G_IPSEC_LA_PROTOCOL_AH;
    CHECK_RESULT(try_bundle(&handle, OUTBOUND, &sa, 1, &options, NULL), -EINVAL);
    sa.proto = G_IPSEC_LA_PROTOCOL_ESP, sa.crypto_params.comb_key = NULL;
    CHECK_RESULT(try_bundle(&handle, OUTBOUND, &sa, 1, &options, NULL), -EINVAL);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

static void cmac(void) {
    struct g_ipsec_la_ext_sa_options options = no_options();
    options.auth_algo = G_IPSEC_LA_EXT_AUTH_AES_CMAC;
    struct g_ipsec_la_sa esp = hmac_sa(0xa200, 50, (enum g_ipsec_la_auth_alg)0, 128), ah = esp;
    esp.crypto_params.cipher_algo = G_IPSEC_LA_ALG_AES_CBC, esp.crypto_params.cipher_key = keys + 20,
    esp.crypto_params.cipher_key_len_bits = 128;
    ah.proto = G_IPSEC_LA_PROTOCOL_AH;
    CHECK_EQ(talk(&esp, &options), 20 + 8 + 16 + INNER + 2 + 2 + 12);
    CHECK_EQ(talk(&ah, &options), 20 + 12 + 12 + INNER);
    esp.cmn_flags = SA_FLAGS(G_IPSEC_LA_SA_USE_ESN | G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE);
    talk(&esp, &options);
    for (uint32_t bits = 0; bits <= 512; bits += 8) {
        ah.crypto_params.auth_key_len_bits = bits;
        CHECK_RESULT(try_bundle(&handle, INBOUND, &ah, 1, &options, NULL), bits == 128 ? 0 : -EINVAL);
    }
    ah.crypto_params.auth_key_len_bits = 128;
    for (int auth = 1; auth <= 7; auth++) {
        ah.crypto_params.auth_algo = (enum g_ipsec_la_auth_alg)auth;
        CHECK_RESULT(try_bundle(&handle, INBOUND, &ah, 1, &options, NULL), -EINVAL);
    }
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

static void icv_lengths(void) {
    static const struct {
        enum g_ipsec_la_auth_alg algorithm;
        uint32_t key, usual;
    } hmacs[] = {{G_IPSEC_LA_AUTH_ALG_SHA2_256_HMAC, 256, 128},
                 {G_IPSEC_LA_AUTH_ALG_SHA2_384_HMAC, 384, 192},
                 {G_IPSEC_LA_AUTH_ALG_SHA2_512_HMAC, 512, 256}};
    for (int i = 0; i < 3; i++)
        for (uint8_t proto = 50; proto <= 51; proto++) {
            struct g_ipsec_la_sa sa = hmac_sa(0xa300, proto, hmacs[i].algorithm, hmacs[i].key);
            struct g_ipsec_la_ext_sa_options options = no_options();
            uint32_t usual = talk(&sa, &options);
            for (uint32_t bits = 8; bits <= 520; bits += 8) {
                options.icv_len_bits = bits;
                int good = bits == 96 || bits == hmacs[i].usual || bits == hmacs[i].key;
                CHECK_RESULT(try_bundle(&handle, INBOUND, &sa, 1, &options, NULL), good ? 0 : -EINVAL);
                if (good)
                    CHECK_EQ((int32_t)(talk(&sa, &options) - usual), ((int32_t)bits - (int32_t)hmacs[i].usual) / 8);
            }
            sa.crypto_params.icv_len_bits = 40; /* the option rules */
            options.icv_len_bits = 96;
            talk(&sa, &options);
        }
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* ---- implicit IVs (RFC 8750) ---- */

static void implicit_iv(void) {
    for (unsigned i = 0; i <= algorithm_count; i++) {
        struct g_ipsec_la_ext_sa_options options = no_options(), implicit;
        struct g_ipsec_la_sa sa = i < algorithm_count ? make_sa(&algorithms[i], 0xa400) : plain_esp(0xa400);
        check_context = i < algorithm_count ? algorithms[i].name : "ChaCha20-Poly1305";
        if (i == algorithm_count) {
            sa.crypto_params.comb_key = keys, sa.crypto_params.comb_key_len_bits = 288;
            options.comb_algo = G_IPSEC_LA_EXT_COMB_CHACHA20_POLY1305;
        }
        implicit = options, implicit.flags = G_IPSEC_LA_EXT_SA_IMPLICIT_IV;
        int counter =
            sa.proto == 50 && (i == algorithm_count || sa.crypto_params.comb_algo == G_IPSEC_LA_COMB_AES_GCM ||
                               sa.crypto_params.comb_algo == G_IPSEC_LA_COMB_AES_CCM);
        if (!counter) {
            CHECK_RESULT(try_bundle(&handle, OUTBOUND, &sa, 1, &implicit, NULL), -EINVAL);
            CHECK_RESULT(try_bundle(&handle, INBOUND, &sa, 1, &implicit, NULL), -EINVAL);
            continue;
        }
        CHECK_EQ(talk(&sa, &implicit) + 8, talk(&sa, &options));
        for (int esn = 0; esn < 2; esn++) {
            sa.cmn_flags = SA_FLAGS(esn ? (int)G_IPSEC_LA_SA_USE_ESN : 0);
            struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, &sa, 1, &implicit),
                                        in = add_bundle(&handle, INBOUND, &sa, 1, &implicit);
            make_packet_v4(packet, INNER);
            for (int k = 0; k < 3; k++) CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
            for (uint32_t low = 0; low < 3; low++) CHECK_RESULT(set_sequence(&handle, OUTBOUND, out, 0, low), -EINVAL);
            CHECK_OK(set_sequence(&handle, OUTBOUND, out, 0, 3)); /* where it is: no IV comes again */
            CHECK_OK(set_sequence(&handle, OUTBOUND, out, 0, 1000));
            CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
            CHECK_EQ(sequence_of(sealed, 50), 1001);
            CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
            CHECK_BYTES(opened, packet, INNER);
            CHECK_RESULT(set_sequence(&handle, OUTBOUND, out, 0, 1000), -EINVAL);
            CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
            CHECK_EQ(sequence_of(sealed, 50), 1002); /* what was refused changed nothing */
            CHECK_RESULT(set_sequence(&handle, OUTBOUND, out, 1, 0), esn ? 0 : -EINVAL);
            if (esn) CHECK_RESULT(set_sequence(&handle, OUTBOUND, out, 0, 0xffffffff), -EINVAL);
            CHECK_OK(set_sequence(&handle, INBOUND, in, 0, 5)); /* the receiver may look back */
            CHECK_OK(del_sa(&handle, OUTBOUND, out));
            CHECK_OK(del_sa(&handle, INBOUND, in));
        }
        sa.outb.iv = keys, sa.outb.iv_len_bits = 64;
        CHECK_RESULT(try_bundle(&handle, OUTBOUND, &sa, 1, &implicit, NULL), -EINVAL);
    }
    check_context = "";
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* ---- outer headers ---- */

static void flow_labels(void) {
    for (int copy = 0; copy < 2; copy++)
        for (int inner6 = 0; inner6 < 2; inner6++) {
            struct g_ipsec_la_sa sa = gcm_sa(0xa500);
            struct g_ipsec_la_ext_sa_options options = no_options();
            tunnel_v6(&sa);
            options.flags = copy ? (int)G_IPSEC_LA_EXT_SA_COPY_FLOW_LABEL : 0;
            struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, &sa, 1, &options);
            for (uint32_t label = 1; label < 1 << 20; label = label * 7 + 3) {
                if (inner6)
                    make_packet_v6(packet, INNER);
                else
                    make_packet_v4(packet, INNER);
                if (inner6)
                    packet[0] = 0x6b, packet[1] = (uint8_t)(0x80 | label >> 16), packet[2] = (uint8_t)(label >> 8),
                    packet[3] = (uint8_t)label;
                CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
                CHECK_EQ(read_u32(sealed) & 0xfffff, copy && inner6 ? label : 0);
                CHECK_EQ(read_u32(sealed) >> 20, inner6 ? 0x6b8 : 0x600); /* the class is not the label's */
            }
        }
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

static void outer_addresses(int outer6) {
    struct g_ipsec_la_ext_sa_options options = no_options();
    options.flags = G_IPSEC_LA_EXT_SA_CHECK_OUTER;
    struct g_ipsec_la_sa sa = gcm_sa(0xa600);
    sa.cmn_flags = G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE;
    CHECK_RESULT(try_bundle(&handle, INBOUND, &sa, 1, &options, NULL), -EINVAL);
    sa.cmn_flags = G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK;
    if (outer6) tunnel_v6(&sa);
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa),
                                in = add_bundle(&handle, INBOUND, &sa, 1, &options);
    make_packet_v4(packet, INNER);
    CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
    uint32_t first = outer6 ? 8 : 12, end = outer6 ? 40 : 20, wrong = 0;
    for (uint32_t at = first; at < end; at++)
        for (int bit = 0; bit < 8; bit++, wrong++) {
            sealed[at] ^= (uint8_t)(1 << bit);
            fix_header(sealed);
            CHECK_RESULT(decap(&handle, in, sealed, length, opened, sizeof opened, &back), -EPROTO);
            sealed[at] ^= (uint8_t)(1 << bit);
        }
    fix_header(sealed);
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, "other_addresses"), wrong);
    CHECK_OK(
        decap(&handle, in, sealed, length, opened, sizeof opened, &back)); /* none of the wrong ones took its place */
    /* The peer moves. */
    struct g_ipsec_la_sa_mod_inargs mod;
    struct g_ipsec_la_sa_modify_outargs done;
    memset(&mod, 0, sizeof mod);
    mod.dir = INBOUND, mod.handle = &in, mod.flags = G_IPSEC_LA_SA_MODIFY_PEER_GW_INFO;
    mod.addr_info.addr = outer6 ? address_v6("2001:db8:eeee::9") : address_v4("203.0.113.9");
    CHECK_OK(g_ipsec_la_sa_mod(&handle, &mod, SYNC, &done, no_response));
    CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
    CHECK_RESULT(decap(&handle, in, sealed, length, opened, sizeof opened, &back), -EPROTO);
    memcpy(sealed + first, outer6 ? mod.addr_info.addr.ipv6.b_addr : (uint8_t *)&mod.addr_info.addr.ipv4,
           outer6 ? 16 : 4);
    fix_header(sealed);
    CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
    /* The other family. */
    struct g_ipsec_la_sa other = sa;
    if (outer6)
        other.te_addr = gcm_sa(1).te_addr;
    else
        tunnel_v6(&other);
    struct g_ipsec_la_sa_handle stranger = add_sa(&handle, OUTBOUND, &other);
    for (int i = 0; i < 3; i++) CHECK_OK(encap(&handle, stranger, packet, INNER, sealed, sizeof sealed, &length));
    CHECK_RESULT(decap(&handle, in, sealed, length, opened, sizeof opened, &back), -EPROTO);
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, "other_addresses"), wrong + 2);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

int main(void) {
    for (unsigned i = 0; i < sizeof keys; i++) keys[i] = (uint8_t)(i * 59 + 7);
    handle = open_shared("extensions");
    versions();
    arrays();
    chacha();
    cmac();
    icv_lengths();
    implicit_iv();
    flow_labels();
    outer_addresses(0);
    outer_addresses(1);
    close_all(&handle);
    return 0;
}
