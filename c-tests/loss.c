/*
 * A device that dies, falls silent, and comes back: loss DAEMON DIRECTORY. Every call that is pending is answered with
 * -ENODEV, the application is told once, nothing hangs, and an open after the device is back works.
 */
#include "check.h"
#include "support.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BATCH = 32, INNER = 1000, ROOM_EACH = 1200, THREADS = 3, PENDING = 500 };

static const char *daemon_path;
static char socket_path[200];
static pid_t daemon_pid;
static int told, answered, gone, stop_now;
static struct g_ipsec_la_handle handle;
static struct g_ipsec_la_sa_handle outbound;

static pid_t start_at(const char *path) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        execl(daemon_path, daemon_path, "--log-level", "error", "--socket", path, "--mode", "shared", (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void start_daemon(void) {
    daemon_pid = start_at(socket_path);
}

static void end_daemon(int signal) {
    CHECK(kill(daemon_pid, signal) == 0);
    if (signal != SIGKILL) return;
    CHECK(waitpid(daemon_pid, NULL, 0) == daemon_pid);
}

/* Has it do nothing, from now on. */
static void stop_daemon(void) {
    CHECK(kill(daemon_pid, SIGSTOP) == 0);
    CHECK(waitpid(daemon_pid, NULL, WUNTRACED) == daemon_pid);
}

static uint32_t available(void) {
    struct g_ipsec_la_available_list_get_inargs in = {0, 0};
    struct g_ipsec_la_available_list_get_outargs out = {0, 0, NULL};
    CHECK_OK(g_ipsec_la_available_list_get(&in, &out));
    return out.total;
}

static void wait_until_available(uint32_t count) {
    double deadline = seconds_now() + 10;
    while (available() != count) {
        if (seconds_now() > deadline) FAIL_AT("%u accelerators are available, not %u", available(), count);
        sleep_ms(5);
    }
}

static void broken(struct g_ipsec_la_handle *which, void *cb_arg) {
    CHECK(memcmp(which, &handle, sizeof handle) == 0);
    CHECK(cb_arg == &told);
    __atomic_add_fetch(&told, 1, __ATOMIC_RELEASE);
}

static void open_device(const char *name) {
    struct g_ipsec_la_open_inargs in;
    struct g_ipsec_la_open_outargs out = {&handle};
    struct g_ipsec_la_sa sa = gcm_sa(0xc001);
    memset(&in, 0, sizeof in);
    in.accl_name = (char *)name;
    in.app_identity = (char *)"loss";
    in.cb_fn = broken;
    in.cb_arg = &told;
    told = answered = gone = stop_now = 0;
    CHECK_OK(g_ipsec_la_open(G_IPSEC_LA_INSTANCE_SHARED, &in, &out));
    outbound = add_sa(&handle, OUTBOUND, &sa);
}

/* ---- traffic ---- */

struct batch {
    uint8_t input[BATCH][INNER], output[BATCH][ROOM_EACH];
    struct g_ipsec_la_data from[BATCH], to[BATCH];
    struct g_ipsec_la_packet packets[BATCH], results[BATCH];
};

static struct batch *new_batch(void) {
    struct batch *b = (struct batch *)calloc(1, sizeof *b);
    CHECK(b != NULL);
    for (int i = 0; i < BATCH; i++) {
        make_packet_v4(b->input[i], INNER);
        b->from[i].buffer = b->input[i];
        b->from[i].length = INNER;
        b->to[i].buffer = b->output[i];
        b->to[i].length = ROOM_EACH;
        b->packets[i].num_sg = b->results[i].num_sg = 1;
        b->packets[i].data = &b->from[i];
        b->results[i].data = &b->to[i];
    }
    return b;
}

/* Sends until a call fails, which it may only because the device is gone. */
static void *keep_sending(void *ended) {
    struct batch *b = new_batch();
    for (;;) {
        for (int i = 0; i < BATCH; i++) b->to[i].length = ROOM_EACH;
        int32_t results[BATCH];
        int32_t result = g_ipsec_la_ext_multi_packet_encap(&handle, SYNC, &outbound, BATCH, b->packets, b->results,
                                                           results, no_response);
        if (result != 0) {
            CHECK_RESULT(result, -ENODEV);
            break;
        }
        for (int i = 0; i < BATCH; i++) CHECK(b->to[i].length > INNER);
        CHECK(!__atomic_load_n(&stop_now, __ATOMIC_ACQUIRE));
    }
    *(double *)ended = seconds_now();
    CHECK_RESULT(encap(&handle, outbound, b->input[0], INNER, b->output[0], ROOM_EACH, &b->to[0].length), -ENODEV);
    free(b);
    return NULL;
}

static void one_answer(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    const struct g_ipsec_la_packet_outargs *out = (const struct g_ipsec_la_packet_outargs *)outargs;
    (void)cb_arg_len;
    if (out->result == 0) {
        for (unsigned i = 0; i < out->num_packets; i++) CHECK_EQ(out->results[i], 0);
    } else {
        CHECK_RESULT(out->result, -ENODEV);
        __atomic_add_fetch(&gone, 1, __ATOMIC_RELEASE);
    }
    free(cb_arg);
    __atomic_add_fetch(&answered, 1, __ATOMIC_RELEASE);
}

/* Queues calls; how many were taken. */
static int send_many(int count) {
    for (int i = 0; i < count; i++) {
        struct batch *b = new_batch();
        int32_t result = g_ipsec_la_multi_packet_encap(&handle, ASYNC, &outbound, BATCH, b->packets, b->results,
                                                       respond(one_answer, b));
        if (result != 0) {
            CHECK(result == -ENODEV || result == -EAGAIN);
            free(b);
            return i;
        }
    }
    return count;
}

static void device_is_lost(const char *how, int signal, double within) {
    pthread_t threads[THREADS];
    double ended[THREADS], start;
    check_context = how;
    open_device("ipsec0");
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, keep_sending, &ended[i]) == 0);
    int taken = send_many(PENDING);
    CHECK(taken > 0);
    sleep_ms(20);
    start = seconds_now();
    end_daemon(signal);
    taken += send_many(PENDING);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        if (ended[i] - start > within) FAIL_AT("a call ended after %.0f ms", (ended[i] - start) * 1000);
    wait_for(&told, 1, "the broken callback");
    if (seconds_now() - start > within) FAIL_AT("told after %.0f ms", (seconds_now() - start) * 1000);
    wait_for(&answered, taken, "answers");
    sleep_ms(50);
    CHECK_EQ(answered, taken);
    CHECK_EQ(told, 1);
    struct g_ipsec_la_sa sa = gcm_sa(0xc002);
    CHECK_RESULT(try_sa(&handle, INBOUND, &sa, NULL), -ENODEV);
    CHECK_OK(g_ipsec_la_close(&handle));
    CHECK_RESULT(g_ipsec_la_close(&handle), -EBADF);
}

/* ---- poll mode ---- */

static struct pollfd waiting;

static void open_polled(void) {
    open_device("ipsec0");
    waiting.events = POLLIN;
    CHECK_OK(g_ipsec_la_ext_poll_mode_enter(&handle, &waiting.fd));
}

/* Asleep until woken, and nothing else, until everything was called back; when the last was. */
static double sleep_until_answered(int taken) {
    while (answered < taken || told == 0) {
        if (poll(&waiting, 1, 10000) != 1) FAIL_AT("nobody was woken, after %d of %d answers", answered, taken);
        CHECK(g_ipsec_la_ext_poll(&handle, 64) >= 0);
    }
    double end = seconds_now();
    CHECK_RESULT(g_ipsec_la_ext_poll(&handle, 64), 0);
    CHECK_EQ(answered, taken);
    CHECK_EQ(told, 1);
    return end;
}

/* Calls are under way, and more come; whoever has them tells the application, which is asleep or about to be. */
static void polled_device_is_lost(const char *how, int signal, int calls, double within) {
    check_context = how;
    open_polled();
    int before = send_many(calls);
    CHECK(before > 0);
    if (signal == SIGSTOP) stop_daemon();
    else end_daemon(signal);
    double start = seconds_now();
    int after = send_many(calls);
    double end = sleep_until_answered(before + after);
    if (end - start > within) FAIL_AT("all were called back after %.0f ms", (end - start) * 1000);
    printf("%s: all of %d were called back after %.0f ms\n", how, before + after, (end - start) * 1000);
    CHECK(gone >= after);
    if (signal == SIGSTOP) CHECK(after > 0);
    CHECK_OK(g_ipsec_la_close(&handle));
    CHECK_RESULT(g_ipsec_la_close(&handle), -EBADF);
    if (signal == SIGSTOP) end_daemon(SIGKILL);
}

/* It is lost while nobody looks, who then closes. */
static void polled_device_is_closed(int signal) {
    check_context = "lost, and closed";
    open_polled();
    stop_daemon();
    int taken = send_many(PENDING);
    if (signal == SIGKILL) end_daemon(SIGKILL);
    CHECK_OK(g_ipsec_la_close(&handle));
    CHECK_EQ(answered, taken);
    CHECK_EQ(gone, taken);
    if (signal == SIGSTOP) end_daemon(SIGKILL);
}

/* A device is not silent because its application does something else for longer than the deadline. */
static void nobody_looks(int calls) {
    check_context = "nobody looks";
    open_polled();
    int taken = send_many(calls);
    CHECK_EQ(taken, calls);
    sleep_ms(1500);
    double end = seconds_now() + 10;
    while (answered < taken) {
        CHECK(poll(&waiting, 1, 10000) == 1);
        CHECK(g_ipsec_la_ext_poll(&handle, 64) >= 0);
        CHECK(seconds_now() < end);
    }
    CHECK_EQ(gone, 0);
    CHECK_EQ(told, 0);
    close_all(&handle);
}

static void polled_devices_are_lost(void) {
    static const int calls[] = {1, 7, PENDING};
    start_daemon();
    wait_until_available(2);
    for (int i = 0; i < 3; i++) nobody_looks(calls[i]);
    end_daemon(SIGKILL);
    for (int i = 0; i < 3; i++) {
        start_daemon();
        wait_until_available(2);
        polled_device_is_lost("killed, polled", SIGKILL, calls[i], 0.25);
        start_daemon();
        wait_until_available(2);
        polled_device_is_lost("silent, polled", SIGSTOP, calls[i], 1);
    }
    start_daemon();
    wait_until_available(2);
    polled_device_is_closed(SIGKILL);
    start_daemon();
    wait_until_available(2);
    polled_device_is_closed(SIGSTOP);
}

/* ---- one that is silent before it is opened ---- */

static void *open_silent(void *unused) {
    struct g_ipsec_la_handle silent;
    double start = seconds_now();
    (void)unused;
    CHECK_RESULT(open_named(G_IPSEC_LA_INSTANCE_SHARED, "ipsec0", "loss", &silent), -ENODEV);
    if (seconds_now() - start > 3) FAIL_AT("an open took %.1f s", seconds_now() - start);
    return NULL;
}

static void *list_silent(void *unused) {
    double start = seconds_now();
    (void)unused;
    CHECK(available() <= 2);
    if (seconds_now() - start > 5) FAIL_AT("a list took %.1f s", seconds_now() - start);
    return NULL;
}

/* Who waits for it keeps nobody from hearing that another one has died. */
static void device_is_silent(const char *directory) {
    char other_path[200];
    pthread_t opener, lister;
    check_context = "silent before the open";
    snprintf(other_path, sizeof other_path, "%s/ipsec1.sock", directory);
    unlink(other_path);
    start_daemon();
    pid_t other = start_at(other_path);
    wait_until_available(3);
    open_device("ipsec1");
    stop_daemon();
    CHECK(pthread_create(&opener, NULL, open_silent, NULL) == 0);
    sleep_ms(100);
    unlink(socket_path);
    CHECK(pthread_create(&lister, NULL, list_silent, NULL) == 0);
    sleep_ms(100);
    double start = seconds_now();
    CHECK(kill(other, SIGKILL) == 0);
    wait_for(&told, 1, "the broken callback");
    if (seconds_now() - start > 0.25) FAIL_AT("told after %.0f ms", (seconds_now() - start) * 1000);
    CHECK(pthread_join(opener, NULL) == 0 && pthread_join(lister, NULL) == 0);
    CHECK_OK(g_ipsec_la_close(&handle));
    CHECK(waitpid(other, NULL, 0) == other);
    unlink(other_path);
    end_daemon(SIGKILL);
    CHECK_EQ(available(), 1);
}

/* ---- calls that it does not answer ---- */

static int32_t get(enum g_ipsec_la_sa_get_op operation, uint32_t count) {
    struct g_ipsec_la_sa rows[2];
    struct g_ipsec_la_sa_get_inargs in = {OUTBOUND, &outbound, operation, count, 0};
    struct g_ipsec_la_sa_get_outargs out;
    memset(&out, 0, sizeof out);
    out.sa_params = rows;
    return g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL);
}

static int32_t flush(void) {
    return g_ipsec_la_sa_flush(&handle, SYNC, NULL);
}

static int32_t delete_one(void) {
    return del_sa(&handle, OUTBOUND, outbound);
}

static int32_t get_exact(void) {
    return get(G_IPSEC_LA_SA_GET_EXACT, 1);
}

static int32_t get_two(void) {
    return get(G_IPSEC_LA_SA_GET_FIRST_N, 2);
}

/* What it does afterwards concerns nobody: the call is over, and the buffers are the application's. */
static int32_t encap_without_copies(void) {
    uint8_t *from, *to;
    uint32_t length;
    CHECK_OK(g_ipsec_la_ext_buffer_alloc(&handle, 2048, &from));
    CHECK_OK(g_ipsec_la_ext_buffer_alloc(&handle, 2048, &to));
    make_packet_v4(from, INNER);
    int32_t result = encap(&handle, outbound, from, INNER, to, 2048, &length);
    memset(to, 0x11, 2048);
    CHECK(kill(daemon_pid, SIGCONT) == 0);
    wait_until_available(2);
    sleep_ms(50);
    for (int i = 0; i < 2048; i++) CHECK_EQ(to[i], 0x11);
    CHECK_OK(g_ipsec_la_ext_buffer_free(from));
    CHECK_OK(g_ipsec_la_ext_buffer_free(to));
    return result;
}

static void calls_are_not_answered(void) {
    int32_t (*const calls[])(void) = {get_exact, get_two, delete_one, flush, encap_without_copies};
    check_context = "calls that are not answered";
    start_daemon();
    for (int i = 0; i < 5; i++) {
        wait_until_available(2);
        open_device("ipsec0");
        stop_daemon();
        int32_t result = calls[i]();
        if (result != -ENODEV) FAIL_AT("call %d: %d", i, result);
        CHECK_OK(g_ipsec_la_close(&handle));
        CHECK(kill(daemon_pid, SIGCONT) == 0);
    }
    end_daemon(SIGKILL);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    daemon_path = argv[1];
    snprintf(socket_path, sizeof socket_path, "%s/ipsec0.sock", argv[2]);
    mkdir(argv[2], 0700);
    unlink(socket_path);
    setenv("G_IPSEC_LA_SOCKET_DIR", argv[2], 1);
    setenv("G_IPSEC_LA_SOFT_ACCELERATORS", "1", 1);
    setenv("G_IPSEC_LA_DEVICE_DEADLINE_MS", "500", 1);
    CHECK_EQ(available(), 1);

    device_is_silent(argv[2]);
    calls_are_not_answered();
    polled_devices_are_lost();
    /* It appears without a restart, dies, and is no longer there; its socket still is. */
    for (int round = 0; round < 3; round++) {
        start_daemon();
        wait_until_available(2);
        device_is_lost("killed", SIGKILL, 0.25);
        CHECK_EQ(available(), 1);
        CHECK_RESULT(open_named(G_IPSEC_LA_INSTANCE_SHARED, "ipsec0", "loss", &handle), -ENODEV);
    }
    /* It falls silent: the deadline, twice where a call waits for another one. */
    start_daemon();
    wait_until_available(2);
    device_is_lost("silent", SIGSTOP, 1.5);
    end_daemon(SIGKILL);
    /* It is told to end. */
    start_daemon();
    wait_until_available(2);
    device_is_lost("terminated", SIGTERM, 3);
    CHECK(waitpid(daemon_pid, NULL, 0) == daemon_pid);
    CHECK(access(socket_path, F_OK) != 0);
    CHECK_EQ(available(), 1);
    /* And is back. */
    start_daemon();
    wait_until_available(2);
    open_device("ipsec0");
    struct batch *b = new_batch();
    CHECK_OK(encap(&handle, outbound, b->input[0], INNER, b->output[0], ROOM_EACH, &b->to[0].length));
    free(b);
    close_all(&handle);
    CHECK_EQ(told, 0);
    end_daemon(SIGTERM);
    CHECK(waitpid(daemon_pid, NULL, 0) == daemon_pid);
    return 0;
}
