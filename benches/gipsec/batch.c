#include "batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "g_ipsec_la_ext.h"

#define OFFSET 64    /* before a packet, as in a buffer with headroom */
#define OVERHEAD 128 /* more than tunnel mode ESP adds */

static const g_ipsec_la_resp_args no_response;
static const g_ipsec_la_control_flags synchronous;

void check(int32_t result, const char *what)
{
    if (result != 0) {
        fprintf(stderr, "%s: %d: %s\n", what, result, g_ipsec_la_ext_last_error());
        exit(1);
    }
}

void open_accelerator(g_ipsec_la_handle *handle)
{
    g_ipsec_la_open_inargs in = {0};
    g_ipsec_la_open_outargs out = {handle};
    check(g_ipsec_la_open(G_IPSEC_LA_INSTANCE_EXCLUSIVE, &in, &out), "open");
}

g_ipsec_la_sa_handle add_sa(g_ipsec_la_handle *handle, const char *transform, uint32_t spi,
                            g_ipsec_la_sa_direction direction, uint32_t window)
{
    uint8_t key[64];
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    g_ipsec_la_sa sa = {0};
    sa.spi = spi;
    sa.proto = G_IPSEC_LA_PROTOCOL_ESP;
    if (window != 0)
        sa.cmn_flags = G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK;
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
        sa.crypto_params.auth_key = key + 1;
        sa.crypto_params.auth_key_len_bits = sha2 ? 256 : 160;
    }
    const g_ipsec_la_ext_sa_options options = {.size = sizeof options, .anti_replay_window_size = window};
    g_ipsec_la_sa_add_inargs in = {direction, 1, &sa};
    g_ipsec_la_sa_add_outargs out = {0};
    check(g_ipsec_la_ext_sa_add(handle, &in, &options, synchronous, &out, no_response), "sa_add");
    return out.sa_handle;
}

struct batch *make_batch(int size)
{
    const size_t room = ((size_t)size + OFFSET + OVERHEAD + 63) / 64 * 64;
    struct batch *batch = calloc(1, sizeof *batch);
    uint8_t *memory = aligned_alloc(64, 3 * BATCH * room);
    if (batch == NULL || memory == NULL) {
        perror("make_batch");
        exit(1);
    }
    memset(memory, 0x5a, 3 * BATCH * room);
    batch->size = size;
    for (int i = 0; i < BATCH; i++) {
        uint8_t *packet = memory + (size_t)i * room + OFFSET;
        memcpy(packet, (uint8_t[]){0x45, 0, (uint8_t)(size >> 8), (uint8_t)size, 0, 0, 0, 0, 64, 17}, 10);
        batch->plain[i] = (g_ipsec_la_data){packet, (uint32_t)size};
        batch->sealed[i] = (g_ipsec_la_data){packet + BATCH * room, (uint32_t)size + OVERHEAD};
        batch->opened[i] = (g_ipsec_la_data){packet + 2 * BATCH * room, (uint32_t)size + OVERHEAD};
        batch->plain_packets[i] = (g_ipsec_la_packet){1, &batch->plain[i]};
        batch->sealed_packets[i] = (g_ipsec_la_packet){1, &batch->sealed[i]};
        batch->opened_packets[i] = (g_ipsec_la_packet){1, &batch->opened[i]};
    }
    return batch;
}

void ready_to_encap(struct batch *batch)
{
    for (int i = 0; i < BATCH; i++)
        batch->sealed[i].length = (uint32_t)batch->size + OVERHEAD;
}

void ready_to_decap(struct batch *batch)
{
    for (int i = 0; i < BATCH; i++)
        batch->opened[i].length = (uint32_t)batch->size + OVERHEAD;
}

void encap_one(g_ipsec_la_handle *handle, g_ipsec_la_sa_handle *outbound, struct batch *batch, int index)
{
    check(g_ipsec_la_packet_encap(handle, synchronous, outbound, 1, &batch->plain[index], &batch->sealed[index],
                                  no_response),
          "packet_encap");
}

void encap(g_ipsec_la_handle *handle, g_ipsec_la_sa_handle *outbound, struct batch *batch, int per_call)
{
    if (per_call == BATCH)
        check(g_ipsec_la_multi_packet_encap(handle, synchronous, outbound, BATCH, batch->plain_packets,
                                            batch->sealed_packets, no_response),
              "multi_packet_encap");
    else
        for (int i = 0; i < BATCH; i++)
            encap_one(handle, outbound, batch, i);
}

void decap(g_ipsec_la_handle *handle, g_ipsec_la_sa_handle *inbound, struct batch *batch, int per_call)
{
    if (per_call == BATCH) {
        check(g_ipsec_la_multi_packet_decap(handle, synchronous, inbound, BATCH, batch->sealed_packets,
                                            batch->opened_packets, no_response),
              "multi_packet_decap");
        return;
    }
    for (int i = 0; i < BATCH; i++)
        check(g_ipsec_la_packet_decap(handle, synchronous, inbound, 1, &batch->sealed[i], &batch->opened[i],
                                      no_response),
              "packet_decap");
}
