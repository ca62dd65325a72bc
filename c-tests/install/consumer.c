/* A program of somebody who uses an installed libgipsec: one packet into a tunnel and out again. */
#include <g_ipsec_la.h>
#include <g_ipsec_la_ext.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    struct g_ipsec_la_handle handle;
    struct g_ipsec_la_open_inargs open_in;
    struct g_ipsec_la_open_outargs open_out = {&handle};
    struct g_ipsec_la_sa sa;
    struct g_ipsec_la_sa_add_inargs add;
    struct g_ipsec_la_sa_add_outargs outbound, inbound;
    struct g_ipsec_la_resp_args none = {NULL, NULL, 0};
    uint8_t key[20] = {1, 2, 3}, packet[100] = {0x45, 0, 0, 100, 0, 1, 0, 0, 64, 253}, esp[200], plain[100];
    struct g_ipsec_la_data in = {packet, sizeof packet}, mid = {esp, sizeof esp}, back = {plain, sizeof plain};
    const enum g_ipsec_la_control_flags sync = (enum g_ipsec_la_control_flags)0;

    memset(&open_in, 0, sizeof open_in);
    memset(&sa, 0, sizeof sa);
    memset(&add, 0, sizeof add);
    sa.spi = 0x1001;
    sa.proto = G_IPSEC_LA_PROTOCOL_ESP;
    sa.crypto_params.comb_algo = G_IPSEC_LA_COMB_AES_GCM;
    sa.crypto_params.comb_key = key;
    sa.crypto_params.comb_key_len_bits = 160;
    sa.te_addr.src_ip.version = sa.te_addr.dest_ip.version = G_IPSEC_LA_IPV4;
    sa.te_addr.src_ip.ipv4 = 1;
    sa.te_addr.dest_ip.ipv4 = 2;
    add.num_sas = 1;
    add.sa_params = &sa;
    add.dir = G_IPSEC_LA_IPSEC_OUTBOUND;
    if (g_ipsec_la_open(G_IPSEC_LA_INSTANCE_SHARED, &open_in, &open_out) != 0) return 1;
    if (g_ipsec_la_sa_add(&handle, &add, sync, &outbound, none) != 0) return 2;
    add.dir = G_IPSEC_LA_IPSEC_INBOUND;
    if (g_ipsec_la_sa_add(&handle, &add, sync, &inbound, none) != 0) return 3;
    if (g_ipsec_la_packet_encap(&handle, sync, &outbound.sa_handle, 1, &in, &mid, none) != 0) return 4;
    if (g_ipsec_la_packet_decap(&handle, sync, &inbound.sa_handle, 1, &mid, &back, none) != 0) return 5;
    if (back.length != sizeof packet || memcmp(packet, plain, sizeof packet) != 0) return 6;
    if (g_ipsec_la_ext_last_error() == NULL) return 7;
    if (g_ipsec_la_close(&handle) != 0) return 8;
    printf("gipsec: %u bytes came back\n", (unsigned)back.length);
    return 0;
}
