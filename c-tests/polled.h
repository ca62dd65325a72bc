/*
 * What the tests of poll mode share: a handle with an SA, and calls whose callbacks are checked: each comes once, inside of
 * g_ipsec_la_ext_poll, on the thread that polls.
 */
#ifndef GIPSEC_TESTS_POLLED_H
#define GIPSEC_TESTS_POLLED_H

#include "check.h"
#include "support.h"
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

enum { INNER = 200, EACH = INNER + 100 };

/* A handle with an SA, and where its callbacks come: on `thread`, unless there is no descriptor. */
struct user {
    struct g_ipsec_la_handle handle;
    struct g_ipsec_la_sa_handle out, in;
    int32_t event_fd;
    pthread_t thread;
    int answers;
    uint32_t seed;
    uint8_t *seen; /* the sequence numbers that were used */
};

/* A call and all its memory: each packet in so many pieces, one after the other. */
struct call {
    struct user *user;
    enum g_ipsec_la_sa_direction direction;
    uint32_t count, pieces, first;
    int answered, order, result;
    int32_t *results;
    struct g_ipsec_la_data *in_data, *out_data;
    struct g_ipsec_la_packet *in, *out;
    uint8_t *from, *to, *shared;
    struct g_ipsec_la_sa_modify_outargs modified; /* by one without packets */
    struct g_ipsec_la_sa_get_outargs got;
    struct g_ipsec_la_sa_stats stats;
    void (*then)(struct call *);
};


static inline uint32_t some(struct user *u, uint32_t below) {
    u->seed = u->seed * 1103515245u + 12345u;
    return (u->seed >> 8) % below;
}

static inline struct user open_user(uint32_t spi, int polled) {
    struct user u;
    struct g_ipsec_la_sa sa = gcm_sa(spi);
    memset(&u, 0, sizeof u);
    u.handle = open_shared("polled");
    u.out = add_sa(&u.handle, OUTBOUND, &sa);
    u.in = add_sa(&u.handle, INBOUND, &sa);
    u.event_fd = -1;
    u.thread = pthread_self();
    u.seed = spi;
    if (polled) CHECK_OK(g_ipsec_la_ext_poll_mode_enter(&u.handle, &u.event_fd));
    return u;
}

/* ---- calls ---- */

static inline void lay(struct g_ipsec_la_data *data, uint8_t *bytes, uint32_t length, uint32_t pieces) {
    for (uint32_t k = 0; k < pieces; k++, data++) {
        data->buffer = bytes + length / pieces * k;
        data->length = k + 1 < pieces ? length / pieces : length - length / pieces * k;
    }
}

/* As before it was made. */
static inline void refresh(struct call *c) {
    c->answered = 0;
    for (uint32_t i = 0; i < c->count; i++)
        lay(&c->out_data[i * c->pieces], c->to + i * EACH, EACH, c->pieces);
}

static inline struct call *new_call(struct user *u, uint32_t count, uint32_t pieces, int shared) {
    struct call *c = (struct call *)calloc(1, sizeof *c);
    CHECK(c != NULL);
    c->user = u, c->direction = OUTBOUND, c->count = count, c->pieces = pieces;
    if (count == 0) return c;
    c->results = (int32_t *)calloc(count, sizeof *c->results);
    c->in_data = (struct g_ipsec_la_data *)calloc(2 * count * pieces, sizeof *c->in_data);
    c->in = (struct g_ipsec_la_packet *)calloc(2 * count, sizeof *c->in);
    if (shared) CHECK_OK(g_ipsec_la_ext_buffer_alloc(&u->handle, 2 * count * EACH, &c->shared));
    c->from = shared ? c->shared : (uint8_t *)malloc(2 * count * EACH);
    CHECK(c->results != NULL && c->in_data != NULL && c->in != NULL && c->from != NULL);
    c->out_data = c->in_data + count * pieces, c->out = c->in + count, c->to = c->from + count * EACH;
    for (uint32_t i = 0; i < count; i++) {
        if (i == 0) make_packet_v4(c->from, INNER);
        memcpy(c->from + i * EACH, c->from, INNER);
        for (uint32_t k = 28; k < INNER; k++) c->from[i * EACH + k] = (uint8_t)some(u, 256);
        lay(&c->in_data[i * pieces], c->from + i * EACH, INNER, pieces);
        c->in[i].num_sg = c->out[i].num_sg = pieces;
        c->in[i].data = &c->in_data[i * pieces], c->out[i].data = &c->out_data[i * pieces];
    }
    refresh(c);
    return c;
}

static inline void end_call(struct call *c) {
    if (c->shared != NULL) CHECK_OK(g_ipsec_la_ext_buffer_free(c->shared));
    else free(c->from);
    free(c->results), free(c->in_data), free(c->in), free(c);
}

static inline uint32_t made(const struct call *c, uint32_t i) {
    uint32_t length = 0;
    for (uint32_t k = 0; k < c->pieces; k++) length += c->out_data[i * c->pieces + k].length;
    return length;
}

static inline void answer(struct call *c, int result) {
    struct user *u = c->user;
    CHECK_EQ(c->answered, 0);
    if (u->event_fd >= 0) CHECK(pthread_equal(pthread_self(), u->thread));
    else CHECK(!pthread_equal(pthread_self(), u->thread));
    c->result = result;
    c->order = u->answers;
    __atomic_add_fetch(&u->answers, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&c->answered, 1, __ATOMIC_RELEASE);
    if (c->then != NULL) c->then(c);
}

static inline void packets_done(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    struct call *c = (struct call *)cb_arg;
    const struct g_ipsec_la_packet_outargs *out = (const struct g_ipsec_la_packet_outargs *)outargs;
    CHECK_EQ(cb_arg_len, 7);
    CHECK_EQ(out->num_packets, c->count);
    memcpy(c->results, out->results, c->count * sizeof *c->results);
    answer(c, out->result);
}

static inline int32_t try_submit(struct call *c) {
    struct user *u = c->user;
    struct g_ipsec_la_resp_args resp = respond(packets_done, c);
    if (c->direction == INBOUND)
        return g_ipsec_la_multi_packet_decap(&u->handle, ASYNC, &u->in, c->count, c->in, c->out, resp);
    if (c->count == 1)
        return g_ipsec_la_packet_encap(&u->handle, ASYNC, &u->out, c->pieces, c->in_data, c->out_data, resp);
    return g_ipsec_la_multi_packet_encap(&u->handle, ASYNC, &u->out, c->count, c->in, c->out, resp);
}

static inline void look(struct user *u, uint32_t most) {
    int32_t ran = g_ipsec_la_ext_poll(&u->handle, most);
    CHECK(ran >= 0 && ran <= (int32_t)most);
}

/* Whether it becomes so within that time. */
static inline int is_readable(struct user *u, int milliseconds) {
    struct pollfd waiting = {u->event_fd, POLLIN, 0};
    return poll(&waiting, 1, milliseconds) == 1;
}

static inline void sleep_and_look(struct user *u) {
    if (!is_readable(u, 20000)) FAIL_AT("nobody was woken, after %d answers", u->answers);
    look(u, 16);
}

static inline void submit(struct call *c) {
    int32_t result;
    while ((result = try_submit(c)) == -EAGAIN) {
        if (c->user->event_fd >= 0) sleep_and_look(c->user);
        else sleep_ms(1);
    }
    CHECK_OK(result);
}

static inline void finish(struct user *u, int count) {
    while (u->answers < count) sleep_and_look(u);
    CHECK_EQ(u->answers, count);
}

/* When nothing is under way a look that finds nothing leaves the descriptor quiet; an interrupt may come late. */
static inline void is_quiet(struct user *u) {
    int tries = 0;
    do {
        sleep_ms(2);
        CHECK_RESULT(g_ipsec_la_ext_poll(&u->handle, 16), 0);
        CHECK(tries++ < 100);
    } while (is_readable(u, 20));
}

#endif
