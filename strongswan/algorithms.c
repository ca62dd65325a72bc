/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "algorithms.h"

#include <crypto/crypters/crypter.h>
#include <crypto/signers/signer.h>

/** A combined mode transform: IKE's key ends with the salt, the g-API's begins with it. */
typedef struct combined_t {
	uint16_t ike;
	g_ipsec_la_comb_alg comb;
	uint32_t extension;
	uint8_t salt, icv_bits;
} combined_t;

static const combined_t combined[] = {
	{ENCR_AES_GCM_ICV8, G_IPSEC_LA_COMB_AES_GCM, 0, 4, 64},
	{ENCR_AES_GCM_ICV12, G_IPSEC_LA_COMB_AES_GCM, 0, 4, 96},
	{ENCR_AES_GCM_ICV16, G_IPSEC_LA_COMB_AES_GCM, 0, 4, 128},
	{ENCR_AES_CCM_ICV8, G_IPSEC_LA_COMB_AES_CCM, 0, 3, 64},
	{ENCR_AES_CCM_ICV12, G_IPSEC_LA_COMB_AES_CCM, 0, 3, 96},
	{ENCR_AES_CCM_ICV16, G_IPSEC_LA_COMB_AES_CCM, 0, 3, 128},
	{ENCR_NULL_AUTH_AES_GMAC, G_IPSEC_LA_COMB_AES_GMAC, 0, 4, 128},
	{ENCR_CHACHA20_POLY1305, 0, G_IPSEC_LA_EXT_COMB_CHACHA20_POLY1305, 4, 128},
};

static const struct {
	uint16_t ike;
	g_ipsec_la_cipher_alg cipher;
} ciphers[] = {
	{ENCR_NULL, G_IPSEC_LA_CIPHER_ALGO_NULL},
	{ENCR_DES, G_IPSEC_LA_ALG_DES_CBC},
	{ENCR_3DES, G_IPSEC_LA_ALG_3DES_CBC},
	{ENCR_AES_CBC, G_IPSEC_LA_ALG_AES_CBC},
	{ENCR_AES_CTR, G_IPSEC_LA_ALG_AES_CTR},
};

/** ICV lengths in bits; 0 is the algorithm's usual one. */
static const struct {
	uint16_t ike;
	g_ipsec_la_auth_alg auth;
	uint32_t extension;
	uint16_t icv_bits;
} macs[] = {
	{AUTH_HMAC_MD5_96, G_IPSEC_LA_AUTH_ALG_MD5_HMAC, 0, 96},
	{AUTH_HMAC_SHA1_96, G_IPSEC_LA_AUTH_ALG_SHA1_HMAC, 0, 96},
	{AUTH_AES_XCBC_96, G_IPSEC_LA_AUTH_AESXCBC, 0, 96},
	{AUTH_AES_CMAC_96, 0, G_IPSEC_LA_EXT_AUTH_AES_CMAC, 96},
	{AUTH_HMAC_SHA2_256_96, G_IPSEC_LA_AUTH_ALG_SHA2_256_HMAC, 0, 96},
	{AUTH_HMAC_SHA2_256_128, G_IPSEC_LA_AUTH_ALG_SHA2_256_HMAC, 0, 128},
	{AUTH_HMAC_SHA2_384_192, G_IPSEC_LA_AUTH_ALG_SHA2_384_HMAC, 0, 192},
	{AUTH_HMAC_SHA2_512_256, G_IPSEC_LA_AUTH_ALG_SHA2_512_HMAC, 0, 256},
};

static bool set_combined(uint16_t ike, chunk_t key, uint8_t *kept, g_ipsec_la_sa_crypto_params *crypto,
						 g_ipsec_la_ext_sa_options *options)
{
	for (size_t i = 0; i < countof(combined); i++)
	{
		const combined_t *this = &combined[i];
		size_t bare;

		if (this->ike != ike || key.len <= this->salt || key.len > MAX_KEY)
		{
			continue;
		}
		bare = key.len - this->salt;
		memcpy(kept, key.ptr + bare, this->salt);
		memcpy(kept + this->salt, key.ptr, bare);
		crypto->comb_algo = this->comb;
		crypto->comb_key = kept;
		crypto->comb_key_len_bits = (uint32_t)key.len * 8;
		options->comb_algo = this->extension;
		options->icv_len_bits = this->icv_bits;
		return true;
	}
	return false;
}

static bool set_cipher(uint16_t ike, chunk_t key, uint8_t *kept, g_ipsec_la_sa_crypto_params *crypto)
{
	for (size_t i = 0; i < countof(ciphers); i++)
	{
		if (ciphers[i].ike == ike && key.len <= MAX_KEY)
		{
			memcpy(kept, key.ptr, key.len);
			crypto->cipher_algo = ciphers[i].cipher;
			crypto->cipher_key = key.len ? kept : NULL;
			crypto->cipher_key_len_bits = (uint32_t)key.len * 8;
			return true;
		}
	}
	return false;
}

static bool set_mac(uint16_t ike, chunk_t key, uint8_t *kept, g_ipsec_la_sa_crypto_params *crypto,
					g_ipsec_la_ext_sa_options *options)
{
	for (size_t i = 0; i < countof(macs); i++)
	{
		if (macs[i].ike == ike && key.len && key.len <= MAX_KEY)
		{
			memcpy(kept, key.ptr, key.len);
			crypto->auth_algo = macs[i].auth;
			crypto->auth_key = kept;
			crypto->auth_key_len_bits = (uint32_t)key.len * 8;
			options->auth_algo = macs[i].extension;
			options->icv_len_bits = macs[i].icv_bits;
			return true;
		}
	}
	return false;
}

/** AH with AES-GMAC is a transform of integrity to IKE. */
static bool is_gmac(uint16_t ike)
{
	return ike == AUTH_AES_128_GMAC || ike == AUTH_AES_192_GMAC || ike == AUTH_AES_256_GMAC;
}

bool algorithms_get(kernel_ipsec_add_sa_t *data, keys_t *keys, g_ipsec_la_sa_crypto_params *crypto,
					g_ipsec_la_ext_sa_options *options)
{
	bool ciphers_known = data->enc_alg == ENCR_UNDEFINED;

	if (set_combined(data->enc_alg, data->enc_key, keys->cipher, crypto, options))
	{
		return true;
	}
	if (is_gmac(data->int_alg))
	{
		return ciphers_known &&
			   set_combined(ENCR_NULL_AUTH_AES_GMAC, data->int_key, keys->integrity, crypto, options);
	}
	if (!ciphers_known && !set_cipher(data->enc_alg, data->enc_key, keys->cipher, crypto))
	{
		DBG1(DBG_KNL, "no accelerator has the encryption algorithm %N", encryption_algorithm_names, data->enc_alg);
		return false;
	}
	if (data->int_alg == AUTH_UNDEFINED)
	{
		DBG1(DBG_KNL, "encryption without integrity is not for packets (RFC 8221)");
		return false;
	}
	if (!set_mac(data->int_alg, data->int_key, keys->integrity, crypto, options))
	{
		DBG1(DBG_KNL, "no accelerator has the integrity algorithm %N", integrity_algorithm_names, data->int_alg);
		return false;
	}
	return true;
}
