/* sa_mod (R31): moved tunnel ends, changed ports, sequence numbers and windows; and its refusals. */
#include "check.h"
#include "support.h"
#include <arpa/inet.h>

enum { INNER = 120 };

static struct g_ipsec_la_handle handle;
static uint8_t packet[INNER], sealed[INNER + 120], opened[INNER];
static uint32_t length, back;

static int32_t move(enum g_ipsec_la_sa_direction dir, struct g_ipsec_la_sa_handle sa,
                    enum g_ipsec_la_sa_modify_flags what, struct g_ip_addr address, uint16_t port) {
    struct g_ipsec_la_sa_mod_inargs in;
    struct g_ipsec_la_sa_modify_outargs out = {1};
    memset(&in, 0, sizeof in);
    in.dir = dir, in.handle = &sa, in.flags = what;
    in.addr_info.addr = address;
    in.addr_info.port = port;
    int32_t result = g_ipsec_la_sa_mod(&handle, &in, SYNC, &out, no_response);
    if (result == 0) CHECK_EQ(out.result, 0);
    return result;
}

static void seal(struct g_ipsec_la_sa_handle sa) {
    make_packet_v4(packet, INNER);
    CHECK_OK(encap(&handle, sa, packet, INNER, sealed, sizeof sealed, &length));
}

static int has_address(uint32_t at, const char *text) {
    struct g_ip_addr expected = address_v4(text);
    return memcmp(sealed + at, &expected.ipv4, 4) == 0;
}

static uint32_t port_at(uint32_t at) { return (uint32_t)sealed[at] << 8 | sealed[at + 1]; }

static void moved_ends(void) {
    struct g_ipsec_la_sa sa = gcm_sa(0x8001);
    sa.cmn_flags = G_IPSEC_LA_SA_DO_UDP_ENCAP_FOR_NAT_TRAVERSAL;
    sa.nat_info.src_port = 4500;
    sa.nat_info.dest_port = 40000;
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa), in = add_sa(&handle, INBOUND, &sa);
    seal(out);
    CHECK(has_address(12, "198.51.100.1") && has_address(16, "198.51.100.2"));
    CHECK(port_at(20) == 4500 && port_at(22) == 40000);

    /* The peer's mapping at a NAT changed; then our own address, and not the port. */
    CHECK_OK(move(OUTBOUND, out, G_IPSEC_LA_SA_MODIFY_PEER_GW_INFO, address_v4("203.0.113.9"), 41000));
    seal(out);
    CHECK(has_address(12, "198.51.100.1") && has_address(16, "203.0.113.9"));
    CHECK(port_at(20) == 4500 && port_at(22) == 41000);
    CHECK_OK(move(OUTBOUND, out, G_IPSEC_LA_SA_MODIFY_LOCAL_GW_INFO, address_v4("203.0.113.1"), 0));
    seal(out);
    CHECK(has_address(12, "203.0.113.1") && has_address(16, "203.0.113.9"));
    CHECK(port_at(20) == 4500 && port_at(22) == 41000);
    CHECK_OK(move(INBOUND, in, G_IPSEC_LA_SA_MODIFY_PEER_GW_INFO, address_v4("203.0.113.1"), 0));
    CHECK_OK(move(INBOUND, in, G_IPSEC_LA_SA_MODIFY_LOCAL_GW_INFO, address_v4("203.0.113.9"), 41000));
    CHECK_OK(decap(&handle, in, sealed, length, opened, sizeof opened, &back));
    CHECK_BYTES(opened, packet, INNER);

    /* What sa_get says is what holds now: local is the destination of an inbound SA. */
    struct g_ipsec_la_sa now;
    struct g_ipsec_la_sa_get_inargs get = {INBOUND, &in, G_IPSEC_LA_SA_GET_EXACT, 1, G_IPSEC_LA_SA_GET_INFORMATION};
    struct g_ipsec_la_sa_get_outargs got = {0, &now, NULL, NULL};
    CHECK_OK(g_ipsec_la_sa_get(&handle, &get, SYNC, &got, NULL));
    CHECK(now.te_addr.src_ip.ipv4 == address_v4("203.0.113.1").ipv4);
    CHECK(now.te_addr.dest_ip.ipv4 == address_v4("203.0.113.9").ipv4);
    CHECK_EQ(now.nat_info.dest_port, 41000);

    CHECK_RESULT(move(OUTBOUND, out, (enum g_ipsec_la_sa_modify_flags)0, address_v4("203.0.113.1"), 0), -EINVAL);
    CHECK_RESULT(move(OUTBOUND, out, (enum g_ipsec_la_sa_modify_flags)4, address_v4("203.0.113.1"), 0), -EINVAL);
    struct g_ip_addr wrong = address_v4("203.0.113.1");
    wrong.version = (enum g_ip_version)5;
    CHECK_RESULT(move(OUTBOUND, out, G_IPSEC_LA_SA_MODIFY_LOCAL_GW_INFO, wrong, 0), -EINVAL);
    CHECK_RESULT(move(OUTBOUND, out, G_IPSEC_LA_SA_MODIFY_LOCAL_GW_INFO, address_v6("2001:db8::1"), 0), -EINVAL);
    CHECK_RESULT(move((enum g_ipsec_la_sa_direction)3, out, G_IPSEC_LA_SA_MODIFY_LOCAL_GW_INFO, wrong, 0), -EINVAL);
    CHECK_RESULT(move(INBOUND, out, G_IPSEC_LA_SA_MODIFY_LOCAL_GW_INFO, address_v4("203.0.113.1"), 0), -ENOENT);
    seal(out);
    CHECK(has_address(12, "203.0.113.1") && has_address(16, "203.0.113.9")); /* as before */
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

static int32_t replay_information(struct g_ipsec_la_sa_handle sa, uint32_t flags, uint8_t window, uint32_t bit_map,
                                  uint32_t low) {
    struct g_ipsec_la_sa_mod_inargs in;
    struct g_ipsec_la_sa_modify_outargs out = {1};
    memset(&in, 0, sizeof in);
    in.dir = INBOUND, in.handle = &sa, in.flags = G_IPSEC_LA_SA_MODIFY_REPLAY_INFO;
    in.replay.flags = (enum g_ipsec_la_sa_modify_replay_info_flags)flags;
    in.replay.anti_replay_window_size = window;
    in.replay.anti_replay_window_bit_map = bit_map;
    in.replay.seq_num = low;
    return g_ipsec_la_sa_mod(&handle, &in, SYNC, &out, no_response);
}

static void sequence_numbers(void) {
    enum { COUNT = 400 };
    static uint8_t kept[COUNT + 1][INNER + 100];
    struct g_ipsec_la_sa sa = gcm_sa(0x8002);
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa);
    sa.cmn_flags = G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK;
    struct g_ipsec_la_sa_handle in = add_sa(&handle, INBOUND, &sa);
    for (int i = 1; i <= COUNT; i++) {
        seal(out);
        CHECK_EQ(sequence_of(sealed, G_IPSEC_LA_PROTOCOL_ESP), i);
        memcpy(kept[i], sealed, length);
    }
    /* An outbound SA goes on after the number. */
    CHECK_OK(set_sequence(&handle, OUTBOUND, out, 0, 1000));
    seal(out);
    CHECK_EQ(sequence_of(sealed, G_IPSEC_LA_PROTOCOL_ESP), 1001);

    /* As a standby takes over: 100 was the highest, 100 and 98 were seen. */
    CHECK_OK(
        replay_information(in, G_IPSEC_LA_SA_MODIFY_SEQ_NUM | G_IPSEC_LA_SA_MODIFY_ANTI_REPLAY_WINDOW, 64, 5, 100));
    CHECK_RESULT(decap(&handle, in, kept[100], length, opened, sizeof opened, &back), -EALREADY);
    CHECK_OK(decap(&handle, in, kept[99], length, opened, sizeof opened, &back));
    CHECK_RESULT(decap(&handle, in, kept[98], length, opened, sizeof opened, &back), -EALREADY);
    CHECK_OK(decap(&handle, in, kept[97], length, opened, sizeof opened, &back));
    CHECK_RESULT(decap(&handle, in, kept[36], length, opened, sizeof opened, &back), -ESTALE);
    CHECK_OK(decap(&handle, in, kept[101], length, opened, sizeof opened, &back));

    /* A larger window remembers further back from now on. */
    CHECK_OK(replay_information(in, G_IPSEC_LA_SA_MODIFY_ANTI_REPLAY_WINDOW, 255, 0, 0));
    CHECK_OK(decap(&handle, in, kept[300], length, opened, sizeof opened, &back));
    CHECK_RESULT(decap(&handle, in, kept[101], length, opened, sizeof opened, &back), -EALREADY);
    CHECK_OK(decap(&handle, in, kept[400], length, opened, sizeof opened, &back));
    CHECK_OK(decap(&handle, in, kept[146], length, opened, sizeof opened, &back));
    CHECK_RESULT(decap(&handle, in, kept[145], length, opened, sizeof opened, &back), -ESTALE);

    CHECK_RESULT(replay_information(in, 1, 64, 0, 0), -EINVAL);
    CHECK_RESULT(replay_information(in, 8, 64, 0, 0), -EINVAL);
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

/* An IV is used once for a key, whatever sa_mod does to the sequence number (R29). */
static void ivs_do_not_come_back(void) {
    enum { COUNT = 64 };
    uint8_t ivs[COUNT][8];
    struct g_ipsec_la_sa sa = gcm_sa(0x8003);
    struct g_ipsec_la_sa_handle out = add_sa(&handle, OUTBOUND, &sa);
    for (int i = 0; i < COUNT; i++) {
        CHECK_OK(set_sequence(&handle, OUTBOUND, out, 0, 5));
        seal(out);
        CHECK_EQ(sequence_of(sealed, G_IPSEC_LA_PROTOCOL_ESP), 6);
        memcpy(ivs[i], sealed + 28, 8);
        for (int k = 0; k < i; k++) CHECK(memcmp(ivs[k], ivs[i], 8) != 0);
    }
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));
}

int main(void) {
    handle = open_shared("sa_mod");
    moved_ends();
    sequence_numbers();
    ivs_do_not_come_back();
    close_all(&handle);
    return 0;
}
