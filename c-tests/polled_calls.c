/*
 * Poll mode, in which a device takes packet calls from the application's own thread: the end of the queue, close, callbacks
 * that use the library, classes, and packets that cannot be processed.
 */
#include "polled.h"

enum { MAX_CALLS = 6000, LOW_SAS = 8, LARGE = 65000 };

static struct call *calls[MAX_CALLS];

static int submit_many(struct user *u, int count, uint32_t packets) {
    int taken = 0, result = 0;
    u->answers = 0;
    for (; taken < count; taken++) {
        calls[taken] = new_call(u, packets, 1, 0);
        if ((result = try_submit(calls[taken])) != 0) break;
    }
    if (result != 0) CHECK_RESULT(result, -EAGAIN);
    if (result != 0) end_call(calls[taken]);
    return taken;
}

/* All were called back, in order, with packets that are right. */
static void end_many(struct user *u, int count) {
    CHECK_EQ(u->answers, count);
    for (int i = 0; i < count; end_call(calls[i++])) {
        CHECK(calls[i]->answered);
        CHECK_EQ(calls[i]->order, i);
        CHECK_OK(calls[i]->result);
        CHECK(made(calls[i], calls[i]->count - 1) > INNER);
    }
}

static void queue_is_bounded(void) {
    struct user u = open_user(0x7003, 1);
    for (int round = 0; round < 2; round++) {
        struct g_ipsec_la_sa_stats before = statistics(&u.handle, OUTBOUND, u.out);
        int taken = submit_many(&u, MAX_CALLS, 1);
        CHECK(taken > 0 && taken < MAX_CALLS && u.answers == 0);
        CHECK_EQ(statistics(&u.handle, OUTBOUND, u.out).process_errors.submit_to_accl_failed,
                 before.process_errors.submit_to_accl_failed + 1);
        finish(&u, taken);
        is_quiet(&u);
        end_many(&u, taken);
    }
    close_all(&u.handle);
}

static void close_delivers(void) {
    for (int round = 0; round < 5; round++) {
        struct user u = open_user(0x7004, 1);
        int taken = submit_many(&u, 1000, round % 2 ? 1 : 40);
        CHECK_OK(g_ipsec_la_close(&u.handle));
        end_many(&u, taken);
    }
}

static int left;

static void submits_again(struct call *c) {
    if (left-- <= 0) return;
    refresh(c);
    submit(c);
}

static void deletes(struct call *c) {
    CHECK_OK(del_sa(&c->user->handle, OUTBOUND, c->user->out));
    CHECK_RESULT(try_submit(c), -EBADF);
}

static void closes(struct call *c) {
    CHECK_OK(g_ipsec_la_close(&c->user->handle));
    CHECK_EQ(c->user->answers, left);
}

static void callbacks_call_back(void) {
    struct user u = open_user(0x7005, 1);
    struct call *c = new_call(&u, 8, 1, 0);
    int rounds = left = (int)loops(5000, 500);
    c->then = submits_again;
    submit(c);
    finish(&u, rounds + 1);
    is_quiet(&u);
    end_call(c);
    for (int round = 0; round < 10; round++) {
        left = submit_many(&u, 500, 8);
        calls[round * 10]->then = deletes;
        finish(&u, left);
        is_quiet(&u);
        end_many(&u, left);
        struct g_ipsec_la_sa sa = gcm_sa(0x7006);
        u.out = add_sa(&u.handle, OUTBOUND, &sa);
    }
    left = submit_many(&u, 500, 8);
    calls[3]->then = closes;
    while (u.answers < left) sleep_and_look(&u);
    end_many(&u, left);
    CHECK_RESULT(g_ipsec_la_close(&u.handle), -EBADF);
}

/* ---- classes ---- */

static void mark(struct call *c, uint32_t dscp) {
    for (uint32_t i = 0; i < c->count; i++) {
        c->from[i * EACH + 1] = (uint8_t)(dscp << 2);
        fix_header(c->from + i * EACH);
    }
}

/* Calls of every class on one SA. */
static void order_whatever_the_class(void) {
    static const uint32_t classes[] = {8, 0, 26, 46};
    struct user u = open_user(0x7007, 1);
    int count = (int)loops(2000, 200);
    for (int i = 0; i < count; i++) {
        calls[i] = new_call(&u, 1 + some(&u, 40), 1, 0);
        mark(calls[i], classes[some(&u, 4)]);
    }
    for (int i = 0; i < count; i++) submit(calls[i]);
    finish(&u, count);
    uint32_t number = 1;
    for (int i = 0; i < count; i++)
        for (uint32_t p = 0; p < calls[i]->count; p++)
            CHECK_EQ(sequence_of(calls[i]->to + p * EACH, G_IPSEC_LA_PROTOCOL_ESP), number++);
    end_many(&u, count);
    close_all(&u.handle);
}

/* Much of low class, more than is taken at once, and then one urgent call on another SA. */
static void urgent_calls_overtake(void) {
    struct user u = open_user(0x7020, 1);
    struct g_ipsec_la_sa_handle sas[LOW_SAS], urgent = u.out;
    for (uint32_t i = 0; i < LOW_SAS; i++) {
        struct g_ipsec_la_sa sa = gcm_sa(0x7021 + i);
        sas[i] = add_sa(&u.handle, OUTBOUND, &sa);
    }
    int lows = (int)loops(1000, 300), overtook = 0;
    for (int attempt = 0; attempt < 20 && !overtook; attempt++) {
        u.answers = 0;
        for (int i = 0; i <= lows; i++) {
            calls[i] = new_call(&u, i < lows ? 60 : 1, 1, 0);
            mark(calls[i], i < lows ? 8 : 46);
        }
        for (int i = 0; i <= lows; i++) {
            u.out = i < lows ? sas[i % LOW_SAS] : urgent;
            submit(calls[i]);
        }
        finish(&u, lows + 1);
        overtook = calls[lows]->order < lows * 9 / 10;
        for (int i = 0; i <= lows; i++) CHECK_OK(calls[i]->result);
        for (int i = LOW_SAS; i < lows; i++) CHECK(calls[i]->order > calls[i - LOW_SAS]->order);
        for (int i = 0; i <= lows; i++) end_call(calls[i]);
    }
    CHECK(overtook);
    close_all(&u.handle);
}

/* ---- packets that cannot be processed ---- */

/* Spoils some packets of a call, so many of a kind: too little room, no IP, no segment, a large one. */
static void spoil(struct call *c, uint8_t *large, int kinds) {
    c->out_data[1].length = 100;
    memset(c->from + 3 * EACH, 0, INNER);
    c->in_data[5].buffer = large, c->in_data[5].length = LARGE;
    c->out_data[5].buffer = large + LARGE, c->out_data[5].length = LARGE + 100;
    c->in_data[6].buffer = large, c->in_data[6].length = LARGE;
    if (kinds == 2) c->in_data[7].buffer = NULL;
}

/* Each has the result that it has alone, and the others are as they should be. */
static void others_are_fine(void) {
    struct user u = open_user(0x7008, 1);
    uint8_t *large = (uint8_t *)malloc(2 * LARGE + 100);
    CHECK(large != NULL);
    make_packet_v4(large, LARGE);
    for (int round = 0; round < (int)loops(50, 6); round++) {
        for (int i = 0; i < 20; i++) {
            calls[i] = new_call(&u, i % 2 ? 40 : 9, 1, 0);
            if (i == 7) spoil(calls[i], large, 1 + round % 2);
        }
        u.answers = 0;
        for (int i = 0; i < 20; i++) submit(calls[i]);
        finish(&u, 20);
        for (int i = 0; i < 20; i++) {
            struct call *c = calls[i];
            CHECK_EQ(c->order, i);
            for (uint32_t p = 0; p < c->count; p++) {
                struct g_ipsec_la_data *out = &c->out_data[p];
                int32_t result = 0;
                uint8_t opened[LARGE];
                uint32_t back;
                if (i == 7 && (p == 1 || p == 6)) result = -EMSGSIZE;
                if (i == 7 && p == 3) result = -EPROTO;
                if (i == 7 && p == 7 && round % 2) result = -EINVAL;
                check_context = p == 5 ? "large" : p == 1 || p == 6 ? "no room" : p == 3 ? "no IP" : "";
                CHECK_RESULT(c->results[p], result);
                if (result != 0) continue;
                CHECK_OK(decap(&u.handle, u.in, out->buffer, out->length, opened, sizeof opened, &back));
                CHECK_EQ(back, c->in_data[p].length);
                CHECK_BYTES(opened, c->in_data[p].buffer, back);
            }
            CHECK((c->result != 0) == (i == 7));
            end_call(c);
        }
    }
    free(large);
    close_all(&u.handle);
}

/* Inbound: what was tampered with, and what is no packet. */
static void others_are_opened(void) {
    struct user u = open_user(0x7009, 1);
    struct call *sealed = new_call(&u, 64, 1, 1), *opened = new_call(&u, 64, 1, 1);
    submit(sealed);
    finish(&u, 1);
    opened->direction = INBOUND;
    for (int i = 0; i < 64; i++) lay(&opened->in_data[i], sealed->to + i * EACH, sealed->out_data[i].length, 1);
    sealed->to[10 * EACH + 60] ^= 1;
    opened->in_data[20].length = 30;
    opened->out_data[30].length = 10;
    submit(opened);
    finish(&u, 2);
    for (int i = 0; i < 64; i++) {
        if (i == 10) CHECK_RESULT(opened->results[i], -EBADMSG);
        else if (i == 30) CHECK_RESULT(opened->results[i], -EMSGSIZE);
        else if (i == 20) CHECK(opened->results[i] < 0);
        else CHECK_OK(opened->results[i]);
        CHECK_EQ(made(opened, (uint32_t)i), i == 10 || i == 20 || i == 30 ? 0 : INNER);
        if (opened->results[i] == 0) CHECK_BYTES(opened->to + i * EACH, sealed->from + i * EACH, INNER);
    }
    end_call(sealed);
    end_call(opened);
    close_all(&u.handle);
}

int main(void) {
    setenv("G_IPSEC_LA_DEVICE_DEADLINE_MS", "120000", 1);
    queue_is_bounded();
    close_delivers();
    callbacks_call_back();
    order_whatever_the_class();
    urgent_calls_overtake();
    others_are_fine();
    others_are_opened();
    return 0;
}
