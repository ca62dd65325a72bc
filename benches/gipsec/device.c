/*
 * A device daemon against the software accelerator, in one run: packets a second in calls of 32, copied and in memory that
 * both sides map; how long one packet is on its way; SAs added a second. Each line is "what,size,software,device,ratio": the
 * first two in nanoseconds a packet, minimum of all rounds.
 *
 *   device rates | device latency | device sas      with G_IPSEC_LA_SOCKET_DIR naming a directory with ipsec0.sock
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "g_ipsec_la_ext.h"
#include "measure.h"

#define ROOM 2048
#define CALLS 16 /* asynchronous calls under way */
#define TIMES 11

static const g_ipsec_la_control_flags synchronous, asynchronous = G_IPSEC_LA_CTRL_FLAG_ASYNC;

/* An accelerator with what is measured on it. */
struct side {
    g_ipsec_la_handle handle;
    g_ipsec_la_sa_handle outbound;
    g_ipsec_la_data input[CALLS][BATCH], output[CALLS][BATCH];
    g_ipsec_la_packet from[CALLS][BATCH], to[CALLS][BATCH];
    int free[CALLS], num_free, descriptor;
};

static void open_side(struct side *side, const char *name)
{
    g_ipsec_la_open_inargs in = {.accl_name = (char *)name};
    g_ipsec_la_open_outargs out = {&side->handle};
    check(g_ipsec_la_open(G_IPSEC_LA_INSTANCE_SHARED, &in, &out), name);
    side->outbound = add_sa(&side->handle, "gcm128", 0x1234, G_IPSEC_LA_IPSEC_OUTBOUND, 0);
}

static void set_up(struct side *side, int size, int shared)
{
    uint8_t *memory = NULL;
    const uint32_t bytes = 2 * CALLS * BATCH * ROOM;
    if (shared)
        check(g_ipsec_la_ext_buffer_alloc(&side->handle, bytes, &memory), "buffer_alloc");
    else
        memory = aligned_alloc(4096, bytes);
    memset(memory, 0x5a, bytes);
    for (int call = 0; call < CALLS; call++) {
        for (int i = 0; i < BATCH; i++) {
            uint8_t *packet = memory + (size_t)(call * BATCH + i) * 2 * ROOM;
            memcpy(packet, (uint8_t[]){0x45, 0, (uint8_t)(size >> 8), (uint8_t)size, 0, 0, 0, 0, 64, 17}, 10);
            side->input[call][i] = (g_ipsec_la_data){packet, (uint32_t)size};
            side->output[call][i] = (g_ipsec_la_data){packet + ROOM, ROOM};
            side->from[call][i] = (g_ipsec_la_packet){1, &side->input[call][i]};
            side->to[call][i] = (g_ipsec_la_packet){1, &side->output[call][i]};
        }
        side->free[call] = call;
    }
    side->num_free = CALLS;
}

static void ready(struct side *side, int call)
{
    for (int i = 0; i < BATCH; i++)
        side->output[call][i].length = ROOM;
}

static void one_by_one(struct side *side)
{
    for (int call = 0; call < CALLS; call++) {
        ready(side, call);
        check(g_ipsec_la_multi_packet_encap(&side->handle, synchronous, &side->outbound, BATCH, side->from[call],
                                            side->to[call], (g_ipsec_la_resp_args){0}),
              "encap");
    }
}

static struct side *current;

static void answered(void *arg, int32_t length, void *outargs)
{
    (void)length;
    check(((struct g_ipsec_la_packet_outargs *)outargs)->result, "asynchronous encap");
    current->free[current->num_free++] = (int)(intptr_t)arg;
}

static void all_under_way(struct side *side)
{
    current = side;
    for (int taken = 0; taken < 4 * CALLS || side->num_free < CALLS;) {
        while (side->num_free > 0 && taken < 4 * CALLS) {
            const int call = side->free[--side->num_free];
            ready(side, call);
            const g_ipsec_la_resp_args resp = {answered, (void *)(intptr_t)call, 0};
            check(g_ipsec_la_multi_packet_encap(&side->handle, asynchronous, &side->outbound, BATCH, side->from[call],
                                                side->to[call], resp),
                  "encap");
            taken++;
        }
        struct pollfd ready = {side->descriptor, POLLIN, 0};
        if (g_ipsec_la_ext_poll(&side->handle, CALLS) == 0)
            poll(&ready, 1, 1000);
    }
}

static double best(struct side *side, void (*work)(struct side *), int packets)
{
    double least = 1e18;
    for (int i = 0; i < 40; i++) {
        const double begin = now();
        work(side);
        const double took = (now() - begin) / packets;
        least = took < least ? took : least;
    }
    return least;
}

static void compare(const char *what, int size, struct side *soft, struct side *device, void (*work)(struct side *),
                    int packets)
{
    double software = 1e18, other = 1e18;
    for (int round = 0; round < TIMES; round++) {
        const double a = best(soft, work, packets), b = best(device, work, packets);
        software = a < software ? a : software;
        other = b < other ? b : other;
    }
    printf("%s,%d,%.1f,%.1f,%.2f\n", what, size, software, other, software / other);
    fflush(stdout);
}

static int only, memory_kind = 2; /* what is asked for: a size, copied (0) or shared memory (1) */

static void rates(void)
{
    static struct side soft, device;
    open_side(&soft, "soft0");
    open_side(&device, "ipsec0");
    for (size_t i = 0; i < NUM_SIZES; i++) {
        const int size = SIZES[i];
        if (size > ROOM - 128 || (only != 0 && size != only))
            continue;
        for (int shared = 0; shared < 2; shared++) {
            if (memory_kind == !shared)
                continue;
            set_up(&soft, size, 0);
            set_up(&device, size, shared);
            compare(shared ? "synchronous; shared memory" : "synchronous; copied", size, &soft, &device, one_by_one,
                    CALLS * BATCH);
        }
    }
    if (only != 0 && only != 1)
        return;
    check(g_ipsec_la_ext_poll_mode_enter(&device.handle, &device.descriptor), "poll mode");
    check(g_ipsec_la_ext_poll_mode_enter(&soft.handle, &soft.descriptor), "poll mode");
    for (int shared = 0; shared < 2; shared++) {
        set_up(&soft, 1420, 0);
        set_up(&device, 1420, shared);
        compare(shared ? "asynchronous; shared memory" : "asynchronous; copied", 1420, &soft, &device, all_under_way,
                4 * CALLS * BATCH);
    }
}

/* One packet of 64 bytes on its way, the next one after PAUSE microseconds: half of them take less. */
static double one_packet(struct side *side, int pause)
{
    static double samples[20000];
    const int count = pause == 0 ? 20000 : 2000;
    for (int i = 0; i < count; i++) {
        if (pause != 0) {
            const struct timespec time = {0, pause * 1000L};
            nanosleep(&time, NULL);
        }
        side->output[0][0].length = ROOM;
        const double begin = now();
        check(g_ipsec_la_packet_encap(&side->handle, synchronous, &side->outbound, 1, side->input[0], side->output[0],
                                      (g_ipsec_la_resp_args){0}),
              "encap");
        samples[i] = now() - begin;
    }
    return median(samples, count);
}

static void latency(void)
{
    static struct side soft, device;
    open_side(&soft, "soft0");
    open_side(&device, "ipsec0");
    set_up(&soft, 64, 0);
    set_up(&device, 64, 0);
    for (int pause = 0; pause <= 1000; pause += 1000) {
        const double a = one_packet(&soft, pause), b = one_packet(&device, pause);
        printf("one packet%s,64,%.0f,%.0f,\n", pause == 0 ? "" : " after a pause", a, b);
    }
}

static void sas(void)
{
    static struct side device;
    open_side(&device, "ipsec0");
    const int count = 20000;
    const double begin = now();
    for (int i = 0; i < count; i++)
        add_sa(&device.handle, "gcm128", 0x2000 + (uint32_t)i, G_IPSEC_LA_IPSEC_OUTBOUND, 0);
    printf("SAs added a second,,,%.0f,\n", count / ((now() - begin) / 1e9));
}

int main(int argc, char **argv)
{
    const char *what = argc >= 2 ? argv[1] : "";
    only = argc > 2 ? atoi(argv[2]) : 0;
    memory_kind = argc > 3 ? strcmp(argv[3], "shared") == 0 : 2;
    if (strcmp(what, "rates") == 0)
        rates();
    else if (strcmp(what, "latency") == 0)
        latency();
    else if (strcmp(what, "sas") == 0)
        sas();
    else {
        fprintf(stderr, "usage: device rates | latency | sas\n");
        return 2;
    }
    return 0;
}
