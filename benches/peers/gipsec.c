/*
 * libgipsec through its C API: whole ESP tunnel packets, IPv4 in IPv4, as a VNF has them processed.
 * Usage: gipsec TRANSFORM, with gcm128, gcm256, cbcsha1, cbcsha256 or null (no encryption: what framing costs with SHA1).
 */
#include <stdint.h>
#include <string.h>

#include "g_ipsec_la.h"
#include "measure.h"

#define ROOM 9216
#define OFFSET 64

static g_ipsec_la_handle handle;
static g_ipsec_la_sa_handle outbound, inbound;
static uint8_t *plain, *sealed, *opened;
static g_ipsec_la_data plain_data[BATCH], sealed_data[BATCH], opened_data[BATCH];
static g_ipsec_la_packet plain_packets[BATCH], sealed_packets[BATCH], opened_packets[BATCH];
static uint32_t sealed_length;
static int batch = BATCH;

static void check(int32_t result, const char *what)
{
    if (result != 0) {
        fprintf(stderr, "%s: %d\n", what, result);
        exit(1);
    }
}

static void encap(void)
{
    const g_ipsec_la_resp_args none = {0};
    for (int i = 0; i < batch; i++)
        sealed_data[i].length = ROOM;
    if (batch == 1)
        check(g_ipsec_la_packet_encap(&handle, (g_ipsec_la_control_flags)0, &outbound, 1, plain_data, sealed_data, none),
              "encap");
    else
        check(g_ipsec_la_multi_packet_encap(&handle, (g_ipsec_la_control_flags)0, &outbound, (uint32_t)batch,
                                            plain_packets, sealed_packets, none),
              "encap");
}

static void decap(void)
{
    const g_ipsec_la_resp_args none = {0};
    for (int i = 0; i < batch; i++) {
        sealed_data[i].length = sealed_length;
        opened_data[i].length = ROOM;
    }
    if (batch == 1)
        check(g_ipsec_la_packet_decap(&handle, (g_ipsec_la_control_flags)0, &inbound, 1, sealed_data, opened_data, none),
              "decap");
    else
        check(g_ipsec_la_multi_packet_decap(&handle, (g_ipsec_la_control_flags)0, &inbound, (uint32_t)batch,
                                            sealed_packets, opened_packets, none),
              "decap");
}

static void encap_and_decap(void)
{
    encap();
    sealed_length = sealed_data[0].length;
    decap();
}

static void add_sa(const char *transform, g_ipsec_la_sa_direction direction, g_ipsec_la_sa_handle *sa_handle)
{
    static uint8_t key[64], auth_key[64];
    for (int i = 0; i < 64; i++) {
        key[i] = (uint8_t)i;
        auth_key[i] = (uint8_t)(i + 1);
    }
    g_ipsec_la_sa sa = {0};
    sa.spi = 0x1000;
    sa.proto = G_IPSEC_LA_PROTOCOL_ESP;
    sa.te_addr.src_ip.version = sa.te_addr.dest_ip.version = G_IPSEC_LA_IPV4;
    sa.te_addr.src_ip.ipv4 = 0x010200c0;
    sa.te_addr.dest_ip.ipv4 = 0x020200c0;
    if (strncmp(transform, "gcm", 3) == 0) {
        sa.crypto_params.comb_algo = G_IPSEC_LA_COMB_AES_GCM;
        sa.crypto_params.comb_key = key;
        sa.crypto_params.comb_key_len_bits = strcmp(transform, "gcm256") == 0 ? 288 : 160;
    } else {
        const int null = strcmp(transform, "null") == 0, sha2 = strcmp(transform, "cbcsha256") == 0;
        sa.crypto_params.cipher_algo = null ? G_IPSEC_LA_CIPHER_ALGO_NULL : G_IPSEC_LA_ALG_AES_CBC;
        sa.crypto_params.cipher_key = key;
        sa.crypto_params.cipher_key_len_bits = null ? 0 : 128;
        sa.crypto_params.auth_algo = sha2 ? G_IPSEC_LA_AUTH_ALG_SHA2_256_HMAC : G_IPSEC_LA_AUTH_ALG_SHA1_HMAC;
        sa.crypto_params.auth_key = auth_key;
        sa.crypto_params.auth_key_len_bits = sha2 ? 256 : 160;
    }
    g_ipsec_la_sa_add_inargs in = {direction, 1, &sa};
    g_ipsec_la_sa_add_outargs out;
    const g_ipsec_la_resp_args none = {0};
    check(g_ipsec_la_sa_add(&handle, &in, (g_ipsec_la_control_flags)0, &out, none), "sa_add");
    *sa_handle = out.sa_handle;
}

static void fill(int size)
{
    for (int i = 0; i < BATCH; i++) {
        uint8_t *packet = plain + (size_t)i * ROOM + OFFSET;
        memset(packet, 0x5a, (size_t)size);
        memcpy(packet, (uint8_t[]){0x45, 0, (uint8_t)(size >> 8), (uint8_t)size, 0, 0, 0, 0, 64, 17}, 10);
        plain_data[i] = (g_ipsec_la_data){packet, (uint32_t)size};
        sealed_data[i].buffer = sealed + (size_t)i * (ROOM + OFFSET) + OFFSET;
        opened_data[i].buffer = opened + (size_t)i * (ROOM + OFFSET) + OFFSET;
        plain_packets[i] = (g_ipsec_la_packet){1, &plain_data[i]};
        sealed_packets[i] = (g_ipsec_la_packet){1, &sealed_data[i]};
        opened_packets[i] = (g_ipsec_la_packet){1, &opened_data[i]};
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s TRANSFORM\n", argv[0]);
        return 2;
    }
    g_ipsec_la_open_inargs in = {0};
    g_ipsec_la_open_outargs out = {&handle};
    check(g_ipsec_la_open(G_IPSEC_LA_INSTANCE_EXCLUSIVE, &in, &out), "open");
    add_sa(argv[1], G_IPSEC_LA_IPSEC_OUTBOUND, &outbound);
    add_sa(argv[1], G_IPSEC_LA_IPSEC_INBOUND, &inbound);
    plain = calloc(BATCH, ROOM + OFFSET);
    sealed = calloc(BATCH, ROOM + OFFSET);
    opened = calloc(BATCH, ROOM + OFFSET);
    if (plain == NULL || sealed == NULL || opened == NULL)
        return 1;
    for (int single = 0; single <= 1; single++) {
        batch = single ? 1 : BATCH;
        for (size_t s = 0; s < NUM_SIZES; s++) {
            fill(SIZES[s]);
            measure("gipsec", argv[1], "encap", batch, SIZES[s], encap);
            encap();
            sealed_length = sealed_data[0].length;
            measure("gipsec", argv[1], "decap", batch, SIZES[s], decap);
            measure("gipsec", argv[1], "encap+decap", batch, SIZES[s], encap_and_decap);
        }
    }
    check(g_ipsec_la_close(&handle), "close");
    return 0;
}
