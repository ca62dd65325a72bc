/*
 * Whole ESP tunnel packets, IPv4 in IPv4, through libgipsec's C API as a network function has them processed. What the
 * measuring programs beside this share.
 */
#ifndef BATCH_H
#define BATCH_H

#include <stdint.h>

#include "g_ipsec_la.h"

#define BATCH 32

/* Ends the program when a call failed. */
void check(int32_t result, const char *what);

void open_accelerator(g_ipsec_la_handle *handle);

/*
 * TRANSFORM is gcm128, gcm256, cbcsha1, cbcsha256, or null: HMAC-SHA1 without encryption. WINDOW is the anti-replay window
 * in packets, 0 for none.
 */
g_ipsec_la_sa_handle add_sa(g_ipsec_la_handle *handle, const char *transform, uint32_t spi,
                            g_ipsec_la_sa_direction direction, uint32_t window);

/* Packets as they come from an application, encapsulated, and decapsulated again. */
struct batch {
    int size;
    g_ipsec_la_data plain[BATCH], sealed[BATCH], opened[BATCH];
    g_ipsec_la_packet plain_packets[BATCH], sealed_packets[BATCH], opened_packets[BATCH];
};

/* Packets of SIZE bytes. Never freed: the programs end with their last measurement. */
struct batch *make_batch(int size);

/* Makes the buffers of the result as long as they are. */
void ready_to_encap(struct batch *batch);
void ready_to_decap(struct batch *batch);

/* The whole batch, PER_CALL packets in a call: 1 or BATCH. */
void encap(g_ipsec_la_handle *handle, g_ipsec_la_sa_handle *outbound, struct batch *batch, int per_call);
void decap(g_ipsec_la_handle *handle, g_ipsec_la_sa_handle *inbound, struct batch *batch, int per_call);

/* Packet INDEX of the batch alone. */
void encap_one(g_ipsec_la_handle *handle, g_ipsec_la_sa_handle *outbound, struct batch *batch, int index);

#endif
