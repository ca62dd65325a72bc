/*
 * Poll mode, in which a device takes packet calls from the application's own thread: order within an SA whoever processes
 * its calls, an application that sleeps and is woken, one that never sleeps, and others on the same accelerator.
 */
#include "polled.h"

enum { STEPS = 40, UNDER_WAY = 64, NUMBERS = 1 << 20 };

/* ---- order ---- */

static void control_done(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    int32_t result;
    CHECK_EQ(cb_arg_len, 7);
    memcpy(&result, outargs, sizeof result);
    answer((struct call *)cb_arg, result);
}

static void set_number(struct call *c, uint32_t number) {
    struct g_ipsec_la_sa_mod_inargs in;
    memset(&in, 0, sizeof in);
    in.dir = OUTBOUND, in.handle = &c->user->out, in.flags = G_IPSEC_LA_SA_MODIFY_REPLAY_INFO;
    in.replay.flags = G_IPSEC_LA_SA_MODIFY_SEQ_NUM;
    in.replay.seq_num = number;
    CHECK_OK(g_ipsec_la_sa_mod(&c->user->handle, &in, ASYNC, &c->modified, respond(control_done, c)));
}

static void get_statistics(struct call *c) {
    struct g_ipsec_la_sa_get_inargs in = {OUTBOUND, &c->user->out, G_IPSEC_LA_SA_GET_EXACT, 1, G_IPSEC_LA_SA_GET_STATISTICS};
    struct g_ipsec_la_resp_args resp = respond(control_done, c);
    c->got.stats = &c->stats;
    CHECK_OK(g_ipsec_la_sa_get(&c->user->handle, &in, ASYNC, &c->got, &resp));
}

/* What was encapsulated, the same way back: every other one in pieces. */
static void decapsulates(struct user *u, struct call **calls, int count) {
    struct call *back[STEPS];
    u->answers = 0;
    for (int i = 0; i < count; i++) {
        struct call *c = calls[i], *b = back[i] = new_call(u, c->count, i % 2 ? 2 : 1, i % 3 == 0);
        if (c->count == 0) continue;
        b->direction = INBOUND;
        for (uint32_t p = 0; p < c->count; p++) lay(&b->in_data[p * b->pieces], c->to + p * EACH, made(c, p), b->pieces);
        submit(b);
    }
    int order = 0;
    for (int i = 0; i < count; i++) order += calls[i]->count != 0;
    finish(u, order);
    order = 0;
    for (int i = 0; i < count; end_call(back[i++])) {
        if (calls[i]->count == 0) continue;
        CHECK_OK(back[i]->result);
        CHECK_EQ(back[i]->order, order++);
        for (uint32_t p = 0; p < calls[i]->count; p++) {
            CHECK_EQ(made(back[i], p), INNER);
            CHECK_BYTES(back[i]->to + p * EACH, calls[i]->from + p * EACH, INNER);
        }
    }
}

static void order_whoever_processes(void) {
    static const uint32_t sizes[] = {1, 8, 64, 500};
    struct user u = open_user(0x7001, 1);
    uint32_t number = 0, processed = 0;
    for (unsigned round = 0; round < loops(40, 5); round++) {
        struct call *calls[STEPS];
        u.answers = 0;
        for (int i = 0; i < STEPS; i++) {
            uint32_t kind = some(&u, 10), size = kind < 2 ? 0 : sizes[some(&u, 4)];
            struct call *c = calls[i] = new_call(&u, size, kind < 4 ? 3 : 1, kind == 9);
            if (kind == 0) set_number(c, number += 1000);
            if (kind == 1) get_statistics(c);
            c->first = kind == 1 ? processed : number + 1;
            number += size, processed += size;
            if (size != 0) submit(c);
            if (some(&u, 4) == 0) look(&u, 1 + some(&u, 8));
        }
        finish(&u, STEPS);
        is_quiet(&u);
        CHECK_EQ(u.answers, STEPS);
        for (int i = 0; i < STEPS; i++) {
            struct call *c = calls[i];
            CHECK(c->answered);
            CHECK_EQ(c->order, i);
            CHECK_OK(c->result);
            if (c->got.stats != NULL) CHECK_EQ(c->stats.packets_processed, c->first);
            for (uint32_t p = 0; p < c->count; p++) {
                CHECK_OK(c->results[p]);
                CHECK_EQ(sequence_of(c->to + p * EACH, G_IPSEC_LA_PROTOCOL_ESP), c->first + p);
            }
        }
        decapsulates(&u, calls, STEPS);
        for (int i = 0; i < STEPS; i++) end_call(calls[i]);
    }
    close_all(&u.handle);
}

/* ---- sleeping, and not sleeping; alone, and with others ---- */

enum way { SLEEPS, DAWDLES, IS_BUSY, IS_CALLED };

static uint8_t packet[INNER];

static void use_number(struct user *u, const uint8_t *sealed) {
    uint32_t number = sequence_of(sealed, G_IPSEC_LA_PROTOCOL_ESP);
    CHECK(number > 0 && number < NUMBERS);
    CHECK_EQ(__atomic_exchange_n(&u->seen[number], 1, __ATOMIC_RELAXED), 0);
}

static void one_synchronous(struct user *u) {
    uint8_t sealed[EACH];
    uint32_t length;
    CHECK_OK(encap(&u->handle, u->out, packet, INNER, sealed, sizeof sealed, &length));
    use_number(u, sealed);
}

/* Without ever sleeping; but valgrind, where loops are small, has one thread run at a time, and would never change it. */
static void look_busily(struct user *u) {
    static const unsigned few = 256;
    for (unsigned i = 0; i < few; i++) look(u, 16);
    if (loops(0, 1) != 0) usleep(1);
}

/* Calls, so many under way at a time, with a synchronous one now and then; each comes back, in order. */
static void traffic(struct user *u, int count, int under_way, enum way way, uint32_t synchronous) {
    struct call *calls[UNDER_WAY];
    int sent = 0, checked = 0;
    uint32_t last = 0, all = 0;
    u->thread = pthread_self();
    u->answers = 0;
    for (int i = 0; i < under_way; i++) calls[i] = new_call(u, i % 3 ? 1 : 8, i % 16 == 5 ? 2 : 1, 0);
    struct g_ipsec_la_sa_stats before = statistics(&u->handle, OUTBOUND, u->out);
    while (checked < count) {
        for (; sent < count && sent - checked < under_way; sent++) {
            if (way == DAWDLES) usleep(some(u, 100));
            refresh(calls[sent % under_way]);
            submit(calls[sent % under_way]);
            if (synchronous != 0 && some(u, synchronous) == 0) one_synchronous(u), all++;
        }
        if (way == DAWDLES) usleep(some(u, 200));
        if (way == SLEEPS || way == DAWDLES) sleep_and_look(u);
        else if (way == IS_BUSY) look_busily(u);
        else wait_for(&calls[checked % under_way]->answered, 1, "a callback");
        for (; checked < sent && __atomic_load_n(&calls[checked % under_way]->answered, __ATOMIC_ACQUIRE); checked++) {
            struct call *c = calls[checked % under_way];
            CHECK_OK(c->result);
            CHECK_EQ(c->order, checked);
            for (uint32_t p = 0; p < c->count; p++, all++) {
                CHECK(sequence_of(c->to + p * EACH, G_IPSEC_LA_PROTOCOL_ESP) > last);
                last = sequence_of(c->to + p * EACH, G_IPSEC_LA_PROTOCOL_ESP);
                use_number(u, c->to + p * EACH);
            }
        }
    }
    CHECK(statistics(&u->handle, OUTBOUND, u->out).packets_processed >= before.packets_processed + all);
    for (int i = 0; i < under_way; i++) end_call(calls[i]);
}

static void sleeps_and_is_woken(void) {
    struct user u = open_user(0x7002, 1);
    u.seen = (uint8_t *)calloc(1, NUMBERS);
    CHECK(u.seen != NULL);
    double start = seconds_now();
    traffic(&u, (int)loops(20000, 3000), 1, SLEEPS, 0);
    is_quiet(&u);
    printf("%.1f us a call, asleep\n", (seconds_now() - start) * 1e6 / loops(20000, 3000));
    traffic(&u, (int)loops(20000, 3000), UNDER_WAY, SLEEPS, 0);
    is_quiet(&u);
    traffic(&u, (int)loops(5000, 500), 1, DAWDLES, 0);
    traffic(&u, (int)loops(5000, 500), UNDER_WAY, DAWDLES, 0);
    is_quiet(&u);
    traffic(&u, (int)loops(20000, 1000), 1, IS_BUSY, 0);
    traffic(&u, (int)loops(20000, 1000), UNDER_WAY, IS_BUSY, 0);
    traffic(&u, (int)loops(5000, 500), 7, SLEEPS, 3);
    is_quiet(&u);
    free(u.seen);
    close_all(&u.handle);
}

struct other {
    struct user *user;
    enum way way;
    int under_way;
};
static int stop_now;

static void *sends(void *arg) {
    struct other *o = (struct other *)arg;
    traffic(o->user, (int)loops(10000, 500), o->under_way, o->way, 20);
    return NULL;
}

static void *calls_synchronously(void *arg) {
    while (!__atomic_load_n(&stop_now, __ATOMIC_ACQUIRE)) {
        one_synchronous((struct user *)arg);
        usleep(20);
    }
    return NULL;
}

/* Nor is there anything to look for when others, who wait for what they have asked, were woken. */
static void synchronous_calls_leave_it_quiet(void) {
    struct user u = open_user(0x7030, 1);
    pthread_t threads[4];
    u.seen = (uint8_t *)calloc(1, NUMBERS);
    CHECK(u.seen != NULL);
    stop_now = 0;
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, calls_synchronously, &u) == 0);
    sleep_ms((int)loops(500, 200));
    __atomic_store_n(&stop_now, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    is_quiet(&u);
    free(u.seen);
    close_all(&u.handle);
}

static void others_at_the_same_time(void) {
    struct user users[4];
    struct other others[4];
    pthread_t threads[4], synchronous;
    for (int i = 0; i < 4; i++) {
        users[i] = open_user(0x7010 + (uint32_t)i, i != 3);
        users[i].seen = (uint8_t *)calloc(1, NUMBERS);
        CHECK(users[i].seen != NULL);
        struct other o = {&users[i], i == 3 ? IS_CALLED : i == 2 ? DAWDLES : SLEEPS, i == 1 ? 2 : 32};
        others[i] = o;
    }
    stop_now = 0;
    CHECK(pthread_create(&synchronous, NULL, calls_synchronously, &users[0]) == 0);
    for (int i = 1; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, sends, &others[i]) == 0);
    sends(&others[0]);
    for (int i = 1; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    __atomic_store_n(&stop_now, 1, __ATOMIC_RELEASE);
    CHECK(pthread_join(synchronous, NULL) == 0);
    uint64_t used = 0;
    for (int i = 0; i < NUMBERS; i++) used += users[0].seen[i];
    CHECK_EQ(statistics(&users[0].handle, OUTBOUND, users[0].out).packets_processed, used);
    for (int i = 0; i < 4; i++) {
        users[i].thread = pthread_self();
        if (i != 3) is_quiet(&users[i]);
        close_all(&users[i].handle);
        free(users[i].seen);
    }
}

int main(void) {
    /* Nobody is woken for a deadline here. */
    setenv("G_IPSEC_LA_DEVICE_DEADLINE_MS", "120000", 1);
    make_packet_v4(packet, INNER);
    order_whoever_processes();
    sleeps_and_is_woken();
    synchronous_calls_leave_it_quiet();
    others_at_the_same_time();
    return 0;
}
