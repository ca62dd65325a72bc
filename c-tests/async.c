/*
 * Asynchronous calls (R25, R26): 0 means queued, then the callback comes exactly once and never from inside the call;
 * order within an SA; a bounded queue; callbacks that call back into the library; close; poll mode.
 */
#include "check.h"
#include "support.h"
#include <poll.h>
#include <pthread.h>

enum { INNER = 200, SLOTS = 20000, BATCH = 8 };

static struct g_ipsec_la_handle handle;
static struct g_ipsec_la_sa_handle out_sa, in_sa;

/* One asynchronous call of up to BATCH packets and all its memory. */
struct call {
    uint8_t from[BATCH][INNER], to[BATCH][INNER + 100];
    struct g_ipsec_la_data in_data[BATCH], out_data[BATCH];
    struct g_ipsec_la_packet in[BATCH], out[BATCH];
    int answered, order, result;
    int inside; /* set while the call is being made */
};
static struct call calls[SLOTS];
static int answers;
static pthread_t caller;

static void prepare(struct call *c) {
    memset(c, 0, sizeof *c);
    for (int i = 0; i < BATCH; i++) {
        make_packet_v4(c->from[i], INNER);
        c->in_data[i].buffer = c->from[i], c->in_data[i].length = INNER;
        c->out_data[i].buffer = c->to[i], c->out_data[i].length = sizeof c->to[i];
        c->in[i].num_sg = c->out[i].num_sg = 1;
        c->in[i].data = &c->in_data[i], c->out[i].data = &c->out_data[i];
    }
}

static void packets_done(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    struct call *c = (struct call *)cb_arg;
    const struct g_ipsec_la_packet_outargs *out = (const struct g_ipsec_la_packet_outargs *)outargs;
    CHECK_EQ(cb_arg_len, 7);
    CHECK_EQ(c->answered, 0);
    CHECK(!(c->inside && pthread_equal(pthread_self(), caller)));
    CHECK(out->num_packets == 1 || out->num_packets == BATCH);
    for (uint32_t i = 0; i < out->num_packets; i++) {
        if (out->result == 0) CHECK_EQ(out->results[i], 0);
        CHECK_EQ(c->out_data[i].length != 0, out->results[i] == 0);
    }
    c->result = out->result;
    c->order = __atomic_load_n(&answers, __ATOMIC_RELAXED);
    c->answered = 1;
    __atomic_add_fetch(&answers, 1, __ATOMIC_RELEASE);
}

static int32_t submit(struct call *c, uint32_t packets) {
    c->inside = 1;
    int32_t result =
        packets == 1
            ? g_ipsec_la_packet_encap(&handle, ASYNC, &out_sa, 1, c->in_data, c->out_data, respond(packets_done, c))
            : g_ipsec_la_multi_packet_encap(&handle, ASYNC, &out_sa, packets, c->in, c->out, respond(packets_done, c));
    c->inside = 0;
    return result;
}

/* Submits until `count` calls were taken, waiting when the queue is full; everything answered, once, in order. */
static void in_order(int count, uint32_t packets) {
    static int turned_away;
    uint32_t first = 0;
    answers = 0;
    for (int i = 0; i < count; i++) {
        prepare(&calls[i]);
        int32_t result;
        while ((result = submit(&calls[i], packets)) == -EAGAIN) {
            CHECK_EQ(calls[i].out_data[0].length, sizeof calls[i].to[0]); /* nothing was taken */
            turned_away++;
            sleep_ms(1);
        }
        CHECK_OK(result);
    }
    wait_for(&answers, count, "packet callbacks");
    sleep_ms(20);
    CHECK_EQ(answers, count);
    for (int i = 0; i < count; i++) {
        CHECK_EQ(calls[i].answered, 1);
        CHECK_EQ(calls[i].result, 0);
        CHECK_EQ(calls[i].order, i);
        for (uint32_t p = 0; p < packets; p++) {
            uint8_t back[INNER];
            uint32_t length, number = sequence_of(calls[i].to[p], G_IPSEC_LA_PROTOCOL_ESP);
            if (i == 0 && p == 0) first = number;
            CHECK_EQ(number, first + (uint32_t)i * packets + p);
            CHECK_OK(decap(&handle, in_sa, calls[i].to[p], calls[i].out_data[p].length, back, sizeof back, &length));
            CHECK_BYTES(back, calls[i].from[p], INNER);
        }
    }
}

/* While the callback thread is held up, the queue must come to an end: -EAGAIN, counted, and nothing lost after. */
static int held, release_it;
static void hold(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    (void)cb_arg, (void)cb_arg_len, (void)outargs;
    __atomic_store_n(&held, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&release_it, __ATOMIC_ACQUIRE)) sleep_ms(1);
}

static void queue_is_bounded(void) {
    answers = held = release_it = 0;
    struct g_ipsec_la_resp_args resp = respond(hold, NULL);
    CHECK_OK(g_ipsec_la_capabilities_get(&handle, ASYNC, NULL, &resp));
    wait_for(&held, 1, "the holding callback");
    struct g_ipsec_la_sa_stats before = statistics(&handle, OUTBOUND, out_sa);
    int taken = 0, result = 0;
    while (taken < SLOTS && result == 0) {
        struct call *c = &calls[taken]; /* the library's until the answer */
        prepare(c);
        result = submit(c, 1);
        if (result == 0) taken++;
    }
    CHECK_RESULT(result, -EAGAIN);
    CHECK(taken > 0);
    struct g_ipsec_la_sa_stats after = statistics(&handle, OUTBOUND, out_sa);
    CHECK_EQ(after.process_errors.submit_to_accl_failed, before.process_errors.submit_to_accl_failed + 1);
    __atomic_store_n(&release_it, 1, __ATOMIC_RELEASE);
    wait_for(&answers, taken, "the packets that were taken");
    sleep_ms(20);
    CHECK_EQ(answers, taken);
    printf("the queue takes %d calls\n", taken);
}

/* ---- answers to the other calls ---- */

static int other_answers;
static struct g_ipsec_la_sa_handle added;
static int32_t last_result;

static void sa_added(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    const struct g_ipsec_la_sa_add_outargs *out = (const struct g_ipsec_la_sa_add_outargs *)outargs;
    CHECK(cb_arg == &other_answers);
    CHECK_EQ(cb_arg_len, 7);
    last_result = out->result;
    added = out->sa_handle;
    __atomic_add_fetch(&other_answers, 1, __ATOMIC_RELEASE);
}

/* Every outargs begins with the result, except those of capabilities and groups. */
static void result_only(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    CHECK_EQ(cb_arg_len, 7);
    if (outargs != NULL) memcpy(&last_result, outargs, sizeof last_result);
    __atomic_add_fetch((int *)cb_arg, 1, __ATOMIC_RELEASE);
}

static void control_calls(void) {
    struct g_ipsec_la_sa sa = gcm_sa(0x4002);
    struct g_ipsec_la_sa_add_inargs add;
    struct g_ipsec_la_sa_del_inargs del;
    struct g_ipsec_la_sa_add_outargs out;
    memset(&add, 0, sizeof add);
    memset(&del, 0, sizeof del);
    add.dir = OUTBOUND, add.num_sas = 1, add.sa_params = &sa;
    other_answers = 0;
    CHECK_OK(g_ipsec_la_sa_add(&handle, &add, ASYNC, &out, respond(sa_added, &other_answers)));
    wait_for(&other_answers, 1, "sa_add");
    CHECK_OK(last_result);
    CHECK(memcmp(&added, &out.sa_handle, sizeof added) == 0);
    del.dir = OUTBOUND, del.handle = &added;
    CHECK_OK(g_ipsec_la_sa_del(&handle, &del, ASYNC, NULL, respond(result_only, &other_answers)));
    wait_for(&other_answers, 2, "sa_del");
    CHECK_OK(last_result);
    /* A call with a bad argument is refused at once, and not answered again later. */
    CHECK(g_ipsec_la_sa_del(&handle, NULL, ASYNC, NULL, respond(result_only, &other_answers)) == -EINVAL);
    CHECK(g_ipsec_la_sa_add(&handle, &add, ASYNC, &out, no_response) == -EINVAL); /* ASYNC, and no function to call */
    CHECK(g_ipsec_la_sa_flush(&handle, ASYNC, NULL) == -EINVAL);
    sa.spi = 0;
    CHECK(g_ipsec_la_sa_add(&handle, &add, ASYNC, &out, respond(sa_added, &other_answers)) == -EINVAL);
    sleep_ms(20);
    CHECK_EQ(other_answers, 2);

    /* No answer wanted: it happens nevertheless. */
    sa.spi = 0x4003;
    CHECK_OK(g_ipsec_la_sa_add(&handle, &add, FORGET, NULL, no_response));
    struct g_ipsec_la_active_entry entries[8];
    struct g_ipsec_la_active_list_get_inargs list_in = {0, 8};
    struct g_ipsec_la_active_list_get_outargs list_out = {0, 0, entries};
    double deadline = seconds_now() + 30;
    do {
        CHECK_OK(g_ipsec_la_active_list_get(&list_in, &list_out));
        CHECK_EQ(list_out.total, 1);
        CHECK(seconds_now() < deadline);
    } while (entries[0].active_sas != 3);
    CHECK_RESULT(submit(&calls[0], 0), -EINVAL);
    prepare(&calls[0]);
    CHECK_RESULT(g_ipsec_la_packet_encap(&handle, FORGET, &out_sa, 1, calls[0].in_data, calls[0].out_data, no_response),
                 -EINVAL);
    CHECK_EQ(other_answers, 2);
}

/* What a call is given besides `out` and packets is the caller's again when it returns (header, "Memory"). */
static void inputs_are_copied(void) {
    struct g_ipsec_la_sa_add_inargs *add = (struct g_ipsec_la_sa_add_inargs *)calloc(1, sizeof *add);
    struct g_ipsec_la_sa *sa = (struct g_ipsec_la_sa *)malloc(sizeof *sa);
    uint8_t *key = (uint8_t *)malloc(20);
    *sa = gcm_sa(0x4007);
    struct g_ipsec_la_sa_handle receiver = add_sa(&handle, INBOUND, sa);
    memcpy(key, sa->crypto_params.comb_key, 20);
    sa->crypto_params.comb_key = key;
    add->dir = OUTBOUND, add->num_sas = 1, add->sa_params = sa;
    int before = other_answers;
    CHECK_OK(g_ipsec_la_sa_add(&handle, add, ASYNC, NULL, respond(sa_added, &other_answers)));
    memset(key, 0, 20);
    memset(sa, 0, sizeof *sa);
    free(key);
    free(sa);
    free(add);
    wait_for(&other_answers, before + 1, "sa_add");
    CHECK_OK(last_result);
    uint8_t packet[INNER], sealed[INNER + 100], opened[INNER];
    uint32_t length, back;
    make_packet_v4(packet, INNER);
    CHECK_OK(encap(&handle, added, packet, INNER, sealed, sizeof sealed, &length));
    CHECK_OK(decap(&handle, receiver, sealed, length, opened, sizeof opened, &back));
    CHECK_BYTES(opened, packet, INNER);
    CHECK_OK(del_sa(&handle, OUTBOUND, added));
    CHECK_OK(del_sa(&handle, INBOUND, receiver));
}

/* ---- callbacks that use the library ---- */

static struct g_ipsec_la_handle second;
static struct g_ipsec_la_sa_handle second_sa;
static int chained;

static void delete_and_close(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    (void)cb_arg, (void)cb_arg_len, (void)outargs;
    CHECK_OK(del_sa(&second, OUTBOUND, second_sa));
    struct g_ipsec_la_sa sa = gcm_sa(0x4004);
    second_sa = add_sa(&second, OUTBOUND, &sa);
    uint8_t packet[INNER], sealed[INNER + 100];
    uint32_t length;
    make_packet_v4(packet, INNER);
    CHECK_OK(encap(&second, second_sa, packet, INNER, sealed, sizeof sealed, &length));
    CHECK_OK(g_ipsec_la_close(&second));
    CHECK_RESULT(g_ipsec_la_close(&second), -EBADF);
    __atomic_add_fetch(&chained, 1, __ATOMIC_RELEASE);
}

static void callbacks_call_back(void) {
    for (int round = 1; round <= 20; round++) {
        second = open_shared("async");
        struct g_ipsec_la_sa sa = gcm_sa(0x4004);
        second_sa = add_sa(&second, OUTBOUND, &sa);
        struct call *c = &calls[0];
        prepare(c);
        CHECK_OK(g_ipsec_la_packet_encap(&second, ASYNC, &second_sa, 1, c->in_data, c->out_data,
                                         respond(delete_and_close, NULL)));
        wait_for(&chained, round, "a callback that closes its own handle");
    }
}

/* close waits until everything that was taken has been answered. */
static void close_waits(void) {
    struct g_ipsec_la_handle main_handle = handle;
    struct g_ipsec_la_sa_handle main_sa = out_sa;
    for (int round = 0; round < (int)loops(20, 3); round++) {
        handle = open_shared("closing");
        struct g_ipsec_la_sa sa = gcm_sa(0x4005);
        out_sa = add_sa(&handle, OUTBOUND, &sa);
        answers = 0;
        int taken = 0;
        for (int i = 0; i < 200; i++) {
            prepare(&calls[i]);
            if (submit(&calls[i], BATCH) == 0) taken++;
        }
        CHECK_OK(g_ipsec_la_close(&handle));
        CHECK_EQ(__atomic_load_n(&answers, __ATOMIC_ACQUIRE), taken);
    }
    /* delete_group does the same for what was submitted with the group's handle. */
    struct g_ipsec_la_create_group_inargs group_in = {(char *)"group"};
    struct g_ipsec_la_create_group_outargs group_out;
    struct g_ipsec_la_sa sa = gcm_sa(0x4005);
    handle = main_handle;
    for (int round = 0; round < (int)loops(20, 3); round++) {
        CHECK_OK(g_ipsec_la_create_group(&handle, &group_in, SYNC, &group_out, no_response));
        memcpy(handle.group_handle, group_out.g_ipsec_la_group_handle, sizeof handle.group_handle);
        out_sa = add_sa(&handle, OUTBOUND, &sa);
        answers = 0;
        for (int i = 0; i < 100; i++) {
            prepare(&calls[i]);
            CHECK_OK(submit(&calls[i], BATCH));
        }
        CHECK_OK(g_ipsec_la_delete_group(&handle));
        CHECK_EQ(__atomic_load_n(&answers, __ATOMIC_ACQUIRE), 100);
        handle = main_handle;
    }
    out_sa = main_sa;
}

/* ---- poll mode ---- */

static void close_from_poll(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    (void)cb_arg, (void)cb_arg_len, (void)outargs;
    int before = answers;
    CHECK_OK(g_ipsec_la_close(&handle)); /* delivers what is left, here and now */
    CHECK_EQ(answers, before + 20);
    chained = -1;
}

static void poll_mode(void) {
    struct g_ipsec_la_handle main_handle = handle;
    struct g_ipsec_la_sa_handle main_sa = out_sa;
    handle = open_shared("polling");
    struct g_ipsec_la_sa sa = gcm_sa(0x4006);
    out_sa = add_sa(&handle, OUTBOUND, &sa);
    int32_t event_fd = -1;
    CHECK_OK(g_ipsec_la_ext_poll_mode_enter(&handle, &event_fd));
    CHECK(event_fd >= 0);
    struct pollfd waiting = {event_fd, POLLIN, 0};
    CHECK_EQ(poll(&waiting, 1, 0), 0);
    CHECK_RESULT(g_ipsec_la_ext_poll(&handle, 10), 0);
    answers = 0;
    enum { COUNT = 50 };
    for (int i = 0; i < COUNT; i++) {
        prepare(&calls[i]);
        CHECK_OK(submit(&calls[i], BATCH));
    }
    CHECK_EQ(poll(&waiting, 1, 30000), 1);
    sleep_ms(50);
    CHECK_EQ(answers, 0); /* no callback but inside g_ipsec_la_ext_poll */
    CHECK_RESULT(g_ipsec_la_ext_poll(&handle, 1), 1);
    CHECK_EQ(answers, 1);
    while (answers < COUNT) {
        CHECK_EQ(poll(&waiting, 1, 30000), 1);
        int32_t ran = g_ipsec_la_ext_poll(&handle, 7);
        CHECK(ran >= 0 && ran <= 7);
    }
    CHECK_EQ(answers, COUNT);
    CHECK_RESULT(g_ipsec_la_ext_poll(&handle, 10), 0);
    CHECK_EQ(poll(&waiting, 1, 0), 0); /* level-triggered: quiet again */
    for (int i = 0; i < COUNT; i++) CHECK_EQ(calls[i].order, i);
    CHECK_RESULT(g_ipsec_la_ext_poll_mode_enter(NULL, &event_fd), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_poll_mode_enter(&handle, NULL), -EINVAL);
    close_all(&handle);
    CHECK_RESULT(g_ipsec_la_ext_poll(&handle, 1), -EBADF);

    /* A callback inside of poll that closes the handle, with other callbacks behind it. */
    handle = open_shared("polling");
    out_sa = add_sa(&handle, OUTBOUND, &sa);
    CHECK_RESULT(g_ipsec_la_ext_poll(&handle, 1), -EINVAL); /* not in poll mode */
    CHECK_OK(g_ipsec_la_ext_poll_mode_enter(&handle, &event_fd));
    prepare(&calls[100]);
    CHECK_OK(g_ipsec_la_packet_encap(&handle, ASYNC, &out_sa, 1, calls[100].in_data, calls[100].out_data,
                                     respond(close_from_poll, NULL)));
    for (int i = 0; i < 20; i++) {
        prepare(&calls[i]);
        CHECK_OK(submit(&calls[i], 1));
    }
    waiting.fd = event_fd;
    CHECK_EQ(poll(&waiting, 1, 30000), 1);
    CHECK(g_ipsec_la_ext_poll(&handle, 1) >= 1);
    CHECK_EQ(chained, -1);
    CHECK_RESULT(g_ipsec_la_close(&handle), -EBADF);

    /* Closing with callbacks that nobody polled for delivers them. */
    handle = open_shared("polling");
    out_sa = add_sa(&handle, OUTBOUND, &sa);
    CHECK_OK(g_ipsec_la_ext_poll_mode_enter(&handle, &event_fd));
    answers = 0;
    for (int i = 0; i < 20; i++) {
        prepare(&calls[i]);
        CHECK_OK(submit(&calls[i], 1));
    }
    CHECK_OK(g_ipsec_la_close(&handle));
    CHECK_EQ(answers, 20);
    handle = main_handle;
    out_sa = main_sa;
}

int main(void) {
    caller = pthread_self();
    handle = open_shared("async");
    struct g_ipsec_la_sa sa = gcm_sa(0x4001);
    out_sa = add_sa(&handle, OUTBOUND, &sa);
    in_sa = add_sa(&handle, INBOUND, &sa);
    in_order((int)loops(5000, 100), 1);
    in_order((int)loops(1000, 50), BATCH);
    queue_is_bounded();
    control_calls();
    inputs_are_copied();
    callbacks_call_back();
    close_waits();
    poll_mode();
    close_all(&handle);
    return 0;
}
