/*
 * Many threads at once: they encapsulate and decapsulate with shared SAs and with their own, while others add, delete,
 * read and close. Nothing crashes, every answer is one of those possible, and every sequence number of a shared SA is
 * used once.
 */
#include "check.h"
#include "support.h"
#include <pthread.h>

enum { WORKERS = 6, INNER = 300, BATCH = 16 };

static struct g_ipsec_la_handle handle;
static struct g_ipsec_la_sa_handle shared_out, shared_in;
static unsigned per_worker;
static uint8_t *seen; /* one byte for each sequence number of the shared SA */
static uint32_t seen_size;
static int stop;
static const uint8_t *plain;

/* Encapsulates with the shared SA, one by one and in batches, and decapsulates what came out with the shared inbound
 * SA. */
static void *shared_worker(void *argument) {
    uint8_t from[BATCH][INNER], esp[BATCH][INNER + 100], back[BATCH][INNER];
    struct g_ipsec_la_data in[BATCH], mid[BATCH], out[BATCH];
    struct g_ipsec_la_packet in_packets[BATCH], mid_packets[BATCH], out_packets[BATCH];
    (void)argument;
    for (int i = 0; i < BATCH; i++) memcpy(from[i], plain, INNER);
    for (unsigned done = 0; done < per_worker; done += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            in[i].buffer = from[i], in[i].length = INNER;
            mid[i].buffer = esp[i], mid[i].length = sizeof esp[i];
            out[i].buffer = back[i], out[i].length = sizeof back[i];
            in_packets[i].num_sg = mid_packets[i].num_sg = out_packets[i].num_sg = 1;
            in_packets[i].data = &in[i], mid_packets[i].data = &mid[i], out_packets[i].data = &out[i];
        }
        if (done % (2 * BATCH) == 0) {
            CHECK_OK(
                g_ipsec_la_multi_packet_encap(&handle, SYNC, &shared_out, BATCH, in_packets, mid_packets, no_response));
        } else {
            for (int i = 0; i < BATCH; i++)
                CHECK_OK(g_ipsec_la_packet_encap(&handle, SYNC, &shared_out, 1, &in[i], &mid[i], no_response));
        }
        CHECK_OK(
            g_ipsec_la_multi_packet_decap(&handle, SYNC, &shared_in, BATCH, mid_packets, out_packets, no_response));
        for (int i = 0; i < BATCH; i++) {
            CHECK_EQ(out[i].length, INNER);
            CHECK_BYTES(back[i], plain, INNER);
            uint32_t number = sequence_of(esp[i], G_IPSEC_LA_PROTOCOL_ESP);
            CHECK(number != 0 && number < seen_size);
            CHECK_EQ(__atomic_fetch_add(&seen[number], 1, __ATOMIC_RELAXED), 0);
        }
    }
    return NULL;
}

/* SAs and groups of its own, made and ended all the time. */
static void *churning_worker(void *argument) {
    uint32_t spi = 0xb0000 + (uint32_t)(uintptr_t)argument * 0x1000, length;
    uint8_t esp[INNER + 100], back[INNER];
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        struct g_ipsec_la_handle own = open_shared("churn"), target = own;
        struct g_ipsec_la_create_group_inargs group_in = {(char *)"group"};
        struct g_ipsec_la_create_group_outargs group_out;
        CHECK_OK(g_ipsec_la_create_group(&own, &group_in, SYNC, &group_out, no_response));
        if (spi % 2) memcpy(target.group_handle, group_out.g_ipsec_la_group_handle, sizeof target.group_handle);
        struct g_ipsec_la_sa sa = gcm_sa(++spi);
        struct g_ipsec_la_sa_handle out = add_sa(&target, OUTBOUND, &sa), in = add_sa(&target, INBOUND, &sa);
        CHECK_OK(encap(&target, out, plain, INNER, esp, sizeof esp, &length));
        CHECK_OK(decap(&target, in, esp, length, back, sizeof back, &length));
        CHECK_BYTES(back, plain, INNER);
        CHECK_OK(del_sa(&target, OUTBOUND, out));
        CHECK_RESULT(encap(&target, out, plain, INNER, esp, sizeof esp, &length), -EBADF);
        CHECK_OK(g_ipsec_la_close(&own));
        CHECK_RESULT(decap(&target, in, esp, length, back, sizeof back, &length), -EBADF);
    }
    return NULL;
}

/* One handle that is closed and opened while others use whatever it is now: only the results of R20 may come. */
static struct g_ipsec_la_handle moving;
static struct g_ipsec_la_sa_handle moving_sa;
static pthread_mutex_t moving_lock = PTHREAD_MUTEX_INITIALIZER;

static void *closing_worker(void *argument) {
    (void)argument;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        struct g_ipsec_la_handle next = open_shared("moving"), last;
        struct g_ipsec_la_sa sa = gcm_sa(0xc0001);
        struct g_ipsec_la_sa_handle next_sa = add_sa(&next, OUTBOUND, &sa);
        pthread_mutex_lock(&moving_lock);
        last = moving;
        moving = next;
        moving_sa = next_sa;
        pthread_mutex_unlock(&moving_lock);
        CHECK_OK(g_ipsec_la_close(&last));
    }
    return NULL;
}

static void *user_of_the_closed(void *argument) {
    uint8_t esp[INNER + 100];
    uint32_t length;
    struct g_ipsec_la_active_entry entries[16];
    int *used = (int *)argument;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED) || *used == 0) {
        pthread_mutex_lock(&moving_lock);
        struct g_ipsec_la_handle h = moving;
        struct g_ipsec_la_sa_handle sa = moving_sa;
        pthread_mutex_unlock(&moving_lock);
        for (int i = 0; i < 20; i++) {
            int32_t result = encap(&h, sa, plain, INNER, esp, sizeof esp, &length);
            if (result != 0) CHECK_RESULT(result, -EBADF);
            else (*used)++;
        }
        struct g_ipsec_la_active_list_get_inargs in = {0, 16};
        struct g_ipsec_la_active_list_get_outargs out = {0, 0, entries};
        CHECK_OK(g_ipsec_la_active_list_get(&in, &out));
    }
    return NULL;
}

static void start(pthread_t *thread, void *(*body)(void *), void *argument) {
    CHECK_EQ(pthread_create(thread, NULL, body, argument), 0);
}

int main(void) {
    uint8_t packet[INNER];
    make_packet_v4(packet, INNER);
    plain = packet;
    per_worker = loops(40000, 320) / BATCH * BATCH;
    seen_size = per_worker * WORKERS + 1;
    seen = (uint8_t *)calloc(seen_size, 1);
    handle = open_shared("threads");
    struct g_ipsec_la_sa sa = gcm_sa(0xb0000);
    shared_out = add_sa(&handle, OUTBOUND, &sa);
    shared_in = add_sa(&handle, INBOUND, &sa); /* no replay check: threads deliver in any order */
    moving = open_shared("moving");
    moving_sa = add_sa(&moving, OUTBOUND, &sa);

    pthread_t workers[WORKERS], others[5];
    int used[2] = {0, 0};
    start(&others[0], churning_worker, (void *)1);
    start(&others[1], churning_worker, (void *)2);
    start(&others[2], closing_worker, NULL);
    start(&others[3], user_of_the_closed, &used[0]);
    start(&others[4], user_of_the_closed, &used[1]);
    for (int i = 0; i < WORKERS; i++) start(&workers[i], shared_worker, NULL);
    for (int i = 0; i < WORKERS; i++) pthread_join(workers[i], NULL);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 5; i++) pthread_join(others[i], NULL);

    uint32_t numbers = 0;
    for (uint32_t i = 1; i < seen_size; i++) numbers += seen[i];
    CHECK_EQ(numbers, per_worker * WORKERS); /* each once, none left out */
    struct g_ipsec_la_sa_stats stats = statistics(&handle, OUTBOUND, shared_out);
    CHECK_EQ(stats.packets_processed, per_worker * WORKERS);
    stats = statistics(&handle, INBOUND, shared_in);
    CHECK_EQ(stats.packets_processed, per_worker * WORKERS);
    CHECK_EQ(stats.bytes_processed, (uint64_t)per_worker * WORKERS * INNER);
    CHECK_EQ(errors_counted(&stats), 0);
    CHECK(used[0] + used[1] > 0);
    free(seen);
    CHECK_OK(g_ipsec_la_close(&moving));
    close_all(&handle);
    return 0;
}
