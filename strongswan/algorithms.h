/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Transforms as IKE numbers them, and as the g-API calls them.
 */
#ifndef GIPSEC_ALGORITHMS_H_
#define GIPSEC_ALGORITHMS_H_

#include <daemon.h>
#include <g_ipsec_la.h>
#include <g_ipsec_la_ext.h>

/** Bytes of the longest key with its salt. */
#define MAX_KEY 64

/** Keys as the accelerator takes them; to be wiped. */
typedef struct keys_t {
	uint8_t cipher[MAX_KEY], integrity[MAX_KEY];
} keys_t;

/** Fills in the algorithms and keys of an SA, which point into `keys`; false: the g-API does not have them. */
bool algorithms_get(kernel_ipsec_add_sa_t *data, keys_t *keys, g_ipsec_la_sa_crypto_params *crypto,
					g_ipsec_la_ext_sa_options *options);

#endif
