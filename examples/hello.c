/*
 * The shortest complete program: one packet into an IPsec tunnel and out again.
 *
 *     cc hello.c $(pkg-config --cflags --libs gipsec) && ./a.out
 */
#include <arpa/inet.h>
#include <g_ipsec_la.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* AES-GCM takes a 4-byte salt and then the key; an application has both from IKE. */
static uint8_t key[] = "saltsixteen byte key";

/* IPv4 and UDP, from 10.0.0.1 to 10.0.0.2. */
static uint8_t packet[] =
    "\x45\x00\x00\x28\x00\x01\x40\x00\x40\x11\x26\xc2\x0a\x00\x00\x01\x0a\x00\x00\x02"
    "\x00\x07\x00\x07\x00\x14\xab\x69hello, world";

static void must(const char *what, int32_t result) {
    if (result != 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(-result));
        exit(EXIT_FAILURE);
    }
}

int main(void) {
    struct g_ipsec_la_handle accelerator;
    struct g_ipsec_la_open_inargs open_in = {.app_identity = "hello"};
    struct g_ipsec_la_open_outargs open_out = {.handle = &accelerator};
    must("open", g_ipsec_la_open(G_IPSEC_LA_INSTANCE_SHARED, &open_in, &open_out));

    struct g_ipsec_la_sa sa = {
        .spi = 0x1001,
        .proto = G_IPSEC_LA_PROTOCOL_ESP,
        .crypto_params = {.comb_algo = G_IPSEC_LA_COMB_AES_GCM, .comb_key = key, .comb_key_len_bits = 160},
        .te_addr = {.src_ip = {.version = G_IPSEC_LA_IPV4, .ipv4 = inet_addr("192.0.2.1")},
                    .dest_ip = {.version = G_IPSEC_LA_IPV4, .ipv4 = inet_addr("192.0.2.2")}},
    };
    struct g_ipsec_la_sa_add_inargs add_in = {.dir = G_IPSEC_LA_IPSEC_OUTBOUND, .num_sas = 1, .sa_params = &sa};
    struct g_ipsec_la_sa_add_outargs outbound, inbound;
    struct g_ipsec_la_resp_args synchronous = {0};
    must("outbound SA", g_ipsec_la_sa_add(&accelerator, &add_in, 0, &outbound, synchronous));
    add_in.dir = G_IPSEC_LA_IPSEC_INBOUND;
    must("inbound SA", g_ipsec_la_sa_add(&accelerator, &add_in, 0, &inbound, synchronous));

    uint8_t esp[256], plain[256];
    struct g_ipsec_la_data in = {packet, sizeof packet - 1}, out = {esp, sizeof esp}, back = {plain, sizeof plain};
    must("encap", g_ipsec_la_packet_encap(&accelerator, 0, &outbound.sa_handle, 1, &in, &out, synchronous));
    must("decap", g_ipsec_la_packet_decap(&accelerator, 0, &inbound.sa_handle, 1, &out, &back, synchronous));
    printf("%u bytes became %u bytes of ESP and %u again: %.*s\n", in.length, out.length, back.length,
           (int)back.length - 28, plain + 28);

    must("flush", g_ipsec_la_sa_flush(&accelerator, 0, NULL));
    must("close", g_ipsec_la_close(&accelerator));
    return 0;
}
