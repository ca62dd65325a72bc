/*
 * DPDK's librte_ipsec over a cryptodev, processing whole ESP tunnel packets, IPv4 in IPv4, as ../gipsec/packets.c does.
 * Usage: librte_ipsec EAL-OPTIONS -- TRANSFORM NAME auto|sse|avx|avx2|avx512 queue|cpu; NAME is printed. With cpu the
 * device processes packets in one call (RTE_SECURITY_ACTION_TYPE_CPU_CRYPTO) instead of through its queues.
 */
#define _GNU_SOURCE
#define ALLOW_EXPERIMENTAL_API
#include <dlfcn.h>
#include <netinet/in.h>
#include <string.h>

#include <intel-ipsec-mb.h>

#include <rte_cryptodev.h>
#include <rte_eal.h>
#include <rte_ip.h>
#include <rte_ipsec.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>

#include "../measure.h"

#define DEVICE 0
#define IV_OFFSET (sizeof(struct rte_crypto_op) + sizeof(struct rte_crypto_sym_op))

static struct rte_mempool *packets_pool, *operations_pool, *sessions_pool;
static struct rte_ipsec_session outbound, inbound;
static struct rte_mbuf *packets[BATCH];
static struct rte_crypto_op *operations[BATCH];
static struct rte_ipv4_hdr inner, outer;
static uint8_t saved[BATCH][9216];
static int per_call, length, saved_length;
static const char *architecture;
static int synchronous;

static void must(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "librte_ipsec: %s\n", what);
        exit(1);
    }
}

/*
 * Stands before intel-ipsec-mb's own function, which the driver calls and which has no setting (nor does EAL's
 * --force-max-simd-bitwidth change what it chooses).
 */
void init_mb_mgr_auto(IMB_MGR *manager, IMB_ARCH *chosen)
{
    if (strcmp(architecture, "sse") == 0)
        init_mb_mgr_sse(manager);
    else if (strcmp(architecture, "avx") == 0)
        init_mb_mgr_avx(manager);
    else if (strcmp(architecture, "avx2") == 0)
        init_mb_mgr_avx2(manager);
    else if (strcmp(architecture, "avx512") == 0)
        init_mb_mgr_avx512(manager);
    else {
        void (*theirs)(IMB_MGR *, IMB_ARCH *);
        *(void **)&theirs = dlsym(RTLD_NEXT, "init_mb_mgr_auto");
        must(theirs != NULL, "no init_mb_mgr_auto");
        theirs(manager, chosen);
        return;
    }
    must(imb_get_errno(manager) == 0, "this processor lacks that architecture");
    if (chosen != NULL)
        *chosen = (IMB_ARCH)manager->used_arch;
}

/* The transform chain of one direction; `second` is linked behind `first` where there are two. */
static void describe(const char *transform, int decrypt, struct rte_crypto_sym_xform *first,
                     struct rte_crypto_sym_xform *second)
{
    static uint8_t key[32], auth_key[32];
    for (int i = 0; i < 32; i++) {
        key[i] = (uint8_t)i;
        auth_key[i] = (uint8_t)(i + 1);
    }
    memset(first, 0, sizeof *first);
    memset(second, 0, sizeof *second);
    if (strncmp(transform, "gcm", 3) == 0) {
        first->type = RTE_CRYPTO_SYM_XFORM_AEAD;
        first->aead.algo = RTE_CRYPTO_AEAD_AES_GCM;
        first->aead.op = decrypt ? RTE_CRYPTO_AEAD_OP_DECRYPT : RTE_CRYPTO_AEAD_OP_ENCRYPT;
        first->aead.key.data = key;
        first->aead.key.length = strcmp(transform, "gcm256") == 0 ? 32 : 16;
        first->aead.iv.offset = IV_OFFSET;
        first->aead.iv.length = 12;
        first->aead.digest_length = 16;
        first->aead.aad_length = 8;
        return;
    }
    const int sha2 = strcmp(transform, "cbcsha256") == 0;
    struct rte_crypto_sym_xform *cipher = decrypt ? second : first, *auth = decrypt ? first : second;
    cipher->type = RTE_CRYPTO_SYM_XFORM_CIPHER;
    cipher->cipher.algo = RTE_CRYPTO_CIPHER_AES_CBC;
    cipher->cipher.op = decrypt ? RTE_CRYPTO_CIPHER_OP_DECRYPT : RTE_CRYPTO_CIPHER_OP_ENCRYPT;
    cipher->cipher.key.data = key;
    cipher->cipher.key.length = 16;
    cipher->cipher.iv.offset = IV_OFFSET;
    cipher->cipher.iv.length = 16;
    auth->type = RTE_CRYPTO_SYM_XFORM_AUTH;
    auth->auth.algo = sha2 ? RTE_CRYPTO_AUTH_SHA256_HMAC : RTE_CRYPTO_AUTH_SHA1_HMAC;
    auth->auth.op = decrypt ? RTE_CRYPTO_AUTH_OP_VERIFY : RTE_CRYPTO_AUTH_OP_GENERATE;
    auth->auth.key.data = auth_key;
    auth->auth.key.length = sha2 ? 32 : 20;
    auth->auth.digest_length = sha2 ? 16 : 12;
    first->next = second;
}

static void make_session(const char *transform, int decrypt, struct rte_ipsec_session *session)
{
    struct rte_crypto_sym_xform first, second;
    describe(transform, decrypt, &first, &second);
    struct rte_ipsec_sa_prm parameters;
    memset(&parameters, 0, sizeof parameters);
    parameters.ipsec_xform.spi = 0x1000;
    parameters.ipsec_xform.salt = 0x01020304;
    parameters.ipsec_xform.direction = decrypt ? RTE_SECURITY_IPSEC_SA_DIR_INGRESS : RTE_SECURITY_IPSEC_SA_DIR_EGRESS;
    parameters.ipsec_xform.proto = RTE_SECURITY_IPSEC_SA_PROTO_ESP;
    parameters.ipsec_xform.mode = RTE_SECURITY_IPSEC_SA_MODE_TUNNEL;
    parameters.ipsec_xform.tunnel.type = RTE_SECURITY_IPSEC_TUNNEL_IPV4;
    parameters.crypto_xform = &first;
    parameters.tun.hdr = (uint8_t *)&outer;
    parameters.tun.hdr_len = sizeof outer;
    parameters.tun.next_proto = IPPROTO_IPIP;
    parameters.userdata = 1;
    const int size = rte_ipsec_sa_size(&parameters);
    session->sa = rte_zmalloc(NULL, (size_t)size, 64);
    must(size > 0 && session->sa != NULL && rte_ipsec_sa_init(session->sa, &parameters, (uint32_t)size) >= 0, "SA");
    session->type = synchronous ? RTE_SECURITY_ACTION_TYPE_CPU_CRYPTO : RTE_SECURITY_ACTION_TYPE_NONE;
    session->crypto.ses = rte_cryptodev_sym_session_create(DEVICE, &first, sessions_pool);
    session->crypto.dev_id = DEVICE;
    must(session->crypto.ses != NULL && rte_ipsec_session_prepare(session) == 0, "session");
}

/* Prepare, enqueue, dequeue, group, finish: what an application does. */
static void process(struct rte_ipsec_session *session, struct rte_mbuf **burst, uint16_t count)
{
    must(rte_ipsec_pkt_crypto_prepare(session, burst, operations, count) == count, "prepare");
    uint16_t sent = 0, received = 0;
    struct rte_crypto_op *done[BATCH];
    while (sent < count)
        sent += rte_cryptodev_enqueue_burst(DEVICE, 0, operations + sent, count - sent);
    while (received < count)
        received += rte_cryptodev_dequeue_burst(DEVICE, 0, done + received, count - received);
    struct rte_ipsec_group groups[BATCH];
    struct rte_mbuf *grouped[BATCH];
    const uint16_t number =
        rte_ipsec_pkt_crypto_group((const struct rte_crypto_op **)(uintptr_t)done, grouped, groups, count);
    for (uint16_t i = 0; i < number; i++)
        must(rte_ipsec_pkt_process(groups[i].id.ptr, groups[i].m, groups[i].cnt) == groups[i].cnt, "process");
}

static void process_synchronously(struct rte_ipsec_session *session, struct rte_mbuf **burst, uint16_t count)
{
    must(rte_ipsec_pkt_cpu_prepare(session, burst, count) == count, "prepare");
    must(rte_ipsec_pkt_process(session, burst, count) == count, "process");
}

static void process_all(struct rte_ipsec_session *session)
{
    for (int i = 0; i < BATCH; i += per_call)
        (synchronous ? process_synchronously : process)(session, packets + i, (uint16_t)per_call);
}

/* As a driver leaves a packet it received. What is in it does not change the time, so that its header is enough. */
static void receive(struct rte_mbuf *packet, int size, const void *content, size_t content_length)
{
    packet->data_off = RTE_PKTMBUF_HEADROOM;
    packet->data_len = (uint16_t)size;
    packet->pkt_len = (uint32_t)size;
    packet->ol_flags = 0;
    packet->tx_offload = 0;
    packet->l3_len = sizeof inner;
    packet->packet_type = RTE_PTYPE_L3_IPV4;
    memcpy(rte_pktmbuf_mtod(packet, void *), content, content_length);
}

static void prepare_encap(void)
{
    for (int i = 0; i < BATCH; i++)
        receive(packets[i], length, &inner, sizeof inner);
}

static void work_encap(void)
{
    process_all(&outbound);
}

/* Decapsulation is in place: without all of its bytes no packet could be decapsulated twice. */
static void prepare_decap(void)
{
    for (int i = 0; i < BATCH; i++)
        receive(packets[i], saved_length, saved[i], (size_t)saved_length);
}

static void work_decap(void)
{
    process_all(&inbound);
}

static void save(void)
{
    saved_length = packets[0]->data_len;
    must(saved_length <= (int)sizeof saved[0], "a sealed packet is longer than expected");
    for (int i = 0; i < BATCH; i++)
        memcpy(saved[i], rte_pktmbuf_mtod(packets[i], void *), (size_t)saved_length);
}

int main(int argc, char **argv)
{
    int separator = 1;
    while (separator < argc && strcmp(argv[separator], "--") != 0)
        separator++;
    must(argc - separator == 5, "usage: librte_ipsec EAL-OPTIONS -- TRANSFORM NAME auto|sse|avx|avx2|avx512 queue|cpu");
    architecture = argv[separator + 3]; /* before EAL makes the device */
    synchronous = strcmp(argv[separator + 4], "cpu") == 0;
    const int used = rte_eal_init(argc, argv);
    must(used >= 0, "EAL does not start");
    const char *transform = argv[used + 1], *name = argv[used + 2];
    packets_pool = rte_pktmbuf_pool_create("packets", 256, 0, 0, 10240, 0);
    operations_pool = rte_crypto_op_pool_create("operations", RTE_CRYPTO_OP_TYPE_SYMMETRIC, 256, 0, 64, 0);
    sessions_pool = rte_cryptodev_sym_session_pool_create(
        "sessions", 16, rte_cryptodev_sym_get_private_session_size(DEVICE), 0, 0, 0);
    must(packets_pool && operations_pool && sessions_pool, "pools");
    struct rte_cryptodev_config configuration = {.socket_id = 0, .nb_queue_pairs = 1};
    struct rte_cryptodev_qp_conf queue = {.nb_descriptors = 2048, .mp_session = sessions_pool};
    must(rte_cryptodev_configure(DEVICE, &configuration) == 0 &&
             rte_cryptodev_queue_pair_setup(DEVICE, 0, &queue, 0) == 0 && rte_cryptodev_start(DEVICE) == 0,
         "device");
    outer.version_ihl = 0x45;
    outer.time_to_live = 64;
    outer.next_proto_id = IPPROTO_ESP;
    outer.src_addr = 0x010200c0;
    outer.dst_addr = 0x020200c0;
    inner = outer;
    inner.next_proto_id = IPPROTO_UDP;
    make_session(transform, 0, &outbound);
    make_session(transform, 1, &inbound);
    must(rte_pktmbuf_alloc_bulk(packets_pool, packets, BATCH) == 0 &&
             rte_crypto_op_bulk_alloc(operations_pool, RTE_CRYPTO_OP_TYPE_SYMMETRIC, operations, BATCH) == BATCH,
         "packets");
    for (size_t s = 0; s < NUM_SIZES; s++) {
        length = SIZES[s];
        inner.total_length = htons((uint16_t)length);
        for (int i = 0; i < 2; i++) {
            per_call = i == 0 ? BATCH : 1;
            measure(name, transform, "encap", per_call, length, prepare_encap, work_encap);
        }
        save();
        for (int i = 0; i < 2; i++) {
            per_call = i == 0 ? BATCH : 1;
            measure(name, transform, "decap", per_call, length, prepare_decap, work_decap);
        }
    }
    return 0;
}
