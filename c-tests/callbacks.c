/* Callbacks that end what is around them: another handle with work of its own, their own group, their own SA (R23, R25). */
#include "check.h"
#include "support.h"

enum { INNER = 200, PENDING = 50 };

struct job {
    struct g_ipsec_la_data in, out;
    uint8_t from[INNER], to[INNER + 100];
};
static struct job jobs[PENDING + 1];
static struct g_ipsec_la_handle mine, other;
static struct g_ipsec_la_sa_handle my_sa, other_sa;
static int others_answered, ended;

static void submit(struct g_ipsec_la_handle *handle, struct g_ipsec_la_sa_handle sa, struct job *job,
                   g_ipsec_la_resp_cbfn function) {
    make_packet_v4(job->from, INNER);
    job->in.buffer = job->from, job->in.length = INNER;
    job->out.buffer = job->to, job->out.length = sizeof job->to;
    CHECK_OK(g_ipsec_la_packet_encap(handle, ASYNC, &sa, 1, &job->in, &job->out, respond(function, job)));
}

static int32_t result_of(void *outargs) {
    return ((struct g_ipsec_la_packet_outargs *)outargs)->result;
}

static void other_answered(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    (void)cb_arg, (void)cb_arg_len;
    CHECK_OK(result_of(outargs));
    __atomic_add_fetch(&others_answered, 1, __ATOMIC_RELEASE);
}

static void close_other(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    (void)cb_arg, (void)cb_arg_len;
    CHECK_OK(result_of(outargs));
    CHECK_OK(g_ipsec_la_close(&other));
    CHECK_EQ(__atomic_load_n(&others_answered, __ATOMIC_ACQUIRE), PENDING); /* delivered before the close returned */
    __atomic_add_fetch(&ended, 1, __ATOMIC_RELEASE);
}

/* The thread that calls back is the one that waits: it has to deliver what it waits for. */
static void another_handle(const char *accelerator) {
    for (unsigned round = 0; round < loops(30, 3); round++) {
        struct g_ipsec_la_sa sa = gcm_sa(0x4101);
        CHECK_OK(open_named(G_IPSEC_LA_INSTANCE_SHARED, "soft0", "mine", &mine));
        CHECK_OK(open_named(G_IPSEC_LA_INSTANCE_SHARED, accelerator, "other", &other));
        my_sa = add_sa(&mine, OUTBOUND, &sa);
        other_sa = add_sa(&other, OUTBOUND, &sa);
        others_answered = ended = 0;
        /* Before, in the middle of, and after the other's work. */
        for (unsigned i = 0; i < PENDING; i++) submit(&other, other_sa, &jobs[i], other_answered);
        submit(&mine, my_sa, &jobs[PENDING], close_other);
        wait_for(&ended, 1, "a callback that closes another handle");
        CHECK_RESULT(g_ipsec_la_close(&other), -EBADF);
        close_all(&mine);
    }
}

static void delete_own_group(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    (void)cb_arg, (void)cb_arg_len;
    CHECK_OK(result_of(outargs));
    CHECK_OK(g_ipsec_la_delete_group(&mine));
    __atomic_add_fetch(&ended, 1, __ATOMIC_RELEASE);
}

static void own_group(void) {
    for (unsigned round = 0; round < loops(30, 3); round++) {
        struct g_ipsec_la_sa sa = gcm_sa(0x4102);
        struct g_ipsec_la_create_group_inargs in = {(char *)"group"};
        struct g_ipsec_la_create_group_outargs out;
        struct g_ipsec_la_handle whole = mine = open_shared("mine");
        CHECK_OK(g_ipsec_la_create_group(&whole, &in, SYNC, &out, no_response));
        memcpy(mine.group_handle, out.g_ipsec_la_group_handle, sizeof mine.group_handle);
        my_sa = add_sa(&mine, OUTBOUND, &sa);
        others_answered = ended = 0;
        submit(&mine, my_sa, &jobs[PENDING], delete_own_group);
        /* Some of these may be submitted after the group is gone. */
        for (unsigned i = 0; i < PENDING; i++) {
            struct job *job = &jobs[i];
            make_packet_v4(job->from, INNER);
            job->in.buffer = job->from, job->in.length = INNER;
            job->out.buffer = job->to, job->out.length = sizeof job->to;
            int32_t result = g_ipsec_la_packet_encap(&mine, ASYNC, &my_sa, 1, &job->in, &job->out,
                                                     respond(other_answered, job));
            /* R20 has three names for a group that is just ending: it is gone, its SA is gone, it takes nothing more. */
            if (result != 0) {
                CHECK(result == -EBADF || result == -ENOENT || result == -EAGAIN);
                __atomic_add_fetch(&others_answered, 1, __ATOMIC_RELEASE);
            }
        }
        wait_for(&ended, 1, "a callback that deletes its group");
        wait_for(&others_answered, PENDING, "answers or refusals");
        close_all(&whole);
    }
}

static void delete_own_sa(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    (void)cb_arg, (void)cb_arg_len;
    CHECK_OK(result_of(outargs));
    CHECK_OK(del_sa(&mine, OUTBOUND, my_sa));
    __atomic_add_fetch(&ended, 1, __ATOMIC_RELEASE);
}

/* Packets that were taken before an SA was deleted are processed; later ones find no SA. */
static void own_sa(void) {
    mine = open_shared("mine");
    for (unsigned round = 0; round < loops(30, 3); round++) {
        struct g_ipsec_la_sa sa = gcm_sa(0x4103);
        my_sa = add_sa(&mine, OUTBOUND, &sa);
        others_answered = ended = 0;
        for (unsigned i = 0; i < PENDING; i++) submit(&mine, my_sa, &jobs[i], other_answered);
        submit(&mine, my_sa, &jobs[PENDING], delete_own_sa);
        wait_for(&ended, 1, "a callback that deletes its SA");
        CHECK_EQ(others_answered, PENDING);
        uint8_t packet[INNER], sealed[INNER + 100];
        uint32_t length;
        make_packet_v4(packet, INNER);
        CHECK_RESULT(encap(&mine, my_sa, packet, INNER, sealed, sizeof sealed, &length), -EBADF);
    }
    close_all(&mine);
}

int main(void) {
    another_handle("soft0"); /* the same callback thread */
    another_handle("soft1"); /* another one */
    own_group();
    own_sa();
    return 0;
}
