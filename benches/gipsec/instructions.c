/*
 * A fixed amount of work, for scripts/instructions.sh to count the instructions of.
 * Usage: instructions encap|decap TRANSFORM SIZE PACKETS-IN-A-CALL REPLAY-WINDOW BATCHES
 *
 * Everything but the last BATCHES batches is the same whatever BATCHES is, so that the difference between two runs is the
 * packets alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"

#define MOST 32

int main(int argc, char **argv)
{
    const int batches = argc == 7 ? atoi(argv[6]) : 0, per_call = argc == 7 ? atoi(argv[4]) : 0;
    const int inbound = argc == 7 && strcmp(argv[1], "decap") == 0;
    if (batches < 1 || batches > MOST || (per_call != 1 && per_call != BATCH) ||
        (!inbound && strcmp(argv[1], "encap") != 0)) {
        fprintf(stderr, "usage: %s encap|decap TRANSFORM SIZE 1|%d REPLAY-WINDOW BATCHES (up to %d)\n", argv[0], BATCH,
                MOST);
        return 2;
    }
    const int size = atoi(argv[3]);
    const uint32_t window = (uint32_t)atoi(argv[5]);
    g_ipsec_la_handle handle;
    open_accelerator(&handle);
    g_ipsec_la_sa_handle sealing = add_sa(&handle, argv[2], 0x1000, G_IPSEC_LA_IPSEC_OUTBOUND, 0);
    struct batch *packets[MOST];
    for (int i = 0; i < MOST; i++) {
        packets[i] = make_batch(size);
        encap(&handle, &sealing, packets[i], BATCH);
        ready_to_decap(packets[i]);
    }
    const g_ipsec_la_sa_direction direction = inbound ? G_IPSEC_LA_IPSEC_INBOUND : G_IPSEC_LA_IPSEC_OUTBOUND;
    g_ipsec_la_sa_handle sa = add_sa(&handle, argv[2], 0x1000, direction, window);
    for (int i = 0; i < batches; i++) {
        if (inbound) {
            decap(&handle, &sa, packets[i], per_call);
        } else {
            ready_to_encap(packets[i]);
            encap(&handle, &sa, packets[i], per_call);
        }
    }
    check(g_ipsec_la_close(&handle), "close");
    return 0;
}
