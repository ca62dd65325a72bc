/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What charon calls: kernel_ipsec_t over the two databases.
 */
#ifndef GIPSEC_IPSEC_H_
#define GIPSEC_IPSEC_H_

#include <daemon.h>

/** The constructor that is registered. */
kernel_ipsec_t *kernel_gipsec_ipsec_create(void);

#endif
