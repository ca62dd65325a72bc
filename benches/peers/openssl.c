/*
 * OpenSSL alone, a packet at a time: what of an ESP packet is encrypted and authenticated, without framing, as
 * crates/kernels/benches/bare.rs does it with our kernels. Contexts and keys are kept from packet to packet.
 * Usage: openssl
 */
#include <stdint.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "../measure.h"

#define ESP 8
#define ROOM (9216 + 64)

static EVP_CIPHER_CTX *cipher;
static EVP_MAC_CTX *mac;
static uint8_t packets[BATCH][ROOM] __attribute__((aligned(64))), saved[BATCH][ROOM], nonces[BATCH][12];
static int body, icv_length;

static void must(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "openssl: %s\n", what);
        exit(1);
    }
}

static void seal_gcm(void)
{
    for (int i = 0; i < BATCH; i++) {
        uint8_t *packet = packets[i], *text = packet + ESP + 8;
        int length;
        must(EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, nonces[i]) &&
                 EVP_EncryptUpdate(cipher, NULL, &length, packet, ESP) &&
                 EVP_EncryptUpdate(cipher, text, &length, text, body) &&
                 EVP_EncryptFinal_ex(cipher, text + length, &length) &&
                 EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, 16, text + body),
             "GCM");
    }
}

static void open_gcm(void)
{
    for (int i = 0; i < BATCH; i++) {
        uint8_t *packet = packets[i], *text = packet + ESP + 8;
        int length;
        must(EVP_DecryptInit_ex(cipher, NULL, NULL, NULL, nonces[i]) &&
                 EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, 16, text + body) &&
                 EVP_DecryptUpdate(cipher, NULL, &length, packet, ESP) &&
                 EVP_DecryptUpdate(cipher, text, &length, text, body) &&
                 EVP_DecryptFinal_ex(cipher, text + length, &length),
             "ICV");
    }
}

static void authenticate(const uint8_t *packet, uint8_t tag[static 64])
{
    size_t length;
    must(EVP_MAC_init(mac, NULL, 0, NULL) && EVP_MAC_update(mac, packet, (size_t)(ESP + 16 + body)) &&
             EVP_MAC_final(mac, tag, &length, 64),
         "HMAC");
}

static void seal_cbc(void)
{
    for (int i = 0; i < BATCH; i++) {
        uint8_t *packet = packets[i], *text = packet + ESP + 16, tag[64];
        int length;
        must(EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, packet + ESP) &&
                 EVP_EncryptUpdate(cipher, text, &length, text, body),
             "CBC");
        authenticate(packet, tag);
        memcpy(text + body, tag, (size_t)icv_length);
    }
}

static void open_cbc(void)
{
    for (int i = 0; i < BATCH; i++) {
        uint8_t *packet = packets[i], *text = packet + ESP + 16, tag[64];
        int length;
        authenticate(packet, tag);
        must(CRYPTO_memcmp(tag, text + body, (size_t)icv_length) == 0, "ICV");
        must(EVP_DecryptInit_ex(cipher, NULL, NULL, NULL, packet + ESP) &&
                 EVP_DecryptUpdate(cipher, text, &length, text, body),
             "CBC");
    }
}

static void set_up(const char *algorithm, const char *digest, int opens)
{
    static const uint8_t key[64] = {1, 2, 3};
    EVP_CIPHER *fetched = EVP_CIPHER_fetch(NULL, algorithm, NULL);
    cipher = EVP_CIPHER_CTX_new();
    must(fetched != NULL && cipher != NULL && EVP_CipherInit_ex(cipher, fetched, NULL, key, NULL, !opens) &&
             EVP_CIPHER_CTX_set_padding(cipher, 0),
         algorithm);
    EVP_CIPHER_free(fetched);
    if (digest == NULL)
        return;
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    mac = EVP_MAC_CTX_new(hmac);
    char name[16];
    snprintf(name, sizeof name, "%s", digest);
    const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                                     OSSL_PARAM_construct_end()};
    icv_length = strcmp(digest, "SHA256") == 0 ? 16 : 12;
    must(mac != NULL && EVP_MAC_init(mac, key, icv_length == 16 ? 32 : 20, parameters), digest);
    EVP_MAC_free(hmac);
}

static void prepare_seal(void)
{
}

static void prepare_open(void)
{
    for (int i = 0; i < BATCH; i++)
        memcpy(packets[i], saved[i], (size_t)(ESP + 16 + body + 16));
}

int main(void)
{
    static const struct {
        const char *transform, *cipher, *digest;
    } transforms[] = {{"gcm128", "AES-128-GCM", NULL},
                      {"gcm256", "AES-256-GCM", NULL},
                      {"cbcsha1", "AES-128-CBC", "SHA1"},
                      {"cbcsha256", "AES-128-CBC", "SHA256"}};
    for (size_t t = 0; t < sizeof transforms / sizeof transforms[0]; t++) {
        const int aead = transforms[t].digest == NULL;
        for (size_t s = 0; s < NUM_SIZES; s++) {
            body = aead ? gcm_body(SIZES[s]) : cbc_body(SIZES[s]);
            set_up(transforms[t].cipher, transforms[t].digest, 0);
            measure("openssl", transforms[t].transform, "seal", BATCH, SIZES[s], prepare_seal,
                    aead ? seal_gcm : seal_cbc);
            EVP_CIPHER_CTX_free(cipher);
            EVP_MAC_CTX_free(mac);
            mac = NULL;
            memcpy(saved, packets, sizeof saved);
            set_up(transforms[t].cipher, transforms[t].digest, 1);
            measure("openssl", transforms[t].transform, "open", BATCH, SIZES[s], prepare_open,
                    aead ? open_gcm : open_cbc);
            EVP_CIPHER_CTX_free(cipher);
            EVP_MAC_CTX_free(mac);
            mac = NULL;
        }
    }
    return 0;
}
