/*
 * Asynchronous calls of many SAs, with every algorithm, a packet or a few each: the library may process them side by side,
 * and every call has to end as it would alone, also beside one that fails, or whose packets are in pieces.
 */
#include "check.h"
#include "support.h"

enum { SIZE = 300, PACKETS = 3, MAX_SAS = 128, ROUNDS = 4 };

static struct g_ipsec_la_handle handle;

/* A call in one direction, for one SA. */
struct call {
    uint8_t from[PACKETS][SIZE + 128], to[PACKETS][SIZE + 128];
    struct g_ipsec_la_data in_data[PACKETS][2], out_data[PACKETS][2];
    struct g_ipsec_la_packet in[PACKETS], out[PACKETS];
    int32_t results[PACKETS], result;
    unsigned count;
    int answered, order;
};

static struct call *sealing, *opening;
static int answers;

static void done(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    struct call *c = (struct call *)cb_arg;
    const struct g_ipsec_la_packet_outargs *out = (const struct g_ipsec_la_packet_outargs *)outargs;
    (void)cb_arg_len;
    CHECK_EQ(c->answered++, 0);
    CHECK_EQ(out->num_packets, c->count);
    c->result = out->result;
    memcpy(c->results, out->results, c->count * sizeof *c->results);
    c->order = __atomic_fetch_add(&answers, 1, __ATOMIC_RELEASE);
}

/* Every seventh packet is in two pieces, which have to be processed by themselves. */
static void lay_out(struct call *c, unsigned at, uint32_t length, int pieces) {
    uint32_t cut = pieces ? 20 : 0;
    uint32_t room = (uint32_t)sizeof c->to[at];
    struct g_ipsec_la_data in[2] = {{c->from[at], pieces ? cut : length}, {c->from[at] + cut, length - cut}};
    struct g_ipsec_la_data out[2] = {{c->to[at], pieces ? cut : room}, {c->to[at] + cut, room - cut}};
    memcpy(c->in_data[at], in, sizeof in);
    memcpy(c->out_data[at], out, sizeof out);
    c->in[at].num_sg = c->out[at].num_sg = pieces ? 2 : 1;
    c->in[at].data = c->in_data[at], c->out[at].data = c->out_data[at];
}

static uint32_t written(const struct call *c, unsigned at) {
    return c->out_data[at][0].length + (c->out[at].num_sg > 1 ? c->out_data[at][1].length : 0);
}

static uint32_t given(const struct call *c, unsigned at) {
    return c->in_data[at][0].length + (c->in[at].num_sg > 1 ? c->in_data[at][1].length : 0);
}

static void submit(struct call *c, struct g_ipsec_la_sa_handle sa, int inbound) {
    int32_t result;
    c->answered = 0;
    do {
        result = inbound ? g_ipsec_la_multi_packet_decap(&handle, ASYNC, &sa, c->count, c->in, c->out, respond(done, c))
                         : g_ipsec_la_multi_packet_encap(&handle, ASYNC, &sa, c->count, c->in, c->out, respond(done, c));
        if (result == -EAGAIN) sleep_ms(1);
    } while (result == -EAGAIN);
    CHECK_OK(result);
}

static int is_authentic(const struct algorithm *a) {
    return a->auth != G_IPSEC_LA_AUTH_ALG_NONE;
}

int main(void) {
    handle = open_shared("together");
    struct g_ipsec_la_sa_handle out_sas[MAX_SAS], in_sas[MAX_SAS];
    const unsigned step = loops(1, 5);
    CHECK(algorithm_count <= MAX_SAS);
    for (unsigned a = 0; a < algorithm_count; a++) {
        struct g_ipsec_la_sa sa = make_sa(&algorithms[a], 0x2000 + a);
        out_sas[a] = add_sa(&handle, OUTBOUND, &sa);
        sa.cmn_flags = SA_FLAGS(G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK);
        in_sas[a] = add_sa(&handle, INBOUND, &sa);
    }
    sealing = (struct call *)calloc((size_t)algorithm_count * ROUNDS, sizeof *sealing);
    opening = (struct call *)calloc((size_t)algorithm_count * ROUNDS, sizeof *opening);
    CHECK(sealing != NULL && opening != NULL);

    int count = 0;
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned a = 0; a < algorithm_count; a += step, count++) {
            struct call *c = &sealing[round * algorithm_count + a];
            c->count = 1 + (a + round) % PACKETS;
            for (unsigned i = 0; i < c->count; i++) {
                uint32_t length = round % 2 ? 20 + random_number() % (SIZE - 20) : 84;
                make_packet_v4(c->from[i], length);
                lay_out(c, i, length, (a * ROUNDS + round) % 7 == 3);
            }
            submit(c, out_sas[a], 0);
        }
    wait_for(&answers, count, "encapsulation");

    answers = 0;
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned a = 0; a < algorithm_count; a += step) {
            struct call *c = &sealing[round * algorithm_count + a], *o = &opening[round * algorithm_count + a];
            o->count = c->count;
            for (unsigned i = 0; i < c->count; i++) {
                CHECK_OK(c->results[i]);
                memcpy(o->from[i], c->to[i], written(c, i));
                lay_out(o, i, written(c, i), (a + round) % 7 == 5);
                /* The middle packet of some is forged. */
                if (i == 1 && (a + round) % 4 == 0 && is_authentic(&algorithms[a]))
                    o->from[i][written(c, i) - 1] ^= 1;
            }
            submit(o, in_sas[a], 1);
        }
    wait_for(&answers, count, "decapsulation");

    uint64_t forged = 0, refused = 0;
    for (unsigned a = 0; a < algorithm_count; a += step) {
        int before = -1;
        for (unsigned round = 0; round < ROUNDS; round++) {
            const struct call *c = &sealing[round * algorithm_count + a], *o = &opening[round * algorithm_count + a];
            CHECK(o->order > before); /* within an SA in order */
            before = o->order;
            CHECK_EQ(o->answered, 1);
            for (unsigned i = 0; i < o->count; i++) {
                const int bad = i == 1 && (a + round) % 4 == 0 && is_authentic(&algorithms[a]);
                forged += (unsigned)bad;
                CHECK_RESULT(o->results[i], bad ? -EBADMSG : 0);
                CHECK_EQ(written(o, i), bad ? 0 : given(c, i));
                CHECK_BYTES(o->to[i], c->from[i], written(o, i));
            }
        }
        struct g_ipsec_la_sa_stats stats = statistics(&handle, INBOUND, in_sas[a]);
        refused += stats.protocol_violation_errors.invalid_icv;
        CHECK_EQ(errors_counted(&stats), stats.protocol_violation_errors.invalid_icv);
    }
    CHECK(forged > 0);
    CHECK_EQ(refused, forged);
    free(sealing);
    free(opening);
    close_all(&handle);
    printf("%d calls in each direction\n", count);
    return 0;
}
