/*
 * R20: `result` fields hold the same number as the call returns, also when the call was refused before it did anything:
 * who looks at `out` alone must not take what was there before for a success.
 */
#include "check.h"
#include "support.h"

enum { BEFORE = 12345 };

static void add(struct g_ipsec_la_handle handle, enum g_ipsec_la_sa_direction dir, struct g_ipsec_la_sa sa,
                int32_t expected) {
    struct g_ipsec_la_sa_add_inargs in;
    struct g_ipsec_la_sa_add_outargs out;
    memset(&in, 0, sizeof in);
    in.dir = dir, in.num_sas = 1, in.sa_params = &sa;
    out.result = BEFORE;
    CHECK_RESULT(g_ipsec_la_sa_add(&handle, &in, SYNC, &out, no_response), expected);
    CHECK_RESULT(out.result, expected);
}

static void del(struct g_ipsec_la_handle handle, enum g_ipsec_la_sa_direction dir, struct g_ipsec_la_sa_handle *sa,
                int32_t expected) {
    struct g_ipsec_la_sa_del_inargs in = {dir, sa};
    struct g_ipsec_la_sa_del_outargs out = {BEFORE};
    CHECK_RESULT(g_ipsec_la_sa_del(&handle, &in, SYNC, &out, no_response), expected);
    CHECK_RESULT(out.result, expected);
}

static void mod(struct g_ipsec_la_handle handle, struct g_ipsec_la_sa_handle *sa, int what, int32_t expected) {
    struct g_ipsec_la_sa_mod_inargs in;
    struct g_ipsec_la_sa_modify_outargs out = {BEFORE};
    memset(&in, 0, sizeof in);
    in.dir = OUTBOUND, in.handle = sa, in.flags = (enum g_ipsec_la_sa_modify_flags)what;
    in.replay.flags = G_IPSEC_LA_SA_MODIFY_SEQ_NUM;
    CHECK_RESULT(g_ipsec_la_sa_mod(&handle, &in, SYNC, &out, no_response), expected);
    CHECK_RESULT(out.result, expected);
}

static void get(struct g_ipsec_la_handle handle, struct g_ipsec_la_sa_handle *sa, uint32_t count, int32_t expected) {
    struct g_ipsec_la_sa_stats stats;
    struct g_ipsec_la_sa_get_inargs in = {OUTBOUND, sa, G_IPSEC_LA_SA_GET_EXACT, count, G_IPSEC_LA_SA_GET_STATISTICS};
    struct g_ipsec_la_sa_get_outargs out = {BEFORE, NULL, &stats, NULL};
    CHECK_RESULT(g_ipsec_la_sa_get(&handle, &in, SYNC, &out, NULL), expected);
    CHECK_RESULT(out.result, expected);
}

int main(void) {
    struct g_ipsec_la_handle handle = open_shared("results"), closed = open_shared("results");
    struct g_ipsec_la_sa sa = gcm_sa(0xf001), wrong = gcm_sa(0), lacking = gcm_sa(0xf002);
    struct g_ipsec_la_sa_handle good = add_sa(&handle, OUTBOUND, &sa), stale = add_sa(&handle, OUTBOUND, &sa);
    lacking.proto = G_IPSEC_LA_PROTOCOL_IPCOMP; /* no compression algorithm is named: wrong, or not there */
    CHECK_OK(del_sa(&handle, OUTBOUND, stale));
    CHECK_OK(g_ipsec_la_close(&closed));

    add(handle, OUTBOUND, sa, 0);
    add(handle, OUTBOUND, wrong, -EINVAL);
    add(handle, INBOUND, wrong, -EINVAL);
    add(handle, (enum g_ipsec_la_sa_direction)2, sa, -EINVAL);
    add(closed, OUTBOUND, sa, -EBADF);
    add(handle, OUTBOUND, lacking, try_sa(&handle, OUTBOUND, &lacking, NULL));

    mod(handle, &good, G_IPSEC_LA_SA_MODIFY_REPLAY_INFO, 0);
    mod(handle, &good, 9, -EINVAL);
    mod(handle, NULL, G_IPSEC_LA_SA_MODIFY_REPLAY_INFO, -EINVAL);
    mod(handle, &stale, G_IPSEC_LA_SA_MODIFY_REPLAY_INFO, -EBADF);
    mod(closed, &good, G_IPSEC_LA_SA_MODIFY_REPLAY_INFO, -EBADF);

    get(handle, &good, 1, 0);
    get(handle, &good, 0, -EINVAL);
    get(handle, NULL, 1, -EINVAL);
    get(handle, &stale, 1, -EBADF);
    get(closed, &good, 1, -EBADF);

    del(handle, INBOUND, &good, -ENOENT);
    del(handle, OUTBOUND, NULL, -EINVAL);
    del(handle, OUTBOUND, &stale, -EBADF);
    del(closed, OUTBOUND, &good, -EBADF);
    del(handle, OUTBOUND, &good, 0);
    del(handle, OUTBOUND, &good, -EBADF);
    close_all(&handle);
    return 0;
}
