/*
 * What surrounds a packet: other threads, anti-replay windows, other SAs. AES-GCM-128, as ../measure.h prints it; with two
 * threads the time of a packet is that of both, divided by the packets of both.
 * Usage: scaling CORE [CORE]; without the second there are no threads.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>

#include "batch.h"

#include "../measure.h"

#define TRANSFORM "gcm128"
#define MANY 100000
#define SEALED 32        /* batches, as many as the widest window has packets */
#define TURNS 500        /* batches of a thread in a round */
#define THREAD_ROUNDS 31 /* of a millisecond, so that some have both cores to themselves */

static const g_ipsec_la_resp_args no_response;
static g_ipsec_la_handle handle;

/* ---- threads ---- */

struct worker {
    int core;
    g_ipsec_la_sa_handle sa;
    struct batch *packets;
    pthread_barrier_t *start;
    double begin[THREAD_ROUNDS], end[THREAD_ROUNDS];
};

static void *run(void *argument)
{
    struct worker *worker = argument;
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(worker->core, &cores);
    check(pthread_setaffinity_np(pthread_self(), sizeof cores, &cores), "affinity");
    for (int round = 0; round < THREAD_ROUNDS; round++) {
        pthread_barrier_wait(worker->start);
        worker->begin[round] = now();
        for (int i = 0; i < TURNS; i++) {
            ready_to_encap(worker->packets);
            encap(&handle, &worker->sa, worker->packets, BATCH);
        }
        worker->end[round] = now();
    }
    return NULL;
}

static void measure_threads(const char *operation, int size, struct worker *workers, int count)
{
    pthread_barrier_t start;
    pthread_t threads[2];
    double rounds[THREAD_ROUNDS];
    check(pthread_barrier_init(&start, NULL, (unsigned)count), "barrier");
    for (int i = 0; i < count; i++) {
        workers[i].start = &start;
        check(pthread_create(&threads[i], NULL, run, &workers[i]), "thread");
    }
    for (int i = 0; i < count; i++)
        check(pthread_join(threads[i], NULL), "join");
    for (int round = 0; round < THREAD_ROUNDS; round++) {
        double begin = workers[0].begin[round], end = workers[0].end[round];
        for (int i = 1; i < count; i++) {
            begin = workers[i].begin[round] < begin ? workers[i].begin[round] : begin;
            end = workers[i].end[round] > end ? workers[i].end[round] : end;
        }
        rounds[round] = (end - begin) / (count * TURNS * BATCH);
    }
    const double middle = median(rounds, THREAD_ROUNDS);
    printf("gipsec," TRANSFORM ",%s,%d,%d,%.1f,%.1f\n", operation, BATCH, size, rounds[0], middle);
    pthread_barrier_destroy(&start);
}

static void threads(int first_core, int second_core, int size)
{
    struct worker workers[2] = {{.core = first_core}, {.core = second_core}};
    for (int i = 0; i < 2; i++) {
        workers[i].sa = add_sa(&handle, TRANSFORM, 0x1000 + (uint32_t)i, G_IPSEC_LA_IPSEC_OUTBOUND, 0);
        workers[i].packets = make_batch(size);
    }
    measure_threads("1 thread", size, workers, 1);
    measure_threads("2 threads 2 SAs", size, workers, 2);
    workers[1].sa = workers[0].sa;
    measure_threads("2 threads 1 SA", size, workers, 2);
}

/* ---- anti-replay windows ---- */

static struct batch *sealed[SEALED];
static g_ipsec_la_sa_handle inbound;
static bool added;
static uint32_t window;
static int next;

/* When all packets were seen, a new SA has seen none. */
static void prepare_decap(void)
{
    if (next % SEALED == 0) {
        g_ipsec_la_sa_del_inargs in = {G_IPSEC_LA_IPSEC_INBOUND, &inbound};
        g_ipsec_la_sa_del_outargs out = {0};
        if (added)
            check(g_ipsec_la_sa_del(&handle, &in, (g_ipsec_la_control_flags)0, &out, no_response), "sa_del");
        inbound = add_sa(&handle, TRANSFORM, 0x1000, G_IPSEC_LA_IPSEC_INBOUND, window);
        added = true;
    }
    ready_to_decap(sealed[next % SEALED]);
}

static void work_decap(void)
{
    decap(&handle, &inbound, sealed[next++ % SEALED], BATCH);
}

static void windows(int size)
{
    static const uint32_t sizes[] = {0, 64, 1024};
    g_ipsec_la_sa_handle outbound = add_sa(&handle, TRANSFORM, 0x1000, G_IPSEC_LA_IPSEC_OUTBOUND, 0);
    for (int i = 0; i < SEALED; i++) {
        sealed[i] = make_batch(size);
        encap(&handle, &outbound, sealed[i], BATCH);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char operation[32];
        window = sizes[i];
        next = 0;
        snprintf(operation, sizeof operation, "window %u", (unsigned)window);
        measure("gipsec", TRANSFORM, operation, BATCH, size, prepare_decap, work_decap);
    }
}

/* ---- many SAs ---- */

static g_ipsec_la_sa_handle all[MANY], chosen[BATCH];
static struct batch *packets;
static uint32_t among;

/* An application has the handle at hand, with the rest of what it knows of a packet. */
static void choose(void)
{
    static uint64_t state = 1;
    for (int i = 0; i < BATCH; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        chosen[i] = all[(uint32_t)(state >> 33) % among];
    }
    ready_to_encap(packets);
}

static void work_single(void)
{
    for (int i = 0; i < BATCH; i++)
        encap_one(&handle, &chosen[i], packets, i);
}

static void work_batch(void)
{
    encap(&handle, &chosen[0], packets, BATCH);
}

static void many(int size)
{
    packets = make_batch(size);
    for (int i = 0; i < 2; i++) {
        among = i == 0 ? 1 : MANY;
        char operation[32];
        snprintf(operation, sizeof operation, "among %u SAs", (unsigned)among);
        measure("gipsec", TRANSFORM, operation, 1, size, choose, work_single);
        measure("gipsec", TRANSFORM, operation, BATCH, size, choose, work_batch);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: %s CORE [CORE]\n", argv[0]);
        return 2;
    }
    open_accelerator(&handle);
    windows(64);
    if (argc == 3) {
        threads(atoi(argv[1]), atoi(argv[2]), 64);
        threads(atoi(argv[1]), atoi(argv[2]), 1420);
    }
    for (uint32_t i = 0; i < MANY; i++)
        all[i] = add_sa(&handle, TRANSFORM, 0x10000 + i, G_IPSEC_LA_IPSEC_OUTBOUND, 0);
    many(64);
    check(g_ipsec_la_close(&handle), "close");
    return 0;
}
