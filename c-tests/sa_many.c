/* Many SAs in one process: at most 4 KiB each, and adding and deleting the last costs what the first cost. */
#include "check.h"
#include "support.h"
#include <time.h>
#include <unistd.h>

enum { MOST = 100000, STEP = 10000, BLOCK = 100 };

static struct g_ipsec_la_handle handle;
static struct g_ipsec_la_sa_handle sas[MOST];
static unsigned count, step;

/* Resident bytes of this process. */
static double resident(void) {
    long pages = 0, ignored;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%ld %ld", &ignored, &pages) == 2);
    fclose(statm);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* This thread's own time: what other processes do to the machine is not the library's. */
static double busy_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static enum g_ipsec_la_sa_direction direction_of(unsigned i) { return i % 2 ? INBOUND : OUTBOUND; }

static void add_one(unsigned i) {
    struct g_ipsec_la_sa sa = gcm_sa(i + 1);
    sas[i] = add_sa(&handle, direction_of(i), &sa);
}

static void del_one(unsigned i) { CHECK_OK(del_sa(&handle, direction_of(i), sas[i])); }

/* Does it for all SAs; nanoseconds for one in the fastest block of the first and of the last `step`. */
static void timed(void (*work)(unsigned), double *first, double *last) {
    *first = *last = 1e9;
    for (unsigned start = 0; start < count; start += BLOCK) {
        double before = busy_seconds();
        for (unsigned i = start; i < start + BLOCK; i++) work(i);
        double each = (busy_seconds() - before) * 1e9 / BLOCK;
        if (start < step && each < *first) *first = each;
        if (start >= count - step && each < *last) *last = each;
    }
}

static void all_work(void) {
    uint8_t packet[100], sealed[200];
    uint32_t length;
    make_packet_v4(packet, sizeof packet);
    for (unsigned i = 0; i < count; i += 2) {
        CHECK_OK(encap(&handle, sas[i], packet, sizeof packet, sealed, sizeof sealed, &length));
        CHECK_EQ(read_u32(sealed + 20), i + 1);
    }
}

int main(void) {
    enum { ATTEMPTS = 4 };
    count = loops(MOST, 2000);
    step = loops(STEP, 200);
    handle = open_shared("many");
    memset(sas, 1, sizeof sas); /* resident before the measurement */
    add_one(0);
    del_one(0);

    double before = resident(), filled_once = 0;
    int even = 0;
    for (int attempt = 0; attempt < ATTEMPTS && !even; attempt++) {
        double first_add, last_add, first_del, last_del;
        timed(add_one, &first_add, &last_add);
        if (attempt == 0) {
            filled_once = resident() - before;
            all_work();
        }
        timed(del_one, &first_del, &last_del);
        printf("%u SAs of %.0f bytes; add %.0f and %.0f ns, delete %.0f and %.0f ns (first and last %u)\n", count,
               filled_once / count, first_add, last_add, first_del, last_del, step);
        /* A machine with other work may be slow for a while, but not each time in the same place. */
        even = last_add < 4 * first_add && last_del < 4 * first_del;
    }
    /* What was deleted is given back: the same again needs hardly more. */
    for (unsigned i = 0; i < count; i++) add_one(i);
    double filled_again = resident() - before;
    CHECK_OK(g_ipsec_la_sa_flush(&handle, SYNC, NULL));

    if (loops(1, 0)) { /* under valgrind no number says anything */
        if (!even) FAIL_AT("adding or deleting slows down, %d times out of %d", ATTEMPTS, ATTEMPTS);
#if defined(__SANITIZE_ADDRESS__)
        printf("SKIPPED: bytes of an SA: AddressSanitizer's own memory would be counted (%.0f, %.0f)\n", filled_once,
               filled_again);
#else
        if (filled_once > 4096.0 * count) FAIL_AT("an SA takes %.0f bytes", filled_once / count);
        if (filled_again > 1.1 * filled_once) FAIL_AT("%.0f bytes became %.0f", filled_once, filled_again);
#endif
    }
    close_all(&handle);
    return 0;
}
