/*
 * Time of encapsulation and of decapsulation through the C API, as ../peers/librte_ipsec.c takes it of DPDK.
 * Usage: packets TRANSFORM
 */
#include <string.h>

#include "batch.h"

#include "../measure.h"

static g_ipsec_la_handle handle;
static g_ipsec_la_sa_handle outbound, inbound;
static struct batch *packets;
static uint8_t *saved[BATCH];
static int per_call;

static void prepare_encap(void)
{
    ready_to_encap(packets);
}

static void work_encap(void)
{
    encap(&handle, &outbound, packets, per_call);
}

/* Writes the packets anew, as the peer, which decrypts in place, has to: both find them in the same caches. */
static void prepare_decap(void)
{
    for (int i = 0; i < BATCH; i++)
        memcpy(packets->sealed[i].buffer, saved[i], packets->sealed[i].length);
    ready_to_decap(packets);
}

static void work_decap(void)
{
    decap(&handle, &inbound, packets, per_call);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s TRANSFORM\n", argv[0]);
        return 2;
    }
    open_accelerator(&handle);
    outbound = add_sa(&handle, argv[1], 0x1000, G_IPSEC_LA_IPSEC_OUTBOUND, 0);
    inbound = add_sa(&handle, argv[1], 0x1000, G_IPSEC_LA_IPSEC_INBOUND, 0);
    for (size_t s = 0; s < NUM_SIZES; s++) {
        packets = make_batch(SIZES[s]);
        for (int i = 0; i < 2; i++) {
            per_call = i == 0 ? BATCH : 1;
            measure("gipsec", argv[1], "encap", per_call, SIZES[s], prepare_encap, work_encap);
        }
        for (int i = 0; i < BATCH; i++) {
            saved[i] = realloc(saved[i], packets->sealed[i].length);
            if (saved[i] == NULL)
                return 1;
            memcpy(saved[i], packets->sealed[i].buffer, packets->sealed[i].length);
        }
        for (int i = 0; i < 2; i++) {
            per_call = i == 0 ? BATCH : 1;
            measure("gipsec", argv[1], "decap", per_call, SIZES[s], prepare_decap, work_decap);
        }
    }
    check(g_ipsec_la_close(&handle), "close");
    return 0;
}
