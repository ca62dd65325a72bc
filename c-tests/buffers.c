/* Segments: scatter-gather, in place, outputs of the exact size and one byte less, overlaps, and lengths on return
 * (R27). */
#include "check.h"
#include "support.h"

enum { INNER = 700, SENTINEL = 0xa5 };

static struct g_ipsec_la_handle handle;
static struct g_ipsec_la_sa_handle out_sa, in_sa;
static uint8_t packet[ROOM], sealed[ROOM], opened[ROOM];

static int32_t pass(int inbound, uint32_t segments, struct g_ipsec_la_data *in, struct g_ipsec_la_data *out) {
    return inbound ? g_ipsec_la_packet_decap(&handle, SYNC, &in_sa, segments, in, out, no_response)
                   : g_ipsec_la_packet_encap(&handle, SYNC, &out_sa, segments, in, out, no_response);
}

/* Cuts `length` bytes at `from` into `count` pieces, some of them empty. */
static void cut(struct g_ipsec_la_data *pieces, uint32_t count, uint8_t *from, uint32_t length) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n = i + 1 == count ? length - at : random_number() % ((length - at) / (count - i) * 2 + 1);
        if (n > length - at) n = length - at;
        pieces[i].buffer = from + at;
        pieces[i].length = n;
        at += n;
    }
}

/* Filled in order: all pieces before the last used one are full, those behind it have length 0. */
static uint32_t total(const struct g_ipsec_la_data *out, const struct g_ipsec_la_data *room, uint32_t count) {
    uint32_t sum = 0, ended = 0;
    for (uint32_t i = 0; i < count; i++) {
        CHECK(out[i].buffer == room[i].buffer);
        CHECK(out[i].length <= room[i].length);
        if (ended) CHECK_EQ(out[i].length, 0);
        if (out[i].length < room[i].length) ended = 1;
        sum += out[i].length;
    }
    return sum;
}

static void scatter_gather(uint32_t segments) {
    static struct g_ipsec_la_data in[1024], out[1024], room[1024];
    make_packet_v4(packet, INNER + segments);
    uint32_t inner = INNER + segments;
    cut(in, segments, packet, inner);
    cut(out, segments, sealed, inner + 100);
    memcpy(room, out, sizeof room);
    CHECK_OK(pass(0, segments, in, out));
    uint32_t length = total(out, room, segments);
    CHECK(length > inner);

    cut(in, segments, sealed, length);
    cut(out, segments, opened, inner + 30);
    memcpy(room, out, sizeof room);
    CHECK_OK(pass(1, segments, in, out));
    CHECK_EQ(total(out, room, segments), inner);
    CHECK_BYTES(opened, packet, inner);
}

/* R27: input and output are the very same segments. The output's `length` is the room, so it may be more than the
 * input's. */
static void in_place(void) {
    make_packet_v4(packet, INNER);
    memcpy(sealed, packet, INNER);
    struct g_ipsec_la_data in = {sealed, INNER}, out = {sealed, INNER + 100};
    CHECK_OK(pass(0, 1, &in, &out));
    CHECK(out.length > INNER);
    CHECK(memcmp(sealed + 60, packet + 60, 100) != 0);
    in.length = out.length;
    CHECK_OK(pass(1, 1, &in, &out));
    CHECK_EQ(out.length, INNER);
    CHECK_BYTES(sealed, packet, INNER);

    /* The very same array, too: bytes behind the packet's IP length are room and not packet. */
    struct g_ipsec_la_data same = {sealed, INNER + 100};
    CHECK_OK(pass(0, 1, &same, &same));
    CHECK(same.length > INNER);
    CHECK_OK(pass(1, 1, &same, &same));
    CHECK_EQ(same.length, INNER);
    CHECK_BYTES(sealed, packet, INNER);

    /* In place without room behind the packet: it cannot grow, and stays as it was. */
    struct g_ipsec_la_data tight = {sealed, INNER}, grown = {sealed, INNER};
    CHECK_RESULT(pass(0, 1, &tight, &grown), -EMSGSIZE);
    CHECK_EQ(grown.length, 0);
    CHECK_BYTES(sealed, packet, INNER);
}

/* Several pieces in place, cut alike. */
static void in_place_scattered(void) {
    struct g_ipsec_la_data in[5], out[5], room[5];
    make_packet_v4(packet, INNER);
    memcpy(sealed, packet, INNER);
    cut(in, 5, sealed, INNER + 120);
    memcpy(out, in, sizeof out);
    memcpy(room, in, sizeof room);
    CHECK_OK(pass(0, 5, in, out));
    uint32_t length = total(out, room, 5);
    CHECK(length > INNER);
    memcpy(in, room, sizeof in);
    memcpy(out, in, sizeof out);
    CHECK_OK(pass(1, 5, in, out));
    CHECK_EQ(total(out, room, 5), INNER);
    CHECK_BYTES(sealed, packet, INNER);
}

static void untouched(const uint8_t *from, uint32_t length) {
    for (uint32_t i = 0; i < length; i++)
        if (from[i] != SENTINEL) FAIL_AT("byte %" PRIu32 " of %" PRIu32 " was written", i, length);
}

static void exact_and_short(void) {
    uint32_t length, again;
    for (uint32_t inner = 20; inner < 120; inner++) {
        make_packet_v4(packet, inner);
        CHECK_OK(encap(&handle, out_sa, packet, inner, sealed, ROOM, &length));
        memset(sealed, SENTINEL, length + 64);
        CHECK_RESULT(encap(&handle, out_sa, packet, inner, sealed, length - 1, &again), -EMSGSIZE);
        untouched(sealed, length + 64);
        CHECK_OK(encap(&handle, out_sa, packet, inner, sealed, length, &again));
        CHECK_EQ(again, length);
        untouched(sealed + length, 64);

        memset(opened, SENTINEL, inner + 64);
        CHECK_RESULT(decap(&handle, in_sa, sealed, length, opened, inner - 1, &again), -EMSGSIZE);
        untouched(opened, inner + 64);
        CHECK_RESULT(decap(&handle, in_sa, sealed, length, opened, 0, &again), -EMSGSIZE);
        /* A packet without room was not taken: it is no replay. */
        CHECK_OK(decap(&handle, in_sa, sealed, length, opened, inner, &again));
        CHECK_EQ(again, inner);
        untouched(opened + inner, 64);
        CHECK_BYTES(opened, packet, inner);
    }
}

static void too_large(void) {
    uint32_t length;
    make_packet_v4(packet, MAX_PACKET);
    CHECK_RESULT(encap(&handle, out_sa, packet, MAX_PACKET, sealed, ROOM, &length), -EMSGSIZE);
    static uint8_t roomy[2 * ROOM];
    CHECK_RESULT(encap(&handle, out_sa, packet, MAX_PACKET, roomy, sizeof roomy, &length), -EMSGSIZE);
}

/* What a caller can get wrong about segments is -EINVAL, and no statistic of the SA. */
static void bad_segments(void) {
    make_packet_v4(packet, INNER);
    struct g_ipsec_la_data in = {packet, INNER}, out = {sealed, ROOM}, nowhere = {NULL, ROOM}, nothing = {NULL, INNER};
    struct g_ipsec_la_sa_stats before = statistics(&handle, OUTBOUND, out_sa);
    CHECK_RESULT(pass(0, 0, &in, &out), -EINVAL);
    CHECK_RESULT(pass(0, 1, NULL, &out), -EINVAL);
    CHECK_RESULT(pass(0, 1, &in, NULL), -EINVAL);
    CHECK_RESULT(pass(0, 1, &in, &nowhere), -EINVAL);
    out.length = ROOM;
    CHECK_RESULT(pass(0, 1, &nothing, &out), -EINVAL);
    struct g_ipsec_la_data overlap = {packet + 100, ROOM - 100};
    CHECK_RESULT(pass(0, 1, &in, &overlap), -EINVAL);
    struct g_ipsec_la_data two_in[2] = {{packet, 300}, {packet + 300, INNER - 300}};
    struct g_ipsec_la_data two_out[2] = {{sealed, 500}, {sealed + 400, 1000}};
    CHECK_RESULT(pass(0, 2, two_in, two_out), -EINVAL);
    static struct g_ipsec_la_data many_in[1025], many_out[1025];
    for (int i = 0; i < 1025; i++) {
        many_in[i].buffer = packet + i;
        many_out[i].buffer = sealed + i;
        many_in[i].length = many_out[i].length = 1;
    }
    CHECK_RESULT(pass(0, 1025, many_in, many_out), -EINVAL);
    CHECK_RESULT(pass(0, UINT32_MAX, many_in, many_out), -EINVAL);
    struct g_ipsec_la_sa_stats after = statistics(&handle, OUTBOUND, out_sa);
    CHECK_EQ(after.packets_processed, before.packets_processed);
    CHECK_EQ(errors_counted(&after), errors_counted(&before));
}

/* One call, packets of several sizes; one of them cannot be processed and the others are not disturbed. */
static void multi(void) {
    enum { COUNT = 40, WRONG = 17 };
    static uint8_t plain[COUNT][1500], esp[COUNT][1600], back[COUNT][1500];
    struct g_ipsec_la_data in_data[COUNT], esp_data[COUNT], out_data[COUNT];
    struct g_ipsec_la_packet in[COUNT], mid[COUNT], out[COUNT];
    int32_t results[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t length = 40 + i * 30;
        make_packet_v4(plain[i], length);
        in_data[i].buffer = plain[i], in_data[i].length = length;
        esp_data[i].buffer = esp[i], esp_data[i].length = sizeof esp[i];
        out_data[i].buffer = back[i], out_data[i].length = sizeof back[i];
        in[i].num_sg = mid[i].num_sg = out[i].num_sg = 1;
        in[i].data = &in_data[i], mid[i].data = &esp_data[i], out[i].data = &out_data[i];
    }
    plain[WRONG][0] = 0x35; /* IP version 3 */
    CHECK_RESULT(g_ipsec_la_ext_multi_packet_encap(&handle, SYNC, &out_sa, COUNT, in, mid, results, no_response),
                 -EPROTO);
    for (int i = 0; i < COUNT; i++) {
        CHECK_RESULT(results[i], i == WRONG ? -EPROTO : 0);
        if (i == WRONG) CHECK_EQ(esp_data[i].length, 0);
        else CHECK(esp_data[i].length > in_data[i].length);
    }
    esp_data[WRONG].buffer = plain[WRONG], esp_data[WRONG].length = 600; /* still no packet */
    CHECK_RESULT(g_ipsec_la_multi_packet_decap(&handle, SYNC, &in_sa, COUNT, mid, out, no_response), -EPROTO);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(out_data[i].length, i == WRONG ? 0 : in_data[i].length);
        if (i != WRONG) CHECK_BYTES(back[i], plain[i], in_data[i].length);
    }
    CHECK_RESULT(g_ipsec_la_multi_packet_encap(&handle, SYNC, &out_sa, COUNT, NULL, mid, no_response), -EINVAL);
    CHECK_RESULT(g_ipsec_la_multi_packet_encap(&handle, SYNC, &out_sa, COUNT, in, NULL, no_response), -EINVAL);
    CHECK_RESULT(g_ipsec_la_multi_packet_encap(&handle, SYNC, &out_sa, 0, in, mid, no_response), -EINVAL);
}

int main(void) {
    handle = open_shared("buffers");
    struct g_ipsec_la_sa sa = gcm_sa(0x2001);
    out_sa = add_sa(&handle, OUTBOUND, &sa);
    sa.cmn_flags = G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK;
    in_sa = add_sa(&handle, INBOUND, &sa);
    for (uint32_t segments = 1; segments <= 40; segments++) scatter_gather(segments);
    scatter_gather(1024);
    in_place();
    in_place_scattered();
    exact_and_short();
    too_large();
    bad_segments();
    multi();
    close_all(&handle);
    return 0;
}
