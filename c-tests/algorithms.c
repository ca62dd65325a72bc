/* Every algorithm and length of R18. */
#include "support.h"

#define ESP G_IPSEC_LA_PROTOCOL_ESP
#define AH G_IPSEC_LA_PROTOCOL_AH

#define NO_CIPHER (enum g_ipsec_la_cipher_alg)0, 0
#define NO_AUTH (enum g_ipsec_la_auth_alg)0, 0
#define NO_COMB (enum g_ipsec_la_comb_alg)0, 0
#define MD5 G_IPSEC_LA_AUTH_ALG_MD5_HMAC, 128
#define SHA1 G_IPSEC_LA_AUTH_ALG_SHA1_HMAC, 160
#define XCBC G_IPSEC_LA_AUTH_AESXCBC, 128
#define SHA256 G_IPSEC_LA_AUTH_ALG_SHA2_256_HMAC, 256
#define SHA384 G_IPSEC_LA_AUTH_ALG_SHA2_384_HMAC, 384
#define SHA512 G_IPSEC_LA_AUTH_ALG_SHA2_512_HMAC, 512

/* icv_len_bits is a byte: HMAC-SHA2-512's 256 and SHA2-384/512 in full cannot be asked for by number. */
#define WITH_EVERY_AUTH(name, cipher, bits)                              \
    {name "-md5", ESP, cipher, bits, MD5, NO_COMB, 0},                   \
    {name "-sha1", ESP, cipher, bits, SHA1, NO_COMB, 0},                 \
    {name "-xcbc", ESP, cipher, bits, XCBC, NO_COMB, 0},                 \
    {name "-sha256", ESP, cipher, bits, SHA256, NO_COMB, 0},             \
    {name "-sha384", ESP, cipher, bits, SHA384, NO_COMB, 0},             \
    {name "-sha512", ESP, cipher, bits, SHA512, NO_COMB, 0}
#define CIPHER(name, cipher, bits)                                       \
    WITH_EVERY_AUTH(name, cipher, bits),                                 \
    {name "-none", ESP, cipher, bits, G_IPSEC_LA_AUTH_ALG_NONE, 0, NO_COMB, 0}
#define COMB(name, proto, comb, bits)                                    \
    {name, proto, NO_CIPHER, NO_AUTH, comb, bits, 0},                    \
    {name "-icv16", proto, NO_CIPHER, NO_AUTH, comb, bits, 128},         \
    {name "-icv12", proto, NO_CIPHER, NO_AUTH, comb, bits, 96},          \
    {name "-icv8", proto, NO_CIPHER, NO_AUTH, comb, bits, 64}
#define COMB_ONE_ICV(name, proto, comb, bits) {name, proto, NO_CIPHER, NO_AUTH, comb, bits, 0}

const struct algorithm algorithms[] = {
    WITH_EVERY_AUTH("null", G_IPSEC_LA_CIPHER_ALGO_NULL, 0),
    CIPHER("des", G_IPSEC_LA_ALG_DES_CBC, 64),
    CIPHER("3des", G_IPSEC_LA_ALG_3DES_CBC, 192),
    CIPHER("aes128-cbc", G_IPSEC_LA_ALG_AES_CBC, 128),
    CIPHER("aes192-cbc", G_IPSEC_LA_ALG_AES_CBC, 192),
    CIPHER("aes256-cbc", G_IPSEC_LA_ALG_AES_CBC, 256),
    CIPHER("aes128-ctr", G_IPSEC_LA_ALG_AES_CTR, 128 + 32),
    CIPHER("aes192-ctr", G_IPSEC_LA_ALG_AES_CTR, 192 + 32),
    CIPHER("aes256-ctr", G_IPSEC_LA_ALG_AES_CTR, 256 + 32),
    {"aes128-cbc-md5-full", ESP, G_IPSEC_LA_ALG_AES_CBC, 128, MD5, NO_COMB, 128},
    {"aes128-cbc-sha1-full", ESP, G_IPSEC_LA_ALG_AES_CBC, 128, SHA1, NO_COMB, 160},
    {"aes128-cbc-sha256-96", ESP, G_IPSEC_LA_ALG_AES_CBC, 128, SHA256, NO_COMB, 96},
    {"aes128-cbc-sha384-192", ESP, G_IPSEC_LA_ALG_AES_CBC, 128, SHA384, NO_COMB, 192},
    COMB("aes128-gcm", ESP, G_IPSEC_LA_COMB_AES_GCM, 160),
    COMB("aes192-gcm", ESP, G_IPSEC_LA_COMB_AES_GCM, 224),
    COMB("aes256-gcm", ESP, G_IPSEC_LA_COMB_AES_GCM, 288),
    COMB("aes128-ccm", ESP, G_IPSEC_LA_COMB_AES_CCM, 152),
    COMB("aes192-ccm", ESP, G_IPSEC_LA_COMB_AES_CCM, 216),
    COMB("aes256-ccm", ESP, G_IPSEC_LA_COMB_AES_CCM, 280),
    COMB_ONE_ICV("aes128-gmac", ESP, G_IPSEC_LA_COMB_AES_GMAC, 160),
    COMB_ONE_ICV("aes192-gmac", ESP, G_IPSEC_LA_COMB_AES_GMAC, 224),
    COMB_ONE_ICV("aes256-gmac", ESP, G_IPSEC_LA_COMB_AES_GMAC, 288),
    {"ah-md5", AH, NO_CIPHER, MD5, NO_COMB, 0},
    {"ah-sha1", AH, NO_CIPHER, SHA1, NO_COMB, 0},
    {"ah-xcbc", AH, NO_CIPHER, XCBC, NO_COMB, 0},
    {"ah-sha256", AH, NO_CIPHER, SHA256, NO_COMB, 0},
    {"ah-sha384", AH, NO_CIPHER, SHA384, NO_COMB, 0},
    {"ah-sha512", AH, NO_CIPHER, SHA512, NO_COMB, 0},
    COMB_ONE_ICV("ah-aes128-gmac", AH, G_IPSEC_LA_COMB_AES_GMAC, 160),
    COMB_ONE_ICV("ah-aes256-gmac", AH, G_IPSEC_LA_COMB_AES_GMAC, 288),
};
const unsigned algorithm_count = sizeof algorithms / sizeof *algorithms;
