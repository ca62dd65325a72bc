/*
 * g_ipsec_la_ext_inner_mtu against packets: what it returns fits, with all that is shorter, and a byte more does not, in one
 * of the families at least.
 */
#include "check.h"
#include "support.h"

static struct g_ipsec_la_handle handle;
static uint8_t packets[2][ROOM], sealed[ROOM + 100];
static uint32_t length;

static unsigned steps; /* from one MTU that is tried to the next */

/* Length of an incompressible packet of that many bytes on the wire; more than any MTU when there is no such packet. */
static uint32_t outer(struct g_ipsec_la_sa_handle out, int inner6, uint32_t size) {
    if (size > 65535 || size < (inner6 ? 40u : 20u)) return 0xffffffff;
    uint8_t *p = packets[inner6]; /* made once, and as long as is wanted */
    uint32_t field = inner6 ? size - 40 : size;
    p[inner6 ? 4 : 2] = (uint8_t)(field >> 8), p[inner6 ? 5 : 3] = (uint8_t)field;
    fix_header(p);
    int32_t result = encap(&handle, out, p, size, sealed, sizeof sealed, &length);
    if (result != 0) CHECK_RESULT(result, -EMSGSIZE);
    return result == 0 ? length : 0xffffffff;
}

static void one(struct g_ipsec_la_sa_handle out, uint32_t mtu, int exact) {
    int32_t inner = g_ipsec_la_ext_inner_mtu(&handle, &out, mtu);
    if (inner == -EMSGSIZE) {
        CHECK(!exact || outer(out, 0, 20) > mtu || outer(out, 1, 40) > mtu);
        return;
    }
    CHECK(inner >= 20 && inner <= 65535 && (uint32_t)inner <= mtu);
    uint32_t most = (uint32_t)inner;
    if (mtu > 65535) mtu = 65535; /* no packet is longer */
    for (int inner6 = 0; inner6 < 2; inner6++) {
        uint32_t least = inner6 ? 40 : 20;
        for (uint32_t n = most; n >= least && n + 9 > most; n--) CHECK(outer(out, inner6, n) <= mtu);
        if (most > least) CHECK(outer(out, inner6, least + random_number() % (most - least)) <= mtu);
    }
    if (exact) CHECK(outer(out, 0, most + 1) > mtu || outer(out, 1, most + 1) > mtu);
}

static void all(struct g_ipsec_la_sa_handle out, int exact, uint32_t step) {
    static const uint32_t larger[] = {1500,  2000,  4352,   9000,       65534,      65535,
                                      65536, 65575, 100000, 0x7fffffff, 0x80000000, 0xffffffff};
    for (uint32_t mtu = 0; mtu < 200; mtu += step) one(out, mtu, exact);
    for (uint32_t mtu = 1270; mtu < 1340; mtu += step) one(out, mtu, exact);
    for (unsigned i = 0; i < sizeof larger / sizeof *larger; i++)
        if (step <= 60 || larger[i] < 5000) one(out, larger[i], exact); /* long packets take slow algorithms long */
}

/* Tunnels of both families, transport, UDP, and traffic flow padding. */
static void ways(struct g_ipsec_la_sa sa, struct g_ipsec_la_ext_sa_options options) {
    static const struct {
        int outer6, transport, udp;
        uint32_t to, multiple;
    } kinds[] = {{0, 0, 0, 0, 0},    {1, 0, 0, 0, 0},    {0, 1, 0, 0, 0},     {0, 0, 1, 0, 0},
                 {1, 0, 1, 0, 0},    {0, 1, 1, 0, 0},    {0, 0, 0, 100, 0},   {0, 0, 0, 0, 100},
                 {1, 0, 0, 64, 256}, {0, 0, 1, 1200, 1}, {0, 0, 0, 65535, 0}, {1, 0, 0, 0, 65535}};
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct g_ipsec_la_sa one_sa = sa;
        if (steps > 60 && (kinds[i].to == 65535 || kinds[i].multiple == 65535)) continue;
        if (sa.proto == G_IPSEC_LA_PROTOCOL_AH && (kinds[i].udp || kinds[i].to || kinds[i].multiple)) continue;
        if (kinds[i].outer6) tunnel_v6(&one_sa);
        one_sa.cmn_flags = SA_FLAGS((kinds[i].transport ? (int)G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE : 0) |
                                    (kinds[i].udp ? (int)G_IPSEC_LA_SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL : 0));
        one_sa.nat_info.src_port = one_sa.nat_info.dest_port = 4500;
        options.tfc_pad_to = kinds[i].to, options.tfc_pad_multiple = kinds[i].multiple;
        struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, &one_sa, 1, &options);
        all(out, 1, steps);
        CHECK_OK(del_sa(&handle, OUTBOUND, out));
    }
}

/* An entry outside of a tunnel knows the family of what comes out of it. */
static void bundles(void) {
    for (uint32_t kind = 0; kind < 64; kind += 21) {
        struct g_ipsec_la_sa sas[3];
        memset(sas, 0, sizeof sas);
        struct g_ipsec_la_ext_sa_options options[3] = {no_options(), no_options(), no_options()};
        for (uint32_t i = 0; i < 3; i++) {
            sas[i] = gcm_sa(i + 1);
            if (kind >> i & 1) tunnel_v6(&sas[i]);
            if (kind >> (3 + i) & 1) sas[i].cmn_flags = G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE;
        }
        sas[2].proto = G_IPSEC_LA_PROTOCOL_AH, sas[2].crypto_params.comb_algo = G_IPSEC_LA_COMB_AES_GMAC;
        for (int compressed = 0; compressed < 2; compressed++) {
            if (compressed) {
                memset(&sas[0].crypto_params, 0, sizeof sas[0].crypto_params);
                sas[0].proto = G_IPSEC_LA_PROTOCOL_IPCOMP, sas[0].ipcomp_info.algo = G_IPSEC_LA_IPCOMP_DEFLATE;
                sas[0].spi = 0;
            }
            int middle_tunnel = !(kind >> 4 & 1);
            if (middle_tunnel) options[1].tfc_pad_multiple = 50;
            struct g_ipsec_la_sa_handle out = add_bundle(&handle, OUTBOUND, sas, 3, options);
            /* Headers shrink, even those of packets that do not. */
            all(out, !compressed, steps);
            CHECK_OK(del_sa(&handle, OUTBOUND, out));
        }
    }
}

static void refusals(void) {
    struct g_ipsec_la_sa sa = gcm_sa(0xc001);
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa), in = add_sa(&handle, INBOUND, &sa), forged = out;
    for (uint32_t mtu = 0; mtu < 60; mtu++) CHECK_RESULT(g_ipsec_la_ext_inner_mtu(&handle, &out, mtu), -EMSGSIZE);
    int32_t result = g_ipsec_la_ext_inner_mtu(&handle, &in, 1500);
    CHECK(result == -EINVAL || result == -ENOENT);
    CHECK_RESULT(g_ipsec_la_ext_inner_mtu(NULL, &out, 1500), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_inner_mtu(&handle, NULL, 1500), -EINVAL);
    forged.ipsec_sa_handle[1] ^= 1;
    CHECK_RESULT(g_ipsec_la_ext_inner_mtu(&handle, &forged, 1500), -EBADF);
    CHECK_EQ(statistics(&handle, OUTBOUND, out).process_errors.no_tail_room, 0); /* asking is no packet */
    /* It is what holds now: a peer that moved to IPv6 costs 20 bytes. */
    int32_t before = g_ipsec_la_ext_inner_mtu(&handle, &out, 1500);
    CHECK_EQ(before, 1500 - 20 - 16 - 16 - 2);
    CHECK_OK(del_sa(&handle, OUTBOUND, out));
    CHECK_RESULT(g_ipsec_la_ext_inner_mtu(&handle, &out, 1500), -EBADF);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

int main(void) {
    handle = open_shared("inner MTU");
    make_packet_v4(packets[0], 65535);
    make_packet_v6(packets[1], 65535);
    refusals();
    struct g_ipsec_la_ext_sa_options options = no_options();
    for (unsigned i = 0; i < algorithm_count; i += loops(1, 9)) {
        struct g_ipsec_la_sa sa = make_sa(&algorithms[i], 0xc002);
        check_context = algorithms[i].name;
        steps = 67;
        ways(sa, options);
        if (sa.proto != G_IPSEC_LA_PROTOCOL_ESP || i % 3 != 0) continue;
        sa.proto = G_IPSEC_LA_EXT_PROTOCOL_WESP;
        ways(sa, options);
    }
    check_context = "implicit IV";
    steps = loops(7, 31);
    options.flags = G_IPSEC_LA_EXT_SA_IMPLICIT_IV;
    ways(gcm_sa(0xc003), options);
    check_context = "bundles";
    steps = loops(61, 67);
    bundles();
    check_context = "";
    close_all(&handle);
    return 0;
}
