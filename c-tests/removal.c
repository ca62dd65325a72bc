/*
 * An accelerator goes away under its users: each handle is told once, every later call says -ENODEV, close alone still
 * works; what was pending is answered; another accelerator can be opened.
 */
#include "check.h"
#include "support.h"
#include <poll.h>
#include <pthread.h>

enum { INNER = 200, HANDLES = 3, PENDING = 5000 };

static uint8_t packet[INNER], sealed[INNER + 100];
static int broken_calls[HANDLES], all_broken, answers, failures, holding, release_it;
static struct g_ipsec_la_handle handles[HANDLES], reopened;

static void broken(struct g_ipsec_la_handle *handle, void *cb_arg) {
    int i = (int)((int *)cb_arg - broken_calls);
    CHECK(i >= 0 && i < HANDLES);
    CHECK(memcmp(handle, &handles[i], sizeof *handle) == 0);
    broken_calls[i]++;
    __atomic_add_fetch(&all_broken, 1, __ATOMIC_RELEASE);
}

/* What the document suggests (8.2): close the handle and open another one, from inside the callback. */
static void broken_and_reopened(struct g_ipsec_la_handle *handle, void *cb_arg) {
    (void)cb_arg;
    CHECK_OK(g_ipsec_la_close(handle));
    reopened = open_shared("reopened");
    __atomic_add_fetch(&all_broken, 1, __ATOMIC_RELEASE);
}

static struct g_ipsec_la_handle open_on(const char *accelerator, g_ipsec_la_instance_broken_cbk_fn function,
                                        void *cb_arg) {
    struct g_ipsec_la_handle handle;
    struct g_ipsec_la_open_inargs in;
    struct g_ipsec_la_open_outargs out = {&handle};
    memset(&in, 0, sizeof in);
    in.accl_name = (char *)accelerator;
    in.app_identity = (char *)"removal";
    in.cb_fn = function;
    in.cb_arg = cb_arg;
    CHECK_OK(g_ipsec_la_open(G_IPSEC_LA_INSTANCE_SHARED, &in, &out));
    return handle;
}

static uint32_t available_total(void) {
    struct g_ipsec_la_available_list_get_inargs in = {0, 0};
    struct g_ipsec_la_available_list_get_outargs out = {0, 0, NULL};
    CHECK_OK(g_ipsec_la_available_list_get(&in, &out));
    return out.total;
}

static void everybody_is_told(void) {
    uint32_t before = available_total(), id = UINT32_MAX, length;
    CHECK_OK(g_ipsec_la_ext_soft_accelerator_add("extra", &id));
    CHECK_EQ(available_total(), before + 1);
    CHECK_RESULT(g_ipsec_la_ext_soft_accelerator_add("extra", &id), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_soft_accelerator_add("a name of 16 byt", &id), -EINVAL);
    CHECK_RESULT(g_ipsec_la_ext_soft_accelerator_add(NULL, &id), -EINVAL);
    struct g_ipsec_la_sa_handle sas[HANDLES];
    struct g_ipsec_la_sa sa = gcm_sa(0xa001);
    for (int i = 0; i < HANDLES; i++) {
        handles[i] = open_on("extra", broken, &broken_calls[i]);
        sas[i] = add_sa(&handles[i], OUTBOUND, &sa);
        CHECK_OK(encap(&handles[i], sas[i], packet, INNER, sealed, sizeof sealed, &length));
    }
    struct g_ipsec_la_handle untouched = open_on("soft0", broken, NULL);
    CHECK_OK(g_ipsec_la_ext_soft_accelerator_remove("extra"));
    CHECK_RESULT(g_ipsec_la_ext_soft_accelerator_remove("extra"), -ENODEV);
    CHECK_RESULT(g_ipsec_la_ext_soft_accelerator_remove(NULL), -EINVAL);
    CHECK_EQ(available_total(), before);
    wait_for(&all_broken, HANDLES, "broken callbacks");
    sleep_ms(50);
    CHECK_EQ(all_broken, HANDLES);
    for (int i = 0; i < HANDLES; i++) {
        struct g_ipsec_la_handle *h = &handles[i], group;
        struct g_ipsec_la_create_group_inargs group_in = {(char *)"g"};
        struct g_ipsec_la_create_group_outargs group_out;
        struct g_ipsec_cap_get_outargs caps;
        struct g_ipsec_la_sa_get_inargs get = {OUTBOUND, NULL, G_IPSEC_LA_SA_GET_FIRST_N, 1, 1};
        struct g_ipsec_la_sa_get_outargs got = {0, &sa, NULL, NULL};
        struct g_ipsec_la_notification_hooks hooks = {NULL, NULL, NULL};
        struct g_ipsec_la_sa other = gcm_sa(0xa002);
        (void)group;
        CHECK_EQ(broken_calls[i], 1);
        CHECK_RESULT(encap(h, sas[i], packet, INNER, sealed, sizeof sealed, &length), -ENODEV);
        CHECK_RESULT(try_sa(h, INBOUND, &other, NULL), -ENODEV);
        CHECK_RESULT(del_sa(h, OUTBOUND, sas[i]), -ENODEV);
        CHECK_RESULT(set_sequence(h, OUTBOUND, sas[i], 0, 1), -ENODEV);
        CHECK_RESULT(g_ipsec_la_sa_flush(h, SYNC, NULL), -ENODEV);
        CHECK_RESULT(g_ipsec_la_sa_get(h, &get, SYNC, &got, NULL), -ENODEV);
        CHECK_RESULT(g_ipsec_la_capabilities_get(h, SYNC, &caps, NULL), -ENODEV);
        CHECK_RESULT(g_ipsec_la_create_group(h, &group_in, SYNC, &group_out, no_response), -ENODEV);
        CHECK_RESULT(g_ipsec_la_notification_hooks_register(*h, &hooks), -ENODEV);
        CHECK_OK(g_ipsec_la_close(h));
        CHECK_RESULT(g_ipsec_la_close(h), -EBADF);
        CHECK_RESULT(encap(h, sas[i], packet, INNER, sealed, sizeof sealed, &length), -EBADF);
    }
    /* The name can be used again, and the number is another one. */
    uint32_t new_id = id;
    CHECK_OK(g_ipsec_la_ext_soft_accelerator_add("extra", &new_id));
    CHECK(new_id != id);
    struct g_ipsec_la_handle again = open_on("extra", NULL, NULL);
    CHECK_OK(g_ipsec_la_close(&again));
    CHECK_OK(g_ipsec_la_ext_soft_accelerator_remove("extra"));
    CHECK_OK(g_ipsec_la_close(&untouched));
}

static void reopening_in_the_callback(void) {
    for (int round = 0; round < 10; round++) {
        CHECK_OK(g_ipsec_la_ext_soft_accelerator_add("extra", NULL));
        all_broken = 0;
        struct g_ipsec_la_handle h = open_on("extra", broken_and_reopened, NULL);
        CHECK_OK(g_ipsec_la_ext_soft_accelerator_remove("extra"));
        wait_for(&all_broken, 1, "a broken callback that opens another accelerator");
        CHECK_RESULT(g_ipsec_la_close(&h), -EBADF);
        struct g_ipsec_la_sa sa = gcm_sa(0xa003);
        uint32_t length;
        CHECK_OK(encap(&reopened, add_sa(&reopened, OUTBOUND, &sa), packet, INNER, sealed, sizeof sealed, &length));
        close_all(&reopened);
    }
}

/* In poll mode the news comes through the descriptor as everything else does. */
static void told_in_poll_mode(void) {
    CHECK_OK(g_ipsec_la_ext_soft_accelerator_add("extra", NULL));
    all_broken = broken_calls[0] = 0;
    struct g_ipsec_la_handle h = handles[0] = open_on("extra", broken, &broken_calls[0]);
    int32_t event_fd;
    CHECK_OK(g_ipsec_la_ext_poll_mode_enter(&h, &event_fd));
    CHECK_OK(g_ipsec_la_ext_soft_accelerator_remove("extra"));
    struct pollfd waiting = {event_fd, POLLIN, 0};
    CHECK_EQ(poll(&waiting, 1, 30000), 1);
    CHECK_EQ(all_broken, 0);
    CHECK_RESULT(g_ipsec_la_ext_poll(&h, 10), 1);
    CHECK_EQ(all_broken, 1);
    CHECK_OK(g_ipsec_la_close(&h));
}

/* Threads that send while the accelerator goes: each sees success, and then -ENODEV for ever. */
static struct g_ipsec_la_handle loaded;
static struct g_ipsec_la_sa_handle loaded_sa;
static int running;

static void *load(void *argument) {
    uint8_t esp[INNER + 100];
    uint32_t length;
    int gone = 0;
    (void)argument;
    for (int after = 0; after < 50; after += gone) {
        int32_t result = encap(&loaded, loaded_sa, packet, INNER, esp, sizeof esp, &length);
        if (gone) CHECK_RESULT(result, -ENODEV);
        else if (result != 0) CHECK_RESULT(result, -ENODEV);
        gone = result != 0;
        __atomic_store_n(&running, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void under_load(void) {
    enum { LOADERS = 3 };
    for (unsigned round = 0; round < loops(30, 1); round++) {
        pthread_t threads[LOADERS];
        CHECK_OK(g_ipsec_la_ext_soft_accelerator_add("extra", NULL));
        all_broken = broken_calls[0] = running = 0;
        loaded = handles[0] = open_on("extra", broken, &broken_calls[0]);
        struct g_ipsec_la_sa sa = gcm_sa(0xa005);
        loaded_sa = add_sa(&loaded, OUTBOUND, &sa);
        for (int i = 0; i < LOADERS; i++) CHECK_EQ(pthread_create(&threads[i], NULL, load, NULL), 0);
        wait_for(&running, 1, "a thread that sends");
        CHECK_OK(g_ipsec_la_ext_soft_accelerator_remove("extra"));
        for (int i = 0; i < LOADERS; i++) pthread_join(threads[i], NULL);
        wait_for(&all_broken, 1, "the broken callback");
        CHECK_EQ(broken_calls[0], 1);
        CHECK_OK(g_ipsec_la_close(&loaded));
    }
}

static void answered(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    const struct g_ipsec_la_packet_outargs *out = (const struct g_ipsec_la_packet_outargs *)outargs;
    (void)cb_arg_len;
    CHECK(out->result == 0 || out->result == -ENODEV);
    CHECK_EQ(((struct g_ipsec_la_data *)cb_arg)->length == 0, out->result != 0);
    if (out->result != 0) failures++;
    __atomic_add_fetch(&answers, 1, __ATOMIC_RELEASE);
}

static void hold(void *cb_arg, int32_t cb_arg_len, void *outargs) {
    (void)cb_arg, (void)cb_arg_len, (void)outargs;
    __atomic_store_n(&holding, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&release_it, __ATOMIC_ACQUIRE)) sleep_ms(1);
}

/* The accelerator goes while its queue is full: all calls are answered once, and the handle is told nevertheless. */
static void pending_work(void) {
    static uint8_t outputs[PENDING][INNER + 100];
    static struct g_ipsec_la_data in[PENDING], out[PENDING];
    CHECK_OK(g_ipsec_la_ext_soft_accelerator_add("extra", NULL));
    all_broken = broken_calls[0] = 0;
    struct g_ipsec_la_handle h = handles[0] = open_on("extra", broken, &broken_calls[0]);
    struct g_ipsec_la_sa sa = gcm_sa(0xa004);
    struct g_ipsec_la_sa_handle sa_handle = add_sa(&h, OUTBOUND, &sa);
    struct g_ipsec_la_resp_args held = respond(hold, NULL);
    CHECK_OK(g_ipsec_la_capabilities_get(&h, ASYNC, NULL, &held));
    wait_for(&holding, 1, "the holding callback");
    int taken = 0;
    for (int i = 0; i < PENDING; i++) {
        in[i].buffer = packet, in[i].length = INNER;
        out[i].buffer = outputs[i], out[i].length = sizeof outputs[i];
        int32_t result = g_ipsec_la_packet_encap(&h, ASYNC, &sa_handle, 1, &in[i], &out[i], respond(answered, &out[i]));
        if (result == -EAGAIN) break;
        CHECK_OK(result);
        taken++;
    }
    CHECK_OK(g_ipsec_la_ext_soft_accelerator_remove("extra"));
    __atomic_store_n(&release_it, 1, __ATOMIC_RELEASE);
    wait_for(&answers, taken, "answers to what was pending");
    wait_for(&all_broken, 1, "the broken callback, with a full queue");
    sleep_ms(50);
    CHECK_EQ(answers, taken);
    CHECK_EQ(broken_calls[0], 1);
    CHECK_OK(g_ipsec_la_close(&h));
    printf("%d calls were pending; %d of them came back as -ENODEV\n", taken, failures);
}

int main(void) {
    make_packet_v4(packet, INNER);
    everybody_is_told();
    reopening_in_the_callback();
    told_in_poll_mode();
    under_load();
    pending_work();
    return 0;
}
