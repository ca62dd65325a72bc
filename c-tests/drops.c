/*
 * Drops by name: each reason forced and counted once, in the extension and in the document's statistics. And what a NAT
 * needs in transport mode (RFC 3948): corrected checksums, and what else comes to the port.
 */
#include "check.h"
#include "support.h"

enum { INNER = 200, NAT_FLAGS = G_IPSEC_LA_SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL | G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE };

static struct g_ipsec_la_handle handle;
static uint8_t packet[INNER], sealed[INNER + 300], opened[INNER + 300];
static uint32_t length, back, reasons;

static void names(void) {
    while (g_ipsec_la_ext_drop_reason_name(reasons) != NULL) {
        const char *name = g_ipsec_la_ext_drop_reason_name(reasons);
        CHECK(*name != '\0' && strspn(name, "abcdefghijklmnopqrstuvwxyz_") == strlen(name));
        for (uint32_t i = 0; i < reasons; i++) CHECK(strcmp(g_ipsec_la_ext_drop_reason_name(i), name) != 0);
        CHECK(++reasons < 1000);
    }
    CHECK(reasons >= 25);
    for (uint32_t i = reasons; i != 0; i <<= 1) CHECK(g_ipsec_la_ext_drop_reason_name(i) == NULL);
    CHECK(g_ipsec_la_ext_drop_reason_name(0xffffffff) == NULL);
    CHECK(strcmp(g_ipsec_la_ext_drop_reason_name(0), "not_ip") == 0); /* numbers are for ever */
    CHECK(strcmp(g_ipsec_la_ext_drop_reason_name(24), "queue_full") == 0);
}

static void asking(void) {
    struct g_ipsec_la_sa sa = gcm_sa(0x9101);
    struct g_ipsec_la_sa_handle in = add_sa(&handle, INBOUND, &sa), out = add_sa(&handle, OUTBOUND, &sa), forged = in;
    uint64_t counts[300];
    int32_t all = (int32_t)reasons;
    CHECK_EQ(g_ipsec_la_ext_sa_drops_get(&handle, INBOUND, &in, 0, NULL, 0), all);
    CHECK_RESULT(g_ipsec_la_ext_sa_drops_get(&handle, INBOUND, &in, 0, NULL, 1), -EINVAL);
    for (uint32_t room = 0; room <= 300; room++) {
        memset(counts, 0xee, sizeof counts);
        CHECK_EQ(g_ipsec_la_ext_sa_drops_get(&handle, OUTBOUND, &out, 0, counts, room), all);
        for (uint32_t i = 0; i < 300; i++) CHECK_EQ(counts[i], i < room && i < reasons ? 0 : 0xeeeeeeeeeeeeeeee);
    }
    CHECK_EQ(g_ipsec_la_ext_sa_drops_get(&handle, OUTBOUND, &out, 0, counts, 0xffffffff), all);
    for (uint32_t entry = 1; entry != 0; entry <<= 1)
        CHECK_RESULT(g_ipsec_la_ext_sa_drops_get(&handle, INBOUND, &in, entry, counts, 300), -ENOENT);
    for (int word = 0; word < 8; word++)
        for (int bit = 0; bit < 32; bit++) {
            forged = in;
            forged.ipsec_sa_handle[word] ^= (uint32_t)1 << bit;
            int32_t result = g_ipsec_la_ext_sa_drops_get(&handle, INBOUND, &forged, 0, counts, 300);
            CHECK(result == -EBADF || result == -ENOENT);
            struct g_ipsec_la_handle stranger = handle;
            stranger.handle[word] ^= (uint32_t)1 << bit;
            CHECK_RESULT(g_ipsec_la_ext_sa_drops_get(&stranger, INBOUND, &in, 0, counts, 300), -EBADF);
        }
    CHECK(g_ipsec_la_ext_sa_drops_get(&handle, OUTBOUND, &in, 0, counts, 300) < 0);
    CHECK_RESULT(g_ipsec_la_ext_sa_drops_get(&handle, (enum g_ipsec_la_sa_direction)2, &in, 0, counts, 300), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_sa_drops_get(NULL, INBOUND, &in, 0, counts, 300), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_sa_drops_get(&handle, INBOUND, NULL, 0, counts, 300), -EINVAL);
    CHECK_OK(del_sa(&handle, INBOUND, in));
    CHECK_RESULT(g_ipsec_la_ext_sa_drops_get(&handle, INBOUND, &in, 0, counts, 300), -EBADF);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* ---- each reason ---- */

/* Has `sealed` refused, and counted as that and as nothing else. */
static void refused(struct g_ipsec_la_sa_handle in, int32_t result, const char *reason) {
    check_context = reason;
    uint64_t before = dropped(&handle, INBOUND, in, 0, reason), all = dropped(&handle, INBOUND, in, 0, NULL);
    CHECK_RESULT(decap(&handle, in, sealed, length, opened, sizeof opened, &back), result);
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, reason), before + 1);
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, NULL), all + 1);
    struct g_ipsec_la_sa_stats stats = statistics(&handle, INBOUND, in);
    CHECK_EQ(errors_counted(&stats), all + 1);
    check_context = "";
}

static void seal(struct g_ipsec_la_sa_handle out) {
    make_packet_v4(packet, INNER);
    CHECK_OK(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length));
}

/* A new packet with a byte of its own headers changed. */
static void seal_and_set(struct g_ipsec_la_sa_handle out, uint32_t at, uint8_t value) {
    seal(out);
    sealed[at] = value;
    if (at > 0) fix_header(sealed);
}

static void inbound(void) {
    struct g_ipsec_la_sa sa = gcm_sa(0x9201), other = gcm_sa(0x9202), transport = sa;
    sa.cmn_flags = G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK;
    sa.inb.flags = G_IPSEC_INB_SA_PROPOGATE_ECN;
    transport.cmn_flags = G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE;
    struct g_ipsec_la_sa_handle in = add_sa(&handle, INBOUND, &sa);
    sa.inb.flags = (enum g_ipsec_la_inb_sa_flags)0;
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa);
    struct g_ipsec_la_sa_handle stranger = add_sa(&handle, OUTBOUND, &other);
    seal_and_set(out, 0, 0x25);
    refused(in, -EPROTO, "not_ip");
    seal(out), length--;
    refused(in, -EPROTO, "truncated");
    seal_and_set(out, 6, 0x20);
    refused(in, -EPROTO, "fragment");
    seal_and_set(out, 7, 1);
    refused(in, -EPROTO, "fragment");
    seal_and_set(out, 9, 51);
    refused(in, -EPROTO, "other_protocol");
    seal(stranger);
    refused(in, -EPROTO, "other_spi");
    seal(out), memset(sealed + 24, 0, 4);
    refused(in, -ERANGE, "sequence_zero");
    seal(out), sealed[length - 1] ^= 1;
    refused(in, -EBADMSG, "bad_icv");
    seal_and_set(out, 1, 3); /* CE, for a packet that is not ECN-capable */
    refused(in, -EPROTO, "congestion");
    seal(out);
    CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
    refused(in, -EALREADY, "replayed");
    static uint8_t old[sizeof sealed];
    uint32_t old_length = length;
    seal(out);
    memcpy(old, sealed, sizeof old);
    CHECK_OK(set_sequence(&handle, OUTBOUND, out, 0, 5000));
    seal(out);
    CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
    memcpy(sealed, old, sizeof old), length = old_length;
    refused(in, -ESTALE, "late");
    struct g_ipsec_la_sa_handle from_transport = add_sa(&handle, OUTBOUND, &transport);
    CHECK_OK(set_sequence(&handle, OUTBOUND, from_transport, 0, 6000));
    seal(from_transport);
    refused(in, -EPROTO, "bad_next_header");

    /* Room is the caller's fault, and the packet may come again. */
    CHECK_OK(set_sequence(&handle, OUTBOUND, out, 0, 7000));
    seal(out);
    CHECK_RESULT(decap(&handle, in, sealed, length, opened, INNER - 1, &back), -EMSGSIZE);
    CHECK_EQ(dropped(&handle, INBOUND, in, 0, "no_room"), 1);
    CHECK_OK(decap(&handle, in, sealed, length, opened, INNER, &back));

    struct algorithm bare = {
        "ctr", 50, G_IPSEC_LA_ALG_AES_CTR, 160, (enum g_ipsec_la_auth_alg)0, 0, (enum g_ipsec_la_comb_alg)0, 0, 0};
    struct algorithm block = {
        "cbc", 50, G_IPSEC_LA_ALG_AES_CBC, 128, G_IPSEC_LA_AUTH_ALG_SHA1_HMAC, 160, (enum g_ipsec_la_comb_alg)0, 0, 0};
    sa = make_sa(&bare, 0x9203);
    out = add_sa(&handle, OUTBOUND, &sa), in = add_sa(&handle, INBOUND, &sa);
    seal(out), sealed[length - 3] ^= 0x40; /* the last byte of padding; nothing authenticates it */
    refused(in, -EILSEQ, "bad_padding");
    sa = make_sa(&block, 0x9204);
    out = add_sa(&handle, OUTBOUND, &sa), in = add_sa(&handle, INBOUND, &sa);
    seal(out), length -= 4, sealed[3] = (uint8_t)length, sealed[2] = (uint8_t)(length >> 8), fix_header(sealed);
    refused(in, -EPROTO, "bad_length");
    sa.cmn_flags = G_IPSEC_LA_SA_LIFETIME_IN_KB, sa.hard_kilobytes_limit = 1;
    in = add_sa(&handle, INBOUND, &sa);
    for (int i = 0; i < 6; i++) {
        seal(out);
        CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
    }
    refused(in, -EKEYEXPIRED, "lifetime_expired");
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

static void outbound(void) {
    struct g_ipsec_la_sa sa = gcm_sa(0x9301);
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa);
    make_packet_v4(packet, INNER);
    CHECK_RESULT(encap(&handle, out, packet, INNER - 1, sealed, sizeof sealed, &length), -EPROTO);
    CHECK_RESULT(encap(&handle, out, packet, 0, sealed, sizeof sealed, &length), -EPROTO);
    CHECK_RESULT(encap(&handle, out, packet, INNER, sealed, INNER, &length), -EMSGSIZE);
    CHECK_OK(set_sequence(&handle, OUTBOUND, out, 0, 0xffffffff));
    CHECK_RESULT(encap(&handle, out, packet, INNER, sealed, sizeof sealed, &length), -EOVERFLOW);
    CHECK_EQ(dropped(&handle, OUTBOUND, out, 0, "no_room"), 1);
    CHECK_EQ(dropped(&handle, OUTBOUND, out, 0, "sequence_overflow"), 1);
    CHECK_EQ(dropped(&handle, OUTBOUND, out, 0, NULL), 4);
    struct g_ipsec_la_sa_stats stats = statistics(&handle, OUTBOUND, out);
    CHECK_EQ(errors_counted(&stats), 4);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* ---- NAT ---- */

static struct g_ipsec_la_sa nat_sa(uint32_t spi, const char *original) {
    struct g_ipsec_la_sa sa = gcm_sa(spi);
    sa.cmn_flags = SA_FLAGS(NAT_FLAGS);
    sa.nat_info.src_port = sa.nat_info.dest_port = 4500;
    if (original != NULL)
        sa.nat_info.nat_oa_peer_addr = strchr(original, ':') ? address_v6(original) : address_v4(original);
    return sa;
}

static void put(uint8_t *to, uint32_t value) {
    to[0] = (uint8_t)(value >> 8), to[1] = (uint8_t)value;
}

/* The sum over pseudo header and payload: 0xffff when the checksum in it is right. */
static uint32_t transport_sum(const uint8_t *ip, uint32_t size, uint8_t protocol) {
    int v6 = ip[0] >> 4 == 6;
    uint32_t header = v6 ? 40 : 20;
    uint32_t pseudo = internet_sum(v6 ? ip + 8 : ip + 12, v6 ? 32 : 8, (uint32_t)protocol + size - header);
    return internet_sum(ip + header, size - header, pseudo);
}

static void corrected(int inner6, uint8_t protocol, uint32_t field, int zero_is_none) {
    struct g_ipsec_la_sa with = nat_sa(0x9401, inner6 ? "2001:db8::1" : "10.0.0.1"), without = nat_sa(0x9401, NULL);
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &without), in = add_sa(&handle, INBOUND, &with);
    struct g_ipsec_la_sa_handle careless = add_sa(&handle, INBOUND, &without);
    uint32_t header = inner6 ? 40 : 20, source = inner6 ? 8 : 12, addresses = inner6 ? 16 : 4, zeros = 0;
    for (uint32_t i = 0; i < loops(5000, 300); i++) {
        uint8_t mapped[16], original[16];
        uint32_t size = header + 20 + i % 7 * (i % 50 != 1);
        if (inner6)
            make_packet_v6(packet, size);
        else
            make_packet_v4(packet, size);
        packet[inner6 ? 6 : 9] = protocol;
        random_bytes(mapped, addresses);
        put(packet + header + field, 0);
        if (i % 50 == 1) { /* the right checksum comes out as zero behind the NAT */
            memcpy(original, packet + source, addresses);
            memcpy(packet + source, mapped, addresses);
            put(packet + header + 18, 0);
            put(packet + header + 18, ~transport_sum(packet, size, protocol));
            memcpy(packet + source, original, addresses);
        }
        fix_header(packet);
        uint32_t sum = ~transport_sum(packet, size, protocol) & 0xffff;
        put(packet + header + field, sum == 0 && zero_is_none ? 0xffff : sum);
        int none = zero_is_none && i % 10 == 0;
        if (none) put(packet + header + field, 0);
        CHECK_OK(encap(&handle, out, packet, size, sealed, sizeof sealed, &length));
        memcpy(sealed + source, mapped, addresses); /* the NAT */
        put(sealed + header + 6, 0);
        fix_header(sealed);
        CHECK_OK(decap(&handle, careless, sealed, length, opened, sizeof opened, &back));
        CHECK_BYTES(opened + header, packet + header, size - header); /* nobody said what it was */
        CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
        CHECK_EQ(back, size);
        CHECK_BYTES(opened + source, mapped, addresses);
        if (!inner6) CHECK_EQ(internet_sum(opened, 20, 0), 0xffff);
        uint32_t now = (uint32_t)opened[header + field] << 8 | opened[header + field + 1];
        if (none) {
            CHECK_EQ(now, 0);
        } else {
            CHECK_EQ(transport_sum(opened, size, protocol), 0xffff);
            if (zero_is_none) CHECK(now != 0);
            zeros += now == 0 || now == 0xffff;
        }
        put(opened + header + field, (uint32_t)packet[header + field] << 8 | packet[header + field + 1]);
        CHECK_BYTES(opened + header, packet + header, size - header); /* and nothing else changed */
    }
    CHECK(zeros > 0);
    /* Too short to have a checksum: left alone. */
    for (uint32_t size = header; size < header + field + 2; size++) {
        if (inner6)
            make_packet_v6(packet, size);
        else
            make_packet_v4(packet, size);
        packet[inner6 ? 6 : 9] = protocol;
        fix_header(packet);
        CHECK_OK(encap(&handle, out, packet, size, sealed, sizeof sealed, &length));
        sealed[15] ^= 0x55;
        put(sealed + header + 6, 0);
        fix_header(sealed);
        CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
        CHECK_BYTES(opened + header, packet + header, size - header);
    }
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

static void strays(int transport) {
    struct g_ipsec_la_sa sa = nat_sa(0x9501, "2001:db8::1");
    struct g_ipsec_la_sa_handle in;
    if (transport) {
        in = add_sa(&handle, INBOUND, &sa);
        struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa);
        seal(out);
        refused(in, -EPROTO, "nat_oa_family");
    }
    memset(&sa.nat_info.nat_oa_peer_addr, 0, sizeof sa.nat_info.nat_oa_peer_addr);
    if (!transport) sa.cmn_flags = SA_FLAGS(sa.cmn_flags & ~G_IPSEC_LA_SA_ENCAP_TRANSPORT_MODE);
    in = add_sa(&handle, INBOUND, &sa);
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa);
    seal(out), memset(sealed + 28, 0, 4);
    refused(in, -ENOMSG, "ike");
    make_packet_v4(sealed, 29), sealed[28] = 0xff, length = 29;
    refused(in, -ENOMSG, "nat_keepalive");
    sealed[28] = 0xfe;
    refused(in, -EPROTO, "truncated");
    make_packet_v4(sealed, 28), length = 28;
    refused(in, -EPROTO, "truncated");
    make_packet_v4(sealed, 32), memset(sealed + 28, 0, 4), length = 32;
    refused(in, -ENOMSG, "ike");
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

int main(void) {
    handle = open_shared("drops");
    names();
    asking();
    inbound();
    outbound();
    for (int inner6 = 0; inner6 < 2; inner6++) {
        check_context = inner6 ? "NAT, IPv6" : "NAT, IPv4";
        corrected(inner6, 17, 6, 1);
        corrected(inner6, 6, 16, 0);
    }
    check_context = "ICMPv6";
    corrected(1, 58, 2, 0);
    check_context = "";
    strays(0);
    strays(1);
    close_all(&handle);
    return 0;
}
