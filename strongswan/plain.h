/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Packets that come from the network unprotected where a policy wants protection are dropped (RFC 4301 section 5.2). The
 * plugin does not see them, so the system is told, in a table of nftables of its own, which stays when charon is killed.
 */
#ifndef GIPSEC_PLAIN_H_
#define GIPSEC_PLAIN_H_

#include <stdbool.h>

/** Removes the table that another charon left; logs what is wrong. */
void plain_create(void);
void plain_destroy(void);

/** Inbound policies have changed: the table follows soon, once for many changes. */
void plain_changed(void);

#endif
