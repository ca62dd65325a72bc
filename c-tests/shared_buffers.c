/* Memory in which packets reach an accelerator without being copied: with any accelerator it is memory like any other. */
#include "check.h"
#include "support.h"

enum { COUNT = 40, SLOT = 2048, INNER = 1200 };

static void packets_go_through(struct g_ipsec_la_handle *h, uint8_t *bytes, int in_place) {
    struct g_ipsec_la_sa sa = gcm_sa(0xb001);
    struct g_ipsec_la_sa_handle out = add_sa(h, OUTBOUND, &sa), in = add_sa(h, INBOUND, &sa);
    static uint8_t original[COUNT][INNER];
    struct g_ipsec_la_data from[COUNT], to[COUNT];
    struct g_ipsec_la_packet packets[COUNT], results[COUNT];
    uint8_t *other = in_place ? bytes : bytes + COUNT * SLOT;
    for (int i = 0; i < COUNT; i++) {
        make_packet_v4(original[i], INNER);
        memcpy(bytes + i * SLOT, original[i], INNER);
        from[i].buffer = bytes + i * SLOT;
        from[i].length = INNER;
        to[i].buffer = other + i * SLOT;
        to[i].length = SLOT;
        packets[i].num_sg = results[i].num_sg = 1;
        packets[i].data = &from[i];
        results[i].data = &to[i];
    }
    CHECK_OK(g_ipsec_la_multi_packet_encap(h, SYNC, &out, COUNT, packets, results, no_response));
    for (int i = 0; i < COUNT; i++) {
        CHECK(to[i].length > INNER);
        from[i] = to[i];
        to[i].buffer = bytes + i * SLOT;
        to[i].length = SLOT;
    }
    CHECK_OK(g_ipsec_la_multi_packet_decap(h, SYNC, &in, COUNT, packets, results, no_response));
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(to[i].length, INNER);
        CHECK(memcmp(to[i].buffer, original[i], INNER) == 0);
    }
    CHECK_OK(del_sa(h, OUTBOUND, out));
    CHECK_OK(del_sa(h, INBOUND, in));
}

int main(void) {
    struct g_ipsec_la_handle h = open_shared("shared buffers"), forged = h;
    uint8_t *bytes = NULL, *others[64];
    CHECK_OK(g_ipsec_la_ext_buffer_alloc(&h, 2 * COUNT * SLOT, &bytes));
    CHECK(bytes != NULL && (uintptr_t)bytes % 8 == 0);
    for (int i = 0; i < 2 * COUNT * SLOT; i++) CHECK_EQ(bytes[i], 0);
    packets_go_through(&h, bytes, 0);
    packets_go_through(&h, bytes, 1);

    CHECK_RESULT(g_ipsec_la_ext_buffer_alloc(&h, 0, &bytes), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_buffer_alloc(&h, UINT32_MAX, &bytes), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_buffer_alloc(&h, 1, NULL), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_buffer_alloc(NULL, 1, &bytes), -EINVAL);
    forged.handle[1] ^= 1;
    CHECK_RESULT(g_ipsec_la_ext_buffer_alloc(&forged, 1, &bytes), -EBADF);
    CHECK_OK(g_ipsec_la_ext_buffer_free(NULL));
    CHECK_RESULT(g_ipsec_la_ext_buffer_free(bytes + 1), -EINVAL);

    /* More than any device has: the rest is memory like any other. */
    for (int i = 0; i < 64; i++) {
        CHECK_OK(g_ipsec_la_ext_buffer_alloc(&h, 4 << 20, &others[i]));
        others[i][0] = others[i][(4 << 20) - 1] = (uint8_t)i;
    }
    packets_go_through(&h, others[0], 0);
    packets_go_through(&h, others[63], 0);
    /* They outlive the handle. */
    close_all(&h);
    for (int i = 0; i < 64; i++) CHECK_OK(g_ipsec_la_ext_buffer_free(others[i]));
    CHECK_RESULT(g_ipsec_la_ext_buffer_free(others[0]), -EINVAL);
    bytes[0] = 1;
    CHECK_OK(g_ipsec_la_ext_buffer_free(bytes));
    CHECK_RESULT(g_ipsec_la_ext_buffer_free(bytes), -EINVAL);
    return 0;
}
