/*
 * Buffers at every alignment, across pages, and next to pages that nobody may touch, whole batches of them: a byte read or
 * written too many ends the test. And a forged packet in the middle of a batch, which leaves nothing behind and the others
 * alone.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "support.h"

enum { COUNT = 33, SENTINEL = 0xa5, PAGES = 18 };

static size_t page;

/* Pages between two that nobody may touch. */
struct area {
    uint8_t *start, *end;
};

static struct area plain[COUNT], sealed[COUNT], opened[COUNT];
static struct g_ipsec_la_handle handle;

static struct area new_area(size_t pages) {
    void *base = mmap(NULL, (pages + 2) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED);
    struct area area = {(uint8_t *)base + page, (uint8_t *)base + (pages + 1) * page};
    CHECK_OK(mprotect(area.start, pages * page, PROT_READ | PROT_WRITE));
    return area;
}

/* Where the buffers of a batch are in their areas. */
enum placement { AT_END, AT_START, ACROSS, PLACEMENTS };

static uint8_t *place(const struct area *area, enum placement placement, uint32_t length, uint32_t shift) {
    switch (placement) {
    case AT_END: return area->end - length;
    case AT_START: return area->start + shift % 64;
    default: return area->start + page - 1 - shift % (length + 64 < page ? length + 64 : page);
    }
}

/* Where the multi calls find their packets. */
struct batch {
    struct g_ipsec_la_data data[COUNT];
    struct g_ipsec_la_packet packets[COUNT];
    int32_t results[COUNT];
};

static struct batch in, mid, out;

static void set(struct batch *batch, unsigned at, uint8_t *buffer, uint32_t length) {
    batch->data[at].buffer = buffer, batch->data[at].length = length;
    batch->packets[at].num_sg = 1, batch->packets[at].data = &batch->data[at];
}

static int32_t seal(struct g_ipsec_la_sa_handle sa, unsigned count) {
    return g_ipsec_la_ext_multi_packet_encap(&handle, SYNC, &sa, count, in.packets, mid.packets, mid.results,
                                             no_response);
}

static int32_t open_all(struct g_ipsec_la_sa_handle sa, unsigned count) {
    return g_ipsec_la_ext_multi_packet_decap(&handle, SYNC, &sa, count, mid.packets, out.packets, out.results,
                                             no_response);
}

static void untouched(const uint8_t *from, const uint8_t *end) {
    for (const uint8_t *at = from; at < end; at++)
        if (*at != SENTINEL) FAIL_AT("byte %td of %td was written", at - from, end - from);
}

/* The lengths of a batch: all kinds, or one that all have. */
static uint32_t length_of(unsigned at, uint32_t length) {
    static const uint32_t mixed[] = {20, 84, 21, 36, 300, 52, 1420, 68, 148, 35, 1023, 64, 212, 2000, 77};
    return length != 0 ? length : mixed[at % (sizeof mixed / sizeof *mixed)];
}

/* A batch there and back, in rooms that are exactly as long as what comes out. The packet at `forged` is changed on the
 * way; COUNT: none is. */
static void there_and_back(struct g_ipsec_la_sa_handle out_sa, struct g_ipsec_la_sa_handle in_sa,
                           enum placement placement, unsigned count, uint32_t length, unsigned forged) {
    for (unsigned i = 0; i < count; i++) {
        uint32_t inner = length_of(i, length), needed;
        uint8_t *packet = place(&plain[i], placement, inner, i);
        make_packet_v4(packet, inner);
        set(&in, i, packet, inner);
        /* How long the result will be. */
        CHECK_OK(encap(&handle, out_sa, packet, inner, sealed[i].start, (uint32_t)(sealed[i].end - sealed[i].start),
                       &needed));
        set(&mid, i, place(&sealed[i], placement, needed, i * 5 + 1), needed);
        memset(sealed[i].start, SENTINEL, (size_t)(sealed[i].end - sealed[i].start));
        memset(opened[i].start, SENTINEL, (size_t)(opened[i].end - opened[i].start));
        set(&out, i, place(&opened[i], placement, inner, i * 3 + 2), inner);
    }
    CHECK_OK(seal(out_sa, count));
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *from = mid.data[i].buffer;
        untouched(sealed[i].start, from);
        untouched(from + mid.data[i].length, sealed[i].end);
    }
    if (forged < count) mid.data[forged].buffer[mid.data[forged].length - 1 - random_number() % 24] ^= 0x40;
    CHECK_RESULT(open_all(in_sa, count), forged < count ? -EBADMSG : 0);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *to = out.data[i].buffer;
        uint32_t inner = in.data[i].length;
        CHECK_RESULT(out.results[i], i == forged ? -EBADMSG : 0);
        CHECK_EQ(out.data[i].length, i == forged ? 0 : inner);
        if (i != forged) CHECK_BYTES(to, in.data[i].buffer, inner);
        else
            for (uint32_t at = 0; at < inner; at++) CHECK(to[at] == SENTINEL || to[at] == 0);
        untouched(opened[i].start, to);
        untouched(to + inner, opened[i].end);
    }
}

/* A result of 65,535 bytes, and a packet that is a byte too long for it. */
static void longest(struct g_ipsec_la_sa_handle out_sa, struct g_ipsec_la_sa_handle in_sa, const struct area *areas) {
    uint32_t needed;
    const int32_t mtu = g_ipsec_la_ext_inner_mtu(&handle, &out_sa, MAX_PACKET);
    CHECK(mtu > MAX_PACKET - 256);
    const uint32_t largest = (uint32_t)mtu;
    for (uint32_t inner = largest; inner <= largest + 1; inner++) {
        uint8_t *packet = areas[0].end - inner;
        make_packet_v4(packet, inner);
        CHECK_RESULT(encap(&handle, out_sa, packet, inner, areas[1].end - MAX_PACKET, MAX_PACKET, &needed),
                     inner == largest ? 0 : -EMSGSIZE);
        if (inner > largest) break;
        set(&in, 0, packet, inner);
        set(&mid, 0, areas[1].end - needed, needed);
        set(&out, 0, areas[2].end - inner, inner);
        CHECK_OK(seal(out_sa, 1));
        CHECK_OK(open_all(in_sa, 1));
        CHECK_BYTES(areas[2].end - inner, packet, inner);
    }
}

int main(void) {
    static char context[200];
    check_context = context;
    page = (size_t)sysconf(_SC_PAGESIZE);
    handle = open_shared("boundaries");
    struct area large[3];
    for (int i = 0; i < 3; i++) large[i] = new_area(PAGES);
    for (int i = 0; i < COUNT; i++) plain[i] = new_area(2), sealed[i] = new_area(2), opened[i] = new_area(2);
    for (unsigned a = 0; a < algorithm_count; a++) {
        if (loops(0, 1) && a % 9 != 0) continue;
        struct g_ipsec_la_sa sa = make_sa(&algorithms[a], 0x01020304);
        struct g_ipsec_la_sa_handle out_sa = add_sa(&handle, OUTBOUND, &sa);
        sa.cmn_flags = SA_FLAGS(G_IPSEC_LA_SA_DO_ANTI_REPLAY_CHECK);
        struct g_ipsec_la_sa_handle in_sa = add_sa(&handle, INBOUND, &sa);
        const int authentic = algorithms[a].auth != G_IPSEC_LA_AUTH_ALG_NONE;
        for (int placement = 0; placement < PLACEMENTS; placement++) {
            static const uint32_t lengths[] = {0, 20, 21, 84, 1420};
            for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
                snprintf(context, sizeof context, "%s, placement %d, length %" PRIu32, algorithms[a].name, placement,
                         lengths[i]);
                for (unsigned count = 1; count <= COUNT; count += 16)
                    there_and_back(out_sa, in_sa, (enum placement)placement, count, lengths[i], COUNT);
                for (unsigned forged = 0; authentic && forged < COUNT; forged += loops(8, 16))
                    there_and_back(out_sa, in_sa, (enum placement)placement, COUNT, lengths[i], forged);
            }
        }
        if (!loops(0, 1) || a == 0) longest(out_sa, in_sa, large);
        CHECK_OK(del_sa(&handle, OUTBOUND, out_sa));
        CHECK_OK(del_sa(&handle, INBOUND, in_sa));
    }
    close_all(&handle);
    printf("%u algorithms\n", algorithm_count);
    return 0;
}
