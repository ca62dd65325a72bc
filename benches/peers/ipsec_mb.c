/*
 * intel-ipsec-mb alone: what of an ESP packet is encrypted and authenticated, without framing, as
 * crates/kernels/benches/bare.rs does it with our kernels.
 * Usage: ipsec_mb
 */
#include <stdint.h>
#include <string.h>

#include <intel-ipsec-mb.h>

#include "../measure.h"

#define ESP 8
#define ROOM (9216 + 64)

static IMB_MGR *manager;
static struct gcm_key_data gcm_key __attribute__((aligned(64)));
static uint8_t encrypting[16 * 15] __attribute__((aligned(16))), decrypting[16 * 15] __attribute__((aligned(16)));
static uint8_t ipad[64] __attribute__((aligned(16))), opad[64] __attribute__((aligned(16)));
static uint8_t packets[BATCH][ROOM] __attribute__((aligned(64))), saved[BATCH][ROOM], tags[BATCH][16];
static uint8_t nonces[BATCH][16] __attribute__((aligned(16)));
static IMB_JOB template;
static int body, decrypt, aead;

static void must(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "ipsec_mb: %s: %s\n", what, imb_get_strerror(imb_get_errno(manager)));
        exit(1);
    }
}

/* SPI and sequence number, IV, body, ICV. The tag of a packet that is decrypted is computed apart and compared. */
static void fill(IMB_JOB *job, int index)
{
    uint8_t *packet = packets[index];
    *job = template;
    if (aead) {
        job->src = packet + ESP + 8;
        job->dst = packet + ESP + 8;
        job->iv = nonces[index];
        job->u.GCM.aad = packet;
        job->auth_tag_output = decrypt ? tags[index] : packet + ESP + 8 + body;
    } else {
        job->src = packet;
        job->dst = packet + ESP + 16;
        job->iv = packet + ESP;
        job->auth_tag_output = decrypt ? tags[index] : packet + ESP + 16 + body;
    }
}

static void verify(int index)
{
    const uint8_t *icv = packets[index] + ESP + (aead ? 8 : 16) + body;
    must(!decrypt || memcmp(tags[index], icv, template.auth_tag_output_len_in_bytes) == 0, "ICV");
}

static void work_burst(void)
{
    IMB_JOB *jobs[BATCH];
    for (uint32_t got; (got = IMB_GET_NEXT_BURST(manager, BATCH, jobs)) < BATCH;)
        must(IMB_FLUSH_BURST(manager, BATCH, jobs) > 0 || got > 0, "no room");
    for (int i = 0; i < BATCH; i++)
        fill(jobs[i], i);
    uint32_t done = IMB_SUBMIT_BURST_NOCHECK(manager, BATCH, jobs);
    while (done < BATCH) {
        const uint32_t more = IMB_FLUSH_BURST(manager, BATCH - done, jobs);
        must(more > 0, "lost jobs");
        done += more;
    }
    for (int i = 0; i < BATCH; i++)
        verify(i);
}

/* The functions of GCM take a packet at a time and do without jobs. */
static void work_direct(void)
{
    struct gcm_context_data context;
    const uint64_t length = (uint64_t)body;
    for (int i = 0; i < BATCH; i++) {
        uint8_t *text = packets[i] + ESP + 8, *tag = decrypt ? tags[i] : text + length;
        if (template.key_len_in_bytes == 16 && !decrypt)
            IMB_AES128_GCM_ENC(manager, &gcm_key, &context, text, text, length, nonces[i], packets[i], ESP, tag, 16);
        else if (template.key_len_in_bytes == 16)
            IMB_AES128_GCM_DEC(manager, &gcm_key, &context, text, text, length, nonces[i], packets[i], ESP, tag, 16);
        else if (!decrypt)
            IMB_AES256_GCM_ENC(manager, &gcm_key, &context, text, text, length, nonces[i], packets[i], ESP, tag, 16);
        else
            IMB_AES256_GCM_DEC(manager, &gcm_key, &context, text, text, length, nonces[i], packets[i], ESP, tag, 16);
        verify(i);
    }
}

static void prepare_seal(void)
{
}

static void prepare_open(void)
{
    for (int i = 0; i < BATCH; i++)
        memcpy(packets[i], saved[i], (size_t)(ESP + 16 + body + 16));
}

static void set_up(const char *transform, int opens)
{
    static const uint8_t key[64] = {1, 2, 3};
    memset(&template, 0, sizeof template);
    decrypt = opens;
    template.cipher_direction = opens ? IMB_DIR_DECRYPT : IMB_DIR_ENCRYPT;
    template.chain_order = opens ? IMB_ORDER_HASH_CIPHER : IMB_ORDER_CIPHER_HASH;
    template.msg_len_to_cipher_in_bytes = (uint64_t)body;
    if (aead) {
        const int wide = strcmp(transform, "gcm256") == 0;
        if (wide)
            IMB_AES256_GCM_PRE(manager, key, &gcm_key);
        else
            IMB_AES128_GCM_PRE(manager, key, &gcm_key);
        template.cipher_mode = IMB_CIPHER_GCM;
        template.hash_alg = IMB_AUTH_AES_GMAC;
        template.enc_keys = template.dec_keys = &gcm_key;
        template.key_len_in_bytes = wide ? 32 : 16;
        template.msg_len_to_hash_in_bytes = (uint64_t)body;
        template.iv_len_in_bytes = 12;
        template.u.GCM.aad_len_in_bytes = ESP;
        template.auth_tag_output_len_in_bytes = 16;
        return;
    }
    const int sha2 = strcmp(transform, "cbcsha256") == 0;
    uint8_t inside[64], outside[64];
    for (int i = 0; i < 64; i++) {
        inside[i] = key[i] ^ 0x36;
        outside[i] = key[i] ^ 0x5c;
    }
    if (sha2) {
        IMB_SHA256_ONE_BLOCK(manager, inside, ipad);
        IMB_SHA256_ONE_BLOCK(manager, outside, opad);
    } else {
        IMB_SHA1_ONE_BLOCK(manager, inside, ipad);
        IMB_SHA1_ONE_BLOCK(manager, outside, opad);
    }
    IMB_AES_KEYEXP_128(manager, key, encrypting, decrypting);
    template.cipher_mode = IMB_CIPHER_CBC;
    template.hash_alg = sha2 ? IMB_AUTH_HMAC_SHA_256 : IMB_AUTH_HMAC_SHA_1;
    template.enc_keys = encrypting;
    template.dec_keys = decrypting;
    template.key_len_in_bytes = 16;
    template.iv_len_in_bytes = 16;
    template.cipher_start_src_offset_in_bytes = ESP + 16;
    template.msg_len_to_hash_in_bytes = (uint64_t)(ESP + 16 + body);
    template.u.HMAC._hashed_auth_key_xor_ipad = ipad;
    template.u.HMAC._hashed_auth_key_xor_opad = opad;
    template.auth_tag_output_len_in_bytes = sha2 ? 16 : 12;
}

int main(void)
{
    static const char *const transforms[] = {"gcm128", "gcm256", "cbcsha1", "cbcsha256"};
    manager = alloc_mb_mgr(0);
    must(manager != NULL, "no manager");
    init_mb_mgr_auto(manager, NULL);
    must(imb_get_errno(manager) == 0, "initialisation");
    for (size_t t = 0; t < sizeof transforms / sizeof transforms[0]; t++) {
        const char *transform = transforms[t];
        aead = strncmp(transform, "gcm", 3) == 0;
        for (size_t s = 0; s < NUM_SIZES; s++) {
            body = aead ? gcm_body(SIZES[s]) : cbc_body(SIZES[s]);
            for (int opens = 0; opens <= 1; opens++) {
                set_up(transform, opens);
                void (*const prepare)(void) = opens ? prepare_open : prepare_seal;
                const char *operation = opens ? "open" : "seal";
                measure("ipsec_mb-burst", transform, operation, BATCH, SIZES[s], prepare, work_burst);
                if (aead)
                    measure("ipsec_mb-direct", transform, operation, BATCH, SIZES[s], prepare, work_direct);
                memcpy(saved, packets, sizeof saved);
            }
        }
    }
    free_mb_mgr(manager);
    return 0;
}
