/*
 * In a guest: packets go through a device until it is unplugged. Every call ends with -ENODEV, the application is told once,
 * nothing hangs, and the device is no longer among those that are available.
 */
#include "check.h"
#include "support.h"
#include <pthread.h>
#include <unistd.h>

enum { BATCH = 16, INNER = 1000, ROOM_EACH = 1200, THREADS = 2, LIMIT_SECONDS = 60 };

static struct g_ipsec_la_handle handle;
static struct g_ipsec_la_sa_handle outbound;
static int told, sent;
static double told_at;

static void broken(struct g_ipsec_la_handle *which, void *cb_arg) {
    CHECK(memcmp(which, &handle, sizeof handle) == 0);
    CHECK(cb_arg == &told);
    told_at = seconds_now();
    __atomic_add_fetch(&told, 1, __ATOMIC_RELEASE);
}

static uint32_t available(void) {
    struct g_ipsec_la_available_list_get_inargs in = {0, 0};
    struct g_ipsec_la_available_list_get_outargs out = {0, 0, NULL};
    CHECK_OK(g_ipsec_la_available_list_get(&in, &out));
    return out.total;
}

struct batch {
    uint8_t input[BATCH][INNER], output[BATCH][ROOM_EACH];
    struct g_ipsec_la_data from[BATCH], to[BATCH];
    struct g_ipsec_la_packet packets[BATCH], results[BATCH];
};

/* Sends until a call fails, which it may only because the device is gone. */
static void *keep_sending(void *ended) {
    struct batch *b = (struct batch *)calloc(1, sizeof *b);
    double limit = seconds_now() + LIMIT_SECONDS;
    CHECK(b != NULL);
    for (int i = 0; i < BATCH; i++) {
        make_packet_v4(b->input[i], INNER);
        b->from[i].buffer = b->input[i];
        b->from[i].length = INNER;
        b->to[i].buffer = b->output[i];
        b->packets[i].num_sg = b->results[i].num_sg = 1;
        b->packets[i].data = &b->from[i];
        b->results[i].data = &b->to[i];
    }
    for (;;) {
        int32_t results[BATCH];
        for (int i = 0; i < BATCH; i++) b->to[i].length = ROOM_EACH;
        int32_t result = g_ipsec_la_ext_multi_packet_encap(&handle, SYNC, &outbound, BATCH, b->packets, b->results,
                                                           results, no_response);
        if (result != 0) {
            CHECK_RESULT(result, -ENODEV);
            break;
        }
        for (int i = 0; i < BATCH; i++) CHECK(b->to[i].length > INNER);
        __atomic_add_fetch(&sent, BATCH, __ATOMIC_RELAXED);
        CHECK(seconds_now() < limit);
    }
    *(double *)ended = seconds_now();
    CHECK_RESULT(encap(&handle, outbound, b->input[0], INNER, b->output[0], ROOM_EACH, &b->to[0].length), -ENODEV);
    free(b);
    return NULL;
}

int main(void) {
    struct g_ipsec_la_open_inargs in;
    struct g_ipsec_la_open_outargs out = {&handle};
    struct g_ipsec_la_sa sa = gcm_sa(0xc001);
    pthread_t threads[THREADS];
    double ended[THREADS];
    memset(&in, 0, sizeof in);
    in.app_identity = (char *)"unplug";
    in.cb_fn = broken;
    in.cb_arg = &told;
    CHECK_EQ(available(), 1);
    CHECK_OK(g_ipsec_la_open(G_IPSEC_LA_INSTANCE_EXCLUSIVE, &in, &out));
    outbound = add_sa(&handle, OUTBOUND, &sa);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, keep_sending, &ended[i]) == 0);
    while (__atomic_load_n(&sent, __ATOMIC_RELAXED) < 10 * BATCH) sleep_ms(10);
    /* Whoever runs the VM unplugs it when this line is there. */
    printf("guest: packets are on their way\n");
    fflush(stdout);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    wait_for(&told, 1, "the broken callback");
    for (int i = 0; i < THREADS; i++) {
        double apart = ended[i] > told_at ? ended[i] - told_at : told_at - ended[i];
        if (apart > 2.5) FAIL_AT("a call ended %.0f ms apart from the callback", apart * 1000);
    }
    CHECK_RESULT(try_sa(&handle, INBOUND, &sa, NULL), -ENODEV);
    CHECK_OK(g_ipsec_la_close(&handle));
    CHECK_RESULT(g_ipsec_la_close(&handle), -EBADF);
    sleep_ms(500);
    CHECK_EQ(told, 1);
    double limit = seconds_now() + 10;
    while (available() != 0) CHECK(seconds_now() < limit);
    printf("guest: the device is gone after %d packets, and was told of once\n", sent);
    return 0;
}
