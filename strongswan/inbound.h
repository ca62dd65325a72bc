/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * From the network to the TUN device: a worker reads many packets, decapsulates those of an SA together, checks them
 * against the policies, joins them and writes them.
 */
#ifndef GIPSEC_INBOUND_H_
#define GIPSEC_INBOUND_H_

#include "sockets.h"

typedef struct inbound_t inbound_t;

inbound_t *inbound_create(size_t worker);
void inbound_destroy(inbound_t *this);

/** Takes what a socket of the worker has, up to MESSAGES of them; how many. */
size_t inbound_run(inbound_t *this, source_t source);

/** Takes the errors that wait at a socket: of packets that were sent before. */
void inbound_clear(inbound_t *this, source_t source);

#endif
