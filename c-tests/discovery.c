/* How many software accelerators a process finds: G_IPSEC_LA_SOFT_ACCELERATORS, which the test list sets, or four. */
#include "check.h"
#include "support.h"

int main(int argc, char **argv) {
    uint32_t expected = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 4;
    struct g_ipsec_la_available_entry entries[64];
    struct g_ipsec_la_available_list_get_inargs in = {0, 64};
    struct g_ipsec_la_available_list_get_outargs out = {0, 0, entries};
    CHECK_OK(g_ipsec_la_available_list_get(&in, &out));
    CHECK_EQ(out.total, expected);
    struct g_ipsec_la_handle handle;
    CHECK_RESULT(open_named(G_IPSEC_LA_INSTANCE_SHARED, NULL, "discovery", &handle), expected == 0 ? -ENODEV : 0);
    if (expected != 0) {
        CHECK_OK(g_ipsec_la_close(&handle));
        CHECK_OK(open_named(G_IPSEC_LA_INSTANCE_EXCLUSIVE, entries[expected - 1].name, "discovery", &handle));
        CHECK_OK(g_ipsec_la_close(&handle));
    }
    return 0;
}
